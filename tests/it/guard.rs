//! Data that may not pass: what is planted in messages reaches no upstream, no log and no file, and comes
//! back whole to those who are cleared for it.

mod coverage;
mod places;
mod planted;
mod proof;

use serde_json::{Value, json};

use crate::support::client::{Client, pool};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

use planted::{CARD, MAIL, assert_clean};

const KEY: &str = "key: { value: 0123456789-0123456789-0123456789 }";

/// E-mail addresses become pseudonyms on their way to upstreams, and addresses again on their way back; cards
/// are refused there, and masked on their way back.
fn rules() -> String {
    format!(
        "guard: {{ redact: {{ towards_upstream: {{ EMAIL: tokenise, PHONE: mask, CREDIT_DEBIT_CARD_NUMBER: block }}, towards_caller: {{ EMAIL: restore, CREDIT_DEBIT_CARD_NUMBER: mask }}, {KEY} }} }}"
    )
}

/// An upstream of each era, that echoes.
async fn upstreams() -> [Upstream; 2] {
    [
        Upstream::named("new")
            .tools(["echo"])
            .modern()
            .start()
            .await,
        Upstream::named("old")
            .tools(["echo"])
            .legacy("2025-11-25")
            .start()
            .await,
    ]
}

#[tokio::test]
async fn an_address_leaves_as_a_pseudonym_and_comes_back_as_itself() {
    let upstreams = upstreams().await;
    let weir = Weir::over(&upstreams).top(&rules()).state().start().await;
    for caller in Client::both(&weir).await {
        for upstream in &upstreams {
            let tool = format!("{}__echo", upstream.name());
            let arguments = format!("{{\"to\":\"Ann <{MAIL}>\",\"n\":1e400}}");
            let reply = caller.call(&tool, &arguments).await;
            let expected = format!("{}.echo {arguments}", upstream.name());
            assert_eq!(reply.text(), expected, "{}", caller.era());
            let sent = upstream.last("tools/call");
            let got = sent.raw(&["params", "arguments"]).unwrap();
            assert!(got.starts_with("{\"to\":\"Ann <email_"), "{got}");
            assert!(
                got.ends_with(">\",\"n\":1e400}"),
                "the rest keeps its bytes: {got}"
            );
        }
    }
    for upstream in &upstreams {
        assert_clean(&[MAIL], upstream, &weir);
    }
    let metrics = pool().get(weir.admin_url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("weir_guard_values_total{direction=\"towards_upstream\",class=\"EMAIL\",action=\"tokenise\"} 4"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_may_not_pass_at_all_is_refused_before_it_is_sent() {
    let upstreams = upstreams().await;
    let weir = Weir::over(&upstreams).top(&rules()).start().await;
    for caller in Client::both(&weir).await {
        for upstream in &upstreams {
            let tool = format!("{}__echo", upstream.name());
            for arguments in [
                format!("{{\"a\":[{{\"b\":\"card {CARD}\"}}]}}"),
                format!("{{\"a\":{}}}", CARD.replace(' ', "")),
                format!("{{\"{CARD}\":1}}"),
            ] {
                let error = caller.call(&tool, &arguments).await.error();
                assert_eq!(error["code"], -32602, "{error}");
                let rule = "towards_upstream.CREDIT_DEBIT_CARD_NUMBER";
                let data = json!({ "reason": "blocked", "rule": rule });
                assert_eq!(error["data"], data);
                assert!(!error.to_string().contains("4111"), "{error}");
            }
            let twice = caller
                .call(&tool, "{\"a\":{\"b\":1,\"b\":2}}")
                .await
                .error();
            assert_eq!(twice["data"]["rule"], "unreadable", "{twice}");
            assert_eq!(upstream.count("tools/call"), 0);
        }
    }
}

#[tokio::test]
async fn a_result_is_masked_at_every_place() {
    let digits = CARD.replace(' ', "");
    let structured = json!({ "a": [{ "b": CARD }], "n": digits.parse::<u64>().unwrap() });
    let result = json!({
        "content": [
            { "type": "text", "text": format!("paid with {CARD}.") },
            { "type": "text", "text": structured.to_string() },
            { "type": "resource", "resource": { "uri": "x://r", "mimeType": "text/plain", "blob": planted::base64(&format!("card {CARD}")) } },
            { "type": "resource_link", "uri": format!("x://c/{digits}"), "name": CARD, "description": CARD },
            { "type": "image", "data": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "mimeType": "image/png" },
        ],
        "structuredContent": structured,
        "_meta": { "note": CARD },
        "resultType": "complete",
    });
    let error = json!({ "code": -5, "message": format!("no {CARD}"), "data": { "card": [CARD] } });
    let new = Upstream::named("new")
        .answers("pay", &result.to_string())
        .errors("fail", &error.to_string())
        .modern()
        .start()
        .await;
    let weir = Weir::over([&new]).top(&rules()).start().await;
    for caller in Client::both(&weir).await {
        let reply = caller.call("new__pay", "{}").await;
        let text = reply.message();
        planted::assert_absent(&[CARD], text.as_bytes(), "the answer");
        let value: Value = serde_json::from_str(&reply.result()).unwrap();
        let mask = "[CREDIT_DEBIT_CARD_NUMBER]";
        assert_eq!(value["content"][0]["text"], format!("paid with {mask}."));
        assert_eq!(value["structuredContent"]["a"][0]["b"], mask);
        assert_eq!(value["structuredContent"]["n"], mask);
        assert_eq!(
            value["content"][4], result["content"][4],
            "an image stays as it is"
        );
        let error = caller.call("new__fail", "{}").await.error();
        assert_eq!(error["code"], -5);
        planted::assert_absent(&[CARD], error.to_string().as_bytes(), "the error");
    }
}

#[tokio::test]
async fn the_most_specific_rule_decides_and_a_reload_puts_others_in_force() {
    let up = Upstream::named("up").tools(["a", "b"]).start().await;
    let weir = Weir::over([&up])
        .upstream(
            "up",
            "guard: { redact: { towards_upstream: { EMAIL: mask } } }\ntools: { override: { b: { guard: { redact: { towards_upstream: { \"*\": pass } } } } } }",
        )
        .top(&rules())
        .start()
        .await;
    let caller = weir.modern();
    let arguments = format!("{{\"to\":\"{MAIL}\"}}");
    let sent = async |tool: &str| {
        caller.call(tool, &arguments).await;
        up.last("tools/call").raw(&["params", "arguments"]).unwrap()
    };
    assert_eq!(sent("up__a").await, "{\"to\":\"[EMAIL]\"}");
    assert_eq!(sent("up__b").await, arguments);
    let path = weir.home.path().join("weir.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, before.replace("EMAIL: mask", "EMAIL: block")).unwrap();
    assert!(
        weir.operate("/reload")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let error = caller.call("up__a", &arguments).await.error();
    assert_eq!(error["data"]["reason"], "blocked");
}

#[tokio::test]
async fn fields_are_of_their_class_whatever_they_say() {
    let up = Upstream::named("up").tools(["a"]).start().await;
    let guard = "guard: { redact: { towards_upstream: { NAME: tokenise, PIN: mask }, towards_caller: { NAME: restore }, fields: { \"$.customer.name\": NAME, \"$..pin\": PIN } } }";
    let weir = Weir::over([&up]).top(guard).start().await;
    let arguments =
        r#"{"customer":{"name":"Ann Smith","pin":1234},"name":"x","l":[{"pin":"0000"}]}"#;
    let reply = weir.modern().call("up__a", arguments).await;
    let sent = up.last("tools/call").raw(&["params", "arguments"]).unwrap();
    assert!(
        !sent.contains("Smith") && sent.contains("\"name\":\"name_"),
        "{sent}"
    );
    assert!(
        sent.contains(r#""pin":"[PIN]"}"#)
            && sent.ends_with(r#""name":"x","l":[{"pin":"[PIN]"}]}"#),
        "{sent}"
    );
    assert!(reply.text().contains("Ann Smith"), "{}", reply.text());
}

#[tokio::test]
async fn pseudonyms_become_values_for_an_upstream_that_is_cleared() {
    let mail = Upstream::named("mail").tools(["send"]).start().await;
    let crm = Upstream::named("crm")
        .answers(
            "find",
            &format!(
                r#"{{"content":[{{"type":"text","text":"{MAIL}"}}],"resultType":"complete"}}"#
            ),
        )
        .start()
        .await;
    // Callers see pseudonyms, and one upstream sends mail.
    let guard = format!(
        "guard: {{ redact: {{ towards_upstream: {{ EMAIL: tokenise }}, towards_caller: {{ EMAIL: tokenise }}, {KEY} }} }}"
    );
    let weir = Weir::over([&mail, &crm])
        .upstream(
            "mail",
            "guard: { redact: { towards_upstream: { EMAIL: restore } } }",
        )
        .top(&guard)
        .start()
        .await;
    let caller = weir.modern();
    let pseudonym = caller.call("crm__find", "{}").await.text();
    assert!(pseudonym.starts_with("email_"), "{pseudonym}");
    let arguments = format!("{{\"to\":\"**{}**\"}}", pseudonym.to_uppercase());
    let reply = caller.call("mail__send", &arguments).await;
    let sent = mail
        .last("tools/call")
        .raw(&["params", "arguments"])
        .unwrap();
    assert_eq!(sent, format!("{{\"to\":\"**{MAIL}**\"}}"));
    assert!(!reply.text().contains(MAIL), "{}", reply.text());
    // Damaged, it stays as it is.
    let damaged = pseudonym.replace("email_", "email_0");
    caller
        .call("mail__send", &format!("{{\"to\":\"{damaged}\"}}"))
        .await;
    let sent = mail
        .last("tools/call")
        .raw(&["params", "arguments"])
        .unwrap();
    assert_eq!(sent, format!("{{\"to\":\"{damaged}\"}}"));
}

#[tokio::test]
async fn three_weirs_with_one_key_understand_each_other_and_one_with_another_key_does_not() {
    let up = Upstream::named("up").tools(["echo"]).start().await;
    let guard = |more: &str, key: &str| {
        format!("guard: {{ redact: {{ form: sealed, {more} key: {{ value: {key} }} }} }}")
    };
    let key = "a-key-of-forty-characters-and-some-more-0";
    let cleared = "towards_upstream: { EMAIL: restore },";
    let last = Weir::over([&up])
        .instance("last")
        .top(&guard(cleared, key))
        .start()
        .await;
    let stranger = Weir::over([&up])
        .instance("stranger")
        .top(&guard(cleared, "another-key-of-forty-characters-or-so-00"))
        .start()
        .await;
    let middle = Weir::with("")
        .and("last", &last.url())
        .and("stranger", &stranger.url())
        .instance("middle")
        .top(&guard("towards_upstream: { EMAIL: tokenise },", key))
        .start()
        .await;
    let first = Weir::with("")
        .and("middle", &middle.url())
        .instance("first")
        .top(&guard(
            "towards_upstream: { EMAIL: tokenise }, towards_caller: { EMAIL: restore },",
            key,
        ))
        .start()
        .await;
    let arguments = format!("{{\"to\":\"{MAIL}\"}}");
    let call = async |through: &str| {
        let tool = format!("middle__{through}__up__echo");
        let reply = first.modern().call(&tool, &arguments).await;
        (
            up.last("tools/call").raw(&["params", "arguments"]).unwrap(),
            reply.text(),
        )
    };
    let (sent, text) = call("last").await;
    assert_eq!(sent, arguments);
    assert_eq!(text, format!("up.echo {arguments}"));
    let (sent, text) = call("stranger").await;
    assert!(!sent.contains(MAIL) && sent.contains("email_"), "{sent}");
    assert_eq!(
        text,
        format!("up.echo {arguments}"),
        "the first one knows what it made"
    );
    planted::assert_absent(&[MAIL], middle.stderr().as_bytes(), "the log");
}

#[tokio::test]
async fn without_rules_nothing_is_looked_at() {
    let up = Upstream::named("up").tools(["echo"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let arguments = format!("{{\"to\":\"{MAIL}\",\"a\":{{\"b\":1,\"b\":2}}}}");
    let reply = weir.modern().call("up__echo", &arguments).await;
    assert_eq!(reply.text(), format!("up.echo {arguments}"));
}
