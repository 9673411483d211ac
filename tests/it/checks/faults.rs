//! The table of `protocol/error.rs`, row by row: each fault is provoked by a real request, in each
//! era that knows it, and answered exactly as the table says.

mod http;
mod post;

use serde_json::Value;
use weir::protocol::era::Era;
use weir::protocol::error::{Blame, FaultKind};

use self::post::Post;
use super::{CAPABILITIES, CLAIM, ID};
use crate::support::client::MODERN;
use crate::support::socket::{Answer, Socket};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// The servers and clients that all provocations need.
struct Rig {
    asked: [Upstream; 2],
    weir: Weir,
    /// Sessions of 2025-11-25 and 2025-03-26.
    session: String,
    old: String,
}

impl Rig {
    async fn start() -> Self {
        let new = Upstream::named("new").tools(["search"]).asks_input("who");
        // Not a kind of result that any era has.
        let later = r#"{"resultType":"later","handle":"t"}"#;
        let new = new.answers("job", later);
        let new = new
            .prompts(["greet"])
            .resources(["file:///a"])
            .modern()
            .tasks();
        let old = Upstream::named("old")
            .tools(["search", "rare"])
            .resources(["file:///b"]);
        let old = old.legacy("2025-11-25").tasks();
        let dead = Upstream::named("dead").tools(["search"]).start().await;
        let asked = [new.start().await, old.start().await];
        let [new, old] = &asked;
        let weir = Weir::over([new, old, &dead]);
        let weir = weir.listen("request_bytes: 16KiB, body_timeout: 300ms");
        let rate = "{ per: all, tools: [old__rare], requests: 1/1d }";
        let weir = weir.top(&format!("limits: {{ rates: [{rate}] }}"));
        let weir = weir.start().await;
        weir.wait_tools([
            "new__search",
            "new__who",
            "new__job",
            "old__search",
            "old__rare",
            "dead__search",
        ])
        .await;
        dead.stop().await;
        assert!(weir.modern().call("old__rare", "{}").await.succeeded());
        let session = weir.legacy("2025-11-25").await.session.unwrap();
        let old = weir.legacy("2025-03-26").await.session.unwrap();
        Self {
            asked,
            weir,
            session,
            old,
        }
    }

    /// Counts the requests of callers that have arrived at upstreams.
    fn arrived(&self) -> usize {
        let methods = [
            "tools/call",
            "prompts/get",
            "resources/read",
            "completion/complete",
        ];
        let count = |up: &Upstream| methods.iter().map(|method| up.count(method)).sum::<usize>();
        // One call made another one too much.
        self.asked.iter().map(count).sum::<usize>() - 1
    }

    async fn send(&self, request: &str) -> Answer {
        let mut socket = Socket::connect(self.weir.port()).await;
        assert!(socket.send(request).await);
        let answer = socket.answer().await;
        answer.unwrap_or_else(|| panic!("no answer to {request}"))
    }

    fn legacy(&self, method: &str, params: &str) -> Post {
        let post = Post::new(method, params).header("mcp-session-id", &self.session);
        post.header("mcp-protocol-version", "2025-11-25")
    }
}

const CALL: &str = r#"{"name":"new__search","arguments":{}}"#;

