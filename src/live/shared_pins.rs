//! Pins that replicas share, so that an acceptance on one of them counts on all, and one that is new
//! trusts what the others trust.
//!
//! The store has a hash for each upstream, by its name and address, with a field for each pin. Each
//! replica writes the pins that change on it, and no others: a pin that is new to it is written only
//! where there is none yet. Where a definition is held back, `follow` compares it with the pin in
//! the store, and accepts it if another replica has.

mod follow;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::catalog::pins::StoredPin;
use crate::catalog::{Digest, Hasher, Kind, Pins};
use crate::config;
use crate::live::store;
use crate::live::store::pins::PinLine;
use crate::replicas::{NewsTopic, SharedStore, StoreLost};

/// Pins of an upstream that are shared, and the bytes of all of them. Those of a larger one are not.
const MOST: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;
/// Pins that are written at once.
const AT_ONCE: usize = 128;
/// Seconds until the pins of an upstream that none changes are forgotten by the store: 180 days.
const LIFE: u64 = 180 * 86_400;

/// The field of a pin.
type Field = String;

/// Writes pins to the store, and reads them.
#[derive(Debug)]
pub struct SharedPins {
    store: Arc<SharedStore>,
    /// The pins of each upstream, by its place.
    upstreams: Mutex<BTreeMap<String, SharedUpstream>>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct SharedUpstream {
    /// The pins of this replica.
    pins: Option<Arc<Pins>>,
    /// The pins that the store has for all that this replica knows, each by its digest.
    known: HashMap<Field, Digest>,
    /// Whether they changed since they were written.
    is_due: bool,
    /// Whether a warning was logged that there are too many.
    is_told: bool,
}

/// Commands that bring the pins of an upstream into the store.
struct PinChanges {
    /// Where there is no such pin yet.
    new: Vec<(Field, String)>,
    changed: Vec<(Field, String)>,
    gone: Vec<Field>,
    /// The content of the store after that.
    after: HashMap<Field, Digest>,
}

impl SharedPins {
    /// Makes what shares pins over a store.
    #[must_use]
    pub fn new(store: Arc<SharedStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            upstreams: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Has the pins of an upstream written; `None` if nothing is pinned any more, on this replica.
    pub fn queue(&self, upstream: &config::Upstream, pins: Option<Arc<Pins>>) {
        let mut upstreams = self.upstreams.lock();
        let place = place(upstream);
        if pins.is_none() {
            // Other replicas may have another config still.
            upstreams.remove(&place);
            return;
        }
        let shared = upstreams.entry(place).or_default();
        shared.pins = pins;
        shared.is_due = true;
        drop(upstreams);
        self.wake.notify_one();
    }

    /// Adds the pins that replicas share to those that this one has stored: where both have one, that
    /// of the replicas counts. `None` if neither has any.
    pub async fn restore(&self, upstream: &config::Upstream, own: Option<Pins>) -> Option<Pins> {
        if !upstream.drift.is_gated() {
            return own;
        }
        let lines = self.read(upstream).await;
        if lines.is_empty() {
            return own;
        }
        let (mut pins, mut known) = (own.unwrap_or_default(), HashMap::new());
        for (field, line) in lines {
            let parsed = serde_json::from_str::<PinLine<'_>>(&line);
            if parsed.is_ok_and(|parsed| pins.add(&parsed.row())) {
                known.insert(field, digest(&line));
            }
        }
        let mut upstreams = self.upstreams.lock();
        upstreams.entry(place(upstream)).or_default().known = known;
        Some(pins)
    }

    /// Reads the pins of an upstream. What is not sealed by a replica is left out.
    async fn read(&self, upstream: &config::Upstream) -> Vec<(Field, String)> {
        let key = self.store.key("pins", &place(upstream));
        let length = redis::cmd("HLEN").arg(&key).to_owned();
        match self.store.ask::<usize>(&length).await {
            Ok(length) if length <= MOST => {}
            Ok(_) | Err(StoreLost) => return Vec::new(),
        }
        let all = redis::cmd("HGETALL").arg(&key).to_owned();
        let found = self.store.ask::<HashMap<Field, String>>(&all).await;
        let found = found.unwrap_or_default().into_iter();
        found
            .filter_map(|(field, sealed)| {
                let line = self.open(&key, &field, &sealed)?;
                Some((field, line))
            })
            .collect()
    }

    /// Opens the value of a field.
    fn open(&self, key: &str, field: &str, sealed: &str) -> Option<String> {
        let line = self.store.unseal(&format!("{key}:{field}"), sealed)?;
        String::from_utf8(line).ok()
    }

    /// Writes pins until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut news = self.store.subscribe();
        loop {
            let is_new = tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => false,
                news = news.recv() => match news {
                    Ok(news) => news.topic == NewsTopic::Reached,
                    Err(broadcast::error::RecvError::Lagged(_)) => true,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            };
            if is_new {
                // It may have lost its data.
                let mut upstreams = self.upstreams.lock();
                upstreams
                    .values_mut()
                    .for_each(|shared| shared.is_due = true);
            }
            for place in self.due() {
                let written = stop.run_until_cancelled(self.write(&place, is_new)).await;
                match written {
                    Some(Ok(())) => {}
                    // The next connection has everything written.
                    Some(Err(StoreLost)) => break,
                    None => return,
                }
            }
        }
    }

