//! Puts what this replica listed into the store.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::catalog::Listing;
use crate::live::shared_listings::head::{ListingHead, since_1970};
use crate::live::shared_listings::{
    MOST_BYTES, NEW, PIECE, RENEWAL, SeenListing, SharedListings, is_whole,
};
use crate::live::store;
use crate::replicas::{LedValue, NewsTopic, StoreLost, milliseconds};
use crate::upstream::Link;

/// How much longer than until the tick after the next one a listing counts: it takes its time.
const SLACK: Duration = Duration::from_secs(2);
/// How much longer than what is said of them the pieces of a listing stay, for who reads them.
const REST: Duration = Duration::from_secs(60);

/// A listing to be published.
struct DueListing {
    link: Arc<Link>,
    place: String,
    listing: Arc<Listing>,
    seen: Option<SeenListing>,
}

impl SharedListings {
    /// Publishes the listings that are due.
    pub(super) async fn publish_due(&self) {
        let due: Vec<_> = {
            let mut upstreams = self.upstreams.lock();
            let due = upstreams.values_mut().filter_map(|shared| {
                let listing = shared.due.take().filter(|_| shared.leads)?;
                Some(DueListing {
                    link: shared.link.upgrade()?,
                    place: shared.place.clone(),
                    listing,
                    seen: shared.seen.clone(),
                })
            });
            due.collect()
        };
        let mut renewed = Instant::now();
        for due in due {
            if renewed.elapsed() >= RENEWAL {
                self.renew().await;
                renewed = Instant::now();
            }
            let link = due.link.link_id;
            match self.publish(due).await {
                Ok(true) => {}
                Ok(false) => {
                    self.set_lead(link, false);
                }
                // The replica that leads when it is back lists the upstream again.
                Err(StoreLost) => return,
            }
        }
    }

    /// Publishes a listing, if this replica still leads; returns whether it does. One that is not whole
    /// or has definitions that are no good is not published: the others are to see that themselves.
    async fn publish(&self, due: DueListing) -> Result<bool, StoreLost> {
        if !is_whole(&due.listing) || !due.listing.invalid().is_empty() {
            return Ok(true);
        }
        let now = SystemTime::now();
        let life = due.link.config.resync.two_ticks(now) + SLACK;
        let digest = due.listing.digest().to_string();
        let before = due.seen.as_ref().filter(|seen| seen.digest == digest);
        let pieces = match before {
            Some(seen) if self.keep_pieces(&due, life).await? => seen.pieces,
            Some(_) | None => match self.write_pieces(&due, life).await? {
                Some(pieces) => pieces,
                None => return Ok(true),
            },
        };
        let ttl = due.listing.ttl().map(milliseconds);
        let at = since_1970(now);
        let head = ListingHead {
            at,
            life: milliseconds(life),
            digest: digest.clone(),
            pieces,
            ttl,
        };
        let key = self.head_key(&due.place);
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let Ok(sealed) = self.store.seal(&key, &head) else {
            return Ok(true);
        };
        let led = LedValue {
            lead: &due.place,
            key: &key,
            value: &sealed,
            life,
        };
        if !self.store.write_led(led).await? {
            return Ok(false);
        }
        if before.is_none() {
            let text = format!("{NEW} {}", due.place);
            self.store.tell(NewsTopic::Listings, &text);
        }
        self.with(due.link.link_id, |shared| {
            shared.seen = Some(SeenListing { at, digest, pieces });
        });
        Ok(true)
    }

    /// Has the pieces of a listing stay. Returns whether the store has them.
    async fn keep_pieces(&self, due: &DueListing, life: Duration) -> Result<bool, StoreLost> {
        let mut command = redis::cmd("PEXPIRE");
        command.arg(self.body_key(&due.place, &due.listing.digest().to_string()));
        command.arg(milliseconds(life + REST));
        Ok(self.store.ask::<u8>(&command).await? == 1)
    }

    /// Writes the pieces of a listing, and returns their number; `None` if it is too large.
    async fn write_pieces(
        &self,
        due: &DueListing,
        life: Duration,
    ) -> Result<Option<usize>, StoreLost> {
        let (config, listing) = (Arc::clone(&due.link.config), Arc::clone(&due.listing));
        if listing.bytes() > MOST_BYTES {
            self.tell_large(due);
            return Ok(None);
        }
        let written = tokio::task::spawn_blocking(move || store::write(&config, &listing));
        let Ok(Ok(text)) = written.await else {
            return Ok(None);
        };
        let key = self.body_key(&due.place, &due.listing.digest().to_string());
        let mut count = 0;
        for (number, piece) in text.as_bytes().chunks(PIECE).enumerate() {
            let Ok(sealed) = self.store.seal(&format!("{key}:{number}"), piece) else {
                return Ok(None);
            };
            let mut commands = redis::pipe();
            commands.cmd("HSET").arg(&key).arg(number).arg(sealed);
            let life = milliseconds(life + REST);
            commands.cmd("PEXPIRE").arg(&key).arg(life);
            self.store.ask_all(&commands).await?;
            count = number + 1;
        }
        Ok(Some(count))
    }

    fn tell_large(&self, due: &DueListing) {
        let is_told = self.with(due.link.link_id, |shared| {
            std::mem::replace(&mut shared.is_told, true)
        });
        if is_told == Some(false) {
            tracing::warn!(
                upstream = %due.link.id(),
                bytes = due.listing.bytes(),
                "its listing is too large for replicas to share it: each lists it"
            );
        }
    }
}
