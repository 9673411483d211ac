//! The members of a line, in the order of the contract.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::json;

/// The most bytes of a line: all that may be in it, if each byte needs an escape.
pub const LONGEST_LINE: usize = 1024 * 1024;

/// The most bytes of one text in a line. What is longer is cut.
pub const LONGEST_TEXT: usize = 1024;

/// The most bytes of arguments or a result in a line; of more there is only a hash.
pub(super) const LONGEST_DATA: usize = 8 * 1024;

/// The most bytes of an item of a list.
const LONGEST_ITEM: usize = 128;

/// The most items of a list in a line.
const LONGEST_LIST: usize = 64;

/// A line without `seq`, `prev` and `hash`. What is `None` is written as `null`, but for `results`,
/// `guard` and `event`, which are left out: only some lines have them.
#[derive(Clone, Debug, Default)]
pub struct AuditLine<'a> {
    /// When the request came.
    pub time: Option<SystemTime>,
    /// The id of the request, the same in all weirs of a chain.
    pub request_id: Option<&'a str>,
    /// The trace that it belongs to (W3C trace context).
    pub trace_id: Option<&'a str>,
    /// The subject of the caller; `None` for an anonymous one.
    pub caller_identity: Option<&'a str>,
    /// The issuer of its token, or the way it proved its identity.
    pub caller_issuer: Option<&'a str>,
    /// The name that the client gives itself.
    pub agent: Option<&'a str>,
    /// A name of the session, by which its records can be found. It opens no session.
    pub session: Option<&'a str>,
    /// The era of the caller.
    pub era: Option<&'a str>,
    /// The method, or that of an event.
    pub method: &'a str,
    /// The exposed name of the tool or prompt that was asked for.
    pub tool_name: Option<&'a str>,
    /// The upstream that it was sent to.
    pub upstream: Option<&'a str>,
    /// The upstream's name of the tool or prompt.
    pub original_name: Option<&'a str>,
    /// The snapshot that it was decided by.
    pub generation: Option<u64>,
    /// The decision of policy.
    pub policy_decision: Option<&'a str>,
    /// The policies that decided; `None` without a decision.
    pub policies: Option<Vec<&'a str>>,
    /// The keyed hash of the params as they came.
    pub pre_transform_hash: Option<&'a str>,
    /// The arguments as they were sent: their keyed hash or their text.
    pub arguments: Option<&'a str>,
    /// The result as the caller got it, likewise.
    pub results: Option<&'a str>,
    /// The ids of the pseudonyms that were put in or taken out.
    pub redaction_tokens_ids: Option<Vec<&'a str>>,
    /// The findings of rules about data.
    pub guard: Vec<GuardFinding<'a>>,
    /// The hooks that were asked, and what they said.
    pub hooks: Vec<(&'a str, &'a str)>,
    /// The answer of the upstream.
    pub upstream_status: Option<&'a str>,
    /// The answer to the caller.
    pub result_status: Option<&'a str>,
    /// The party that has to act on an error.
    pub blame: Option<&'a str>,
    /// The time from the request to the end of its answer.
    pub latency: Option<Duration>,
    /// The part of it in which no upstream was at work.
    pub added_latency: Option<Duration>,
    /// The bytes of the request.
    pub bytes_in: Option<u64>,
    /// The bytes of the answer.
    pub bytes_out: Option<u64>,
    /// The weirs that the request came through.
    pub hops: Option<Vec<&'a str>>,
    /// The weir that wrote the line.
    pub instance: Option<&'a str>,
    /// Of an event: JSON text.
    pub event: Option<&'a str>,
}

/// How often rules about data found a class of it in one direction, and what happened to it.
#[derive(Clone, Copy, Debug)]
pub struct GuardFinding<'a> {
    /// The direction: `towards_upstream` or `towards_caller`.
    pub direction: &'a str,
    /// The class.
    pub class: &'a str,
    /// The action that was taken.
    pub action: &'a str,
    /// How often.
    pub count: u64,
}

