//! What a config exposes: with what its upstreams list now, or listed when they last could be asked.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::catalog::diff::UpstreamConfigs;
use crate::catalog::{Catalog, Part, Prepared, Rules, Side};
use crate::cli::output::Output;
use crate::cli::plan::Baseline;
use crate::cli::plan::drift::{self, HeldDefinition};
use crate::cli::wait;
use crate::config::{self, Config};
use crate::live::store::{ListingStore, StoredListing};
use crate::name::{Instance, Naming, UpstreamId, UpstreamIndex};
use crate::server::{Core, Options, ServeError};
use crate::upstream::HealthState;

/// How upstreams are asked.
pub(super) struct AskOptions {
    /// Not at all.
    pub(super) offline: bool,
    /// The `weir` binary, run as the reaper of children.
    pub(super) program: PathBuf,
}

/// Where an upstream's listing is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListingSource {
    /// It is configured as before, and keeps what it lists.
    Kept,
    /// It was asked.
    Live,
    /// The state folder, for this reason.
    Stored(String),
    /// What it listed under its config of before, for this reason.
    Previous(String),
    /// There is none, for this reason.
    Missing(String),
}

impl ListingSource {
    /// As `--json` says it.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Live => "live",
            Self::Stored(_) => "stored",
            Self::Previous(_) => "earlier",
            Self::Missing(_) => "none",
        }
    }

    /// Why it was not asked.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Kept | Self::Live => None,
            Self::Stored(reason) | Self::Previous(reason) | Self::Missing(reason) => Some(reason),
        }
    }

    /// What that means, in words, where it is not what it should be.
    pub(super) fn trouble(&self) -> Option<String> {
        let reason = self.reason()?;
        Some(match self {
            Self::Stored(_) => format!("{reason}; this is its stored listing"),
            Self::Previous(_) => format!("{reason}; this is what it listed before"),
            Self::Kept | Self::Live | Self::Missing(_) => {
                format!("{reason}; nothing is known of its tools")
            }
        })
    }
}

/// What a config exposes, and where from.
pub(super) struct PlannedCatalog {
    pub(super) side: Side,
    pub(super) sources: IndexMap<UpstreamId, ListingSource>,
    /// What upstreams say otherwise, and their gates will not let through.
    pub(super) held: Vec<HeldDefinition>,
}

/// What one upstream brings.
type AskedUpstream = (ListingSource, Option<Arc<Prepared>>);

/// A config by itself.
pub(super) async fn expose_alone(
    config: Config,
    ask_options: &AskOptions,
    output: &mut Output,
) -> Result<PlannedCatalog, ServeError> {
    expose(config, None, ask_options, output).await
}

/// A config that is taken on where something was before.
pub(super) async fn expose_after(
    config: Config,
    before: &Baseline,
    ask_options: &AskOptions,
    output: &mut Output,
) -> Result<PlannedCatalog, ServeError> {
    expose(config, Some(before), ask_options, output).await
}

async fn expose(
    mut config: Config,
    before: Option<&Baseline>,
    ask_options: &AskOptions,
    output: &mut Output,
) -> Result<PlannedCatalog, ServeError> {
    let (all, naming) = (config.upstreams.clone(), config.naming.clone());
    let (state, instance) = (config.state_dir.clone(), config.instance.clone());
    let kept =
        |id: &UpstreamId| before.is_some_and(|before| before.compared.same.contains(id.as_str()));
    config.upstreams.retain(|id, _| !kept(id));
    let mut asked = match ask_options.offline || config.upstreams.is_empty() {
        true => IndexMap::new(),
        false => ask_upstreams(config, ask_options, output).await?,
    };
    let store = state.as_deref().map(ListingStore::new);
    let fallback = Fallback {
        naming: &naming,
        instance: instance.as_ref(),
        store,
        before,
    };
    let mut sources = IndexMap::new();
    let mut parts = Vec::new();
    for (index, (id, upstream)) in all.iter().enumerate() {
        let (source, prepared) = match asked.swap_remove(id) {
            _ if kept(id) => (ListingSource::Kept, fallback.previous(upstream)),
            Some((ListingSource::Live, prepared)) => (ListingSource::Live, prepared),
            Some((source, _)) => fallback.listing_of(upstream, source.reason().unwrap_or_default()),
            None => fallback.listing_of(upstream, "not asked"),
        };
        sources.insert(id.clone(), source);
        parts.extend(prepared.map(|prepared| Part {
            upstream: id.clone(),
            upstream_index: UpstreamIndex::new(index),
            prepared,
        }));
    }
    let catalog = Catalog::merge(&naming, 1, &parts);
    let mut side = Side::of(&all, &naming, &catalog);
    let held = match before {
        Some(before) => drift::hold_back(&mut side, before, &all, |upstream| {
            fallback.side_of(&all, upstream)
        }),
        None => Vec::new(),
    };
    Ok(PlannedCatalog {
        side,
        sources,
        held,
    })
}

