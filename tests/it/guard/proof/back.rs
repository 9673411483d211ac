//! Messages of upstreams to callers that are not cleared, in streams that are cut anywhere, and the
//! answers of callers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::Value;

use super::random::Random;
use super::seen::assert_none;
use super::tree::{Fate, Part, Tree, fits, spell, text_with};
use super::values::{OWN, Planted};
use super::{assert_clean, messages, watched};
use crate::support::asking::{Asking, Call};
use crate::support::client::{Client, Legacy, Modern, Reply};
use crate::support::quote;
use crate::support::weir::Weir;

const ACTIONS: &str = "{ EMAIL: tokenise, STAFF: tokenise, NAME: tokenise, PHONE: mask, INTERNATIONAL_BANK_ACCOUNT_NUMBER: mask, CREDIT_DEBIT_CARD_NUMBER: mask }";
const CAPABILITIES: &str = r#"{"elicitation":{},"sampling":{},"roots":{}}"#;

fn fate(value: &Planted) -> Fate {
    match value.class {
        "EMAIL" | "STAFF" | "NAME" => Fate::Pseudonym,
        _ => Fate::Mask,
    }
}

/// A string with a value in it, as JSON.
fn text(random: &mut Random) -> String {
    let value = Planted::any(random);
    Tree::Text(text_with(random, value)).write(random)
}

/// A block of content, and the text in it that can be compared.
fn block(random: &mut Random) -> (String, Option<Vec<Part>>) {
    let value = Planted::any(random);
    let parts = text_with(random, value);
    let written = Tree::Text(parts.clone()).write(random);
    match random.below(8) {
        0 => {
            let tree = Tree::root_without_fields(random).write(random);
            (
                format!("{{\"type\":\"own\",\"x\":{tree},\"text\":{written}}}"),
                Some(parts),
            )
        }
        1 => {
            let (name, title, uri) = (text(random), text(random), uri(random));
            let link = format!(
                "{{\"type\":\"resource_link\",\"uri\":{uri},\"name\":{name},\"title\":{title},\"description\":{written}}}"
            );
            (link, None)
        }
        2 => {
            let (blob, uri) = (blob(random, &parts), uri(random));
            (
                format!(
                    "{{\"type\":\"resource\",\"resource\":{{\"uri\":{uri},\"mimeType\":\"text/plain\",\"blob\":{blob}}}}}"
                ),
                None,
            )
        }
        3 => {
            let (uri, meta) = (uri(random), Tree::root_without_fields(random).write(random));
            (
                format!(
                    "{{\"type\":\"resource\",\"resource\":{{\"uri\":{uri},\"text\":{written},\"_meta\":{meta}}}}}"
                ),
                None,
            )
        }
        4 => {
            let icon = uri(random);
            (
                format!(
                    "{{\"type\":\"image\",\"mimeType\":\"image/png\",\"data\":\"iVBORw0KGgoAAAAN\",\"icons\":[{{\"src\":{icon}}}]}}"
                ),
                None,
            )
        }
        _ => (
            format!("{{\"type\":\"text\",\"text\":{written}}}"),
            Some(parts),
        ),
    }
}

fn uri(random: &mut Random) -> String {
    let uri = format!("x://u/{}?a=1", Planted::plain_mail(random).text);
    spell(random, &uri)
}

/// Text as base64, as programs write it.
fn blob(random: &mut Random, parts: &[Part]) -> String {
    let text: String = parts
        .iter()
        .map(|part| match part {
            Part::Plain(text) => text.as_str(),
            Part::Value(value) => &value.text,
        })
        .collect();
    let text = format!("{text}{}", " and more".repeat(random.below(20)));
    let encoded = match random.below(4) {
        0 => STANDARD_NO_PAD.encode(text),
        1 => URL_SAFE.encode(text),
        2 => {
            let encoded = STANDARD.encode(text);
            let lines = encoded.as_bytes().chunks(76);
            let lines: Vec<_> = lines
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            lines.join("\n") + "\n"
        }
        _ => STANDARD.encode(text),
    };
    spell(random, &encoded)
}

