//! The session that a call of a modern caller has to itself at a legacy upstream, which may ask it
//! something there.

use std::sync::Arc;

use tokio::time::Instant;

use crate::bridge::{AskableClient, asks};
use crate::json::Object;
use crate::protocol::era::{Era, Version};
use crate::protocol::meta;
use crate::relay::Scope;
use crate::relay::retry::MAY_ASK;
use crate::relay::send::own::set_session_level;
use crate::session::{Crossings, ExclusiveSession, SessionSort};
use crate::upstream::{Link, LinkError, Peer};

/// The largest capabilities of a client that an upstream is told of, in bytes.
const LARGEST_CAPABILITIES: usize = 16 * 1024;

/// A caller that can be asked something during a call.
pub(super) struct AskableCaller<'s> {
    crossings: &'s Arc<Crossings>,
    client: AskableClient,
    capabilities: String,
    /// The level of log messages that it wants, as JSON text.
    log_level: Option<String>,
}

/// A session that a call has to itself, and what its caller can be asked.
pub(super) struct ExclusiveCall {
    pub(super) crossings: Arc<Crossings>,
    pub(super) session: ExclusiveSession,
    pub(super) client: AskableClient,
}

/// Returns the caller, if it can be asked something during a request, in the session of a legacy
/// upstream. `own` is `_meta` of the request.
pub(super) fn askable<'s>(
    scope: &'s Scope<'_>,
    link: &Link,
    method: &str,
    own: Option<&Object<'_>>,
) -> Option<AskableCaller<'s>> {
    let crossings = scope.crossings.filter(|_| scope.era() == Era::Modern)?;
    let may_be_legacy = |peer: Arc<Peer>| peer.era() == Era::Legacy;
    if !MAY_ASK.contains(&method) || !link.current_peer().is_none_or(may_be_legacy) {
        return None;
    }
    let capabilities = own?.value(meta::CLIENT_CAPABILITIES)?;
    let client = AskableClient::read(Version::MODERN, capabilities);
    let is_asked = client.takes_any() && capabilities.len() <= LARGEST_CAPABILITIES;
    is_asked.then(|| AskableCaller {
        crossings,
        client,
        capabilities: capabilities.to_owned(),
        log_level: own
            .and_then(|own| own.value(meta::LOG_LEVEL))
            .map(str::to_owned),
    })
}

impl AskableCaller<'_> {
    /// Returns a session for one call, with exactly the capabilities of the caller; `None` where the
    /// upstream cannot ask: it keeps no sessions, or is one process for all callers.
    ///
    /// # Errors
    /// The upstream cannot be reached, or opens no session until `deadline`.
    pub(super) async fn session(
        &self,
        scope: &Scope<'_>,
        link: &Arc<Link>,
        deadline: Instant,
    ) -> Result<Option<ExclusiveCall>, LinkError> {
        let delegation = link.delegation(scope.caller())?;
        let shared = link.wait_for_peer(deadline).await?;
        if shared.era() == Era::Modern || !link.sessions.wants_own_session(&shared) {
            return Ok(None);
        }
        // A refusal of weir's own login is one for all callers.
        let is_same_for_all = delegation.is_none();
        if is_same_for_all && link.sessions.is_single() {
            return Ok(None);
        }
        let version = Version::parse(&shared.version).unwrap_or(Version::LATEST_LEGACY);
        let login = delegation.as_ref().map(|delegation| &delegation.login);
        let sort = SessionSort {
            link_id: link.link_id,
            principal: scope.caller().key(),
            version,
            capabilities: asks::declared_to_legacy(version, &self.capabilities).into(),
            login: login.map(|login| login.key),
        };
        let opener = (scope.share(), login.map(Arc::clone));
        let opened = self.crossings.session(link, sort, opener, deadline).await;
        let mut session = match opened {
            Ok(session) => session,
            // It accepts one session only, as servers with a single transport do, and all callers share
            // that one.
            Err(error) if error.is_refusal() && !shared.is_on_stdio() => {
                tracing::debug!(upstream = %link.id(), %error, "no session for one call: the shared one serves it");
                if is_same_for_all {
                    link.sessions.set_single();
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if let Some(login) = session.peer.login() {
            login.present(scope.caller());
        }
        let level = self.log_level.as_deref();
        if let Some(level) = level.filter(|_| session.peer.capabilities.logging)
            && session.log_level.as_deref() != Some(level)
        {
            set_session_level(link, &session.peer, level).await;
            session.log_level = Some(level.into());
        }
        Ok(Some(ExclusiveCall {
            crossings: Arc::clone(self.crossings),
            session,
            client: self.client,
        }))
    }
}
