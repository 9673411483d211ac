//! The ways to a subject besides plain HTTP/1.1: TLS, and HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http1::{Answer, is_response};
use crate::sse::Events;

/// The files of a subject's certificate, in the folder of the run.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
pub(crate) const KEY: &str = "key.pem";
const HOST: &str = "localhost";

/// The protocol in which a subject is called.
#[derive(Clone)]
pub(crate) enum Transport {
    Plain,
    /// HTTP/1.1 over TLS
    Tls(Arc<ClientConfig>),
    /// HTTP/2 without TLS, known beforehand
    Http2,
}

impl Transport {
    /// Returns TLS that trusts the certificate in the folder of the run.
    pub(crate) fn tls(folder: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{CERTIFICATE}: {error}");
        let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE));
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate.map_err(|error| failed(&error))?);
        added.map_err(|error| failed(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::Tls(Arc::new(config)))
    }
}

/// Makes the certificate of a subject, and writes it.
pub(crate) fn write_certificate(folder: &Path) -> Result<(), String> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]);
    let made = made.map_err(|error| error.to_string())?;
    let files = [
        (CERTIFICATE, made.cert.pem()),
        (KEY, made.signing_key.serialize_pem()),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// A connection for HTTP/1.1.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) async fn connect(
        address: SocketAddr,
        transport: &Transport,
    ) -> Result<Self, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let Transport::Tls(config) = transport else {
            return Ok(Self::Plain(stream));
        };
        let name = ServerName::try_from(HOST).map_err(|error| error.to_string())?;
        let connected = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        let connected = connected.await.map_err(|error| format!("TLS: {error}"))?;
        Ok(Self::Tls(Box::new(connected)))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// An HTTP/2 connection. What it is given is written as for HTTP/1.1.
pub(crate) struct Http2 {
    send: SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (send, connection) = shaken.map_err(|error| format!("HTTP/2: {error}"))?;
        // Ends with the last handle to it, which this struct has.
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(Self { send })
    }

    /// Sends a request; the message of its answer goes to `message`. `id` is that of a response in an event stream.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        id: Option<u64>,
        message: &mut Vec<u8>,
    ) -> Result<Answer, String> {
        let request = translate(request)?;
        let failed = |error: hyper::Error| format!("HTTP/2: {error}");
        let started = Instant::now();
        self.send.ready().await.map_err(failed)?;
        let answer = self.send.send_request(request).await.map_err(failed)?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let status = answer.status().as_u16();
        let session = header("mcp-session-id");
        let events = header("content-type").is_some_and(|kind| kind.starts_with("text/event-"));
        let body = answer.into_body().collect().await.map_err(failed)?;
        let body = body.to_bytes();
        let took = started.elapsed();
        message.clear();
        match id.filter(|_| events) {
            Some(id) => {
                let mut events = Events::default();
                let response = std::iter::from_fn(|| events.next(&body));
                let found = response.into_iter().find(|data| is_response(data, id));
                *message = found.ok_or("the event stream ended without a response")?;
            }
            None => message.extend_from_slice(&body),
        }
        Ok(Answer {
            status,
            session,
            took,
        })
    }
}

/// Reads a request that is written as for HTTP/1.1.
fn translate(request: &[u8]) -> Result<http::Request<Full<Bytes>>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut headers);
    let parsed = head.parse(request).map_err(|error| error.to_string())?;
    let httparse::Status::Complete(end) = parsed else {
        return Err("half a request".into());
    };
    let header = |name: &str| {
        let found = head.headers.iter();
        let mut found = found.filter(|header| header.name.eq_ignore_ascii_case(name));
        String::from_utf8_lossy(found.next().map_or(b"", |header| header.value)).into_owned()
    };
    let uri = format!("http://{}{}", header("host"), head.path.unwrap_or("/"));
    let mut translated = http::Request::builder()
        .method(head.method.unwrap_or("POST"))
        .uri(uri);
    for header in head.headers.iter() {
        if !["host", "content-length"].contains(&header.name) {
            translated = translated.header(header.name, header.value);
        }
    }
    let body = Bytes::copy_from_slice(request.get(end..).unwrap_or_default());
    let translated = translated.body(Full::new(body));
    translated.map_err(|error| error.to_string())
}
