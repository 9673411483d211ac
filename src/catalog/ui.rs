//! Resources that tools are shown with (`_meta.ui.resourceUri`, MCP Apps).

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::names::ItemId;
use crate::name::UpstreamIndex;

/// The URIs of resources that tools are shown with.
#[derive(Debug, Default)]
pub(super) struct UiResources {
    /// Resources that a tool is shown with but no upstream lists: by exposed URI, their upstream
    /// and their original URI.
    pub(super) resources: HashMap<Arc<str>, (UpstreamIndex, Arc<str>)>,
    /// Tools whose resource is exposed under another URI, with that URI.
    pub(super) moved: BTreeMap<ItemId, Arc<str>>,
}

impl UiResources {
    /// Iterates over the tools of an upstream whose resource is exposed under another URI.
    pub(super) fn moved_of(&self, index: UpstreamIndex) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let of_upstream = self.moved.range((index, 0)..=(index, u32::MAX));
        of_upstream.map(|((_, item), uri)| (*item, uri))
    }
}
