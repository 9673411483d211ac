//! A modern upstream's questions to a legacy caller. A modern server answers a call with what it
//! needs to know (`input_required`, 2026-07-28 `basic/patterns/mrtr.mdx`); a legacy client gets
//! requests on the stream of its call. The call is sent again with the answers, until the upstream
//! needs no more.
//!
//! This is the state of one such call. It has no clock and sends nothing: it says what comes next.

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::asks::{self, AskKind, AskableClient};
use crate::bridge::older_asks::{fit_form, fit_sampling};
use crate::json::{self, Object};
use crate::name::UpstreamId;
use crate::protocol::era::Version;
use crate::protocol::error::Fault;

/// The most rounds of questions within one call. Official clients stop after as many.
const MOST_ROUNDS: u32 = 10;
/// The most questions of one round, and the bytes of one.
const MOST_ASKS: usize = 64;
const LARGEST_ASK: usize = 256 * 1024;
/// The pause before a call is sent again whose upstream asks nothing and only wants its state back.
const STATE_PAUSE: Duration = Duration::from_millis(250);
/// The answer in a person's place: nothing was decided (`client/elicitation.mdx`).
const CANCEL: &str = "{\"action\":\"cancel\"}";
/// The answer about a URL that a person has agreed to visit already.
const ACCEPT: &str = "{\"action\":\"accept\"}";

/// The rounds of questions within one call.
#[derive(Debug)]
pub struct AskRounds {
    version: Version,
    client: AskableClient,
    /// Makes ids of URL questions differ from those of other calls.
    seed: u64,
    minted: u64,
    rounds: u32,
    /// The URLs that a person has agreed to visit, and is not done with yet.
    accepted: Vec<AcceptedUrl>,
    /// The ids of URL questions that the upstream asks no more.
    completed: Vec<String>,
    /// The time for which the call may go on to be sent again because of a person at a URL.
    patience: Duration,
    round: Option<Round>,
}

#[derive(Debug)]
struct AcceptedUrl {
    url: String,
    id: String,
    /// The number of times that the upstream has asked for it again.
    again: u32,
}

/// A round that is not answered yet.
#[derive(Debug)]
struct Round {
    /// The upstream's state as JSON text, which goes back as it came.
    state: Option<String>,
    asks: Vec<RoundAsk>,
    /// The pause before the call is sent again.
    pause: Duration,
}

#[derive(Debug)]
struct RoundAsk {
    key: String,
    kind: AskKind,
    /// The URL of a question for one, and the id that the caller knows it by.
    url: Option<(String, String)>,
    /// The answer as JSON text.
    answer: Option<String>,
}

/// A question for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerAsk {
    /// Its place in the round.
    pub place: usize,
    /// The method of the request.
    pub method: &'static str,
    /// The params as JSON text, if there are any.
    pub params: Option<String>,
}

/// The members of a call's params that are new when it is sent again, as JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryMembers {
    /// `inputResponses`
    pub responses: Option<String>,
    /// `requestState`
    pub state: Option<String>,
}

/// The next step of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskStep {
    /// The caller is asked.
    Ask(Vec<CallerAsk>),
    /// Answers are still missing.
    Wait,
    /// The call is sent again after this time.
    Retry(Duration, RetryMembers),
    /// The call is over.
    Fail(AskFailure),
}

/// Why a call ends with the question unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskFailure {
    /// The upstream asks in a way that the protocol does not have.
    Malformed(&'static str),
    /// The caller does not declare that it can be asked for this.
    Lacks(AskKind),
    /// The caller's version does not know such a form.
    UnknownForm,
    /// The caller refused to answer.
    Refused(AskKind),
    /// The caller did not answer in time.
    Unanswered(AskKind),
    /// More questions wait for the caller than it may have open at once.
    TooMany(AskKind),
}

impl AskFailure {
    /// Returns whether a question could not be put to the caller.
    #[must_use]
    pub const fn is_unasked(self) -> bool {
        matches!(self, Self::Lacks(_) | Self::UnknownForm | Self::TooMany(_))
    }

    /// Returns the error for the caller.
    #[must_use]
    pub fn to_fault(self, upstream: &UpstreamId) -> Fault {
        let upstream: Arc<str> = upstream.as_str().into();
        let (kind, reason) = match self {
            Self::Malformed(reason) => return Fault::Upstream { upstream, reason },
            Self::Lacks(kind) => (kind, "which this client does not declare"),
            Self::UnknownForm => (
                AskKind::Form,
                "with a form that this client's version does not have",
            ),
            Self::Refused(kind) => (kind, "and the client refused"),
            Self::Unanswered(kind) => (kind, "and the client did not answer in time"),
            Self::TooMany(kind) => (kind, "and too much waits for the client's answer already"),
        };
        Fault::Unanswerable {
            upstream,
            capability: kind.capability(),
            reason,
        }
    }
}

