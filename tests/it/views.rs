//! Each caller sees what it may use: lists, instructions, completions, subscriptions and changes are
//! those of a weir that has nothing else.

use std::fs;
use std::path::Path;

use crate::face_stdio::Piped;
use crate::support::client::{Client, Legacy, Modern, Reply, Stream};
use crate::support::principals::Issuer;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Builder, Weir, child_upstream};

/// Everybody may use `crm`; Ann also `erp`, without `drop`.
const POLICIES: &str = "\
permit(principal, action in AgentCore::Action::\"crm\", resource);
permit(principal == AgentCore::OAuthUser::\"ann\", action in AgentCore::Action::\"erp\", resource);
forbid(principal, action == AgentCore::Action::\"erp___drop\", resource);
";
/// Bob may pay, too.
const BOB_PAYS: &str = "permit(principal == AgentCore::OAuthUser::\"bob\", action == AgentCore::Action::\"erp___pay\", resource);\n";

fn write(home: &Path, policies: &str) {
    fs::create_dir_all(home.join("policies")).unwrap();
    fs::write(home.join("policies/a.cedar"), policies).unwrap();
}

struct World {
    issuer: Issuer,
    weir: Weir,
}

impl World {
    async fn new(upstreams: &[Upstream], policies: &str, covers: &str, listen: &str) -> Self {
        let block = format!("policy: {{ files: ['policies/*.cedar'], covers: [{covers}] }}");
        let builder: Builder = Weir::over(upstreams).instance("one").top(&block);
        let builder = builder.env([("WEIR_LOG", "info,weir::calls=debug".to_owned())]);
        let issuer = Issuer::new();
        let weir = issuer.start_in(builder, listen, |home| write(home, policies));
        let weir = weir.await;
        for upstream in upstreams {
            weir.wait_told(&upstream.name(), "state", "up").await;
        }
        Self { issuer, weir }
    }

    fn modern(&self, subject: &str) -> Modern {
        Modern::with(self.weir.url(), &self.issuer.token(subject))
    }

    async fn legacy(&self, subject: &str, version: &str) -> Legacy {
        Legacy::open_token(self.weir.url(), version, &self.issuer.token(subject)).await
    }

    /// A client of each era.
    async fn clients(&self, subject: &str) -> [Client; 3] {
        [
            Client::Modern(self.modern(subject)),
            Client::Legacy(self.legacy(subject, "2025-06-18").await),
            Client::Legacy(self.legacy(subject, "2025-11-25").await),
        ]
    }

    /// The streams of changes of each era.
    async fn streams(&self, subject: &str) -> [Stream; 2] {
        let wanted =
            r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;
        let mut modern = self.modern(subject).listen("1", wanted).await;
        modern.next_value().await;
        let legacy = self.legacy(subject, "2025-11-25").await;
        [modern, legacy.listen().await]
    }
}

async fn erp(tools: &[&str]) -> Upstream {
    let erp = Upstream::named("erp").tools(tools.iter().copied());
    erp.instructions("Pay with care.").start().await
}

async fn crm() -> Upstream {
    let crm = Upstream::named("crm").tools(["find"]).prompts(["hello"]);
    crm.instructions("Find first.").start().await
}

/// The body of an answer to a request with the id 7.
async fn text(client: &Client, method: &str, params: &str) -> String {
    let reply = client.ask(method, params).id("7").send().await;
    body(&reply)
}

fn body(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
}

/// All pages of a list, as they are, cursors included.
async fn pages(client: &Client, method: &str) -> Vec<String> {
    let (mut pages, mut params) = (Vec::new(), "{}".to_owned());
    loop {
        let reply = client.ask(method, &params).id("7").send().await;
        pages.push(body(&reply));
        assert!(pages.len() < 20, "{pages:?}");
        match reply.value()["nextCursor"].as_str() {
            Some(next) => params = format!("{{\"cursor\":\"{next}\"}}"),
            None => return pages,
        }
    }
}

/// The first answer that a client gets.
async fn welcome(client: &Client) -> String {
    match client {
        Client::Modern(_) => text(client, "server/discover", "{}").await,
        Client::Legacy(client) => client.welcome.to_string(),
    }
}

#[tokio::test]
async fn callers_list_what_they_may_call_and_nothing_else() {
    let upstreams = [erp(&["drop", "pay"]).await, crm().await];
    let world = World::new(&upstreams, POLICIES, "tools", "page_size: 1").await;
    for (subject, expected) in [
        ("ann", vec!["erp__pay", "crm__find"]),
        ("bob", vec!["crm__find"]),
    ] {
        for client in world.clients(subject).await {
            assert_eq!(client.tool_names().await, expected, "{subject}");
            for tool in ["erp__drop", "erp__pay", "crm__find", "crm__gone"] {
                let called = client.call(tool, "{}").await;
                assert_eq!(called.succeeded(), expected.contains(&tool), "{tool}");
                if !called.succeeded() {
                    let message = format!("Unknown tool: {tool}");
                    assert_eq!(called.error()["message"], message);
                    assert_eq!(called.code(), -32602);
                }
            }
            let welcome = welcome(&client).await;
            assert!(welcome.contains("Find first."), "{welcome}");
            assert_eq!(welcome.contains("Pay with care."), subject == "ann");
        }
    }
    // Operators see all.
    let catalog = world.weir.admin("/catalog").await;
    assert_eq!(catalog["tools"].as_array().unwrap().len(), 3);
}

/// All that a caller can learn about a tool.
async fn answers(client: &Client, tool: &str) -> Vec<String> {
    let mut answers = vec![welcome(client).await];
    for list in [
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ] {
        answers.extend(pages(client, list).await);
    }
    let name = format!(r#"{{"name":"{tool}","arguments":{{}}}}"#);
    let completion = format!(
        r#"{{"ref":{{"type":"ref/prompt","name":"{tool}"}},"argument":{{"name":"a","value":""}}}}"#
    );
    for (method, params) in [
        ("tools/call", name.as_str()),
        ("prompts/get", name.as_str()),
        ("completion/complete", &completion),
        ("resources/read", r#"{"uri":"ui://drop"}"#),
        ("resources/subscribe", r#"{"uri":"ui://drop"}"#),
        ("tasks/get", r#"{"taskId":"erp:1"}"#),
        ("tasks/list", "{}"),
    ] {
        answers.push(text(client, method, params).await);
    }
    answers
}

#[tokio::test]
async fn a_denied_tool_changes_no_byte_of_any_answer() {
    let shown = r#"{"name":"drop","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://drop"}}}"#;
    let with = Upstream::named("erp")
        .tools(["pay"])
        .raw_tool(shown)
        .tools(["read"]);
    let without = Upstream::named("erp").tools(["pay", "read"]);
    // Another one that is the only one with resources.
    let with = [with.instructions("Pay.").start().await, crm().await];
    let without = [without.instructions("Pay.").start().await, crm().await];
    let with = World::new(&with, POLICIES, "tools", "page_size: 1").await;
    let without = World::new(&without, POLICIES, "tools", "page_size: 1").await;
    for subject in ["ann", "bob"] {
        let clients = with.clients(subject).await;
        let others = without.clients(subject).await;
        for (client, other) in clients.iter().zip(&others) {
            let found = answers(client, "erp__drop").await;
            let expected = answers(other, "erp__drop").await;
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{subject}, {}", client.era());
            }
            assert_eq!(found.len(), expected.len());
        }
    }
}

/// Waits for the next change, and returns its method.
async fn change(stream: &mut Stream) -> String {
    let change = stream.next_value().await;
    change["method"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_callers_whose_view_changed_hear_of_a_change() {
    const TOOLS: &str = "notifications/tools/list_changed";
    const PROMPTS: &str = "notifications/prompts/list_changed";
    let upstreams = [erp(&["drop", "pay"]).await, crm().await];
    let world = World::new(&upstreams, POLICIES, "tools", "page_size: 100").await;
    let [erp, crm] = &upstreams;
    let mut ann = world.streams("ann").await;
    let mut bob = world.streams("bob").await;
    erp.add_tool("refund");
    world.weir.resync("erp").await;
    for stream in &mut ann {
        assert_eq!(change(stream).await, TOOLS);
    }
    // All see prompts: Bob hears of them first.
    crm.add_raw(Kind::Prompts, r#"{"name":"greet"}"#);
    world.weir.resync("crm").await;
    for stream in ann.iter_mut().chain(&mut bob) {
        assert_eq!(change(stream).await, PROMPTS);
    }
    // A policy that is of no concern to Ann.
    let policies = format!("{POLICIES}{BOB_PAYS}");
    let generation = world.weir.generation().await;
    write(world.weir.home.path(), &policies);
    for stream in &mut bob {
        assert_eq!(change(stream).await, TOOLS);
    }
    assert!(world.weir.generation().await > generation);
    for client in world.clients("bob").await {
        assert_eq!(client.tool_names().await, ["erp__pay", "crm__find"]);
    }
    crm.add_raw(Kind::Prompts, r#"{"name":"bye"}"#);
    world.weir.resync("crm").await;
    for stream in ann.iter_mut().chain(&mut bob) {
        assert_eq!(change(stream).await, PROMPTS);
    }
}

#[tokio::test]
async fn a_cursor_is_of_one_class_and_one_content() {
    let upstreams = [erp(&["drop", "pay", "read"]).await, crm().await];
    let world = World::new(&upstreams, POLICIES, "tools", "page_size: 1").await;
    let anns = world.clients("ann").await;
    let mut bobs = world.clients("bob").await;
    for (ann, bob) in anns.iter().zip(&mut bobs) {
        let first = ann.request("tools/list", "{}").await;
        let value = first.value();
        let next = value["nextCursor"].as_str().unwrap();
        let params = format!("{{\"cursor\":\"{next}\"}}");
        let forged = format!("{{\"cursor\":\"{}\"}}", "A".repeat(next.len()));
        let stolen = text(bob, "tools/list", &params).await;
        assert_eq!(stolen, text(bob, "tools/list", &forged).await);
        assert!(stolen.contains("-32602"), "{stolen}");
        let second = ann.request("tools/list", &params).await.value();
        assert_eq!(second["tools"][0]["name"], "erp__read");
    }
    // Paging that began before a change ends in the same list.
    let mut params = Vec::new();
    for ann in &anns {
        let first = ann.request("tools/list", "{}").await.value();
        let next = first["nextCursor"].as_str().unwrap().to_owned();
        params.push(format!("{{\"cursor\":\"{next}\"}}"));
    }
    upstreams[0].remove_tool("read");
    world.weir.resync("erp").await;
    for (ann, params) in anns.iter().zip(&params) {
        assert_eq!(ann.tool_names().await, ["erp__pay", "crm__find"]);
        let second = ann.request("tools/list", params).await.value();
        assert_eq!(second["tools"][0]["name"], "erp__read");
    }
    // Under other policies it would show what they hide.
    let generation = world.weir.generation().await;
    write(world.weir.home.path(), &format!("{POLICIES}{BOB_PAYS}"));
    world.weir.wait_generation(generation + 1).await;
    for (ann, params) in anns.iter().zip(&params) {
        assert_eq!(ann.request("tools/list", params).await.code(), -32602);
    }
}

/// An upstream of which Ann may use everything, and all others only tools.
async fn docs() -> ([Upstream; 1], World) {
    let docs = Upstream::named("docs").tools(["find"]).prompts(["greet"]);
    let docs = docs.resources(["file:///a"]).templates(["file:///t/{x}"]);
    let policies = "permit(principal == AgentCore::OAuthUser::\"ann\", action, resource);\n\
        permit(principal, action in AgentCore::Action::\"docs\", resource);\n";
    let upstreams = [docs.start().await];
    let covers = "tools, prompts, resources";
    let world = World::new(&upstreams, policies, covers, "page_size: 100").await;
    (upstreams, world)
}

const LISTS: [&str; 3] = ["prompts/list", "resources/list", "resources/templates/list"];

/// Requests for what is there, and the same for what is not.
fn pairs() -> [(&'static str, String, String); 6] {
    let get = |name: &str| format!(r#"{{"name":"{name}"}}"#);
    let complete =
        |reference: &str| format!(r#"{{"ref":{reference},"argument":{{"name":"x","value":""}}}}"#);
    let by_prompt = |name: &str| complete(&format!(r#"{{"type":"ref/prompt","name":"{name}"}}"#));
    let by_uri = |uri: &str| complete(&format!(r#"{{"type":"ref/resource","uri":"{uri}"}}"#));
    let read = |uri: &str| format!(r#"{{"uri":"{uri}"}}"#);
    let (prompt, no_prompt) = ("docs__greet", "docs__none");
    let (template, no_template) = ("file:///t/{x}", "file:///u/{x}");
    let (uri, no_uri) = ("file:///a", "file:///z");
    let complete = "completion/complete";
    [
        ("prompts/get", get(prompt), get(no_prompt)),
        (complete, by_prompt(prompt), by_prompt(no_prompt)),
        (complete, by_uri(template), by_uri(no_template)),
        (complete, by_uri(uri), by_uri(no_uri)),
        ("resources/read", read(uri), read(no_uri)),
        ("resources/subscribe", read(uri), read(no_uri)),
    ]
}

#[tokio::test]
async fn what_is_covered_is_hidden_from_completion_subscriptions_and_reading() {
    let (_upstreams, world) = docs().await;
    let same = |text: String| {
        let text = text.replace("docs__none", "docs__greet");
        text.replace("file:///z", "file:///a")
            .replace("file:///u/", "file:///t/")
    };
    for client in world.clients("bob").await {
        assert_eq!(client.tool_names().await, ["docs__find"]);
        for list in LISTS {
            assert_eq!(client.list_all(list).await, Vec::<String>::new(), "{list}");
        }
        for (method, hidden, unknown) in pairs() {
            let hidden = same(text(&client, method, &hidden).await);
            let unknown = same(text(&client, method, &unknown).await);
            assert_eq!(hidden, unknown, "{}", client.era());
            assert!(hidden.contains("\"error\""), "{hidden}");
        }
    }
    // Records tell what callers are not told.
    let log = world.weir.stderr();
    for (method, ..) in pairs() {
        let method = format!("method=\"{method}\"");
        let is_denial =
            |line: &str| line.contains(&method) && line.contains("policy_decision=\"deny\"");
        assert!(log.lines().any(is_denial), "{method}: {log}");
    }
    for client in world.clients("ann").await {
        for list in LISTS {
            assert_eq!(client.list_all(list).await.len(), 1, "{list}");
        }
        let read = client.request("resources/read", r#"{"uri":"file:///a"}"#);
        let read = read.await;
        assert!(read.succeeded(), "{read:?}");
    }
    let wanted = r#"{"toolsListChanged":true,"resourceSubscriptions":["file:///a"]}"#;
    let mut stream = world.modern("bob").listen("1", wanted).await;
    let acknowledged = stream.next_value().await;
    let subscriptions = &acknowledged["params"]["notifications"]["resourceSubscriptions"];
    assert!(subscriptions.is_null(), "{acknowledged}");
}

#[tokio::test]
async fn a_caller_on_pipes_sees_what_it_may_use() {
    for modern in [true, false] {
        let home = tempfile::tempdir().unwrap();
        write(
            home.path(),
            "permit(principal is Weir::Local, action == AgentCore::Action::\"kid___search\", resource);",
        );
        let kid = child_upstream("kid", &["--tools", "search,progress"]);
        let yaml = format!("policy: {{ files: ['policies/*.cedar'] }}\nupstreams:\n{kid}");
        let file = home.path().join("weir.yaml");
        fs::write(&file, yaml).unwrap();
        let mut weir = Piped::start(&file, modern);
        if !modern {
            let hello = r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
            weir.result("1", "initialize", hello).await;
            weir.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
                .await;
        }
        let listed = weir.ask("2", "tools/list", "{}").await;
        assert!(listed.contains("kid__search"), "{listed}");
        assert!(!listed.contains("kid__progress"), "{listed}");
        let denied = weir
            .ask("3", "tools/call", r#"{"name":"kid__progress"}"#)
            .await;
        assert!(denied.contains("Unknown tool: kid__progress"), "{denied}");
        let search = r#"{"name":"kid__search","arguments":{}}"#;
        weir.result("4", "tools/call", search).await;
    }
}
