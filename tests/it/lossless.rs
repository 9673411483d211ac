//! Messages keep their bytes, except where weir has to change them.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::support::client::{Legacy, Modern, names};
use crate::support::upstream::{Builder, Kind, Recorded, Upstream};
use crate::support::weir::Weir;
use crate::support::{at, quote};

/// Results that a typed model loses or changes. `MARK` is the era's `resultType` member.
const ODD: [&str; 8] = [
    r#"{MARK"content":[],"x":1e400,"y":-0.0E-7,"z":1.10}"#,
    r#"{"zz":1,"content":[{"text":"t","type":"text"}],MARK"aa":{"b":2,"a":1}}"#,
    r#"{MARK"content":[],"structuredContent":{"id":12345678901234567890,"n":123456789012345678901234567890}}"#,
    r#"{MARK"content":[{"type":"text","text":"\u00e9\/\ud83d\ude00\u0000"}],"\u0061b":"caf\u00E9"}"#,
    r#"{MARK"content":[{"type":"hologram","depth":[[[]]],"blob":null},{"type":"text","text":"é☂"}]}"#,
    r#"{MARK"content":[],"_meta":{"vendor/x":{"_meta":{"id":1,"id2":[1.0]}},"progressToken":7}}"#,
    r#"{ MARK "content" : [ { "type":"text" , "text":"spaced" } ] , "isError" : false }"#,
    "{MARK\n  \"content\": [],\n  \"pretty\": [\n    1,\n    2\n  ]\n}",
];

fn shapes(make: impl Fn() -> Builder) -> [Builder; 3] {
    [make().json(), make().sse(), make().sse().dribble(5)]
}

#[tokio::test]
async fn a_legacy_result_arrives_byte_for_byte() {
    for builder in shapes(|| Upstream::named("up").tools(["odd"]).legacy("2025-06-18")) {
        let up = builder.start().await;
        let weir = Weir::over([&up]).start().await;
        let legacy = weir.legacy("2025-06-18").await;
        for odd in ODD {
            let odd = odd.replace("MARK", "");
            up.set_answer("odd", &odd);
            assert_eq!(legacy.call("up__odd", "{}").await.result(), odd);
        }
    }
}

