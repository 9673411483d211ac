//! The TLS of the listener for callers.

use std::sync::Arc;

use crate::config::{Listen, ListenAuth};
use crate::connections::Listener;
use crate::metrics::names;
use crate::server::core::Core;
use crate::server::error::ServeError;
use crate::tls::{CallerTrust, TlsError};

/// Returns the listener with the TLS of `listen.tls`, if it is written, and the trust in certificates
/// of callers, if these are asked for.
///
/// # Errors
/// A file that cannot be used any more.
pub(super) fn secure(
    listener: Listener,
    listen: &Listen,
    core: &Core,
) -> Result<(Listener, Option<Arc<CallerTrust>>), ServeError> {
    let metrics = &core.live.load().metrics;
    let Some(settings) = &listen.tls else {
        metrics.observe(&names::TLS_FAILURES, || 0);
        return Ok((listener, None));
    };
    let credentials = core.credentials();
    let key = credentials.secrets.open(&settings.key)?;
    let trust = caller_trust(listen, core)?;
    let tls = &credentials.tls;
    let tls = tls.for_listener(settings, Box::new(key), trust.clone())?;
    let counted = Arc::clone(&tls);
    metrics.observe(&names::TLS_FAILURES, move || counted.failures());
    Ok((listener.over_tls(tls), trust))
}

fn caller_trust(listen: &Listen, core: &Core) -> Result<Option<Arc<CallerTrust>>, TlsError> {
    let certificates = match &listen.auth {
        Some(ListenAuth::Callers(callers)) => callers.client_certificates.as_ref(),
        Some(ListenAuth::None) | None => None,
    };
    let tls = &core.credentials().tls;
    let trust = certificates.map(|of| tls.caller_trust(&of.ca, of.crl.as_deref(), of.is_required));
    trust.transpose()
}