impl AskRounds {
    /// Begins without a question. `patience`: how long the call is sent again and again while a
    /// person is at a URL.
    #[must_use]
    pub fn new(version: Version, client: AskableClient, seed: u64, patience: Duration) -> Self {
        Self {
            version,
            client,
            seed,
            minted: 0,
            rounds: 0,
            accepted: Vec::new(),
            completed: Vec::new(),
            patience,
            round: None,
        }
    }

    /// Takes a result that is no result yet: `input_required`.
    pub fn begin(&mut self, result: &str) -> AskStep {
        let (round, questions) = match self.read(result) {
            Ok(read) => read,
            Err(failure) => return AskStep::Fail(failure),
        };
        if !round.asks.is_empty() && questions.is_empty() {
            // A person takes minutes at a URL: that does not count as rounds, but as time.
            match self.patience.checked_sub(round.pause) {
                Some(left) => self.patience = left,
                None => return AskStep::Fail(AskFailure::Unanswered(AskKind::Url)),
            }
            return retry(&round);
        }
        self.rounds += 1;
        if self.rounds > MOST_ROUNDS {
            let reason = "asked for input in more than 10 rounds";
            return AskStep::Fail(AskFailure::Malformed(reason));
        }
        if questions.is_empty() {
            return retry(&round);
        }
        self.round = Some(round);
        AskStep::Ask(questions)
    }

    /// Reads a round, and returns those of its questions that the caller has to answer.
    fn read(&mut self, result: &str) -> Result<(Round, Vec<CallerAsk>), AskFailure> {
        let malformed = AskFailure::Malformed;
        let result = Object::parse(result).map_err(|_| malformed("the answer is not MCP"))?;
        let state = result.value("requestState").map(str::to_owned);
        let asked = result.value("inputRequests").unwrap_or("{}");
        let asked = Object::parse(asked).map_err(|_| malformed("its questions are not MCP"))?;
        if asked.is_empty() && state.is_none() {
            return Err(malformed("asked for input without a question"));
        }
        if asked.len() > MOST_ASKS {
            return Err(malformed("asked too many questions at once"));
        }
        let mut round = Round {
            state,
            asks: Vec::with_capacity(asked.len()),
            pause: Duration::ZERO,
        };
        if asked.is_empty() {
            round.pause = STATE_PAUSE;
        }
        let mut questions = Vec::new();
        for (place, (key, text)) in asked.iter().enumerate() {
            let (kind, params) = read_embedded(text)?;
            let (ask, pause) = self.read_ask(key, kind, &params)?;
            round.pause = round.pause.max(pause);
            if ask.answer.is_none() {
                questions.push(self.question(place, &ask, params)?);
            }
            round.asks.push(ask);
        }
        self.complete(&round);
        Ok((round, questions))
    }

    /// Reads one question, and answers one about a URL that a person has agreed to visit. Returns the
    /// pause that this takes, too: 1, 2, 4, 4, … seconds.
    fn read_ask(
        &mut self,
        key: &str,
        kind: AskKind,
        params: &Object<'_>,
    ) -> Result<(RoundAsk, Duration), AskFailure> {
        if !self.client.takes(kind) {
            return Err(AskFailure::Lacks(kind));
        }
        let mut ask = RoundAsk {
            key: key.to_owned(),
            kind,
            url: None,
            answer: None,
        };
        if kind != AskKind::Url {
            return Ok((ask, Duration::ZERO));
        }
        let url = params.string("url").unwrap_or_default().into_owned();
        let known = self.accepted.iter_mut().find(|one| one.url == url);
        if let Some(known) = known {
            let pause = Duration::from_secs(1 << known.again.min(2));
            known.again += 1;
            ask.url = Some((url, known.id.clone()));
            ask.answer = Some(ACCEPT.to_owned());
            return Ok((ask, pause));
        }
        self.minted += 1;
        ask.url = Some((url, format!("{:016x}-{}", self.seed, self.minted)));
        Ok((ask, Duration::ZERO))
    }

    /// Returns a question as the caller's version has it.
    fn question(
        &self,
        place: usize,
        ask: &RoundAsk,
        mut params: Object<'_>,
    ) -> Result<CallerAsk, AskFailure> {
        asks::strip(&mut params);
        match ask.kind {
            AskKind::Form => {
                let fitted = fit_form(&mut params, self.version);
                fitted.map_err(|_| AskFailure::UnknownForm)?;
            }
            AskKind::Sampling | AskKind::SamplingWithTools => {
                fit_sampling(&mut params, self.version);
            }
            AskKind::Url => {
                let id = ask.url.as_ref().map(|(_, id)| json::quote(id));
                params.set("elicitationId", id.unwrap_or_default());
            }
            AskKind::Roots => {}
        }
        Ok(CallerAsk {
            place,
            method: ask.kind.method(),
            params: (!params.is_empty()).then(|| params.to_text()),
        })
    }

