//! The admin listener of a weir: bound at the start, stopped last.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::admin;
use crate::config::{AdminAddress, Config};
use crate::connections::{self, ConnectionLimits, Listener, ReserveFor};
use crate::memory::MemoryBudget;
use crate::secret::Secret;
use crate::server::error::ServeError;
use crate::server::state_dir;

/// Most concurrent connections to the admin listener.
const ADMIN_CONNECTIONS: usize = 100;

/// A bound admin listener.
pub(super) struct AdminListener {
    listener: Listener,
    pub(super) address: AdminAddress,
    /// The token for what changes something; `None` if there is none.
    pub(super) token: Option<Secret>,
}

/// An admin listener that serves.
pub(super) struct RunningAdmin {
    pub(super) address: AdminAddress,
    /// Stops it.
    pub(super) stop: CancellationToken,
}

impl AdminListener {
    /// Binds the admin listener of a config, if it has one.
    ///
    /// # Errors
    /// Fails if its address cannot be bound or the state folder cannot be used.
    pub(super) async fn bind(config: &Config) -> Result<Option<Self>, ServeError> {
        let Some(admin) = &config.admin else {
            return Ok(None);
        };
        let token = state_dir::admin_token(config)?;
        let (listener, address) = match &admin.address {
            AdminAddress::Tcp(address) => {
                let bound = Listener::bind(*address).await;
                let failed = |source| ServeError::Bind {
                    address: *address,
                    source,
                };
                let (listener, address) = bound.map_err(failed)?;
                (listener, AdminAddress::Tcp(address))
            }
            AdminAddress::Unix { path, mode } => {
                let bound = Listener::bind_unix(path, *mode);
                let failed = |source| ServeError::BindUnix {
                    path: path.clone(),
                    source,
                };
                (bound.map_err(failed)?, admin.address.clone())
            }
        };
        Ok(Some(Self {
            listener,
            address,
            token,
        }))
    }

    /// Starts to serve.
    pub(super) fn serve(
        self,
        router: Router,
        memory: &Arc<MemoryBudget>,
        limits: ConnectionLimits,
        tasks: &TaskTracker,
    ) -> RunningAdmin {
        let stop = CancellationToken::new();
        let limits = ConnectionLimits {
            connections: ADMIN_CONNECTIONS,
            reserve: ReserveFor::Operators,
            // It stops when nobody is answered any more.
            last_requests: Duration::ZERO,
            ..limits
        };
        let serving = connections::serve(
            self.listener,
            move |caller| {
                let memory = caller.memory.clone();
                let caller = Arc::new(caller);
                let router = router.clone();
                let router = router.map_request(move |mut request: Request| {
                    request.extensions_mut().insert(Arc::clone(&caller));
                    request
                });
                router.and_then(move |answer| admin::keep(answer, memory))
            },
            Arc::clone(memory),
            stop.clone(),
            limits,
        );
        tasks.spawn(serving);
        RunningAdmin {
            address: self.address,
            stop,
        }
    }
}
