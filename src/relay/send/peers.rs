//! The peer that answers a caller: a session of its own, the one of its principal, or the one that all
//! callers share.

use std::sync::Arc;

use tokio::time::Instant;

use crate::protocol::era::Era;
use crate::relay::Scope;
use crate::upstream::delegated_peer::delegated_peer;
use crate::upstream::delegations::Delegation;
use crate::upstream::{Link, LinkError, Peer};

/// Returns the peer that answers this caller at an upstream. That is a session of the caller's own
/// if the upstream keeps state for each session, else the session that all callers share.
///
/// # Errors
/// The upstream has no shared session in time, or the caller's own session cannot be opened.
pub(in crate::relay) async fn peer_for(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    deadline: Instant,
) -> Result<Arc<Peer>, LinkError> {
    // Before anything else: without an identity nothing is sent, and nothing of weir's own is used.
    let delegation = link.delegation(scope.caller())?;
    let shared = link.wait_for_peer(deadline).await?;
    let wants_own = |_: &&Arc<_>| link.sessions.wants_own_session(&shared);
    let Some(session) = scope.session.filter(wants_own) else {
        return shared_by(link, delegation.as_deref(), shared, deadline).await;
    };
    let login = delegation.as_ref().map(|delegation| &delegation.login);
    match session.upstream_session(link, login, deadline).await {
        // The upstream refuses a second session. Either it speaks the modern era only, and the call
        // crosses eras. Or it accepts one session only, as servers with a single transport do, and
        // all callers share that one.
        Err(error)
            if error.is_refusal() && (shared.era() == Era::Modern || !shared.is_on_stdio()) =>
        {
            if shared.era() == Era::Modern {
                link.sessions.set_modern_only();
            } else {
                tracing::debug!(upstream = %link.id(), %error, "no session of the caller's own: the shared one serves it");
            }
            shared_by(link, delegation.as_deref(), shared, deadline).await
        }
        own => {
            // A session may outlast the token that it was opened with.
            let login = own.as_ref().ok().and_then(|peer| peer.login());
            if let Some(login) = login {
                login.present(scope.caller());
            }
            own
        }
    }
}

/// Returns the peer that all callers share, or the one that those of the caller's principal share.
async fn shared_by(
    link: &Arc<Link>,
    delegation: Option<&Delegation>,
    shared: Arc<Peer>,
    deadline: Instant,
) -> Result<Arc<Peer>, LinkError> {
    match delegation {
        Some(delegation) => delegated_peer(link, delegation, &shared, deadline).await,
        None => Ok(shared),
    }
}

/// Returns the peer that answers this caller after the upstream forgot the session of `stale`.
///
/// # Errors
/// No new session can be opened until `deadline`.
pub(super) async fn peer_after_loss(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    stale: &Arc<Peer>,
    deadline: Instant,
) -> Result<Arc<Peer>, LinkError> {
    match scope.session.filter(|_| !is_shared(link, stale)) {
        Some(session) => {
            session.forget_upstream_session(link, stale);
            peer_for(scope, link, deadline).await
        }
        None => match link.delegation(scope.caller())? {
            Some(delegation) => {
                if let Some(base) = delegation
                    .forget(stale)
                    .filter(|base| is_shared(link, base))
                {
                    link.replace_peer(&base, deadline).await?;
                }
                peer_for(scope, link, deadline).await
            }
            None => link.replace_peer(stale, deadline).await,
        },
    }
}

/// Returns whether a peer serves all callers, or all of one principal.
pub(super) fn is_shared(link: &Link, peer: &Arc<Peer>) -> bool {
    peer.is_of_principal
        || link
            .current_peer()
            .is_some_and(|shared| Arc::ptr_eq(&shared, peer))
}
