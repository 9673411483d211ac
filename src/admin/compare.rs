//! `POST /compare`: compares another config with the one in force, by digests, so that neither is sent;
//! but for policies, which are no secrets: who gains and loses what can be said only by a weir that
//! knows its callers.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::response::json_response;
use crate::admin::state::AdminState;
use crate::admin::work::{NoResult, work_out};
use crate::caller::{Caller, Identity, Principal};
use crate::config::{Config, SentPolicies, Upstream};
use crate::live::access::access_under;
use crate::live::store;
use crate::policy::{AccessChange, KnownCaller};

/// The version of this weir. Digests of different versions cannot be compared.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The largest request.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// The digests of a config, and its policies.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigDigests {
    /// The version of weir that made them.
    pub version: String,
    /// The settings that cannot change while weir runs, by field name. `None`: the field is not set. Fields
    /// that are missing here are not compared.
    pub fixed: BTreeMap<String, Option<String>>,
    /// The settings that can change while weir runs, besides upstreams, by their keys.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Name and digest of each upstream, in the order of the config.
    pub upstreams: Vec<(String, String)>,
    /// The endpoint of each upstream, by its name.
    pub endpoints: BTreeMap<String, String>,
    /// The policies. `None`: there are none.
    #[serde(default)]
    pub policies: Option<SentPolicies>,
    /// The callers of tests of the policies.
    #[serde(default)]
    tested: Vec<SentCaller>,
}

/// A caller of a test.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SentCaller {
    kind: String,
    subject: String,
    claims: BTreeMap<String, String>,
}

/// How a config differs from the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Changed fields that cannot change while weir runs.
    pub fixed: Vec<String>,
    /// Upstreams with the same config.
    pub same: BTreeSet<String>,
    /// Upstreams with another config: they are connected anew.
    pub changed: BTreeSet<String>,
    /// Those of `changed` that have another endpoint.
    pub moved: BTreeSet<String>,
    /// New upstreams.
    pub added: BTreeSet<String>,
    /// Upstreams that are gone, in the order of the config in force.
    pub removed: Vec<String>,
    /// Other changed settings, which a reload applies, by their keys.
    #[serde(default)]
    pub settings: Vec<String>,
    /// The names that callers gain and lose by other policies.
    #[serde(default)]
    pub access: Vec<AccessChange>,
}

impl ConfigDigests {
    /// Returns the digests of a config. An `instance` that is not set is not compared: the running weir
    /// generated or stored one.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let fixed = config.fixed().into_iter();
        let fixed = fixed.filter(|(field, digest)| *field != "instance" || digest.is_some());
        let upstreams = config.upstreams.values();
        let endpoint = |upstream: &Upstream| store::endpoint(upstream).to_string();
        Self {
            endpoints: upstreams
                .clone()
                .map(|up| (up.id.as_str().to_owned(), endpoint(up)))
                .collect(),
            version: VERSION.to_owned(),
            fixed: fixed
                .map(|(field, digest)| (field.to_owned(), digest.map(|digest| digest.to_hex())))
                .collect(),
            upstreams: upstreams
                .map(|up| (up.id.as_str().to_owned(), up.fingerprint.to_hex()))
                .collect(),
            settings: config
                .changeable()
                .into_iter()
                .map(|(key, digest)| (key.to_owned(), digest.to_hex()))
                .collect(),
            policies: config.policy.as_deref().map(SentPolicies::of),
            tested: sent_callers(config),
        }
    }

    /// Takes the callers of tests of the policies.
    fn take_tested(&mut self) -> Vec<KnownCaller> {
        let tested = std::mem::take(&mut self.tested).into_iter();
        let callers = tested.filter_map(|sent| {
            let identity = Identity::new(Principal::parse(&sent.kind)?, &sent.subject);
            let tags = sent.claims.into_iter();
            let tags = tags.map(|(name, text)| (name.into(), text.into()));
            let tags = tags.collect();
            Some(Caller::new(Identity { tags, ..identity }).into())
        });
        callers.collect()
    }

    /// Compares the config of these digests with `before`; `None` if versions differ.
    #[must_use]
    pub fn compare_to(self, before: &Config) -> Option<Comparison> {
        let mut compared = Comparison::default();
        if self.version != VERSION {
            return None;
        }
        for (field, digest) in before.fixed() {
            let digest = digest.map(|digest| digest.to_hex());
            if self.fixed.get(field).is_some_and(|sent| *sent != digest) {
                compared.fixed.push(field.to_owned());
            }
        }
        for (key, digest) in before.changeable() {
            if self.settings.get(key) != Some(&digest.to_hex()) {
                compared.settings.push(key.to_owned());
            }
        }
        for (name, digest) in self.upstreams {
            let known = before.upstreams.get(name.as_str());
            match known.map(|known| known.fingerprint.to_hex()) {
                None => compared.added.insert(name),
                Some(known) if known == digest => compared.same.insert(name),
                Some(_) => compared.changed.insert(name),
            };
        }
        for name in &compared.changed {
            let known = before.upstreams.get(name.as_str());
            let known = known.map(|known| store::endpoint(known).to_string());
            if known.as_ref() != self.endpoints.get(name) {
                compared.moved.insert(name.clone());
            }
        }
        let all = before.upstreams.keys().map(|id| id.as_str());
        let Comparison {
            same,
            changed,
            removed,
            ..
        } = &mut compared;
        let gone = all.filter(|name| !same.contains(*name) && !changed.contains(*name));
        removed.extend(gone.map(str::to_owned));
        Some(compared)
    }
}

/// Returns the callers of tests of a config's policies, each once.
fn sent_callers(config: &Config) -> Vec<SentCaller> {
    let tests = config.policy.iter().flat_map(|policy| &policy.tests);
    let callers = tests.map(|test| SentCaller {
        kind: test.kind.as_str().to_owned(),
        subject: test.subject.to_string(),
        claims: test
            .claims
            .iter()
            .map(|(name, text)| (name.to_string(), text.to_string()))
            .collect(),
    });
    callers.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Answers `POST /compare`: takes [`ConfigDigests`], returns a [`Comparison`]. 400 for another body or
/// a policy that is not Cedar, 409 if another version of weir asks, 413 above [`MOST_BYTES`].
pub(super) async fn compare(State(operators): State<AdminState>, body: Bytes) -> Response {
    let Ok(mut sent) = serde_json::from_slice::<ConfigDigests>(&body) else {
        let error = json!({ "error": "expected `version`, `fixed` and `upstreams`" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    if operators.listens_elsewhere {
        sent.fixed.remove("listen");
    }
    let snapshot = operators.live.load_full();
    let (policies, tested) = (sent.policies.clone(), sent.take_tested());
    let Some(mut compared) = sent.compare_to(&snapshot.config) else {
        let error = format!("this is weir {VERSION}, and digests are of one version only");
        return json_response(StatusCode::CONFLICT, &json!({ "error": error }));
    };
    if compared.settings.iter().any(|key| key == "policy") {
        let comparing = move || access_under(&snapshot, policies.as_ref(), tested);
        match work_out(comparing).await {
            Ok(Ok(access)) => compared.access = access,
            Ok(Err(error)) => {
                return json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }));
            }
            Err(NoResult) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    json_response(StatusCode::OK, &compared)
}
