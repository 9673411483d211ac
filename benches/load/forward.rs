//! Roles `forward` and `route`: what any proxy, and any MCP router, costs on this machine at the least.
//!
//! `forward` hands bytes on without reading them. `route` reads the body, parses one level of the envelope,
//! strips the `u00__` prefix of a tools/call's tool name and chooses the upstream by it; everything else
//! goes to the first upstream. No merging, no sessions, no checks, no policy: the physical limit for weir.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::body::{Body, accept, read_all};

const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// More than the callers of any run, so that no call has to connect.
const IDLE_CONNECTIONS: usize = 4096;

#[derive(Args, Debug)]
pub(crate) struct ForwardArgs {
    /// Where everything goes
    #[arg(long)]
    to: Uri,
}

#[derive(Args, Debug)]
pub(crate) struct RouteArgs {
    /// Upstreams, `PREFIX=URL` each; the first gets what no prefix decides
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<String>,
}

/// One upstream of the router: the prefix that chooses it, and where it is.
struct RouterUpstream {
    prefix: String,
    to: Uri,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

type Upstreams = Client<HttpConnector, Body>;

pub(crate) async fn forward(args: ForwardArgs, ready: impl FnOnce(&[u16])) -> std::io::Result<()> {
    let to = args.to;
    serve(ready, move |upstreams, mut head, body| {
        head.uri = to.clone();
        async move { send(&upstreams, head, Body::Relayed(body)).await }
    })
    .await
}

pub(crate) async fn route(args: RouteArgs, ready: impl FnOnce(&[u16])) -> std::io::Result<()> {
    let ways: Arc<[RouterUpstream]> = args
        .to
        .iter()
        .map(|way| {
            let (prefix, to) = way.split_once('=')?;
            let (prefix, to) = (prefix.to_owned(), to.parse().ok()?);
            Some(RouterUpstream { prefix, to })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| std::io::Error::other("--to takes PREFIX=URL"))?;
    serve(ready, move |upstreams, mut head, body| {
        let ways = ways.clone();
        async move {
            let Ok(body) = read_all(body).await else {
                return bad_gateway();
            };
            let body = match rewrite(&mut head, body, &ways) {
                body if body.is_empty() => Body::empty(),
                body => Body::whole(body),
            };
            send(&upstreams, head, body).await
        }
    })
    .await
}

/// Sends the request on and relays the answer, its body as it comes.
async fn send(upstreams: &Upstreams, mut head: Parts, body: Body) -> Response<Body> {
    head.headers.remove(HOST);
    let answer = upstreams.request(Request::from_parts(head, body)).await;
    answer.map_or_else(|_| bad_gateway(), |answer| answer.map(Body::Relayed))
}

fn bad_gateway() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Chooses the upstream and gives the body for it, the prefix cut out of the original bytes.
fn rewrite(head: &mut Parts, body: Bytes, ways: &[RouterUpstream]) -> Bytes {
    let name = serde_json::from_slice::<Envelope<'_>>(&body)
        .ok()
        .filter(|envelope| envelope.method == Some("tools/call"))
        .and_then(|envelope| envelope.params?.name)
        .map(|name| name.get().trim_matches('"'));
    let Some((name, cut)) = name.zip(choose(head, ways, name)) else {
        return body;
    };
    let at = name.as_ptr().addr() - body.as_ptr().addr();
    let mut rewritten = Vec::with_capacity(body.len() - cut);
    rewritten.extend_from_slice(&body[..at]);
    rewritten.extend_from_slice(&body[at + cut..]);
    // A modern request repeats the name in a header.
    if let Some(value) = head.headers.get_mut(NAME)
        && let Ok(short) = HeaderValue::from_str(&name[cut..])
    {
        *value = short;
    }
    head.headers.remove(CONTENT_LENGTH);
    rewritten.into()
}

/// Points the request at its upstream; gives the length of the prefix if a prefix decided.
fn choose(head: &mut Parts, ways: &[RouterUpstream], name: Option<&str>) -> Option<usize> {
    let way = name.and_then(|name| ways.iter().find(|way| name.starts_with(&way.prefix)));
    if let Some(chosen) = way.or_else(|| ways.first()) {
        head.uri = chosen.to.clone();
    }
    way.map(|way| way.prefix.len())
}

/// Accepts for ever and answers every request with `relay`.
async fn serve<R, F>(ready: impl FnOnce(&[u16]), relay: R) -> std::io::Result<()>
where
    R: Fn(Upstreams, Parts, Incoming) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let upstreams = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready(&[listener.local_addr()?.port()]);
    loop {
        let stream = TokioIo::new(accept(&listener).await);
        let (relay, upstreams): (R, Upstreams) = (relay.clone(), upstreams.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let answer = relay(upstreams.clone(), head, body);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
    }
}
