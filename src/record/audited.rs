//! The part of a record that only the record file needs. Without `audit` there is none, and it
//! costs nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::audit::{AuditLine, AuditLog, AuditPlace, GuardFinding, NotRecorded};
use crate::caller::{Caller, Principal};
use crate::config::AuditedData;
use crate::guard::Findings;
use crate::guard::coverage::{RESULT, Shape};
use crate::metrics::{Ending, blame_text};
use crate::policy::Decision;
use crate::protocol::era::Era;
use crate::protocol::error::{Blame, Fault};
use crate::protocol::hops;
use crate::protocol::message::Request;
use crate::protocol::meta;
use crate::protocol::method;
use crate::record::data::RecordedData;

/// The most names that are kept of one request.
const MOST_NAMES: usize = 64;

/// Data is only written down up to this size; of more there is a hash.
const LONGEST_DATA: usize = 8 * 1024;

/// The members of a line that come to be known as the request is answered.
#[derive(Debug)]
pub(super) struct AuditedRequest {
    log: Arc<AuditLog>,
    place: Option<AuditPlace>,
    time: SystemTime,
    session: Option<String>,
    era: Option<Era>,
    generation: Option<u64>,
    name: Option<String>,
    original: Option<Arc<str>>,
    params_hash: Option<String>,
    hops: Vec<String>,
    arguments: Option<String>,
    results: Option<String>,
    hooks: Vec<(Box<str>, Box<str>)>,
    upstream_status: Option<&'static str>,
    is_tool_error: bool,
    is_drained: bool,
    bytes_in: u64,
    bytes_out: u64,
}

/// The rest of a record, when it is over.
pub(super) struct Ended<'r> {
    pub(super) request_id: &'r str,
    pub(super) trace_id: Option<&'r str>,
    pub(super) caller: &'r Caller,
    pub(super) method: &'r str,
    pub(super) upstream: Option<&'r str>,
    pub(super) decision: Option<&'r Decision>,
    pub(super) findings: Option<&'r Findings>,
    pub(super) ending: Ending,
    pub(super) blame: Option<Blame>,
    pub(super) took: Duration,
    /// The part of it that weir took.
    pub(super) added: Duration,
}

impl AuditedRequest {
    /// Begins the line of a request that has so many bytes.
    pub(super) fn begin(log: &Arc<AuditLog>, request: &Request<'_>, bytes: usize) -> Self {
        let names = [method::TOOLS_CALL, method::PROMPTS_GET].contains(&&*request.method);
        let name = names.then(|| request.params.string("name")).flatten();
        let path = request.meta.as_ref().and_then(|meta| meta.get(meta::PATH));
        let path = path.and_then(hops::instances).unwrap_or_default();
        let hops = path.into_iter().take(hops::MOST + 1);
        Self {
            log: Arc::clone(log),
            place: None,
            time: SystemTime::now(),
            session: None,
            era: None,
            generation: None,
            // A caller may write anything for a name; only what can be one is kept.
            name: name
                .filter(|name| is_name(name))
                .map(|name| name.into_owned()),
            original: None,
            params_hash: request.raw_params.map(|params| log.hash(params)),
            hops: hops.map(str::to_owned).collect(),
            arguments: None,
            results: None,
            hooks: Vec::new(),
            upstream_status: None,
            is_tool_error: false,
            is_drained: false,
            bytes_in: bytes as u64,
            bytes_out: 0,
        }
    }

    /// Takes room for the line, if it has none. Returns when the wait for it began.
    ///
    /// # Errors
    /// Records cannot be written.
    pub(super) async fn admit(&mut self) -> Result<Instant, NotRecorded> {
        let begun = Instant::now();
        if self.place.is_none() {
            self.place = Some(self.log.admit().await?);
        }
        Ok(begun)
    }

    /// Returns whether nothing may be sent, because records cannot be written.
    pub(super) fn refuses(&self) -> bool {
        self.log.refuses()
    }

    pub(super) fn set_session(&mut self, session: String) {
        self.session = Some(session);
    }

    pub(super) fn set_scope(&mut self, era: Era, generation: u64) {
        self.era = Some(era);
        self.generation = Some(generation);
    }

    pub(super) fn set_era(&mut self, era: Era) {
        self.era = Some(era);
    }

    pub(super) fn set_original(&mut self, name: &Arc<str>) {
        self.original = Some(Arc::clone(name));
    }

    pub(super) fn forget_name(&mut self) {
        self.name = None;
    }

    /// Notes the arguments as they are sent.
    pub(super) fn set_arguments(&mut self, arguments: RecordedData<'_>) {
        let form = self.log.settings().arguments;
        self.arguments = self.form(form, arguments, &Shape::Fields);
    }

    /// Notes the result as the caller gets it.
    pub(super) fn set_result(&mut self, result: RecordedData<'_>, is_tool_error: bool) {
        let form = self.log.settings().results;
        self.results = self.form(form, result, &RESULT);
        self.is_tool_error = is_tool_error;
    }

