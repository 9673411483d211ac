//! Two upstreams of the tests' own, one of each era, with a caller of each: their messages go one after
//! the other, and those of several lanes side by side.

use serde_json::Value;
use tokio::sync::Mutex;

use super::generated::{Said, block, fate, notification, question, text, uri, write};
use super::random::Random;
use super::seen::assert_none;
use super::tree::{Tree, fits, text_with};
use super::values::Planted;
use crate::support::asking::{Asking, Call};
use crate::support::client::{Ask, Legacy, Modern, Reply, Stream};
use crate::support::weir::Weir;
use crate::support::{bounded, quote};

const TASKS: &str = "io.modelcontextprotocol/tasks";
const CAPABILITIES: &str = r#"{"elicitation":{},"sampling":{},"roots":{}}"#;
const MODERN_CAPABILITIES: &str = r#"{"elicitation":{},"sampling":{},"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// Begins the upstreams of a lane: the modern one, and the legacy one.
pub async fn upstreams(lane: usize) -> [Asking; 2] {
    let can = r#""tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"prompts":{},"completions":{},"logging":{}"#;
    let begin = |name: &str, more: &str| {
        let uri = format!("{name}://r");
        let begun = Asking::named(name).tools(["t"]).prompts(["p"]);
        begun
            .resources([&*uri])
            .capabilities(&format!("{{{can},{more}}}"))
    };
    let extension = format!(r#""extensions":{{"{TASKS}":{{}}}}"#);
    let own = r#""tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;
    let new = begin(&format!("new{lane}"), &extension).modern();
    let old = begin(&format!("old{lane}"), own);
    [new.start().await, old.start().await]
}

pub struct Lane {
    /// The modern one, and the legacy one.
    pub ups: [Asking; 2],
    modern: Modern,
    legacy: Legacy,
    /// The GET stream of the legacy caller.
    unasked: Mutex<Stream>,
    /// The session of the legacy caller at the legacy upstream.
    session: String,
    /// The changes that the modern caller hears of a resource.
    listening: Mutex<Stream>,
}

impl Lane {
    pub async fn open(ups: [Asking; 2], weir: &Weir) -> Self {
        let mut modern = Modern::new(weir.url());
        modern.capabilities = MODERN_CAPABILITIES.to_owned();
        let legacy = Legacy::open_with(weir.url(), "2025-11-25", CAPABILITIES).await;
        let unasked = legacy.listen().await;
        // The first call opens the session at the upstream.
        let params = format!("{{\"name\":\"{}__t\"}}", ups[1].name());
        let (reply, session) = tokio::join!(legacy.request("tools/call", &params), async {
            let call = ups[1].call().await;
            let session = call.session.clone();
            call.answer("{\"content\":[]}").await;
            session
        });
        assert!(reply.succeeded(), "{reply:?}");
        let wishes = format!("{{\"resourceSubscriptions\":[\"{}://r\"]}}", ups[0].name());
        let mut listening = modern.listen("\"l\"", &wishes).await;
        let begun = listening.next().await.unwrap();
        assert!(begun.contains("acknowledged"), "{begun}");
        Self {
            ups,
            modern,
            legacy,
            unasked: Mutex::new(unasked),
            session,
            listening: Mutex::new(listening),
        }
    }

    /// Lets one message pass, and what belongs to it.
    pub async fn exchange(&self, random: &mut Random, number: usize) {
        match random.below(20) {
            0 | 1 => self.ask_the_caller(random, number).await,
            2 | 3 => self.need_input(random).await,
            4 => self.cancel_and_subscribe(random, number).await,
            5 | 6 => self.speak_outside_of_calls(random, number).await,
            7 => self.update_a_resource(random).await,
            8 => self.complete(random).await,
            9 => self.read_a_resource(random).await,
            10 => self.get_a_prompt(random).await,
            11 => self.finish_a_legacy_task(random).await,
            12 => self.finish_a_modern_task(random).await,
            _ => self.answer_a_call(random).await,
        }
    }

    fn call_params(&self, up: &Asking) -> String {
        format!("{{\"name\":\"{}__t\"}}", up.name())
    }

    /// An upstream of either era, and a request of a caller of either.
    fn any_request(
        &self,
        random: &mut Random,
        method: &str,
        params: impl Fn(&str) -> String,
    ) -> (&Asking, Ask<'_>) {
        let up = random.choose(&self.ups);
        let params = params(up.name());
        let ask = match random.one_in(2) {
            true => self.modern.ask(method, &params),
            false => self.legacy.ask(method, &params),
        };
        (up, ask)
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
            false => {
                assert!(reply.succeeded(), "{}\n became {reply:?}", said.result);
                said.assert_in(&reply.value());
            }
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
        let ask = self.legacy.ask("tools/call", &self.call_params(up));
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
        let params = self.call_params(up);
        let call = self.modern.request("tools/call", &params);
        let (reply, ()) = tokio::join!(call, async { answer(up.call().await, needs).await });
        assert_none(&reply.body, "a need for input");
        let value = reply.value();
        assert_eq!(value["resultType"], "input_required", "{value}");
        let name = up.name();
        let params = format!(
            "{{\"name\":\"{name}__t\",\"requestState\":{},\"inputResponses\":{{\"who\":{{\"action\":\"accept\",\"content\":{tree},\"own\":{asked}}}}}}}",
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
            .ask("tools/call", &self.call_params(up))
            .id(&format!("\"c{number}\""));
        let before = up.count("notifications/cancelled");
        let (_stream, _call) = tokio::join!(ask.stream(), async {
            let call = up.call().await;
            let params = format!("{{\"requestId\":\"c{number}\",\"reason\":{reason}}}");
            self.legacy.notify("notifications/cancelled", &params).await;
            up.wait_count("notifications/cancelled", before + 1).await;
            call
        });
        let name = up.name();
        let uri = format!("{name}+{name}://u/{}", Planted::plain_mail(random).text);
        let params = format!("{{\"uri\":{}}}", quote(&uri));
        let reply = self.legacy.request("resources/subscribe", &params).await;
        assert!(!reply.succeeded(), "{params}: {reply:?}");
        self.legacy.request("resources/unsubscribe", &params).await;
    }

    /// A message on the GET stream of the caller's session: it belongs to no call.
    async fn speak_outside_of_calls(&self, random: &mut Random, number: usize) {
        let (up, id) = (&self.ups[1], format!("\"u{number}\""));
        let (asked, tree) = (
            text(random),
            Tree::root_without_fields(random).write(random),
        );
        let (message, answer) = match random.one_in(2) {
            true => (notification(random, None), None),
            false => {
                let (method, params, answer) = question(random, &asked, &tree);
                let request = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{{params}}}}}"
                );
                (request, Some(answer))
            }
        };
        let mut unasked = self.unasked.lock().await;
        let one_line = message.replace(['\n', '\r'], " ");
        up.tell(&self.session, &one_line).await;
        let got: Value = loop {
            let got = unasked.next().await.unwrap();
            assert_none(got.as_bytes(), "a message outside of calls");
            let got: Value = serde_json::from_str(&got).unwrap();
            let method = got["method"].as_str().unwrap();
            if !method.ends_with("/list_changed") {
                break got;
            }
        };
        if let Some(answer) = answer {
            let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{answer}}}", got["id"]);
            assert_eq!(self.legacy.post(&body).await.status, 202);
            let answered = up.answered(&id).await;
            assert_none(answered.as_bytes(), "an answer of a caller");
        }
    }

    /// A change of a resource that a modern caller follows.
    async fn update_a_resource(&self, random: &mut Random) {
        let up = &self.ups[0];
        let uri = format!("{}://r", up.name());
        let params = format!(
            "{{\"uri\":{},\"own\":{},\"title\":{}}}",
            quote(&uri),
            Tree::root_without_fields(random).write(random),
            text(random)
        )
        .replace(['\n', '\r'], " ");
        let mut listening = self.listening.lock().await;
        bounded("a subscription", async {
            while up.updated(&uri, &params).await == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let got = listening.next().await.unwrap();
        assert_none(got.as_bytes(), "an update of a resource");
        assert!(got.contains("notifications/resources/updated"), "{got}");
    }

    async fn complete(&self, random: &mut Random) {
        let value = Planted::any(random);
        let parts = text_with(random, value);
        let (first, second) = (Tree::Text(parts.clone()).write(random), text(random));
        let result = format!(
            "{{\"resultType\":\"complete\",\"completion\":{{\"values\":[{first},{second}],\"total\":2,\"own\":{second}}}}}"
        );
        let (up, ask) = self.any_request(random, "completion/complete", |name| {
            format!("{{\"ref\":{{\"type\":\"ref/prompt\",\"name\":\"{name}__p\"}},\"argument\":{{\"name\":\"a\",\"value\":\"b\"}}}}")
        });
        let reply = answered(random, ask, up, &result).await;
        let value = reply.value();
        let got = value["completion"]["values"][0].as_str().unwrap();
        assert!(fits(&parts, got, &fate), "{result}\n became {got}");
    }

    async fn read_a_resource(&self, random: &mut Random) {
        let value = Planted::any(random);
        let parts = text_with(random, value);
        let (first, second) = (Tree::Text(parts.clone()).write(random), text(random));
        let (other, meta) = (uri(random), Tree::root_without_fields(random).write(random));
        let result = format!(
            "{{\"resultType\":\"complete\",\"contents\":[{{\"uri\":\"x://r\",\"mimeType\":\"text/plain\",\"text\":{first},\"_meta\":{meta}}},{{\"uri\":{other},\"text\":{second},\"own\":{meta}}}]}}"
        );
        let (up, ask) = self.any_request(random, "resources/read", |name| {
            format!("{{\"uri\":\"{name}://r\"}}")
        });
        let reply = answered(random, ask, up, &result).await;
        let value = reply.value();
        let got = value["contents"][0]["text"].as_str().unwrap();
        assert!(fits(&parts, got, &fate), "{result}\n became {got}");
    }

    async fn get_a_prompt(&self, random: &mut Random) {
        let (about, (block, parts)) = (text(random), block(random));
        let result = format!(
            "{{\"resultType\":\"complete\",\"description\":{about},\"messages\":[{{\"role\":\"user\",\"content\":{block}}}]}}"
        );
        let (up, ask) = self.any_request(random, "prompts/get", |name| {
            format!("{{\"name\":\"{name}__p\"}}")
        });
        let reply = answered(random, ask, up, &result).await;
        let value = reply.value();
        let got = value["messages"][0]["content"]["text"].as_str();
        if let Some(parts) = parts {
            let got = got.unwrap_or_default();
            assert!(fits(&parts, got, &fate), "{result}\n became {got}");
        }
    }

    /// A call that becomes a task of 2025-11-25, its state, and its result.
    async fn finish_a_legacy_task(&self, random: &mut Random) {
        let up = &self.ups[1];
        let state = |random: &mut Random| {
            let (said, own) = (
                text(random),
                Tree::root_without_fields(random).write(random),
            );
            format!(
                "\"taskId\":\"7\",\"status\":\"working\",\"ttl\":1,\"statusMessage\":{said},\"own\":{own}"
            )
        };
        let made = format!("{{\"task\":{{{}}}}}", state(random));
        let params = format!(
            "{{\"name\":\"{}__t\",\"task\":{{\"ttl\":1000}}}}",
            up.name()
        );
        let ask = self.legacy.ask("tools/call", &params);
        let reply = answered(random, ask, up, &made).await;
        let params = format!("{{\"taskId\":{}}}", reply.value()["task"]["taskId"]);
        let now = format!("{{{}}}", state(random));
        let ask = self.legacy.ask("tasks/get", &params);
        answered(random, ask, up, &now).await;
        let said = Said::new(random);
        let ask = self.legacy.ask("tasks/result", &params);
        let reply = answered(random, ask, up, &said.result).await;
        said.assert_in(&reply.value());
    }

    /// The same of the extension for 2026-07-28 (SEP-2663): the state has the result, and takes answers.
    async fn finish_a_modern_task(&self, random: &mut Random) {
        let up = &self.ups[0];
        let made = format!(
            "{{\"resultType\":\"task\",\"taskId\":\"7\",\"status\":\"working\",\"statusMessage\":{}}}",
            text(random)
        );
        let name = format!("{}__t", up.name());
        let ask = self.modern.ask("tools/call", &self.call_params(up));
        let reply = answered(random, ask.header("mcp-name", &name), up, &made).await;
        let value = reply.value();
        let id = value["taskId"].as_str().unwrap();
        let params = format!(
            "{{\"taskId\":{},\"inputResponses\":{{\"who\":{{\"action\":\"accept\",\"content\":{}}}}}}}",
            quote(id),
            Tree::root_without_fields(random).write(random)
        );
        let ask = self.modern.ask("tasks/update", &params);
        let ask = ask.header("mcp-name", id);
        answered(random, ask, up, "{\"resultType\":\"complete\"}").await;
        let said = Said::new(random);
        let done = format!(
            "{{\"resultType\":\"complete\",\"taskId\":\"7\",\"status\":\"completed\",\"statusMessage\":{},\"result\":{}}}",
            text(random),
            said.result
        );
        let ask = self
            .modern
            .ask("tasks/get", &format!("{{\"taskId\":{}}}", quote(id)));
        let reply = answered(random, ask.header("mcp-name", id), up, &done).await;
        said.assert_in(&reply.value()["result"]);
    }

    /// Looks at all that the upstreams got.
    pub fn assert_clean(&self) {
        for up in &self.ups {
            for request in up.arrived() {
                assert_none(&request.body, up.name());
                for (name, value) in &request.headers {
                    assert_none(value.as_bytes(), name.as_str());
                }
            }
        }
    }
}

/// Sends a request, and answers it at the upstream: in pieces, and without planted values at the end.
async fn answered(random: &mut Random, ask: Ask<'_>, up: &Asking, result: &str) -> Reply {
    let (reply, ()) = tokio::join!(ask.send(), async {
        let call = up.call().await;
        let message = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}",
            call.id
        );
        write(random, &call, &[message]).await;
    });
    assert_none(&reply.body, "an answer");
    assert!(reply.succeeded(), "{result}\n became {reply:?}");
    reply
}
