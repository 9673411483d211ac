//! What values must be, and what they must be together.

use std::net::SocketAddr;

/// A rule of the config that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `version`
    #[error("version {0} is not known; this weir reads version 1")]
    Version(u64),
    /// A number out of its range.
    #[error("must be from {least} to {most}")]
    Range {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A listener's address.
    #[error("not an address: write IP:PORT, such as 127.0.0.1:8000")]
    Address,
    /// `listen` open to the network by accident.
    #[error(
        "{0} can be reached from the network: write `auth: none` under `listen` if something in front checks callers, or listen on 127.0.0.1"
    )]
    OpenListener(SocketAddr),
    /// `admin` open to the network.
    #[error(
        "{0} can be reached from the network: write `token: {{ env: NAME }}` under `admin`, or listen on 127.0.0.1"
    )]
    OpenAdmin(SocketAddr),
    /// Two listeners on one address.
    #[error("`listen` has the same address")]
    SameAddress,
    /// `listen.path`
    #[error("a path begins with `/` and has only letters, digits and - _ . ~ /")]
    Path,
    /// `listen.path` on one of weir's own.
    #[error(
        "weir answers something else at this path; /healthz, /readyz, /ping and /.well-known are taken"
    )]
    TakenPath,
    /// `listen.allowed_hosts`
    #[error("not a host: write HOST or HOST:PORT, without scheme and path")]
    Host,
    /// `listen.allowed_origins`
    #[error("not an origin: write SCHEME://HOST or SCHEME://HOST:PORT, without path")]
    Origin,
    /// `sealing_key`
    #[error(
        "a sealing key has at least 32 bytes of text, this one has {0}; `openssl rand -base64 32` makes one"
    )]
    SealingKey(usize),
    /// `instance`
    #[error("an instance has 1 to 64 of the characters A-Z a-z 0-9 _ . -")]
    Instance,
    /// The same upstream in two places.
    #[error("there is an upstream of this name at {first} already")]
    UpstreamTwice {
        /// `file:line` of the other.
        first: String,
    },
    /// Neither `url` nor `command`.
    #[error("how is it reached? write `url` or `command`")]
    NoEndpoint,
    /// Both.
    #[error("an upstream has a `url` or a `command`, not both")]
    TwoEndpoints,
    /// `connector: saas` with a `command`.
    #[error("a child process is `on_prem`; a `saas` upstream has a `url`")]
    SaasChild,
    /// A key of children beside a `url`.
    #[error("`{0}` belongs to an upstream with a `command`")]
    NeedsCommand(&'static str),
    /// A key of HTTP upstreams beside a `command`.
    #[error("`{0}` belongs to an upstream with a `url`; a child process is given secrets by `env`")]
    NeedsUrl(&'static str),
    /// `type: sse`
    #[error(
        "the HTTP+SSE transport of 2024-11-05 is not spoken; most servers offer Streamable HTTP beside it, often at /mcp"
    )]
    Sse,
    /// `type` against `url` or `command`.
    #[error("`type: stdio` goes with `command`, `type: http` with `url`")]
    Transport,
    /// An empty program, argument name, variable.
    #[error("must not be empty")]
    Empty,
    /// A NUL in an argument or a variable, or `=` in a variable's name.
    #[error("has a character that no argument or environment variable can have")]
    Argument,
    /// `override.*.name`
    #[error("a tool's name has 1 to 128 of the characters A-Z a-z 0-9 _ . -")]
    ToolName,
    /// Two tools of one upstream with the same name.
    #[error("`{0}` has this name already")]
    ToolNameTwice(String),
    /// `hide_args` and `set_args` of one argument.
    #[error("`{0}` is in `hide_args` and in `set_args`; what is set is hidden anyway")]
    HiddenAndSet(String),
}

/// What is wrong with a `url`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Syntax(url::ParseError),
    /// Not HTTP.
    #[error("not an `https://` or `http://` URL")]
    Scheme,
    /// A user name or a password inside.
    #[error("a URL must not hold credentials; write them under `auth`")]
    Credentials,
    /// `#…`
    #[error("a URL of an MCP endpoint has no `#` part")]
    Fragment,
    /// `http://` to a host on the internet.
    #[error(
        "plain http to `{host}` can be read and changed on the way: use https, or write `allow_plain_http: true`"
    )]
    PlainPublic {
        /// The host.
        host: String,
    },
    /// `http://` to a private host that is said to be a third party's.
    #[error(
        "plain http to `{host}` can be read and changed on the way: use https, write `connector: on_prem` if the host is yours, or `allow_plain_http: true`"
    )]
    PlainSaas {
        /// The host.
        host: String,
    },
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a name.
    #[error("not a header name")]
    Name,
    /// One that weir or HTTP itself sets.
    #[error("weir sets this header itself")]
    Reserved,
    /// A value with a line break or another character that cannot be sent.
    #[error("has characters that a header cannot have, such as a line break")]
    Value,
    /// The same header twice.
    #[error("this header is set twice")]
    Twice,
    /// `basic` with `:` in the user name (RFC 7617 §2).
    #[error("a user name has no `:` and no control characters")]
    Username,
}
