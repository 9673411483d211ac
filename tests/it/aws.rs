//! AWS credentials, against servers that recompute every signature and services that give out keys.

mod apis;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use weir::config::{
    AgentcoreIdentity, AssumeRole, AwsCredentials, AwsSecret, AwsSource, IdentityKind,
    IdentitySubject, SecretRef, Sigv4,
};
use weir::credentials::aws::secrets_manager::SecretFetcher;
use weir::credentials::aws::{AgentcoreIdentityClient, AwsContext, ControlPlane, Signer};
use weir::credentials::secrets::{SecretCell, SecretUnavailable};
use weir::credentials::status::{CredentialState, StatusCell};
use weir::credentials::{Rejection, RejectionOutcome};
use weir::secret::Secret;
use weir::sigv4::SignatureError;

use crate::support::BOUND;
use crate::support::aws::{KEY, Keyring, REGION, SECRET, Services, SigDoor, Target};
use crate::support::upstream::Upstream;
use crate::support::weir::{Builder, Weir};

/// An upstream `shop` behind a server that checks signatures, and its keys.
struct Shop {
    keys: Arc<Keyring>,
    door: SigDoor,
    _server: Upstream,
}

impl Shop {
    async fn open() -> Self {
        let server = Upstream::named("shop").tools(["buy"]).start().await;
        let keys = Arc::new(Keyring::default());
        let door = SigDoor::before(&server.url(), &keys).await;
        Self {
            keys,
            door,
            _server: server,
        }
    }

    /// A weir in front of it, as a gateway; `auth` is the text after `type: sigv4`.
    fn gateway(&self, auth: &str) -> Builder {
        let origin = self.door.origin();
        Weir::with(&format!(
            "  shop:\n    gateway: {{ id: gw-ab12cdef34, region: {REGION}, endpoint: '{origin}' }}\n    auth: {{ type: sigv4{auth} }}\n"
        ))
    }
}

/// Keys in the environment, and nothing that the machine itself has.
fn keys() -> Vec<(&'static str, String)> {
    let mut env = nowhere();
    env.push(("AWS_ACCESS_KEY_ID", KEY.to_owned()));
    env.push(("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()));
    env
}

/// No credentials at all.
fn nowhere() -> Vec<(&'static str, String)> {
    let mut env = Vec::new();
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        env.push((name, "/nonexistent".to_owned()));
    }
    env.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    env
}

/// Credentials of a container, with this lifetime.
fn container(shop: &Shop, services: &Services, life: Duration) -> Vec<(&'static str, String)> {
    shop.keys.set_life(life);
    let mut env = nowhere();
    let url = format!("{}/container", services.url());
    env.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", url));
    env
}

async fn buys(weir: &Weir, times: usize) {
    let modern = weir.modern();
    let calls = (0..times).map(|_| modern.call("shop__buy", "{}"));
    for answer in futures::future::join_all(calls).await {
        assert!(answer.text().starts_with("shop.buy"), "{answer:?}");
    }
}

fn with(services: &Services) -> AwsContext {
    AwsContext {
        tls: Arc::default(),
        tasks: tokio_util::task::TaskTracker::new(),
        stop: tokio_util::sync::CancellationToken::new(),
        endpoint: Some(services.url().parse().unwrap()),
    }
}

fn opened(secret: &SecretRef) -> Result<SecretCell, SecretUnavailable> {
    Ok(SecretCell::fixed(secret.first().unwrap().expose()))
}

fn credentials() -> AwsCredentials {
    AwsCredentials {
        source: AwsSource::Keys {
            access_key_id: KEY.to_owned(),
            secret_access_key: SecretRef::Fixed(Secret::new(SECRET)),
            session_token: None,
        },
        assume_role: None,
    }
}

fn sigv4() -> Sigv4 {
    Sigv4 {
        service: "bedrock-agentcore".to_owned(),
        region: Some(REGION.to_owned()),
        credentials: credentials(),
    }
}

async fn services() -> Services {
    Services::start(&Arc::new(Keyring::default())).await
}

#[tokio::test]
async fn a_gateway_takes_what_weir_signs() {
    let shop = Shop::open().await;
    let weir = shop.gateway("").env(keys()).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 3).await;
    assert_eq!(shop.door.refusals(), []);
}