    fn form(
        &self,
        form: AuditedData,
        data: RecordedData<'_>,
        shape: &'static Shape,
    ) -> Option<String> {
        let RecordedData {
            sent,
            unrestored,
            guard,
        } = data;
        match form {
            AuditedData::None => None,
            AuditedData::Redacted if sent.len() <= LONGEST_DATA => {
                let text = unrestored.unwrap_or(sent);
                let masked = guard.map(|guard| guard.mask_for_record(shape, text));
                Some(match masked {
                    None | Some(Ok(None)) => text.to_owned(),
                    Some(Ok(Some(masked))) => masked,
                    Some(Err(_)) => self.log.hash(sent),
                })
            }
            AuditedData::Hash | AuditedData::Redacted => Some(self.log.hash(sent)),
        }
    }

    pub(super) fn add_hook(&mut self, name: &str, said: &str) {
        if self.hooks.len() < MOST_NAMES {
            self.hooks.push((name.into(), said.into()));
        }
    }

    /// Notes the answer of the upstream.
    pub(super) fn answered(&mut self, status: &'static str) {
        self.upstream_status = Some(status);
    }

    pub(super) fn add_bytes_out(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(super) fn note_fault(&mut self, fault: &Fault) {
        self.is_drained = *fault == Fault::ShuttingDown;
    }

    /// Returns the word for the answer that the caller got.
    fn status(&self, ending: Ending, blame: Option<Blame>) -> &'static str {
        match ending {
            Ending::Ok if self.is_tool_error => "tool_error",
            Ending::Ok => "ok",
            Ending::Error => "error",
            Ending::Failed if self.is_drained => "drained",
            Ending::Failed if blame == Some(Blame::Caller) => "refused",
            Ending::Failed => "failed",
            Ending::Cancelled => "cancelled",
        }
    }

    /// Writes the line.
    pub(super) fn write(mut self, ended: &Ended<'_>) {
        let Ended {
            caller, decision, ..
        } = ended;
        let identity = caller.identity();
        // The method of an event is weir's own alone.
        let own = ended
            .method
            .starts_with("weir/")
            .then(|| format!("({})", ended.method));
        let pseudonyms = ended.findings.map(|found| &found.pseudonyms);
        let pseudonyms = pseudonyms.filter(|ids| !ids.is_empty());
        let policies = decision.map(|decision| decision.policies.iter().map(|name| &**name));
        let line = AuditLine {
            time: Some(self.time),
            request_id: Some(ended.request_id),
            trace_id: ended.trace_id,
            caller_identity: caller.subject(),
            caller_issuer: issuer(caller.principal(), identity.issuer.as_deref()),
            agent: caller.agent(),
            session: self.session.as_deref(),
            era: self.era.map(|era| match era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            }),
            method: own.as_deref().unwrap_or(ended.method),
            tool_name: self.name.as_deref(),
            upstream: ended.upstream,
            original_name: self.original.as_deref(),
            generation: self.generation,
            policy_decision: decision.map(Decision::as_str),
            policies: policies.map(Iterator::collect),
            pre_transform_hash: self.params_hash.as_deref(),
            arguments: self.arguments.as_deref(),
            results: self.results.as_deref(),
            redaction_tokens_ids: pseudonyms.map(|ids| ids.iter().map(|id| &**id).collect()),
            guard: guard_findings(ended.findings),
            hooks: self
                .hooks
                .iter()
                .map(|(name, said)| (&**name, &**said))
                .collect(),
            upstream_status: self.upstream_status,
            result_status: Some(self.status(ended.ending, ended.blame)),
            blame: ended.blame.map(blame_text),
            latency: Some(ended.took),
            added_latency: Some(ended.added),
            bytes_in: Some(self.bytes_in),
            bytes_out: Some(self.bytes_out),
            hops: Some(self.hops.iter().map(|hop| &**hop).collect()),
            instance: Some(self.log.instance()),
            event: None,
        };
        let line = line.write();
        self.log.write(line, self.place.take());
    }
}

/// Returns what rules about data found, as lines have it.
fn guard_findings(found: Option<&Findings>) -> Vec<GuardFinding<'_>> {
    let counts = found.into_iter().flat_map(|found| &found.counts);
    let found = counts.map(|((direction, class, action), count)| GuardFinding {
        direction: direction.as_str(),
        class,
        action,
        count: *count,
    });
    found.collect()
}

/// Returns the issuer of an identity, or the way it was proved; `None` if it was not.
fn issuer(principal: Principal, issuer: Option<&str>) -> Option<&str> {
    match principal {
        Principal::Anonymous => None,
        Principal::Local => Some("local"),
        Principal::OAuthUser => issuer,
        Principal::IamEntity => Some("platform"),
        Principal::ApiKey => Some("api_key"),
        Principal::Workload => Some("client_certificate"),
    }
}

/// Returns whether a text can be the name of a tool or prompt in a catalog.
fn is_name(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    text.len() <= 128 && text.bytes().all(is_legal)
}