/// Returns requests that provoke this fault, each as the bytes that are sent.
#[allow(clippy::too_many_lines, reason = "an arm for each row of the table")]
fn provocations(kind: FaultKind, rig: &Rig) -> Vec<(Era, String)> {
    use Era::{Legacy, Modern};
    let modern = || Post::modern("tools/call", CALL);
    let legacy = || rig.legacy("tools/call", CALL);
    let both = |change: &dyn Fn(Post) -> String| {
        vec![(Modern, change(modern())), (Legacy, change(legacy()))]
    };
    match kind {
        FaultKind::Forbidden => {
            let evil = |post: Post| post.header("origin", "http://evil.example");
            let mut all = both(&|post| evil(post).text());
            all.extend(both(&|post| post.header("host", "evil.example").text()));
            let get = legacy().verb("GET").body("");
            for verb in ["GET", "DELETE", "PUT", "OPTIONS"] {
                all.push((Legacy, evil(get.clone().verb(verb)).text()));
            }
            all
        }
        FaultKind::Authority => {
            let mut all = both(&|post| post.without("host").text());
            for host in ["", "localhost.", "localhost:x", "evil@localhost"] {
                all.extend(both(&|post| post.header("host", host).text()));
            }
            let twice = |mut post: Post| {
                post.headers.push(("host", "localhost".to_owned()));
                post.text()
            };
            all.extend(both(&twice));
            all
        }
        FaultKind::HttpMethod => ["PUT", "PATCH", "QUERY"]
            .into_iter()
            .flat_map(|verb| both(&|post| post.verb(verb).text()))
            .collect(),
        FaultKind::MediaType => {
            let mut all = both(&|post| post.without("content-type").text());
            for media in ["text/plain", "application/jsonp", "text/event-stream"] {
                all.extend(both(&|post| post.header("content-type", media).text()));
            }
            all
        }
        FaultKind::ContentCoding => ["gzip", "br"]
            .into_iter()
            .flat_map(|coding| both(&|post| post.header("content-encoding", coding).text()))
            .collect(),
        FaultKind::NotAcceptable => {
            let mut all = both(&|post| post.header("accept", "text/html").text());
            let get = legacy().verb("GET").body("");
            all.push((Legacy, get.header("accept", "application/json").text()));
            all
        }
        FaultKind::TooLarge => {
            let large = |post: Post| post.body("x".repeat(16_385));
            let mut all = both(&|post| large(post).text());
            // The body is too large already by its header, so it is not sent.
            all.extend(both(&|post| post.promising(1 << 40)));
            all.extend(both(&|post| {
                let chunks = format!("3000\r\n{}\r\n", "x".repeat(0x3000));
                post.chunked(&format!("{chunks}{chunks}0\r\n\r\n"))
            }));
            all
        }
        FaultKind::SlowBody => {
            let mut all = both(&|post| post.promising(post.body.len() + 1));
            all.extend(both(&|post| post.chunked("3\r\nabc\r\n")));
            all
        }
        FaultKind::BrokenBody => both(&|post| post.chunked("3\r\nabc\r\nzz\r\n")),
        FaultKind::NoSession => {
            let none = legacy().without("mcp-session-id");
            let response = r#"{"jsonrpc":"2.0","id":"my id","result":{}}"#;
            vec![
                (Legacy, none.clone().text()),
                (Legacy, none.without("mcp-protocol-version").text()),
                (
                    Legacy,
                    legacy().without("mcp-session-id").body(response).text(),
                ),
            ]
        }
        FaultKind::UnknownSession => ["unknown", ""]
            .map(|id| (Legacy, legacy().header("mcp-session-id", id).text()))
            .into(),
        FaultKind::SessionVersion => ["1999-01-01", "2024-11-04", ""]
            .map(|version| {
                (
                    Legacy,
                    legacy().header("mcp-protocol-version", version).text(),
                )
            })
            .into(),
        FaultKind::Parse => {
            let mut all = both(&|post| post.body("{\"id\":\"my id\"").text());
            all.extend(both(&|post| post.body("").text()));
            all.extend(both(&|post| post.body("[1,").text()));
            all
        }
        FaultKind::Invalid => {
            let mut all = both(&|post| post.replace("\"2.0\"", "\"1.0\"").text());
            all.extend(both(&|post| post.replace("\"tools/call\"", "7").text()));
            all
        }
        FaultKind::DuplicateKey => {
            let mut all = both(&|post| post.replace("\"name\"", "\"name\":\"x\",\"name\"").text());
            all.push((
                Modern,
                modern()
                    .replace("\"_meta\"", "\"_meta\":{},\"_meta\"")
                    .text(),
            ));
            all
        }
        FaultKind::Path => {
            let far: Vec<_> = (0..8).map(|hop| format!("\"hop-{hop}\"")).collect();
            let path = format!("\"weir/path\":[{}]", far.join(","));
            vec![
                (
                    Modern,
                    modern()
                        .replace("\"_meta\":{", &format!("\"_meta\":{{{path},"))
                        .text(),
                ),
                (
                    Legacy,
                    legacy()
                        .replace("\"name\"", &format!("\"_meta\":{{{path}}},\"name\""))
                        .text(),
                ),
            ]
        }
        FaultKind::Params => vec![
            (Modern, Post::modern("tools/call", "{}").text()),
            (
                Modern,
                Post::modern("completion/complete", r#"{"ref":{"type":"ref/x"}}"#).text(),
            ),
            (Modern, Post::modern("subscriptions/listen", "{}").text()),
            (Legacy, rig.legacy("prompts/get", r#"{"name":7}"#).text()),
            (Legacy, Post::new("initialize", "{}").text()),
        ],
        FaultKind::Envelope => {
            let mut all = both(&|post| {
                let start = post.body.find("\"params\":").unwrap();
                let body = format!("{}\"params\":[1]}}", &post.body[..start]);
                post.body(body).text()
            });
            let bare = Post::new("tools/call", CALL).header("mcp-protocol-version", MODERN);
            all.push((Modern, bare.clone().text()));
            all.push((Modern, bare.header("mcp-method", "tools/list").text()));
            all.push((Modern, modern().replace(CLAIM, "x/y").text()));
            all.push((Modern, modern().replace(CAPABILITIES, "x/y").text()));
            all
        }
        FaultKind::UnknownTool => {
            let no = r#"{"name":"new__no"}"#;
            vec![
                (Modern, Post::modern("tools/call", no).text()),
                (Legacy, rig.legacy("tools/call", no).text()),
            ]
        }
        FaultKind::UnknownPrompt => {
            let no = r#"{"name":"new__no"}"#;
            let reference = r#"{"ref":{"type":"ref/prompt","name":"new__no"}}"#;
            vec![
                (Modern, Post::modern("prompts/get", no).text()),
                (Legacy, rig.legacy("prompts/get", no).text()),
                (Legacy, rig.legacy("completion/complete", reference).text()),
            ]
        }
        FaultKind::UnknownTask => {
            let no = r#"{"taskId":"no.7"}"#;
            let tasks = "{\"extensions\":{\"io.modelcontextprotocol/tasks\":{}}}";
            let can = format!("\"{CAPABILITIES}\":{{}}");
            let able = can.replace("{}", tasks);
            vec![
                (
                    Modern,
                    Post::modern("tasks/get", no).replace(&can, &able).text(),
                ),
                (Legacy, rig.legacy("tasks/get", no).text()),
                (Legacy, rig.legacy("tasks/result", no).text()),
            ]
        }
        FaultKind::RequestState => {
            // A legacy server gives no states.
            let made_up = r#"{"name":"old__search","arguments":{},"requestState":"made up"}"#;
            vec![(Modern, Post::modern("tools/call", made_up).text())]
        }
        FaultKind::MissingExtension => ["tasks/get", "tasks/update", "tasks/cancel"]
            .map(|method| (Modern, Post::modern(method, r#"{"taskId":"new.7"}"#).text()))
            .into(),
        FaultKind::UnknownResource => {
            let no = r#"{"uri":"file:///no"}"#;
            vec![
                (Modern, Post::modern("resources/read", no).text()),
                (Legacy, rig.legacy("resources/read", no).text()),
            ]
        }
        FaultKind::Cursor => {
            let bogus = r#"{"cursor":"bogus"}"#;
            [
                "tools/list",
                "prompts/list",
                "resources/list",
                "resources/templates/list",
            ]
            .into_iter()
            .flat_map(|list| {
                let modern = Post::modern(list, bogus).text();
                [(Modern, modern), (Legacy, rig.legacy(list, bogus).text())]
            })
            .collect()
        }
        FaultKind::Method => vec![
            (Modern, Post::modern("no/method", "{}").text()),
            (Modern, Post::modern("initialize", "{}").text()),
            (Legacy, rig.legacy("no/method", "{}").text()),
            (Legacy, rig.legacy("server/discover", "{}").text()),
        ],
        FaultKind::HeaderMismatch => {
            let initialize = Post::new("initialize", r#"{"protocolVersion":"2025-11-25"}"#);
            let version = "mcp-protocol-version";
            vec![
                (Modern, modern().without("mcp-method").text()),
                (Modern, modern().header("mcp-name", "old__search").text()),
                (Modern, modern().without(version).text()),
                (Modern, modern().header(version, "2025-11-25").text()),
                (Legacy, initialize.header(version, MODERN).text()),
            ]
        }
        FaultKind::UnsupportedVersion => {
            let odd = modern().replace(MODERN, "2027-01-01");
            vec![(
                Modern,
                odd.header("mcp-protocol-version", "2027-01-01").text(),
            )]
        }
        FaultKind::Limited => {
            let rare = CALL.replace("new__search", "old__rare");
            vec![
                (Modern, Post::modern("tools/call", &rare).text()),
                (Legacy, rig.legacy("tools/call", &rare).text()),
            ]
        }
        FaultKind::NotBridged => vec![(Legacy, legacy().replace("new__search", "new__job").text())],
        FaultKind::Upstream => {
            let dead = CALL.replace("new", "dead");
            vec![
                (Modern, Post::modern("tools/call", &dead).text()),
                (Legacy, rig.legacy("tools/call", &dead).text()),
            ]
        }
        // They need a weir that authenticates callers: see `identity.rs`.
        FaultKind::Unauthenticated
        | FaultKind::MalformedCredential
        | FaultKind::InsufficientScope
        | FaultKind::CredentialUnchecked => Vec::new(),
        // It needs a record file that cannot be written: see `audit/disk.rs`.
        FaultKind::NotRecorded => Vec::new(),
        // They need a weir with rules for data: see `guard.rs`.
        FaultKind::Blocked | FaultKind::BlockedAnswer => Vec::new(),
        // It needs an upstream that is called on behalf of its callers: see `on_behalf.rs`.
        FaultKind::CallerIdentity => Vec::new(),
        // It is answered after the upstream was asked: see `crossing/asked.rs`.
        FaultKind::Unanswerable => Vec::new(),
        // It needs a hook that fails: see `hooks/failures.rs`.
        FaultKind::Hook => Vec::new(),
        // They need a weir that ends, a system without random numbers, or a catalog with a route to
        // an upstream that does not exist. No request makes one.
        FaultKind::ShuttingDown | FaultKind::Internal | FaultKind::NoMemory => Vec::new(),
    }
}

#[tokio::test]
async fn every_fault_is_answered_as_the_table_says() {
    let rig = Rig::start().await;
    for &kind in FaultKind::ALL {
        let row = kind.row();
        for (era, request) in provocations(kind, &rig) {
            let before = rig.arrived();
            let answer = rig.send(&request).await;
            let (code, status) = match era {
                Era::Modern => row.modern,
                Era::Legacy => row.legacy,
            };
            let what = format!("{kind:?} {era}: {request}\n{answer:?}");
            assert_eq!(answer.status, status.as_u16(), "{what}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{what}"
            );
            assert_eq!(answer.header("mcp-session-id"), None, "{what}");
            let body: Value = serde_json::from_str(&answer.body).expect(&what);
            assert_eq!(body["jsonrpc"], "2.0", "{what}");
            assert_eq!(body["error"]["code"], code, "{what}");
            assert!(
                body["error"]["message"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
            // A response to no request has an id, but not one of a request.
            let own = request.contains("\"method\"") && row.echoes;
            let id: Value = serde_json::from_str(if own { ID } else { "null" }).unwrap();
            assert_eq!(body["id"], id, "{what}");
            let sent = rig.arrived() - before;
            match row.blame {
                Blame::Caller | Blame::Weir => assert_eq!(sent, 0, "{what}"),
                Blame::Upstream => assert!(sent <= 1, "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn every_fault_but_one_can_be_provoked() {
    let rig = Rig::start().await;
    let quiet = |kind: &FaultKind| provocations(*kind, &rig).is_empty();
    let quiet: Vec<_> = FaultKind::ALL.iter().filter(|kind| quiet(kind)).collect();
    // For the memory see `budget.rs`, for credentials `identity.rs` and `on_behalf.rs`.
    let others = [
        &FaultKind::Unauthenticated,
        &FaultKind::MalformedCredential,
        &FaultKind::InsufficientScope,
        &FaultKind::CredentialUnchecked,
        &FaultKind::NoMemory,
        &FaultKind::Blocked,
        &FaultKind::BlockedAnswer,
        &FaultKind::Unanswerable,
        &FaultKind::CallerIdentity,
        &FaultKind::NotRecorded,
        &FaultKind::Hook,
        &FaultKind::ShuttingDown,
        &FaultKind::Internal,
    ];
    assert_eq!(quiet, others);
}
