//! Waits for upstreams, and shows which ones.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::cli::output::{Screen, make_safe};
use crate::live::Snapshot;
use crate::server::Core;
use crate::upstream::HealthState;

/// After this time the upstreams that are waited for are shown.
const STATUS_AFTER: Duration = Duration::from_secs(1);

/// Waits until every upstream has been listed or has failed once.
pub(super) async fn wait_settled(core: &Core, err: &mut Screen) {
    wait_until(core, err, |_| false).await;
}

/// Waits until a snapshot is enough, or until every upstream has been listed or has failed once.
pub(super) async fn wait_until(core: &Core, err: &mut Screen, enough: impl Fn(&Snapshot) -> bool) {
    let mut generation = core.live().watch();
    let settled = core.settled();
    tokio::pin!(settled);
    let mut look = tokio::time::interval_at(Instant::now() + STATUS_AFTER, STATUS_AFTER);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !enough(&core.live().load()) {
        tokio::select! {
            () = &mut settled => break,
            _ = generation.changed() => {}
            _ = look.tick() => err.show_status(&describe_missing(&core.live().load())),
        }
    }
    err.end_line();
}

fn describe_missing(snapshot: &Snapshot) -> String {
    let names: Vec<_> = snapshot
        .links()
        .iter()
        .filter(|link| link.health.state() == HealthState::Connecting)
        .map(|link| {
            let name = make_safe(link.id().as_str());
            match link.health.starting_for() {
                Some(time) => format!("{name} (starting for {} s)", time.as_secs()),
                None => name,
            }
        })
        .collect();
    format!("waiting for {}", names.join(", "))
}