impl GuardFinding<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let texts = [
            ("{\"direction\":", self.direction),
            (",\"class\":", self.class),
            (",\"action\":", self.action),
        ];
        for (name, text) in texts {
            out.extend_from_slice(name.as_bytes());
            json::write_string(cut(text, LONGEST_ITEM), out);
        }
        let _ = write!(out, ",\"count\":{}}}", self.count);
    }
}

/// Writes the members of an object.
struct Members {
    out: Vec<u8>,
}

impl Members {
    fn begin(&mut self, name: &str) {
        self.out.push(if self.out.is_empty() { b'{' } else { b',' });
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        self.text_up_to(name, text, LONGEST_TEXT);
    }

    fn text_up_to(&mut self, name: &str, text: Option<&str>, most: usize) {
        self.begin(name);
        match text {
            Some(text) => json::write_string(cut(text, most), &mut self.out),
            None => self.null(),
        }
    }

    fn number(&mut self, name: &str, number: Option<u64>) {
        self.begin(name);
        match number {
            // Writing to a `Vec` cannot fail.
            Some(number) => drop(write!(self.out, "{number}")),
            None => self.null(),
        }
    }

    fn list<T>(&mut self, name: &str, list: Option<&[T]>, write: impl Fn(&T, &mut Vec<u8>)) {
        self.begin(name);
        let Some(list) = list else {
            return self.null();
        };
        self.out.push(b'[');
        for (index, item) in list.iter().take(LONGEST_LIST).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write(item, &mut self.out);
        }
        self.out.push(b']');
    }

    fn texts(&mut self, name: &str, texts: Option<&[&str]>) {
        let write =
            |text: &&str, out: &mut Vec<u8>| json::write_string(cut(text, LONGEST_ITEM), out);
        self.list(name, texts, write);
    }
}

/// Returns the beginning of a text, cut between characters.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev();
    let mut ends = end.filter(|end| text.is_char_boundary(*end));
    text.get(..ends.next().unwrap_or_default())
        .unwrap_or_default()
}

