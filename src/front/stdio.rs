//! One caller on stdin and stdout: newline-delimited messages of either era.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::front::changes::{Changes, Next, Wanted};
use crate::front::{batch, legacy, listen, modern};
use crate::live::Live;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::{Fault, Refusal};
use crate::protocol::message::{self, Id, Message, Notification, Request};
use crate::protocol::method;
use crate::protocol::trace::Trace;
use crate::relay::{self, Outgoing, Payload, Scope};

/// Messages that wait to be written.
const OUTGOING: usize = 256;
/// Requests under way at once; what comes beyond waits on stdin.
const IN_FLIGHT: usize = 256;

/// How long after the start requests wait for upstreams that have not been listed yet: a client asks for
/// the list first, and many ask only once.
const SETTLING: Duration = Duration::from_secs(10);

/// How long what is under way at the end of stdin may still take: whoever pipes requests in closes it at once.
const LINGER: Duration = Duration::from_secs(5);

/// The one caller of a weir on stdio.
struct Caller {
    live: Arc<Live>,
    out: mpsc::Sender<Bytes>,
    tasks: TaskTracker,
    /// Ends what has no end of its own: subscriptions.
    shutdown: CancellationToken,
    /// Cancels requests.
    given_up: CancellationToken,
    session: Mutex<Option<Arc<relay::Caller>>>,
    /// Whether a legacy client is told of changes.
    listens: AtomicBool,
    under_way: Mutex<HashMap<Id, CancellationToken>>,
    places: Arc<tokio::sync::Semaphore>,
    settled_by: Instant,
}

