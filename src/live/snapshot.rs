//! A snapshot: catalog, config and links that belong together.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::{Catalog, CutCatalog, Pages};
use crate::config::Config;
use crate::guard::Guard;
use crate::guard::validate::Schemas;
use crate::hooks::Hooks;
use crate::limits::{RateLimits, SharedRates};
use crate::metrics::Metrics;
use crate::policy::{ClassView, Permit, Policies, PolicyRules};
use crate::upstream::Link;

/// How many earlier catalogs' pages stay readable, for cursors that name them.
const EARLIER: usize = 64;

/// How many bytes they may have together that the present catalog has not. The last one stays
/// whatever it weighs: a caller that pages while there is one change ends in the same catalog.
const EARLIER_BYTES: usize = 32 * 1024 * 1024;

/// How long they are kept. A caller that pages asks for the next page within seconds.
const EARLIER_AGE: Duration = Duration::from_secs(10 * 60);

/// Most views that are made before callers ask for them.
const PREWARMED: usize = 128;

/// The longest that this may take.
const PREWARM_TIME: Duration = Duration::from_millis(200);

/// The catalog, config and links of one moment. A request is decided by one snapshot, which never
/// changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the snapshot: one more than that of the one before.
    pub generation: u64,
    /// All routes.
    pub catalog: Arc<Catalog>,
    /// The config.
    pub config: Arc<Config>,
    /// One link per upstream, at the index that routes name.
    links: Arc<[Arc<Link>]>,
    /// How long callers may keep a list: the shortest resync interval of any upstream.
    pub ttl: Duration,
    /// The metrics, the same in every snapshot.
    pub metrics: Arc<Metrics>,
    /// The compiled schemas of tools, the same in every snapshot.
    pub schemas: Arc<Schemas>,
    /// Somebody else's code in the way of requests and answers.
    pub hooks: Arc<Hooks>,
    /// The policies that decide what callers may do; `None` permits everything.
    pub policies: Option<Arc<Policies>>,
    /// The limits of what callers may ask for; `None` if there are none.
    pub limits: Option<Arc<RateLimits>>,
    /// The rates that replicas count together, the same in every snapshot; `None` without replicas.
    pub shared_rates: Option<Arc<SharedRates>>,
    /// The rules for the data of requests; `None` if all of it passes.
    pub guard: Option<Arc<Guard>>,
    /// Pages of earlier catalogs that have more than one, newest last.
    earlier: Vec<EarlierPages>,
}

/// The pages of a catalog that another one has replaced.
#[derive(Clone, Debug)]
struct EarlierPages {
    generation: u64,
    pages: Arc<Pages>,
    /// The views of the classes of callers that listed it.
    views: Arc<[Arc<ClassView>]>,
    /// When they were replaced.
    at: Instant,
    /// The bytes that the catalog after it has not, and those of the views.
    bytes: usize,
}

