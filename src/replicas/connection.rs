//! The one connection to the store, made again whenever it is lost.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::replicas::news::StoreNews;
use crate::replicas::store::{CurrentConnection, SharedStore, describe};
use crate::secret::Secret;

/// The longest that connecting takes, with TLS and login.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a silent connection is tested.
const TEST: Duration = Duration::from_secs(1);
/// The first pause between two attempts to connect, which doubles, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the connection outlasts the end of weir, for what is given back then.
const LAST_POSTS: Duration = Duration::from_millis(100);
/// Commands that wait for their place on the connection.
const PIPELINE: usize = 256;
/// Commands without an answer that are sent together.
const AT_ONCE: usize = 256;

/// A connection of bytes.
pub trait StoreStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> StoreStream for S {}

/// The login at the store.
#[derive(Clone, Debug)]
pub struct StoreLogin {
    /// The number of the database.
    pub database: u32,
    /// The user; `None` is the default user.
    pub username: Option<Box<str>>,
    /// The password, if there is one.
    pub password: Option<Secret>,
}

/// A fresh connection, and the login for it.
pub struct DialedStore {
    /// The connection.
    pub stream: Box<dyn StoreStream>,
    /// The login, which may change between two connections.
    pub login: StoreLogin,
}

impl fmt::Debug for DialedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialedStore")
    }
}

/// The reason why there is no connection, in words for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DialError(pub Box<str>);

/// The future of one attempt to connect.
pub type DialFuture = Pin<Box<dyn Future<Output = Result<DialedStore, DialError>> + Send>>;

/// Moves the bytes of a connection.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a connection.
pub type Dial = Box<dyn Fn() -> DialFuture + Send + Sync>;

impl SharedStore {
    /// Keeps a connection until `stop`, and a moment more. To be run once.
    pub async fn run(self: Arc<Self>, dial: Dial, stop: CancellationToken) {
        let Some(mut posted) = self.posted.lock().take() else {
            debug_assert!(false, "the store is run twice");
            return;
        };
        let (mut pause, mut is_told) = (FIRST_PAUSE, false);
        loop {
            let kept = tokio::select! {
                kept = self.keep(&dial, &mut posted) => kept,
                () = ended(&stop) => return,
            };
            match kept {
                Ok(()) => (pause, is_told) = (FIRST_PAUSE, false),
                Err(error) => {
                    if !is_told {
                        tracing::warn!(%error, "the store of the replicas cannot be reached: weir tries on");
                        is_told = true;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            let rest = tokio::time::sleep(pause);
            if stop.run_until_cancelled(rest).await.is_none() {
                return;
            }
        }
    }

    /// Connects, and keeps the connection as long as it is of use.
    ///
    /// # Errors
    /// There is no connection.
    async fn keep(
        self: &Arc<Self>,
        dial: &Dial,
        posted: &mut mpsc::Receiver<Cmd>,
    ) -> Result<(), DialError> {
        let connecting = tokio::time::timeout(CONNECT, self.connect(dial));
        let connected = connecting.await;
        let late = |_| DialError("no connection in time".into());
        let (multiplexed, mut driver) = connected.map_err(late)??;
        let number = self.next_number();
        let connection = CurrentConnection {
            number,
            multiplexed,
        };
        let used = tokio::select! {
            () = &mut driver => Err(DialError("the connection broke at once".into())),
            used = self.use_connection(connection, posted) => used,
        };
        match self.lose(number, "the connection broke") {
            true => Ok(()),
            false => used,
        }
    }

    /// Connects and logs in. The second value moves the bytes.
    async fn connect(
        self: &Arc<Self>,
        dial: &Dial,
    ) -> Result<(MultiplexedConnection, Driver), DialError> {
        let DialedStore { stream, login } = dial().await?;
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(login.database))
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let Some(username) = &login.username {
            info = info.set_username(username);
        }
        if let Some(password) = &login.password {
            info = info.set_password(password.expose());
        }
        let store = Arc::downgrade(self);
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE)
            .set_push_sender(move |push: PushInfo| receive(&store, &push));
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (multiplexed, driver) = made.map_err(|error| DialError(describe(&error).into()))?;
        Ok((multiplexed, Box::pin(driver)))
    }

    /// Subscribes to news, puts the connection to use, and tests it until it is of none.
    ///
    /// # Errors
    /// The store does not let weir subscribe.
    async fn use_connection(
        &self,
        connection: CurrentConnection,
        posted: &mut mpsc::Receiver<Cmd>,
    ) -> Result<(), DialError> {
        let number = connection.number;
        let mut multiplexed = connection.multiplexed.clone();
        let subscribed = multiplexed.subscribe(self.channel());
        match tokio::time::timeout(CONNECT, subscribed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(DialError(describe(&error).into())),
            Err(_) => return Err(DialError("it did not answer in time".into())),
        }
        tracing::info!("the store of the replicas is reached");
        self.put_up(connection);
        let mut commands = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                () = self.broken.notified() => {}
                count = posted.recv_many(&mut commands, AT_ONCE) => {
                    debug_assert!(count > 0, "the store has a sender");
                    let mut pipeline = redis::pipe();
                    for command in commands.drain(..) {
                        pipeline.add_command(command).ignore();
                    }
                    let _ = self.ask_all(&pipeline).await;
                }
                () = tokio::time::sleep(TEST) => {
                    let _ = self.ask::<Value>(&redis::cmd("PING")).await;
                }
            }
            let is_current = |current: CurrentConnection| current.number == number;
            if !self.connection().is_some_and(is_current) {
                return Ok(());
            }
        }
    }
}

/// Waits until weir has ended, and what its parts give back then is sent.
async fn ended(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_POSTS).await;
}

/// Passes on what the store sends unasked.
fn receive(store: &Weak<SharedStore>, push: &PushInfo) -> Result<(), SendError> {
    let store = store.upgrade().ok_or(SendError)?;
    if push.kind == PushKind::Message
        && let [_, Value::BulkString(message)] = push.data.as_slice()
        && let Some(news) = StoreNews::read(message, store.me())
    {
        store.pass_on(news);
    }
    Ok(())
}