/// Serves until stdin ends or `shutdown`; answers under way are still written.
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
    let writer = tasks.spawn(write(output, outgoing));
    let caller = Arc::new(Caller {
        live,
        out,
        tasks: tasks.clone(),
        shutdown: shutdown.child_token(),
        given_up: shutdown.child_token(),
        session: Mutex::new(None),
        listens: AtomicBool::new(false),
        under_way: Mutex::default(),
        places: Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT)),
        settled_by: Instant::now() + SETTLING,
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
            Some(Ok(line)) => caller.heard(line).await,
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                caller
                    .fault(
                        None,
                        &Fault::Invalid("the message is too long"),
                        Era::Legacy,
                    )
                    .await;
            }
            Some(Err(LinesCodecError::Io(error))) => return Err(error),
        }
    }
    caller.shutdown.cancel();
    let (session, given_up) = (caller.session(), caller.given_up.clone());
    drop(caller);
    tasks.close();
    if tokio::time::timeout(LINGER, tasks.wait()).await.is_err() {
        given_up.cancel();
        tasks.wait().await;
    }
    // What it has at upstreams is of use to its last calls.
    if let Some(session) = session {
        session.end();
    }
    writer.await.unwrap_or(Ok(()))
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Bytes>,
) -> std::io::Result<()> {
    while let Some(message) = outgoing.recv().await {
        // A line break inside JSON is insignificant whitespace; in this framing it would end the message.
        let mut line: Vec<u8> = message
            .iter()
            .map(|byte| {
                if matches!(byte, b'\n' | b'\r') {
                    b' '
                } else {
                    *byte
                }
            })
            .collect();
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}

impl Caller {
    async fn heard(self: &Arc<Self>, line: String) {
        if !batch::is_meant(&line) {
            return self.message(line).await;
        }
        let version = self.session().map(|session| session.version());
        match batch::items(&line, version) {
            // Answered one by one as they are ready: on a pipe nothing holds them together.
            Ok(items) => {
                for item in items {
                    self.message(item.to_owned()).await;
                }
            }
            Err(fault) => self.fault(None, &fault, Era::Legacy).await,
        }
    }

    async fn message(self: &Arc<Self>, line: String) {
        match Message::parse(&line) {
            // In turn: what comes after it on the pipe is in its session.
            Ok(Message::Request(request)) if request.method == method::INITIALIZE => {
                return self.request(&request).await;
            }
            Ok(Message::Request(_)) => {}
            Ok(Message::Notification(notification)) => return self.noted(&notification),
            Ok(Message::Response(response)) => {
                if let Some(caller) = self.session() {
                    caller.answered(&response);
                }
                return;
            }
            Err(Refusal { id, fault }) => {
                return self.fault(id.as_ref(), &fault, Era::Legacy).await;
            }
        }
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let caller = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Ok(Message::Request(request)) = Message::parse(&line) {
                caller.request(&request).await;
            }
            drop(place);
        });
    }

    fn noted(self: &Arc<Self>, notification: &Notification<'_>) {
        match notification.method.as_ref() {
            method::CANCELLED => {
                let found = legacy::cancelled_id(notification)
                    .and_then(|id| self.under_way.lock().remove(&id));
                if let Some(token) = found {
                    token.cancel();
                }
            }
            // Said once; said again, it asks for nothing more.
            method::INITIALIZED if !self.listens.swap(true, Ordering::Relaxed) => {
                let caller = Arc::clone(self);
                self.tasks.spawn(async move {
                    let end = caller.shutdown.clone();
                    let changes = match caller.session() {
                        Some(session) => Changes::of_session(&caller.live, session.listen(end)),
                        None => Changes::new(&caller.live, Wanted::ALL, end),
                    };
                    caller.tell(changes, message::notification).await;
                });
            }
            _ => {
                if let Some(caller) = self.session() {
                    legacy::notification(&caller, notification);
                }
            }
        }
    }

    fn session(&self) -> Option<Arc<relay::Caller>> {
        self.session.lock().clone()
    }

    async fn request(&self, request: &Request<'_>) {
        let modern = modern::claims(request.meta.as_ref());
        let session = self.session();
        let era = if modern { Era::Modern } else { Era::Legacy };
        let answered = match (modern, request.method.as_ref()) {
            (true, _) => self.modern(request).await,
            (false, method::INITIALIZE) => self.initialize(request).await,
            (false, method::PING) => {
                self.send(message::result(&request.id, "{}")).await;
                Ok(())
            }
            // A modern request that forgot its envelope gets told so by the probe's own rule.
            (false, method::DISCOVER) => Err(Fault::Method(method::DISCOVER.to_owned())),
            (false, _) => match session {
                Some(caller) => self.relay(request, Some(&caller)).await,
                None => Err(Fault::Invalid(
                    "begin with initialize, or send the modern `_meta`",
                )),
            },
        };
        if let Err(fault) = answered {
            self.fault(Some(&request.id), &fault, era).await;
        }
    }

    async fn initialize(&self, request: &Request<'_>) -> Result<(), Fault> {
        let (profile, body) = legacy::initialize(&self.live, request)?;
        let caller = relay::Caller::new(profile);
        let former = self.session.lock().replace(caller);
        if let Some(former) = former {
            former.end();
        }
        self.send(body).await;
        Ok(())
    }

    async fn modern(&self, request: &Request<'_>) -> Result<(), Fault> {
        let version = modern::envelope(request)?;
        modern::supported(&version)?;
        match request.method.as_ref() {
            method::DISCOVER => self.send(modern::discover(&self.live, request)).await,
            method::LISTEN => {
                let asked = listen::asked(request)?;
                let token = self.begin(&request.id, &self.shutdown);
                let changes = Changes::new(&self.live, asked.lists, token);
                let (followed, updates) = listen::follow(&self.live, request, asked).await;
                self.send(followed.acknowledged()).await;
                let changes = changes.with_updates(updates);
                self.tell(changes, |method, params| followed.changed(method, params))
                    .await;
                self.end(&request.id);
                self.send(followed.ended()).await;
            }
            _ => self.relay(request, None).await?,
        }
        Ok(())
    }

    async fn relay(
        &self,
        request: &Request<'_>,
        caller: Option<&Arc<relay::Caller>>,
    ) -> Result<(), Fault> {
        let token = self.begin(&request.id, &self.given_up);
        let answered = async {
            let _ = tokio::time::timeout_at(self.settled_by, self.live.settled()).await;
            let mut trace = Trace::new();
            trace.heed(request.meta.as_ref());
            let scope = Scope {
                snapshot: self.live.load_full(),
                live: &self.live,
                version: caller.map_or(Version::MODERN, |caller| caller.version()),
                headers: None,
                caller,
                streams: true,
                trace,
            };
            let mut reply = relay::answer(&scope, request).await?;
            while let Some(outgoing) = reply.next().await {
                match outgoing {
                    Outgoing::Message(message) => self.send(message).await,
                    Outgoing::Paused => {}
                    Outgoing::Response(payload) => self.send(payload.concat()).await,
                }
            }
            Ok(())
        };
        let answered = tokio::select! {
            answered = answered => answered,
            () = token.cancelled() => Ok(()),
        };
        self.end(&request.id);
        answered
    }

    async fn tell(
        &self,
        mut changes: Changes,
        render: impl Fn(&'static str, Option<&str>) -> Bytes,
    ) {
        loop {
            match changes.next().await {
                Next::Changed(method) => self.send(render(method, None)).await,
                Next::Updated(method, params) => self.send(render(method, Some(&params))).await,
                Next::Told(message) => self.send(message).await,
                Next::Silence => {}
                Next::End => return,
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

    async fn fault(&self, id: Option<&Id>, fault: &Fault, era: Era) {
        self.send(Payload::fault(id, fault, era).concat()).await;
    }

    async fn send(&self, message: Bytes) {
        // The writer is gone only when stdout is: then nobody is left to tell.
        let _ = self.out.send(message).await;
    }
}
