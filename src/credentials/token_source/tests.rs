//! Tests of the state machine against a scripted token endpoint, on a paused clock.

use futures::future::join_all;

use super::*;
use crate::credentials::grant::scripted::{ScriptedAnswer, ScriptedGrant};
use bytes::Bytes;
use http::HeaderValue;

struct Rig {
    source: Arc<TokenSource>,
    grant: ScriptedGrant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn rig(answers: &[ScriptedAnswer]) -> Rig {
    let (grant, tasks) = (ScriptedGrant::of(answers), TaskTracker::new());
    let status = Arc::new(StatusCell::default());
    let context = CredentialsContext::new(&Arc::default(), None, &tasks, &CancellationToken::new());
    let source = TokenSource::from_grant(Grant::Scripted(grant.clone()), &context, status);
    Rig {
        source,
        grant,
        tasks,
        stop: context.stop,
    }
}

fn after(seconds: f64) -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds)
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

fn temporary() -> GrantError {
    GrantError::Temporary("the token endpoint is away".into())
}

fn rejected() -> GrantError {
    GrantError::Rejected("invalid_client".into())
}

impl Rig {
    /// Returns the number of the token that a call gets; `1` is the first that was fetched.
    async fn call(&self) -> Result<u64, String> {
        let mut headers = HeaderMap::new();
        let version = self.source.apply(&mut headers, after(10.0)).await;
        version.map_err(|error| error.0.to_string())?;
        let value = &headers[header::AUTHORIZATION];
        assert!(value.is_sensitive());
        let number = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        Ok(number.parse().unwrap())
    }

    async fn answer(
        &self,
        number: u64,
        status: StatusCode,
        challenge: &'static str,
    ) -> (RejectionOutcome, Duration) {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
        let rejection = Rejection {
            status,
            headers: &headers,
            body: &Bytes::new(),
        };
        let began = Instant::now();
        let outcome = self
            .source
            .handle_rejection(CredentialVersion(number), &rejection, after(10.0))
            .await;
        (outcome, began.elapsed())
    }

    async fn reject(&self, number: u64) -> RejectionOutcome {
        self.answer(number, StatusCode::UNAUTHORIZED, "Bearer")
            .await
            .0
    }

