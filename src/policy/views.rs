//! Views: the part of a catalog that a class of callers sees, kept within a bound.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::caller::Caller;
use crate::catalog::{Catalog, CutCatalog, Kind, PerKind, Sight};
use crate::lookups::LookupCounts;
use crate::policy::bits::BitSet;
use crate::policy::classes::{CallerClass, ClassKey};
use crate::policy::decision::Decision;
use crate::policy::rules::CLASSES;
use crate::protocol::era::Era;
use crate::recent::Recent;

/// The routes of a kind that a caller sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Visible {
    /// All.
    #[default]
    All,
    /// Those with these places in [`Catalog::routes`].
    Some(Arc<BitSet>),
}

impl Visible {
    /// Returns the routes that a caller sees who sees none.
    pub(super) fn none() -> Self {
        Self::Some(Arc::default())
    }

    /// Returns whether the route at a place is among them.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(places) => places.contains(place),
        }
    }
}

/// The bytes that a view takes besides what is counted.
const OWN_BYTES: usize = 512;

/// The part of a catalog that callers of one class and era see.
pub struct ClassView {
    key: ClassKey,
    era: Era,
    /// The class; `None` for identities that may do nothing.
    pub(super) class: Option<Arc<CallerClass>>,
    /// One of the class, without its token.
    caller: Caller,
    pub(super) visible: OnceLock<PerKind<Visible>>,
    /// The decisions that are the same for every call, by slice.
    pub(super) decisions: Box<[OnceLock<Arc<Decision>>]>,
    cut: OnceLock<CutCatalog>,
}

impl std::fmt::Debug for ClassView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("ClassView");
        debug.field("era", &self.era);
        debug.finish_non_exhaustive()
    }
}

impl ClassView {
    /// Returns whether it is that of a class and era.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (self.key, self.era) == (other.key, other.era)
    }

    /// Returns what is listed, if it was made.
    #[must_use]
    pub fn lists(&self) -> Option<&CutCatalog> {
        self.cut.get()
    }
}

impl ClassView {
    /// Returns a caller of the class, without its token, and its era.
    #[must_use]
    pub fn example(&self) -> (&Caller, Era) {
        (&self.caller, self.era)
    }

    /// Returns the bytes that it takes, besides the definitions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tags = self.caller.identity().tags.iter();
        let tags = tags.map(|(name, text)| OWN_BYTES / 4 + name.len() + text.len());
        let lists = self.lists().map_or(0, CutCatalog::bytes);
        OWN_BYTES + tags.sum::<usize>() + size_of_val(&*self.decisions) + lists
    }
}

/// Before it is known what is visible, nothing is.
impl Sight for ClassView {
    fn hides(&self, kind: Kind) -> bool {
        let visible = self.visible.get();
        visible.is_none_or(|visible| *visible.get(kind) != Visible::All)
    }

    fn sees(&self, kind: Kind, place: usize) -> bool {
        let visible = self.visible.get();
        visible.is_some_and(|visible| visible.get(kind).contains(place))
    }
}

/// The views of the classes that were used last.
pub(super) struct ClassViews {
    most_bytes: usize,
    bytes: AtomicUsize,
    views: Mutex<KeptViews>,
    lookups: Arc<LookupCounts>,
}

type KeptViews = Recent<(ClassKey, Era), Arc<ClassView>>;

impl ClassViews {
    /// Keeps at most this many bytes of lists.
    pub(super) fn new(most_bytes: usize, lookups: &Arc<LookupCounts>) -> Self {
        Self {
            lookups: Arc::clone(lookups),
            most_bytes,
            bytes: AtomicUsize::new(0),
            views: Mutex::new(Recent::new(CLASSES)),
        }
    }

    /// Returns the view of a caller's class. It is made when it is asked for first.
    pub(super) fn get(
        &self,
        caller: &Caller,
        class: Option<&Arc<CallerClass>>,
        era: Era,
        slices: usize,
    ) -> Arc<ClassView> {
        let key = class.map_or(ClassKey::NOBODY, |class| class.key);
        let mut views = self.views.lock();
        let known = views.get(&(key, era));
        self.lookups.count(known.is_some());
        if let Some(view) = known {
            return view;
        }
        let view = Arc::new(ClassView {
            key,
            era,
            class: class.cloned(),
            caller: caller.without_token(),
            visible: OnceLock::new(),
            decisions: (0..slices).map(|_| OnceLock::new()).collect(),
            cut: OnceLock::new(),
        });
        self.make_room(&mut views, view.bytes());
        views.insert((key, era), Arc::clone(&view));
        view
    }

    /// Returns the lists of a view. The first that asks makes them, and others wait for it. All views
    /// are forgotten when they have too many bytes: those in use are made again.
    pub(super) fn lists<'v>(&self, view: &'v ClassView, catalog: &Catalog) -> &'v CutCatalog {
        view.cut.get_or_init(|| {
            let cut = catalog.cut(view.era, view.key.as_bytes(), view);
            self.make_room(&mut self.views.lock(), cut.bytes());
            cut
        })
    }

    /// Counts bytes, and forgets all views if there are too many.
    fn make_room(&self, views: &mut KeptViews, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.most_bytes {
            views.clear();
            self.bytes.store(0, Relaxed);
        }
    }

    /// Returns the views with lists that are kept.
    pub(super) fn kept(&self) -> Vec<Arc<ClassView>> {
        let views = self.views.lock();
        let kept = views.values().filter(|view| view.cut.get().is_some());
        kept.cloned().collect()
    }
}
