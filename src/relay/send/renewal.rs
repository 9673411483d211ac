//! The new definition of a tool whose upstream refused the headers of the old one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::Route;
use crate::relay::Scope;
use crate::upstream::Link;

/// The longest that a call waits for its turn to have the upstream listed again.
const LONGEST_RENEWAL_DELAY: Duration = Duration::from_secs(1);

/// Lists the upstream again, and returns the tool's new definition (2026-07-28
/// `streamable-http.mdx#server-behavior-for-custom-headers`). `None` if the tool has no other headers
/// than before, or the list does not come in time.
pub(super) async fn renewed_route(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    route: &Route,
    deadline: Instant,
) -> Option<Route> {
    // An upstream that refuses each call is not listed for each call: soon a call takes what
    // another one found.
    let rounds = &link.rounds;
    let deadline = deadline.min(link.list_deadline());
    let is_near = rounds.announcement_delay() <= LONGEST_RENEWAL_DELAY;
    if is_near && !rounds.follow_change(deadline).await {
        return None;
    }
    let snapshot = scope.live.load();
    let view = snapshot.view(&scope.caller);
    view.tool(&route.exposed, scope.era()).filter(|found| {
        found.upstream == route.upstream
            && found.original() == route.original()
            && found.header_params() != route.header_params()
    })
}
