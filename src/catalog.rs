//! Listings become routes, routes become the catalog. Pure and synchronous: no IO, no clock.
//!
//! Raw definitions → [`listing::check_definition`] one by one → [`Listing`] of one upstream → [`Prepared`]
//! under its config (names, rules, bytes rendered once) → [`Catalog::merge`] with all the others,
//! which only joins what is prepared. The outcome depends on the order of the config and on what
//! was listed, never on who answered first.

pub mod arguments;
pub mod cursor;
pub mod cut;
pub mod diff;
pub mod digest;
pub mod drift;
pub mod instructions;
pub mod listing;
pub mod named;
pub mod naming;
pub mod origin;
pub mod page;
pub mod pins;
pub mod prepared;
pub mod resources;
pub mod routes;
pub mod rules;

mod annotations;
mod canonical;
mod conflict;
mod cutting;
mod edit;
mod inline;
mod kind;
mod merge;
mod named_resources;
mod names;
mod overlap;
mod part_items;
mod parts;
mod redefinition;
mod render;
mod repetition;
mod reserved;
mod search_texts;
mod stamp;
mod template;
#[cfg(test)]
mod tests;
mod ui;

pub use arguments::{ArgumentRules, ArgumentsError};
pub(crate) use canonical::is_same as means_same;
pub use conflict::Conflict;
pub use cursor::{Cursor, CursorError};
pub use cut::{CutCatalog, Sight};
pub use diff::{Diff, Side, SideEntry};
pub use digest::Digest;
pub(crate) use digest::Hasher;
pub use drift::{DriftReport, DriftedDefinition, RenamedDefinition};
pub use kind::{Kind, PerEra, PerKind};
pub use listing::{Definition, InvalidDefinition, InvalidReason, Listing, ListingBuilder};
pub use named::{NameOrigin, NameStep, RenameCause};
pub use named_resources::NamedResources;
pub use origin::DroppedCounts;
pub use overlap::Overlap;
pub use page::{Page, Pages};
pub use part_items::PartItems;
pub use parts::Part;
pub use pins::Pins;
pub use prepared::{DroppedDefinition, Prepared};
pub use redefinition::{Change, ChangeClass, compare_definitions};
pub use repetition::Repetition;
pub use reserved::{NameOwner, PinnedNames, ReservedNames};
pub use resources::ResourceRoute;
pub use routes::{Catalog, Route};
pub use rules::{ExcludedTool, ExclusionReason, Rules};
pub use stamp::StaleSince;
