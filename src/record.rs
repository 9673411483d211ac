//! Records of requests: one for each message that is a request, whatever its method and outcome.
//!
//! A [`Record`] is a drop guard. It is opened when a message is known to be a request, and written
//! when it is dropped. So every request leaves a record, even if its connection breaks or its task
//! is cancelled. It is written to the metrics and, if that is enabled, to the log (target
//! `weir::calls`), to the record file where there is one (`audit`), and to the span that telemetry
//! has of the request (`telemetry`), which begins and ends with it.

mod audited;
mod counted;
mod data;
mod spans;
mod times;
mod traced;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::AuditLog;
use crate::caller::Caller;
use crate::guard::Findings;
use crate::json::Object;
use crate::metrics::{self, Ending, Metrics, Series, blame_text};
use crate::policy::Decision;
use crate::printable;
use crate::protocol::era::Era;
use crate::protocol::error::{Blame, Fault};
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::protocol::trace::Trace;
use crate::telemetry::RequestTrace;
use audited::{AuditedRequest, Ended};
pub use data::RecordedData;
use times::RequestTimes;
use traced::{TracedRequest, blame_of_code};

pub use traced::RequestOrigin;
pub(crate) use traced::{fail_with, is_tool_error};

/// At most this many characters of an unknown method are kept.
const LONGEST_METHOD: usize = 100;

/// The record of one request, written when it is dropped. A record without an ending says that the
/// request was cancelled by its caller, or failed because weir stops.
#[derive(Debug)]
pub struct Record {
    metrics: Arc<Metrics>,
    trace: Trace,
    caller: Caller,
    method: Cow<'static, str>,
    started: Instant,
    destination: Option<Destination>,
    ending: Option<Ending>,
    blame: Option<Blame>,
    decision: Option<Arc<Decision>>,
    /// The findings of rules for data; `None` if there are no rules, or they found nothing.
    findings: Option<Box<Findings>>,
    is_logged: bool,
    /// The part that only the record file needs; `None` if there is none.
    audited: Option<Box<AuditedRequest>>,
    /// The part that only telemetry needs; `None` if there is none.
    traced: Option<Box<TracedRequest>>,
    /// The times that the upstream and the caller took.
    times: RequestTimes,
    /// The party to blame for an error of the upstream, by its code.
    code_blame: Option<Blame>,
    /// The reason why the request ends with an error.
    error: Option<Box<str>>,
}

/// The upstream that a request goes to.
#[derive(Debug)]
struct Destination {
    upstream: Arc<metrics::UpstreamMetrics>,
    series: Arc<Series>,
    /// The exposed name of the tool, if the request is logged or traced.
    tool: Option<Box<str>>,
}

impl Record {
    /// Opens the record of a request with this method.
    #[must_use]
    pub fn open(metrics: &Arc<Metrics>, caller: Caller, method: &str, trace: &Trace) -> Self {
        let method = match method::known(method) {
            Some(known) => Cow::Borrowed(known),
            // As the client writes it: it is a line in logs, and the name of a span.
            None => {
                let cut: String = method.chars().take(LONGEST_METHOD).collect();
                Cow::Owned(printable::line(&cut).into_owned())
            }
        };
        Self {
            metrics: Arc::clone(metrics),
            trace: trace.clone(),
            caller,
            method,
            started: Instant::now(),
            destination: None,
            ending: None,
            blame: None,
            decision: None,
            findings: None,
            is_logged: tracing::enabled!(target: "weir::calls", tracing::Level::DEBUG),
            audited: None,
            traced: None,
            times: RequestTimes::default(),
            code_blame: None,
            error: None,
        }
    }

    /// Begins the line of the record file, if there is one. `bytes` is the size of the request.
    #[must_use]
    pub fn audited(
        mut self,
        log: Option<&Arc<AuditLog>>,
        request: &Request<'_>,
        bytes: usize,
    ) -> Self {
        let begun = log.map(|log| AuditedRequest::begin(log, request, bytes));
        self.audited = begun.map(Box::new);
        self
    }

