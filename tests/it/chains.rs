//! Weirs in front of weirs.

mod faults;
mod through;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Reply};
use crate::support::lens::Lens;
use crate::support::upstream::{Builder, Cancelled, Fault, Kind, On, Recorded, Times, Upstream};
use crate::support::weir::{self, Weir};
use crate::support::{bounded, free_port};

const PATH: [&str; 3] = ["params", "_meta", "weir/path"];

/// Client → near → far → upstreams.
struct Chain {
    near: Weir,
    far: Weir,
    /// The setting that makes the hop between them a legacy one.
    _lens: Option<Lens>,
}

impl Chain {
    /// Over these upstreams; `change` is the config of the near weir.
    async fn over(far: weir::Builder, hop: Hop, change: &str) -> Self {
        let far = far.instance("far").start().await;
        let lens = match hop {
            Hop::Modern => None,
            Hop::Legacy => Some(Lens::legacy(far.url()).await),
        };
        let url = lens
            .as_ref()
            .map_or(far.url(), |lens| lens.url().to_owned());
        let near = Weir::over([]).and("far", &url).instance("near");
        let near = near.upstream("far", change).start().await;
        let about = near.admin("/upstreams").await["upstreams"][0].clone();
        assert_eq!(about["era"], hop.era(), "{about}");
        Self {
            near,
            far,
            _lens: lens,
        }
    }
}

/// The eras that the two weirs speak with each other.
#[derive(Clone, Copy, Debug)]
enum Hop {
    Modern,
    Legacy,
}

impl Hop {
    const ALL: [Self; 2] = [Self::Modern, Self::Legacy];

    fn era(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }
}

/// One upstream of each era, named by it.
async fn both_eras(make: impl Fn(Builder) -> Builder) -> [Upstream; 2] {
    [
        make(Upstream::named("new")).modern().start().await,
        make(Upstream::named("old"))
            .legacy("2025-11-25")
            .start()
            .await,
    ]
}

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

/// Waits until no generation moves any more, for a second.
async fn come_to_rest(weirs: &[&Weir]) -> Vec<u64> {
    let all = async || {
        let mut generations = Vec::new();
        for weir in weirs {
            generations.push(weir.generation().await);
        }
        generations
    };
    let mut seen = (Instant::now(), all().await);
    bounded("rest", async {
        while seen.0.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = all().await;
            if now != seen.1 {
                seen = (Instant::now(), now);
            }
        }
    })
    .await;
    seen.1
}

