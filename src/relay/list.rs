//! Lists of tools, prompts, resources and templates. The pages were rendered when the snapshot was
//! made; no upstream is asked.

use bytes::Bytes;

use crate::catalog::{Cursor, Kind};
use crate::json;
use crate::live::View;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::meta;
use crate::relay::back::ReplySource;
use crate::relay::{Payload, Scope};

/// Answers with one page. A cursor names the generation of its pages, so a caller that pages while
/// the catalog changes misses no item and gets none twice.
///
/// # Errors
/// [`Fault::Cursor`] for a cursor that weir did not make, or whose pages are not kept any more.
pub(super) fn list(
    scope: &Scope<'_>,
    kind: Kind,
    request: &Request<'_>,
) -> Result<ReplySource, Fault> {
    let view = scope.view();
    let (generation, at) = match cursor_of(request)? {
        None => (view.generation(), 0),
        Some(text) => {
            let cursor = Cursor::decode(&text).map_err(|_| Fault::Cursor)?;
            let pages = view.pages_of(cursor.generation).ok_or(Fault::Cursor)?;
            // The digest tells whether the cursor is for these pages: after a restart, or at
            // another replica, the same generation can be another catalog.
            let made_here = Cursor::new(
                kind,
                scope.era(),
                cursor.generation,
                pages.digest(),
                cursor.page,
            );
            if cursor != made_here {
                return Err(Fault::Cursor);
            }
            (cursor.generation, cursor.page)
        }
    };
    let pages = view.pages_of(generation).ok_or(Fault::Cursor)?;
    let page = pages.page(kind, scope.era(), at).ok_or(Fault::Cursor)?;
    let next = page
        .next
        .map(|next| Cursor::new(kind, scope.era(), generation, pages.digest(), next).encode());

    let mut head = Vec::with_capacity(96);
    message::begin_result(&request.id, &mut head);
    head.extend_from_slice(match scope.era() {
        Era::Legacy => b"{\"".as_slice(),
        Era::Modern => b"{\"resultType\":\"complete\",\"".as_slice(),
    });
    head.extend_from_slice(kind.member().as_bytes());
    head.extend_from_slice(b"\":[");
    let mut chunks = vec![Bytes::from(head)];
    chunks.extend(page.chunks.iter().cloned());
    chunks.push(tail(scope.era(), next, view).into());
    Ok(ReplySource::Result(Payload::ok(chunks)))
}

/// Returns the end of a page, after the last item.
fn tail(era: Era, next: Option<String>, view: View<'_>) -> String {
    let mut tail = "]".to_owned();
    if let Some(next) = next {
        tail.push_str(&format!(",\"nextCursor\":\"{next}\""));
    }
    if era == Era::Modern {
        let (ttl, key, weir) = (
            view.ttl().as_millis(),
            meta::SERVER_INFO,
            view.server_info(),
        );
        tail.push_str(&format!(
            ",\"ttlMs\":{ttl},\"cacheScope\":\"private\",\"_meta\":{{\"{key}\":{weir}}}"
        ));
    }
    tail.push_str("}}");
    tail
}

/// Returns the cursor of a request, if it has one.
fn cursor_of(request: &Request<'_>) -> Result<Option<String>, Fault> {
    match request.params.value("cursor") {
        None => Ok(None),
        Some(text) => {
            let text = json::string(text).ok_or(Fault::Cursor)?;
            Ok(Some(text.into_owned()))
        }
    }
}
