//! Upstreams of every kind of connector, and requests of every kind.

use std::path::PathBuf;

use serde_json::Value;

use super::random::Random;
use super::seen::assert_none;
use super::tree::{Part, Tree, fits, spell, text_with};
use super::values::{OWN, Planted};
use super::{
    assert_clean, callers, for_each_message, params_of, round_trip, towards_upstream, watched,
};
use crate::support::agentcore::{Agentcore, Door as AgentcoreDoor, SIGNED};
use crate::support::client::{Client, Legacy, call_params, encoded};
use crate::support::hook::{Function, HookServer};
use crate::support::otlp::OtlpReceiver;
use crate::support::quote;
use crate::support::tls::{Ca, Door, config};
use crate::support::token_server::TokenServer;
use crate::support::upstream::Upstream;
use crate::support::weir::{Builder, Weir, child_upstream};

/// The upstreams with their tools.
const TOOLS: [(&str, &str); 10] = [
    ("open", "echo"),
    ("open", "go"),
    ("old", "echo"),
    ("key", "echo"),
    ("oauth", "echo"),
    ("mtls", "echo"),
    ("gateway", "find_order"),
    ("runtime", "find_order"),
    ("child", "echo"),
    ("grandchild", "echo"),
];

const GUARD: &str = "towards_upstream: { EMAIL: tokenise, PHONE: tokenise, INTERNATIONAL_BANK_ACCOUNT_NUMBER: tokenise, STAFF: tokenise, NAME: tokenise, CREDIT_DEBIT_CARD_NUMBER: mask }, towards_caller: { EMAIL: restore, PHONE: restore, INTERNATIONAL_BANK_ACCOUNT_NUMBER: restore, STAFF: restore, NAME: restore, CREDIT_DEBIT_CARD_NUMBER: mask }, fields: { \"$.customer.name\": NAME }";

/// A tool that wants an argument in a header too (2026-07-28 `x-mcp-header`).
const GO: &str = r#"{"name":"go","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"}}}}"#;