#[tokio::test]
async fn weirs_that_list_each_other_come_to_rest() {
    let (near, far) = (free_port(), free_port());
    let url = |port| format!("http://127.0.0.1:{port}/mcp");
    let up = |name: &str, tool: &str, uri: &str| {
        let up = Upstream::named(name).tools([tool]);
        up.answers_as(Kind::Resources, uri, r#"{"contents":[]}"#)
    };
    let one = up("one", "t", "file:///1").start().await;
    let two = up("two", "t", "file:///2").start().await;
    let a = Weir::over([&one]).and("b", &url(far)).instance("A");
    let b = Weir::over([&two]).and("a", &url(near)).instance("B");
    let (a, b) = tokio::join!(a.on(near).start(), b.on(far).start());
    a.wait_tools(["one__t", "b__two__t"]).await;
    b.wait_tools(["two__t", "a__one__t"]).await;
    come_to_rest(&[&a, &b]).await;

    // One change passes round once.
    one.add_tool("new");
    one.notify_list_changed(Kind::Tools);
    a.wait_tools(["one__t", "one__new", "b__two__t"]).await;
    b.wait_tools(["two__t", "a__one__t", "a__one__new"]).await;
    let rest = come_to_rest(&[&a, &b]).await;
    // A listing from now on finds nothing new.
    a.resync("b").await;
    b.resync("a").await;
    assert_eq!([a.generation().await, b.generation().await], rest[..]);

    let about = a.admin("/upstreams").await["upstreams"][1].clone();
    assert_eq!(about["name"], "b");
    // Both tools of `one` and its resource came back.
    assert_eq!(
        (&about["own_dropped"], &about["far_dropped"]),
        (&3.into(), &0.into())
    );
    a.wait_stderr("left out what came from this weir").await;
    for client in Client::both(&a).await {
        let read = client.request("resources/read", r#"{"uri":"file:///2"}"#);
        assert!(read.await.succeeded());
        let called = client.call("b__two__t", "{}").await;
        assert!(called.result().contains("two.t {}"), "{called:?}");
    }
    assert_eq!(path(&two.last("tools/call")), r#"["A","B"]"#);
    assert_eq!(path(&two.last("resources/read")), r#"["A","B"]"#);

    // A call that is sent round all the same comes back, and nothing is called.
    for client in Client::both(&b).await {
        let ask = client.ask("tools/call", r#"{"name":"a__one__t"}"#);
        let reply = ask.meta("weir/path", r#"["A"]"#).send().await;
        assert_eq!(reply.code(), -32600, "{reply:?}");
        assert_eq!(reply.error()["data"]["path"].to_string(), r#"["A","B"]"#);
    }
    assert_eq!(one.count("tools/call"), 0);
}

#[tokio::test]
async fn what_goes_to_every_upstream_goes_round_a_ring_once() {
    let (near, far) = (free_port(), free_port());
    let url = |port| format!("http://127.0.0.1:{port}/mcp");
    let up = |name: &str| Upstream::named(name).tools(["t"]).tasks();
    let one = up("one").legacy("2025-11-25").start().await;
    let two = up("two").legacy("2025-11-25").start().await;
    let a = Weir::over([&one]).and("b", &url(far)).instance("A");
    let b = Weir::over([&two]).and("a", &url(near)).instance("B");
    let (a, b) = tokio::join!(a.on(near).start(), b.on(far).start());
    a.wait_tools(["one__t", "b__two__t"]).await;
    b.wait_tools(["two__t", "a__one__t"]).await;
    let legacy = a.legacy("2025-11-25").await;
    let mut params = "{}".to_owned();
    loop {
        let reply = legacy.request("tasks/list", &params).await;
        let Some(next) = reply.value().get("nextCursor").cloned() else {
            break;
        };
        params = format!(r#"{{"cursor":{next}}}"#);
    }
    assert_eq!((one.count("tasks/list"), two.count("tasks/list")), (1, 1));
    assert_eq!(path(&one.last("tasks/list")), r#"["A"]"#);
    assert_eq!(path(&two.last("tasks/list")), r#"["A","B"]"#);
}

#[tokio::test]
async fn what_is_nine_weirs_away_is_not_listed() {
    let up = Upstream::named("up").tools(["t"]).start().await;
    let mut weirs = vec![Weir::over([&up]).instance("w9").start().await];
    for name in (1..9).rev() {
        let next = weirs.last().unwrap().url();
        let weir = Weir::over([])
            .and("up", &next)
            .instance(&format!("w{name}"));
        let weir = weir.upstream("up", "namespace: \"\"").start().await;
        weirs.push(weir);
    }
    let [.., second, first] = &weirs[..] else {
        panic!("{}", weirs.len())
    };
    // Eight weirs are a chain that works.
    assert_eq!(second.tool_names().await, ["up__t"]);
    assert!(second.modern().call("up__t", "{}").await.succeeded());
    let eight = r#"["w2","w3","w4","w5","w6","w7","w8","w9"]"#;
    assert_eq!(path(&up.last("tools/call")), eight);
    // The ninth would be one too many: for its list, and for a call that it sends all the same.
    assert_eq!(first.tool_names().await, Vec::<String>::new());
    let about = first.admin("/upstreams").await["upstreams"][0].clone();
    assert_eq!(
        (&about["own_dropped"], &about["far_dropped"]),
        (&0.into(), &1.into())
    );
    for client in Client::both(second).await {
        let ask = client.ask("tools/call", r#"{"name":"up__t"}"#);
        let reply = ask.meta("weir/path", r#"["w1"]"#).send().await;
        assert_eq!(reply.code(), -32600, "{reply:?}");
        let path = reply.error()["data"]["path"].to_string();
        assert_eq!(
            path,
            eight.replace(r#","w9""#, "").replace('[', r#"["w1","#)
        );
    }
    assert_eq!(up.count("tools/call"), 1);
}

/// Returns the time that an upstream was told for a call.
fn given(request: &Recorded) -> u64 {
    let left = request.raw(&["params", "_meta", "weir/deadlineMs"]);
    left.expect("a deadline").parse().unwrap()
}

#[tokio::test]
async fn a_call_takes_no_longer_than_its_sender_waits() {
    let up = Upstream::named("up").tools(["t"]).gate("work");
    let up = up.start().await;
    let weir = Weir::over([&up]).upstream("up", "timeouts: { call: 100s }");
    let weir = weir.start().await;
    for client in Client::both(&weir).await {
        let ask = |tool: &str, left: &str| {
            let params = format!(r#"{{"name":"up__{tool}"}}"#);
            client
                .ask("tools/call", &params)
                .meta("weir/deadlineMs", left)
        };
        // Its own budget, less a little, unless the sender has less. What is no number says nothing.
        for odd in ["100000000", "\"9\"", "null", "1.5", "[1]"] {
            assert!(ask("t", odd).send().await.succeeded());
            assert!((90_000..=99_500).contains(&given(&up.last("tools/call"))));
        }
        assert!(ask("t", "9000").send().await.succeeded());
        assert!((5_000..=8_500).contains(&given(&up.last("tools/call"))));
        let late = ask("work", "300").send().await;
        let calls = up.count("tools/call");
        let spent = [ask("t", "0").send().await, ask("t", "-7").send().await];
        assert_eq!(up.count("tools/call"), calls, "nothing more is sent");
        for reply in spent.into_iter().chain([late]) {
            assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
            let data = json!({"upstream": "up", "reason": "no answer in time"});
            assert_eq!(reply.error()["data"], data);
        }
    }
}
