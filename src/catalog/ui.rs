//! Resources that tools are shown with (`_meta.ui.resourceUri`, MCP Apps).

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::names::ItemId;
use crate::name::UpstreamIndex;

/// What comes of tools that are shown with a resource.
#[derive(Debug, Default)]
pub(super) struct UiResources {
    /// Resources that no upstream lists, but that a tool is shown with: whose they are, and as what.
    pub(super) resources: HashMap<Arc<str>, (UpstreamIndex, Arc<str>)>,
    /// Tools whose resource goes by another URI.
    pub(super) moved: BTreeMap<ItemId, Arc<str>>,
}

impl UiResources {
    /// The tools of an upstream whose resource goes by another URI.
    pub(super) fn moved_of(&self, index: UpstreamIndex) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let of_upstream = self.moved.range((index, 0)..=(index, u32::MAX));
        of_upstream.map(|((_, item), uri)| (*item, uri))
    }
}