impl Snapshot {
    /// Makes the snapshot before anything was listed: generation 0.
    #[must_use]
    pub fn first(
        config: Arc<Config>,
        links: Arc<[Arc<Link>]>,
        catalog: Arc<Catalog>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            generation: 0,
            policies: slice_policies(None, &config, &catalog),
            limits: RateLimits::of(None, &config, &metrics),
            shared_rates: None,
            guard: None,
            catalog,
            config,
            links,
            ttl: Duration::ZERO,
            metrics,
            schemas: Arc::default(),
            hooks: Arc::default(),
            earlier: Vec::new(),
        }
    }

    /// Puts other rules for the data of requests in force.
    #[must_use]
    pub fn with_guard(self, guard: Option<Arc<Guard>>) -> Self {
        Self { guard, ..self }
    }

    /// Adds the rates that replicas count together.
    #[must_use]
    pub fn with_shared_rates(self, shared_rates: Option<Arc<SharedRates>>) -> Self {
        Self {
            shared_rates,
            ..self
        }
    }

    /// Adds the hooks.
    #[must_use]
    pub fn with_hooks(self, hooks: Arc<Hooks>) -> Self {
        Self { hooks, ..self }
    }

    /// Returns the link that a permitted request is sent over; `None` for a permit of another
    /// snapshot. On behalf of a caller there is no other way to a link.
    #[must_use]
    pub fn link(&self, permit: &Permit) -> Option<&Arc<Link>> {
        let link = self.links.get(permit.upstream().get());
        link.filter(|_| permit.generation() == self.generation)
    }

    /// Returns all links, in the order of the config: for keepers and operators. Nothing may be
    /// sent over one of them on behalf of a caller.
    #[must_use]
    pub fn links(&self) -> &Arc<[Arc<Link>]> {
        &self.links
    }

    /// Returns the link with this number, if this config still has it: for keepers.
    #[must_use]
    pub fn link_with_id(&self, link_id: u64) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.link_id == link_id)
    }

    /// Makes the snapshot after this one, with another config.
    #[must_use]
    pub fn under(
        &self,
        config: Arc<Config>,
        links: Arc<[Arc<Link>]>,
        catalog: Arc<Catalog>,
        ttl: Duration,
        now: Instant,
    ) -> Self {
        let policies = slice_policies(self.policies.as_deref(), &config, &catalog);
        let limits = RateLimits::of(self.limits.as_deref(), &config, &self.metrics);
        let mut next = self.after(catalog, ttl, now);
        let rules = |policies: &Option<Arc<Policies>>| {
            policies
                .as_ref()
                .map(|policies| Arc::clone(policies.rules()))
        };
        let same = match (rules(&self.policies), rules(&policies)) {
            (Some(before), Some(now)) => Arc::ptr_eq(&before, &now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            // They may have what the new policies hide.
            for earlier in &mut next.earlier {
                earlier.views = Arc::default();
            }
        }
        Self {
            limits,
            config,
            links,
            policies,
            ..next
        }
    }

    /// Makes the same snapshot with a config that means the same, but has other positions in its
    /// files.
    #[must_use]
    pub fn relocated(&self, config: Arc<Config>) -> Self {
        Self {
            config,
            ..self.clone()
        }
    }

    /// Makes the snapshot after this one, at `now`.
    #[must_use]
    pub fn next(&self, catalog: Arc<Catalog>, ttl: Duration, now: Instant) -> Self {
        let policies = slice_policies(self.policies.as_deref(), &self.config, &catalog);
        Self {
            policies,
            ..self.after(catalog, ttl, now)
        }
    }

    /// Makes the next snapshot with the policies of this one.
    fn after(&self, catalog: Arc<Catalog>, ttl: Duration, now: Instant) -> Self {
        let mut earlier = self.earlier.clone();
        let pages = self.catalog.pages();
        if pages.is_paged() {
            let policies = self.policies.as_ref();
            let mut views = policies.map_or_else(Vec::new, |policies| policies.kept_views());
            views.retain(|view| view.lists().is_some_and(CutCatalog::is_paged));
            let of_views: usize = views.iter().map(|view| view.bytes()).sum();
            earlier.push(EarlierPages {
                generation: self.generation,
                pages: Arc::clone(pages),
                at: now,
                bytes: pages.bytes_beyond(catalog.pages()) + of_views,
                views: views.into(),
            });
        }
        forget_old(&mut earlier, now);
        Self {
            generation: self.generation + 1,
            catalog,
            config: Arc::clone(&self.config),
            links: Arc::clone(&self.links),
            ttl,
            metrics: Arc::clone(&self.metrics),
            schemas: Arc::clone(&self.schemas),
            hooks: Arc::clone(&self.hooks),
            policies: self.policies.clone(),
            limits: self.limits.clone(),
            shared_rates: self.shared_rates.clone(),
            guard: self.guard.clone(),
            earlier,
        }
    }

    /// Returns what callers of a view saw of an earlier catalog, by the digest of its lists, if it is
    /// still kept.
    #[must_use]
    pub fn earlier_view(&self, view: &ClassView, digest: [u8; 8]) -> Option<&Arc<ClassView>> {
        let views = self
            .earlier
            .iter()
            .rev()
            .flat_map(|earlier| earlier.views.iter());
        let mut views = views.filter(|earlier| earlier.is_of(view));
        views.find(|earlier| {
            let lists = earlier.lists();
            lists.is_some_and(|lists| lists.digest().prefix() == digest)
        })
    }

    /// Makes what the callers see that listed something of the snapshot before this one, so that none
    /// of them waits for it: of 128 classes at most, for 200 ms at most.
    pub fn prewarm(&self, before: &Self) {
        let (Some(policies), Some(former)) = (&self.policies, &before.policies) else {
            return;
        };
        let begin = Instant::now();
        for view in former.kept_views().iter().take(PREWARMED) {
            let (caller, era) = view.example();
            if let Some(view) = policies.view(caller, era) {
                let _lists = policies.lists(&view, &self.catalog);
            }
            if begin.elapsed() > PREWARM_TIME {
                break;
            }
        }
    }

    /// Returns when the oldest pages of earlier catalogs are too old.
    #[must_use]
    pub fn next_earlier_expiry(&self) -> Option<Instant> {
        self.earlier.first().map(|oldest| oldest.at + EARLIER_AGE)
    }

    /// Makes the same snapshot without pages that are too old at `now`; `None` if it has none.
    #[must_use]
    pub fn without_old_pages(&self, now: Instant) -> Option<Self> {
        let mut earlier = self.earlier.clone();
        forget_old(&mut earlier, now);
        (earlier.len() < self.earlier.len()).then(|| Self {
            earlier,
            ..self.clone()
        })
    }

    /// Returns the pages of this generation, or of an earlier one if they are still kept.
    #[must_use]
    pub fn pages_of(&self, generation: u64) -> Option<&Pages> {
        if generation == self.generation {
            return Some(self.catalog.pages());
        }
        let mut earlier = self.earlier.iter().rev();
        earlier
            .find(|earlier| earlier.generation == generation)
            .map(|earlier| earlier.pages.as_ref())
    }
}

