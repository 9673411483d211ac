//! Three weirs, one over the other, of which each speaks the other era than the one before it: a question crosses the
//! eras three times, and so does its answer.

use crate::support::asking::{Asking, Call};
use crate::support::client::{Legacy, Reply, call_params};
use crate::support::lens::Lens;
use crate::support::weir::Weir;
use crate::support::{at, fields, quote, unquote};

const ABLE: &str =
    r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}"#;
const FORM: &str = r#""method":"elicitation/create","params":{"mode":"form","message":"\u0041?","requestedSchema":{"type":"object","properties":{}}}"#;
const SAMPLE: &str =
    r#""method":"sampling/createMessage","params":{"messages":[],"maxTokens":1e400,"tools":[ ]}"#;
const ROOTS: &str = r#""method":"roots/list""#;
const YES: &str = r#"{"action":"accept","content":{"n":1e400}}"#;
const NO: &str = r#"{"action":"decline"}"#;
const NEITHER: &str = r#"{"action":"cancel"}"#;
const SAMPLED: &str =
    r#"{"role":"assistant","content":{"type":"text","text":"\u0041"},"model":"m"}"#;
const LISTED: &str = r#"{"roots":[ ]}"#;
const DONE: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#;
const ARGUMENTS: &str = r#"{"n":1e400}"#;

/// Three forms, then sampling with tools: questions, and their answers.
const ROUNDS: [(&str, &str); 4] = [(FORM, YES), (FORM, NO), (FORM, NEITHER), (SAMPLE, SAMPLED)];

/// The eras between two weirs, from the caller's on.
const MODERN_FIRST: [&str; 2] = ["modern", "legacy"];
const LEGACY_FIRST: [&str; 2] = ["legacy", "modern"];

/// The weirs over one upstream; the last one is the caller's.
struct Weirs {
    weirs: [Weir; 3],
    /// The settings that make a hop one of an era.
    _lenses: Vec<Lens>,
}

