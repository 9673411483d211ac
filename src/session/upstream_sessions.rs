//! The sessions at upstreams that belong to a session of a caller.

use std::sync::Arc;

use tokio::time::Instant;

use crate::session::caller_session::CallerSession;
use crate::session::upstream_session::UpstreamSession;
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::sessions::SessionOwner;
use crate::upstream::{Link, LinkError, Peer};

impl SessionOwner for CallerSession {
    fn leave_upstream(&self, link_id: u64) {
        let left = self.lock().upstream_sessions.remove(&link_id);
        if let Some(left) = &left {
            left.cancel();
        }
        drop(left);
    }
}

impl CallerSession {
    /// Returns the peer of the caller's own session at an upstream, opened if there is none: with the
    /// caller's login, if the upstream is called on behalf of its callers.
    ///
    /// # Errors
    /// The session cannot be opened until `deadline`, or the caller's session is over.
    pub async fn upstream_session(
        self: &Arc<Self>,
        link: &Arc<Link>,
        login: Option<&Arc<CallerLogin>>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        let own = || {
            let mut inner = self.lock();
            if inner.is_over {
                return Err(LinkError::SessionLost);
            }
            let own = inner.upstream_sessions.entry(link.link_id).or_default();
            Ok(Arc::clone(own))
        };
        let mut found = own()?;
        if let Some((link, peer)) = found.opened().filter(|(_, peer)| !peer.is_open()) {
            self.forget_upstream_session(&link, &peer);
            found = own()?;
        }
        let is_of_login =
            |peer: &Peer| peer.login().map(|own| own.key) == login.map(|login| login.key);
        // Another login of the same principal, with other scopes: no session has two.
        if found.opened().is_some_and(|(_, peer)| !is_of_login(&peer)) {
            self.leave_upstream(link.link_id);
            found = own()?;
        }
        let peer = found.peer(self, link, login, deadline).await?;
        match is_of_login(&peer) {
            true => Ok(peer),
            false => Err(LinkError::SessionLost),
        }
    }

    /// Returns the caller's own sessions at upstreams that are open.
    #[must_use]
    pub fn open_sessions(&self) -> Vec<(Arc<Link>, Arc<Peer>)> {
        let sessions: Vec<_> = self.lock().upstream_sessions.values().cloned().collect();
        sessions.iter().filter_map(|own| own.opened()).collect()
    }

    /// Forgets the session at an upstream that the upstream does not know any more.
    pub fn forget_upstream_session(&self, link: &Link, peer: &Arc<Peer>) {
        let mut inner = self.lock();
        let is_it = inner
            .upstream_sessions
            .get(&link.link_id)
            .is_some_and(|own| own.mark_lost(peer));
        let gone = is_it.then(|| inner.upstream_sessions.remove(&link.link_id));
        // Answers to its requests could not be delivered.
        inner.pending.retain(|_, request| !request.is_of(peer));
        drop(inner);
        drop(gone);
    }

    /// Ends the sessions at upstreams that are not in the config any more.
    pub fn leave_retired(&self) {
        let retired =
            |own: &UpstreamSession| own.opened().is_some_and(|(link, _)| link.is_retired());
        let mut inner = self.lock();
        let left: Vec<_> = inner
            .upstream_sessions
            .extract_if(|_, own| retired(own))
            .collect();
        drop(inner);
        drop(left);
    }

    /// Returns whether the caller's own session at an upstream has subscriptions, and there is a
    /// stream for their updates.
    pub(super) fn is_subscribed(&self, link: &Link) -> bool {
        let inner = self.lock();
        let mut all = inner.subscriptions.values();
        inner.stream.is_some() && all.any(|one| one.upstream == *link.id() && one.shared.is_none())
    }
}