/// Slices the policies of a config for a catalog. Those that are the same as `before` are not taken
/// apart again, and what is known of callers' classes stays.
fn slice_policies(
    before: Option<&Policies>,
    config: &Config,
    catalog: &Catalog,
) -> Option<Arc<Policies>> {
    let before = before
        .map(Policies::rules)
        .filter(|rules| rules.is_of(config));
    let rules = before.cloned().or_else(|| PolicyRules::of(config))?;
    let policies = Policies::new(rules, &config.upstreams, catalog, config.memory);
    Some(Arc::new(policies))
}

/// Forgets the oldest pages: those of too many catalogs, of too many bytes, of too long ago.
fn forget_old(earlier: &mut Vec<EarlierPages>, now: Instant) {
    let (mut bytes, mut kept) = (0, 0);
    for pages in earlier.iter().rev() {
        bytes += pages.bytes;
        let is_young = now.saturating_duration_since(pages.at) < EARLIER_AGE;
        let fits = kept == 0 || bytes <= EARLIER_BYTES;
        if !(is_young && fits && kept < EARLIER) {
            break;
        }
        kept += 1;
    }
    earlier.drain(..earlier.len() - kept);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog::{Kind, Listing, Part, Prepared};
    use crate::config;
    use crate::name::UpstreamIndex;
    use crate::protocol::era::Era;

    const TTL: Duration = Duration::from_secs(5);

    fn config() -> Arc<Config> {
        let yaml = "version: 1\nupstreams:\n  ann: { url: http://127.0.0.1:1/mcp }\n";
        Arc::new(config::parse(yaml, Path::new("weir.yaml"), &|_| None).unwrap())
    }

    /// Makes a catalog with this number of tools, in pages of two.
    fn catalog_of(config: &Config, tools: usize) -> Arc<Catalog> {
        let mut listing = Listing::of(Era::Modern);
        for tool in 0..tools {
            let raw = format!("{{\"name\":\"t{tool}\",\"inputSchema\":{{}}}}");
            listing.add(Kind::Tools, &raw);
        }
        let (upstream, ann) = config.upstreams.first().unwrap();
        let prepared = Prepared::new(ann.as_ref(), &config.naming, &listing.finish());
        let part = Part {
            upstream: upstream.clone(),
            upstream_index: UpstreamIndex::new(0),
            prepared: Arc::new(prepared),
        };
        Arc::new(Catalog::merge(&config.naming, 2, &[part]))
    }

    fn first(tools: usize) -> Snapshot {
        let config = config();
        let catalog = catalog_of(&config, tools);
        Snapshot::first(config, Arc::from([]), catalog, Metrics::new())
    }

    /// Makes the last of several snapshots: generation `n` has `sizes[n]` tools.
    fn after(sizes: &[usize]) -> Snapshot {
        let (size, rest) = sizes.split_first().unwrap();
        rest.iter().fold(first(*size), |snapshot, size| {
            snapshot.next(catalog_of(&snapshot.config, *size), TTL, Instant::now())
        })
    }

    fn tools_of(snapshot: &Snapshot, generation: u64) -> Option<usize> {
        let pages = snapshot.pages_of(generation)?;
        let pages = (0..).map_while(|at| pages.page(Kind::Tools, Era::Modern, at));
        Some(pages.map(|page| page.items).sum())
    }

    #[test]
    fn a_snapshot_counts_on_from_the_one_before() {
        let snapshot = after(&[0, 1, 2]);
        assert_eq!((snapshot.generation, snapshot.ttl), (2, TTL));
        assert_eq!(snapshot.catalog.len(Kind::Tools), 2);
        assert_eq!(tools_of(&snapshot, 2), Some(2));
        assert_eq!(tools_of(&snapshot, 3), None);
    }

    #[test]
    fn a_cursor_finds_the_catalog_of_its_generation() {
        let snapshot = after(&[0, 3, 4, 5]);
        let found = [1, 2, 3].map(|generation| tools_of(&snapshot, generation));
        assert_eq!(found, [Some(3), Some(4), Some(5)]);
    }

    #[test]
    fn a_catalog_of_one_page_has_no_cursors_and_is_not_kept() {
        let snapshot = after(&[0, 2, 3, 1, 5]);
        let found = [0, 1, 2, 3, 4].map(|generation| tools_of(&snapshot, generation));
        assert_eq!(found, [None, None, Some(3), None, Some(5)]);
    }

    #[test]
    fn what_is_kept_of_an_earlier_catalog_is_its_pages() {
        let snapshot = first(3);
        let (catalog, pages) = (
            Arc::downgrade(&snapshot.catalog),
            Arc::downgrade(snapshot.catalog.pages()),
        );
        let next = snapshot.next(catalog_of(&snapshot.config, 4), TTL, Instant::now());
        drop(snapshot);
        assert!(
            catalog.upgrade().is_none(),
            "its names and its parts are gone"
        );
        assert!(pages.upgrade().is_some());
        assert_eq!(tools_of(&next, 0), Some(3));
    }

    #[test]
    fn the_oldest_catalogs_go_first_when_there_are_too_many() {
        let sizes: Vec<usize> = (3..3 + EARLIER + 10).collect();
        let snapshot = after(&sizes);
        let kept: Vec<u64> = (0..=snapshot.generation)
            .filter(|generation| snapshot.pages_of(*generation).is_some())
            .collect();
        let newest = snapshot.generation;
        let expected: Vec<u64> = (newest - EARLIER as u64..=newest).collect();
        assert_eq!(kept, expected);
        assert_eq!(snapshot.earlier.len(), EARLIER);
        for generation in kept {
            let index = usize::try_from(generation).unwrap();
            assert_eq!(tools_of(&snapshot, generation), Some(sizes[index]));
        }
    }

    /// Makes a catalog of three tools, in pages of two, of which one has a long description.
    fn heavy(config: &Config, number: usize, bytes: usize) -> Arc<Catalog> {
        let mut listing = Listing::of(Era::Modern);
        let text = "x".repeat(bytes);
        for (tool, text) in [("a", ""), ("b", text.as_str()), ("c", "")] {
            let raw = format!(
                "{{\"name\":\"{tool}\",\"description\":\"{number} {text}\",\"inputSchema\":{{}}}}"
            );
            listing.add(Kind::Tools, &raw);
        }
        let (upstream, ann) = config.upstreams.first().unwrap();
        let prepared = Prepared::new(ann.as_ref(), &config.naming, &listing.finish());
        let part = Part {
            upstream: upstream.clone(),
            upstream_index: UpstreamIndex::new(0),
            prepared: Arc::new(prepared),
        };
        Arc::new(Catalog::merge(&config.naming, 2, &[part]))
    }

    #[test]
    fn earlier_catalogs_are_bounded_by_bytes_but_the_last_one_stays() {
        let (large, now) = (900 * 1024, Instant::now());
        let mut snapshot = first(3);
        for number in 0..80 {
            snapshot = snapshot.next(heavy(&snapshot.config, number, large), TTL, now);
        }
        let kept = snapshot.earlier.len();
        assert!((30..=EARLIER_BYTES / large).contains(&kept), "{kept}");
        let mut earlier = snapshot.earlier;
        for pages in &mut earlier {
            pages.bytes = EARLIER_BYTES + 1;
        }
        forget_old(&mut earlier, now);
        assert_eq!(earlier.len(), 1);
    }

    #[test]
    fn bytes_that_the_next_catalog_has_too_weigh_nothing() {
        let snapshot = first(3);
        let same = Arc::clone(&snapshot.catalog);
        let next = snapshot.next(same, TTL, Instant::now());
        assert_eq!(next.earlier.first().unwrap().bytes, 0);
        let next = next.next(catalog_of(&next.config, 4), TTL, Instant::now());
        assert!(next.earlier.last().unwrap().bytes > 100);
    }

    #[test]
    fn earlier_catalogs_are_forgotten_after_a_while() {
        let snapshot = after(&[3, 4, 5]);
        let begin = snapshot.earlier.first().unwrap().at;
        assert_eq!(snapshot.next_earlier_expiry(), Some(begin + EARLIER_AGE));
        assert!(snapshot.without_old_pages(begin).is_none());
        let later = begin + EARLIER_AGE + Duration::from_secs(60);
        let without = snapshot.without_old_pages(later).unwrap();
        assert_eq!(without.earlier.len(), 0);
        assert_eq!(without.generation, snapshot.generation);
        assert_eq!(without.next_earlier_expiry(), None);
    }
}
