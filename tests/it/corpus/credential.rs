//! Credentials of callers: any bytes as headers, as tokens with a good signature, and as good tokens with
//! changes.
//!
//! The first byte of a file says how the rest is read.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderValue, Request};
use serde_json::{Value, json};
use weir::authentication::{
    ApiKeyText, AuthenticationContext, Authenticator, Refusal, RefusalKind, make_api_key,
    write_hash,
};
use weir::caller::{Caller, CallerConnection, Principal};
use weir::config::{self, ListenAuth};
use weir::files::Files;
use weir::memory::MemoryBudget;
use weir::tls::TlsConfigs;

#[allow(
    clippy::duplicate_mod,
    reason = "the fuzz target has nothing else of the tests"
)]
#[path = "../../../src/authentication/jwt/tests/signing.rs"]
mod signing;

use signing::{SigningKey, jwks};

const ISSUER: &str = "https://issuer.example";

/// An authenticator of tokens of one issuer and of one API key.
struct Rig {
    authenticator: Authenticator,
    connection: CallerConnection,
    key: SigningKey,
    token: String,
    api_key: String,
}

thread_local! {
    static RIG: Rig = rig();
}

fn rig() -> Rig {
    let key = SigningKey::ed25519();
    let api_key = make_api_key("ci").expect("random bytes");
    let api_key = api_key.expose().to_owned();
    let hash = write_hash(&ApiKeyText::parse(&api_key).expect("a key").hash());
    let folder = std::env::temp_dir().join(format!(
        "weir-credential-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    write("jwks.json", &jwks(&[key.jwk("k")]));
    write(
        "keys.yaml",
        &format!("ci: {{ subject: ci, hash: \"{hash}\" }}\n"),
    );
    let yaml = format!(
        "listen: {{ auth: {{ jwt: [{{ issuer: '{ISSUER}', jwks: {{ file: jwks.json }}, audiences: [weir] }}], api_keys: {{ file: keys.yaml }} }} }}\nupstreams: {{}}\n"
    );
    let config = config::parse(&yaml, &folder.join("weir.yaml"), &|_| None).expect("a config");
    let Some(ListenAuth::Callers(settings)) = &config.listen.auth else {
        panic!("no `listen.auth`");
    };
    let files = Arc::new(Files::default());
    let memory = MemoryBudget::new(64 << 20);
    let context = AuthenticationContext {
        tls: Arc::new(TlsConfigs::new(Arc::clone(&files))),
        files,
        tasks: Default::default(),
        shutdown: Default::default(),
        caller_trust: None,
        memory: Arc::clone(&memory),
    };
    // The files are followed by tasks, which never run here.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let authenticator = Authenticator::new(settings, &context).expect("an authenticator");
    drop(entered);
    std::mem::forget(runtime);
    let _ = std::fs::remove_dir_all(&folder);
    let claims = json!({ "iss": ISSUER, "aud": "weir", "sub": "s", "exp": now() + 1_000_000 });
    let token = key.sign(&json!({ "kid": "k" }), &claims);
    Rig {
        authenticator,
        connection: CallerConnection {
            address: None,
            memory: memory.share(),
            certificate: None,
        },
        key,
        token,
        api_key,
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Reads bytes as a credential.
pub fn check(data: &[u8]) {
    let [kind, rest @ ..] = data else {
        return;
    };
    RIG.with(|rig| match kind % 5 {
        0 => rig.header(rest),
        1 => rig.header(&[b"Bearer ", rest].concat()),
        2 => rig.signed(rest),
        3 => rig.changed(&rig.token, rest),
        _ => rig.changed(&rig.api_key, rest),
    });
}

impl Rig {
    fn ask(&self, parts: &Parts) -> Result<Caller, Refusal> {
        let verdict = self.authenticator.try_now(parts, &self.connection);
        verdict.expect("all keys are at hand")
    }

    fn ask_with(&self, token: &str) -> Result<Caller, Refusal> {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
        self.ask(&request(value))
    }

    /// Nothing but the good credentials lets a request in.
    fn header(&self, bytes: &[u8]) {
        let Ok(value) = HeaderValue::from_bytes(bytes) else {
            return;
        };
        match self.ask(&request(value)) {
            Ok(_) => {
                let text = String::from_utf8_lossy(bytes);
                assert!(text.contains(&self.token) || text.contains(&self.api_key));
            }
            Err(refusal) => told(&refusal, bytes),
        }
    }

    /// A token that the issuer signed is accepted only if its claims say so; `rest` is header and
    /// claims, with a zero byte between them.
    fn signed(&self, rest: &[u8]) {
        let Ok(text) = std::str::from_utf8(rest) else {
            return;
        };
        let (header, claims) = text.split_once('\0').unwrap_or((text, ""));
        let token = self.key.sign_text(header, claims);
        match self.ask_with(&token) {
            Ok(caller) => {
                let header: Value = serde_json::from_str(header).expect("a header of JSON");
                let claims: Value = serde_json::from_str(claims).expect("claims of JSON");
                assert_eq!(header["alg"], "EdDSA");
                assert!(header.get("crit").is_none(), "{header}");
                assert_eq!(claims["iss"], ISSUER);
                let audience = &claims["aud"];
                let several = audience.as_array();
                let audience = audience == "weir"
                    || several.is_some_and(|all| all.iter().any(|one| one == "weir"));
                assert!(audience, "{claims}");
                let time = |name: &str| claims[name].as_f64();
                #[allow(clippy::cast_precision_loss, reason = "seconds")]
                let now = now() as f64;
                assert!(time("exp").is_some_and(|end| end + 61.0 > now), "{claims}");
                assert!(
                    time("nbf").is_none_or(|begin| begin - 61.0 < now),
                    "{claims}"
                );
                assert_eq!(caller.principal(), Principal::OAuthUser);
            }
            Err(refusal) => told(&refusal, token.as_bytes()),
        }
    }

    /// A good credential with a change is none: `rest` says where, and what is there then.
    fn changed(&self, good: &str, rest: &[u8]) {
        assert!(self.ask_with(good).is_ok());
        let [at, cut, put @ ..] = rest else {
            return;
        };
        let at = usize::from(*at) * good.len() / 256;
        let end = (at + usize::from(*cut) % 8).min(good.len());
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        let put: String = put
            .iter()
            .filter(|byte| legal(byte))
            .map(|byte| char::from(*byte))
            .collect();
        let changed = format!("{}{put}{}", &good[..at], &good[end..]);
        if changed == good || changed.is_empty() {
            return;
        }
        match self.ask_with(&changed) {
            Ok(_) => panic!("a changed credential is accepted: {changed}"),
            Err(refusal) => told(&refusal, changed.as_bytes()),
        }
    }
}

fn request(value: HeaderValue) -> Parts {
    let request = Request::builder()
        .uri("/mcp")
        .header("authorization", value);
    request.body(()).expect("a request").into_parts().0
}

/// Checks that the text for the sender is fit for a header and has nothing of the credential, and
/// that the text for operators has no signature and no secret in it.
fn told(refusal: &Refusal, sent: &[u8]) {
    let public = refusal.kind.description();
    assert!(
        HeaderValue::from_str(public).is_ok() && !public.contains('"'),
        "{public}"
    );
    assert!(
        !matches!(refusal.kind, RefusalKind::Unavailable),
        "{refusal:?}"
    );
    let sent = String::from_utf8_lossy(sent);
    let last = sent.rsplit(['.', '_', ' ']).next().unwrap_or_default();
    if last.len() >= 20 {
        assert!(!refusal.reason.contains(last), "{refusal:?}");
    }
}
