//! A box between weir and an upstream that forgets connections, as NATs and balancers do: what is sent on one after
//! a pause vanishes, and nobody is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Gone when dropped.
pub struct Swallower {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _stop: DropGuard,
}

/// When something last came over a connection; `None` once it is forgotten.
type Last = Arc<Mutex<Option<Instant>>>;

impl Swallower {
    /// In front of an upstream. Connections are forgotten after `idle`.
    pub async fn before(upstream: SocketAddr, idle: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (tasks, stopped) = (TaskTracker::new(), stop.clone());
        let (opened, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (opening, closing) = (Arc::clone(&opened), Arc::clone(&open));
        let run = async move {
            while let Ok((outside, _)) = listener.accept().await {
                opening.fetch_add(1, Ordering::Relaxed);
                closing.fetch_add(1, Ordering::Relaxed);
                let inside = TcpStream::connect(upstream).await.unwrap();
                let last: Last = Arc::new(Mutex::new(Some(Instant::now())));
                let ((from, to), (back, forth)) = (outside.into_split(), inside.into_split());
                let coming = pass(from, forth, Arc::clone(&last), idle);
                let (going, closed) = (pass(back, to, last, idle), Arc::clone(&closing));
                tasks.spawn(stopped.clone().run_until_cancelled_owned(async move {
                    coming.await;
                    closed.fetch_sub(1, Ordering::Relaxed);
                }));
                tasks.spawn(stopped.clone().run_until_cancelled_owned(going));
            }
        };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(run));
        Self {
            address,
            opened,
            open,
            _stop: stop.drop_guard(),
        }
    }

    /// Returns the number of connections that were opened.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Returns the number of those that were not closed by the side that opened them.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, last: Last, idle: Duration) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let known = {
            let mut last = last.lock().unwrap();
            *last = last
                .filter(|at| at.elapsed() < idle)
                .map(|_| Instant::now());
            last.is_some()
        };
        if known && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
