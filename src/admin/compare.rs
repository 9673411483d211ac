//! `POST /compare`: another config against the one in force, by digests, so that neither has to be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::{AdminState, json_response};
use crate::config::{Config, Upstream};
use crate::live::store;

/// The version whose digests these are: those of another mean nothing.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A config by its digests.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigDigests {
    /// The version of weir that made them.
    pub version: String,
    /// What cannot change while weir runs, by field name; `None` is not written, what is not there is not compared.
    pub fixed: BTreeMap<String, Option<String>>,
    /// The upstreams in the order of the config.
    pub upstreams: Vec<(String, String)>,
    /// How each of them is reached.
    pub endpoints: BTreeMap<String, String>,
}

/// What a config has otherwise than the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Fields that cannot change while weir runs, and do.
    pub fixed: Vec<String>,
    /// Upstreams that are configured as they are.
    pub same: BTreeSet<String>,
    /// Upstreams that are configured otherwise: they are connected anew.
    pub changed: BTreeSet<String>,
    /// Those of them that are another server.
    pub moved: BTreeSet<String>,
    /// Upstreams that are not there.
    pub added: BTreeSet<String>,
    /// Upstreams that are there no more, in the order of the config in force.
    pub removed: Vec<String>,
}

impl ConfigDigests {
    /// Those of a config as it is written. A name in chains that is not written is not compared: it was made or kept.
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

    /// What a config has otherwise than `before`; `None` where versions differ.
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

/// Takes [`ConfigDigests`], answers with [`Comparison`]. 400 if that is not what came, 409 where another version of weir asks.
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
