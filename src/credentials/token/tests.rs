//! The state machine against a token endpoint that does what the test says, on a clock that the test owns.

use std::collections::VecDeque;

use futures::future::join_all;
use tokio::sync::Notify;

use super::*;
use bytes::Bytes;

/// A grant that answers as the test says: each answer once, the last one for ever.
#[derive(Clone, Debug, Default)]
pub struct Scripted(Arc<Script>);

#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    requests: AtomicU64,
    version: AtomicU64,
    gate: Notify,
    /// Requests that the flight's end broke off.
    broken: AtomicU64,
}

#[derive(Clone, Debug)]
enum Answer {
    /// A token of so many seconds.
    Token(u64),
    /// One that does not say when it ends.
    Endless,
    Error(GrantError),
    /// Nothing until the test opens the gate; then a token of so many seconds.
    Stall(u64),
    Panic,
}

struct Counts<'c>(&'c AtomicU64);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Scripted {
    fn of(answers: &[Answer]) -> Self {
        let scripted = Self::default();
        *scripted.0.answers.lock() = answers.iter().cloned().collect();
        scripted
    }

    fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::SeqCst)
    }

    pub(in crate::credentials) fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    pub(in crate::credentials) async fn fetch(&self) -> Result<Token, GrantError> {
        let number = self.0.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = {
            let mut answers = self.0.answers.lock();
            match answers.len() {
                0 | 1 => answers.front().cloned(),
                _ => answers.pop_front(),
            }
        };
        let token = |expires| Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {number}")),
            expires,
        };
        let seconds = |life| Some(SystemTime::now() + Duration::from_secs(life));
        match answer.expect("the test says what is answered") {
            Answer::Token(life) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(token(seconds(life)))
            }
            Answer::Endless => Ok(token(None)),
            Answer::Error(error) => Err(error),
            Answer::Stall(life) => {
                let broken = Counts(&self.0.broken);
                self.0.gate.notified().await;
                std::mem::forget(broken);
                Ok(token(seconds(life)))
            }
            Answer::Panic => panic!("the test says so"),
        }
    }
}

struct Rig {
    source: Arc<TokenSource>,
    grant: Scripted,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn rig(answers: &[Answer]) -> Rig {
    let (grant, tasks) = (Scripted::of(answers), TaskTracker::new());
    let state = Arc::new(StateCell::default());
    let around = Around::new(&Arc::default(), None, &tasks, &CancellationToken::new());
    let source = TokenSource::over(Grant::Scripted(grant.clone()), &around, state);
    Rig {
        source,
        grant,
        tasks,
        stop: around.stop,
    }
}

fn after(seconds: f64) -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds)
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

fn passing() -> GrantError {
    GrantError::Passing("the token endpoint is away".into())
}

fn no() -> GrantError {
    GrantError::Refused("invalid_client".into())
}

impl Rig {
    /// A call's token: `1` is the first that was fetched.
    async fn call(&self) -> Result<u64, String> {
        let mut headers = HeaderMap::new();
        let stamp = self.source.put(&mut headers, after(10.0)).await;
        let Stamp::Numbered(_) = stamp.map_err(|error| error.0.to_string())? else {
            panic!("tokens have numbers");
        };
        let value = &headers[header::AUTHORIZATION];
        assert!(value.is_sensitive());
        let number = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        Ok(number.parse().unwrap())
    }

    async fn answered(
        &self,
        stamp: u64,
        status: StatusCode,
        challenge: &'static str,
    ) -> (Verdict, Duration) {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
        let refusal = Refused {
            status,
            headers: &headers,
            body: &Bytes::new(),
        };
        let began = Instant::now();
        let stamp = Stamp::Numbered(stamp);
        let verdict = self.source.refused(&stamp, &refusal, after(10.0)).await;
        (verdict, began.elapsed())
    }

    async fn refused(&self, stamp: u64) -> Verdict {
        self.answered(stamp, StatusCode::UNAUTHORIZED, "Bearer")
            .await
            .0
    }

