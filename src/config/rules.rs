//! Rules of the config that one value or several have to meet.

mod header;

use std::net::SocketAddr;

use super::guard::FieldPathError;
pub use header::HeaderSettingError;

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
    /// `hooks.*.methods`
    #[error("hooks do not see this method; they see {0}")]
    HookMethod(String),
    /// A hook that is nowhere.
    #[error("nothing says how to reach it: write `lambda`, `url`, `socket` or `command`")]
    NoHookTarget,
    /// `hooks.*.lambda.arn`
    #[error("not the ARN of a Lambda function: arn:aws:lambda:REGION:ACCOUNT:function:NAME")]
    LambdaArn,
    /// `hooks.*.lambda.auth`
    #[error("AWS takes signatures only: write `type: sigv4`")]
    LambdaAuth,
    /// A listener's address.
    #[error("not an address: write IP:PORT, such as 127.0.0.1:8000")]
    Address,
    /// `listen` open to the network by accident.
    #[error(
        "{0} can be reached from the network: write `auth` under `listen` (`auth: none` if something in front checks callers), or listen on 127.0.0.1"
    )]
    OpenListener(SocketAddr),
    /// `listen.auth` as a mapping without a way.
    #[error(
        "nothing says how callers are authenticated: write `jwt`, `api_keys`, `client_certificates` or `platform`, or `auth: none`"
    )]
    NoWayIn,
    /// `listen.auth.public_url` with a part after `?`.
    #[error("the URL of the endpoint has no `?` part")]
    PublicUrlQuery,
    /// `admin` open to the network.
    #[error(
        "{0} can be reached from the network: write `token: {{ env: NAME }}` or `auth` under `admin`, or listen on 127.0.0.1"
    )]
    OpenAdmin(SocketAddr),
    /// `admin.reading: open` for the network.
    #[error("{0} can be reached from the network: `open` is for loopback and Unix sockets")]
    OpenReading(SocketAddr),
    /// `admin.auth` without callers that prove who they are.
    #[error("operators log in as callers do: write a mapping as `listen.auth`, not `none`")]
    NoOperators,
    /// An entry of `admin.auth` that would make every caller of a kind an operator.
    #[error("would make every such caller an operator: write `subjects`, `scopes` or `claims`")]
    AnyOperator,
    /// An entry of `admin.auth` with a kind that `listen.auth` does not know.
    #[error("`listen.auth` has no `{0}`, so that nobody is of this kind")]
    NoSuchKind(&'static str),
    /// `kind: workload` under `admin.auth`.
    #[error("the admin listener has no TLS, so that no certificate arrives there")]
    OperatorCertificate,
    /// `issuer` of an entry of `admin.auth`.
    #[error("no issuer of `listen.auth`, which has {0}")]
    NoSuchIssuer(String),
    /// An entry of `admin.auth` for tokens of several issuers.
    #[error(
        "`kind: oauth_user` needs `issuer`, because `listen.auth` has several: the same subject of two issuers is two principals"
    )]
    WhichIssuer,
    /// `admin.mode` without a Unix socket.
    #[error("only a Unix socket has permissions: write `address: unix:PATH`, or leave this out")]
    ModeOfAddress,
    /// `admin.mode`
    #[error("not permissions of a socket: write 0600 for weir's user, 0660 for its group too")]
    Mode,
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
        "a key has at least 32 bytes of text, this one has {0}; `openssl rand -base64 32` makes one"
    )]
    SealingKey(usize),
    /// `limits.memory`
    #[error("weir needs at least 16MiB")]
    LittleMemory,
    /// A rule of `limits.rates` without a limit.
    #[error("limits nothing: write `requests`, `in_flight` or `bytes`")]
    NoRate,
    /// A rate of nothing.
    #[error("lets nothing pass: to close a tool, leave it out with `tools.deny` or by a policy")]
    ZeroRate,
    /// A rate that no machine reaches.
    #[error("more than ten million requests or KiB a second are no limit: leave it out")]
    FastRate,
    /// A rate that comes back too late to be kept.
    #[error("takes more than a year to come back: write less `burst`, or more in less time")]
    SlowRate,
    /// `limits.rates.*.name`
    #[error("the name of a rule has 1 to 64 of the characters A-Z a-z 0-9 _ . -")]
    RateName,
    /// Two rules of one name.
    #[error("{first} has the same name")]
    RateTwice {
        /// Where the first one is.
        first: String,
    },
    /// `limits.rates.*.methods`
    #[error(
        "not a method that can be limited: those are {}",
        super::rates::limitable_methods().collect::<Vec<_>>().join(", ")
    )]
    RateMethod,
    /// Tools in a rule about other methods.
    #[error("only `tools/call` has a tool: write a rule of its own for other `methods`")]
    RateTools,
    /// Upstreams in a rule about methods that go to none, or to several.
    #[error("`{0}` goes to no single upstream: write a rule of its own for it")]
    RateUpstreams(&'static str),
    /// `limits.rates.*.upstreams`
    #[error("there is no upstream of this name")]
    RateUpstream,
    /// Two policies with one `@id`.
    #[error("{first} has the same `@id`")]
    PolicyTwice {
        /// Where the first one is.
        first: String,
    },
    /// An upstream that policies would take for another one.
    #[error(
        "has `___` in its name, which stands between upstream and tool in policies: give it another name, and the old one as `namespace`"
    )]
    PolicyUpstream,
    /// More items than allowed.
    #[error("at most {0} are possible")]
    Most(u64),
    /// A text that every client would get.
    #[error("has {bytes} bytes, more than {most}")]
    LongText {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// `server.icons.*.src`
    #[error("not an `https://` or `data:` URL")]
    IconScheme,
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
    #[error("nothing says how to reach it: write `url`, `command`, `gateway` or `runtime`")]
    NoEndpoint,
    /// More than one of them.
    #[error("an upstream has one endpoint, and this one already has a `{0}`")]
    TwoEndpoints(&'static str),
    /// Another connector with a `command`.
    #[error("a child process is `on_prem`, not `{0}`")]
    ChildConnector(&'static str),
    /// `gateway` or `runtime` under another connector.
    #[error("`{key}` makes it an upstream of the connector `{connector}`")]
    OtherConnector {
        /// The key.
        key: &'static str,
        /// Its connector.
        connector: &'static str,
    },
    /// An `id` or `region` that the URL contradicts.
    #[error("the URL says `{0}`")]
    OtherThanUrl(String),
    /// A key without another that it needs.
    #[error("`{key}` needs `{other}`")]
    Needs {
        /// The key.
        key: &'static str,
        /// The key that is missing.
        other: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("`{key}` and `{other}` cannot be used together")]
    NotWith {
        /// The key.
        key: &'static str,
        /// The other.
        other: &'static str,
    },
    /// An `endpoint` with a part after `?`.
    #[error("an endpoint is a URL without `?` part")]
    NotBase,
    /// `auth` for callers without one for weir.
    #[error(
        "callers do not list an upstream, weir does: write `listing_auth` beside `auth`, with a login of weir's own (`type: none` if listing needs none)"
    )]
    NeedsListingAuth,
    /// `listing_auth` for callers.
    #[error("weir lists an upstream for itself: this login cannot be that of a caller")]
    ListingAuthOfCaller,
    /// `subject: caller_id` with several issuers.
    #[error(
        "several issuers under `listen.auth.jwt` may name different callers alike: leave one issuer, or write `subject: caller`"
    )]
    SubjectsOfIssuers,
    /// `listing_auth` without an `auth` for callers.
    #[error(
        "is for an `auth` of callers (`subject: caller`); this `auth` is weir's own and lists too: remove it"
    )]
    ListingAuthUnneeded,
    /// Neither of two keys.
    #[error("`{0}` or `{1}` is missing")]
    Neither(&'static str, &'static str),
    /// `gateway.id`
    #[error(
        "not the id of an AgentCore Gateway: a name of a-z, 0-9 and -, then - and 10 characters"
    )]
    GatewayId,
    /// `on_publish.synchronize.target`
    #[error("not the name of a target: letters and digits, with single - between")]
    TargetName,
    /// An AWS region.
    #[error("not an AWS region, such as eu-west-1")]
    Region,
    /// `runtime.arn`
    #[error("not the ARN of a Runtime: arn:aws:bedrock-agentcore:REGION:ACCOUNT:runtime/ID")]
    RuntimeArn,
    /// `runtime.agent_id`
    #[error("the id of an AgentCore Runtime has only the characters A-Z a-z 0-9 _ -")]
    RuntimeId,
    /// `runtime.account_id`
    #[error("the id of an AWS account has 12 digits")]
    Account,
    /// `runtime.qualifier`
    #[error("a qualifier has 1 to 48 of the characters A-Z a-z 0-9 _")]
    Qualifier,
    /// `assume_role`
    #[error("not the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME")]
    RoleArn,
    /// `assume_role.session_name`
    #[error("the name of a session has 2 to 64 of the characters A-Z a-z 0-9 _ + = , . @ -")]
    SessionName,
    /// `assume_role.external_id`
    #[error("an external id has 2 to 1224 of the characters A-Z a-z 0-9 _ + = , . @ : / -")]
    ExternalId,
    /// An authentication that the services of the connector do not support.
    #[error(
        "an `{connector}` accepts signatures or tokens: write `sigv4`, `bearer` or an `oauth2_…`"
    )]
    NotAtAws {
        /// The connector.
        connector: &'static str,
    },
    /// `oauth2_authorization_code` without a state folder.
    #[error(
        "tokens of `weir login` are stored in the state folder: write `state: {{ dir: … }}` in the main file"
    )]
    NeedsState,
    /// `parameters` with one that weir sends itself.
    #[error("weir sends this parameter itself")]
    OwnParameter,
    /// `scopes`
    #[error("a scope has no spaces, quotes or control characters, and is not empty")]
    Scope,
    /// An entry of `listen.auth.jwt` that would accept tokens for anybody.
    #[error(
        "tokens for other servers must not be accepted: write `audiences` or `clients` here, or `public_url` under `listen.auth`"
    )]
    NoAudience,
    /// Keys of an issuer over plain HTTP.
    #[error("keys that come over plain http could be replaced on their way: use https")]
    PlainKeys,
    /// `listen.auth.jwt.*.jwks.file`
    #[error("not a JWK Set: a JSON object with a list `keys`")]
    Jwks,
    /// `listen.auth.jwt.*.leeway`
    #[error("clocks may differ by 5m at most: tokens are accepted for that long after their end")]
    Leeway,
    /// `tls` with a plain URL.
    #[error("`tls` belongs to an `https` URL")]
    TlsOnPlain,
    /// `tls.server_name`
    #[error("not a host name")]
    ServerName,
    /// A key of children beside a `url`.
    #[error("`{0}` belongs to an upstream with a `command`")]
    NeedsCommand(&'static str),
    /// A key of HTTP upstreams beside a `command`.
    #[error(
        "`{0}` belongs to an upstream with a `url`; a child process gets secrets through `env`"
    )]
    NeedsUrl(&'static str),
    /// `type: sse`
    #[error(
        "the HTTP+SSE transport of 2024-11-05 is not supported; most servers also offer Streamable HTTP, often at /mcp"
    )]
    Sse,
    /// `type` against `url` or `command`.
    #[error("`type: stdio` goes with `command`, `type: http` with `url`")]
    Transport,
    /// The id of an API key.
    #[error("the id of a key has 1 to 32 letters, digits and `-`")]
    KeyId,
    /// `hash` of an API key.
    #[error("not a hash of a key, which `weir key new` writes: `sha256:` and 64 digits of hex")]
    KeyHash,
    /// `expires` of an API key.
    #[error("not a time: write a day such as 2027-02-01, or 2027-02-01T12:00:00Z")]
    Time,
    /// `listen.auth.platform.from[]`
    #[error("not a network: write ADDRESS/BITS such as 10.0.0.0/8, or one address")]
    Network,
    /// `listen.auth.platform.from` without any.
    #[error("name the networks of the platform: from elsewhere its headers mean nothing")]
    NoNetwork,
    /// An empty program, argument name, variable.
    #[error("must not be empty")]
    Empty,
    /// `"C:\tools"` in double quotes: a tab.
    #[error(
        "has a tab, a line break or the like, as `\\t` and `\\n` are in double quotes: write a Windows path in single quotes"
    )]
    ControlCharacter,
    /// A NUL in an argument or a variable, or `=` in a variable's name.
    #[error("has a character that no argument or environment variable can have")]
    Argument,
    /// `user`
    #[error("not a user: write NAME or UID:GID")]
    User,
    /// `inherit_env[]`
    #[error(
        "not the name of an environment variable: write a name, in which `*` stands for any characters, or `!` and such a name to leave it out"
    )]
    EnvEntry,
    /// `audit.sign`
    #[error("a key of Ed25519 is needed: `openssl genpkey -algorithm ed25519` makes one")]
    AuditKey,
    /// `audit.hash_key`
    #[error(
        "at least 32 bytes of text are needed, this one has {0}; `openssl rand -base64 32` makes one"
    )]
    AuditHashKey(usize),
    /// `audit.fsync`
    #[error("write `always`, `never` or a duration, such as `1s`")]
    AuditFsync,
    /// `audit.rotate.bytes`
    #[error("at least 64KiB are needed")]
    AuditBytes,
    /// `audit.rotate.every`
    #[error("at least 1m is needed")]
    AuditEvery,
    /// `audit.checkpoints`
    #[error("is the record file itself: write another file, on another volume if possible")]
    AuditCheckpoints,
    /// `override.*.name`
    #[error("a tool's name has 1 to 128 of the characters A-Z a-z 0-9 _ . -")]
    ToolName,
    /// The name of a class of data.
    #[error("the name of a class has capital letters, digits and `_`, and at most 64 of them")]
    ClassName,
    /// A class of the config with the name of one of weir's.
    #[error("weir has a class of this name: give yours another one")]
    ClassTaken,
    /// A class that there is not.
    #[error("`{found}` is no class of data{}", similar.as_deref().map_or_else(|| "; the classes are EMAIL, PHONE, CREDIT_DEBIT_CARD_NUMBER and the others of the docs page `data-rules`, and those under `detectors`".to_owned(), |similar| format!(" (did you mean `{similar}`?)")))]
    UnknownClass {
        /// The name.
        found: String,
        /// The class that was probably meant.
        similar: Option<String>,
    },
    /// A class that nothing finds.
    #[error(
        "no pattern finds values of this class: name their fields under `fields`, or use a class of your own with a pattern"
    )]
    NotFound,
    /// `tokenise` for a class with few values.
    #[error(
        "there are so few values of this class that pseudonyms of them can be guessed: write `mask`"
    )]
    GuessableClass,
    /// A pattern that matches the empty text.
    #[error("matches the empty text, which is everywhere")]
    MatchesNothing,
    /// `guard.redact.fields`
    #[error(transparent)]
    FieldPath(FieldPathError),
    /// `telemetry`
    #[error(transparent)]
    Telemetry(#[from] super::TelemetryRule),
    /// Two tools of one upstream with the same name.
    #[error("`{0}` has this name already")]
    ToolNameTwice(String),
}

/// An error of a URL.
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
    #[error("a URL has no `#` part here")]
    Fragment,
    /// `http://` to another machine.
    #[error(
        "plain http to `{host}` can be read and changed on the way: use https, or write `allow_plain_http: true`"
    )]
    Plain {
        /// The host.
        host: String,
    },
    /// A part after `?` where there must be none (RFC 8414 §2).
    #[error("the URL of an issuer has no `?` part")]
    Query,
}
