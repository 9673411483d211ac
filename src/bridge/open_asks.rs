//! A legacy upstream's questions to a modern caller. A legacy server sends its client requests during
//! a call, and waits for the responses; a modern client gets them in a result (`input_required`,
//! 2026-07-28 `basic/patterns/mrtr.mdx`), and sends the call again with its answers.
//!
//! This is the state of one such call: which questions wait for an answer. It has no clock and sends
//! nothing: it says what goes to whom.

use bytes::Bytes;

use crate::bridge::asks::{self, AskKind, AskableClient};
use crate::bridge::older_asks::fit_answer;
use crate::json::{self, Object};
use crate::protocol::era::Version;
use crate::protocol::message::{self, Id, Request};
use crate::protocol::{meta, method};

/// The most questions that one call has open, and the bytes of one.
const MOST_ASKS: usize = 64;
const LARGEST_ASK: usize = 256 * 1024;

/// The answer in a person's place: nothing was decided (`client/elicitation.mdx`).
const CANCEL: &str = "{\"action\":\"cancel\"}";
/// The answer in the place of a client that does not sample (2025-11-25 `client/sampling.mdx`, error
/// handling).
const REJECTED: &str = "{\"code\":-1,\"message\":\"User rejected sampling request\"}";
/// The answer in the place of a client that does not say its roots (2025-11-25 `client/roots.mdx`, error
/// handling), and to a question that is one too many.
const UNAVAILABLE: &str = "{\"code\":-32603,\"message\":\"the client cannot be asked now\"}";

/// The questions of one call that wait for the caller's answers.
#[derive(Debug)]
pub struct OpenAsks {
    /// The version of the upstream's session.
    version: Version,
    client: AskableClient,
    asks: Vec<OpenAsk>,
    /// How many there were.
    made: u64,
    /// How many of them were open or over when the caller was asked last.
    asked: u64,
    /// The first question that the caller does not declare to take.
    lacking: Option<AskKind>,
}

#[derive(Debug)]
struct OpenAsk {
    /// The upstream's id.
    id: Id,
    /// The name that the caller knows it by.
    key: String,
    kind: AskKind,
    /// Method and params, as JSON text.
    embedded: String,
    /// Its number among the questions of the call.
    number: u64,
    /// The token by which the upstream wants progress, as JSON text.
    token: Option<Box<str>>,
}

/// The caller's answers are no answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`inputResponses` must have an object for each question")]
pub struct MalformedAnswers;

impl OpenAsks {
    /// Begins without a question. `version` is that of the upstream's session.
    #[must_use]
    pub fn new(version: Version, client: AskableClient) -> Self {
        Self {
            version,
            client,
            asks: Vec::new(),
            made: 0,
            asked: 0,
            lacking: None,
        }
    }

    /// Takes a request of the upstream. Returns the answer if it gets one at once: it is no question,
    /// or none that this caller can be asked.
    pub fn take(&mut self, request: &Request<'_>) -> Option<Bytes> {
        let (id, asked) = (&request.id, request.method.as_ref());
        if asked == method::PING {
            return Some(message::result(id, "{}"));
        }
        let Some(kind) = AskKind::of(asked, &request.params) else {
            return Some(refuse(id, asked, asked == method::ELICIT));
        };
        if !self.client.takes(kind) {
            self.lacking.get_or_insert(kind);
            let knows_other = asked == method::ELICIT
                && (self.client.takes(AskKind::Form) || self.client.takes(AskKind::Url));
            return Some(refuse(id, asked, knows_other));
        }
        let embedded = embed(kind, request.params.clone());
        if self.asks.len() >= MOST_ASKS || embedded.len() > LARGEST_ASK {
            return Some(message::error(Some(id), UNAVAILABLE));
        }
        let own = request.meta.as_ref();
        let token = own.and_then(|own| own.value(meta::PROGRESS_TOKEN));
        self.made += 1;
        self.asks.push(OpenAsk {
            id: id.clone(),
            key: format!("ask-{}", self.made),
            kind,
            embedded,
            number: self.made,
            token: token.map(Box::from),
        });
        None
    }

    /// Forgets a question that the upstream takes back.
    pub fn withdraw(&mut self, id: &Id) {
        let exact = self.asks.iter().position(|ask| ask.id == *id);
        let alike = || self.asks.iter().position(|ask| ask.id.is_alike(id));
        if let Some(at) = exact.or_else(alike) {
            self.asks.remove(at);
        }
    }

    /// Returns whether a question waits for an answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Returns the result that asks the caller all that is open.
    #[must_use]
    pub fn to_result(&self, state: &str) -> String {
        let asks = self.asks.iter();
        to_result(asks.map(|ask| (&*ask.key, &*ask.embedded)), state)
    }

    /// Notes that the caller is asked all that is open. Returns the number of the questions that it is
    /// asked for the first time.
    pub fn note_asked(&mut self) -> usize {
        let before = std::mem::replace(&mut self.asked, self.made);
        let new = self.asks.iter().filter(|ask| ask.number > before);
        new.count()
    }

    /// Returns the progress of the questions that are open, for an upstream that wants it: that they
    /// wait. Each comes with the number of its question. `progress` has to increase from one time to
    /// the next (2025-11-25 `basic/utilities/progress.mdx`).
    #[must_use]
    pub fn progress(&self, progress: u64) -> Vec<(u64, Bytes)> {
        let told = self.asks.iter().filter_map(|ask| {
            let token = ask.token.as_deref()?;
            let params = format!("{{\"progressToken\":{token},\"progress\":{progress}}}");
            let message = message::notification(method::PROGRESS, Some(&params));
            Some((ask.number, message))
        });
        told.collect()
    }