    fn phase(&self) -> Phase {
        self.source.state.get().phase
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_calls_wait_there_is_one_request() {
    let rig = rig(&[Answer::Token(3600)]);
    let calls = join_all((0..200).map(|_| rig.call())).await;
    assert!(calls.iter().all(|call| *call == Ok(1)), "{calls:?}");
    assert_eq!((rig.grant.requests(), rig.phase()), (1, Phase::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_ahead_of_its_end_while_the_old_one_is_used() {
    let rig = rig(&[Answer::Token(100), Answer::Stall(100)]);
    assert_eq!(rig.call().await, Ok(1));
    pass(79.0).await;
    assert_eq!(rig.call().await, Ok(1));
    assert_eq!(rig.grant.requests(), 1);
    pass(12.0).await;
    for _ in 0..10 {
        assert_eq!(rig.call().await, Ok(1));
        pass(0.1).await;
    }
    assert_eq!((rig.grant.requests(), rig.phase()), (2, Phase::Refreshing));
    rig.grant.0.gate.notify_one();
    pass(0.01).await;
    assert_eq!((rig.call().await, rig.phase()), (Ok(2), Phase::Ok));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_three_seconds_take_at_most_one_request_each_and_one_more() {
    let rig = rig(&[Answer::Token(3)]);
    // The life runs on the test's clock; twelve seconds are four lives.
    for _ in 0..600 {
        join_all((0..20).map(|_| rig.call()))
            .await
            .iter()
            .for_each(|call| assert!(call.is_ok()));
        pass(0.02).await;
    }
    assert!(
        (4..=5).contains(&rig.grant.requests()),
        "{}",
        rig.grant.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_does_not_end_the_request_for_the_others() {
    let rig = rig(&[Answer::Stall(100)]);
    let mut headers = HeaderMap::new();
    let given_up = rig.source.put(&mut headers, after(1.0)).await;
    assert_eq!(given_up.unwrap_err().0.as_ref(), "no token came in time");
    let waiting = rig.call();
    let (called, ()) = tokio::join!(waiting, async {
        pass(1.0).await;
        rig.grant.0.gate.notify_one();
    });
    assert_eq!((called, rig.grant.requests()), (Ok(1), 1));
    // Also where it is dropped.
    assert!(headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_takes_down_no_call_that_has_a_token() {
    let rig = rig(&[Answer::Token(1000), Answer::Error(passing())]);
    assert_eq!(rig.call().await, Ok(1));
    pass(901.0).await;
    for _ in 0..80 {
        assert_eq!(rig.call().await, Ok(1));
        pass(1.0).await;
    }
    let status = rig.source.state.get();
    assert_eq!(status.phase, Phase::Expiring);
    assert_eq!(status.reason.as_deref(), Some("the token endpoint is away"));
    assert!(status.next_try.is_some() && status.expires.is_some());
    // The waits grow: 0.25 s, 0.5 s, 1 s, …
    assert!(rig.grant.requests() < 20, "{}", rig.grant.requests());
    pass(15.0).await;
    assert_eq!(rig.call().await, Err("the token endpoint is away".into()));
    assert_eq!(rig.phase(), Phase::Failing);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_calls_fail_fast_while_the_endpoint_is_left_alone() {
    let later = GrantError::Later("HTTP status 503".into(), Duration::from_secs(40));
    let rig = rig(&[Answer::Error(later), Answer::Token(100)]);
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(rig.call().await, Err("HTTP status 503".into()));
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.grant.requests(), 1);
    let status = rig.source.state.get();
    assert_eq!(status.phase, Phase::Failing);
    let next = status.next_try.unwrap() - Instant::now();
    assert!(next > Duration::from_secs(38), "{next:?}");
    pass(39.9).await;
    assert_eq!((rig.call().await, rig.phase()), (Ok(2), Phase::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_of_the_endpoint_fails_no_call() {
    let rig = rig(&[
        Answer::Error(passing()),
        Answer::Error(passing()),
        Answer::Token(100),
    ]);
    let calls = join_all((0..50).map(|_| rig.call())).await;
    assert!(calls.iter().all(|call| *call == Ok(3)), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn how_long_it_has_been_failing_is_not_forgotten_at_each_try() {
    let rig = rig(&[Answer::Error(passing())]);
    for _ in 0..60 {
        assert!(rig.call().await.is_err());
        pass(1.0).await;
    }
    let since = rig.source.state.get().since;
    assert!(since.elapsed() > Duration::from_secs(59), "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn a_no_is_asked_again_seldom_but_at_once_with_another_secret() {
    let rig = rig(&[Answer::Error(no()), Answer::Error(no()), Answer::Token(100)]);
    for _ in 0..14 {
        assert_eq!(rig.call().await, Err("invalid_client".into()));
        pass(1.0).await;
    }
    assert_eq!((rig.grant.requests(), rig.phase()), (1, Phase::Failing));
    rig.grant.0.version.fetch_add(1, Ordering::SeqCst);
    assert_eq!(rig.call().await, Err("invalid_client".into()));
    assert_eq!(rig.grant.requests(), 2);
    rig.grant.0.version.fetch_add(1, Ordering::SeqCst);
    assert_eq!(rig.call().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_needs_a_person_says_so_even_while_the_token_is_good() {
    let reauth = GrantError::Reauth("run weir login".into());
    let rig = rig(&[Answer::Token(1000), Answer::Error(reauth)]);
    assert_eq!(rig.call().await, Ok(1));
    pass(901.0).await;
    assert_eq!(rig.call().await, Ok(1));
    pass(0.1).await;
    assert_eq!(rig.call().await, Ok(1));
    assert_eq!(rig.phase(), Phase::ReauthNeeded);
    pass(99.0).await;
    assert_eq!(rig.call().await, Err("run weir login".into()));
    assert_eq!(rig.phase(), Phase::ReauthNeeded);
}

#[tokio::test(start_paused = true)]
async fn a_401_fetches_one_new_token_for_all_who_got_it() {
    let rig = rig(&[Answer::Token(100)]);
    assert_eq!(rig.call().await, Ok(1));
    let verdicts = join_all((0..200).map(|_| rig.refused(1))).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Again));
    assert_eq!(rig.grant.requests(), 2);
    // Late: the token has been another for long.
    assert_eq!(rig.refused(1).await, Verdict::Again);
    assert_eq!((rig.call().await, rig.grant.requests()), (Ok(2), 2));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_everything_does_not_hammer_the_endpoint() {
    let rig = rig(&[Answer::Token(1000)]);
    let began = Instant::now();
    for _ in 0..200 {
        let number = rig.call().await.unwrap();
        let why = "a new token was refused with HTTP status 401";
        match rig.refused(number).await {
            Verdict::Again => {}
            Verdict::Final(said) => {
                assert_eq!(said.as_deref(), Some(why));
                let status = rig.source.state.get();
                assert_eq!(status.phase, Phase::Failing);
                assert_eq!(status.reason.as_deref(), Some(why));
            }
        }
        pass(0.1).await;
    }
    let most = began.elapsed().as_secs() / SPACING.as_secs() + 2;
    assert!(rig.grant.requests() <= most, "{}", rig.grant.requests());
    assert_eq!(rig.phase(), Phase::Failing);
    rig.source.accepted(&Stamp::Numbered(rig.source.number()));
    assert_eq!(rig.phase(), Phase::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_early_at_the_upstream_is_replaced_each_time() {
    let rig = rig(&[Answer::Token(3)]);
    for number in 1..10 {
        assert_eq!(rig.call().await, Ok(number));
        pass(2.0).await;
        assert_eq!(rig.refused(number).await, Verdict::Again);
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_while_the_endpoint_fails_says_why_there_is_no_new_token() {
    let rig = rig(&[Answer::Token(1000), Answer::Error(passing())]);
    assert_eq!(rig.call().await, Ok(1));
    let why = Some("the token endpoint is away".into());
    assert_eq!(rig.refused(1).await, Verdict::Final(why));
    // Another call of this upstream may still be let in.
    assert_eq!(rig.call().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_403_is_final_and_names_a_missing_scope() {
    let rig = rig(&[Answer::Token(1000)]);
    assert_eq!(rig.call().await, Ok(1));
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"hunter2\"";
    let (verdict, _) = rig.answered(1, StatusCode::FORBIDDEN, challenge).await;
    assert_eq!(
        verdict,
        Verdict::Final(Some("the token lacks a scope".into()))
    );
    assert_eq!((rig.phase(), rig.grant.requests()), (Phase::Failing, 1));
    rig.source.accepted(&Stamp::Numbered(1));
    assert_eq!(rig.phase(), Phase::Ok);
    // What was let in before is not worth less because one request was not.
    let (verdict, _) = rig.answered(1, StatusCode::FORBIDDEN, "").await;
    assert!(matches!(verdict, Verdict::Final(Some(_))));
    assert_eq!(rig.phase(), Phase::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_ends_and_one_that_breaks_is_not_waited_for() {
    let rig = rig(&[Answer::Stall(100), Answer::Panic, Answer::Token(100)]);
    let mut headers = HeaderMap::new();
    let called = rig.source.put(&mut headers, after(60.0)).await;
    assert!(called.is_ok(), "{called:?}");
    assert_eq!(headers[header::AUTHORIZATION], "Bearer 3");
    assert_eq!(rig.grant.0.broken.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_renewed_now_and_then_and_used_until_it_is_refused() {
    let rig = rig(&[Answer::Endless, Answer::Error(passing())]);
    assert_eq!(rig.call().await, Ok(1));
    pass(200.0).await;
    assert_eq!((rig.call().await, rig.grant.requests()), (Ok(1), 1));
    pass(100.0).await;
    assert_eq!(rig.call().await, Ok(1));
    pass(100_000.0).await;
    assert_eq!(rig.call().await, Ok(1));
    assert!(rig.grant.requests() > 1);
    assert_eq!(rig.phase(), Phase::Expiring);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_ended_before_it_comes_is_no_token() {
    let rig = rig(&[Answer::Token(0)]);
    let called = rig.call().await;
    assert!(called.unwrap_err().contains("are the clocks right"));
    assert!(rig.grant.requests() < 10, "{}", rig.grant.requests());
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_unasked() {
    let rig = rig(&[
        Answer::Token(1000),
        Answer::Error(passing()),
        Answer::Token(1000),
    ]);
    assert_eq!(rig.call().await, Ok(1));
    pass(901.0).await;
    assert_eq!(rig.call().await, Ok(1));
    pass(0.01).await;
    assert_eq!(rig.phase(), Phase::Expiring);
    pass(1.0).await;
    assert_eq!((rig.phase(), rig.grant.requests()), (Phase::Ok, 3));
    assert_eq!(rig.call().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_neither_for_a_request_nor_for_the_next_try() {
    for answer in [Answer::Stall(100), Answer::Error(no())] {
        let rig = rig(&[answer]);
        let mut headers = HeaderMap::new();
        assert!(rig.source.put(&mut headers, after(1.0)).await.is_err());
        assert_eq!(rig.tasks.len(), 1);
        rig.stop.cancel();
        rig.tasks.close();
        let stopping = Instant::now();
        rig.tasks.wait().await;
        assert!(stopping.elapsed() < Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_outlive_its_upstream() {
    let rig = rig(&[Answer::Stall(100)]);
    let mut headers = HeaderMap::new();
    assert!(rig.source.put(&mut headers, after(1.0)).await.is_err());
    assert_eq!(rig.tasks.len(), 1);
    drop(rig.source);
    rig.tasks.close();
    rig.tasks.wait().await;
    assert_eq!(rig.grant.0.broken.load(Ordering::SeqCst), 1);
}
