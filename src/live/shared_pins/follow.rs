//! Accepts what other replicas have accepted.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Digest, DriftedDefinition, Hasher};
use crate::config;
use crate::live::accept::AcceptHandle;
use crate::live::shared_pins::{SharedPins, field, place};
use crate::live::state::{AcceptOutcome, AcceptRequest};
use crate::live::store::pins::PinLine;
use crate::live::{Live, Snapshot};
use crate::replicas::{NewsTopic, StoreLost};

/// Definitions of one upstream that are compared with the pins in the store.
const MOST: usize = 1000;

/// An upstream with definitions that are held back.
struct HeldUpstream<'s> {
    link: u64,
    config: &'s config::Upstream,
    drifted: Vec<&'s DriftedDefinition>,
}

impl SharedPins {
    /// Accepts what other replicas have accepted, until `stop`: when they tell of it, when there is a
    /// new connection to the store, and when a listing brings what is held back.
    pub async fn follow(
        self: Arc<Self>,
        live: Arc<Live>,
        accepts: AcceptHandle,
        stop: CancellationToken,
    ) {
        let (mut news, mut generation) = (self.store.subscribe(), live.watch());
        let mut compared = None;
        loop {
            let snapshot = live.load_full();
            let held = held(&snapshot);
            let digest = digest(&held);
            if compared != Some(digest) && !held.is_empty() {
                let accepted = self.accept_held(&held, &accepts);
                match stop.run_until_cancelled(accepted).await {
                    Some(Ok(())) => compared = Some(digest),
                    // Again with the next connection.
                    Some(Err(StoreLost)) => {}
                    None => return,
                }
            }
            drop(held);
            drop(snapshot);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = generation.changed() => if changed.is_err() {
                    return;
                },
                news = news.recv() => match news {
                    Ok(news) if matches!(news.topic, NewsTopic::Reached | NewsTopic::Pins) => compared = None,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => compared = None,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    /// Accepts those of the definitions that are pinned in the store.
    async fn accept_held(
        &self,
        held: &[HeldUpstream<'_>],
        accepts: &AcceptHandle,
    ) -> Result<(), StoreLost> {
        let mut requests = Vec::new();
        for upstream in held {
            for drifted in self.accepted_elsewhere(upstream).await? {
                requests.push(AcceptRequest {
                    link: upstream.link,
                    kind: drifted.kind,
                    original: Arc::clone(&drifted.original),
                    digest: Some(drifted.digest),
                });
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        let done = accepts.accept(requests).await;
        let (outcomes, _) = done.unwrap_or_default();
        let is_accepted = |outcome: &&AcceptOutcome| matches!(outcome, AcceptOutcome::Accepted(_));
        tracing::info!(
            accepted = outcomes.iter().filter(is_accepted).count(),
            "redefinitions were accepted on another replica"
        );
        Ok(())
    }

    /// Returns the definitions that are pinned in the store as they are listed here.
    async fn accepted_elsewhere<'d>(
        &self,
        upstream: &HeldUpstream<'d>,
    ) -> Result<Vec<&'d DriftedDefinition>, StoreLost> {
        let key = self.store.key("pins", &place(upstream.config));
        let mut command = redis::cmd("HMGET");
        command.arg(&key);
        let fields = upstream.drifted.iter();
        let fields = fields.map(|drifted| field(drifted.kind, &drifted.original));
        let fields: Vec<_> = fields.collect();
        command.arg(&fields);
        let found = self.store.ask::<Vec<Option<String>>>(&command).await?;
        let all = upstream.drifted.iter().zip(fields).zip(found);
        let accepted = all.filter_map(|((drifted, field), sealed)| {
            let line = self.open(&key, &field, &sealed?)?;
            let pin: PinLine<'_> = serde_json::from_str(&line).ok()?;
            let pin = pin.row();
            let is_it = pin.kind == drifted.kind && drifted.is_meant_by(pin.definition);
            is_it.then_some(*drifted)
        });
        Ok(accepted.collect())
    }
}

/// Returns the upstreams with definitions that are held back.
fn held(snapshot: &Snapshot) -> Vec<HeldUpstream<'_>> {
    let catalog = &snapshot.catalog;
    let parts = catalog.parts().chain(catalog.hidden());
    let held = parts.filter_map(|part| {
        let drifted: Vec<_> = part.prepared.drift().drifted.iter().take(MOST).collect();
        let mut links = snapshot.links().iter();
        let link = links.find(|link| *link.id() == part.upstream)?;
        (!drifted.is_empty()).then(|| HeldUpstream {
            link: link.link_id,
            config: &link.config,
            drifted,
        })
    });
    held.collect()
}

/// Returns a digest of what is held back.
fn digest(held: &[HeldUpstream<'_>]) -> Digest {
    let mut hasher = Hasher::new("held");
    for upstream in held {
        hasher.add(&upstream.link.to_be_bytes());
        for drifted in &upstream.drifted {
            hasher.add(drifted.original.as_bytes());
            hasher.add(drifted.digest.as_bytes());
        }
    }
    hasher.finish()
}