    /// Returns the bytes of the questions that are open.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.asks.iter().map(|ask| ask.embedded.len()).sum()
    }

    /// Returns the names of the questions that are open.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.asks.iter().map(|ask| ask.key.clone()).collect()
    }

    /// Takes the caller's answers (`inputResponses`, as JSON text). Returns the responses for the
    /// upstream. What is not answered stays open, and answers to nothing are ignored.
    pub fn answer(&mut self, answers: &str) -> Vec<Bytes> {
        let answers = Object::parse(answers).unwrap_or_default();
        let version = self.version;
        let mut responses = Vec::new();
        self.asks.retain(|ask| {
            let Some(answer) = answers.value(&ask.key) else {
                return true;
            };
            let fitted = match ask.kind {
                AskKind::Sampling | AskKind::SamplingWithTools => fit_answer(answer, version),
                AskKind::Form | AskKind::Url | AskKind::Roots => None,
            };
            let answer = fitted.as_deref().unwrap_or(answer);
            responses.push(message::result(&ask.id, answer));
            false
        });
        responses
    }

    /// Ends the time of the caller. Returns the responses for the upstream: nobody has decided.
    pub fn end(&mut self) -> Vec<Bytes> {
        let asks = std::mem::take(&mut self.asks);
        let answers = asks.iter().map(|ask| match ask.kind {
            AskKind::Form | AskKind::Url => message::result(&ask.id, CANCEL),
            AskKind::Sampling | AskKind::SamplingWithTools => {
                message::error(Some(&ask.id), REJECTED)
            }
            AskKind::Roots => message::error(Some(&ask.id), UNAVAILABLE),
        });
        answers.collect()
    }

    /// Refuses what is open, because no more calls may wait for their callers.
    pub fn refuse(&mut self) -> Vec<Bytes> {
        let asks = std::mem::take(&mut self.asks);
        let refused = asks.iter();
        let refused = refused.map(|ask| message::error(Some(&ask.id), UNAVAILABLE));
        refused.collect()
    }

    /// Returns the error for a call that failed after its upstream asked for something that the caller
    /// does not declare (-32021, 2026-07-28 `basic/index.mdx#error-codes`); `None` if it asked for
    /// nothing of the kind. A call that succeeds all the same keeps its result.
    #[must_use]
    pub fn missing_capability(&self) -> Option<String> {
        self.lacking.map(missing_capability)
    }
}

/// Returns the error for a call that failed after its upstream asked for something that the caller does
/// not declare (-32021, 2026-07-28 `basic/index.mdx#error-codes`).
#[must_use]
pub fn missing_capability(kind: AskKind) -> String {
    let required = match kind {
        AskKind::Form => "{\"elicitation\":{\"form\":{}}}",
        AskKind::Url => "{\"elicitation\":{\"url\":{}}}",
        AskKind::Sampling => "{\"sampling\":{}}",
        AskKind::SamplingWithTools => "{\"sampling\":{\"tools\":{}}}",
        AskKind::Roots => "{\"roots\":{}}",
    };
    let capability = kind.capability();
    format!(
        "{{\"code\":-32021,\"message\":\"the client does not declare the capability {capability}\",\
             \"data\":{{\"requiredCapabilities\":{required}}}}}"
    )
}

/// Checks the answers of a caller to the questions with these names. Answers to other questions are
/// ignored.
///
/// # Errors
/// One is no object.
pub fn check_answers(keys: &[String], answers: Option<&str>) -> Result<(), MalformedAnswers> {
    let Some(answers) = answers else {
        return Ok(());
    };
    let answers = Object::parse(answers).map_err(|_| MalformedAnswers)?;
    let mut own = keys.iter().filter_map(|key| answers.get(key));
    match own.all(json::is_object) {
        true => Ok(()),
        false => Err(MalformedAnswers),
    }
}

/// Returns the result that asks for these, by their names.
pub(super) fn to_result<'a>(asks: impl Iterator<Item = (&'a str, &'a str)>, state: &str) -> String {
    let mut requests = Object::new();
    for (key, embedded) in asks {
        requests.set(key, embedded);
    }
    format!(
        "{{\"resultType\":\"input_required\",\"inputRequests\":{},\"requestState\":{}}}",
        requests.to_text(),
        json::quote(state)
    )
}

/// Returns a request as it is embedded in a result.
fn embed(kind: AskKind, mut params: Object<'_>) -> String {
    asks::strip(&mut params);
    let asked = kind.method();
    match params.is_empty() {
        true => format!("{{\"method\":\"{asked}\"}}"),
        false => format!("{{\"method\":\"{asked}\",\"params\":{}}}", params.to_text()),
    }
}

/// Returns the refusal of a question that the client cannot be asked: the method is unknown to it, or
/// only this form of it (2025-11-25 `client/elicitation.mdx`, error handling).
fn refuse(id: &Id, asked: &str, is_known: bool) -> Bytes {
    let (code, words) = match is_known {
        true => (-32602, "the client does not support this mode"),
        false => (-32601, "the client does not support this method"),
    };
    let asked: String = asked.chars().take(100).collect();
    let text = json::quote(&format!("{words}: {asked}"));
    message::error(Some(id), &format!("{{\"code\":{code},\"message\":{text}}}"))
}

#[cfg(test)]
mod tests;
