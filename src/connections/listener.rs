//! Listeners: an address of TCP, with TLS or without, or a Unix socket for operators of this
//! machine.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::connections::write_watch::WriteWatch;
use crate::processes;
use crate::tls::ListenerTls;

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// An address of TCP.
    Tcp(TcpListener),
    /// An address of TCP where clients speak TLS.
    Tls(TcpListener, Arc<ListenerTls>),
    /// A Unix socket. The permissions of its file decide who may connect.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Binds an address of TCP, and returns it with the port that it got.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((Self::Tcp(listener), bound))
    }

    /// Returns the listener with TLS on its connections.
    #[must_use]
    pub fn over_tls(self, tls: Arc<ListenerTls>) -> Self {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => Self::Tls(listener, tls),
            Self::Unix(..) => self,
        }
    }

    /// Returns the TLS of its connections.
    pub(super) fn tls(&self) -> Option<&Arc<ListenerTls>> {
        match self {
            Self::Tls(_, tls) => Some(tls),
            Self::Tcp(_) | Self::Unix(..) => None,
        }
    }

    /// Binds a Unix socket with this mode. The file of a socket that nobody listens on any more is
    /// replaced. A missing folder is made, for its owner only.
    ///
    /// # Errors
    /// Another process listens there, the path is something else than a socket, or the operating
    /// system refuses.
    pub fn bind_unix(path: &Path, mode: u32) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        if !folder.as_os_str().is_empty() {
            private_folder(true).create(folder)?;
        }
        refuse_taken(path)?;
        // Bound in a folder of its own and then renamed: at no time can anybody connect whom the
        // mode does not allow, and a stale socket is replaced in one step.
        let nest = folder.join(format!(".w{}", std::process::id()));
        private_folder(true).create(&nest)?;
        let bound = bind_in(&nest, path, mode);
        let _ = fs::remove_file(nest.join(NESTED));
        let _ = fs::remove_dir(&nest);
        bound
    }

    /// Accepts a connection, and returns the address at its other end if it has one. With TLS, the
    /// handshake is still to come.
    ///
    /// # Errors
    /// The operating system has none to give, or the peer may not connect
    /// ([`io::ErrorKind::ConnectionRefused`]).
    pub(super) async fn accept(&self) -> io::Result<(ClientStream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => {
                let (stream, address) = listener.accept().await?;
                // Small messages are not held back to be sent together.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY not set");
                }
                Ok((ClientStream::Tcp(stream), Some(address.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                refuse_children(&stream)?;
                Ok((ClientStream::Unix(stream), None))
            }
        }
    }
}

impl Listener {
    /// Lets no further handshake of TCP begin, where the system can do that. Clients repeat it, by
    /// default a second later, and find the listener closed then.
    #[cfg(target_os = "linux")]
    pub(super) fn end_handshakes(&self) {
        let (Self::Tcp(listener) | Self::Tls(listener, _)) = self else {
            return;
        };
        if let Err(error) = SockRef::from(listener).attach_filter(&NO_SYN) {
            tracing::debug!(%error, "handshakes go on until the listener is closed");
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn end_handshakes(&self) {}
}

/// A packet filter (socket(7), `SO_ATTACH_FILTER`) that drops the first packet of a handshake: those
/// in which `SYN` is set among the flags, which are the 14th byte of TCP's header (RFC 9293 §3.1).
#[cfg(target_os = "linux")]
const NO_SYN: [SockFilter; 4] = [
    // BPF_LD | BPF_B | BPF_ABS
    SockFilter::new(0x30, 0, 0, 13),
    // BPF_JMP | BPF_JSET | BPF_K: drops if set, else skips that.
    SockFilter::new(0x45, 0, 1, 0x02),
    // BPF_RET | BPF_K: no byte of it is taken, or all are.
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// The name of a socket before it is renamed.
const NESTED: &str = "s";

fn private_folder(recursive: bool) -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(recursive).mode(0o700);
    builder
}

fn bind_in(nest: &Path, path: &Path, mode: u32) -> io::Result<Listener> {
    let nested = nest.join(NESTED);
    let listener = UnixListener::bind(&nested)?;
    fs::set_permissions(&nested, Permissions::from_mode(mode))?;
    fs::rename(&nested, path)?;
    let file = SocketFile {
        inode: fs::metadata(path)?.ino(),
        path: path.to_owned(),
    };
    Ok(Listener::Unix(listener, file))
}

/// Fails if a path is taken by something else than a socket that nobody listens on.
fn refuse_taken(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        let error = "there is a file of this name that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, error));
    }
    match BlockingUnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => Ok(()),
    }
}

/// Fails if the peer runs below weir: an upstream's process has weir's user, so that the mode of
/// the socket does not keep it out.
fn refuse_children(stream: &UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    if peer.pid().is_some_and(processes::runs_below_this) {
        tracing::warn!(
            pid = peer.pid(),
            "a process below weir may not use the admin socket: its connection was closed"
        );
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// The file of a Unix socket, removed with its listener.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        // Another weir may have replaced it.
        if found.is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The connection of a client.
#[derive(Debug)]
pub(super) enum ClientStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over TCP with TLS, after the handshake.
    Tls(Box<TlsStream<WriteWatch>>),
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
