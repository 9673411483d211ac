//! The questions of one call on their way to its caller, and the answers on their way back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::call::{CallEnd, CallSetup, CrossedCall};
use super::demanded::Demanded;
use super::messages::GATHER;
use super::phase::{CallPhase, ParkedPhase};
use crate::metrics::AskOutcome;
use crate::protocol::message::{self, Id};
use crate::relay::send::notices::post_progress;
use crate::session::{ParkedCall, Resumption};
use crate::upstream::RelayedMessage;

/// The time between two signs to an upstream that its questions still wait, and the least number of
/// signs in `timeouts.ask`. Servers give a question a minute or so, which progress prolongs.
const SIGNS: (Duration, u32) = (Duration::from_secs(20), 4);

/// Returns when the upstream is told next that its questions wait, where callers have this long.
fn next_sign(lives: Duration) -> Instant {
    Instant::now() + SIGNS.0.min(lives / SIGNS.1)
}

impl CrossedCall {
    /// Asks the caller all that is open, and parks the call.
    pub(super) async fn ask(&mut self) -> Option<CallEnd> {
        self.gather = None;
        let CallPhase::Running(out) = &self.phase else {
            return None;
        };
        let out = out.clone();
        let is_demanded = self.is_demanded();
        if !self.asks.is_open() && !is_demanded {
            return None;
        }
        let refused = is_demanded.then(|| self.refusal());
        let open = self.count_open();
        if self.setup.crossings.is_draining() {
            self.count(AskOutcome::Refused, open);
            let answers = self.asks.end();
            self.post_all(answers);
            return refused.map(|refusal| CallEnd::Answered(out, refusal));
        }
        let Some((state, resumed)) = self.park() else {
            self.count(AskOutcome::Refused, open);
            self.refuse_all();
            return refused.map(|refusal| CallEnd::Answered(out, refusal));
        };
        let question = match &self.demanded {
            Some(demanded) if is_demanded => demanded.to_result(&state),
            Some(_) | None => self.asks.to_result(&state),
        };
        let question = message::result(&Id::from(self.number), &question);
        let asked = match is_demanded {
            true => open,
            false => self.asks.note_asked(),
        };
        self.count(AskOutcome::Asked, asked);
        self.tell_begun();
        let lives = self.setup.session.link.config.timeouts.ask;
        self.phase = CallPhase::Parked(ParkedPhase {
            resumed,
            since: Instant::now(),
            expires: Some(Instant::now() + lives),
            next_sign: next_sign(lives),
            answer: None,
            progress: None,
        });
        self.generation.mark_unchanged();
        match out.send(RelayedMessage::Question(question)).await {
            Ok(()) => None,
            // It cannot know the state.
            Err(_) => Some(CallEnd::Left),
        }
    }

    /// Counts questions of the upstream of which the same became.
    pub(super) fn count(&self, outcome: AskOutcome, count: usize) {
        self.setup.session.link.metrics.count_asks(outcome, count);
    }

    /// Returns the number of the questions that the caller is asked next, or is asked now.
    pub(super) fn count_open(&self) -> usize {
        match &self.demanded {
            Some(demanded) if demanded.is_open() => demanded.keys().len(),
            Some(_) | None => self.asks.keys().len(),
        }
    }

    /// Returns whether the upstream demands URLs that the caller has not agreed to visit.
    fn is_demanded(&self) -> bool {
        self.demanded.as_ref().is_some_and(Demanded::is_open)
    }

    /// Parks the call for the next round. Returns its state, and where the answers come.
    fn park(&mut self) -> Option<(String, oneshot::Receiver<Resumption>)> {
        let is_demanded = self.is_demanded();
        let CallSetup {
            crossings,
            session,
            digest,
            caller,
            deadline,
            extension,
            ..
        } = &self.setup;
        self.round += 1;
        if is_demanded {
            // It will be another request.
            self.known_as = session.link.next_id();
        }
        let keys = match &self.demanded {
            Some(demanded) if is_demanded => demanded.keys(),
            Some(_) | None => self.asks.keys(),
        };
        let at = (self.exchange, self.round);
        let lives = session.link.config.timeouts.ask;
        let state = crossings.seal(at, caller.key(), *digest, lives).ok()?;
        let (resume, resumed) = oneshot::channel();
        let now = Instant::now();
        let call = ParkedCall {
            link: Arc::clone(&session.link),
            peer: Arc::clone(&session.peer),
            number: self.known_as,
            keys,
            left: deadline.saturating_duration_since(now),
            longest: extension.map(|extension| extension.latest().saturating_duration_since(now)),
            resume,
        };
        if let Err(error) = crossings.park(at, call) {
            tracing::warn!(upstream = %session.link.id(), "a question is refused: {error}");
            return None;
        }
        Some((state, resumed))
    }

    /// Tells an upstream that wants progress that its questions still wait for the caller.
    pub(super) fn tell_waiting(&mut self) {
        let CallPhase::Parked(parked) = &mut self.phase else {
            return;
        };
        let session = &self.setup.session;
        parked.next_sign = next_sign(session.link.config.timeouts.ask);
        self.signs += 1;
        for (number, message) in self.asks.progress(self.signs) {
            post_progress(&session.link, &session.peer, message, number);
        }
    }

    /// Goes on with the caller's answers.
    pub(super) async fn go_on(&mut self, resumption: Resumption) -> Option<CallEnd> {
        let Resumption {
            answers,
            out,
            deadline,
        } = resumption;
        self.setup.deadline = deadline;
        let responses = answers.as_deref().map(|answers| self.asks.answer(answers));
        let responses = responses.unwrap_or_default();
        self.count(AskOutcome::Answered, responses.len());
        self.post_all(responses);
        let before = std::mem::replace(&mut self.phase, CallPhase::Running(out.clone()));
        let CallPhase::Parked(ParkedPhase {
            since,
            answer,
            progress,
            ..
        }) = before
        else {
            return None;
        };
        if let Some(extension) = &mut self.setup.extension {
            extension.postpone(since.elapsed());
        }
        if let Some(progress) = progress {
            let _ = out.send(RelayedMessage::Message(progress)).await;
        }
        match answer {
            Some(Ok(answer)) => Some(CallEnd::Answered(out, answer)),
            Some(Err(error)) => Some(CallEnd::Failed(out, error)),
            None if self.is_demanded() => self.answer_demand(answers.as_deref(), &out),
            None => {
                // A question without an answer is asked again.
                let is_open = self.asks.is_open();
                self.gather = is_open.then(|| Instant::now() + GATHER);
                None
            }
        }
    }
}
