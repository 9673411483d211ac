//! Lists one upstream: every page of every kind, within limits.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashSet, HashSetExt as _};
use tokio::time::Instant;

use crate::catalog::{self, Kind, Listing};
use crate::json::{self, Object};
use crate::protocol::era::Era;
use crate::protocol::message::read_number;
use crate::protocol::{meta, method};
use crate::upstream::ask::ask;
use crate::upstream::error::LinkError;
use crate::upstream::instructions::GivenInstructions;
use crate::upstream::introduction;
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::Peer;
use crate::upstream::probe;

/// The most pages of one kind.
const MOST_PAGES: usize = 1_000;

/// The most bytes of definitions of one kind.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The number of definitions that are checked before the task yields. A large listing takes
/// milliseconds, and calls should not wait for it.
const BEFORE_YIELD: usize = 32;

/// The definitions of one kind, as they arrived, and how long they are valid.
struct ListedItems {
    items: Vec<String>,
    ttl: Option<Duration>,
}

/// Lists everything that the peer offers: all kinds at once, the pages of a kind one after the
/// other.
///
/// # Errors
/// A page did not come in time, was no listing, or a limit was passed. Nothing of the listing is
/// used then.
pub async fn list(link: &Link, peer: &Peer) -> Result<Listing, LinkError> {
    let deadline = link.list_deadline();
    let offers = &peer.capabilities;
    let given = async { Ok(current_instructions(link, peer, deadline).await) };
    let (tools, prompts, resources, templates, given) = futures::try_join!(
        list_kind(link, peer, Kind::Tools, offers.tools, deadline),
        list_kind(link, peer, Kind::Prompts, offers.prompts, deadline),
        list_kind(link, peer, Kind::Resources, offers.resources, deadline),
        list_kind(link, peer, Kind::Templates, offers.resources, deadline),
        given,
    )?;
    let mut listing = Listing::of(peer.era());
    if let Some(held) = link.rounds.listing() {
        listing = listing.after(held);
    }
    let found = [
        (Kind::Tools, tools),
        (Kind::Prompts, prompts),
        (Kind::Resources, resources),
        (Kind::Templates, templates),
    ];
    for (kind, listed) in found {
        listed
            .ttl
            .into_iter()
            .for_each(|ttl| listing.fresh_for(ttl));
        for items in listed.items.chunks(BEFORE_YIELD) {
            items.iter().for_each(|item| listing.add(kind, item));
            tokio::task::yield_now().await;
        }
    }
    if let Some(definition) = catalog::instructions::define(&given) {
        listing.add(Kind::Instructions, &definition);
    }
    Ok(listing.finish())
}

/// Lists one kind, page by page.
async fn list_kind(
    link: &Link,
    peer: &Peer,
    kind: Kind,
    offered: bool,
    deadline: Instant,
) -> Result<ListedItems, LinkError> {
    let mut listed = ListedItems {
        items: Vec::new(),
        ttl: None,
    };
    if !offered {
        return Ok(listed);
    }
    let most = link.config.limits.tools;
    let (mut bytes, mut cursor, mut seen) = (0_usize, None::<String>, HashSet::new());
    for _ in 0..MOST_PAGES {
        let Some(page) = list_page(link, peer, kind, cursor.as_deref(), deadline).await? else {
            return Ok(listed);
        };
        let result =
            Object::parse(&page).map_err(|_| LinkError::Listing("is not a JSON object"))?;
        let items = result.get(kind.member()).map(json::array);
        let Some(Ok(items)) = items else {
            return Err(LinkError::Listing("has no array of items"));
        };
        bytes += items.iter().map(|item| item.len()).sum::<usize>();
        if listed.items.len() + items.len() > most || bytes > MOST_BYTES {
            return Err(LinkError::Listing(
                "has more items or bytes than `limits.tools` allows",
            ));
        }
        listed.items.extend(items.into_iter().map(str::to_owned));
        if peer.era() == Era::Modern {
            let ttl = result
                .get("ttlMs")
                .and_then(read_number)
                .map_or(Duration::ZERO, Duration::from_millis);
            listed.ttl = Some(listed.ttl.map_or(ttl, |least| least.min(ttl)));
        }
        // The empty string is a cursor like any other (`server/utilities/pagination.mdx`).
        match result.string("nextCursor") {
            None => return Ok(listed),
            Some(next) => {
                bytes += next.len();
                if !seen.insert(next.clone().into_owned()) {
                    return Err(LinkError::Listing("repeats a cursor"));
                }
                cursor = Some(next.into_owned());
            }
        }
    }
    Err(LinkError::Listing("has more than 1000 pages"))
}

/// Lists one page and returns its `result`. `None` if the upstream offers the kind but does not
/// know the method.
async fn list_page(
    link: &Link,
    peer: &Peer,
    kind: Kind,
    cursor: Option<&str>,
    deadline: Instant,
) -> Result<Option<String>, LinkError> {
    let mut params = Object::new();
    if let Some(cursor) = cursor {
        params.set("cursor", json::quote(cursor));
    }
    let modern = (peer.era() == Era::Modern).then(|| probe::request_meta(None, None));
    let mut own = match &modern {
        Some(text) => Object::parse(text).unwrap_or_default(),
        None => Object::new(),
    };
    // Names this weir, so that a chain that leads back to it is refused and its own catalog not
    // listed.
    if let Some(instance) = &link.instance {
        own.set(meta::PATH, instance.alone());
    }
    if !own.is_empty() {
        params.set("_meta", own.to_text());
    }
    match ask(link, peer, kind.method(), params.to_text(), deadline).await? {
        Ok(result) => Ok(Some(result)),
        Err(error) => {
            let unknown =
                Object::parse(&error).is_ok_and(|error| error.get("code") == Some("-32601"));
            if unknown {
                return Ok(None);
            }
            let trouble = link.quirks().platform.read_error(&error);
            let trouble = trouble.and_then(|trouble| match &link.wire {
                Wire::Http(wire) => trouble.to_link_error(wire.sent()),
                Wire::Child(_) => None,
            });
            Err(trouble.unwrap_or_else(|| introduction::refused_error(kind.method(), &error)))
        }
    }
}

/// Returns the instructions of a peer. A modern one is asked again if they are out of date
/// (`DiscoverResult.ttlMs`); if it does not answer, the old ones stay.
///
/// Weirs are not asked again: two that have each other as upstreams would quote each other ever
/// deeper.
async fn current_instructions(link: &Link, peer: &Peer, deadline: Instant) -> Arc<str> {
    let given = &peer.instructions;
    if peer.era() == Era::Modern && !peer.is_weir() && given.is_due() {
        let params = format!("{{\"_meta\":{}}}", probe::request_meta(None, None));
        let answer = Box::pin(ask(link, peer, method::DISCOVER, params, deadline)).await;
        if let Ok(Ok(result)) = answer
            && let Ok(result) = Object::parse(&result)
        {
            given.replace(GivenInstructions::read(&result));
        }
    }
    given.text()
}
