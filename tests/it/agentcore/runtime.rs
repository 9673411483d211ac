//! An MCP server on AgentCore Runtime as upstream.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{all_let_in, headers, over, told};
use crate::support::agentcore::{
    ARN, Agentcore, Door, Instead, Led, MCP_SESSION, RUNTIME_SESSION, SIGNED, Script,
};
use crate::support::client::Modern;
use crate::support::weir::Weir;

/// Settings with which nothing is listed unless a test asks for it.
const QUIET: &str = "resync: 1h";
const BUSY: &str = r#"{"code":-32005,"message":"Session operation in progress, please retry"}"#;
const CONFLICT: &str = r#"{"code":-32005,"message":"Resource conflict - Resource already exists"}"#;

async fn signed(setup: impl FnOnce(&mut Script)) -> Agentcore {
    Agentcore::runtime(|script| {
        script.door = Door::signed();
        setup(script);
    })
    .await
}

fn legacy_only(script: &mut Script) {
    script.versions = vec!["2025-06-18".to_owned()];
}

fn modern_only(script: &mut Script) {
    script.versions = vec!["2026-07-28".to_owned()];
}

/// The different values of a header; every request has one.
fn distinct(double: &Agentcore, method: &str, name: &str) -> BTreeSet<String> {
    let all = headers(&double.of(method), name);
    all.into_iter().map(|value| value.unwrap()).collect()
}

#[tokio::test]
async fn the_url_arrives_as_it_was_made_from_arn_or_id() {
    let by_arn = signed(|_| ()).await;
    let encoded = "arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A123456789012%3Aruntime%2Fbilling-x1";
    let target = "/runtimes/billing-x1/invocations?qualifier=prod&accountId=123456789012";
    let by_id = Agentcore::runtime_at(target, |script| script.door = Door::signed()).await;
    let place = format!(
        "runtime: {{ agent_id: billing-x1, account_id: \"123456789012\", region: eu-west-1, qualifier: prod, endpoint: \"{}\" }}",
        by_id.endpoint()
    );
    let yaml = by_arn.yaml("arn", SIGNED, QUIET) + &by_id.yaml_at("id", &place, SIGNED, QUIET);
    let weir = over(&yaml).await;
    for name in ["arn__refund", "id__refund"] {
        assert!(weir.modern().call(name, "{}").await.succeeded());
    }
    for arrived in by_arn.arrived() {
        let expected = format!("/runtimes/{encoded}/invocations?qualifier=DEFAULT");
        assert_eq!(arrived.target, expected);
    }
    assert!(by_id.arrived().iter().all(|one| one.target == target));
    all_let_in(&by_arn);
    all_let_in(&by_id);
}

#[tokio::test]
async fn all_requests_of_a_session_reach_one_machine_in_either_era() {
    for led in [Led::Mcp, Led::Runtime] {
        for era in [legacy_only, modern_only] {
            let corp = signed(|script| {
                era(script);
                script.led = led;
            })
            .await;
            let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
            for _ in 0..3 {
                assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
            }
            weir.resync("corp").await;
            assert_eq!(corp.machines(), 1, "{led:?}");
            let ids = distinct(&corp, "tools/call", RUNTIME_SESSION);
            assert_eq!(ids.len(), 1);
            assert!((33..=256).contains(&ids.first().unwrap().len()));
            // The platform's session id is sent back, although the modern era has no sessions.
            assert_eq!(distinct(&corp, "tools/call", MCP_SESSION).len(), 1);
            // A runtime has one operation, which is a POST.
            assert!(corp.arrived().iter().all(|one| one.http == "POST"));
            all_let_in(&corp);
        }
    }
}