struct World {
    /// Those that are HTTP servers of the tests.
    plain: Vec<Upstream>,
    agentcore: Vec<(&'static str, Agentcore)>,
    logs: Vec<(&'static str, PathBuf)>,
    _folder: tempfile::TempDir,
    _tokens: TokenServer,
    _door: Door,
    /// Sees what may go to upstreams, and no more.
    hook: HookServer,
    telemetry: OtlpReceiver,
    weir: Weir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = TokenServer::start().await;
        let plain = Self::plain(&tokens).await;
        let gateway = Agentcore::gateway(|script| {
            script.door = AgentcoreDoor::signed();
            script.versions = vec!["2025-11-25".to_owned()];
            script.tools = vec!["find_order".to_owned()];
        });
        let runtime = Agentcore::runtime(|script| {
            script.door = AgentcoreDoor::Bearer("t".to_owned());
            script.tools = vec!["find_order".to_owned()];
        });
        let agentcore = vec![("gateway", gateway.await), ("runtime", runtime.await)];
        let ca = Ca::new("proof");
        let door = config(&ca.server("localhost"), Some(&ca), rustls::DEFAULT_VERSIONS);
        let door = Door::before(plain[4].address(), door).await;
        let pair = ca.client("weir.example");
        for (name, text) in [("ca", &ca.pem), ("cert", &pair.cert), ("key", &pair.key)] {
            std::fs::write(folder.path().join(format!("{name}.pem")), text).unwrap();
        }
        let logs: Vec<_> = ["child", "grandchild"]
            .map(|name| (name, folder.path().join(format!("{name}.log"))))
            .to_vec();
        let (hook, telemetry) = (
            HookServer::http(Function::Passes).await,
            OtlpReceiver::start().await,
        );
        let watching = format!(
            "hooks: {{ h: {{ url: '{}', upstreams: [open, old], timeout: 20s, sees: redacted, pass_request_headers: [x-user] }} }}\n{}",
            hook.url(),
            telemetry.setting_with(", sample: 1")
        );
        let builder = Self::weir(&plain, &agentcore, &logs, &tokens, &door, folder.path());
        let weir = watched(builder.top(&watching)).start().await;
        let names = TOOLS.map(|(name, tool)| format!("{name}__{tool}"));
        weir.wait_tools(names.each_ref().map(String::as_str)).await;
        Self {
            hook,
            telemetry,
            plain,
            agentcore,
            logs,
            _folder: folder,
            _tokens: tokens,
            _door: door,
            weir,
        }
    }

    /// The HTTP servers of the tests.
    async fn plain(tokens: &TokenServer) -> Vec<Upstream> {
        let template = |name: &str| format!("{name}://u/{{who}}");
        let (open, old) = (template("open"), template("old"));
        let dual = |name: &str| Upstream::named(name).tools(["echo"]).prompts(["p"]);
        vec![
            dual("open")
                .raw_tool(GO)
                .templates([&*open])
                .modern()
                .sse()
                .start()
                .await,
            dual("old")
                .templates([&*old])
                .legacy("2025-06-18")
                .start()
                .await,
            dual("key")
                .require_header("x-api-key", "k")
                .legacy("2025-11-25")
                .sse()
                .start()
                .await,
            dual("oauth").tokens_of(tokens).modern().start().await,
            dual("mtls").legacy("2025-03-26").start().await,
        ]
    }

    /// The weir over these, without what it writes.
    fn weir(
        plain: &[Upstream],
        agentcore: &[(&str, Agentcore)],
        logs: &[(&str, PathBuf)],
        tokens: &TokenServer,
        door: &Door,
        folder: &std::path::Path,
    ) -> Builder {
        let mut written = String::new();
        for ((name, log), era) in logs.iter().zip(["legacy", "modern"]) {
            written += &child_upstream(name, &["--era", era, "--log", log.to_str().unwrap()]);
        }
        for ((name, server), auth) in agentcore
            .iter()
            .zip([SIGNED, "{ type: bearer, token: { value: t } }"])
        {
            written += &server.yaml(name, auth, "");
        }
        let mut builder = Weir::with(&written);
        for upstream in plain {
            let url = match upstream.name().as_str() {
                "mtls" => format!("https://localhost:{}/mcp", door.port()),
                _ => upstream.url(),
            };
            builder = builder.and(&upstream.name(), &url);
        }
        let folder = folder.display();
        let tls = format!(
            "tls: {{ ca: {folder}/ca.pem, cert: {folder}/cert.pem, key: {{ file: {folder}/key.pem }} }}"
        );
        let oauth = format!(
            "auth: {{ type: oauth2_client_credentials, client_id: weir, token_url: \"{}\", client_secret: {{ value: s3cret }} }}",
            tokens.url()
        );
        builder
            .upstream("open", "forward_meta: true")
            .upstream("old", "forward_meta: true")
            .upstream(
                "key",
                "auth: { type: header, name: x-api-key, value: { value: k } }",
            )
            .upstream("oauth", &oauth)
            .upstream("mtls", &tls)
            .top(&format!("guard: {{ redact: {{ {GUARD}, {OWN} }} }}"))
    }

    /// The params of the call with this id, as an upstream of the tests' own got it.
    fn sent(&self, name: &str, id: &str) -> Option<Value> {
        let upstream = self.plain.iter().find(|upstream| upstream.name() == name)?;
        Some(params_of(upstream, "tools/call", id))
    }

    async fn call_a_tool(&self, random: &mut Random, caller: &Client, id: &str) {
        let (name, tool) = *random.choose(&TOOLS);
        if tool == "go" {
            return self.call_with_a_header(random, caller).await;
        }
        let tree = Tree::root(random);
        let arguments = tree.write(random);
        let params = call_params(&format!("{name}__{tool}"), &arguments);
        let user = Planted::plain_mail(random).text;
        let ask = caller.ask("tools/call", &params).header("x-user", &user);
        let reply = ask.header("x-request-id", id).send().await;
        assert!(reply.succeeded(), "{name}: {arguments}: {reply:?}");
        if let Some(params) = self.sent(name, id) {
            let sent = &params["arguments"];
            assert!(
                tree.fits(sent, &towards_upstream),
                "{name}: {arguments}\n was sent as {sent}"
            );
        }
        assert_round_trip(&tree, &arguments, &reply.text());
    }

    async fn call_with_a_header(&self, random: &mut Random, caller: &Client) {
        let value = Planted::any(random);
        let text = text_with(random, value);
        let tree = Tree::Object(vec![(vec![Part::Plain("to".to_owned())], Tree::Text(text))]);
        let arguments = tree.write(random);
        let mut ask = caller.ask("tools/call", &call_params("open__go", &arguments));
        if caller.is_modern() {
            let value: Value = serde_json::from_str(&arguments).unwrap();
            ask = ask.header("mcp-param-to", &encoded(value["to"].as_str().unwrap()));
        }
        let reply = ask.send().await;
        assert!(reply.succeeded(), "{arguments}: {reply:?}");
        assert_round_trip(&tree, &arguments, &reply.text());
    }

    /// Calls in one batch, as only 2025-03-26 has them.
    async fn call_in_a_batch(&self, random: &mut Random, caller: &Legacy, id: &str) {
        let mut calls = Vec::new();
        let mut messages = Vec::new();
        for at in 0..=random.below(3) {
            let (name, tool) = *random.choose(&TOOLS);
            let tool = if tool == "go" { "echo" } else { tool };
            let tree = Tree::root(random);
            let arguments = tree.write(random);
            let params = call_params(&format!("{name}__{tool}"), &arguments);
            messages.push(format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":\"{id}-{at}\",\"method\":\"tools/call\",\"params\":{params}}}"
            ));
            calls.push((tree, arguments));
        }
        let reply = caller.post(&format!("[{}]", messages.join(","))).await;
        let answers: Vec<Value> = match reply.events.is_empty() {
            true => serde_json::from_slice(&reply.body).unwrap(),
            false => {
                let events = reply.events.iter();
                events
                    .map(|event| serde_json::from_str(event).unwrap())
                    .collect()
            }
        };
        assert_eq!(answers.len(), calls.len(), "{messages:?}: {reply:?}");
        for answer in answers {
            let number = answer["id"].as_str().and_then(|text| text.rsplit_once('-'));
            let at: usize = number.unwrap().1.parse().unwrap();
            let (tree, arguments) = &calls[at];
            let text = answer["result"]["content"][0]["text"].as_str();
            let text = text.unwrap_or_else(|| panic!("{arguments}: {answer}"));
            assert_round_trip(tree, arguments, text);
        }
    }

