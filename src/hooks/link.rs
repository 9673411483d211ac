//! The way to one hook: its carrier, behind a circuit, a number of places and a timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use globset::GlobSet;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::child::ChildCarrier;
use super::context::MESSAGE;
use super::http::HttpCarrier;
use super::socket::SocketCarrier;
use super::{HookContext, HookFailure, HookPhase, HookSetupError, HookSubject};
use super::{Intercepted, Interception};
use crate::config::{self, Endpoint, HookTarget};
use crate::credentials::aws::{InvokeError, LambdaClient};
use crate::metrics::HookMetrics;
use crate::upstream::circuit::{CallOutcome, Circuit, CircuitState, Transition};

/// The way to one hook.
#[derive(Debug)]
pub struct HookLink {
    config: Arc<config::Hook>,
    carrier: Carrier,
    places: Semaphore,
    asking: AtomicUsize,
    circuit: Mutex<Circuit>,
    last_failure: Mutex<Option<(Instant, String)>>,
    metrics: Arc<HookMetrics>,
}

#[derive(Debug)]
enum Carrier {
    Lambda(Box<LambdaClient>),
    Http(Box<HttpCarrier>),
    Socket(SocketCarrier),
    Child(Box<ChildCarrier>),
}

/// The state of a hook, for operators.
#[derive(Debug)]
pub struct HookStatus {
    /// Its circuit.
    pub circuit: CircuitState,
    /// Messages that it is asked about now, or that wait for a place.
    pub asking: usize,
    /// Why it last gave no usable answer, and how long ago.
    pub last_failure: Option<(String, Duration)>,
    /// How many messages had which end: the word, and the number.
    pub counts: Vec<(&'static str, u64)>,
}

impl HookLink {
    pub(super) fn new(
        config: Arc<config::Hook>,
        context: &HookContext,
    ) -> Result<Self, HookSetupError> {
        let carrier = match &config.target {
            HookTarget::Lambda {
                arn,
                region,
                credentials,
            } => {
                let client = LambdaClient::new(arn, region, credentials, &context.auth)?;
                Carrier::Lambda(Box::new(client))
            }
            HookTarget::Socket(path) => {
                Carrier::Socket(SocketCarrier::new(path, config.concurrency))
            }
            HookTarget::Endpoint(upstream) => match &upstream.endpoint {
                Endpoint::Http(endpoint) => {
                    Carrier::Http(Box::new(HttpCarrier::new(upstream, endpoint, context)?))
                }
                Endpoint::Child { .. } => {
                    Carrier::Child(Box::new(ChildCarrier::new(upstream, context)?))
                }
            },
        };
        Ok(Self {
            carrier,
            places: Semaphore::new(config.concurrency),
            asking: AtomicUsize::new(0),
            circuit: Mutex::default(),
            last_failure: Mutex::default(),
            metrics: context.metrics.hook(&config.name),
            config,
        })
    }

    /// Returns its settings.
    #[must_use]
    pub fn config(&self) -> &config::Hook {
        &self.config
    }

    /// Returns whether it sees something.
    pub(super) fn sees(&self, phase: HookPhase, subject: &HookSubject<'_>) -> bool {
        let hook = &*self.config;
        let fits = |globs: &Option<GlobSet>, text: Option<&str>| match (globs, text) {
            (None, _) => true,
            (Some(globs), Some(text)) => globs.is_match(text),
            (Some(_), None) => false,
        };
        let is_phase = match phase {
            HookPhase::Request => hook.on_request,
            HookPhase::Response => hook.on_response,
        };
        is_phase
            && hook.methods.iter().any(|method| method == subject.method)
            && fits(&hook.tools, subject.name)
            && fits(&hook.upstreams, Some(subject.upstream))
            && fits(&hook.callers, Some(subject.caller))
    }