    /// Takes room for the line in the record file; a request is sent only after that. Returns when the
    /// wait began, for it is time of the call.
    ///
    /// # Errors
    /// Records cannot be written, and the operator wants no call without one.
    pub async fn admit(&mut self) -> Result<Option<tokio::time::Instant>, Fault> {
        let Some(audited) = &mut self.audited else {
            return Ok(None);
        };
        let begun = audited.admit().await;
        begun.map(Some).map_err(|_| Fault::NotRecorded)
    }

    /// Returns the id of the request.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.trace.request_id()
    }

    /// Returns the caller.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Adds what the client says of itself, if it says something.
    pub fn set_agent(&mut self, agent: Option<Arc<str>>) {
        if agent.is_some() {
            self.caller = self.caller.clone().with_agent(agent);
        }
    }

    /// Notes the upstream that the request goes to, and its method there. `tool` is the exposed
    /// name of a tool in the catalog.
    pub fn set_destination(
        &mut self,
        upstream: &Arc<metrics::UpstreamMetrics>,
        method: &'static str,
        tool: Option<&str>,
    ) {
        if let Some(traced) = &mut self.traced {
            traced.set_destination(upstream.id().as_str(), method, tool);
        }
        let is_kept = self.is_logged || self.traced.is_some();
        self.destination = Some(Destination {
            upstream: Arc::clone(upstream),
            series: upstream.series(method, tool),
            tool: tool.filter(|_| is_kept).map(Box::from),
        });
    }

    /// Notes what policy decided.
    pub fn set_decision(&mut self, decision: Arc<Decision>) {
        self.decision = Some(decision);
    }

    /// Adds what rules for data found in the request or in its answer.
    pub fn add_findings(&mut self, found: Findings) {
        if !found.is_empty() {
            self.findings.get_or_insert_default().add(found);
        }
    }

    /// Returns what rules for data found.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        self.findings.as_deref()
    }

    /// Checks that records can be written, for what goes on as long as its caller likes and holds no
    /// room that calls need.
    ///
    /// # Errors
    /// They cannot be, and the operator wants no call without one.
    pub fn check_recordable(&self) -> Result<(), Fault> {
        let refuses = self
            .audited
            .as_ref()
            .is_some_and(|audited| audited.refuses());
        match refuses {
            true => Err(Fault::NotRecorded),
            false => Ok(()),
        }
    }

    /// Notes the era of the caller.
    pub fn set_era(&mut self, era: Era) {
        if let Some(audited) = &mut self.audited {
            audited.set_era(era);
        }
        if let Some(traced) = &mut self.traced {
            traced.set_era(era);
        }
    }

    /// Notes the era of the caller, and the snapshot that decides.
    pub fn set_scope(&mut self, era: Era, generation: u64) {
        if let Some(audited) = &mut self.audited {
            audited.set_scope(era, generation);
        }
        if let Some(traced) = &mut self.traced {
            traced.set_era(era);
            traced.set_generation(generation);
        }
    }

    /// Notes the session, by a name that opens none.
    pub fn set_session(&mut self, name: impl FnOnce() -> String) {
        if !self.is_described() {
            return;
        }
        let name = name();
        if let Some(traced) = &mut self.traced {
            traced.set_session(&name);
        }
        if let Some(audited) = &mut self.audited {
            audited.set_session(name);
        }
    }

    /// Returns whether somebody gets more than the log: the record file, or a span that is recorded.
    fn is_described(&self) -> bool {
        let place = || self.place().and_then(RequestTrace::recorded);
        self.audited.is_some() || place().is_some()
    }

    /// Notes the upstream's own name of what was asked for, if it is the name of a tool or prompt.
    pub fn set_original(&mut self, name: &Arc<str>) {
        if let Some(audited) = &mut self.audited {
            audited.set_original(name);
        }
    }

    /// Leaves out the name of the tool or prompt that was asked for.
    pub fn forget_name(&mut self) {
        if let Some(audited) = &mut self.audited {
            audited.forget_name();
        }
    }

    /// Notes the arguments as they are sent to the upstream.
    pub fn set_sent_arguments(&mut self, arguments: RecordedData<'_>) {
        if let Some(audited) = &mut self.audited {
            audited.set_arguments(arguments);
        }
    }

    /// Notes the result as the caller gets it.
    pub fn set_result(&mut self, result: RecordedData<'_>) {
        if !self.is_described() {
            return;
        }
        let is_tool_error = is_tool_error(result.sent);
        if let Some(audited) = &mut self.audited {
            audited.set_result(result, is_tool_error);
        }
        if let Some(traced) = self.traced.as_mut().filter(|_| is_tool_error) {
            traced.note_tool_error(&self.method);
        }
    }

    /// Notes the error of an upstream as the caller gets it: a JSON-RPC error, as JSON text.
    pub fn set_error(&mut self, error: &str) {
        let error = Object::parse(error).unwrap_or_default();
        let code = error.get("code");
        self.code_blame = Some(blame_of_code(code));
        // Its message may be data.
        let code = code.and_then(|code| code.parse::<i64>().ok());
        self.error = code.map(|code| format!("the upstream answered with error {code}").into());
        if let Some(traced) = &mut self.traced {
            traced.set_error(&error);
        }
    }

    /// Notes what a hook said: `pass`, `changed`, `denied`, `failed`, or an attribute of its own.
    pub fn add_hook(&mut self, name: &str, said: &str) {
        if let Some(audited) = &mut self.audited {
            audited.add_hook(name, said);
        }
    }

    /// Notes that the request is sent to its upstream now.
    pub fn note_sent(&mut self) {
        self.times.note_sent();
    }

    /// Notes that the upstream has answered with a question, and the caller is asked: its time is none
    /// of the request's until that is sent again.
    pub fn note_question(&mut self) {
        self.times.note_question();
    }

    /// Notes the answer of the upstream: `result`, `error`, or why there is none.
    pub fn note_answer(&mut self, status: &'static str) {
        if let Some(audited) = &mut self.audited {
            audited.answered(status);
        }
        self.times.stop();
        self.times.is_answered = matches!(status, "result" | "error");
    }

    /// Counts bytes that are sent to the caller.
    pub fn add_bytes_out(&mut self, bytes: usize) {
        if let Some(audited) = &mut self.audited {
            audited.add_bytes_out(bytes);
        }
    }

    /// Notes that the request is answered with a result.
    pub fn succeed(&mut self) {
        self.ending = Some(Ending::Ok);
    }

    /// Notes that the request is answered with an error of the upstream, and the party to blame if
    /// it is known.
    pub fn refuse(&mut self, blame: Option<Blame>) {
        self.ending = Some(Ending::Error);
        self.blame = blame;
    }

    /// Notes that the request is answered with an error of weir's own, and counts the error.
    pub fn fail(&mut self, fault: &Fault) {
        self.ending = Some(Ending::Failed);
        self.blame = Some(fault.blame());
        self.error = self.destination.as_ref().map(|_| fault.log_text().into());
        if let Some(audited) = &mut self.audited {
            audited.note_fault(fault);
        }
        if let Some(traced) = &mut self.traced {
            traced.note_fault(fault);
        }
        self.metrics.refused(fault);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.ending.is_none() && self.metrics.gave_up() {
            self.fail(&Fault::ShuttingDown);
        }
        let ending = self.ending.unwrap_or(Ending::Cancelled);
        let (took, added) = self.times.finish(self.started.elapsed());
        if let Some(decision) = &self.decision {
            self.metrics.count_decision(decision.as_str());
        }
        self.count(ending, took, added);
        if self.is_logged {
            self.log(ending, took);
        }
        let (audited, traced) = (self.audited.take(), self.traced.take());
        if audited.is_none() && traced.is_none() {
            return;
        }
        let place = traced.as_ref().map(|traced| traced.place());
        let is_audited = audited.is_some();
        let trace_id = place
            .filter(|_| is_audited)
            .and_then(RequestTrace::trace_text);
        let destination = self.destination.as_ref();
        if let (Some(to), Some(trace)) = (destination, place.and_then(RequestTrace::recorded)) {
            let added = self.times.is_answered.then_some(added);
            to.series.note_trace(trace, took, added);
        }
        let ended = Ended {
            request_id: self.trace.request_id(),
            trace_id: trace_id.as_deref().or(self.trace.trace_id()),
            caller: &self.caller,
            method: &self.method,
            upstream: destination.map(|to| to.upstream.id().as_str()),
            decision: self.decision.as_deref(),
            findings: self.findings.as_deref(),
            ending,
            blame: self.blame,
            took,
            added,
        };
        if let Some(mut traced) = traced {
            traced.finish(&ended, destination.and_then(|to| to.tool.as_deref()));
        }
        if let Some(audited) = audited {
            audited.write(&ended);
        }
    }
}