    async fn get_a_prompt(&self, random: &mut Random, caller: &Client) {
        let name = *random.choose(&["open", "old", "key", "oauth", "mtls"]);
        let tree = Tree::root(random);
        let arguments = tree.write(random);
        let params = format!("{{\"name\":\"{name}__p\",\"arguments\":{arguments}}}");
        let reply = caller.request("prompts/get", &params).await;
        assert!(reply.succeeded(), "{arguments}: {reply:?}");
        let value = reply.value();
        let text = value["messages"][0]["content"]["text"].as_str();
        assert_round_trip(&tree, &arguments, text.unwrap());
    }

    async fn complete(&self, random: &mut Random, caller: &Client) {
        let name = *random.choose(&["open", "old"]);
        let value = Planted::any(random);
        let typed = text_with(random, value);
        let written = Tree::Text(typed.clone()).write(random);
        let context = Tree::root(random).write(random);
        let params = format!(
            "{{\"ref\":{{\"type\":\"ref/prompt\",\"name\":\"{name}__p\"}},\"argument\":{{\"name\":\"who\",\"value\":{written}}},\"context\":{{\"arguments\":{context}}}}}"
        );
        let reply = caller.request("completion/complete", &params).await;
        assert!(reply.succeeded(), "{params}: {reply:?}");
        let value = reply.value();
        let got = value["completion"]["values"][0].as_str().unwrap();
        let mut expected = vec![Part::Plain(format!("{name} completes "))];
        expected.extend(typed);
        assert!(fits(&expected, got, &round_trip), "{written}: {got}");
    }

    async fn read_a_resource(&self, random: &mut Random, caller: &Client) {
        let name = *random.choose(&["open", "old"]);
        let uri = format!("{name}://u/{}", Planted::plain_mail(random).text);
        let params = format!("{{\"uri\":{}}}", spell(random, &uri));
        let reply = caller.request("resources/read", &params).await;
        assert!(reply.succeeded(), "{params}: {reply:?}");
        let value = reply.value();
        assert_eq!(value["contents"][0]["uri"], *uri, "{params}");
        assert_eq!(value["contents"][0]["text"], format!("{name}.{uri} {{}}"));
    }