/// A result with values at each of its places.
struct Said {
    result: String,
    structured: Tree,
    texts: Vec<Option<Vec<Part>>>,
}

impl Said {
    fn new(random: &mut Random) -> Self {
        let blocks: Vec<_> = (0..=random.below(4)).map(|_| block(random)).collect();
        let structured = Tree::root(random);
        let (written, meta) = (
            structured.write(random),
            Tree::root_without_fields(random).write(random),
        );
        let content: Vec<_> = blocks.iter().map(|(block, _)| block.as_str()).collect();
        let more = text(random);
        let result = format!(
            "{{\"resultType\":\"complete\",\"content\":[{}],\"structuredContent\":{written},\"_meta\":{{\"own/a\":{meta}}},\"own\":{more}}}",
            content.join(",")
        );
        Self {
            result,
            structured,
            texts: blocks.into_iter().map(|(_, text)| text).collect(),
        }
    }

    fn assert_in(&self, reply: &Reply) {
        assert!(reply.succeeded(), "{}\n became {reply:?}", self.result);
        let value = reply.value();
        let structured = &value["structuredContent"];
        assert!(
            self.structured.fits(structured, &fate),
            "{}\n became {structured}",
            self.result
        );
        for (at, text) in self.texts.iter().enumerate() {
            let got = value["content"][at]["text"].as_str().unwrap_or_default();
            if let Some(text) = text {
                assert!(fits(text, got, &fate), "{}\n became {got}", self.result);
            }
        }
    }
}

/// Writes messages as events, and cuts them anywhere.
async fn write(random: &mut Random, call: &Call, messages: &[String]) {
    let mut stream = String::new();
    for message in messages {
        let end = *random.choose(&["\n", "\r\n"]);
        stream += *random.choose(&["", ": a comment\n\n", "event: message\n", "retry: 10\n"]);
        for line in message.lines() {
            stream += &format!("data: {line}{end}");
        }
        stream += end;
    }
    let mut rest = stream.as_bytes();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(60)).min(rest.len()));
        call.write_bytes(piece).await;
        tokio::task::yield_now().await;
        rest = after;
    }
}

fn notification(random: &mut Random, token: Option<&str>) -> String {
    let (written, tree) = (
        text(random),
        Tree::root_without_fields(random).write(random),
    );
    let (method, params) = match (random.below(3), token) {
        (0, Some(token)) => (
            "progress",
            format!(
                "{{\"progressToken\":{token},\"progress\":1,\"message\":{written},\"own\":{tree}}}"
            ),
        ),
        (1, _) => (
            "own",
            format!("{{\"a\":{tree},\"_meta\":{{\"own\":{written}}}}}"),
        ),
        _ => (
            "message",
            format!("{{\"level\":\"info\",\"logger\":{written},\"data\":{tree}}}"),
        ),
    };
    let more = text(random);
    format!(
        "{{\"jsonrpc\":\"2.0\",\"own\":{more},\"method\":\"notifications/{method}\",\"params\":{params}}}"
    )
}

/// A request of an upstream with these in it, by its method and params, and what a caller answers.
fn question(random: &mut Random, asked: &str, tree: &str) -> (&'static str, String, String) {
    match random.below(4) {
        0 => (
            "elicitation/create",
            format!(
                "\"message\":{asked},\"requestedSchema\":{{\"type\":\"object\",\"properties\":{{\"a\":{{\"type\":\"string\",\"description\":{asked}}}}}}}"
            ),
            format!("\"result\":{{\"action\":\"accept\",\"content\":{tree}}}"),
        ),
        1 => (
            "sampling/createMessage",
            format!(
                "\"maxTokens\":7,\"systemPrompt\":{asked},\"messages\":[{{\"role\":\"user\",\"content\":{{\"type\":\"text\",\"text\":{asked}}}}}],\"metadata\":{tree}"
            ),
            format!(
                "\"result\":{{\"role\":\"assistant\",\"model\":{asked},\"content\":{{\"type\":\"text\",\"text\":{asked}}},\"_meta\":{tree}}}"
            ),
        ),
        2 => (
            "roots/list",
            format!("\"own\":{tree}"),
            format!(
                "\"result\":{{\"roots\":[{{\"uri\":{},\"name\":{asked}}}]}}",
                uri(random)
            ),
        ),
        _ => (
            "elicitation/create",
            format!("\"message\":{asked},\"requestedSchema\":{tree}"),
            format!("\"error\":{{\"code\":-1,\"message\":{asked},\"data\":{tree}}}"),
        ),
    }
}