    /// Notes the URL questions that this round does not have any more.
    fn complete(&mut self, round: &Round) {
        let is_asked = |one: &AcceptedUrl| {
            let urls = round.asks.iter().filter_map(|ask| ask.url.as_ref());
            urls.into_iter().any(|(url, _)| *url == one.url)
        };
        for one in std::mem::take(&mut self.accepted) {
            match is_asked(&one) {
                true => self.accepted.push(one),
                false => self.completed.push(one.id),
            }
        }
    }

    /// Takes the caller's answer to the question at a place: its result, or its error.
    pub fn answer(&mut self, place: usize, outcome: Result<&str, &str>) -> AskStep {
        let Some(round) = &mut self.round else {
            return AskStep::Wait;
        };
        let Some(ask) = round.asks.get_mut(place).filter(|ask| ask.answer.is_none()) else {
            return AskStep::Wait;
        };
        let answer = outcome
            .ok()
            .and_then(|text| Some((text, Object::parse(text).ok()?)));
        let Some((text, answer)) = answer else {
            // The modern era has no place for an error, but a way to say that nothing was decided.
            return match ask.kind {
                AskKind::Form | AskKind::Url => {
                    ask.answer = Some(CANCEL.to_owned());
                    self.go_on()
                }
                kind @ (AskKind::Sampling | AskKind::SamplingWithTools | AskKind::Roots) => {
                    self.fail(AskFailure::Refused(kind))
                }
            };
        };
        if let Some((url, id)) = ask.url.clone().filter(|_| asks::is_accepted(&answer)) {
            self.accepted.push(AcceptedUrl { url, id, again: 0 });
        }
        ask.answer = Some(text.to_owned());
        self.go_on()
    }

    /// Ends the time of the caller: what it has not answered counts as cancelled.
    pub fn expire(&mut self) -> AskStep {
        let Some(round) = &mut self.round else {
            return AskStep::Wait;
        };
        for ask in round.asks.iter_mut().filter(|ask| ask.answer.is_none()) {
            match ask.kind {
                AskKind::Form | AskKind::Url => ask.answer = Some(CANCEL.to_owned()),
                kind @ (AskKind::Sampling | AskKind::SamplingWithTools | AskKind::Roots) => {
                    return self.fail(AskFailure::Unanswered(kind));
                }
            }
        }
        self.go_on()
    }

    /// Ends the round without another one.
    pub fn fail(&mut self, failure: AskFailure) -> AskStep {
        self.round = None;
        AskStep::Fail(failure)
    }

    /// Takes the ids of URL questions that are over since the last time. At the end of the call, all
    /// are.
    pub fn take_completed(&mut self, is_over: bool) -> Vec<String> {
        if is_over {
            let rest = std::mem::take(&mut self.accepted);
            self.completed.extend(rest.into_iter().map(|one| one.id));
        }
        std::mem::take(&mut self.completed)
    }

    fn go_on(&mut self) -> AskStep {
        let is_answered = |round: &mut Round| round.asks.iter().all(|ask| ask.answer.is_some());
        match self.round.take_if(is_answered) {
            Some(round) => retry(&round),
            None => AskStep::Wait,
        }
    }
}

fn retry(round: &Round) -> AskStep {
    let mut responses = Object::new();
    for ask in &round.asks {
        responses.set(&ask.key, ask.answer.as_deref().unwrap_or(CANCEL));
    }
    let members = RetryMembers {
        responses: (!responses.is_empty()).then(|| responses.to_text()),
        state: round.state.clone(),
    };
    AskStep::Retry(round.pause, members)
}

/// Reads a request that is embedded in a result: its kind and its params.
fn read_embedded(text: &str) -> Result<(AskKind, Object<'_>), AskFailure> {
    let malformed = |_| AskFailure::Malformed("its questions are not MCP");
    if text.len() > LARGEST_ASK {
        return Err(AskFailure::Malformed("asked a question that is too long"));
    }
    let ask = Object::parse(text).map_err(malformed)?;
    let params = ask.object("params").map_err(malformed)?.unwrap_or_default();
    let method = ask.string("method").unwrap_or_default();
    let kind = AskKind::of(&method, &params);
    let unknown = AskFailure::Malformed("asks for what no client knows");
    kind.map(|kind| (kind, params)).ok_or(unknown)
}

#[cfg(test)]
mod tests;