#[tokio::test]
async fn a_modern_result_arrives_byte_for_byte() {
    for builder in shapes(|| Upstream::named("up").tools(["odd"]).modern()) {
        let up = builder.start().await;
        let weir = Weir::over([&up]).start().await;
        let modern = weir.modern();
        for odd in ODD {
            let odd = odd.replace("MARK", r#""resultType":"complete","#);
            up.set_answer("odd", &odd);
            assert_eq!(modern.call("up__odd", "{}").await.result(), odd);
        }
    }
}

#[tokio::test]
async fn optional_members_that_are_null_do_not_reach_an_upstream() {
    // The legacy caller has only nulls in `_meta`; the modern one has its envelope besides.
    let params = r#"{"name":"up__odd","arguments":null,"inputResponses":null,"requestState":null,"_meta":{"progressToken":null,"traceparent":null}}"#;
    for builder in [Upstream::named("up").modern(), Upstream::named("up")] {
        let up = builder.tools(["odd"]).start().await;
        let weir = Weir::over([&up]).start().await;
        let (legacy, modern) = (weir.legacy("2025-06-18").await, weir.modern());
        let modern = modern
            .ask("tools/call", params)
            .header("mcp-name", "up__odd");
        for reply in [
            legacy.request("tools/call", params).await,
            modern.send().await,
        ] {
            assert!(reply.succeeded(), "{reply:?}");
        }
        for sent in up.requests("tools/call") {
            let sent = sent.raw(&["params"]).unwrap_or_default();
            assert!(!sent.contains("null"), "{sent}");
        }
        assert_eq!(up.count("tools/call"), 2);
    }
}

#[tokio::test]
async fn prompts_and_resources_arrive_byte_for_byte() {
    let prompt = r#"{"resultType":"complete","messages":[{"role":"user","content":{"type":"odd","n":1e400}}],"z":[ ]}"#;
    let resource = r#"{"resultType":"complete","ttlMs":5,"cacheScope":"private","contents":[{"uri":"file:///a","text":"\u00e9","odd":{"b":1,"a":2}}]}"#;
    let up = Upstream::named("up")
        .modern()
        .answers_as(Kind::Prompts, "p", prompt)
        .answers_as(Kind::Resources, "file:///a", resource)
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let modern = weir.modern();
    let got = modern.request("prompts/get", r#"{"name":"up__p"}"#).await;
    assert_eq!(got.result(), prompt);
    let got = modern
        .request("resources/read", r#"{"uri":"file:///a"}"#)
        .await;
    assert_eq!(got.result(), resource);
}

#[tokio::test]
async fn an_error_of_the_tools_own_arrives_with_its_data() {
    let error = r#"{"code":1234,"message":"caf\u00e9","data":{"n":12345678901234567890,"x":1e400},"more":[ ]}"#;
    let modern_up = Upstream::named("new")
        .errors("bad", error)
        .modern()
        .start()
        .await;
    let legacy_up = Upstream::named("old")
        .errors("bad", error)
        .legacy("2025-11-25")
        .start()
        .await;
    let weir = Weir::over([&modern_up, &legacy_up]).start().await;
    let reply = weir.modern().call("new__bad", "{}").await;
    assert_eq!((reply.status, reply.raw_error().as_str()), (200, error));
    let reply = weir.legacy("2025-11-25").await.call("old__bad", "{}").await;
    assert_eq!((reply.status, reply.raw_error().as_str()), (200, error));
}

#[tokio::test]
async fn arguments_and_foreign_meta_reach_the_upstream_as_they_were_written() {
    let up = Upstream::named("up").tools(["odd"]).modern().start().await;
    let weir = Weir::over([&up]).instance("eu").start().await;
    let arguments =
        r#"{ "z":1e400, "a":12345678901234567890 , "s":"\u00e9\/", "n":{"id":null,"name":"x"} }"#;
    let params = format!(r#"{{"later":[ 1 ],"name":"up__odd","arguments":{arguments}}}"#);
    let modern = weir.modern();
    let ask = modern
        .ask("tools/call", &params)
        .meta("vendor/x", r#"{"b": 1e400}"#);
    assert!(ask.send().await.succeeded());
    let legacy = weir.legacy("2025-11-25").await;
    let ask = legacy
        .ask("tools/call", &params)
        .meta("vendor/x", r#"{"b": 1e400}"#);
    assert!(ask.send().await.succeeded());
    // The envelope of the era, and nothing else.
    let bare = modern.ask("tools/call", &params);
    assert!(bare.send().await.succeeded());
    let bare = legacy.ask("tools/call", &params);
    assert!(bare.send().await.succeeded());
    let calls = up.requests("tools/call");
    assert_eq!(calls.len(), 4);
    let unmarked: Vec<_> = calls.iter().map(|call| unmarked(call, "eu")).collect();
    let envelope = |client: &Modern| {
        let body = client.ask("tools/call", "{}").body();
        at(&body, &["params", "_meta"]).unwrap()
    };
    let foreign = r#""vendor/x":{"b": 1e400}"#;
    let sent = envelope(&modern);
    let inside = sent.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    // The upstream is modern, so after the legacy caller's own members comes the envelope. A client that
    // has set no level gets what is not for debugging.
    let keys = [
        "protocolVersion",
        "clientInfo",
        "clientCapabilities",
        "logLevel",
    ];
    let own: Vec<_> = keys
        .map(|key| {
            let key = format!("io.modelcontextprotocol/{key}");
            let value = calls[3].raw(&["params", "_meta", &key]).unwrap();
            format!("\"{key}\":{value}")
        })
        .into();
    let own = own.join(",");
    assert_eq!(unmarked[0], format!("{inside},{foreign}"));
    assert_eq!(unmarked[1], format!("{foreign},{own}"));
    assert_eq!(unmarked[2], inside);
    assert_eq!(unmarked[3], own);
    for call in calls.iter().take(2) {
        assert_eq!(
            call.raw(&["params", "arguments"]).as_deref(),
            Some(arguments)
        );
        assert_eq!(call.raw(&["params", "later"]).as_deref(), Some("[ 1 ]"));
        assert_eq!(call.raw(&["params", "name"]).as_deref(), Some("\"odd\""));
        assert_eq!(
            call.raw(&["params", "_meta", "vendor/x"]).as_deref(),
            Some(r#"{"b": 1e400}"#)
        );
    }
}

/// Returns the `_meta` that an upstream received, without the path and the remaining time that weir
/// puts at its end.
fn unmarked(call: &Recorded, instance: &str) -> String {
    let meta = call.raw(&["params", "_meta"]).unwrap();
    let left = call.raw(&["params", "_meta", "weir/deadlineMs"]).unwrap();
    assert!(
        (1..120_000).contains(&left.parse::<u32>().unwrap()),
        "{left}"
    );
    let own = format!(r#""weir/path":["{instance}"],"weir/deadlineMs":{left}}}"#);
    let before = meta.strip_suffix(&own);
    let before = before.unwrap_or_else(|| panic!("{meta} does not end in {own}"));
    let before = before.strip_prefix('{').unwrap();
    before.strip_suffix(',').unwrap_or(before).to_owned()
}

#[tokio::test]
async fn progress_keeps_its_unknown_members() {
    let up = Upstream::named("up").progress("work", 2).start().await;
    let weir = Weir::over([&up]).start().await;
    let modern = weir.modern();
    let ask = modern.ask("tools/call", r#"{"name":"up__work"}"#);
    let reply = ask.meta("progressToken", "\"mine\"").send().await;
    let progress: Vec<_> = reply
        .events
        .iter()
        .filter(|event| event.contains("progress\""))
        .collect();
    assert_eq!(progress.len(), 2, "{reply:?}");
    assert!(
        progress[0].contains("\"x\":12345678901234567890123"),
        "{progress:?}"
    );
    assert!(
        progress[0].contains("\"progressToken\":\"mine\""),
        "{progress:?}"
    );
}

const DEFINITION: &str = r#"{"title":"Caf\u00e9","x-cost":1e400, "name":"NAME","annotations":{"z":true,"readOnlyHint":true,"a":12345678901234567890},"inputSchema":{"type":"object","$defs":{"n":{"minimum":-1E-400}},"properties":{"name":{"type":"string"}}},"outputSchema":{"type":"object"},"icons":[ ],"_meta":{"vendor/x":{"_meta":{}}}}"#;

#[tokio::test]
async fn a_tool_definition_changes_in_nothing_but_its_name_and_origin() {
    let original = DEFINITION.replace("NAME", "t");
    let exposed = DEFINITION.replace("NAME", "up__t");
    let exposed = exposed.replace(
        "{\"_meta\":{}}}",
        "{\"_meta\":{}},\"weir/origin\":[\"eu\"]}",
    );
    let modern_up = Upstream::named("up")
        .raw_tool(&original)
        .modern()
        .start()
        .await;
    let weir = Weir::over([&modern_up]).instance("eu").start().await;
    let definitions = weir.modern().list_all("tools/list").await;
    assert_eq!(
        definitions.join(
            "
"
        ),
        exposed
    );
    let legacy_up = Upstream::named("up")
        .raw_tool(&original)
        .legacy("2025-11-25")
        .sse()
        .start()
        .await;
    let weir = Weir::over([&legacy_up]).instance("eu").start().await;
    let legacy = weir.legacy("2025-11-25").await;
    assert_eq!(legacy.list_all("tools/list").await, [exposed]);
}

/// Any JSON, spelled in any way; keys are unique in each object.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e400".to_owned()),
        Just("-0.0E-7".to_owned()),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?",
        any::<String>().prop_map(|text| quote(&text)),
        "[a-z]{0,4}".prop_map(|text| format!("\"\\u00e9{text}\\/\\ud83d\\ude00\"")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(" , "))),
            any_object(inner),
        ]
    })
}

fn any_object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::hash_map(any::<String>(), value, 0..6).prop_map(|members| {
        let members = members.iter().map(|(k, v)| format!("{} :{v}", quote(k)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

struct Pair {
    old: Upstream,
    new: Upstream,
    _weir: Weir,
    legacy: Legacy,
    modern: Modern,
}

impl Pair {
    async fn start() -> Self {
        let old = Upstream::named("old")
            .tools(["odd"])
            .legacy("2025-11-25")
            .sse()
            .start()
            .await;
        let new = Upstream::named("new")
            .tools(["odd"])
            .modern()
            .json()
            .start()
            .await;
        let weir = Weir::over([&old, &new]).start().await;
        Self {
            legacy: weir.legacy("2025-11-25").await,
            modern: weir.modern(),
            old,
            new,
            _weir: weir,
        }
    }
}

#[test]
fn any_result_and_any_arguments_cross_unchanged() {
    let runtime = runtime();
    let pair = runtime.block_on(Pair::start());
    let strategy = (any_json(), any_object(any_json()));
    runner(96)
        .run(&strategy, |(extra, arguments)| {
            let result = format!(r#"{{"content":[],"extra":{extra}}}"#);
            let stamped = format!(r#"{{"extra":{extra},"resultType":"complete"}}"#);
            pair.old.set_answer("odd", &result);
            pair.new.set_answer("odd", &stamped);
            let old = runtime.block_on(pair.legacy.call("old__odd", &arguments));
            prop_assert_eq!(old.result(), result);
            let new = runtime.block_on(pair.modern.call("new__odd", &arguments));
            prop_assert_eq!(new.result(), stamped);
            for up in [&pair.old, &pair.new] {
                let seen = up.last("tools/call").raw(&["params", "arguments"]);
                prop_assert_eq!(seen.as_deref(), Some(arguments.as_str()));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_definition_crosses_unchanged_but_for_its_name_and_origin() {
    let runtime = runtime();
    let mut runner = runner(1);
    let extras: Vec<String> = (0..60)
        .map(|_| any_json().new_tree(&mut runner).unwrap().current())
        .collect();
    let define = |name: &str, extra: &str| {
        format!(
            r#"{{"extra":{extra},"name":"{name}","inputSchema":{{"type":"object","x":{extra}}}}}"#
        )
    };
    let mut builder = Upstream::named("up").modern();
    for (at, extra) in extras.iter().enumerate() {
        builder = builder.raw_tool(&define(&format!("t{at:02}"), extra));
    }
    runtime.block_on(async {
        let up = builder.start().await;
        let weir = Weir::over([&up]).instance("eu").start().await;
        let mut definitions = weir.modern().list_all("tools/list").await;
        definitions.sort_by_key(|definition| names(std::slice::from_ref(definition), "name"));
        for (at, extra) in extras.iter().enumerate() {
            let expected = define(&format!("up__t{at:02}"), extra);
            let expected = expected.strip_suffix('}').unwrap();
            let expected = format!("{expected},\"_meta\":{{\"weir/origin\":[\"eu\"]}}}}");
            assert_eq!(definitions[at], expected);
        }
        assert_eq!(definitions.len(), extras.len());
    });
}
