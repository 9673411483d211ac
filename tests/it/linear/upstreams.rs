//! Messages of upstreams.

use super::{Cost, many};
use crate::support::quote;
use crate::support::upstream::{Fault, Kind, On, Shape, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

/// A definition, by its number.
type Build = fn(usize) -> String;

fn tool(name: &str, more: &str) -> String {
    let name = quote(name);
    format!(r#"{{"name":{name},"inputSchema":{{"type":"object"}}{more}}}"#)
}

/// Listings, by what is odd about their definitions.
const DEFINITIONS: &[(&str, Kind, Build)] = &[
    ("tools", Kind::Tools, |n| tool(&format!("t{n}"), "")),
    ("names that need a hash", Kind::Tools, |n| {
        tool(&format!("é {n}"), "")
    }),
    ("names that become one", Kind::Tools, |n| {
        tool(&format!("{}{n}", "x".repeat(900)), "")
    }),
    ("one name", Kind::Tools, |_| tool("same", "")),
    ("names to strip", Kind::Tools, |n| {
        tool(&format!("{}{n}", "a".repeat(1_000)), "")
    }),
    ("one view", Kind::Tools, |n| {
        let own = format!(r#","_meta":{{"ui":{{"resourceUri":"ui://same"}},"n":{n}}}"#);
        tool(&format!("t{n}"), &own)
    }),
    ("origins", Kind::Tools, |n| {
        let hops = vec![r#""w""#; 40].join(",");
        tool(
            &format!("t{n}"),
            &format!(r#","_meta":{{"weir/origin":[{hops}]}}"#),
        )
    }),
    ("invalid tools", Kind::Tools, |n| {
        format!(r#"{{"name":"t{n}"}}"#)
    }),
    ("templates", Kind::Templates, |n| {
        format!(r#"{{"uriTemplate":"u://{{a}}/{{b}}{n}","name":"t"}}"#)
    }),
    ("resources", Kind::Resources, |n| {
        format!(r#"{{"uri":"u:{n}","name":"r"}}"#)
    }),
];

#[tokio::test]
async fn a_listing_costs_what_it_weighs() {
    for (what, kind, build) in DEFINITIONS {
        let (up, other) = (Upstream::named("up"), Upstream::named("other"));
        let other = other
            .tools(["echo"])
            .raw(Kind::Resources, r#"{"uri":"ui://same","name":"r"}"#);
        let (other, up) = (other.start().await, up.tools(["echo"]).start().await);
        let weir = Weir::over([&other, &up])
            .upstream(
                "up",
                "names: { strip: \"^a.*b|^a\" }\nlimits: { tools: 6000 }",
            )
            .start()
            .await;
        let list = async |items: usize| {
            up.clear(*kind);
            (0..items).for_each(|number| up.add_raw(*kind, &build(number)));
            weir.resync("up").await;
        };
        let mut cost = Cost::of(&weir);
        cost.compare(&format!("a listing: {what}"), 3_000, list)
            .await;
        cost.assert();
    }
}

/// A result of a call, by what is odd about it.
fn results(bytes: usize) -> Vec<(&'static str, String)> {
    let text = |text: &str| {
        format!(
            r#"{{"content":[{{"type":"text","text":{}}}]}}"#,
            quote(text)
        )
    };
    vec![
        ("a long text", text(&"x".repeat(bytes))),
        ("lines", text(&"\n".repeat(bytes / 2))),
        (
            "many items",
            format!(
                r#"{{"content":[{}]}}"#,
                many(bytes, |_| r#"{"type":"text","text":""}"#.to_owned())
            ),
        ),
        (
            "many members",
            format!(
                r#"{{"content":[],{}}}"#,
                many(bytes, |number| format!(r#""m{number}":0"#))
            ),
        ),
        (
            "depth",
            format!(
                r#"{{"content":[],"x":{}{}}}"#,
                "[".repeat(bytes / 2),
                "]".repeat(bytes / 2)
            ),
        ),
        (
            "links",
            format!(
                r#"{{"content":[{}]}}"#,
                many(bytes, |number| format!(
                    r#"{{"type":"resource_link","uri":"u:{number}","name":"n"}}"#
                ))
            ),
        ),
    ]
}

#[tokio::test]
async fn an_answer_costs_what_it_weighs() {
    for shape in [Shape::Json, Shape::Sse] {
        let up = Upstream::named("up").tools(["echo"]);
        let up = match shape {
            Shape::Json => up.json(),
            Shape::Sse => up.sse(),
        };
        let up = up.start().await;
        let weir = Weir::over([&up]).start().await;
        let (modern, mut cost) = (weir.modern(), Cost::of(&weir));
        for (at, (what, _)) in results(100).into_iter().enumerate() {
            let call = async |bytes: usize| {
                let (_, result) = results(bytes).swap_remove(at);
                up.set_answer("echo", &result);
                modern.call("up__echo", "{}").await;
            };
            cost.compare(&format!("{shape:?}: {what}"), 8 << 20, call)
                .await;
        }
        let broken = async |bytes: usize| {
            up.fault(
                On::Tool("echo".to_owned()),
                Times::Next(1),
                Fault::Flood(bytes, shape),
            );
            modern.call("up__echo", "{}").await;
        };
        cost.compare("a flood", 8 << 20, broken).await;
        cost.assert();
    }
}

/// So many bytes of lines.
type Write = fn(usize) -> String;

/// Lines that a child writes besides its answer, by what is odd about them.
const LINES: &[(&str, Write)] = &[
    ("empty lines", |bytes| "\n".repeat(bytes)),
    ("one long line", |bytes| "x".repeat(bytes)),
    ("no JSON", |bytes| "{\n".repeat(bytes / 2)),
    ("answers that nobody waits for", |bytes| {
        let answer = r#"{"jsonrpc":"2.0","id":"none","result":{}}"#;
        format!("{answer}\n").repeat(bytes / answer.len())
    }),
    ("notes of progress that nobody asked for", |bytes| {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"none","progress":1}}"#;
        format!("{note}\n").repeat(bytes / note.len())
    }),
];

#[tokio::test]
async fn the_lines_of_a_child_cost_what_they_weigh() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let args = ["--tools", "raw,lines", "--raw", file.to_str().unwrap()];
    let weir = Weir::with(&child_upstream("kid", &args)).start().await;
    weir.wait_tools(["kid__raw", "kid__lines"]).await;
    let (modern, mut cost) = (weir.modern(), Cost::of(&weir));
    for (at, (what, _)) in results(100).into_iter().enumerate() {
        let call = async |bytes: usize| {
            std::fs::write(&file, results(bytes).swap_remove(at).1).unwrap();
            modern.call("kid__raw", "{}").await;
        };
        cost.compare(&format!("an answer: {what}"), 4 << 20, call)
            .await;
    }
    for (what, lines) in LINES {
        let call = async |bytes: usize| {
            std::fs::write(&file, lines(bytes)).unwrap();
            modern.call("kid__lines", "{}").await;
        };
        cost.compare(what, 1 << 20, call).await;
    }
    cost.assert();
}

#[tokio::test]
async fn cookies_cost_what_they_weigh() {
    let up = Upstream::named("up").tools(["echo"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let (modern, mut cost) = (weir.modern(), Cost::of(&weir));
    let call = async |bytes: usize| {
        up.set_more_cookies(bytes / 20);
        for _ in 0..10 {
            modern.call("up__echo", "{}").await;
        }
    };
    cost.compare("cookies", 60_000, call).await;
    cost.assert();
}