#[tokio::test]
async fn a_runtime_takes_what_weir_signs_though_its_path_is_encoded() {
    let shop = Shop::open().await;
    let (origin, arn) = (
        shop.door.origin(),
        "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/shop-AbCdEf1234",
    );
    let weir = Weir::with(&format!(
        "  shop:\n    runtime: {{ arn: '{arn}', endpoint: '{origin}' }}\n"
    ));
    let weir = weir.env(keys()).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 3).await;
    assert_eq!(shop.door.refusals(), []);
    let path = "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A123456789012%3Aruntime%2Fshop-AbCdEf1234/invocations?qualifier=DEFAULT";
    let targets = shop.door.targets();
    assert!(targets.iter().all(|target| target == path), "{targets:?}");
}

#[tokio::test]
async fn a_clock_that_is_off_costs_one_refusal_and_nothing_more() {
    for (ahead, refusal, words) in [
        (600, SignatureError::Expired, "clock is 10 minutes behind"),
        (-600, SignatureError::NotYet, "clock is 10 minutes ahead"),
    ] {
        let shop = Shop::open().await;
        shop.keys.set_ahead(ahead);
        let weir = shop.gateway("").env(keys()).start().await;
        weir.wait_tools(["shop__buy"]).await;
        for _ in 0..3 {
            buys(&weir, 20).await;
        }
        assert_eq!(shop.door.refusals(), [refusal]);
        weir.wait_stderr(words).await;
        weir.wait_told("shop", "credentials/state", "clock_skew")
            .await;
        weir.wait_told("shop", "credentials/reason", words).await;
        // Somebody corrects the clock.
        shop.keys.set_ahead(0);
        buys(&weir, 1).await;
        buys(&weir, 20).await;
        assert_eq!(shop.door.refusals().len(), 2);
        weir.wait_told("shop", "credentials/state", "ok").await;
    }
}

#[tokio::test]
async fn credentials_that_end_are_replaced_and_no_call_fails() {
    let shop = Shop::open().await;
    let services = Services::start(&shop.keys).await;
    let env = container(&shop, &services, Duration::from_secs(4));
    let weir = shop.gateway("").env(env).start().await;
    weir.wait_tools(["shop__buy"]).await;
    let began = Instant::now();
    while shop.keys.issued() < 4 {
        buys(&weir, 10).await;
        assert!(began.elapsed() < 6 * BOUND, "{}", shop.keys.issued());
    }
    assert_eq!(shop.door.refusals(), []);
    // One request fetches each, however many calls wait; each is valid for three seconds.
    let elapsed = began.elapsed().as_secs();
    assert!(elapsed >= 5, "{elapsed} s");
    assert_eq!(services.count("container") as u64, shop.keys.issued());
}

#[tokio::test]
async fn while_credentials_are_valid_nobody_notices_that_no_others_come() {
    let shop = Shop::open().await;
    let services = Services::start(&shop.keys).await;
    let env = container(&shop, &services, Duration::from_secs(12));
    let weir = shop.gateway("").env(env).start().await;
    weir.wait_tools(["shop__buy"]).await;
    services.fail(Some((400, "ValidationException")));
    let until = Instant::now() + 2 * BOUND;
    while services.inner.failed.load(Ordering::Relaxed) == 0 {
        buys(&weir, 3).await;
        assert!(Instant::now() < until);
    }
    weir.wait_told("shop", "credentials/state", "expiring")
        .await;
    buys(&weir, 10).await;
    services.fail(None);
    while shop.keys.issued() < 2 {
        buys(&weir, 1).await;
        assert!(Instant::now() < until);
    }
    assert_eq!(shop.door.refusals(), []);
}

#[tokio::test]
async fn a_redirected_request_is_signed_again_for_its_path() {
    let shop = Shop::open().await;
    shop.door.move_to("/moved/a%20b");
    let weir = shop.gateway("").env(keys()).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 3).await;
    assert_eq!(shop.door.refusals(), []);
    assert!(shop.door.targets().contains(&"/moved/a%20b".to_owned()));
}

#[tokio::test]
async fn credentials_that_were_revoked_are_fetched_anew_within_the_call() {
    let shop = Shop::open().await;
    let services = Services::start(&shop.keys).await;
    let env = container(&shop, &services, Duration::from_secs(3600));
    let weir = shop.gateway("").env(env).start().await;
    weir.wait_tools(["shop__buy"]).await;
    shop.keys.revoke();
    buys(&weir, 10).await;
    assert_eq!(shop.keys.issued(), 2);
    let refusals = shop.door.refusals();
    assert!(
        refusals
            .iter()
            .all(|refusal| *refusal == SignatureError::Token)
    );
}