#[tokio::test]
async fn each_legacy_caller_has_a_machine_of_its_own_and_keeps_it() {
    for led in [Led::Mcp, Led::Runtime] {
        let corp = signed(|script| {
            legacy_only(script);
            script.led = led;
        })
        .await;
        let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
        let (ann, ben) = (
            weir.legacy("2025-06-18").await,
            weir.legacy("2025-11-25").await,
        );
        let mut ids = Vec::new();
        for client in [&ann, &ben, &ann] {
            assert!(client.call("corp__refund", "{}").await.succeeded());
            let last = corp.of("tools/call").pop().unwrap();
            ids.push((
                last.header(RUNTIME_SESSION).unwrap().to_owned(),
                last.machine,
            ));
        }
        assert_eq!(ids[0], ids[2]);
        assert_ne!(ids[0], ids[1]);
        // And the session of the link itself.
        assert_eq!(corp.machines(), 3, "{led:?}");
        // The platform ends sessions after a while: the new session has the id of the old one.
        corp.instead(
            "tools/call",
            1,
            Instead::Error(
                404,
                r#"{"code":-32004,"message":"Resource not found"}"#.into(),
            ),
        );
        assert!(ann.call("corp__refund", "{}").await.succeeded());
        let last = corp.of("tools/call").pop().unwrap();
        assert_eq!(last.header(RUNTIME_SESSION), Some(&*ids[0].0));
        all_let_in(&corp);
    }
}

#[tokio::test]
async fn a_modern_session_that_the_platform_forgot_is_begun_again() {
    let corp = signed(modern_only).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    let before = corp.of("server/discover").len();
    for body in [
        r#"{"message":"gone"}"#,
        r#"{"jsonrpc":"2.0","id":"null","error":{"code":-32004,"message":"x"}}"#,
    ] {
        corp.instead("tools/call", 1, Instead::Plain(404, body.to_owned()));
        assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
    }
    assert_eq!(corp.of("server/discover").len(), before + 2);
    // A method that the server does not have is not a cold start.
    let unknown = r#"{"code":-32601,"message":"no such method"}"#;
    corp.instead(
        "tools/call",
        1,
        Instead::ErrorWithId(404, unknown.to_owned()),
    );
    let reply = weir.modern().call("corp__refund", "{}").await;
    assert_eq!(reply.raw_error(), unknown);
    assert_eq!(corp.of("server/discover").len(), before + 2);
}

#[tokio::test]
async fn a_container_with_sessions_of_its_own_is_met_without_the_platforms() {
    let corp = signed(|script| {
        legacy_only(script);
        script.sessions = true;
        script.jealous = true;
    })
    .await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    assert_eq!(told(&weir, "state").await, "up");
    let ann = weir.legacy("2025-06-18").await;
    assert!(ann.call("corp__refund", "{}").await.succeeded());
    assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
    all_let_in(&corp);
}

#[tokio::test]
async fn a_cold_start_is_waited_for() {
    let corp = signed(|script| {
        modern_only(script);
        script.cold = Duration::from_secs(3);
    })
    .await;
    let more = format!("{QUIET}\ntimeouts: {{ connect: 200ms }}");
    let yaml = corp.yaml("corp", SIGNED, &more);
    let port = crate::support::free_port();
    let builder = Weir::with(&yaml).on(port);
    let url = format!("http://127.0.0.1:{port}/mcp");
    let early = async {
        corp.wait("the probe", |all| !all.is_empty()).await;
        // The tool is not known yet, and the runtime does not count as failing.
        Modern::new(&url).request("tools/list", "{}").await
    };
    let (weir, early) = tokio::join!(builder.start(), early);
    assert!(early.succeeded(), "{early:?}");
    weir.wait_told("corp", "state", "up").await;
    assert!(
        !weir.stderr().contains("upstream fails"),
        "{}",
        weir.stderr()
    );
    // The platform has ended the session: the next call starts a machine and waits for it.
    corp.forget();
    corp.script().cold = Duration::from_secs(2);
    let began = Instant::now();
    let calls = futures::future::join_all(
        (0..8).map(|_| async { weir.modern().call("corp__refund", "{}").await.succeeded() }),
    );
    assert!(calls.await.into_iter().all(|succeeded| succeeded));
    assert!(began.elapsed() > Duration::from_secs(1));
    let told = weir.told("corp").await;
    assert_eq!(told["circuit"]["state"], "closed");
    assert_eq!(told["state"], "up");
}

