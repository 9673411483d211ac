//! Resources that upstreams named in results, so that they can be read though no list has them.
//!
//! A `resource_link` or an embedded resource "may not be listed" (`server/tools.mdx`). Where several
//! upstreams have resources, nothing but the result says whose it is.

use std::sync::LazyLock;
use std::time::Duration;

use indexmap::IndexMap;
use memchr::memmem::Finder;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::json::{self, Object};
use crate::memory::{MemoryShare, Reservation};
use crate::name::UpstreamId;
use crate::protocol::bounds::URI_BYTES;

/// Finds the beginning of both types of content. Made once: that takes longer than a search.
static RESOURCE_TYPES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"resource"));

/// How long a URI is remembered after it was last named.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The most URIs that are remembered; for one more, the oldest is forgotten.
const URIS: usize = 512;
/// The most bytes of URIs that are remembered.
const BYTES: usize = 128 * 1024;
/// The bytes that a URI takes besides its own.
const EACH: usize = 128;
/// The most items of one result that are looked at.
const ITEMS: usize = 256;

/// The URIs that one caller found in results, with the upstream that named each.
#[derive(Debug, Default)]
pub struct NamedResources {
    inner: Mutex<Inner>,
}

/// The oldest URI comes first.
#[derive(Debug, Default)]
struct Inner {
    /// The part of `limits.memory` that the URIs take; `None` for those that all callers share.
    kept: Option<Reservation>,
    uris: IndexMap<Box<str>, (UpstreamId, Instant), foldhash::fast::RandomState>,
    bytes: usize,
}

impl NamedResources {
    /// Makes room for the URIs of one session, which `memory` pays for.
    #[must_use]
    pub fn of_session(memory: &MemoryShare) -> Self {
        Self {
            inner: Mutex::new(Inner {
                kept: Some(memory.count(0)),
                ..Inner::default()
            }),
        }
    }

    /// Remembers the resources that a result of an upstream names: `result` is JSON text, of a tool
    /// or a prompt.
    pub fn note(&self, result: &str, upstream: &UpstreamId, now: Instant) {
        // Both types of content begin so. Most results have neither, and are not parsed.
        if RESOURCE_TYPES.find(result.as_bytes()).is_none() {
            return;
        }
        let uris = named(result);
        if uris.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        for uri in uris {
            inner.insert(uri, (upstream.clone(), now));
        }
        inner.count();
    }

    /// Returns the upstream that named a URI last.
    #[must_use]
    pub fn find(&self, uri: &str, now: Instant) -> Option<UpstreamId> {
        let inner = self.inner.lock();
        let (upstream, at) = inner.uris.get(uri)?;
        (now.saturating_duration_since(*at) < LIFETIME).then(|| upstream.clone())
    }
}

impl Inner {
    /// Counts the URIs. Without memory for them, they are forgotten.
    fn count(&mut self) {
        let bytes = self.bytes + self.uris.len() * EACH;
        let Some(kept) = &mut self.kept else {
            return;
        };
        if kept.resize(bytes).is_err() {
            self.uris.clear();
            self.bytes = 0;
            // Never fails: it becomes less.
            let _ = kept.resize(0);
        }
    }

    fn insert(&mut self, uri: Box<str>, named: (UpstreamId, Instant)) {
        if self.uris.shift_remove(&*uri).is_some() {
            self.bytes -= uri.len();
        }
        self.bytes += uri.len();
        self.uris.insert(uri, named);
        while self.uris.len() > URIS || self.bytes > BYTES {
            let Some((oldest, _)) = self.uris.shift_remove_index(0) else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }
}

/// Reads the URIs that a `CallToolResult` or a `GetPromptResult` names.
fn named(result: &str) -> Vec<Box<str>> {
    let Ok(result) = Object::parse(result) else {
        return Vec::new();
    };
    let items = |key| {
        let items = result.get(key).map(|text| json::array_up_to(text, ITEMS));
        items.and_then(Result::ok).unwrap_or_default()
    };
    let content = items("content").into_iter();
    let of_message = |message| Object::parse(message).ok()?.borrowed("content");
    let messages = items("messages").into_iter().filter_map(of_message);
    content.chain(messages).filter_map(uri_of).collect()
}

/// Reads the URI of one item of content, if it is a resource.
fn uri_of(item: &str) -> Option<Box<str>> {
    let item = Object::parse(item).ok()?;
    let uri = match item.string("type")?.as_ref() {
        "resource_link" => item.string("uri")?,
        "resource" => json::string(
            Object::parse(item.borrowed("resource")?)
                .ok()?
                .borrowed("uri")?,
        )?,
        _ => return None,
    };
    (!uri.is_empty() && uri.len() <= URI_BYTES).then(|| uri.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UpstreamId {
        UpstreamId::parse(text).unwrap()
    }

    #[test]
    fn links_and_embedded_resources_of_tools_and_prompts_are_remembered_for_a_while() {
        let memory = NamedResources::default();
        let now = Instant::now();
        let tool = r#"{"content":[{"type":"text","text":"resource"},{"type":"resource_link","uri":"a:1","name":"n"},{"type":"resource","resource":{"uri":"a:2","text":""}},{"type":"resource_link"},7]}"#;
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"a:3"}}}]}"#;
        memory.note(tool, &id("ann"), now);
        memory.note(prompt, &id("bob"), now);
        for broken in [
            "",
            "{",
            r#"{"content":"resource"}"#,
            r#"{"content":{"resource":1}}"#,
        ] {
            memory.note(broken, &id("bob"), now);
        }
        let found = |uri, at| memory.find(uri, at).map(|id| id.as_str().to_owned());
        assert_eq!(found("a:1", now).as_deref(), Some("ann"));
        assert_eq!(found("a:2", now).as_deref(), Some("ann"));
        assert_eq!(found("a:3", now).as_deref(), Some("bob"));
        assert_eq!(found("a:4", now), None);
        assert_eq!(found("a:1", now + LIFETIME), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let memory = NamedResources::default();
        let now = Instant::now();
        let link =
            |uri: &str| format!(r#"{{"content":[{{"type":"resource_link","uri":"{uri}"}}]}}"#);
        for number in 0..=URIS {
            memory.note(&link(&format!("a:{number}")), &id("ann"), now);
        }
        assert_eq!(memory.find("a:0", now), None);
        assert!(memory.find("a:1", now).is_some());
        for number in 0..32 {
            let long = format!("b:{number}{}", "x".repeat(URI_BYTES - 8));
            memory.note(&link(&long), &id("ann"), now);
        }
        let inner = memory.inner.lock();
        assert!(
            inner.bytes <= BYTES && inner.uris.len() < 32,
            "{}",
            inner.bytes
        );
        assert_eq!(
            inner.bytes,
            inner.uris.keys().map(|uri| uri.len()).sum::<usize>()
        );
    }
}
