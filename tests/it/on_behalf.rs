//! On behalf of its callers: each principal has a token of its own at an upstream, and who has none
//! gets nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::support::aws::{KEY, Keyring, SECRET, Services};
use crate::support::client::{Legacy, Modern, Reply};
use crate::support::principals::Issuer;
use crate::support::token_server::{Asked, Says, TokenServer};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::weir::{Builder, Weir};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const LEGACY: [&str; 2] = ["2025-06-18", "2025-11-25"];

struct Rig {
    issuer: Issuer,
    server: TokenServer,
    up: Upstream,
    weir: Weir,
}

/// `auth` and `listing_auth` of an upstream that is called on behalf of its callers.
fn login(server: &TokenServer, more: &str) -> String {
    let url = server.url();
    let client =
        format!("client_id: weir, token_url: \"{url}\", client_secret: {{ value: hunter2 }}");
    format!(
        "auth: {{ type: oauth2_token_exchange, {client}, subject: caller{more} }}\nlisting_auth: {{ type: oauth2_client_credentials, {client} }}"
    )
}

/// An upstream that lets in who has a token of the server.
async fn upstream(server: &TokenServer, era: &str) -> Upstream {
    let up = Upstream::named("up").tools(["search"]).tokens_of(server);
    match era {
        "modern" => up.modern().start().await,
        "dual" => up.dual().start().await,
        version => up.legacy(version).start().await,
    }
}

impl Rig {
    async fn new(era: &str, more: &str) -> Self {
        Self::with(era, more, |weir| weir).await
    }

    async fn with(era: &str, more: &str, change: impl FnOnce(Builder) -> Builder) -> Self {
        let server = TokenServer::start().await;
        let up = upstream(&server, era).await;
        let issuer = Issuer::new();
        let weir = Weir::over([&up]).upstream("up", &login(&server, more));
        let weir = issuer.start(change(weir), "page_size: 100").await;
        weir.wait_told("up", "state", "up").await;
        Self {
            issuer,
            server,
            up,
            weir,
        }
    }

    /// The exchanges so far: the tokens that were given, by the callers' tokens.
    fn exchanged(&self) -> Vec<(String, Asked)> {
        let asked = self.server.asked().into_iter().zip(1..);
        asked
            .filter(|(asked, _)| asked.get("grant_type") == Some(EXCHANGE))
            .map(|(asked, number)| (format!("Bearer token-{number}"), asked))
            .collect()
    }

    /// The credentials of the calls so far, by the caller that their argument names.
    fn callers(&self) -> BTreeMap<String, Vec<Recorded>> {
        let mut callers: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
        for call in self.up.requests("tools/call") {
            let who = call.value["params"]["arguments"]["who"].as_str().unwrap();
            callers
                .entry(who.to_owned())
                .or_default()
                .push(call.clone());
        }
        callers
    }

    async fn call(&self, token: &str, who: &str) -> Reply {
        let modern = Modern::with(self.weir.url(), token);
        modern.call("up__search", &argument(who)).await
    }

    /// The tokens of callers are for weir and the token endpoint.
    fn nothing_of_callers_went_upstream(&self, tokens: &[(&str, String)], era: &str) {
        for request in &self.up.log().seen().requests {
            let whole = format!("{:?} {:?}", request.headers, request.body);
            for (_, token) in tokens {
                assert!(!whole.contains(token.as_str()), "{era}: {request:?}");
            }
        }
    }
}

fn argument(who: &str) -> String {
    json!({ "who": who }).to_string()
}

