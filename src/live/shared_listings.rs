//! Listings that replicas share, so that an upstream is listed by one of them, however many there are.
//!
//! For each upstream one replica leads, by a lease in the store that it renews. It lists the upstream
//! on schedule, and `publish` puts what it listed into the store. The others `take` that at their own
//! ticks, and as soon as it changed. The place of an upstream in the store is made of its whole config:
//! replicas with different configs never read each other's listings.
//!
//! A replica that finds nothing there that counts lists the upstream itself, and so does each while the
//! store is lost.

mod head;
mod publish;
mod take;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Kind, Listing};
use crate::config;
use crate::live::shared_listings::head::NotTaken;
use crate::live::store;
use crate::replicas::{NewsTopic, SharedStore};
use crate::upstream::Link;

/// How long a lead lasts without being renewed, and how often it is.
const LEAD: Duration = Duration::from_secs(6);
const RENEWAL: Duration = Duration::from_secs(2);
/// Leads that are claimed at once.
const AT_ONCE: usize = 128;
/// The bytes of a listing that is shared. A larger one is not.
const MOST_BYTES: usize = 8 << 20;
/// The bytes of a piece of it: nobody else waits long for an answer on the same connection.
const PIECE: usize = 128 << 10;
/// The part of the places that changes with what is written there.
const FORMAT: &str = "1";

/// The words of news: a listing changed; and one that a replica made itself differs from the last.
const NEW: &str = "new";
const ASK: &str = "ask";

/// Publishes listings in the store, and takes those of other replicas.
#[derive(Debug)]
pub struct SharedListings {
    store: Arc<SharedStore>,
    /// By the number of the link.
    upstreams: Mutex<BTreeMap<u64, SharedListing>>,
    wake: Notify,
}

/// The listing of one upstream, as this replica shares it.
#[derive(Debug)]
struct SharedListing {
    link: Weak<Link>,
    /// Its place in the store.
    place: String,
    /// Whether the last attempt to list it worked: only then this replica may lead.
    is_able: bool,
    /// Whether this replica leads, as far as it knows.
    leads: bool,
    /// The last listing that was published, by this replica or another one, as far as it knows.
    seen: Option<SeenListing>,
    /// A listing to be published.
    due: Option<Arc<Listing>>,
    /// Whether a warning was logged since the last one that was good.
    is_told: bool,
}

/// A listing in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SeenListing {
    /// When it was published, in milliseconds since 1970 by the clock of its replica.
    at: u64,
    digest: String,
    pieces: usize,
}