impl Weirs {
    async fn over(up: &Asking, eras: [&'static str; 2]) -> Self {
        let near = Weir::with(&up.yaml()).instance("near").start().await;
        let mut lenses = Vec::new();
        let middle = Self::next(&near, "middle", eras[1], &mut lenses).await;
        let far = Self::next(&middle, "far", eras[0], &mut lenses).await;
        far.wait_tools(["up__ask"]).await;
        Self {
            weirs: [near, middle, far],
            _lenses: lenses,
        }
    }

    async fn next(below: &Weir, name: &str, era: &str, lenses: &mut Vec<Lens>) -> Weir {
        let lens = match era {
            "legacy" => Lens::legacy(below.url()).await,
            _ => Lens::modern(below.url()).await,
        };
        let upstream = format!(
            "  next:\n    url: \"{}\"\n    namespace: \"\"\n",
            lens.url()
        );
        lenses.push(lens);
        let weir = Weir::with(&upstream).instance(name).start().await;
        let about = weir.admin("/upstreams").await["upstreams"][0].clone();
        assert_eq!(about["era"], era, "{about}");
        weir
    }

    /// The URL for callers.
    fn url(&self) -> String {
        self.weirs[2].url()
    }

    /// Asserts that no weir has a call that waits.
    async fn wait_for_nobody(&self) {
        for weir in &self.weirs {
            assert_eq!(weir.metric("weir_parked_calls").await, 0);
        }
    }
}

fn legacy() -> crate::support::asking::Builder {
    Asking::named("up").tools(["ask"])
}

/// The parts of a question.
fn parts(asked: &str) -> [Option<String>; 2] {
    let asked = match asked.starts_with('{') {
        true => asked.to_owned(),
        false => format!("{{{asked}}}"),
    };
    [at(&asked, &["method"]), at(&asked, &["params"])]
}

/// The only question of a result, by its name.
fn question(reply: &Reply) -> (String, String) {
    let requests = at(&reply.result(), &["inputRequests"]);
    let requests = requests.unwrap_or_else(|| panic!("no question: {reply:?}"));
    let mut requests = fields(&requests).unwrap().into_iter();
    let (key, asked) = requests.next().unwrap();
    assert_eq!(requests.next().map(|(key, _)| key), None, "{reply:?}");
    (key, asked.get().to_owned())
}

async fn say(call: &Call, round: usize, asked: &str) {
    let message = format!(r#"{{"jsonrpc":"2.0","id":"q{round}",{asked}}}"#);
    call.say(&message).await;
}

#[tokio::test]
async fn a_legacy_upstream_asks_a_modern_caller_in_many_rounds_over_three_weirs() {
    let up = legacy().start().await;
    let weirs = Weirs::over(&up, LEGACY_FIRST).await;
    let mut caller = weirs.weirs[2].modern();
    caller.capabilities = ABLE.to_owned();
    let params = call_params("up__ask", ARGUMENTS);
    let upstream = async {
        let call = up.call().await;
        say(&call, 0, ROUNDS[0].0).await;
        call
    };
    let (mut reply, call) = tokio::join!(caller.request("tools/call", &params), upstream);
    let mut states = Vec::new();
    for (round, (asked, answer)) in ROUNDS.into_iter().enumerate() {
        let (key, found) = question(&reply);
        assert_eq!(parts(&found), parts(asked));
        let state = at(&reply.result(), &["requestState"]).unwrap();
        assert!(!states.contains(&state), "a state that was used");
        let open = params.strip_suffix('}').unwrap();
        let key = quote(&key);
        let back =
            format!(r#"{open},"inputResponses":{{{key}:{answer}}},"requestState":{state}}}"#);
        states.push(state);
        let upstream = async {
            let got = up.answered(&format!("\"q{round}\"")).await;
            assert_eq!(at(&got, &["result"]).as_deref(), Some(answer));
            match ROUNDS.get(round + 1) {
                Some((next, _)) => say(&call, round + 1, next).await,
                None => {
                    let id = &call.id;
                    call.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{DONE}}}"#))
                        .await;
                }
            }
        };
        (reply, ()) = tokio::join!(caller.request("tools/call", &back), upstream);
    }
    assert_eq!(reply.text(), "done");
    assert_eq!(up.count("tools/call"), 1, "one call, however many rounds");
    weirs.wait_for_nobody().await;
}

#[tokio::test]
async fn a_modern_upstream_asks_a_legacy_caller_in_many_rounds_over_three_weirs() {
    let up = legacy().modern().start().await;
    let weirs = Weirs::over(&up, MODERN_FIRST).await;
    let caller = Legacy::open_with(weirs.url(), "2025-11-25", ABLE).await;
    let question = |round: usize| {
        let (asked, _) = ROUNDS[round];
        let state = format!("\"s\\/{round}\"");
        format!(
            r#"{{"resultType":"input_required","inputRequests":{{"k{round}":{{{asked}}}}},"requestState":{state}}}"#
        )
    };
    let ask = caller.ask("tools/call", &call_params("up__ask", ARGUMENTS));
    let upstream = async { up.call().await.answer(&question(0)).await };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    for (round, (asked, answer)) in ROUNDS.into_iter().enumerate() {
        let message = stream.next().await.unwrap();
        assert_eq!(parts(&message), parts(asked));
        let id = at(&message, &["id"]).unwrap();
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#);
        assert_eq!(caller.post(&body).await.status, 202);
        let retry = up.call().await;
        let param = |key| retry.request.raw(&["params", key]);
        let answers = format!(r#"{{"k{round}":{answer}}}"#);
        assert_eq!(param("inputResponses"), Some(answers));
        assert_eq!(param("requestState"), Some(format!("\"s\\/{round}\"")));
        assert_eq!(param("arguments").as_deref(), Some(ARGUMENTS));
        let next = match round + 1 < ROUNDS.len() {
            true => question(round + 1),
            false => DONE.to_owned(),
        };
        retry.answer(&next).await;
    }
    assert_eq!(stream.finish().await.text(), "done");
    assert_eq!(up.count("tools/call"), 1 + ROUNDS.len());
    weirs.wait_for_nobody().await;
}

#[tokio::test]
async fn questions_at_once_pass_three_weirs() {
    let up = legacy().modern().start().await;
    let weirs = Weirs::over(&up, MODERN_FIRST).await;
    let caller = Legacy::open_with(weirs.url(), "2025-11-25", ABLE).await;
    let all = [
        ("a", FORM, YES),
        ("b", SAMPLE, SAMPLED),
        ("c", ROOTS, LISTED),
    ];
    let asked = all.map(|(key, asked, _)| format!("{key:?}:{{{asked}}}"));
    let asked = asked.join(",");
    let question = format!(
        r#"{{"resultType":"input_required","inputRequests":{{{asked}}},"requestState":"s"}}"#
    );
    let ask = caller.ask("tools/call", &call_params("up__ask", ARGUMENTS));
    let upstream = async { up.call().await.answer(&question).await };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    // The weir in the middle may need two rounds for them: each is answered at once.
    for _ in all {
        let message = stream.next().await.unwrap();
        let method = unquote(&at(&message, &["method"]).unwrap()).unwrap();
        let asked = all.iter().find(|(_, asked, _)| asked.contains(&method));
        let (_, asked, answer) = asked.unwrap_or_else(|| panic!("not asked: {message}"));
        assert_eq!(parts(&message), parts(asked));
        let id = at(&message, &["id"]).unwrap();
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#);
        assert_eq!(caller.post(&body).await.status, 202);
    }
    let retry = up.call().await;
    let expected = all.map(|(key, _, answer)| format!("{key:?}:{answer}"));
    let expected = format!("{{{}}}", expected.join(","));
    assert_eq!(
        retry.request.raw(&["params", "inputResponses"]),
        Some(expected)
    );
    retry.answer(DONE).await;
    assert_eq!(stream.finish().await.text(), "done");
}

#[tokio::test]
async fn a_modern_call_that_goes_round_or_too_far_parks_nothing() {
    let up = legacy().start().await;
    let weir = Weir::with(&up.yaml()).instance("near").start().await;
    let mut caller = weir.modern();
    caller.capabilities = ABLE.to_owned();
    let sessions = up.sessions().len();
    let eight = r#"["1","2","3","4","5","6","7","8"]"#;
    for path in [r#"["a","near","b"]"#, eight] {
        let ask = caller.ask("tools/call", &call_params("up__ask", "{}"));
        let reply = ask.meta("weir/path", path).send().await;
        assert_eq!(reply.code(), -32600, "{reply:?}");
    }
    assert_eq!(up.count("tools/call"), 0);
    assert_eq!(up.sessions().len(), sessions, "none is opened for it");
    assert_eq!(weir.metric("weir_parked_calls").await, 0);
}
