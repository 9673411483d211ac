//! Lists one upstream: every page of every kind, within limits.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashSet, HashSetExt as _};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::catalog::{self, Kind, Listing, PerKind};
use crate::json::{self, Object};
use crate::protocol::era::Era;
use crate::protocol::message::read_number;
use crate::protocol::{meta, method};
use crate::telemetry::Span;
use crate::upstream::ask::{ask, ask_within};
use crate::upstream::error::{LinkError, Liveness};
use crate::upstream::health::FailedList;
use crate::upstream::instructions::GivenInstructions;
use crate::upstream::introduction;
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::Peer;
use crate::upstream::probe;
use crate::upstream::spans;

/// The most pages of one kind.
const MOST_PAGES: usize = 1_000;

/// The most bytes of one list, all pages together.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The number of definitions that are checked before the task yields. A large listing takes
/// milliseconds, and calls should not wait for it.
const BEFORE_YIELD: usize = 32;

/// How long weir waits for further lists after one has come, before it takes what there is.
const PATIENCE: Duration = Duration::from_secs(1);

/// The outcome of an attempt to list an upstream.
#[derive(Debug)]
pub struct Listed {
    /// The listing, without the kinds whose list failed.
    pub listing: Arc<Listing>,
    /// The lists that failed.
    pub failed: Vec<FailedList>,
    /// The kinds whose list did not come in time.
    pub hung: PerKind<bool>,
    /// When the upstream wants to be asked again, if it said so with one of them.
    pub retry_after: Option<Duration>,
}

/// The definitions of one kind, as they arrived, and how long they are valid.
#[derive(Debug, Default)]
struct ListedItems {
    items: Vec<String>,
    ttl: Option<Duration>,
}

/// The lists of all kinds, as far as they have ended; `None` for one that has not.
type Lists = PerKind<Option<Result<ListedItems, LinkError>>>;

/// Lists everything that the peer offers: all kinds at once, the pages of a kind one after the
/// other. A list that fails costs no other kind anything. While one keeps weir waiting, what has
/// come is given to `take_part`, at most once. The kinds in `impatient` are given up then, unless
/// others are waited for. Each page is a span below `span`.
///
/// # Errors
/// The connection was lost, or no list is of use: each failed, or passed a limit.
pub async fn list(
    link: &Link,
    peer: &Peer,
    impatient: PerKind<bool>,
    span: Option<&Span>,
    take_part: impl AsyncFnOnce(Listing),
) -> Result<Listed, LinkError> {
    let deadline = link.list_deadline();
    let offered = |kind| is_offered(peer, kind);
    let mut lists = Lists::from_fn(|kind| (!offered(kind)).then(|| Ok(ListedItems::default())));
    let mut waiting: FuturesUnordered<_> = Kind::ALL
        .into_iter()
        .filter(|kind| offered(*kind))
        .map(async |kind| (kind, list_kind(link, peer, kind, deadline, span).await))
        .collect();
    let mut given = std::pin::pin!(current_instructions(link, peer, deadline));
    let mut instructions = None;
    let (mut take_part, mut part_at) = (Some(take_part), None);
    loop {
        tokio::select! {
            next = waiting.next() => match next {
                None => break,
                Some((_, Err(error @ (LinkError::SessionLost | LinkError::ChildClosed(_))))) => {
                    return Err(error);
                }
                Some((kind, outcome)) => {
                    if outcome.is_ok() {
                        part_at = Some(Instant::now() + PATIENCE);
                    }
                    *lists.get_mut(kind) = Some(outcome);
                }
            },
            found = &mut given, if instructions.is_none() => instructions = Some(found),
            () = wait_until(part_at) => {
                part_at = None;
                let is_due = |kind| lists.get(kind).is_some() || *impatient.get(kind);
                if Kind::ALL.into_iter().all(is_due) {
                    break;
                }
                if let Some(take_part) = take_part.take() {
                    let given = instructions.as_deref();
                    take_part(build(link, peer, &lists, given).await).await;
                }
            }
        }
    }
    let instructions = match instructions {
        Some(found) => found,
        None => given.await,
    };
    finish(link, peer, lists, &instructions).await
}

fn is_offered(peer: &Peer, kind: Kind) -> bool {
    match kind {
        Kind::Tools => peer.capabilities.tools,
        Kind::Prompts => peer.capabilities.prompts,
        Kind::Resources | Kind::Templates => peer.capabilities.resources,
        Kind::Instructions => false,
    }
}

