//! Listings, page by page.

use serde_json::value::RawValue;

use super::Reply;
use crate::support::at;
use crate::support::upstream::Kind;

/// A walk through the pages of a list.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) items: Vec<String>,
    seen: usize,
    cursor: Option<String>,
}

impl Pages {
    /// The params that ask for the next page; `None` after the last.
    pub(super) fn next(&mut self) -> Option<String> {
        assert!(self.seen < 1000, "a list without end");
        match (self.seen, &self.cursor) {
            (0, _) => Some("{}".to_owned()),
            (_, Some(cursor)) => Some(format!(r#"{{"cursor":{cursor}}}"#)),
            (_, None) => None,
        }
    }

    pub(super) fn take(&mut self, method: &str, reply: &Reply) {
        let member = Kind::listed_by(method).unwrap().member();
        let result = reply.result();
        let items = at(&result, &[member]).unwrap_or_else(|| panic!("no {member}: {result}"));
        let items: Vec<Box<RawValue>> = serde_json::from_str(&items).unwrap();
        self.items
            .extend(items.iter().map(|raw| raw.get().to_owned()));
        self.cursor = at(&result, &["nextCursor"]);
        self.seen += 1;
    }
}
