//! Takes what another replica listed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crate::catalog::Listing;
use crate::live::shared_listings::head::{ListingHead, NotTaken};
use crate::live::shared_listings::{
    LEAD, MOST_BYTES, PIECE, SeenListing, SharedListings, is_whole,
};
use crate::live::store;
use crate::protocol::era::Era;
use crate::upstream::Link;

/// The bytes that are read of what is said of a listing.
const HEAD: usize = 2048;
/// The most pieces of a listing: there is a line before its definitions, and one end of line after each.
const PIECES: usize = 2 * MOST_BYTES / PIECE;
/// The bytes of a piece when it is sealed, at most.
const SEALED: usize = 2 * PIECE;

/// Reads a piece, unless it is larger than pieces are.
const READ: &str = "if redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then return false end \
    return redis.call('HGET', KEYS[1], ARGV[1])";

impl SharedListings {
    /// Returns the listing of the replica that leads; `None` if this one is to list the upstream: it
    /// leads, or there is nothing to be taken. `era` is that of the upstream's answers to this replica.
    pub async fn take(&self, link: &Link, era: Era) -> Option<Arc<Listing>> {
        if !self.store.is_up() {
            self.set_lead(link.link_id, false);
            return None;
        }
        let place = self.with(link.link_id, |shared| shared.place.clone())?;
        let claimed = self.store.claim_leads(&[&place], LEAD).await;
        let leads = matches!(claimed.as_deref(), Ok([true]));
        self.set_lead(link.link_id, leads);
        if leads || claimed.is_err() {
            return None;
        }
        match self.read(link, &place, era).await {
            Ok(taken) => {
                let figures = &self.store.listings;
                figures.taken.fetch_add(1, Ordering::Relaxed);
                self.with(link.link_id, |shared| shared.is_told = false);
                Some(taken)
            }
            Err(reason) => {
                self.note_not_taken(link, &reason);
                None
            }
        }
    }

    fn note_not_taken(&self, link: &Link, reason: &NotTaken) {
        let NotTaken::Refused(reason) = reason else {
            tracing::debug!(upstream = %link.id(), %reason, "no listing of another replica is taken");
            return;
        };
        let figures = &self.store.listings;
        figures.refused.fetch_add(1, Ordering::Relaxed);
        let is_told = self.with(link.link_id, |shared| {
            std::mem::replace(&mut shared.is_told, true)
        });
        if is_told == Some(false) {
            tracing::warn!(
                upstream = %link.id(), reason,
                "its listing in the store of the replicas is refused: it is listed here"
            );
        }
    }

    async fn read(&self, link: &Link, place: &str, era: Era) -> Result<Arc<Listing>, NotTaken> {
        let head = self.read_head(place).await?;
        let seen = self.with(link.link_id, |shared| shared.seen.clone());
        let seen = seen.flatten().map(|seen| seen.at);
        head.check(seen, SystemTime::now())?;
        let held = link.rounds.listing();
        let is_it = |held: &Arc<Listing>| {
            held.digest().to_string() == head.digest && held.era() == era && is_whole(held)
        };
        let listing = match held.clone().filter(is_it) {
            Some(listing) => listing,
            None if seen == Some(head.at) => return Err(NotTaken::Outdated),
            None => self.read_listing(link, place, &head, held).await?,
        };
        if listing.era() != era {
            return Err(NotTaken::Era);
        }
        let ListingHead {
            at, digest, pieces, ..
        } = head;
        self.with(link.link_id, |shared| {
            shared.seen = Some(SeenListing { at, digest, pieces });
        });
        Ok(listing)
    }

    /// Reads what is said of the listing in a place.
    pub(super) async fn read_head(&self, place: &str) -> Result<ListingHead, NotTaken> {
        let key = self.head_key(place);
        let mut command = redis::cmd("GETRANGE");
        command.arg(&key).arg(0).arg(HEAD - 1);
        let sealed: String = self.store.ask(&command).await?;
        if sealed.is_empty() {
            return Err(NotTaken::Absent);
        }
        let opened = self.store.unseal(&key, &sealed);
        let head = opened.and_then(|text| serde_json::from_slice(&text).ok());
        head.ok_or(NotTaken::Refused("no replica has sealed it"))
    }

    async fn read_listing(
        &self,
        link: &Link,
        place: &str,
        head: &ListingHead,
        earlier: Option<Arc<Listing>>,
    ) -> Result<Arc<Listing>, NotTaken> {
        const DAMAGED: NotTaken = NotTaken::Refused("it is damaged");
        let pieces = head.pieces.min(PIECES);
        let room = link.memory.reserve(2 * pieces * PIECE);
        let _room = room.map_err(|_| NotTaken::Memory)?;
        let key = self.body_key(place, &head.digest);
        let mut text = Vec::new();
        for number in 0..pieces {
            let mut command = redis::cmd("EVAL");
            command.arg(READ).arg(1).arg(&key).arg(number).arg(SEALED);
            let sealed: Option<String> = self.store.ask(&command).await?;
            let opened = sealed.and_then(|sealed| {
                let place = format!("{key}:{number}");
                self.store.unseal(&place, &sealed)
            });
            text.extend_from_slice(&opened.ok_or(DAMAGED)?);
        }
        let text = String::from_utf8(text).map_err(|_| DAMAGED)?;
        let (config, ttl) = (Arc::clone(&link.config), head.ttl);
        let parsing = tokio::task::spawn_blocking(move || {
            let mut builder = store::parse(&text, &config, earlier)?;
            if let Some(ttl) = ttl {
                builder.fresh_for(Duration::from_millis(ttl));
            }
            Ok::<_, store::ListingStoreError>(builder.finish())
        });
        let Ok(Ok(listing)) = parsing.await else {
            return Err(DAMAGED);
        };
        match listing.digest().to_string() == head.digest {
            true => Ok(Arc::new(listing)),
            false => Err(DAMAGED),
        }
    }
}
