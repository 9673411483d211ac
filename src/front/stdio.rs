//! One caller on stdin and stdout: newline-delimited messages of either era.

mod client;
mod writer;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::{Caller, ShareKey};
use crate::front::{batch, legacy, modern};
use crate::live::Live;
use crate::memory::MemoryShare;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Id, Message, MessageError, Notification, Request};
use crate::protocol::method;
use crate::protocol::trace::Trace;
use crate::record::{Record, RequestOrigin};
use crate::relay::{self, ChangeEvent, Changes, ListKinds, Outgoing, Payload, Reply, Scope};
use crate::session::{CallerSession, Crossings};

use client::StdioClient;

/// At most this many messages wait to be written.
const OUTGOING: usize = 256;
/// At most this many requests are under way at once; more are not read from stdin.
const IN_FLIGHT: usize = 256;

/// How long after the start requests wait for upstreams that have not been listed yet. A client
/// asks for the list first, and many ask only once.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// How long after the start an introduction waits for them: it has their instructions.
const INTRODUCTION_TIME: Duration = Duration::from_millis(1500);

/// How long requests may go on after the end of stdin. A script that pipes requests into weir
/// closes stdin at once.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// The one caller of a weir on stdio.
struct Connection {
    live: Arc<Live>,
    out: mpsc::Sender<Bytes>,
    tasks: TaskTracker,
    /// Ends subscriptions, which have no end of their own.
    shutdown: CancellationToken,
    /// Cancels requests.
    given_up: CancellationToken,
    session: Mutex<Option<Arc<CallerSession>>>,
    crossings: Option<Arc<Crossings>>,
    client: StdioClient,
    /// Whether the stream of changes of a legacy client is open.
    is_listening: AtomicBool,
    under_way: Mutex<HashMap<Id, CancellationToken>>,
    slots: Arc<tokio::sync::Semaphore>,
    settled_by: Instant,
    introduced_by: Instant,
}

/// Serves until stdin ends or `shutdown` is cancelled. Answers under way are still written.
///
/// # Errors
/// Reading or writing failed.
pub async fn serve(
    live: Arc<Live>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
    limit: usize,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let (out, outgoing) = mpsc::channel(OUTGOING);
    let tasks = TaskTracker::new();
    let writer = tasks.spawn(writer::write(output, outgoing));
    let (end, last) = (shutdown.child_token(), CancellationToken::new());
    let connection = Arc::new(Connection {
        live,
        out,
        tasks: tasks.clone(),
        crossings: Crossings::for_one(end.clone(), last.clone()).ok(),
        shutdown: end,
        given_up: CancellationToken::new(),
        session: Mutex::new(None),
        client: StdioClient::default(),
        is_listening: AtomicBool::new(false),
        under_way: Mutex::default(),
        slots: Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT)),
        settled_by: Instant::now() + SETTLE_TIME,
        introduced_by: Instant::now() + INTRODUCTION_TIME,
    });
    let mut lines = FramedRead::new(input, LinesCodec::new_with_max_length(limit));
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = shutdown.cancelled() => break,
        };
        match line {
            None => break,
            Some(Ok(line)) if line.trim().is_empty() => {}
            Some(Ok(line)) => connection.handle_line(line).await,
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                let fault = Fault::Invalid("the message is too long");
                connection.send_fault(None, &fault, Era::Legacy).await;
            }
            Some(Err(LinesCodecError::Io(error))) => return Err(error),
        }
    }
    connection.shutdown.cancel();
    let (session, given_up) = (connection.session(), connection.given_up.clone());
    let metrics = Arc::clone(&connection.live.load().metrics);
    drop(connection);
    tasks.close();
    let ended = async {
        tokio::select! {
            () = tasks.wait() => true,
            () = tokio::time::sleep(LAST_REQUESTS) => false,
            () = shutdown.cancelled() => false,
        }
    };
    if !ended.await {
        metrics.give_up();
        given_up.cancel();
        tasks.wait().await;
    }
    // Only now: the last calls may need the sessions at upstreams.
    last.cancel();
    if let Some(session) = session {
        session.end();
    }
    writer.await.unwrap_or(Ok(()))
}

impl Connection {
    async fn handle_line(self: &Arc<Self>, line: String) {
        if !batch::is_batch(&line) {
            return self.handle_message(line).await;
        }
        let version = self.session().map(|session| session.version());
        match batch::parse_items(&line, version) {
            // Each response is a line of its own, sent when it is ready, and not part of an array.
            Ok(items) => {
                for item in items {
                    self.handle_message(item.to_owned()).await;
                }
            }
            Err(fault) => self.send_fault(None, &fault, Era::Legacy).await,
        }
    }

