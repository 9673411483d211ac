//! Weirs in front of weirs.

use crate::support::client::Client;
use crate::support::free_port;
use crate::support::upstream::{Kind, Recorded, Upstream};
use crate::support::weir::Weir;

const PATH: [&str; 3] = ["params", "_meta", "weir/path"];

fn path(request: &Recorded) -> String {
    request.raw(&PATH).unwrap_or_default()
}

#[tokio::test]
async fn every_request_says_which_weirs_it_came_through() {
    let up = Upstream::named("up")
        .tools(["t"])
        .answers_as(Kind::Prompts, "p", r#"{"messages":[]}"#)
        .answers_as(Kind::Resources, "file:///a", r#"{"contents":[]}"#)
        .start()
        .await;
    let weir = Weir::over([&up]).instance("near").start().await;
    let complete =
        r#"{"ref":{"type":"ref/prompt","name":"up__p"},"argument":{"name":"a","value":""}}"#;
    let asked = [
        ("tools/call", r#"{"name":"up__t"}"#),
        ("prompts/get", r#"{"name":"up__p"}"#),
        ("resources/read", r#"{"uri":"file:///a"}"#),
        ("completion/complete", complete),
    ];
    for client in Client::both(&weir).await {
        for (method, params) in asked {
            client.request(method, params).await;
            assert_eq!(path(&up.last(method)), r#"["near"]"#, "{method}");
            let through = client
                .ask(method, params)
                .meta("weir/path", r#"["a" ,"b"]"#);
            through.send().await;
            assert_eq!(path(&up.last(method)), r#"["a","b","near"]"#, "{method}");
        }
    }
    assert_eq!(path(&up.last("tools/list")), r#"["near"]"#);
}

#[tokio::test]
async fn a_request_that_comes_back_or_comes_too_far_goes_nowhere() {
    let up = Upstream::named("up").tools(["t"]).start().await;
    let weir = Weir::over([&up]).instance("near").start().await;
    let eight = r#"["1","2","3","4","5","6","7","8"]"#;
    for client in Client::both(&weir).await {
        let ask = |method, path| {
            let params = r#"{"name":"up__t"}"#;
            client.ask(method, params).meta("weir/path", path)
        };
        for method in ["tools/call", "tools/list"] {
            for path in [r#"["a","near","b"]"#, eight] {
                let reply = ask(method, path).send().await;
                assert_eq!((reply.status, reply.code()), (400, -32600), "{reply:?}");
                assert_eq!(reply.error()["data"]["path"].to_string(), path);
            }
            for odd in ["7", "null", r#"["a b"]"#, "[1]", r#""a""#] {
                let reply = ask(method, odd).send().await;
                assert_eq!((reply.status, reply.code()), (400, -32600), "{reply:?}");
            }
        }
        let seven = ask("tools/call", r#"["1","2","3","4","5","6","7"]"#);
        assert!(seven.send().await.succeeded());
    }
    assert_eq!(up.count("tools/call"), 2);
}

#[tokio::test]
async fn a_weir_without_a_name_makes_one_and_keeps_it() {
    let up = Upstream::named("up").tools(["t"]).start().await;
    let name = async |weir: &Weir| {
        assert!(weir.modern().call("up__t", "{}").await.succeeded());
        path(&up.last("tools/call"))
    };
    let keeps = Weir::over([&up]).state().start().await;
    let kept = name(&keeps).await;
    let file = std::fs::read_to_string(keeps.home.path().join("state/instance")).unwrap();
    assert_eq!(kept, format!("[\"{file}\"]"));
    let keeps = keeps.restart().await;
    assert_eq!(name(&keeps).await, kept);
    let forgets = Weir::over([&up]).start().await;
    let other = name(&forgets).await;
    assert!(other.len() > 10 && other != kept, "{other}");
    let forgets = forgets.restart().await;
    assert_ne!(name(&forgets).await, other);
}

#[tokio::test]
async fn a_weir_in_front_of_itself_is_told_so() {
    let port = free_port();
    let up = Upstream::named("up").tools(["t"]).start().await;
    let me = format!("http://127.0.0.1:{port}/mcp");
    let weir = Weir::over([&up]).and("me", &me).on(port).start().await;
    assert_eq!(weir.tool_names().await, ["up__t"]);
    let upstreams = weir.admin("/upstreams").await;
    let reason = upstreams["upstreams"][1]["reason"].to_string();
    assert!(
        reason.contains("been through this weir already"),
        "{upstreams}"
    );
}
