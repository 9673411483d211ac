//! Warnings of `weir check` and `weir plan` about names behind a gateway in front.

use crate::catalog::{Catalog, Kind};
use crate::config::FrontGateway;

/// Most names that are shown.
const SHOWN: usize = 5;

/// Returns a warning if tools have names that become too long for models, where the gateway in front
/// puts the name of its target before them.
pub(super) fn warn_of_names(front: Option<&FrontGateway>, catalog: &Catalog) -> Option<String> {
    let front = front?;
    let longest = front.longest_name();
    let routes = catalog.routes(Kind::Tools);
    let long = routes.filter(|route| route.exposed.chars().count() > longest);
    let long: Vec<_> = long.map(|route| route.exposed).collect();
    let shown = long.get(..long.len().min(SHOWN))?;
    let more = if long.len() > SHOWN { ", …" } else { "" };
    (!long.is_empty()).then(|| {
        format!(
            "with `{}___` before them, {} names are too long for models that take 64 characters ({}{more}): set `naming.max_length` to {longest} or less",
            front.target,
            long.len(),
            shown.join(", "),
        )
    })
}
