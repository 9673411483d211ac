//! A snapshot: catalog, config and links, frozen together.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::config::Config;
use crate::upstream::Link;

/// How many earlier catalogs stay readable, for cursors that name them.
const EARLIER: usize = 64;

/// What one request decides by. Immutable.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its number; each published snapshot has one more than the one before.
    pub generation: u64,
    /// All routes.
    pub catalog: Arc<Catalog>,
    /// What weir runs on.
    pub config: Arc<Config>,
    /// One link per upstream, at the slot that routes name.
    pub links: Arc<[Arc<Link>]>,
    /// For how long a list answer may be taken as fresh: the shortest resync of any upstream.
    pub ttl: Duration,
    /// Earlier catalogs that have more than one page, newest last.
    earlier: Vec<(u64, Arc<Catalog>)>,
}

impl Snapshot {
    /// The snapshot before anything was listed: generation 0.
    #[must_use]
    pub fn first(config: Arc<Config>, links: Arc<[Arc<Link>]>, catalog: Catalog) -> Self {
        Self {
            generation: 0,
            catalog: Arc::new(catalog),
            config,
            links,
            ttl: Duration::ZERO,
            earlier: Vec::new(),
        }
    }

    /// The snapshot after this one.
    #[must_use]
    pub fn next(&self, catalog: Catalog, ttl: Duration) -> Self {
        let mut earlier = self.earlier.clone();
        if self.catalog.is_paged() {
            if earlier.len() == EARLIER {
                earlier.remove(0);
            }
            earlier.push((self.generation, Arc::clone(&self.catalog)));
        }
        Self {
            generation: self.generation + 1,
            catalog: Arc::new(catalog),
            config: Arc::clone(&self.config),
            links: Arc::clone(&self.links),
            ttl,
            earlier,
        }
    }

    /// The catalog of this generation or of an earlier one that is still kept.
    #[must_use]
    pub fn catalog_of(&self, generation: u64) -> Option<&Catalog> {
        if generation == self.generation {
            return Some(&self.catalog);
        }
        self.earlier
            .iter()
            .rev()
            .find(|(number, _)| *number == generation)
            .map(|(_, catalog)| catalog.as_ref())
    }
}