    /// Asks the hook, and waits for its answer: no longer than its timeout, and than `deadline`.
    ///
    /// # Errors
    /// It gave no usable answer.
    pub async fn ask(
        &self,
        interception: &Interception<'_>,
        deadline: Instant,
    ) -> Result<Intercepted, HookFailure> {
        let began = Instant::now();
        let admitted = self.circuit.lock().admit(began);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(open) => {
                self.metrics
                    .record(interception.phase().as_str(), "circuit", Duration::ZERO);
                return Err(HookFailure::CircuitOpen(open.reason));
            }
        };
        let own = began + self.config.timeout;
        let limit = deadline.min(own);
        let _asking = Asking::new(&self.asking);
        let answered = timeout_at(limit, self.exchange(interception, limit)).await;
        let answered = match answered.unwrap_or(Err(HookFailure::Timeout)) {
            Err(HookFailure::Timeout | HookFailure::Busy) if limit < own => {
                Err(HookFailure::Deadline)
            }
            answered => answered,
        };
        let now = Instant::now();
        let (outcome, word) = match &answered {
            Ok(_) => (CallOutcome::Answered, "ok"),
            Err(failure) => {
                // The time of a caller that ends says nothing of the hook.
                if !matches!(failure, HookFailure::Deadline) {
                    *self.last_failure.lock() = Some((now, failure.to_string()));
                }
                (failure.outcome(), failure.word())
            }
        };
        let phase = interception.phase().as_str();
        self.metrics.record(phase, word, now - began);
        let transition = self.circuit.lock().record_call(admitted, outcome, now);
        let name = self.config.name.as_str();
        match transition {
            Some(Transition::Opened) => {
                tracing::warn!(
                    hook = name,
                    reason = word,
                    "the hook is not asked for a while"
                );
            }
            Some(Transition::Closed) => tracing::info!(hook = name, "the hook answers again"),
            None => {}
        }
        answered
    }

    /// Ends its process, if it has one. A message would start it again.
    pub(super) fn stop(&self) {
        if let Carrier::Child(carrier) = &self.carrier {
            carrier.stop();
        }
    }

    async fn exchange(
        &self,
        interception: &Interception<'_>,
        limit: Instant,
    ) -> Result<Intercepted, HookFailure> {
        let bytes = interception.bytes();
        if bytes > MESSAGE {
            return Err(HookFailure::TooLarge {
                bytes,
                most: MESSAGE,
            });
        }
        let place = timeout_at(limit, self.places.acquire()).await;
        let place = place.map_err(|_| HookFailure::Busy)?;
        let _place = place.map_err(|_| HookFailure::Broken)?;
        let input = Bytes::from(interception.to_json());
        let answer = match &self.carrier {
            Carrier::Lambda(client) => client.invoke(input, limit).await.map_err(of_lambda)?,
            Carrier::Http(carrier) => carrier.exchange(input, limit).await?,
            Carrier::Socket(carrier) => carrier.exchange(&input).await?,
            Carrier::Child(carrier) => carrier.exchange(&input).await?,
        };
        interception.read(&answer)
    }

    /// Returns its state.
    #[must_use]
    pub fn status(&self) -> HookStatus {
        let last = self.last_failure.lock().clone();
        HookStatus {
            circuit: self.circuit.lock().state(Instant::now()),
            asking: self.asking.load(Ordering::Relaxed),
            last_failure: last.map(|(at, text)| (text, at.elapsed())),
            counts: self.metrics.counts(),
        }
    }
}

fn of_lambda(error: InvokeError) -> HookFailure {
    match error {
        InvokeError::Function(kind) => HookFailure::Function(kind),
        InvokeError::TooLarge { bytes, most } => HookFailure::TooLarge { bytes, most },
        InvokeError::TooLong(most) => HookFailure::TooLong(most),
        InvokeError::Status(status) => HookFailure::Status(status),
        InvokeError::Timeout => HookFailure::Timeout,
        InvokeError::Unreachable(reason) => HookFailure::Unreachable(reason),
    }
}

/// Counts a message while a hook is asked about it.
struct Asking<'c>(&'c AtomicUsize);

impl<'c> Asking<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
