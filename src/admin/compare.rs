//! `POST /compare`: compares another config with the one in force by digests, so that neither is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::response::json_response;
use crate::admin::state::AdminState;
use crate::config::{Config, Upstream};
use crate::live::store;

/// The version of this weir. Digests of different versions cannot be compared.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The digests of a config.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigDigests {
    /// The version of weir that made them.
    pub version: String,
    /// The settings that cannot change while weir runs, by field name. `None`: the field is not set. Fields
    /// that are missing here are not compared.
    pub fixed: BTreeMap<String, Option<String>>,
    /// Name and digest of each upstream, in the order of the config.
    pub upstreams: Vec<(String, String)>,
    /// The endpoint of each upstream, by its name.
    pub endpoints: BTreeMap<String, String>,
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
        }
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

/// Answers `POST /compare`: takes [`ConfigDigests`], returns a [`Comparison`]. 400 for another body, 409
/// if another version of weir asks.
pub(super) async fn compare(State(operators): State<AdminState>, body: Bytes) -> Response {
    let Ok(mut sent) = serde_json::from_slice::<ConfigDigests>(&body) else {
        let error = json!({ "error": "expected `version`, `fixed` and `upstreams`" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    if operators.listens_elsewhere {
        sent.fixed.remove("listen");
    }
    let snapshot = Arc::clone(&operators.live).load_full();
    match sent.compare_to(&snapshot.config) {
        Some(compared) => json_response(StatusCode::OK, &compared),
        None => {
            let error = format!("this is weir {VERSION}, and digests are of one version only");
            json_response(StatusCode::CONFLICT, &json!({ "error": error }))
        }
    }
}