#[tokio::test]
async fn what_did_not_run_because_the_session_is_busy_is_sent_again() {
    for era in [legacy_only, modern_only] {
        let corp = signed(era).await;
        // The handshake and its notification.
        corp.instead("server/discover", 2, Instead::Error(200, BUSY.to_owned()));
        corp.instead("initialize", 2, Instead::Error(200, BUSY.to_owned()));
        corp.instead(
            "notifications/initialized",
            1,
            Instead::Error(200, BUSY.to_owned()),
        );
        corp.instead(
            "tools/list",
            2,
            Instead::Plain(409, r#"{"message":"x"}"#.to_owned()),
        );
        let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
        assert_eq!(told(&weir, "state").await, "up");
        assert!(
            !weir.stderr().contains("upstream fails"),
            "{}",
            weir.stderr()
        );
        for instead in [
            Instead::Error(200, BUSY.to_owned()),
            Instead::ErrorWithId(409, BUSY.to_owned()),
            Instead::Plain(
                409,
                r#"{"message":"RetryableConflictException"}"#.to_owned(),
            ),
        ] {
            let before = corp.of("tools/call").len();
            corp.instead("tools/call", 3, instead);
            assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
            assert_eq!(corp.of("tools/call").len(), before + 4);
        }
        // The other 409 is an answer.
        let before = corp.of("tools/call").len();
        corp.instead("tools/call", 1, Instead::Error(200, CONFLICT.to_owned()));
        let reply = weir.modern().call("corp__refund", "{}").await;
        assert!(!reply.succeeded());
        assert_eq!(corp.of("tools/call").len(), before + 1);
        all_let_in(&corp);
    }
}

#[tokio::test]
async fn a_session_that_stays_busy_is_given_up_in_time() {
    let corp = signed(modern_only).await;
    let more = format!("{QUIET}\ntimeouts: {{ call: 1s }}");
    let weir = over(&corp.yaml("corp", SIGNED, &more)).await;
    corp.instead("tools/call", 99, Instead::Error(200, BUSY.to_owned()));
    let reply = weir.modern().call("corp__refund", "{}").await;
    assert_eq!(reply.raw_error(), BUSY);
    // With growing pauses.
    let tries = corp.of("tools/call").len();
    assert!((2..=6).contains(&tries), "{tries}");
    assert_eq!(told(&weir, "circuit").await["state"], "closed");
}

/// Codes, statuses and messages of the platform's errors, except those about credentials and
/// sessions.
const TABLE: [(u16, &str, &str); 6] = [
    (
        200,
        r#"{"code":-32003,"message":"Rate limit exceeded - Too many requests"}"#,
        "too many requests",
    ),
    (
        200,
        r#"{"code":-32004,"message":"Resource not found - Requested resource does not exist"}"#,
        "there is no such resource",
    ),
    (
        200,
        r#"{"code":-32006,"message":"Validation error - Invalid request data"}"#,
        "the request is not valid",
    ),
    (
        200,
        r#"{"code":-32010,"message":"Tool execution error - Please check your CloudWatch logs for more information"}"#,
        "the container failed",
    ),
    (
        406,
        r#"{"code":-32011,"message":"Accept Header Error"}"#,
        "the Accept header does not suit it",
    ),
    (
        200,
        r#"{"code":-32603,"message":"Internal error - Server error"}"#,
        "something inside failed",
    ),
];

#[tokio::test]
async fn errors_of_the_platform_reach_the_caller_as_they_are_and_the_operator_in_words() {
    for era in [legacy_only, modern_only] {
        let corp = signed(era).await;
        let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
        let legacy = weir.legacy("2025-06-18").await;
        let is_legacy = corp.script().versions[0].starts_with("2025");
        for (status, error, words) in TABLE {
            let before = corp.of("tools/call").len();
            corp.instead("tools/call", 1, Instead::Error(status, error.to_owned()));
            let reply = match is_legacy {
                true => legacy.call("corp__refund", "{}").await,
                false => weir.modern().call("corp__refund", "{}").await,
            };
            assert_eq!(reply.raw_error(), error, "{reply:?}");
            // With the caller's own id, whatever id the platform answers with.
            assert_ne!(reply.id().unwrap(), "\"null\"");
            assert_eq!(corp.of("tools/call").len(), before + 1, "{error}");
            let told = weir.told("corp").await;
            let last = told["last_failed_call"]["reason"].as_str().unwrap();
            assert!(last.contains(words), "{last}");
            assert_eq!(told["circuit"]["state"], "closed");
        }
    }
}

#[tokio::test]
async fn a_listing_that_the_platform_answers_fails_and_the_last_one_stays() {
    let corp = signed(modern_only).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    let generation = weir.generation().await;
    let throttled = "to be asked again";
    for (instead, words) in [
        (Instead::Error(200, TABLE[0].1.to_owned()), "throttled"),
        (
            Instead::Error(200, TABLE[1].1.to_owned()),
            "there is no such resource (-32004)",
        ),
        (
            Instead::Error(200, CONFLICT.to_owned()),
            "there is a conflict (-32005)",
        ),
        (Instead::Error(200, TABLE[3].1.to_owned()), "-32010"),
        (Instead::Plain(402, "{}".to_owned()), "402 Payment Required"),
        (
            Instead::Plain(429, "{}".to_owned()),
            "429 Too Many Requests",
        ),
        (
            Instead::Plain(424, "{}".to_owned()),
            "424 Failed Dependency",
        ),
        (Instead::Plain(400, "{}".to_owned()), "400 Bad Request"),
        (
            Instead::Plain(500, "{}".to_owned()),
            "500 Internal Server Error",
        ),
    ] {
        corp.instead("tools/list", 99, instead);
        weir.resync("corp").await;
        let told = weir.told("corp").await;
        corp.heal();
        assert_eq!(told["state"], "failing", "{told}");
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains(words) && !reason.contains(throttled),
            "{reason}"
        );
        weir.wait_told("corp", "state", "up").await;
    }
    assert_eq!(weir.generation().await, generation);
}