    async fn handle_message(self: &Arc<Self>, line: String) {
        match Message::parse(&line) {
            // Not in a task of its own: the messages after it are in its session.
            Ok(Message::Request(request)) if request.method == method::INITIALIZE => {
                return self.handle_request(&request, line.len()).await;
            }
            Ok(Message::Request(_)) => {}
            Ok(Message::Notification(notification)) => {
                return self.handle_notification(&notification).await;
            }
            Ok(Message::Response(response)) => {
                if let Some(session) = self.session() {
                    relay::answer_upstream(&session, &Caller::local(), &response).await;
                }
                return;
            }
            Err(MessageError { id, fault }) => {
                return self.send_fault(id.as_ref(), &fault, Era::Legacy).await;
            }
        }
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return;
        };
        let connection = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Ok(Message::Request(request)) = Message::parse(&line) {
                connection.handle_request(&request, line.len()).await;
            }
            drop(slot);
        });
    }

    async fn handle_notification(self: &Arc<Self>, notification: &Notification<'_>) {
        match notification.method.as_ref() {
            method::CANCELLED => {
                let token = notification.cancelled_id().and_then(|id| {
                    let under_way = self.under_way.lock();
                    message::find_alike(&under_way, &id).map(|(_, token)| token.clone())
                });
                if let Some(token) = token {
                    token.cancel();
                }
            }
            // Only the first one opens the stream of changes.
            method::INITIALIZED if !self.is_listening.swap(true, Ordering::Relaxed) => {
                let connection = Arc::clone(self);
                self.tasks.spawn(async move {
                    let (live, end) = (&connection.live, connection.shutdown.clone());
                    let caller = Caller::local();
                    let changes = match connection.session() {
                        Some(session) => Changes::of_session(live, caller, session.listen(end)),
                        None => Changes::new(live, caller, Era::Legacy, ListKinds::ALL, end),
                    };
                    connection
                        .relay_changes(changes, message::notification)
                        .await;
                });
            }
            _ => {
                if let Some(session) = self.session() {
                    legacy::handle_notification(&session, notification).await;
                }
            }
        }
    }

    fn session(&self) -> Option<Arc<CallerSession>> {
        self.session.lock().clone()
    }

    async fn handle_request(&self, request: &Request<'_>, bytes: usize) {
        let modern = modern::claims_modern(request.meta.as_ref());
        let era = if modern { Era::Modern } else { Era::Legacy };
        let mut trace = Trace::new();
        trace.heed(request.meta.as_ref());
        let metrics = Arc::clone(&self.live.load().metrics);
        let record = Record::open(&metrics, Caller::local(), &request.method, &trace);
        let mut record = record.audited(self.live.audit(), request, bytes);
        record.begin_span(request, RequestOrigin::stdio());
        record.set_era(era);
        self.client.describe(era, request, &mut record);
        let answered = match (modern, request.method.as_ref(), self.session()) {
            (true, _, _) => self.handle_modern(request, &trace, record).await,
            (false, method::INITIALIZE, _) => self.initialize(request, record).await,
            (false, method::PING, _) => {
                self.answer(message::result(&request.id, "{}"), record)
                    .await;
                Ok(())
            }
            // Without the modern `_meta` this is a legacy message, and legacy has no such method.
            (false, method::DISCOVER, _) => {
                refuse(record, Fault::Method(method::DISCOVER.to_owned()))
            }
            (false, _, Some(session)) => {
                let scope = |live| {
                    Scope::new(live, Caller::local(), session.version(), &trace)
                        .in_session(&session)
                };
                self.relay(request, scope, record).await
            }
            (false, _, None) => refuse(
                record,
                Fault::Invalid("begin with initialize, or send the modern `_meta`"),
            ),
        };
        if let Err(fault) = answered {
            self.send_fault(Some(&request.id), &fault, era).await;
        }
    }

    /// Waits until all upstreams have been listed or have failed, at the latest until this time.
    async fn settle(&self, until: Instant) {
        let _ = tokio::time::timeout_at(until, self.live.settled()).await;
    }

    async fn initialize(&self, request: &Request<'_>, mut record: Record) -> Result<(), Fault> {
        self.settle(self.introduced_by).await;
        let initialized = {
            let snapshot = self.live.load();
            let caller = Caller::local();
            legacy::initialize(snapshot.view(&caller), &caller, request)
        };
        let (profile, body) = initialized.inspect_err(|fault| record.fail(fault))?;
        self.client.open(&profile, &record);
        let session = CallerSession::new(profile, ShareKey::Local, MemoryShare::unlimited());
        let former = self.session.lock().replace(session);
        if let Some(former) = former {
            former.end();
        }
        self.answer(body, record).await;
        Ok(())
    }

    async fn handle_modern(
        &self,
        request: &Request<'_>,
        trace: &Trace,
        mut record: Record,
    ) -> Result<(), Fault> {
        let checked =
            modern::check_envelope(request).and_then(|version| modern::check_version(&version));
        checked.inspect_err(|fault| record.fail(fault))?;
        let scope = |live| Scope::new(live, Caller::local(), Version::MODERN, trace);
        match request.method.as_ref() {
            method::DISCOVER => {
                self.settle(self.introduced_by).await;
                let answer = modern::discover(&scope(&self.live), request);
                self.answer(answer, record).await;
                Ok(())
            }
            method::LISTEN => self.listen(request, &scope(&self.live), record).await,
            _ => self.relay(request, scope, record).await,
        }
    }

    async fn listen(
        &self,
        request: &Request<'_>,
        scope: &Scope<'_>,
        record: Record,
    ) -> Result<(), Fault> {
        let token = self.begin(&request.id, &self.shutdown);
        let listened = match record.check_recordable() {
            Ok(()) => relay::listen(scope, request, token).await,
            Err(fault) => Err(fault),
        };
        match listened {
            Ok((listening, changes)) => {
                self.send(listening.acknowledged()).await;
                let render =
                    |method: &'static str, params: Option<&str>| listening.changed(method, params);
                self.relay_changes(changes, render).await;
                self.end(&request.id);
                self.answer(listening.ended(), record).await;
                Ok(())
            }
            Err(fault) => {
                self.end(&request.id);
                refuse(record, fault)
            }
        }
    }

    /// Answers a request through the relay. Its scope is opened once the upstreams have been
    /// listed.
    async fn relay<'s>(
        &'s self,
        request: &Request<'_>,
        scope: impl FnOnce(&'s Arc<Live>) -> Scope<'s>,
        record: Record,
    ) -> Result<(), Fault> {
        let token = self.begin(&request.id, &self.given_up);
        let begun = async {
            self.settle(self.settled_by).await;
            let scope = scope(&self.live).streaming(true);
            let scope = scope.with_crossings(self.crossings.as_ref());
            relay::answer(&scope, request, record).await
        };
        let mut begun = tokio::select! {
            begun = begun => begun.map(Some),
            () = token.cancelled() => Ok(None),
        };
        if let Ok(Some(reply)) = &mut begun {
            self.write_reply(reply, &token).await;
        }
        self.end(&request.id);
        begun.map(drop)
    }

    async fn write_reply(&self, reply: &mut Reply, token: &CancellationToken) {
        loop {
            let outgoing = tokio::select! {
                biased;
                outgoing = reply.next() => outgoing,
                () = token.cancelled() => {
                    reply.cancel();
                    reply.next().await
                }
            };
            match outgoing {
                Some(Outgoing::Message(message)) => self.send(message).await,
                Some(Outgoing::Paused(_)) => {}
                Some(Outgoing::Response(payload)) => self.send(payload.concat()).await,
                None => return,
            }
        }
    }

    async fn relay_changes(
        &self,
        mut changes: Changes,
        render: impl Fn(&'static str, Option<&str>) -> Bytes,
    ) {
        loop {
            match changes.next(Duration::MAX).await {
                ChangeEvent::Changed(method) => self.send(render(method, None)).await,
                ChangeEvent::Updated(method, params) => {
                    self.send(render(method, Some(&params))).await;
                }
                ChangeEvent::Message(message) => self.send(message).await,
                ChangeEvent::Silence => {}
                ChangeEvent::End => return,
            }
        }
    }

    fn begin(&self, id: &Id, end: &CancellationToken) -> CancellationToken {
        let token = end.child_token();
        self.under_way.lock().insert(id.clone(), token.clone());
        token
    }

    fn end(&self, id: &Id) {
        self.under_way.lock().remove(id);
    }

    /// Sends the result of a request that was answered here.
    async fn answer(&self, message: Bytes, mut record: Record) {
        record.succeed();
        record.add_bytes_out(message.len());
        self.send(message).await;
    }

    async fn send_fault(&self, id: Option<&Id>, fault: &Fault, era: Era) {
        self.send(Payload::fault(id, fault, era).concat()).await;
    }

    async fn send(&self, message: Bytes) {
        // The writer ends only when stdout is closed; then there is no caller any more.
        let _ = self.out.send(message).await;
    }
}

/// Records a request that is refused here.
fn refuse(mut record: Record, fault: Fault) -> Result<(), Fault> {
    record.fail(&fault);
    Err(fault)
}