impl SharedListings {
    /// Makes what shares listings over a store.
    #[must_use]
    pub fn new(store: Arc<SharedStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            upstreams: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Begins to share the listing of an upstream.
    pub fn join(&self, link: &Arc<Link>) {
        let shared = SharedListing {
            link: Arc::downgrade(link),
            place: place(&self.store, &link.config),
            is_able: false,
            leads: false,
            seen: None,
            due: None,
            is_told: false,
        };
        self.upstreams.lock().insert(link.link_id, shared);
    }

    /// Ends that. Another replica may lead at once.
    pub fn leave(&self, link: u64) {
        self.give_up(link);
        self.upstreams.lock().remove(&link);
    }

    /// Notes whether an attempt to list an upstream worked. A replica for which it did not leaves the
    /// lead to others.
    pub fn note_attempt(&self, link: u64, worked: bool) {
        self.with(link, |shared| shared.is_able = worked);
        if !worked {
            self.give_up(link);
        }
    }

    /// Takes note of a listing of this replica that is believed: it is published, if this replica
    /// leads. If another one does and has listed something else, it is told.
    pub fn queue(&self, link: u64, listing: &Arc<Listing>) {
        let asks = self.with(link, |shared| {
            if shared.leads {
                shared.due = Some(Arc::clone(listing));
                return None;
            }
            let seen = shared.seen.as_ref()?;
            let differs = seen.digest != listing.digest().to_string();
            differs.then(|| shared.place.clone())
        });
        match asks {
            Some(Some(place)) => {
                let text = format!("{ASK} {place}");
                self.store.tell(NewsTopic::Listings, &text);
            }
            Some(None) => self.wake.notify_one(),
            None => {}
        }
    }

    /// Renews leads, publishes what is due and heeds the others, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut news = self.store.subscribe();
        let mut renewals = interval(RENEWAL);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = async {
                tokio::select! {
                    () = self.wake.notified() => self.publish_due().await,
                    _ = renewals.tick() => self.renew().await,
                    news = news.recv() => match news {
                        Ok(news) if news.topic == NewsTopic::Listings => self.heed(&news.text).await,
                        Ok(news) if news.topic == NewsTopic::Reached => self.renew().await,
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return false,
                    },
                }
                true
            };
            if stop.run_until_cancelled(step).await != Some(true) {
                return;
            }
        }
    }

    /// Renews the leads of this replica, and takes those that nobody has.
    async fn renew(&self) {
        let able: Vec<_> = {
            let upstreams = self.upstreams.lock();
            let able = upstreams.iter().filter(|(_, shared)| shared.is_able);
            able.map(|(link, shared)| (*link, shared.place.clone()))
                .collect()
        };
        for some in able.chunks(AT_ONCE) {
            let places: Vec<_> = some.iter().map(|(_, place)| place.as_str()).collect();
            let claimed = match self.store.is_up() {
                true => self.store.claim_leads(&places, LEAD).await,
                false => return self.lose_leads(),
            };
            let Ok(claimed) = claimed else {
                return self.lose_leads();
            };
            for ((link, place), leads) in some.iter().zip(claimed) {
                let led = self.set_lead(*link, leads);
                if leads && !led {
                    self.take_over(*link, place).await;
                }
            }
        }
    }

    /// Has the upstream of a new lead listed, if the store has no listing that counts. Otherwise the next
    /// tick will do: a store that is lost again and again does not have upstreams listed as often.
    async fn take_over(&self, link: u64, place: &str) {
        let head = self.read_head(place).await;
        if !matches!(head, Err(NotTaken::Absent | NotTaken::Refused(_))) {
            return;
        }
        if let Some(Some(link)) = self.with(link, |shared| shared.link.upgrade()) {
            link.rounds.request_resync();
        }
    }

    /// Heeds news of another replica. They are not to be trusted: what they say is looked up, or keeps
    /// the pace of announcements.
    async fn heed(&self, text: &str) {
        let Some((word, place)) = text.split_once(' ') else {
            return;
        };
        let found = {
            let upstreams = self.upstreams.lock();
            let found = upstreams.values().find(|shared| shared.place == place);
            found.and_then(|shared| {
                Some((shared.link.upgrade()?, shared.leads, shared.seen.clone()))
            })
        };
        match found {
            Some((link, true, _)) if word == ASK => link.rounds.announce_change(),
            Some((link, false, seen)) if word == NEW => {
                let Ok(head) = self.read_head(place).await else {
                    return;
                };
                if seen.is_none_or(|seen| head.at > seen.at && head.digest != seen.digest) {
                    link.rounds.request_resync();
                }
            }
            Some(_) | None => {}
        }
    }

    /// Sets whether this replica leads. Returns whether it did.
    fn set_lead(&self, link: u64, leads: bool) -> bool {
        let led = &self.store.listings.led;
        let before = self.with(link, |shared| {
            let before = std::mem::replace(&mut shared.leads, leads);
            match (before, leads) {
                (false, true) => led.fetch_add(1, Ordering::Relaxed),
                (true, false) => led.fetch_sub(1, Ordering::Relaxed),
                (true, true) | (false, false) => 0,
            };
            before
        });
        before.unwrap_or_default()
    }

    fn give_up(&self, link: u64) {
        if self.set_lead(link, false) {
            let place = self.with(link, |shared| shared.place.clone());
            self.store.give_up_lead(&place.unwrap_or_default());
        }
    }

    /// Forgets all leads: the store is lost, and others may have them when it is back.
    fn lose_leads(&self) {
        let all: Vec<_> = self.upstreams.lock().keys().copied().collect();
        for link in all {
            self.set_lead(link, false);
        }
    }

    /// Uses what is known of the upstream of a link, if its listing is shared.
    fn with<T>(&self, link: u64, uses: impl FnOnce(&mut SharedListing) -> T) -> Option<T> {
        self.upstreams.lock().get_mut(&link).map(uses)
    }

    /// Returns the key of what is said of the listing in a place.
    fn head_key(&self, place: &str) -> String {
        self.store.key("listing", place)
    }

    /// Returns the key of the pieces of a listing.
    fn body_key(&self, place: &str, digest: &str) -> String {
        self.store.key("listing", &format!("{place}:{digest}"))
    }
}

/// Returns the place of an upstream: nobody without the keys can tell its config from it, which may hold
/// secrets.
fn place(store: &SharedStore, upstream: &config::Upstream) -> String {
    let endpoint = store::endpoint(upstream).to_string();
    let written = upstream.fingerprint.to_hex();
    store.mark(&[
        "shared listing",
        FORMAT,
        upstream.id.as_str(),
        &endpoint,
        &written,
    ])
}

/// Returns whether all lists of a listing came.
fn is_whole(listing: &Listing) -> bool {
    let mut kinds = Kind::ALL.into_iter().chain([Kind::Instructions]);
    kinds.all(|kind| listing.is_listed(kind))
}