fn worked(reply: &Reply) -> bool {
    text(reply).contains("up.search")
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

#[tokio::test]
async fn each_principal_is_served_with_a_token_and_a_session_of_its_own() {
    for era in ["modern", "dual", "2025-06-18", "2025-11-25"] {
        let rig = Rig::new(era, ", audience: api, scopes: [a]").await;
        let tokens = ["ada", "bob"].map(|who| (who, rig.issuer.token(who)));
        for (who, token) in &tokens {
            let modern = Modern::with(rig.weir.url(), token);
            for _ in 0..3 {
                let reply = modern.call("up__search", &argument(who)).await;
                assert!(worked(&reply), "{era}: {reply:?}");
            }
            for version in LEGACY {
                let legacy = Legacy::open_token(rig.weir.url(), version, token).await;
                for _ in 0..2 {
                    let reply = legacy.call("up__search", &argument(who)).await;
                    assert!(worked(&reply), "{era} {version}: {reply:?}");
                }
                legacy.delete().await;
            }
        }
        let exchanged = rig.exchanged();
        assert_eq!(exchanged.len(), 2, "{era}: one for each principal");
        let callers = rig.callers();
        let mut sessions = Vec::new();
        for ((who, token), (bearer, asked)) in tokens.iter().zip(&exchanged) {
            assert_eq!(asked.get("subject_token"), Some(token.as_str()));
            let kind = "urn:ietf:params:oauth:token-type:access_token";
            assert_eq!(asked.get("subject_token_type"), Some(kind));
            assert_eq!(
                (asked.get("audience"), asked.get("scope")),
                (Some("api"), Some("a"))
            );
            let calls = &callers[*who];
            assert_eq!(calls.len(), 7, "{era}");
            for call in calls {
                assert_eq!(call.header("authorization"), Some(bearer.as_str()), "{era}");
            }
            let of_caller = calls
                .iter()
                .filter_map(|call| call.header("mcp-session-id"));
            let mut of_caller: Vec<_> = of_caller.collect();
            of_caller.sort_unstable();
            of_caller.dedup();
            sessions.extend(of_caller);
        }
        let count = sessions.len();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(
            sessions.len(),
            count,
            "{era}: no session is of two principals"
        );
        rig.nothing_of_callers_went_upstream(&tokens, era);
        // Listings are weir's own.
        let listed = rig.up.last("tools/list");
        let bearers: Vec<_> = exchanged
            .iter()
            .map(|(bearer, _)| bearer.as_str())
            .collect();
        assert!(!bearers.contains(&listed.header("authorization").unwrap()));
    }
}

#[tokio::test]
async fn calls_that_come_together_share_one_exchange() {
    for era in ["modern", "2025-11-25"] {
        let rig = Rig::new(era, "").await;
        let token = rig.issuer.token("ada");
        let calls = join_all((0..50).map(|_| rig.call(&token, "ada"))).await;
        assert!(calls.iter().all(worked), "{era}");
        assert_eq!(rig.exchanged().len(), 1, "{era}");
        // Another token of the same principal is no reason for another exchange.
        assert!(worked(&rig.call(&rig.issuer.token("ada"), "ada").await));
        assert_eq!(rig.exchanged().len(), 1, "{era}");
    }
}

#[tokio::test]
async fn a_caller_without_a_token_is_refused_and_not_served_as_weir() {
    for era in ["modern", "2025-11-25"] {
        let server = TokenServer::start().await;
        let up = upstream(&server, era).await;
        let weir = Weir::over([&up]).upstream("up", &login(&server, ""));
        let weir = weir.start().await;
        weir.wait_tools(["up__search"]).await;
        let modern = weir.modern().call("up__search", "{}").await;
        let mut replies = vec![modern];
        for version in LEGACY {
            let legacy = Legacy::open(weir.url(), version).await;
            replies.push(legacy.call("up__search", "{}").await);
        }
        for reply in replies {
            let error = reply.error();
            assert_eq!(
                (reply.status, &error["code"]),
                (200, &json!(-32603)),
                "{reply:?}"
            );
            assert_eq!(
                error["data"],
                json!({"upstream": "up", "reason": "caller_identity"})
            );
        }
        assert_eq!(up.count("tools/call"), 0, "{era}");
        // The upstream works all the same.
        assert_eq!(weir.told("up").await["state"], "up");
    }
}

#[tokio::test]
async fn a_caller_without_a_token_is_served_as_weir_where_the_config_says_so() {
    for era in ["modern", "2025-11-25"] {
        let server = TokenServer::start().await;
        let up = upstream(&server, era).await;
        let auth = login(&server, ", without_caller: service");
        let weir = Weir::over([&up]).upstream("up", &auth).start().await;
        weir.wait_tools(["up__search"]).await;
        assert!(worked(&weir.modern().call("up__search", "{}").await));
        let legacy = Legacy::open(weir.url(), "2025-11-25").await;
        assert!(worked(&legacy.call("up__search", "{}").await));
        let own = server.asked().len();
        assert_eq!(own, 1, "weir's own token serves them all");
    }
    // A token that cannot be exchanged is no reason to be weir.
    let rig = Rig::new("modern", ", without_caller: service").await;
    rig.server.says([Says::Error("invalid_grant")]);
    let reply = rig.call(&rig.issuer.token("ada"), "ada").await;
    assert_eq!(reply.error()["code"], -32603);
    assert_eq!(rig.up.count("tools/call"), 0);
}

#[tokio::test]
async fn the_401_of_one_principal_logs_no_other_out() {
    for era in ["modern", "2025-11-25"] {
        let rig = Rig::new(era, "").await;
        let [ada, bob] = ["ada", "bob"].map(|who| rig.issuer.token(who));
        for (token, who) in [(&ada, "ada"), (&bob, "bob")] {
            assert!(worked(&rig.call(token, who).await));
        }
        let (first, _) = rig.exchanged().remove(0);
        rig.server
            .revoke_one(first.strip_prefix("Bearer ").unwrap());
        // One replay with a new token.
        assert!(worked(&rig.call(&ada, "ada").await), "{era}");
        assert_eq!(rig.exchanged().len(), 3, "{era}");
        let (second, asked) = rig.exchanged().remove(2);
        assert_eq!(asked.get("subject_token"), Some(ada.as_str()));
        rig.server.says([Says::Error("invalid_grant")]);
        rig.server
            .revoke_one(second.strip_prefix("Bearer ").unwrap());
        let refused = rig.call(&ada, "ada").await;
        assert_eq!(
            refused.error()["data"]["reason"],
            "weir is not let in",
            "{era}"
        );
        for _ in 0..3 {
            assert!(worked(&rig.call(&bob, "bob").await), "{era}");
        }
        let bobs = &rig.callers()["bob"];
        let bearers: std::collections::BTreeSet<_> = bobs
            .iter()
            .map(|call| call.header("authorization").unwrap())
            .collect();
        assert_eq!(bearers.len(), 1, "{era}");
        let told = rig.weir.told("up").await;
        assert_eq!(
            (&told["state"], &told["credentials"]["state"]),
            (&json!("up"), &json!("ok"))
        );
    }
}

#[tokio::test]
async fn an_exchanged_token_ends_with_the_token_of_its_caller() {
    let rig = Rig::new("modern", "").await;
    let brief = rig.issuer.token_for("ada", Duration::from_secs(3));
    assert!(worked(&rig.call(&brief, "ada").await));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let next = rig.issuer.token("ada");
    assert!(worked(&rig.call(&next, "ada").await));
    let exchanged = rig.exchanged();
    assert_eq!(exchanged.len(), 2, "the first was good for an hour");
    assert_eq!(exchanged[1].1.get("subject_token"), Some(next.as_str()));
}

#[tokio::test]
async fn a_narrower_token_is_not_served_with_what_a_wider_one_was_exchanged_for() {
    for era in ["modern", "2025-11-25"] {
        let rig = Rig::new(era, "").await;
        let wide = rig.issuer.token_with("ada", "scope", json!("read write"));
        let narrow = rig.issuer.token_with("ada", "scope", json!("read"));
        let same = rig.issuer.token_with("ada", "scope", json!("write read"));
        for token in [&wide, &narrow, &same, &narrow] {
            assert!(worked(&rig.call(token, "ada").await));
        }
        let exchanged = rig.exchanged();
        let subjects: Vec<_> = exchanged
            .iter()
            .map(|(_, asked)| asked.get("subject_token").unwrap())
            .collect();
        assert_eq!(subjects, [wide.as_str(), narrow.as_str()], "{era}");
        // In one session of the caller too.
        let legacy = Legacy::open_token(rig.weir.url(), "2025-11-25", &wide).await;
        assert!(worked(&legacy.call("up__search", &argument("wide")).await));
        let session = legacy.session.clone().unwrap();
        let narrowed = Legacy::resume_token(rig.weir.url(), &session, "2025-11-25", &narrow);
        assert!(worked(
            &narrowed.call("up__search", &argument("narrow")).await
        ));
        let callers = rig.callers();
        for (who, (bearer, _)) in [("wide", &exchanged[0]), ("narrow", &exchanged[1])] {
            assert_eq!(
                callers[who][0].header("authorization"),
                Some(bearer.as_str()),
                "{era}"
            );
        }
    }
}

#[tokio::test]
async fn a_session_that_the_upstream_forgot_is_opened_again_for_its_principal() {
    let rig = Rig::new("2025-11-25", "").await;
    let [ada, bob] = ["ada", "bob"].map(|who| rig.issuer.token(who));
    let legacy = Legacy::open_token(rig.weir.url(), "2025-11-25", &ada).await;
    for _ in 0..2 {
        assert!(worked(&rig.call(&ada, "ada").await));
        assert!(worked(&rig.call(&bob, "bob").await));
        assert!(worked(&legacy.call("up__search", &argument("ada")).await));
        rig.up.forget_sessions();
    }
    assert_eq!(rig.exchanged().len(), 2);
}

#[tokio::test]
async fn the_actor_is_weir_and_subscriptions_are_not_its_own() {
    let server = TokenServer::start().await;
    let up = Upstream::named("up")
        .tools(["search"])
        .resources(["file:///a"]);
    let up = up.tokens_of(&server).modern().start().await;
    let issuer = Issuer::new();
    let more = ", actor_token: { value: actor }, subject_token_type: \"urn:ietf:params:oauth:token-type:jwt\"";
    let weir = Weir::over([&up]).upstream("up", &login(&server, more));
    let weir = issuer.start(weir, "page_size: 100").await;
    weir.wait_told("up", "state", "up").await;
    let token = issuer.token("ada");
    let modern = Modern::with(weir.url(), &token);
    assert!(worked(&modern.call("up__search", "{}").await));
    let asked = server.asked();
    let asked = asked
        .iter()
        .find(|asked| asked.get("grant_type") == Some(EXCHANGE));
    let asked = asked.unwrap();
    let jwt = Some("urn:ietf:params:oauth:token-type:jwt");
    assert_eq!(asked.get("actor_token"), Some("actor"));
    assert_eq!(
        (
            asked.get("actor_token_type"),
            asked.get("subject_token_type")
        ),
        (jwt, jwt)
    );
    let mut stream = modern
        .listen("9", r#"{"resourceSubscriptions":["file:///a"]}"#)
        .await;
    let first = stream.next().await.unwrap();
    assert!(!first.contains("file:///a"), "{first}");
}

#[tokio::test]
async fn no_token_shows_in_logs_or_to_operators() {
    let rig = Rig::with("2025-11-25", "", |weir| {
        weir.env([("WEIR_LOG", "trace".to_owned())])
    })
    .await;
    let token = rig.issuer.token("ada");
    assert!(worked(&rig.call(&token, "ada").await));
    let (bearer, _) = rig.exchanged().remove(0);
    rig.server.says([Says::Error("invalid_grant")]);
    rig.server.revoke();
    assert!(!worked(&rig.call(&token, "ada").await));
    let told = rig.weir.told("up").await.to_string();
    let (_, out, err) = rig.weir.interrupt().await;
    let secret = bearer.strip_prefix("Bearer ").unwrap();
    let signature = token.rsplit_once('.').unwrap().1;
    for said in [told, out, err] {
        for secret in [token.as_str(), signature, secret, "hunter2"] {
            let at = said
                .find(secret)
                .map(|at| &said[at.saturating_sub(200)..at]);
            assert_eq!(at, None);
        }
    }
}

#[tokio::test]
async fn agentcore_identity_exchanges_for_each_caller() {
    for (subject, call) in [
        ("caller", "POST /identities/GetWorkloadAccessTokenForJWT"),
        (
            "caller_id",
            "POST /identities/GetWorkloadAccessTokenForUserId",
        ),
    ] {
        let keys = std::sync::Arc::new(Keyring::default());
        let services = Services::start(&keys).await;
        let up = Upstream::named("up").tools(["search"]);
        let up = up.bearer("opaque").modern().start().await;
        let auth = format!(
            "auth: {{ type: agentcore_identity, workload: weir, provider: up, region: eu-west-1, scopes: [a], subject: {subject} }}\nlisting_auth: {{ type: bearer, token: {{ value: opaque }} }}"
        );
        let weir = Weir::over([&up]).upstream("up", &auth);
        let weir = weir.env([
            (
                "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE",
                services.url().to_owned(),
            ),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]);
        let issuer = Issuer::new();
        let weir = issuer.start(weir, "page_size: 100").await;
        weir.wait_told("up", "state", "up").await;
        let tokens = ["ada", "bob"].map(|who| (who, issuer.token(who)));
        for (_, token) in &tokens {
            let modern = Modern::with(weir.url(), token);
            for _ in 0..2 {
                let reply = modern.call("up__search", "{}").await;
                assert!(worked(&reply), "{subject}: {reply:?}");
            }
        }
        let called = services.called();
        let workload: Vec<_> = called.iter().filter(|one| one.what == call).collect();
        assert_eq!(workload.len(), 2, "{subject}");
        for ((who, token), one) in tokens.iter().zip(&workload) {
            let expected = match subject {
                "caller" => json!({ "workloadName": "weir", "userToken": token }),
                _ => json!({ "workloadName": "weir", "userId": who }),
            };
            assert_eq!(one.body, expected);
        }
        let tokens: Vec<_> = called
            .iter()
            .filter(|one| one.what == "POST /identities/oauth2/token")
            .collect();
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens[0].body["oauth2Flow"], "ON_BEHALF_OF_TOKEN_EXCHANGE");
        assert_eq!(services.count("POST /identities/GetWorkloadAccessToken"), 0);
    }
}