#[tokio::test]
async fn a_role_is_assumed_once_with_its_external_id() {
    let shop = Shop::open().await;
    let services = Services::start(&shop.keys).await;
    let role = ", assume_role: { arn: 'arn:aws:iam::123456789012:role/mcp', external_id: 'x+1', session_name: edge }";
    let mut env = keys();
    env.push(("AWS_ENDPOINT_URL_STS", services.url().to_owned()));
    let weir = shop.gateway(role).env(env).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 20).await;
    let called = services.called();
    let [assumed] = called.as_slice() else {
        panic!("{called:?}")
    };
    assert_eq!(
        (assumed.what.as_str(), assumed.key.as_str()),
        ("AssumeRole", KEY)
    );
    let form = assumed.body.as_str().unwrap();
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fmcp",
        "ExternalId=x%2B1",
        "RoleSessionName=edge",
    ] {
        assert!(form.contains(part), "{form}");
    }
    let judged = shop.door.judged();
    let role = Ok("ASIA0".to_owned());
    assert!(judged.iter().all(|by| *by == role), "{judged:?}");
}

#[tokio::test]
async fn a_role_is_assumed_though_the_clock_is_off() {
    let shop = Shop::open().await;
    let services = Services::start(&shop.keys).await;
    let role = ", assume_role: 'arn:aws:iam::123456789012:role/mcp'";
    let mut env = keys();
    env.push(("AWS_ENDPOINT_URL_STS", services.url().to_owned()));
    shop.keys.set_ahead(600);
    let weir = shop.gateway(role).env(env).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 5).await;
    assert_eq!(services.count("AssumeRole"), 1);
    assert_eq!(shop.door.refusals(), [SignatureError::Expired]);
}

#[tokio::test]
async fn who_has_no_credentials_is_told_where_they_could_be() {
    let shop = Shop::open().await;
    for (auth, words) in [
        ("", "found none in environment, profile, SSO"),
        (", profile: nope", "have no profile `nope`"),
    ] {
        let weir = shop.gateway(auth).env(nowhere()).start().await;
        weir.wait_stderr(words).await;
        weir.wait_told("shop", "credentials/state", "failing").await;
        weir.wait_told("shop", "credentials/reason", words).await;
    }
}

#[tokio::test]
async fn an_upstream_gets_its_token_from_agentcore_identity() {
    let services = services().await;
    let server = Upstream::named("shop").tools(["buy"]);
    let server = server.bearer("opaque").start().await;
    let weir = Weir::over([&server]).upstream(
        "shop",
        &format!(
            "auth: {{ type: agentcore_identity, workload: weir, provider: shop, region: {REGION}, scopes: [buy] }}"
        ),
    );
    let mut env = keys();
    let url = services.url().to_owned();
    env.push(("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", url));
    let weir = weir.env(env).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 10).await;
    assert_eq!(services.count("POST /identities/oauth2/token"), 1);
    weir.wait_told("shop", "credentials/state", "ok").await;
}

#[tokio::test]
async fn a_profile_that_the_config_names_goes_before_keys_in_the_environment() {
    let shop = Shop::open().await;
    let home = tempfile::tempdir().unwrap();
    let (profiles, keys) = (home.path().join("config"), home.path().join("keys.json"));
    let said = json!({"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET});
    std::fs::write(&keys, said.to_string()).unwrap();
    let process = format!(
        "[profile mine]\ncredential_process = cat {}\n",
        keys.display()
    );
    std::fs::write(&profiles, process).unwrap();
    let env = [
        ("AWS_CONFIG_FILE", profiles.to_str().unwrap().to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "other".to_owned()),
    ];
    let weir = shop.gateway(", profile: mine").env(nowhere()).env(env);
    let weir = weir.start().await;
    weir.wait_tools(["shop__buy"]).await;
    assert_eq!(shop.door.refusals(), []);
}

#[tokio::test]
async fn calls_that_start_together_wait_for_one_fetch() {
    let services = services().await;
    services.inner.keys.set_life(Duration::from_secs(3600));
    let mut config = sigv4();
    config.credentials.assume_role = Some(AssumeRole {
        arn: "arn:aws:iam::123456789012:role/mcp".to_owned(),
        external_id: None,
        session_name: "weir".to_owned(),
    });
    let signer = Signer::with_context(&config, &with(&services), &opened, Arc::default()).unwrap();
    let signed = (0..200).map(async |_| {
        let (mut headers, deadline) = (HeaderMap::new(), Instant::now() + BOUND);
        let url = services.url().parse().unwrap();
        let signed = signer.sign(&Method::POST, &url, &mut headers, b"{}", deadline);
        signed.await.unwrap();
    });
    futures::future::join_all(signed).await;
    assert_eq!(services.count("AssumeRole"), 1);
}
