//! Opens the connection identity of one principal: its own session, cookies and credentials, and
//! weir's knowledge of the upstream.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::era::{Era, Version};
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::delegations::{DelegatedPeer, Delegation};
use crate::upstream::error::LinkError;
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Connection, HttpSession, Peer};
use crate::upstream::probe::{self, SessionProfile};

/// How long ending a session may take.
const LEAVE: Duration = Duration::from_secs(2);

/// Ends the session of a principal when its peer is dropped: no call uses it any more.
#[derive(Debug)]
struct SessionEnd {
    link: Weak<Link>,
    session: Option<HttpSession>,
}

/// Returns the peer that answers a principal at an upstream, where it has no session of its caller's
/// own. `base` is weir's peer. Calls that come together share one attempt.
///
/// # Errors
/// The session cannot be opened until `deadline`.
pub async fn delegated_peer(
    link: &Arc<Link>,
    delegation: &Delegation,
    base: &Arc<Peer>,
    deadline: Instant,
) -> Result<Arc<Peer>, LinkError> {
    let cell = delegation.peer_cell(base);
    if let Some(open) = cell.get() {
        return Ok(Arc::clone(&open.peer));
    }
    let opening = cell.get_or_try_init(|| async {
        let peer = Box::pin(open(link, &delegation.login, base)).await?;
        Ok(DelegatedPeer {
            peer: Arc::new(peer),
            base: Arc::clone(base),
        })
    });
    let opened = tokio::time::timeout_at(deadline, opening).await;
    let opened = opened.map_err(|_| LinkError::Timeout)?;
    opened.map(|open| Arc::clone(&open.peer))
}

async fn open(
    link: &Arc<Link>,
    login: &Arc<CallerLogin>,
    base: &Arc<Peer>,
) -> Result<Peer, LinkError> {
    let Wire::Http(wire) = &link.wire else {
        return Err(LinkError::CallerIdentity);
    };
    let mut peer = if base.is_stateful() {
        let profile = SessionProfile {
            key: Some(login.affinity),
            ..SessionProfile::OWN
        };
        let (mut peer, _) = probe::open_session(link, &profile, Some(login)).await?;
        if let Connection::Http(session) = &peer.connection {
            peer.kept = Some(Box::new(SessionEnd {
                link: Arc::downgrade(link),
                session: Some(session.clone()),
            }));
        }
        peer
    } else {
        // It keeps nothing for a client: what it told weir is true for everybody.
        let version = match base.era() {
            Era::Modern => Version::MODERN.as_str(),
            Era::Legacy => &base.version,
        };
        let affinity = wire.new_affinity(Some(&login.affinity));
        let session = wire.new_session(version, None, affinity, Arc::default(), Some(login));
        base.with_connection(Connection::Http(session))
    };
    peer.is_of_principal = true;
    Ok(peer)
}

impl Drop for SessionEnd {
    fn drop(&mut self) {
        let (Some(link), Some(session)) = (self.link.upgrade(), self.session.take()) else {
            return;
        };
        let tasks = link.tasks().clone();
        tasks.spawn(async move {
            if let Wire::Http(wire) = &link.wire {
                wire.end_session(&session, Instant::now() + LEAVE).await;
            }
        });
    }
}