struct World {
    ups: [Asking; 2],
    weir: Weir,
    modern: Client,
    legacy: Legacy,
}

impl World {
    async fn start() -> Self {
        let new = Asking::named("new")
            .modern()
            .tools(["t"])
            .resources(["n://r"]);
        let old = Asking::named("old").tools(["t"]).resources(["o://r"]);
        let ups = [new.start().await, old.start().await];
        let yaml = format!("{}{}", ups[0].yaml(), ups[1].yaml());
        let guard = format!(
            "guard: {{ redact: {{ towards_upstream: {ACTIONS}, towards_caller: {ACTIONS}, {OWN}, fields: {{ \"$.customer.name\": NAME }} }} }}"
        );
        let weir = watched(Weir::with(&yaml).top(&guard)).start().await;
        let mut modern = Modern::new(weir.url());
        modern.capabilities = CAPABILITIES.to_owned();
        let modern = Client::Modern(modern);
        let legacy = Legacy::open_with(weir.url(), "2025-11-25", CAPABILITIES).await;
        Self {
            ups,
            weir,
            modern,
            legacy,
        }
    }

    /// A call whose answer has notifications before it: a result or an error.
    async fn answer_a_call(&self, random: &mut Random) {
        let up = random.choose(&self.ups);
        let params = format!(
            "{{\"name\":\"{}__t\",\"_meta\":{{\"progressToken\":\"p\"}}}}",
            up.name()
        );
        let ask = match random.one_in(2) {
            true => self
                .modern
                .ask("tools/call", &params)
                .meta("io.modelcontextprotocol/logLevel", "\"debug\""),
            false => self.legacy.ask("tools/call", &params),
        };
        let said = Said::new(random);
        let fails = random.one_in(4);
        let (reply, ()) = tokio::join!(ask.send(), async {
            let call = up.call().await;
            let token = call.request.raw(&["params", "_meta", "progressToken"]);
            let mut messages: Vec<_> = (0..random.below(4))
                .map(|_| notification(random, token.as_deref()))
                .collect();
            let outcome = match fails {
                true => {
                    let (message, data) = (text(random), Tree::root(random).write(random));
                    format!("\"error\":{{\"code\":-5,\"message\":{message},\"data\":{data}}}")
                }
                false => format!("\"result\":{}", said.result),
            };
            let id = &call.id;
            messages.push(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{outcome}}}"));
            write(random, &call, &messages).await;
        });
        assert_none(&reply.body, "an answer");
        match fails {
            true => assert_eq!(reply.code(), -5, "{reply:?}"),
            false => said.assert_in(&reply),
        }
    }

    /// A request of an upstream, and what the caller answers, in a legacy session.
    async fn ask_the_caller(&self, random: &mut Random, number: usize) {
        let (up, id) = (&self.ups[1], format!("\"q{number}\""));
        let (asked, tree) = (
            text(random),
            Tree::root_without_fields(random).write(random),
        );
        let (method, params, answer) = question(random, &asked, &tree);
        let ask = self.legacy.ask("tools/call", "{\"name\":\"old__t\"}");
        let (mut stream, call) = tokio::join!(ask.stream(), async {
            let call = up.call().await;
            let request = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{{params},\"_meta\":{{\"progressToken\":\"s\"}}}}}}"
            );
            write(random, &call, &[request]).await;
            call
        });
        let got = stream.next().await.unwrap();
        assert_none(got.as_bytes(), "a request of an upstream");
        let got: Value = serde_json::from_str(&got).unwrap();
        let token = &got["params"]["_meta"]["progressToken"];
        let progress = format!("{{\"progressToken\":{token},\"progress\":1,\"message\":{asked}}}");
        self.legacy
            .notify("notifications/progress", &progress)
            .await;
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{answer}}}", got["id"]);
        assert_eq!(self.legacy.post(&body).await.status, 202);
        let answered = up.answered(&id).await;
        assert_none(answered.as_bytes(), "an answer of a caller");
        call.answer("{\"content\":[]}").await;
        stream.finish().await;
    }

    /// A modern call that needs input, and is made again with it.
    async fn need_input(&self, random: &mut Random) {
        let up = &self.ups[0];
        let (asked, tree) = (
            text(random),
            Tree::root_without_fields(random).write(random),
        );
        let answer = |call: Call, result: String| async move { call.answer(&result).await };
        let needs = format!(
            "{{\"resultType\":\"input_required\",\"requestState\":\"s\",\"inputRequests\":{{\"who\":{{\"method\":\"elicitation/create\",\"params\":{{\"message\":{asked},\"requestedSchema\":{{\"type\":\"object\",\"properties\":{{}}}},\"own\":{tree}}}}}}}}}"
        )
        .replace(['\n', '\r'], " ");
        let call = self.modern.request("tools/call", "{\"name\":\"new__t\"}");
        let (reply, ()) = tokio::join!(call, async { answer(up.call().await, needs).await });
        assert_none(&reply.body, "a need for input");
        let value = reply.value();
        assert_eq!(value["resultType"], "input_required", "{value}");
        let params = format!(
            "{{\"name\":\"new__t\",\"requestState\":{},\"inputResponses\":{{\"who\":{{\"action\":\"accept\",\"content\":{tree},\"own\":{asked}}}}}}}",
            value["requestState"]
        );
        let call = self.modern.request("tools/call", &params);
        let (reply, ()) = tokio::join!(call, async {
            answer(
                up.call().await,
                "{\"resultType\":\"complete\",\"content\":[]}".to_owned(),
            )
            .await;
        });
        assert!(reply.succeeded(), "{params}: {reply:?}");
    }

    /// A call that its caller cancels with a reason, and a URI that is not subscribed to.
    async fn cancel_and_subscribe(&self, random: &mut Random, number: usize) {
        let up = &self.ups[1];
        let reason = text(random);
        let ask = self
            .legacy
            .ask("tools/call", "{\"name\":\"old__t\"}")
            .id(&format!("\"c{number}\""));
        let before = up.count("notifications/cancelled");
        let (_stream, _call) = tokio::join!(ask.stream(), async {
            let call = up.call().await;
            let params = format!("{{\"requestId\":\"c{number}\",\"reason\":{reason}}}");
            self.legacy.notify("notifications/cancelled", &params).await;
            up.wait_count("notifications/cancelled", before + 1).await;
            call
        });
        let uri = format!("old+o://u/{}", Planted::plain_mail(random).text);
        let params = format!("{{\"uri\":{}}}", quote(&uri));
        let reply = self.legacy.request("resources/subscribe", &params).await;
        assert!(!reply.succeeded(), "{params}: {reply:?}");
        self.legacy.request("resources/unsubscribe", &params).await;
    }
}

#[tokio::test]
async fn no_caller_who_is_not_cleared_sees_what_upstreams_say_and_no_upstream_what_it_answers() {
    let world = World::start().await;
    for number in 0..messages() {
        let random = &mut Random::new(0x2_0000_0000 + number as u64);
        match random.below(8) {
            0 => world.ask_the_caller(random, number).await,
            1 => world.need_input(random).await,
            2 if random.one_in(3) => world.cancel_and_subscribe(random, number).await,
            _ => world.answer_a_call(random).await,
        }
    }
    for up in &world.ups {
        for method in [
            "tools/call",
            "notifications/progress",
            "notifications/cancelled",
            "resources/subscribe",
            "resources/unsubscribe",
            "",
        ] {
            for request in up.requests(method) {
                assert_none(&request.body, up.name());
            }
        }
        assert!(up.count("tools/call") > messages() / 8);
    }
    assert_clean(world.weir).await;
}
