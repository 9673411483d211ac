//! The weirs of the bench: the keys of each one's config.

use std::path::Path;
use std::rc::Rc;

use crate::setup::Kind;

const TOKENS: &str = ", auth: { jwt: [{ issuer: 'https://issuer.example', jwks: { file: jwks.json }, audiences: [weir] }] }";
const SIGV4: &str = "connector: saas, auth: { type: sigv4, region: eu-west-1, service: bedrock-agentcore, access_key_id: AKIDEXAMPLE, secret_access_key: { value: not-a-secret } }";
/// The certificate is in the folder of the run, as the config is.
const TLS: &str = ", tls: { cert: certificate.pem, key: { file: key.pem } }";
const CLASSES: &str = "policy: { files: [classes.cedar] }\n";
const ARGUMENTS: &str = "policy: { files: [arguments.cedar] }\n";
/// More than anybody asks for, so that each request is counted and none refused.
const LIMITS: &str =
    "limits: { rates: [{ per: caller, requests: 1000000/1s, in_flight: 1000 }] }\n";
const VALIDATE: &str = "validate: { arguments: refuse, invisible: { arguments: refuse } }";
/// Every class that a detector finds. Addresses come back as they were.
const REDACT: &str = "redact: { towards_upstream: { '*': mask, EMAIL: tokenise }, towards_caller: { '*': mask, EMAIL: restore }, key: { value: not-a-secret-not-a-secret-not-a-secret } }";

/// The keys of a weir's config that the others do not have.
pub(crate) struct WeirSettings {
    /// Of each upstream.
    pub(crate) upstream: &'static str,
    /// Of `listen`, after others.
    pub(crate) listen: &'static str,
    /// At the top, in lines.
    pub(crate) top: String,
    /// The file with a credential for each caller.
    credentials: Option<&'static str>,
}

impl WeirSettings {
    /// Returns the settings of a subject, none for one that is no weir. `helper` is the port of a server
    /// that takes spans and is a hook that changes nothing.
    pub(crate) fn of(kind: Kind, helper: u16) -> Option<Self> {
        let plain = Self {
            upstream: "connector: on_prem",
            listen: "",
            top: String::new(),
            credentials: None,
        };
        let with = |top: String| Self { top, ..plain };
        let known = |top: &str| Self {
            listen: TOKENS,
            credentials: Some("tokens.txt"),
            ..with(top.to_owned())
        };
        Some(match kind {
            Kind::Direct | Kind::Forward | Kind::Route => return None,
            Kind::Weir | Kind::Http2 => plain,
            Kind::Tls => Self {
                listen: TLS,
                ..plain
            },
            Kind::Saas => Self {
                upstream: "connector: saas",
                ..plain
            },
            Kind::Sigv4 => Self {
                upstream: SIGV4,
                ..plain
            },
            Kind::Keys => Self {
                listen: ", auth: { api_keys: { file: keys.yaml } }",
                credentials: Some("keys.txt"),
                ..plain
            },
            Kind::Tokens => known(""),
            Kind::NewTokens => Self {
                credentials: Some("new_tokens.txt"),
                ..known("")
            },
            Kind::Classes => known(CLASSES),
            Kind::Arguments => known(ARGUMENTS),
            Kind::Sampled => with(spans(helper, "0.1")),
            Kind::Traced => with(spans(helper, "1")),
            // Nobody listens there.
            Kind::Unheard => with(spans(1, "1")),
            Kind::Limited => with(LIMITS.to_owned()),
            Kind::Validated => with(format!("guard: {{ {VALIDATE} }}\n")),
            Kind::Redacted => with(format!("guard: {{ {REDACT} }}\n")),
            Kind::Recorded => with("audit: { file: audit.jsonl }\n".to_owned()),
            Kind::Hooked => with(hook(helper)),
            Kind::Everything => known(&format!(
                "{ARGUMENTS}{LIMITS}guard: {{ {VALIDATE}, {REDACT} }}\naudit: {{ file: everything.jsonl }}\n{}",
                spans(helper, "1")
            )),
        })
    }
}

fn spans(port: u16, sample: &str) -> String {
    format!("telemetry: {{ endpoint: \"http://127.0.0.1:{port}\", sample: {sample} }}\n")
}

fn hook(port: u16) -> String {
    format!("hooks: {{ h: {{ url: \"http://127.0.0.1:{port}/hook\", on: [request] }} }}\n")
}

/// The credentials of a subject's callers; none for one that asks for none.
pub(crate) fn credentials(kind: Kind, folder: &Path) -> Rc<[String]> {
    let settings = WeirSettings::of(kind, 1);
    let Some(file) = settings.and_then(|settings| settings.credentials) else {
        return Rc::default();
    };
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
