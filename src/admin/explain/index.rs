//! The data from which names are explained.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::admin::explain::answer::{CredentialsStatus, LinkStatus, ListingStatus, Owner};
use crate::catalog::{Catalog, InvalidDefinition};
use crate::config;
use crate::live::Snapshot;
use crate::name::{Instance, Naming, UpstreamId, UpstreamIndex};
use crate::policy::Policies;
use crate::protocol::era::Era;
use crate::upstream::circuit::CircuitState;
use crate::upstream::{HealthState, Link};

/// A catalog, its config, and what is known of each upstream.
#[derive(Debug)]
pub struct ExplainIndex<'w> {
    /// The upstreams.
    pub upstreams: &'w IndexMap<UpstreamId, Arc<config::Upstream>>,
    /// How exposed names are made.
    pub naming: &'w Naming,
    /// The instance name of this weir.
    pub instance: Option<&'w Instance>,
    /// The routes.
    pub catalog: &'w Catalog,
    /// The policies; `None` permits everything.
    pub policies: Option<&'w Policies>,
    /// The knowledge of each upstream, in their order.
    pub known: Vec<KnownUpstream>,
}

/// Knowledge of an upstream.
#[derive(Clone, Debug, Default)]
pub struct KnownUpstream {
    /// The age of its listing, if there is one.
    pub listed: Option<ListingStatus>,
    /// The state of its link; `None` if upstreams are not asked.
    pub link: Option<LinkStatus>,
    /// The era that it speaks, if it is connected.
    pub era: Option<Era>,
    /// Definitions that cannot be used.
    pub quarantined: Vec<InvalidDefinition>,
}

impl<'w> ExplainIndex<'w> {
    /// Creates the index of a snapshot.
    #[must_use]
    pub fn of(snapshot: &'w Snapshot) -> Self {
        Self {
            upstreams: &snapshot.config.upstreams,
            naming: &snapshot.config.naming,
            instance: snapshot.config.instance.as_ref(),
            catalog: &snapshot.catalog,
            policies: snapshot.policies.as_deref(),
            known: snapshot
                .links()
                .iter()
                .map(|link| KnownUpstream::of(link))
                .collect(),
        }
    }

    pub(super) fn owner(&self, index: UpstreamIndex, upstream: &config::Upstream) -> Owner {
        let known = self.known.get(index.get());
        Owner {
            name: upstream.id.as_str().to_owned(),
            at: upstream.origin.clone(),
            connector: upstream.connector.as_str().to_owned(),
            listed: known.and_then(|known| known.listed.clone()),
            link: known.and_then(|known| known.link.clone()),
        }
    }
}

impl KnownUpstream {
    fn of(link: &Link) -> Self {
        let report = link.health.report();
        let reason = match link.health.state() {
            HealthState::Connecting | HealthState::Up => None,
            HealthState::Failing { reason, .. } => Some(reason),
        };
        let circuit = match link.gate.circuit_state() {
            CircuitState::Closed => "closed",
            CircuitState::Open { .. } => "open",
            CircuitState::HalfOpen { .. } => "half-open",
        };
        let credentials = link.credentials().map(|credentials| {
            let status = credentials.status();
            CredentialsStatus {
                r#type: credentials.name().to_owned(),
                state: status.state.as_str().to_owned(),
                reason: status.reason.map(String::from),
            }
        });
        Self {
            listed: report.age().map(|age| ListingStatus {
                stored: report.stored,
                seconds_ago: age.as_secs(),
                stale: link.health.is_stale(),
            }),
            link: Some(LinkStatus {
                state: link.health.state_word().to_owned(),
                reason,
                circuit: circuit.to_owned(),
                credentials,
            }),
            era: link.current_peer().map(|peer| peer.era()),
            quarantined: report.quarantined,
        }
    }

    /// Returns why there is no listing.
    pub(super) fn unlisted(&self) -> String {
        match &self.link {
            None => "no listing of it is stored".to_owned(),
            Some(link) => match &link.reason {
                Some(reason) => reason.clone(),
                None => "it has not been listed yet".to_owned(),
            },
        }
    }
}
