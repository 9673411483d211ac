//! The name of every metric, with its labels and what it means. `docs/src/reference/metrics.md` is made of them.

/// One metric.
#[derive(Debug)]
pub struct MetricFamily {
    /// As it is written, with the unit, and `_total` for a counter.
    pub name: &'static str,
    /// How its values are to be read.
    pub kind: FamilyKind,
    /// The labels of each of its values.
    pub labels: &'static [&'static str],
    /// What it means: one line, without quotes and backslashes.
    pub help: &'static str,
}

/// How the values of a metric are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Grows until weir ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound, with sum and count.
    Histogram,
}

impl FamilyKind {
    /// As the format spells it.
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
        /// All of them, in the order in which they are written.
        pub const ALL: &[&MetricFamily] = &[$(&$const),*];
    };
}

families! {
    BUILD = "weir_build_info" Gauge ["version"]
        "1, with the version of weir.";
    CALLS = "weir_calls_total" Counter ["upstream", "method", "tool", "outcome"]
        "Requests that went to an upstream and are over. ok: a result; error: an error of the upstream's own; failed: no usable answer; cancelled: the caller took it back. The tool is its exposed name, or empty for other methods.";
    CALL_SECONDS = "weir_call_duration_seconds" Histogram ["upstream", "method", "tool"]
        "How long the same requests took, waiting for a place included.";
    CALLS_IN_FLIGHT = "weir_calls_in_flight" Gauge ["upstream"]
        "Requests under way at an upstream; limits.in_flight is the most.";
    CALLS_QUEUED = "weir_calls_queued" Gauge ["upstream"]
        "Requests that wait for a place at an upstream.";
    ERRORS = "weir_errors_total" Counter ["blame"]
        "Requests that were understood and answered with an error of weir's own, by who has to act: caller, upstream, weir.";
    RESPONSES = "weir_http_responses_total" Counter ["code"]
        "Answers of the MCP endpoint by HTTP status. What was refused before it was understood is here only.";
    UP = "weir_upstream_up" Gauge ["upstream"]
        "1 if the last attempt to list an upstream worked, 0 if it failed or none has ended yet.";
    CREDENTIALS = "weir_credential_state" Gauge ["upstream", "state"]
        "1 for the state that an upstream's credentials are in, 0 for the others: ok, refreshing, expiring, failing, reauth_needed, clock_skew.";
    CREDENTIALS_EXPIRE = "weir_credential_expiry_seconds" Gauge ["upstream"]
        "Time until the credential in use ends, where that is known.";
    CREDENTIAL_REQUESTS = "weir_credential_requests_total" Counter ["upstream", "outcome"]
        "Requests to token endpoints and to AWS for an upstream's credentials: granted, failed.";
    UPSTREAM_SESSIONS = "weir_upstream_sessions" Gauge ["upstream"]
        "Connections to an upstream: sessions, or for a child its process.";
    LISTING_AGE = "weir_listing_age_seconds" Gauge ["upstream"]
        "Time since the last good listing of an upstream.";
    LISTING_STALE = "weir_listing_stale" Gauge ["upstream"]
        "1 if there is a listing of an upstream that may be out of date, because the upstream fails or has not answered since weir started.";
    LISTING_ITEMS = "weir_listing_items" Gauge ["upstream", "kind"]
        "Definitions in the last good listing of an upstream: tools, prompts, resources, templates.";
    QUARANTINED = "weir_listing_quarantined" Gauge ["upstream"]
        "Definitions left out of the last good listing of an upstream, because they cannot be used.";
    DRIFTED = "weir_drifted_definitions" Gauge ["upstream"]
        "Definitions of an upstream that say otherwise than what is pinned, and wait to be accepted: held back or left out, as `drift` says.";
    RESYNCS = "weir_resyncs_total" Counter ["upstream", "outcome"]
        "Listings of an upstream that ended: listed, failed.";
    RELOADS = "weir_config_reloads_total" Counter ["outcome", "trigger"]
        "How often the config was read again, by what came of it (applied, unchanged, refused) and who asked: file, signal, request.";
    RELOAD_GOOD = "weir_config_last_reload_successful" Gauge []
        "1 if the config was good when it was last read, 0 if it was refused and the one from before is in force.";
    RELOADED = "weir_config_last_reload_success_timestamp_seconds" Gauge []
        "When the config was last read and good, in seconds since 1970.";
    GENERATION = "weir_generation" Gauge []
        "The number of the snapshot that callers see.";
    PUBLICATIONS = "weir_publications_total" Counter []
        "Snapshots that took the place of another.";
    CATALOG_ITEMS = "weir_catalog_items" Gauge ["kind"]
        "What callers see: tools, prompts, resources, templates.";
    CONFLICTS = "weir_name_conflicts" Gauge []
        "Definitions exposed under another name, because theirs was taken.";
    LEGACY_SESSIONS = "weir_legacy_sessions" Gauge []
        "Legacy sessions of callers that were used since weir started and were not ended; at most 10,000 are remembered.";
    GET_STREAMS = "weir_get_streams" Gauge []
        "GET streams of legacy sessions that are open.";
    LISTEN_STREAMS = "weir_listen_streams" Gauge []
        "Modern subscriptions/listen streams that are open.";
    TASKS = "weir_tasks" Gauge []
        "Tasks of the runtime: connections, calls that go on without their caller, streams to upstreams, keepers.";
    CPU = "process_cpu_seconds_total" Counter []
        "CPU time of the process, in user and system mode. Linux only, like the three after it.";
    RSS = "process_resident_memory_bytes" Gauge []
        "Resident memory of the process.";
    FDS = "process_open_fds" Gauge []
        "File descriptors of the process.";
    MAX_FDS = "process_max_fds" Gauge []
        "Most file descriptors the process may have.";
    STARTED = "process_start_time_seconds" Gauge []
        "When weir started, in seconds since 1970.";
}