/// Writes a time as RFC 3339 has it, in UTC and with microseconds.
pub(super) fn time_text(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl AuditLine<'_> {
    /// Writes the members, from `{` on: the chain adds the rest.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut line = Members {
            out: Vec::with_capacity(1024),
        };
        let time = self.time.map(time_text);
        line.text("time", time.as_deref());
        line.text("request_id", self.request_id);
        line.text("trace_id", self.trace_id);
        line.text("caller_identity", self.caller_identity);
        line.text("caller_issuer", self.caller_issuer);
        line.text("agent", self.agent);
        line.text("session", self.session);
        line.text("era", self.era);
        line.text("method", Some(self.method));
        line.text("tool_name", self.tool_name);
        line.text("upstream", self.upstream);
        line.text("original_name", self.original_name);
        line.number("generation", self.generation);
        line.text("policy_decision", self.policy_decision);
        line.texts("policies", self.policies.as_deref());
        line.text("pre_transform_hash", self.pre_transform_hash);
        self.write_data(&mut line);
        self.write_outcome(&mut line);
        line.out
    }

    fn write_data(&self, line: &mut Members) {
        line.text_up_to("arguments", self.arguments, LONGEST_DATA);
        if self.results.is_some() {
            line.text_up_to("results", self.results, LONGEST_DATA);
        }
        line.texts("redaction_tokens_ids", self.redaction_tokens_ids.as_deref());
        if !self.guard.is_empty() {
            line.list("guard", Some(&self.guard), GuardFinding::write);
        }
        let hooks = (!self.hooks.is_empty()).then_some(&*self.hooks);
        line.list("hooks", hooks, |(name, said), out| {
            out.extend_from_slice(b"{\"name\":");
            json::write_string(cut(name, LONGEST_ITEM), out);
            out.extend_from_slice(b",\"said\":");
            json::write_string(cut(said, LONGEST_ITEM), out);
            out.push(b'}');
        });
    }

    fn write_outcome(&self, line: &mut Members) {
        line.text("upstream_status", self.upstream_status);
        line.text("result_status", self.result_status);
        line.text("blame", self.blame);
        line.begin("latency_ms");
        match self.latency {
            #[allow(
                clippy::cast_precision_loss,
                reason = "a latency is far below 2^52 microseconds"
            )]
            Some(latency) => {
                let _ = write!(line.out, "{}", latency.as_micros() as f64 / 1000.0);
            }
            None => line.null(),
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        line.number("added_latency_us", self.added_latency.map(micros));
        line.number("bytes_in", self.bytes_in);
        line.number("bytes_out", self.bytes_out);
        line.texts("hops", self.hops.as_deref());
        if let Some(event) = self.event {
            line.begin("event");
            line.out.extend_from_slice(event.as_bytes());
        }
        line.text("instance", self.instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members of every line, in the order of the contract, without those that the chain adds.
    const MEMBERS: [&str; 27] = [
        "time",
        "request_id",
        "trace_id",
        "caller_identity",
        "caller_issuer",
        "agent",
        "session",
        "era",
        "method",
        "tool_name",
        "upstream",
        "original_name",
        "generation",
        "policy_decision",
        "policies",
        "pre_transform_hash",
        "arguments",
        "redaction_tokens_ids",
        "hooks",
        "upstream_status",
        "result_status",
        "blame",
        "latency_ms",
        "added_latency_us",
        "bytes_in",
        "bytes_out",
        "hops",
    ];

    fn finding(text: &str) -> GuardFinding<'_> {
        GuardFinding {
            direction: text,
            class: text,
            action: text,
            count: 2,
        }
    }

    fn members(line: &AuditLine<'_>) -> Vec<String> {
        let text = String::from_utf8(line.write()).unwrap() + "}";
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap();
        object.keys().cloned().collect()
    }

    #[test]
    fn an_empty_line_has_every_member_of_the_contract_and_nulls() {
        let empty = AuditLine::default();
        let mut expected: Vec<_> = MEMBERS.to_vec();
        expected.push("instance");
        assert_eq!(members(&empty), expected);
        let text = String::from_utf8(empty.write()).unwrap();
        assert_eq!(text.matches("null").count(), MEMBERS.len());
    }

    #[test]
    fn a_full_line_is_compact_json_whatever_the_texts() {
        let odd = "a\"\\\n\u{1}\u{7f}é\u{2028}";
        let line = AuditLine {
            time: Some(SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000)),
            caller_identity: Some(odd),
            method: odd,
            policies: Some(vec![odd, "b"]),
            guard: vec![finding(odd)],
            hooks: vec![(odd, odd)],
            latency: Some(Duration::from_micros(1_250)),
            added_latency: Some(Duration::from_nanos(1_999)),
            bytes_in: Some(7),
            hops: Some(Vec::new()),
            results: Some("r"),
            event: Some("{\"a\":1}"),
            ..AuditLine::default()
        };
        let text = String::from_utf8(line.write()).unwrap() + "}";
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(value["caller_identity"], odd);
        assert_eq!(value["time"], "1970-01-01T00:00:01.500000Z");
        assert_eq!(value["latency_ms"], 1.25);
        assert_eq!(value["added_latency_us"], 1);
        assert_eq!(value["hooks"][0]["said"], odd);
    }

    #[test]
    fn a_line_is_bounded_whatever_is_in_it() {
        // Each of them takes six bytes.
        let long = "\u{1}".repeat(100_000);
        let line = AuditLine {
            agent: Some(&long),
            arguments: Some(&long),
            policies: Some(vec![&long; 1000]),
            hops: Some(vec![&long; 1000]),
            guard: vec![finding(&long); 1000],
            hooks: vec![(&long, &long); 1000],
            redaction_tokens_ids: Some(vec![&long; 1000]),
            ..AuditLine::default()
        };
        let written = line.write().len();
        assert!(written < LONGEST_LINE, "{written}");
    }
}
