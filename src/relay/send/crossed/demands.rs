//! Calls that their upstream refuses until a person has visited a URL: they are sent again.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::call::{AS_LONG_AS_IT_TAKES, CallEnd, CrossedCall};
use super::demanded::Demanded;
use super::source::CallSource;
use crate::bridge::{AskKind, DemandStep, UrlDemand};
use crate::json::{self, Object};
use crate::metrics::AskOutcome;
use crate::protocol::message::{self, Id, Notification};
use crate::protocol::{meta, method};
use crate::relay::send::in_flight::transmit;
use crate::upstream::{OutboundRequest, RelayedMessage};

/// The time for which a call is sent again and again while a person is at a URL. The official clients
/// wait a minute for an answer.
const PATIENCE: Duration = Duration::from_secs(45);

impl CrossedCall {
    /// Takes the error of the call, if it demands that a person visits URLs, and the caller can be asked
    /// for that.
    pub(super) fn take_demand(&mut self, error: &str) -> bool {
        if !self.setup.client.takes(AskKind::Url) {
            return false;
        }
        let Some(demand) = UrlDemand::read(error) else {
            return false;
        };
        let before = self.demanded.take();
        let before = before.filter(|before| before.demand.is_same(&demand));
        match before {
            Some(mut before) if before.accepted.is_some_and(|at| at.elapsed() < PATIENCE) => {
                before.wait();
                self.demanded = Some(before);
            }
            _ => {
                self.demanded = Some(Demanded {
                    demand,
                    accepted: None,
                    attempts: 0,
                    again: None,
                });
                // The call is over, and with it what it has asked.
                let answers = self.asks.end();
                self.post_all(answers);
                self.gather = (!self.phase.is_parked()).then(Instant::now);
            }
        }
        true
    }

    /// Takes the caller's answers about URLs. Returns the end of the call, if a person does not want to
    /// visit one.
    pub(super) fn answer_demand(
        &mut self,
        answers: Option<&str>,
        out: &mpsc::Sender<RelayedMessage>,
    ) -> Option<CallEnd> {
        let demanded = self.demanded.as_mut()?;
        self.is_sent = false;
        let answers = answers.unwrap_or("{}");
        let given = Object::parse(answers).unwrap_or_default();
        let answered = demanded
            .keys()
            .iter()
            .filter(|key| given.contains(key))
            .count();
        let metrics = &self.setup.session.link.metrics;
        metrics.count_asks(AskOutcome::Answered, answered);
        match demanded.demand.answer(answers) {
            DemandStep::Ask => self.gather = Some(Instant::now()),
            DemandStep::Again => {
                demanded.accepted = Some(Instant::now());
                match demanded.demand.is_complete() {
                    true => demanded.again = demanded.accepted,
                    false => demanded.wait(),
                }
            }
            DemandStep::Declined => {
                let refusal = self.refusal();
                return Some(CallEnd::Answered(out.clone(), refusal));
            }
        }
        None
    }

    /// Returns the response to a call that does not run without a URL.
    pub(super) fn refusal(&self) -> Bytes {
        const DECLINED: &str = "the tool needs a person to visit a URL, and the person declined";
        let (id, text) = (Id::from(self.number), json::quote(DECLINED));
        if self.method == method::TOOLS_CALL {
            let content = format!("{{\"type\":\"text\",\"text\":{text}}}");
            return message::result(
                &id,
                &format!("{{\"content\":[{content}],\"isError\":true}}"),
            );
        }
        let upstream = json::quote(self.setup.session.link.id().as_str());
        let data = format!("{{\"upstream\":{upstream},\"reason\":\"declined\"}}");
        let error = format!("{{\"code\":-32603,\"message\":{text},\"data\":{data}}}");
        message::error(Some(&id), &error)
    }

    /// Takes the notification that a person is done at a URL.
    pub(super) fn complete_demand(&mut self, notification: &Notification<'_>) {
        let params = notification.envelope.get("params");
        let params = params.and_then(|text| Object::parse(text).ok());
        let id = params
            .as_ref()
            .and_then(|params| params.string("elicitationId"));
        if let (Some(demanded), Some(id)) = (&mut self.demanded, id)
            && demanded.demand.complete(&id)
            && demanded.again.is_some()
        {
            demanded.again = Some(Instant::now());
        }
    }

    /// Sends the call again, as another request.
    pub(super) fn send_again(&mut self) {
        let Some(demanded) = &mut self.demanded else {
            return;
        };
        demanded.again = None;
        let session = &self.setup.session;
        // The first time, the number is the one that the caller's request is known by.
        if std::mem::replace(&mut self.is_sent, true) {
            self.number = session.link.next_id();
        } else {
            self.number = self.known_as;
        }
        let Some(outbound) = &self.outbound else {
            return;
        };
        let outbound = OutboundRequest {
            id: self.number,
            ..outbound.clone()
        };
        let until = Instant::now() + AS_LONG_AS_IT_TAKES;
        let sending = transmit(&session.link, &session.peer, outbound, until);
        self.source = CallSource::Sending(sending);
    }

    /// Returns progress under the number that the caller's request is known by.
    pub(super) fn progress_of(&self, bytes: &Bytes) -> Bytes {
        let sent_as = self.outbound.as_ref().map(|outbound| outbound.id);
        if sent_as.is_none_or(|id| id == self.known_as) {
            return bytes.clone();
        }
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let Ok(mut envelope) = Object::parse(text) else {
            return bytes.clone();
        };
        let params = envelope.borrowed("params").map(Object::parse);
        let Some(Ok(mut params)) = params else {
            return bytes.clone();
        };
        params.set(meta::PROGRESS_TOKEN, self.known_as.to_string());
        envelope.set("params", params.to_text());
        envelope.to_text().into()
    }
}
