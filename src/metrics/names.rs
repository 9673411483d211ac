//! The name of every metric, with its labels and what it means. `docs/src/reference/metrics.md` is made of them.

/// One metric.
#[derive(Debug)]
pub struct MetricFamily {
    /// Its name, with the unit, and `_total` for a counter.
    pub name: &'static str,
    /// Its type.
    pub kind: FamilyKind,
    /// The labels of its values.
    pub labels: &'static [&'static str],
    /// Its meaning: one line, without quotes and backslashes.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Grows until weir ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound, with sum and total.
    Histogram,
}

impl FamilyKind {
    /// Returns its name in the text format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($const:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $const: MetricFamily = MetricFamily {
                name: $name,
                kind: FamilyKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All metrics, in the order in which they are written.
        pub const ALL: &[&MetricFamily] = &[$(&$const),*];
    };
}

families! {
    BUILD = "weir_build_info" Gauge ["version", "commit", "date", "profile", "target", "rustc"]
        "1, with what weir --version says: version, commit, date of the source, profile of cargo, target, and compiler; unknown where the build did not know it.";
    CALLS = "weir_calls_total" Counter ["upstream", "method", "tool", "outcome"]
        "Finished requests to an upstream. ok: a result; error: an error of the upstream; failed: no usable answer; cancelled: the caller cancelled it or left. tool is the exposed name of the tool, and empty for other methods.";
    CALL_SECONDS = "weir_call_duration_seconds" Histogram ["upstream", "method", "tool"]
        "Duration of the same requests, including the time in the queue, without the time for which a caller is asked something.";
    CALL_ERRORS = "weir_call_errors_total" Counter ["upstream", "method", "tool", "blame"]
        "The same requests that ended with error or failed, by who has to act: caller (like HTTP 4xx), upstream or weir (like 5xx).";
    CALL_ADDED_SECONDS = "weir_call_added_seconds" Histogram ["upstream", "method", "tool"]
        "The part of the duration of answered requests that weir added: from their arrival until they are sent, including the time in the queue, and from the end of the upstream's answer on.";
    CALLER_CALLS = "weir_caller_calls_total" Counter ["caller", "outcome", "blame"]
        "Finished requests by caller: the id of an API key, the OAuth client of a token, or the kind of caller; other beyond 256. outcome as in weir_calls_total; blame is empty for ok and cancelled.";
    CACHE = "weir_cache_total" Counter ["cache", "outcome"]
        "Look-ups in a cache: hit, miss. tokens: verdicts on tokens of callers; jwks: keys of their issuers, where there is no verdict yet; views: what a class of callers sees. A reload of its settings begins anew.";
    CALLS_IN_FLIGHT = "weir_calls_in_flight" Gauge ["upstream"]
        "Requests under way at an upstream, at most limits.in_flight.";
    CALLS_QUEUED = "weir_calls_queued" Gauge ["upstream"]
        "Requests that wait because limits.in_flight is reached.";
    ERRORS = "weir_errors_total" Counter ["blame"]
        "Valid requests that weir answered with an error of its own, by who has to act: caller, upstream, weir.";
    RESPONSES = "weir_http_responses_total" Counter ["code"]
        "Answers of the MCP endpoint by HTTP status. Invalid requests are counted only here.";
    POLICY_DECISIONS = "weir_policy_decisions_total" Counter ["decision"]
        "Requests that policies decided: allow, deny, would_deny (it passes, because it is only recorded).";
    REFUSALS = "weir_caller_refusals_total" Counter ["reason"]
        "Requests whose caller was not let in: missing, malformed, invalid_token, insufficient_scope, unavailable (the keys of the issuer cannot be fetched).";
    LIMITED = "weir_limited_total" Counter ["rule"]
        "Requests that a rule of limits.rates refused.";
    GUARDED = "weir_guard_values_total" Counter ["direction", "class", "action"]
        "Values that rules of guard.redact found, by what happened to them: tokenise, mask, block, report, restore; unknown: a pseudonym that could not be turned back.";
    TELEMETRY_DROPPED = "weir_telemetry_dropped_total" Counter ["signal"]
        "Spans (traces) and log records (logs) that were not taken by the receiver of telemetry in time, and how often it did not take the metrics (metrics).";
    VALIDATION = "weir_guard_validation_total" Counter ["upstream", "part", "found", "consequence"]
        "What guard.validate found in calls. part: arguments, results; found: schema, limit, invisible, unchecked (the schema cannot be applied); consequence: reported, removed, refused.";
    HOOK_CALLS = "weir_hook_calls_total" Counter ["hook", "phase", "outcome"]
        "Messages that hooks were asked about. phase: request, response; outcome: ok, or why there was no usable answer (timeout, deadline, busy, circuit, unreachable, broken, status, function, too_large, too_long, answer).";
    HOOK_SECONDS = "weir_hook_duration_seconds_total" Counter ["hook"]
        "Time that messages waited for a hook.";
    ASKS = "weir_asks_total" Counter ["upstream", "outcome"]
        "Questions of an upstream (elicitation, sampling, roots) to callers of the other era. asked: put to the caller; answered: it gave a result; expired: it did not within timeouts.ask; refused: it answered with an error, or cannot be asked.";
    UP = "weir_upstream_up" Gauge ["upstream"]
        "1 if the last attempt to list an upstream succeeded, 0 if it failed or none has ended yet.";
    STARTING = "weir_upstream_starting" Gauge ["upstream"]
        "1 while the child process of an upstream is started and has not answered yet.";
    CREDENTIALS = "weir_credential_state" Gauge ["upstream", "state"]
        "1 for the current state of an upstream's credentials, 0 for the others: ok, refreshing, expiring, failing, reauth_needed, clock_skew.";
    CREDENTIALS_EXPIRE = "weir_credential_expiry_seconds" Gauge ["upstream"]
        "Time until the credential in use expires, if known.";
    CREDENTIAL_REQUESTS = "weir_credential_requests_total" Counter ["upstream", "outcome"]
        "Requests to token endpoints and to AWS for an upstream's credentials: granted, failed.";
    UPSTREAM_SESSIONS = "weir_upstream_sessions" Gauge ["upstream"]
        "Connections to an upstream: sessions, or the process of a child.";
    LISTING_AGE = "weir_listing_age_seconds" Gauge ["upstream"]
        "Time since the last successful listing of an upstream.";
    LISTING_STALE = "weir_listing_stale" Gauge ["upstream"]
        "1 if the listing of an upstream may be out of date, because the upstream fails or has not answered since weir started.";
    LISTING_ITEMS = "weir_listing_items" Gauge ["upstream", "kind"]
        "Definitions in the last successful listing of an upstream: tools, prompts, resources, templates.";
    LISTING_FAILED = "weir_listing_failed" Gauge ["upstream", "kind"]
        "1 if the list of a kind failed when others of the upstream came, so that it keeps what it had: tools, prompts, resources, templates.";
    QUARANTINED = "weir_listing_quarantined" Gauge ["upstream"]
        "Definitions left out of the last successful listing of an upstream, because they cannot be used.";
    DRIFTED = "weir_drifted_definitions" Gauge ["upstream"]
        "Definitions that differ from their pin and await `weir accept`: held or quarantined, according to `drift`.";
    RESYNCS = "weir_resyncs_total" Counter ["upstream", "outcome"]
        "Finished listings of an upstream: listed, failed.";
    RELOADS = "weir_config_reloads_total" Counter ["outcome", "trigger"]
        "Reloads of the config by outcome (applied, unchanged, refused) and trigger (file, signal, request).";
    RELOAD_GOOD = "weir_config_last_reload_successful" Gauge []
        "1 if the config was valid when last read, 0 if it was refused and the previous one is in force.";
    RELOADED = "weir_config_last_reload_success_timestamp_seconds" Gauge []
        "When a valid config was last read, in seconds since 1970.";
    GENERATION = "weir_generation" Gauge []
        "The number of the snapshot that callers see.";
    PUBLICATIONS = "weir_publications_total" Counter []
        "Snapshots that replaced another.";
    CATALOG_ITEMS = "weir_catalog_items" Gauge ["kind"]
        "Definitions that callers see: tools, prompts, resources, templates.";
    CONFLICTS = "weir_name_conflicts" Gauge []
        "Definitions exposed under another name, because theirs was taken.";
    LEGACY_SESSIONS = "weir_legacy_sessions" Gauge []
        "Legacy sessions of callers that were used since weir started and have not ended; at most 10,000 are remembered.";
    PARKED_CALLS = "weir_parked_calls" Gauge []
        "Calls that wait for their callers to answer a question of a legacy upstream.";
    GET_STREAMS = "weir_get_streams" Gauge []
        "Open GET streams of legacy sessions.";
    LISTEN_STREAMS = "weir_listen_streams" Gauge []
        "Open subscriptions/listen streams of modern callers.";
    KEPT_MEMORY = "weir_kept_memory_bytes" Gauge []
        "Bytes kept for callers and upstreams, of which there are at most limits.memory.";
    TLS_FAILURES = "weir_tls_handshakes_failed_total" Counter []
        "Connections to the listener for which TLS was not agreed on: refused certificates, other protocols, clients that hung up or took too long.";
    AUDIT_RECORDS = "weir_audit_records_total" Counter []
        "Lines written to audit.file.";
    AUDIT_MISSING = "weir_audit_missing_total" Counter []
        "Lines left out of audit.file, because it could not be written and there was no room for more to wait.";
    AUDIT_WAITING = "weir_audit_waiting" Gauge []
        "Lines that wait to be written to audit.file, and the room that calls under way have taken for theirs.";
    AUDIT_FAILING = "weir_audit_failing" Gauge []
        "1 while audit.file cannot be written: calls are refused then, unless audit.on_failure is drop.";
    STORE_UP = "weir_replicas_store_up" Gauge []
        "1 while there is a connection to the store of replicas.store, 0 while there is none, or no such store.";
    STORE_LOSSES = "weir_replicas_store_lost_total" Counter []
        "Connections to the store of replicas.store that were lost.";
    STORE_FAILURES = "weir_replicas_store_failures_total" Counter []
        "Requests to the store of replicas.store that failed, or were not made because there was no connection.";
    LISTINGS_LED = "weir_replicas_listings_led" Gauge []
        "Upstreams that this replica lists for all, 0 while there is no store.";
    LISTINGS_TAKEN = "weir_replicas_listings_taken_total" Counter []
        "Listings of other replicas that this one took over instead of listing the upstream.";
    LISTINGS_REFUSED = "weir_replicas_listings_refused_total" Counter []
        "Listings in the store of replicas.store that were refused: no replica sealed them, or they are too old, or damaged.";
    FORWARDED = "weir_replicas_forwarded_total" Counter ["outcome"]
        "Requests that this replica forwarded to others of replicas.peers. answered: the other one answered; absent: the one that has the call is not there; busy: as many were being forwarded as may be; large: the caller has more claims than go on with a request. What all are told counts once for each.";
    RECEIVED = "weir_replicas_received_total" Counter ["outcome"]
        "Requests that other replicas forwarded to this one. taken: answered here; misdirected: meant for another one, which is looked for next; refused: no replica made its token, or it has expired or was used, or was made for another body.";
    TASKS = "weir_tasks" Gauge []
        "Tasks of the async runtime: connections, calls that go on without their caller, streams to upstreams, keepers.";
    CPU = "process_cpu_seconds_total" Counter []
        "CPU time of the process, in user and system mode. Linux only, like the three after it.";
    RSS = "process_resident_memory_bytes" Gauge []
        "Resident memory of the process.";
    FDS = "process_open_fds" Gauge []
        "Open file descriptors of the process.";
    MAX_FDS = "process_max_fds" Gauge []
        "Maximum number of open file descriptors of the process.";
    STARTED = "process_start_time_seconds" Gauge []
        "When weir started, in seconds since 1970.";
}