    async fn send_meta(&self, random: &mut Random, caller: &Client, id: &str) {
        let name = *random.choose(&["open", "old"]);
        // No paths of fields begin in `_meta`.
        let tree = Tree::root_without_fields(random);
        let written = tree.write(random);
        let ask = caller.ask("tools/call", &format!("{{\"name\":\"{name}__echo\"}}"));
        let ask = ask.meta("own/key", &written).header("x-request-id", id);
        let reply = ask.send().await;
        assert!(reply.succeeded(), "{written}: {reply:?}");
        let sent = self.sent(name, id).unwrap();
        assert!(
            tree.fits(&sent["_meta"]["own/key"], &towards_upstream),
            "{written}: {sent}"
        );
    }

    async fn ask_for_something_unknown(&self, random: &mut Random, caller: &Client) {
        let value = match random.one_in(2) {
            true => Planted::plain_mail(random).text,
            false => Planted::digits(random).text,
        };
        for (method, params) in [
            ("tools/call", format!("{{\"name\":{}}}", quote(&value))),
            ("prompts/get", format!("{{\"name\":{}}}", quote(&value))),
            (
                "resources/read",
                format!("{{\"uri\":{}}}", quote(&format!("none://{value}"))),
            ),
            (
                "completion/complete",
                format!(
                    "{{\"ref\":{{\"type\":\"ref/prompt\",\"name\":{}}},\"argument\":{{}}}}",
                    quote(&value)
                ),
            ),
        ] {
            let reply = caller.request(method, &params).await;
            assert!(!reply.succeeded(), "{method} {params}: {reply:?}");
        }
    }

    /// Looks at all that upstreams got, and at all that the weir shows.
    async fn assert_clean(self) {
        for upstream in &self.plain {
            let seen = upstream.log().seen();
            assert!(seen.requests.len() > 3, "{}", upstream.name());
            for request in &seen.requests {
                assert_none(&request.body, &upstream.name());
                for (name, value) in &request.headers {
                    assert_none(value.as_bytes(), name.as_str());
                }
            }
        }
        for (name, server) in &self.agentcore {
            for request in server.arrived() {
                assert_none(&request.body, name);
                assert_none(request.target.as_bytes(), name);
                for (header, value) in &request.headers {
                    assert_none(value.as_bytes(), header.as_str());
                }
            }
        }
        for (name, log) in &self.logs {
            assert_none(&std::fs::read(log).unwrap(), name);
        }
        assert!(!self.hook.inputs().is_empty());
        for input in self.hook.inputs() {
            assert_none(input.to_string().as_bytes(), "a hook");
        }
        assert_clean(self.weir).await;
        // The rest goes out when weir stops.
        assert!(!self.telemetry.spans().is_empty());
        assert_none(&self.telemetry.arrived(), "telemetry");
    }
}

/// Checks that a caller got its own arguments back, in a text after the name of the tool.
fn assert_round_trip(tree: &Tree, arguments: &str, text: &str) {
    let (_, echoed) = text.split_once(' ').unwrap();
    let value = serde_json::from_str(echoed);
    let value =
        value.unwrap_or_else(|error| panic!("{arguments}\n came back as {echoed}: {error}"));
    assert!(
        tree.fits(&value, &round_trip),
        "{arguments}\n came back as {echoed}"
    );
}

#[tokio::test]
async fn no_upstream_of_any_kind_sees_what_is_planted_and_callers_get_it_back() {
    let world = World::start().await;
    let callers = callers(&world.weir).await;
    let batches = world.weir.legacy("2025-03-26").await;
    let (running, callers, batches) = (&world, &callers, &batches);
    for_each_message(|number| async move {
        let random = &mut Random::new(number as u64);
        let (caller, id) = (random.choose(callers), format!("k-{number}"));
        match random.below(13) {
            0 => running.get_a_prompt(random, caller).await,
            1 => running.complete(random, caller).await,
            2 => running.read_a_resource(random, caller).await,
            3 => running.send_meta(random, caller, &id).await,
            4 => running.ask_for_something_unknown(random, caller).await,
            5 => running.call_in_a_batch(random, batches, &id).await,
            _ => running.call_a_tool(random, caller, &id).await,
        }
    })
    .await;
    world.assert_clean().await;
}