    fn state(&self) -> CredentialState {
        self.source.status.get().state
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_calls_wait_there_is_one_request() {
    let rig = rig(&[ScriptedAnswer::Token(3600)]);
    let calls = join_all((0..200).map(|_| rig.call())).await;
    assert!(calls.iter().all(|call| *call == Ok(1)), "{calls:?}");
    assert_eq!(
        (rig.grant.requests(), rig.state()),
        (1, CredentialState::Ok)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_ahead_of_its_end_while_the_old_one_is_used() {
    let rig = rig(&[ScriptedAnswer::Token(100), ScriptedAnswer::Stall(100)]);
    assert_eq!(rig.call().await, Ok(1));
    pass(79.0).await;
    assert_eq!(rig.call().await, Ok(1));
    assert_eq!(rig.grant.requests(), 1);
    pass(12.0).await;
    for _ in 0..10 {
        assert_eq!(rig.call().await, Ok(1));
        pass(0.1).await;
    }
    assert_eq!(
        (rig.grant.requests(), rig.state()),
        (2, CredentialState::Refreshing)
    );
    rig.grant.0.gate.notify_one();
    pass(0.01).await;
    assert_eq!(
        (rig.call().await, rig.state()),
        (Ok(2), CredentialState::Ok)
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_of_three_seconds_take_at_most_one_request_each_and_one_more() {
    let rig = rig(&[ScriptedAnswer::Token(3)]);
    // The lifetime runs on the test's clock; twelve seconds are four lifetimes.
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
    let rig = rig(&[ScriptedAnswer::Stall(100)]);
    let mut headers = HeaderMap::new();
    let given_up = rig.source.apply(&mut headers, after(1.0)).await;
    assert_eq!(given_up.unwrap_err().0.as_ref(), "no token came in time");
    let waiting = rig.call();
    let (called, ()) = tokio::join!(waiting, async {
        pass(1.0).await;
        rig.grant.0.gate.notify_one();
    });
    assert_eq!((called, rig.grant.requests()), (Ok(1), 1));
    // Nothing was added when waiting was given up.
    assert!(headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_takes_down_no_call_that_has_a_token() {
    let rig = rig(&[
        ScriptedAnswer::Token(1000),
        ScriptedAnswer::Error(temporary()),
    ]);
    assert_eq!(rig.call().await, Ok(1));
    pass(901.0).await;
    for _ in 0..80 {
        assert_eq!(rig.call().await, Ok(1));
        pass(1.0).await;
    }
    let status = rig.source.status.get();
    assert_eq!(status.state, CredentialState::Expiring);
    assert_eq!(status.reason.as_deref(), Some("the token endpoint is away"));
    assert!(status.next_try.is_some() && status.expires.is_some());
    // The waits grow: 0.25 s, 0.5 s, 1 s, …
    assert!(rig.grant.requests() < 20, "{}", rig.grant.requests());
    pass(15.0).await;
    assert_eq!(rig.call().await, Err("the token endpoint is away".into()));
    assert_eq!(rig.state(), CredentialState::Failing);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_calls_fail_fast_while_the_endpoint_is_left_alone() {
    let later = GrantError::RetryAfter("HTTP status 503".into(), Duration::from_secs(40));
    let rig = rig(&[ScriptedAnswer::Error(later), ScriptedAnswer::Token(100)]);
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(rig.call().await, Err("HTTP status 503".into()));
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.grant.requests(), 1);
    let status = rig.source.status.get();
    assert_eq!(status.state, CredentialState::Failing);
    let next = status.next_try.unwrap() - Instant::now();
    assert!(next > Duration::from_secs(38), "{next:?}");
    pass(39.9).await;
    assert_eq!(
        (rig.call().await, rig.state()),
        (Ok(2), CredentialState::Ok)
    );
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_of_the_endpoint_fails_no_call() {
    let rig = rig(&[
        ScriptedAnswer::Error(temporary()),
        ScriptedAnswer::Error(temporary()),
        ScriptedAnswer::Token(100),
    ]);
    let calls = join_all((0..50).map(|_| rig.call())).await;
    assert!(calls.iter().all(|call| *call == Ok(3)), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn how_long_it_has_been_failing_is_not_forgotten_at_each_try() {
    let rig = rig(&[ScriptedAnswer::Error(temporary())]);
    for _ in 0..60 {
        assert!(rig.call().await.is_err());
        pass(1.0).await;
    }
    let since = rig.source.status.get().since;
    assert!(since.elapsed() > Duration::from_secs(59), "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn a_no_is_asked_again_seldom_but_at_once_with_another_secret() {
    let rig = rig(&[
        ScriptedAnswer::Error(rejected()),
        ScriptedAnswer::Error(rejected()),
        ScriptedAnswer::Token(100),
    ]);
    for _ in 0..14 {
        assert_eq!(rig.call().await, Err("invalid_client".into()));
        pass(1.0).await;
    }
    assert_eq!(
        (rig.grant.requests(), rig.state()),
        (1, CredentialState::Failing)
    );
    rig.grant.0.version.fetch_add(1, Ordering::SeqCst);
    assert_eq!(rig.call().await, Err("invalid_client".into()));
    assert_eq!(rig.grant.requests(), 2);
    rig.grant.0.version.fetch_add(1, Ordering::SeqCst);
    assert_eq!(rig.call().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_needs_a_person_says_so_even_while_the_token_is_good() {
    let login_needed = GrantError::LoginNeeded("run weir login".into());
    let rig = rig(&[
        ScriptedAnswer::Token(1000),
        ScriptedAnswer::Error(login_needed),
    ]);
    assert_eq!(rig.call().await, Ok(1));
    pass(901.0).await;
    assert_eq!(rig.call().await, Ok(1));
    pass(0.1).await;
    assert_eq!(rig.call().await, Ok(1));
    assert_eq!(rig.state(), CredentialState::ReauthNeeded);
    pass(99.0).await;
    assert_eq!(rig.call().await, Err("run weir login".into()));
    assert_eq!(rig.state(), CredentialState::ReauthNeeded);
}

#[tokio::test(start_paused = true)]
async fn a_401_fetches_one_new_token_for_all_who_got_it() {
    let rig = rig(&[ScriptedAnswer::Token(100)]);
    assert_eq!(rig.call().await, Ok(1));
    let outcomes = join_all((0..200).map(|_| rig.reject(1))).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == RejectionOutcome::Retry)
    );
    assert_eq!(rig.grant.requests(), 2);
    // A late rejection: the token was replaced long ago.
    assert_eq!(rig.reject(1).await, RejectionOutcome::Retry);
    assert_eq!((rig.call().await, rig.grant.requests()), (Ok(2), 2));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_everything_does_not_hammer_the_endpoint() {
    let rig = rig(&[ScriptedAnswer::Token(1000)]);
    let began = Instant::now();
    for _ in 0..200 {
        let number = rig.call().await.unwrap();
        let reason = "a new token was rejected with HTTP status 401";
        match rig.reject(number).await {
            RejectionOutcome::Retry => {}
            RejectionOutcome::Final(given) => {
                assert_eq!(given.as_deref(), Some(reason));
                let status = rig.source.status.get();
                assert_eq!(status.state, CredentialState::Failing);
                assert_eq!(status.reason.as_deref(), Some(reason));
            }
        }
        pass(0.1).await;
    }
    let most = began.elapsed().as_secs() / REJECTION_PAUSE.as_secs() + 2;
    assert!(rig.grant.requests() <= most, "{}", rig.grant.requests());
    assert_eq!(rig.state(), CredentialState::Failing);
    rig.source
        .handle_accepted(CredentialVersion(rig.source.number()));
    assert_eq!(rig.state(), CredentialState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_early_at_the_upstream_is_replaced_each_time() {
    let rig = rig(&[ScriptedAnswer::Token(3)]);
    for number in 1..10 {
        assert_eq!(rig.call().await, Ok(number));
        pass(2.0).await;
        assert_eq!(rig.reject(number).await, RejectionOutcome::Retry);
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_while_the_endpoint_fails_says_why_there_is_no_new_token() {
    let rig = rig(&[
        ScriptedAnswer::Token(1000),
        ScriptedAnswer::Error(temporary()),
    ]);
    assert_eq!(rig.call().await, Ok(1));
    let reason = Some("the token endpoint is away".into());
    assert_eq!(rig.reject(1).await, RejectionOutcome::Final(reason));
    // Other calls of this upstream may still be accepted.
    assert_eq!(rig.call().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_403_is_final_and_names_a_missing_scope() {
    let rig = rig(&[ScriptedAnswer::Token(1000)]);
    assert_eq!(rig.call().await, Ok(1));
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"hunter2\"";
    let (outcome, _) = rig.answer(1, StatusCode::FORBIDDEN, challenge).await;
    assert_eq!(
        outcome,
        RejectionOutcome::Final(Some("the token lacks a scope".into()))
    );
    assert_eq!(
        (rig.state(), rig.grant.requests()),
        (CredentialState::Failing, 1)
    );
    rig.source.handle_accepted(CredentialVersion(1));
    assert_eq!(rig.state(), CredentialState::Ok);
    // A token that was accepted before is not bad because one request was rejected.
    let (outcome, _) = rig.answer(1, StatusCode::FORBIDDEN, "").await;
    assert!(matches!(outcome, RejectionOutcome::Final(Some(_))));
    assert_eq!(rig.state(), CredentialState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_ends_and_one_that_breaks_is_not_waited_for() {
    let rig = rig(&[
        ScriptedAnswer::Stall(100),
        ScriptedAnswer::Panic,
        ScriptedAnswer::Token(100),
    ]);
    let mut headers = HeaderMap::new();
    let called = rig.source.apply(&mut headers, after(60.0)).await;
    assert!(called.is_ok(), "{called:?}");
    assert_eq!(headers[header::AUTHORIZATION], "Bearer 3");
    assert_eq!(rig.grant.0.broken.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_renewed_now_and_then_and_used_until_it_is_refused() {
    let rig = rig(&[ScriptedAnswer::Endless, ScriptedAnswer::Error(temporary())]);
    assert_eq!(rig.call().await, Ok(1));
    pass(200.0).await;
    assert_eq!((rig.call().await, rig.grant.requests()), (Ok(1), 1));
    pass(100.0).await;
    assert_eq!(rig.call().await, Ok(1));
    pass(100_000.0).await;
    assert_eq!(rig.call().await, Ok(1));
    assert!(rig.grant.requests() > 1);
    assert_eq!(rig.state(), CredentialState::Expiring);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_ended_before_it_comes_is_no_token() {
    let rig = rig(&[ScriptedAnswer::Token(0)]);
    let called = rig.call().await;
    assert!(called.unwrap_err().contains("are the clocks right"));
    assert!(rig.grant.requests() < 10, "{}", rig.grant.requests());
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_unasked() {
    let rig = rig(&[
        ScriptedAnswer::Token(1000),
        ScriptedAnswer::Error(temporary()),
        ScriptedAnswer::Token(1000),
    ]);
    assert_eq!(rig.call().await, Ok(1));
    pass(901.0).await;
    assert_eq!(rig.call().await, Ok(1));
    pass(0.01).await;
    assert_eq!(rig.state(), CredentialState::Expiring);
    pass(1.0).await;
    assert_eq!(
        (rig.state(), rig.grant.requests()),
        (CredentialState::Ok, 3)
    );
    assert_eq!(rig.call().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_neither_for_a_request_nor_for_the_next_try() {
    for answer in [
        ScriptedAnswer::Stall(100),
        ScriptedAnswer::Error(rejected()),
    ] {
        let rig = rig(&[answer]);
        let mut headers = HeaderMap::new();
        assert!(rig.source.apply(&mut headers, after(1.0)).await.is_err());
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
    let rig = rig(&[ScriptedAnswer::Stall(100)]);
    let mut headers = HeaderMap::new();
    assert!(rig.source.apply(&mut headers, after(1.0)).await.is_err());
    assert_eq!(rig.tasks.len(), 1);
    drop(rig.source);
    rig.tasks.close();
    rig.tasks.wait().await;
    assert_eq!(rig.grant.0.broken.load(Ordering::SeqCst), 1);
}
