//! The wait for upstreams after the start, where a platform is in front. It sends requests as soon as
//! weir answers its health check, and does not ask `/readyz`; a list would be empty, and a tool unknown,
//! until the upstreams are listed.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::timeout_at;

use crate::front::health_check;
use crate::front::state::Front;
use crate::upstream::HealthState;

/// Returns the answer to a health check. Anything else waits for the end of the start.
pub(super) async fn check_or_wait(front: &Front, body: &[u8]) -> Option<Bytes> {
    if let Some(answered) = health_check::answer(front, body) {
        return Some(answered);
    }
    if let Some(startup) = wait(front) {
        startup.await;
    }
    None
}

/// Returns the wait for the end of the start; `None` if it is over, or no platform is in front.
fn wait(front: &Front) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
    if front.platform.is_none() || front.is_started.load(Ordering::Relaxed) {
        return None;
    }
    Some(Box::pin(until_over(front)))
}

/// Waits until weir is ready, as `/readyz` has it: each upstream has a listing, has failed once, or
/// has had its list timeout.
async fn until_over(front: &Front) {
    let snapshot = front.live.load_full();
    for link in snapshot.links().iter() {
        if link.health.report().at.is_some() {
            continue;
        }
        let mut state = link.health.subscribe();
        let tried = state.wait_for(|state| *state != HealthState::Connecting);
        let _ = timeout_at(front.started + link.config.timeouts.list, tried).await;
    }
    front.is_started.store(true, Ordering::Relaxed);
}
