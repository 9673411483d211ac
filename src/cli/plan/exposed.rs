//! The catalog that a config would expose: with what its upstreams list now, or listed when last asked.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::catalog::diff::UpstreamConfigs;
use crate::catalog::{Catalog, Listing, Part, Prepared, Rules, Side};
use crate::cli::output::Output;
use crate::cli::plan::baseline::Baseline;
use crate::cli::plan::drift::{self, HeldDefinition};
use crate::cli::wait;
use crate::config::{self, Config};
use crate::live::store::{ListingStore, StoredListing};
use crate::name::{Instance, Naming, UpstreamId, UpstreamIndex};
use crate::server::{Core, Options, ServeError};
use crate::upstream::HealthState;

/// Whether and how upstreams are asked.
pub(super) struct AskOptions {
    /// They are not asked.
    pub(super) offline: bool,
    /// The `weir` binary, which also runs as the reaper of child processes.
    pub(super) program: PathBuf,
}

/// Where an upstream's listing is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListingSource {
    /// The upstream is configured as before, and keeps its listing.
    Kept,
    /// The upstream was asked.
    Live,
    /// The upstream was asked, and one of its lists failed for this reason.
    Part(String),
    /// The state folder, because of this reason.
    Stored(String),
    /// The baseline's listing, because of this reason.
    Previous(String),
    /// There is none, because of this reason.
    Missing(String),
}

impl ListingSource {
    /// Returns the word of the JSON output.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Live | Self::Part(_) => "live",
            Self::Stored(_) => "stored",
            Self::Previous(_) => "earlier",
            Self::Missing(_) => "none",
        }
    }

    /// Returns why the upstream gave no listing.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Kept | Self::Live => None,
            Self::Part(reason)
            | Self::Stored(reason)
            | Self::Previous(reason)
            | Self::Missing(reason) => Some(reason),
        }
    }

    /// Returns a warning if the upstream gave no listing.
    pub(super) fn trouble(&self) -> Option<String> {
        let reason = self.reason()?;
        Some(match self {
            Self::Part(_) => format!("{reason}; what it listed before is used"),
            Self::Stored(_) => format!("{reason}; its stored listing is used"),
            Self::Previous(_) => format!("{reason}; what it listed before is used"),
            Self::Kept | Self::Live | Self::Missing(_) => {
                format!("{reason}; its tools are not known")
            }
        })
    }
}

/// The catalog that a config would expose, and where its listings are from.
pub(super) struct PlannedCatalog {
    pub(super) catalog: Catalog,
    pub(super) side: Side,
    pub(super) sources: IndexMap<UpstreamId, ListingSource>,
    /// Definitions that drift policies would hold back.
    pub(super) held: Vec<HeldDefinition>,
}

/// Where an upstream's listing is from, and the listing if there is one.
type PlannedUpstream = (ListingSource, Option<Arc<Prepared>>);

/// The same of an upstream that was asked, with what it listed.
type AskedUpstream = (ListingSource, Option<Arc<Prepared>>, Option<Arc<Listing>>);

/// Returns what a config exposes by itself.
pub(super) async fn expose_alone(
    config: Config,
    ask_options: &AskOptions,
    output: &mut Output,
) -> Result<PlannedCatalog, ServeError> {
    expose(config, None, ask_options, output).await
}

/// Returns what a config exposes when it replaces the baseline.
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
    let inline_schemas = config.listen.inline_schemas;
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
        inline_schemas,
        store,
        before,
    };
    let mut sources = IndexMap::new();
    let mut parts = Vec::new();
    for (index, (id, upstream)) in all.iter().enumerate() {
        let (source, prepared) = match asked.swap_remove(id) {
            _ if kept(id) => (ListingSource::Kept, fallback.previous(upstream)),
            Some((ListingSource::Live, prepared, _)) => (ListingSource::Live, prepared),
            Some((source @ ListingSource::Part(_), _, Some(listing))) => {
                (source, Some(fallback.complete(upstream, &listing)))
            }
            Some((source, ..)) => {
                fallback.listing_of(upstream, source.reason().unwrap_or_default())
            }
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
        catalog,
        side,
        sources,
        held,
    })
}

/// Asks the upstreams for their listings.
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
            HealthState::Up => match &*link.health.report().failed_lists {
                [] => ListingSource::Live,
                failed => {
                    let reasons: Vec<_> = failed.iter().map(ToString::to_string).collect();
                    ListingSource::Part(reasons.join("; "))
                }
            },
            HealthState::Failing { reason, .. } => ListingSource::Missing(reason),
            HealthState::Connecting => ListingSource::Missing("it does not answer".to_owned()),
        };
        (link.id().clone(), (source, prepared, link.rounds.listing()))
    });
    let asked = asked.collect();
    core.stop().await;
    Ok(asked)
}

/// The source of listings for upstreams that were not asked or did not answer.
struct Fallback<'b> {
    naming: &'b Naming,
    instance: Option<&'b Instance>,
    inline_schemas: bool,
    store: Option<ListingStore>,
    before: Option<&'b Baseline>,
}

impl Fallback<'_> {
    /// Returns what an upstream exposes whose lists came but for some: those have what was listed
    /// before.
    fn complete(&self, upstream: &config::Upstream, listing: &Listing) -> Arc<Prepared> {
        let store = self.store.as_ref();
        let stored = store.and_then(|store| store.read_listing(upstream).ok().flatten());
        let before = || Some(self.before?.side.listing(&upstream.id));
        let earlier = stored.map(|stored| stored.listing).or_else(before);
        let completed = earlier.map(|earlier| listing.completed_from(&earlier));
        Arc::new(self.prepare(upstream, completed.as_ref().unwrap_or(listing)))
    }

    fn prepare(&self, upstream: &config::Upstream, listing: &Listing) -> Prepared {
        let rules = Rules {
            instance: self.instance,
            inline_schemas: self.inline_schemas,
            ..Rules::from(upstream)
        };
        Prepared::new(rules, self.naming, listing)
    }

    fn listing_of(&self, upstream: &config::Upstream, reason: &str) -> PlannedUpstream {
        let stored = self
            .store
            .as_ref()
            .map(|store| store.read_listing(upstream));
        let reason = match stored {
            Some(Ok(Some(StoredListing { listing, .. }))) => {
                let prepared = self.prepare(upstream, &listing);
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

    /// Returns what the baseline's listing exposes under the new config.
    fn side_of(&self, all: &UpstreamConfigs, upstream: &config::Upstream) -> Side {
        let part = self.previous(upstream).map(|prepared| Part {
            upstream: upstream.id.clone(),
            upstream_index: UpstreamIndex::new(0),
            prepared,
        });
        let catalog = Catalog::merge(self.naming, 1, part.as_slice());
        Side::of(all, self.naming, &catalog)
    }

    /// Returns the baseline's listing, prepared under the new config, unless it is empty.
    fn previous(&self, upstream: &config::Upstream) -> Option<Arc<Prepared>> {
        let listing = self.before?.side.listing(&upstream.id);
        let rules = Rules {
            inline_schemas: self.inline_schemas,
            ..Rules::from(upstream)
        };
        let prepared = Prepared::new(rules, self.naming, &listing);
        (!listing.is_empty()).then(|| Arc::new(prepared))
    }
}
