//! Messages of callers and operators.

use super::{Cost, many};
use crate::support::client::{Legacy, pool};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;
use crate::support::{at, quote, unquote};

/// The largest body that weir takes here, but for its envelope.
const BODY: usize = (1 << 20) - 8_192;

fn long(bytes: usize) -> String {
    quote(&"u://x/".chars().cycle().take(bytes).collect::<String>())
}

fn deep(bytes: usize) -> String {
    format!("{}1{}", "[".repeat(bytes / 2), "]".repeat(bytes / 2))
}

fn members(bytes: usize) -> String {
    many(bytes, |number| format!(r#""m{number}":{number}"#))
}

fn names(bytes: usize, of: &str) -> String {
    many(bytes, |number| format!(r#""{of}{number}""#))
}

/// Builds a message of so many bytes.
type Build = fn(usize) -> String;

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
}

fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{params}}}}}"#)
}

fn call(arguments: &str) -> String {
    let params = format!(r#""name":"up__echo","arguments":{arguments}"#);
    request("tools/call", &params)
}

fn with_meta(members: &str) -> String {
    let params = format!(r#""name":"up__echo","arguments":{{}},"_meta":{{{members}}}"#);
    request("tools/call", &params)
}

fn listen(topics: &str) -> String {
    request(
        "subscriptions/listen",
        &format!(r#""notifications":{{{topics}}}"#),
    )
}

fn member(method: &str, member: &str, bytes: usize) -> String {
    request(method, &format!(r#""{member}":{}"#, long(bytes)))
}

fn completion(of: &str, member: &str, bytes: usize) -> String {
    let reference = format!(r#""ref":{{"type":"ref/{of}","{member}":{}}}"#, long(bytes));
    request("completion/complete", &reference)
}

/// Messages whose size a caller chooses, by what is large about them.
const MESSAGES: &[(&str, Build)] = &[
    ("arguments with many members", |n| {
        call(&format!("{{{}}}", members(n)))
    }),
    ("arguments that nest", |n| {
        call(&format!(r#"{{"a":{}}}"#, deep(n)))
    }),
    ("a long argument", |n| {
        call(&format!(r#"{{"a":{}}}"#, long(n)))
    }),
    ("many params", |n| {
        request(
            "tools/call",
            &format!(r#""name":"up__echo",{}"#, members(n)),
        )
    }),
    ("a member twice", |n| {
        request("tools/call", &format!(r#"{},"m0":1"#, members(n)))
    }),
    ("a `_meta` with many members", |n| with_meta(&members(n))),
    ("a `_meta` that nests", |n| {
        with_meta(&format!(r#""a":{}"#, deep(n)))
    }),
    ("a long path", |n| {
        with_meta(&format!(r#""weir/path":[{}]"#, names(n, "w")))
    }),
    ("a long progress token", |n| {
        with_meta(&format!(r#""progressToken":{}"#, long(n)))
    }),
    ("a long tracestate", |n| {
        with_meta(&format!(r#""tracestate":{}"#, long(n)))
    }),
    ("a long baggage", |n| {
        with_meta(&format!(
            r#""baggage":{}"#,
            quote(&many(n, |n| format!("b{n}=1")))
        ))
    }),
    ("a long tool name", |n| member("tools/call", "name", n)),
    ("a long prompt name", |n| member("prompts/get", "name", n)),
    ("a long URI", |n| member("resources/read", "uri", n)),
    ("a long URI to subscribe to", |n| {
        member("resources/subscribe", "uri", n)
    }),
    ("a long URI to unsubscribe from", |n| {
        member("resources/unsubscribe", "uri", n)
    }),
    ("a long prompt to complete", |n| {
        completion("prompt", "name", n)
    }),
    ("a long template to complete", |n| {
        completion("resource", "uri", n)
    }),
    ("a long task id", |n| member("tasks/get", "taskId", n)),
    ("a long cursor", |n| member("tools/list", "cursor", n)),
    ("a long cursor of tasks", |n| {
        member("tasks/list", "cursor", n)
    }),
    ("a long level", |n| member("logging/setLevel", "level", n)),
    ("a long method", |n| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":{}}}"#, long(n))
    }),
    ("a long id", |n| {
        format!(r#"{{"jsonrpc":"2.0","id":{},"method":"ping"}}"#, long(n))
    }),
    ("a long id to cancel", |n| {
        notification(
            "notifications/cancelled",
            &format!(r#""requestId":{}"#, long(n)),
        )
    }),
    ("a long token of progress", |n| {
        notification(
            "notifications/progress",
            &format!(r#""progressToken":{}"#, long(n)),
        )
    }),
    ("an answer to nothing", |n| {
        let (id, members) = (long(n / 2), members(n / 2));
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{members}}}}}"#)
    }),
    ("an envelope with many members", |n| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{}},{}}}"#,
            members(n)
        )
    }),
    ("many topics", |n| {
        listen(&format!(r#""resourceSubscriptions":[{}]"#, names(n, "u:")))
    }),
    ("many tasks", |n| {
        listen(&format!(r#""taskIds":[{}]"#, names(n, "up.")))
    }),
    ("a long topic", |n| {
        listen(&format!(r#""resourceSubscriptions":[{}]"#, long(n)))
    }),
    ("no JSON", |n| "[".repeat(n)),
    ("spaces", |n| " ".repeat(n)),
];

/// Makes a modern message of one.
fn modern(body: &str) -> String {
    let own = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    match body.contains(r#""_meta":{"#) {
        true => body.replacen(r#""_meta":{"#, &format!("{own},"), 1),
        false => body.replacen(r#""params":{"#, &format!(r#""params":{{{own}}},"#), 1),
    }
}

/// Starts an upstream with one tool and as many templates as a listing may have.
async fn templates(name: &str) -> Upstream {
    let up = Upstream::named(name)
        .tools(["echo"])
        .resources(["u:0"])
        .legacy("2025-06-18");
    let mut up = up.legacy("2025-11-25").modern().tasks().prompts(["p"]);
    for number in 0..4_900 {
        let template =
            format!(r#"{{"uriTemplate":"u://x/{{a}}x{{b}}/{{c}}{{?d}}y{number}","name":"t"}}"#);
        up = up.raw(Kind::Templates, &template);
    }
    up.start().await
}

#[tokio::test]
async fn a_message_of_a_caller_costs_what_it_weighs() {
    let up = templates("up").await;
    let weir = Weir::over([&up])
        .listen("request_bytes: 1MiB")
        .start()
        .await;
    let mut cost = Cost::of(&weir);
    let legacy = weir.legacy("2025-11-25").await;
    let client = weir.modern();
    for (what, build) in MESSAGES {
        let in_session = async |bytes: usize| {
            legacy.post(&build(bytes)).await;
        };
        cost.compare(&format!("legacy: {what}"), BODY, in_session)
            .await;
        let sample = build(40);
        let method = at(&sample, &["method"]).and_then(|method| unquote(&method));
        let method = method
            .filter(|method| method.len() < 30)
            .unwrap_or("ping".to_owned());
        let name = sample
            .contains(r#""name":"up__echo""#)
            .then_some("up__echo");
        let alone = async |bytes: usize| {
            client.post(&method, name, &modern(&build(bytes))).await;
        };
        cost.compare(&format!("modern: {what}"), BODY, alone).await;
    }
    cost.assert();
}

#[tokio::test]
async fn a_batch_costs_what_it_weighs() {
    let up = Upstream::named("up")
        .tools(["echo"])
        .legacy("2025-06-18")
        .start()
        .await;
    let weir = Weir::over([&up])
        .listen("request_bytes: 1MiB")
        .start()
        .await;
    let legacy = weir.legacy("2025-03-26").await;
    let batch = async |bytes: usize| {
        let note = |number: usize| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{number}}}}}"#
            )
        };
        legacy.post(&format!("[{}]", many(bytes, note))).await;
    };
    let mut cost = Cost::of(&weir);
    cost.compare("a batch", BODY, batch).await;
    cost.assert();
}

/// Subscribing to many resources, one by one and in many sessions, costs what the requests weigh.
#[tokio::test]
async fn many_subscriptions_cost_what_they_weigh() {
    let up = Upstream::named("up")
        .tools(["echo"])
        .resources(["u:0"])
        .legacy("2025-06-18");
    let up = up.start().await;
    let weir = Weir::over([&up])
        .listen("request_bytes: 1MiB")
        .start()
        .await;
    let act = async |requests: usize| {
        let caller = Legacy::open(weir.url(), "2025-06-18").await;
        for number in 0..requests {
            let params = format!(r#"{{"uri":"u:{number}"}}"#);
            caller.request("resources/subscribe", &params).await;
        }
        caller.delete().await;
    };
    let mut cost = Cost::of(&weir);
    cost.compare("subscriptions", 900, act).await;
    cost.assert();
}

/// Headers are bounded by the server beneath; within that they cost what they weigh.
#[tokio::test]
async fn headers_and_queries_cost_what_they_weigh() {
    let up = templates("up").await;
    let weir = Weir::over([&up])
        .listen("request_bytes: 1MiB")
        .start()
        .await;
    let mut cost = Cost::of(&weir);
    let modern = weir.modern();
    for name in [
        "tracestate",
        "baggage",
        "accept",
        "mcp-name",
        "last-event-id",
        "cookie",
        "origin",
        "mcp-session-id",
    ] {
        let send = async |bytes: usize| {
            let value = many(bytes, |number| format!("k{number}=1"));
            modern
                .ask("tools/list", "{}")
                .header(name, &value)
                .send()
                .await;
        };
        cost.compare(name, 12_000, send).await;
    }
    let explain = async |bytes: usize| {
        let name = "n".repeat(bytes);
        let url = weir.admin_url(&format!("/explain?name={name}"));
        pool().get(url).send().await.unwrap();
    };
    cost.compare("/explain", 60_000, explain).await;
    cost.assert();
}