/// Puts together what came of an attempt that is over.
async fn finish(
    link: &Link,
    peer: &Peer,
    mut lists: Lists,
    given: &str,
) -> Result<Listed, LinkError> {
    for kind in Kind::ALL {
        lists.get_mut(kind).get_or_insert(Err(LinkError::Timeout));
    }
    let is_some = |kind| is_offered(peer, kind) && matches!(lists.get(kind), Some(Ok(_)));
    let has_some = Kind::ALL.into_iter().any(is_some);
    let failed = |kind| match lists.get_mut(kind) {
        list @ Some(Err(_)) if !has_some => list.take()?.err(),
        _ => None,
    };
    if let Some(error) = Kind::ALL.into_iter().find_map(failed) {
        return Err(error);
    }
    Ok(Listed {
        listing: Arc::new(build(link, peer, &lists, Some(given)).await),
        failed: describe_failed(&lists),
        hung: PerKind::from_fn(|kind| hung(lists.get(kind).as_ref())),
        retry_after: longest_pause(&lists),
    })
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Checks the definitions of all lists that have come, and puts them together. `given` is the
/// server's instructions, if they are known yet.
async fn build(link: &Link, peer: &Peer, lists: &Lists, given: Option<&str>) -> Listing {
    let mut listing = Listing::of(peer.era());
    if let Some(held) = link.rounds.listing() {
        listing = listing.after(held);
    }
    for kind in Kind::ALL {
        let Some(Ok(listed)) = lists.get(kind) else {
            listing.miss(kind);
            continue;
        };
        listed
            .ttl
            .into_iter()
            .for_each(|ttl| listing.fresh_for(ttl));
        for items in listed.items.chunks(BEFORE_YIELD) {
            items.iter().for_each(|item| listing.add(kind, item));
            tokio::task::yield_now().await;
        }
    }
    match given {
        None => listing.miss(Kind::Instructions),
        Some(given) => {
            if let Some(definition) = catalog::instructions::define(given) {
                listing.add(Kind::Instructions, &definition);
            }
        }
    }
    listing.finish()
}

fn describe_failed(lists: &Lists) -> Vec<FailedList> {
    let failed = |kind| match lists.get(kind) {
        Some(Err(error)) => Some(FailedList {
            kind,
            reason: error.full_text(),
        }),
        Some(Ok(_)) | None => None,
    };
    Kind::ALL.into_iter().filter_map(failed).collect()
}

/// Returns whether the list of a kind did not come in time.
fn hung(list: Option<&Result<ListedItems, LinkError>>) -> bool {
    let error = list.and_then(|list| list.as_ref().err());
    error.is_some_and(|error| error.liveness() == Liveness::Stalled)
}

/// Returns the longest time that a list that failed asks to be left alone for.
fn longest_pause(lists: &Lists) -> Option<Duration> {
    let pause = |kind| match lists.get(kind) {
        Some(Err(LinkError::Throttled { retry_after, .. })) => *retry_after,
        _ => None,
    };
    Kind::ALL.into_iter().filter_map(pause).max()
}

/// Lists one kind, page by page.
async fn list_kind(
    link: &Link,
    peer: &Peer,
    kind: Kind,
    deadline: Instant,
    span: Option<&Span>,
) -> Result<ListedItems, LinkError> {
    let mut listed = ListedItems::default();
    let most = link.config.limits.tools;
    let (mut bytes, mut cursor, mut seen) = (0_usize, None::<String>, HashSet::new());
    for _ in 0..MOST_PAGES {
        let page = list_page(link, peer, (kind, cursor.as_deref()), deadline, span);
        let Some(page) = page.await? else {
            return Ok(listed);
        };
        let result =
            Object::parse(&page).map_err(|_| LinkError::Listing("is not a JSON object"))?;
        let items = match result.get(kind.member()) {
            // Go writes a slice without items so.
            Some("null") => Vec::new(),
            items => items
                .and_then(|items| json::array(items).ok())
                .ok_or(LinkError::Listing("has no array of items"))?,
        };
        bytes += page.len();
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
        match next_cursor(peer.era(), &result) {
            None => return Ok(listed),
            Some(next) => {
                if !seen.insert(next.clone().into_owned()) {
                    return Err(LinkError::Listing("repeats a cursor"));
                }
                cursor = Some(next.into_owned());
            }
        }
    }
    Err(LinkError::Listing("has more than 1000 pages"))
}

/// Reads the cursor of the next page. In the modern era the empty string is a cursor like any other
/// (`2026-07-28/server/utilities/pagination.mdx`). Servers of the revisions before write it where
/// there is no next page, which these revisions do not forbid.
fn next_cursor<'r>(era: Era, result: &'r Object<'_>) -> Option<Cow<'r, str>> {
    let cursor = result.string("nextCursor");
    cursor.filter(|cursor| era == Era::Modern || !cursor.is_empty())
}

/// Lists one page and returns its `result`. `None` if the upstream offers the kind but does not
/// know the method.
async fn list_page(
    link: &Link,
    peer: &Peer,
    (kind, cursor): (Kind, Option<&str>),
    deadline: Instant,
    span: Option<&Span>,
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
    let mut span = span.map(|above| link.begin_own_span(above, peer, kind.method()));
    if let Some(span) = &span {
        spans::write_meta(span, &mut own);
    }
    if !own.is_empty() {
        params.set("_meta", own.to_text());
    }
    let request = (kind.method(), params.to_text());
    let answer = ask_within(link, peer, request, deadline, span.as_deref()).await;
    if let Some(span) = &mut span {
        spans::end_page(span, &answer);
    }
    drop(span);
    match answer? {
        Ok(result) => Ok(Some(result)),
        Err(error) => {
            let unknown =
                Object::parse(&error).is_ok_and(|error| error.get("code") == Some("-32601"));
            if unknown && cursor.is_none() {
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