#[tokio::test]
async fn the_wrong_way_of_logging_in_is_explained_in_both_directions() {
    let takes_tokens =
        Agentcore::runtime(|script| script.door = Door::Bearer("tok".to_owned())).await;
    let takes_signatures = signed(|_| ()).await;
    let bearer = "{ type: bearer, token: { value: tok } }";
    let yaml = takes_tokens.yaml("signs", SIGNED, QUIET)
        + &takes_signatures.yaml("shows", bearer, QUIET)
        + &takes_tokens.yaml("fits", bearer, QUIET);
    let weir = over(&yaml).await;
    assert!(weir.modern().call("fits__refund", "{}").await.succeeded());
    let signs = weir.wait_told("signs", "state", "failing").await;
    let reason = signs["reason"].as_str().unwrap();
    assert!(
        reason.contains("takes tokens (JWT), not signatures"),
        "{reason}"
    );
    let shows = weir.wait_told("shows", "state", "failing").await;
    let reason = shows["reason"].as_str().unwrap();
    assert!(
        reason.contains("takes signatures (SigV4), not tokens"),
        "{reason}"
    );
    // None of it contains the platform's text.
    let log = weir.stderr();
    assert!(!log.contains("Authorization method mismatch"), "{log}");
}

#[tokio::test]
async fn a_refusal_in_the_body_alone_is_a_refusal() {
    let corp = signed(modern_only).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    for (code, status) in [(-32001, "401"), (-32002, "403")] {
        let error = format!("{{\"code\":{code},\"message\":\"no\"}}");
        corp.instead("tools/list", 99, Instead::Error(200, error));
        weir.resync("corp").await;
        let reason = told(&weir, "reason").await;
        corp.heal();
        let reason = reason.as_str().unwrap();
        assert!(
            reason.contains("credentials were refused") && reason.contains(status),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn the_trace_of_a_call_goes_to_the_data_plane() {
    let corp = signed(modern_only).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    let params = r#"{"name":"corp__refund","arguments":{},"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=1","baggage":"b=2"}}"#;
    let reply = weir.modern().request("tools/call", params).await;
    assert!(reply.succeeded(), "{reply:?}");
    let call = corp.of("tools/call").pop().unwrap();
    assert!(
        call.header("traceparent")
            .unwrap()
            .contains("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(call.header("tracestate"), Some("a=1"));
    assert_eq!(call.header("baggage"), Some("b=2"));
    assert!(ARN.contains("billing-x1"));
    // The requests are signed even so.
    all_let_in(&corp);
}