/// Asks upstreams what they have.
async fn ask_upstreams(
    config: Config,
    ask_options: &AskOptions,
    output: &mut Output,
) -> Result<IndexMap<UpstreamId, AskedUpstream>, ServeError> {
    let options = Options {
        reaper: Some(ask_options.program.clone()),
        ..Options::default()
    };
    let core = Core::start(Arc::new(config), &options).await?;
    wait::wait_settled(&core, &mut output.err).await;
    let snapshot = core.live().load_full();
    let asked = snapshot.links().iter().map(|link| {
        let mut parts = snapshot.catalog.parts();
        let part = parts.find(|part| part.upstream == *link.id());
        let prepared = part.map(|part| Arc::clone(&part.prepared));
        let source = match link.health.state() {
            HealthState::Up => ListingSource::Live,
            HealthState::Failing { reason, .. } => ListingSource::Missing(reason),
            HealthState::Connecting => ListingSource::Missing("it does not answer".to_owned()),
        };
        (link.id().clone(), (source, prepared))
    });
    let asked = asked.collect();
    core.stop().await;
    Ok(asked)
}

/// What stands in for an upstream that was not asked, or did not answer.
struct Fallback<'b> {
    naming: &'b Naming,
    instance: Option<&'b Instance>,
    store: Option<ListingStore>,
    before: Option<&'b Baseline>,
}

impl Fallback<'_> {
    fn listing_of(&self, upstream: &config::Upstream, reason: &str) -> AskedUpstream {
        let stored = self
            .store
            .as_ref()
            .map(|store| store.read_listing(upstream));
        let reason = match stored {
            Some(Ok(Some(StoredListing { listing, .. }))) => {
                let rules = Rules {
                    instance: self.instance,
                    ..Rules::from(upstream)
                };
                let prepared = Prepared::new(rules, self.naming, &listing);
                return (
                    ListingSource::Stored(reason.to_owned()),
                    Some(Arc::new(prepared)),
                );
            }
            Some(Err(error)) => format!("{reason}; its stored listing is of no use: {error}"),
            Some(Ok(None)) | None => reason.to_owned(),
        };
        match self.previous(upstream) {
            Some(prepared) => (ListingSource::Previous(reason), Some(prepared)),
            None => (ListingSource::Missing(reason), None),
        }
    }

    /// What it showed before, as its config of now would show it.
    fn side_of(&self, all: &UpstreamConfigs, upstream: &config::Upstream) -> Side {
        let part = self.previous(upstream).map(|prepared| Part {
            upstream: upstream.id.clone(),
            upstream_index: UpstreamIndex::new(0),
            prepared,
        });
        let catalog = Catalog::merge(self.naming, 1, part.as_slice());
        Side::of(all, self.naming, &catalog)
    }

    /// What it listed before, if it listed anything.
    fn previous(&self, upstream: &config::Upstream) -> Option<Arc<Prepared>> {
        let listing = self.before?.side.listing(&upstream.id);
        let prepared = Prepared::new(upstream, self.naming, &listing);
        (!listing.is_empty()).then(|| Arc::new(prepared))
    }
}
