//! The belongings of a principal: another one does not find them, and nothing tells it from what
//! does not exist. Streams end with the credential behind them.

use std::time::Duration;

use crate::support::asking::Asking;
use crate::support::client::{Ask, Legacy, Modern, Reply, pool};
use crate::support::principals::Issuer;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const LINK: &str = r#"{"resultType":"complete","content":[{"type":"resource_link","uri":"file:///made","name":"m"}]}"#;

/// Two upstreams with resources, so that a URI that no list has needs a result that names it.
async fn rig(listen: &str) -> (Issuer, [Upstream; 2], Weir) {
    let jira = Upstream::named("jira")
        .tools(["search"])
        .gate("slow")
        .answers("make", LINK)
        .resources(["file:///jira"]);
    let wiki = Upstream::named("wiki").resources(["file:///wiki"]);
    let upstreams = [jira.start().await, wiki.start().await];
    let issuer = Issuer::new();
    let weir = issuer.start(Weir::over(&upstreams), listen).await;
    (issuer, upstreams, weir)
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// All of an answer but what differs between any two.
fn whole(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let headers = reply.headers.iter();
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .collect();
    headers.sort();
    (reply.status, headers, text(reply))
}

/// Everything that a client can do with the id of a session.
async fn uses(client: &Legacy) -> Vec<Reply> {
    let list = client.ask("tools/list", "{}").id("7").send().await;
    let ping = client.ask("ping", "{}").id("7").send().await;
    let notified = client
        .notify("notifications/cancelled", r#"{"requestId":1}"#)
        .await;
    let answered = client.post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    let batch = client
        .post(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#)
        .await;
    let stream = client.listen().await.finish().await;
    let ended = client.delete().await;
    vec![list, ping, notified, answered, batch, stream, ended]
}

#[tokio::test]
async fn a_session_of_another_principal_is_not_found() {
    let (issuer, _upstreams, weir) = rig("page_size: 100").await;
    let (mine, other) = (issuer.token("mine"), issuer.token("other"));
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let owner = Legacy::open_token(weir.url(), version, &mine).await;
        let stolen = owner.session.clone().unwrap();
        // As long, and as well formed.
        let made_up = format!("{}AAAA", &stolen[..stolen.len() - 4]);
        let resume = |id: &str| Legacy::resume_token(weir.url(), id, version, &other);
        let found = uses(&resume(&stolen)).await;
        let unknown = uses(&resume(&made_up)).await;
        for (found, unknown) in found.iter().zip(&unknown) {
            assert_eq!(whole(found), whole(unknown));
            assert_eq!(found.status, 404, "{found:?}");
        }
        // It goes on for its owner, with another token too.
        assert!(
            owner
                .tool_names()
                .await
                .contains(&"jira__search".to_owned())
        );
        let renewed = issuer.token("mine");
        let owner = Legacy::resume_token(weir.url(), &stolen, version, &renewed);
        assert!(owner.call("jira__search", "{}").await.succeeded());
        assert_eq!(owner.delete().await.status, 204);
        assert_eq!(owner.request("tools/list", "{}").await.status, 404);
    }
}

#[tokio::test]
async fn an_answer_of_another_principal_is_not_read_on() {
    const SAID: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
    let (up, issuer) = (Asking::named("up").tools(["slow"]), Issuer::new());
    let up = up.start().await;
    let weir = Weir::with(&up.yaml());
    let weir = issuer.start(weir, "keep_alive: 100ms").await;
    let (mine, other) = (issuer.token("mine"), issuer.token("other"));
    let owner = Legacy::open_token(weir.url(), "2025-11-25", &mine).await;
    let slow = owner.ask("tools/call", r#"{"name":"up__slow","arguments":{}}"#);
    let upstream = async {
        let call = up.call().await;
        call.say(SAID).await;
        call
    };
    let (mut stream, call) = tokio::join!(slow.stream(), upstream);
    while stream.next().await.is_some_and(|event| event.is_empty()) {}
    let event = stream.last_id().expect("an id to come back with");
    drop(stream);
    let thief = Legacy::open_token(weir.url(), "2025-11-25", &other).await;
    for id in [event.as_str(), "1-0"] {
        // It is a stream of changes, as after an id that does not exist.
        let mut stream = thief.read_on(id).await;
        assert_eq!(stream.status, 200);
        stream.wait_comments(3).await;
        assert_eq!(stream.last_id(), None, "{id}");
    }
    let stolen = owner.session.clone().unwrap();
    let thief = Legacy::resume_token(weir.url(), &stolen, "2025-11-25", &other);
    assert_eq!(thief.read_on(&event).await.status, 404);
    // Its owner reads on, with another token too.
    let renewed = issuer.token("mine");
    let owner = Legacy::resume_token(weir.url(), &stolen, "2025-11-25", &renewed);
    let mut rest = owner.read_on(&event).await;
    call.answer(r#"{"content":[]}"#).await;
    let answer = rest.next().await.unwrap();
    assert!(answer.contains("result"), "{answer}");
}

#[tokio::test]
async fn a_resource_that_a_result_named_to_another_principal_is_not_found() {
    let (issuer, _upstreams, weir) = rig("page_size: 100").await;
    let client = |subject: &str| Modern::with(weir.url(), &issuer.token(subject));
    let (owner, other) = (client("mine"), client("other"));
    assert!(owner.call("jira__make", "{}").await.succeeded());
    let read = async |client: &Modern, uri: &str| {
        let params = format!(r#"{{"uri":"{uri}"}}"#);
        client.ask("resources/read", &params).id("7").send().await
    };
    let stolen = read(&other, "file:///made").await;
    let unknown = read(&other, "file:///none").await;
    let (status, headers, body) = whole(&stolen);
    assert_eq!(
        (status, headers, body.replace("made", "none")),
        whole(&unknown)
    );
    // Its owner finds it, with another token too.
    assert_ne!(read(&owner, "file:///made").await.body, stolen.body);
    assert_ne!(
        read(&client("mine"), "file:///made").await.body,
        stolen.body
    );
}

#[tokio::test]
async fn the_callers_of_one_principal_are_logged_and_their_tokens_are_not() {
    let (issuer, upstreams, _) = rig("page_size: 100").await;
    let builder = Weir::over(&upstreams).env([("WEIR_LOG", "trace".to_owned())]);
    let weir = issuer.start(builder, "page_size: 100").await;
    let (good, expired) = (
        issuer.token("planted-subject"),
        issuer.expired("planted-subject"),
    );
    let modern = Modern::with(weir.url(), &good);
    assert!(modern.call("jira__search", "{}").await.succeeded());
    let legacy = Legacy::open_token(weir.url(), "2025-11-25", &good).await;
    assert!(legacy.call("jira__search", "{}").await.succeeded());
    let refused = Modern::with(weir.url(), &expired)
        .call("jira__search", "{}")
        .await;
    assert_eq!(refused.status, 401);
    let metrics = pool().get(weir.admin_url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("jira__search"), "{metrics}");
    let url = format!("{}?access_token={good}", weir.url());
    let refused = Modern::new(url).call("jira__search", "{}").await;
    assert_eq!(refused.status, 400);
    weir.wait_stderr("planted-subject").await;
    let said = weir.stderr();
    assert!(said.contains("weir-tests/1.0.0"), "the agent");
    let [jira, _] = &upstreams;
    let seen = format!("{:?}", jira.requests("tools/call"));
    for token in [&good, &expired] {
        let signature = token.rsplit('.').next().unwrap();
        for text in [&said, &metrics, &seen, &text(&refused)] {
            assert!(!text.contains(signature) && !text.contains(token.as_str()));
        }
    }
    assert!(!seen.contains("planted-subject"));
}

#[tokio::test]
async fn streams_end_with_the_token_and_the_session_stays() {
    let (issuer, [jira, _wiki], weir) = rig("keep_alive: 10m").await;
    let short = issuer.token_for("mine", Duration::from_secs(4));
    let legacy = Legacy::open_token(weir.url(), "2025-11-25", &short).await;
    let modern = Modern::with(weir.url(), &short);
    let mut get = legacy.listen().await;
    let listen = modern.listen("1", r#"{"toolsListChanged":true}"#);
    let mut listen = listen.await;
    assert!(listen.next().await.unwrap().contains("acknowledged"));
    // A clean end: with its last message, where there is one.
    assert_eq!(get.next().await, None);
    assert!(listen.next().await.unwrap().contains("resultType"));
    assert_eq!(listen.next().await, None);
    let refused = legacy.request("tools/list", "{}").await;
    assert_eq!(refused.status, 401);
    let session = legacy.session.clone().unwrap();
    let renewed = issuer.token("mine");
    let legacy = Legacy::resume_token(weir.url(), &session, "2025-11-25", &renewed);
    assert!(legacy.call("jira__search", "{}").await.succeeded());
    drop(jira);
}

#[tokio::test]
async fn a_running_call_ends_with_the_token_and_is_cancelled() {
    let (issuer, [jira, _wiki], weir) = rig("keep_alive: 500ms").await;
    let short = issuer.token_for("mine", Duration::from_secs(4));
    let modern = Modern::with(weir.url(), &short);
    let call = modern.ask("tools/call", r#"{"name":"jira__slow","arguments":{}}"#);
    let mut stream = call.stream().await;
    let last = stream.next().await.unwrap();
    assert!(last.contains("the credential has ended"), "{last}");
    assert_eq!(stream.next().await, None);
    jira.wait_running("slow", 0).await;
}

#[tokio::test]
async fn a_reload_changes_how_callers_are_authenticated() {
    let (issuer, _upstreams, weir) = rig("keep_alive: 200ms").await;
    let token = issuer.token("mine");
    let legacy = Legacy::open_token(weir.url(), "2025-11-25", &token).await;
    let mut stream = legacy.listen().await;
    let path = weir.home.path().join("weir.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap();
    let write = |text: String| std::fs::write(&path, text).unwrap();
    let reload = async || weir.operate("/reload").send().await.unwrap().status();
    // Settings that cannot be used leave the old ones in force.
    write(yaml.replace("jwks.json", "missing.json"));
    assert_eq!(reload().await, 422);
    assert!(legacy.call("jira__search", "{}").await.succeeded());
    // Another setting is no reason to end a stream.
    write(format!("server: {{ title: t }}\n{yaml}"));
    assert_eq!(reload().await, 200);
    write(yaml.replace(&Issuer::auth("weir"), &Issuer::auth("other")));
    assert_eq!(reload().await, 200);
    assert_eq!(legacy.request("tools/list", "{}").await.status, 401);
    assert_eq!(stream.next().await, None);
    write(yaml.clone());
    assert_eq!(reload().await, 200);
    assert!(legacy.call("jira__search", "{}").await.succeeded());
    // Sessions of principals are nobody's where nobody is authenticated, and the other way round.
    write(yaml.replace(&Issuer::auth("weir"), "auth: none"));
    assert_eq!(reload().await, 200);
    assert_eq!(legacy.request("tools/list", "{}").await.status, 404);
    let anonymous = weir.legacy("2025-11-25").await.session.unwrap();
    write(yaml);
    assert_eq!(reload().await, 200);
    let other = Legacy::resume_token(weir.url(), &anonymous, "2025-11-25", &token);
    assert_eq!(other.request("tools/list", "{}").await.status, 404);
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one story, step by step")]
async fn a_task_of_another_principal_is_not_found() {
    const CAN: &str =
        r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
    let up = Asking::named("up").tools(["slow"]).capabilities(CAN);
    let (up, issuer) = (up.start().await, Issuer::new());
    let weir = issuer.start(Weir::with(&up.yaml()), "page_size: 100").await;
    let open = async |subject: &str| {
        Legacy::open_token(weir.url(), "2025-11-25", &issuer.token(subject)).await
    };
    let (owner, other) = (open("mine").await, open("other").await);
    let answered = async |ask: Ask<'_>, answer: &str| {
        let upstream = async {
            let call = up.call().await;
            let params = call.request.raw(&["params"]).unwrap();
            call.answer(answer).await;
            params
        };
        tokio::join!(ask.send(), upstream)
    };
    let make = owner.ask("tools/call", r#"{"name":"up__slow","task":{"ttl":1000}}"#);
    let (made, _) = answered(make, r#"{"task":{"taskId":"7.1","status":"working"}}"#).await;
    let id = made.value()["task"]["taskId"].as_str().unwrap().to_owned();
    assert!(
        id.starts_with("up.") && id.ends_with("7.1") && id != "up.7.1",
        "{id}"
    );
    let arrived = up.count("tasks/get");
    let made_up = [
        "up.7.1".to_owned(),
        id.replace("7.1", "7.2"),
        format!("up.AAAA{}", &id[7..]),
    ];
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let ask = async |id: &str| {
            let params = format!(r#"{{"taskId":"{id}"}}"#);
            other.ask(method, &params).id("7").send().await
        };
        let (status, headers, body) = whole(&ask(&id).await);
        assert!(body.contains("-32602"), "{body}");
        for unknown in &made_up {
            let found = whole(&ask(unknown).await);
            let same_length = |headers: Vec<(String, String)>| -> Vec<_> {
                headers
                    .into_iter()
                    .filter(|(name, _)| name != "content-length")
                    .collect()
            };
            assert_eq!(found.0, status);
            assert_eq!(same_length(found.1), same_length(headers.clone()));
            assert_eq!(found.2.replace(unknown.as_str(), ""), body.replace(&id, ""));
        }
    }
    assert_eq!(up.count("tasks/get"), arrived);
    let params = format!(r#"{{"taskId":"{id}"}}"#);
    let again = open("mine").await;
    let state = r#"{"taskId":"7.1","status":"working"}"#;
    let (reply, sent) = answered(again.ask("tasks/get", &params), state).await;
    assert_eq!(reply.value()["taskId"], id.as_str());
    assert!(sent.contains(r#""taskId":"7.1""#), "{sent}");
    // Of what an upstream lists, nobody knows whose it is.
    let tasks = &owner.welcome["capabilities"]["tasks"];
    assert!(
        tasks["cancel"].is_object() && tasks.get("list").is_none(),
        "{tasks}"
    );
    assert_eq!(owner.request("tasks/list", "{}").await.code(), -32601);
}

#[tokio::test]
async fn the_state_of_another_principals_request_is_not_taken() {
    let up = Upstream::named("up").asks_input("who").modern();
    let (up, issuer) = (up.start().await, Issuer::new());
    let weir = issuer.start(Weir::over([&up]), "page_size: 100").await;
    let client = |subject: &str| {
        let mut client = Modern::with(weir.url(), &issuer.token(subject));
        client.capabilities = r#"{"elicitation":{}}"#.to_owned();
        client
    };
    let (owner, other) = (client("mine"), client("other"));
    let asked = owner.call("up__who", "{}").await.value();
    let state = asked["requestState"].as_str().unwrap().to_owned();
    let answer = async |client: &Modern, state: &str| {
        let params = serde_json::json!({
            "name": "up__who", "arguments": {}, "requestState": state,
            "inputResponses": { "who": { "action": "accept" } },
        });
        client
            .ask("tools/call", &params.to_string())
            .id("7")
            .send()
            .await
    };
    let arrived = up.count("tools/call");
    let stolen = whole(&answer(&other, &state).await);
    assert_eq!(stolen.0, 200);
    for unknown in ["", "made up", &state[16..]] {
        assert_eq!(whole(&answer(&other, unknown).await), stolen, "{unknown}");
        assert_eq!(whole(&answer(&owner, unknown).await), stolen, "{unknown}");
    }
    assert_eq!(up.count("tools/call"), arrived);
    assert!(answer(&client("mine"), &state).await.succeeded());
}

#[tokio::test]
async fn a_subscription_is_neither_heard_nor_ended_by_another_principal() {
    const URI: &str = r#"{"uri":"file:///x"}"#;
    const UPDATED: &str = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///x"}}"#;
    let up = Asking::named("up").resources(["file:///x"]).start().await;
    let issuer = Issuer::new();
    let weir = issuer.start(Weir::with(&up.yaml()), "page_size: 100").await;
    let (mine, other) = (issuer.token("mine"), issuer.token("other"));
    let owner = Legacy::open_token(weir.url(), "2025-11-25", &mine).await;
    let thief = Legacy::open_token(weir.url(), "2025-11-25", &other).await;
    let (mut own, mut others) = (owner.listen().await, thief.listen().await);
    let subscribed = owner.request("resources/subscribe", URI).await;
    assert_eq!(subscribed.result(), "{}", "{subscribed:?}");
    let session = up.requests("resources/subscribe").pop().unwrap();
    let session = session.header("mcp-session-id").unwrap().to_owned();
    // As for a resource that the caller never subscribed to.
    assert_eq!(
        thief.request("resources/unsubscribe", URI).await.result(),
        "{}"
    );
    assert_eq!(up.count("resources/unsubscribe"), 0);
    up.tell(&session, UPDATED).await;
    assert_eq!(own.next().await.unwrap(), UPDATED);
    // The other principal's stream goes on, and heard nothing of it before its own.
    let subscribed = thief.request("resources/subscribe", URI).await;
    assert_eq!(subscribed.result(), "{}", "{subscribed:?}");
    let theirs = up.requests("resources/subscribe").pop().unwrap();
    let theirs = theirs.header("mcp-session-id").unwrap().to_owned();
    assert_ne!(theirs, session, "a session upstream is of one principal");
    let later = UPDATED.replace("}}", r#","of":"other"}}"#);
    up.tell(&theirs, &later).await;
    assert_eq!(others.next().await.unwrap(), later);
}