    fn due(&self) -> Vec<String> {
        let upstreams = self.upstreams.lock();
        let due = upstreams.iter().filter(|(_, shared)| shared.is_due);
        due.map(|(place, _)| place.clone()).collect()
    }

    /// Writes the pins of an upstream: those that changed, and `all` if the store may have lost some.
    async fn write(&self, place: &str, all: bool) -> Result<(), StoreLost> {
        let key = self.store.key("pins", place);
        let Some(changes) = self.changes(place, &key, all) else {
            return Ok(());
        };
        let PinChanges {
            new,
            changed,
            gone,
            after,
        } = changes;
        let tells = !changed.is_empty();
        let new = new.into_iter().map(|row| ("HSETNX", row));
        let changed = changed.into_iter().map(|row| ("HSET", row));
        let rows: Vec<_> = changed.chain(new).collect();
        for rows in rows.chunks(AT_ONCE) {
            let mut commands = redis::pipe();
            for (command, (field, sealed)) in rows {
                commands.cmd(command).arg(&key).arg(field).arg(sealed);
            }
            self.store.ask_all(&commands).await?;
        }
        let mut commands = redis::pipe();
        for field in &gone {
            commands.cmd("HDEL").arg(&key).arg(field);
        }
        commands.cmd("EXPIRE").arg(&key).arg(LIFE);
        self.store.ask_all(&commands).await?;
        if let Some(shared) = self.upstreams.lock().get_mut(place) {
            shared.known = after;
        }
        if tells {
            self.store.tell(NewsTopic::Pins, place);
        }
        Ok(())
    }

    /// Returns what is to be written of an upstream, and takes it as written.
    fn changes(&self, place: &str, key: &str, all: bool) -> Option<PinChanges> {
        let mut upstreams = self.upstreams.lock();
        let shared = upstreams.get_mut(place)?;
        shared.is_due = false;
        let pins = Arc::clone(shared.pins.as_ref()?);
        let rows = pins.named_rows();
        let bytes: usize = pins.rows().map(|row| row.definition.len()).sum();
        if rows.len() > MOST || bytes > MOST_BYTES {
            if !std::mem::replace(&mut shared.is_told, true) {
                tracing::warn!(
                    pins = rows.len(),
                    bytes,
                    "an upstream has too many pins for replicas to share them: each keeps its own"
                );
            }
            return None;
        }
        let mut changes = PinChanges {
            new: Vec::new(),
            changed: Vec::new(),
            gone: Vec::new(),
            after: HashMap::new(),
        };
        for (original, row) in rows {
            let (field, Some(line)) = (field(row.kind, original), line(&row)) else {
                continue;
            };
            let digest = digest(&line);
            let before = shared.known.get(&field);
            changes.after.insert(field.clone(), digest);
            if before == Some(&digest) && !all {
                continue;
            }
            let Ok(sealed) = self.store.seal(&format!("{key}:{field}"), line.as_bytes()) else {
                continue;
            };
            match before {
                Some(before) if *before != digest => changes.changed.push((field, sealed)),
                Some(_) | None => changes.new.push((field, sealed)),
            }
        }
        let is_gone = |field: &&Field| !changes.after.contains_key(*field);
        changes.gone = shared.known.keys().filter(is_gone).cloned().collect();
        Some(changes)
    }
}

/// Returns the place of an upstream: a server at another address is another server.
fn place(upstream: &config::Upstream) -> String {
    let mut hasher = Hasher::new("shared pins");
    hasher.add(upstream.id.as_str().as_bytes());
    hasher.add(store::endpoint(upstream).as_bytes());
    hasher.finish().to_string()
}

/// Returns the field of the pin of a definition.
fn field(kind: Kind, original: &str) -> Field {
    let mut hasher = Hasher::new("shared pin");
    hasher.add(kind.as_str().as_bytes());
    hasher.add(original.as_bytes());
    hasher.finish().to_string()
}

/// Writes a pin. When a definition was last listed differs from replica to replica, and is left out.
fn line(row: &StoredPin<'_>) -> Option<String> {
    let row = StoredPin {
        gone: row.moved.then_some(0),
        ..row.clone()
    };
    let line = PinLine::of(&row).ok()?;
    serde_json::to_string(&line).ok()
}

fn digest(line: &str) -> Digest {
    let mut hasher = Hasher::new("shared pin line");
    hasher.add(line.as_bytes());
    hasher.finish()
}