impl Record {
    fn log(&self, ending: Ending, took: Duration) {
        let destination = self.destination.as_ref();
        let decision = self.decision.as_deref();
        let joined = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
        let policies = decision.and_then(|decision| joined(&decision.policy_names()));
        let policy_errors = decision.and_then(|decision| joined(&decision.errors));
        tracing::debug!(
            target: "weir::calls",
            caller = self.caller.subject().map(printable::line).as_deref(),
            agent = self.caller.agent(),
            upstream = destination.map(|to| tracing::field::display(to.upstream.id())),
            method = &*self.method,
            tool = destination.and_then(|to| to.tool.as_deref()),
            outcome = ending.as_str(),
            blame = self.blame.map(blame_text),
            policy_decision = decision.map(Decision::as_str),
            policies,
            policy_errors,
            ms = took.as_secs_f64() * 1000.0,
            request_id = self.trace.request_id(),
            trace_id = self.trace_id().as_deref(),
            "call"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MetricsFormat, Observed};
    use crate::name::UpstreamId;

    fn record(metrics: &Arc<Metrics>) -> Record {
        Record::open(
            metrics,
            Caller::anonymous(),
            method::TOOLS_CALL,
            &Trace::new(),
        )
    }

    /// The value of each series of these names that is not 0.
    fn counted(metrics: &Metrics, names: &[&str]) -> Vec<String> {
        let text = metrics.text(&Observed::default(), MetricsFormat::Prometheus);
        let lines = text.lines().filter(|line| !line.ends_with(" 0"));
        let named = lines.filter(|line| names.iter().any(|name| line.starts_with(name)));
        named.map(str::to_owned).collect()
    }

    #[test]
    fn a_record_is_counted_once_by_its_ending_where_it_went() {
        let metrics = Metrics::new();
        let upstream = metrics.upstream(&UpstreamId::parse("erp").unwrap());
        let endings: [fn(&mut Record); 4] = [
            Record::succeed,
            |record| record.refuse(None),
            |record| record.fail(&Fault::Cursor),
            |_| {},
        ];
        for end in endings {
            let mut record = record(&metrics);
            record.set_destination(&upstream, method::TOOLS_CALL, Some("erp__a"));
            end(&mut record);
        }
        let calls = |outcome: &str| {
            format!(
                "weir_calls_total{{upstream=\"erp\",method=\"tools/call\",tool=\"erp__a\",outcome=\"{outcome}\"}} 1"
            )
        };
        assert_eq!(
            counted(&metrics, &["weir_calls_total", "weir_errors_total"]),
            [
                calls("ok"),
                calls("error"),
                calls("failed"),
                calls("cancelled"),
                "weir_errors_total{blame=\"caller\"} 1".to_owned()
            ]
        );
    }

    #[tokio::test]
    async fn the_wait_for_room_in_the_record_file_is_time_of_the_call() {
        use crate::audit::{AuditKeys, AuditSigner};
        use crate::protocol::message::Message;
        use futures::FutureExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weir.yaml");
        let config = crate::config::parse("audit: { file: weir.jsonl }", &file, &|_| None);
        let settings = config.unwrap().audit.unwrap();
        let keys = AuditKeys {
            hash: vec![7; 32],
            signer: AuditSigner::from_pem(&AuditSigner::new_pem().unwrap()).unwrap(),
        };
        let log = AuditLog::start(&settings, keys, "weir-1", &Arc::default()).unwrap();
        let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a"}}"#;
        let Ok(Message::Request(request)) = Message::parse(text) else {
            panic!("{text}")
        };
        let metrics = Metrics::new();
        let mut none = record(&metrics);
        assert_eq!(none.admit().await, Ok(None));
        let mut places = Vec::new();
        while let Some(place) = log.admit().now_or_never() {
            places.push(place.unwrap());
        }
        let mut record = record(&metrics).audited(Some(&log), &request, text.len());
        let room = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(places);
        };
        let (begun, ()) = tokio::join!(record.admit(), room);
        let waited = begun.unwrap().unwrap().elapsed();
        assert!(waited >= Duration::from_millis(200), "{waited:?}");
        drop(record);
        log.stop().await;
    }

