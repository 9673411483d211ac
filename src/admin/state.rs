//! The state of the admin listener.

use std::sync::Arc;

use axum::extract::FromRef;
use tokio::time::Instant;

use crate::admin::calls::CallWindow;
use crate::admin::events::EventLog;
use crate::admin::trial::ToolTrials;
use crate::authentication::CurrentAuthenticator;
use crate::live::Live;
use crate::live::accept::AcceptHandle;
use crate::live::front_gateway::FrontGatewaySync;
use crate::live::reload::ReloadHandle;

/// The state that the handlers of the admin listener use.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The snapshots.
    pub live: Arc<Live>,
    /// Reloads the config.
    pub reloads: ReloadHandle,
    /// Accepts changed definitions.
    pub accepts: AcceptHandle,
    /// Whether the listen address was given on the command line, so that the file's does not count.
    pub listens_elsewhere: bool,
    /// The way callers are authenticated, and with them operators who are callers.
    pub callers: Arc<CurrentAuthenticator>,
    /// The events of late.
    pub events: Arc<EventLog>,
    /// Calls of tools by operators.
    pub trials: ToolTrials,
    /// The figures of calls of late.
    pub calls: Arc<CallWindow>,
    /// Tells a gateway in front of the catalog.
    pub front_gateway: Arc<FrontGatewaySync>,
    /// When weir started.
    pub started: Instant,
}

impl FromRef<AdminState> for Arc<Live> {
    fn from_ref(state: &AdminState) -> Self {
        Self::clone(&state.live)
    }
}

impl FromRef<AdminState> for Arc<FrontGatewaySync> {
    fn from_ref(state: &AdminState) -> Self {
        Self::clone(&state.front_gateway)
    }
}

impl FromRef<AdminState> for ReloadHandle {
    fn from_ref(state: &AdminState) -> Self {
        state.reloads.clone()
    }
}

impl FromRef<AdminState> for AcceptHandle {
    fn from_ref(state: &AdminState) -> Self {
        state.accepts.clone()
    }
}

impl FromRef<AdminState> for ToolTrials {
    fn from_ref(state: &AdminState) -> Self {
        state.trials.clone()
    }
}

impl FromRef<AdminState> for Arc<CallWindow> {
    fn from_ref(state: &AdminState) -> Self {
        Self::clone(&state.calls)
    }
}

impl FromRef<AdminState> for Arc<CurrentAuthenticator> {
    fn from_ref(state: &AdminState) -> Self {
        Self::clone(&state.callers)
    }
}