    #[test]
    fn an_error_is_counted_by_who_has_to_act() {
        let metrics = Metrics::new();
        let upstream = metrics.upstream(&UpstreamId::parse("erp").unwrap());
        let endings: [fn(&mut Record); 5] = [
            |record| {
                record.refuse(None);
                record.set_error(r#"{"code":-32602,"message":"no such order"}"#);
            },
            |record| {
                record.refuse(None);
                record.set_error(r#"{"code":-32000,"message":"out of paper"}"#);
            },
            |record| {
                record.refuse(Some(Blame::Weir));
                record.set_error(r#"{"code":-32602,"message":""}"#);
            },
            |record| record.fail(&Fault::ShuttingDown),
            |_| {},
        ];
        for end in endings {
            let mut record = record(&metrics);
            record.set_destination(&upstream, method::TOOLS_CALL, Some("erp__a"));
            record.note_sent();
            record.note_answer("error");
            end(&mut record);
        }
        let errors = |blame: &str, count: u32| {
            format!(
                "weir_call_errors_total{{upstream=\"erp\",method=\"tools/call\",tool=\"erp__a\",blame=\"{blame}\"}} {count}"
            )
        };
        let callers = |outcome: &str, blame: &str| {
            format!(
                "weir_caller_calls_total{{caller=\"anonymous\",outcome=\"{outcome}\",blame=\"{blame}\"}} 1"
            )
        };
        assert_eq!(
            counted(
                &metrics,
                &["weir_call_errors_total", "weir_caller_calls_total", "weir_call_added_seconds_count"]
            ),
            [
                errors("caller", 1),
                errors("upstream", 1),
                errors("weir", 2),
                "weir_call_added_seconds_count{upstream=\"erp\",method=\"tools/call\",tool=\"erp__a\"} 5".to_owned(),
                callers("error", "caller"),
                callers("error", "upstream"),
                callers("error", "weir"),
                callers("failed", "weir"),
                callers("cancelled", ""),
            ]
        );
    }

    #[test]
    fn a_request_without_an_ending_is_weirs_failure_once_weir_gave_up() {
        let metrics = Metrics::new();
        drop(record(&metrics));
        assert_eq!(counted(&metrics, &["weir_errors_total"]), [""; 0]);
        metrics.give_up();
        drop(record(&metrics));
        assert_eq!(
            counted(&metrics, &["weir_errors_total"]),
            ["weir_errors_total{blame=\"weir\"} 1"]
        );
    }
}
