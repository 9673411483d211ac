//! What upstreams ask of a legacy caller: sampling, elicitation, roots. Ids and progress tokens are the
//! hop's own, in both directions.

use std::sync::Arc;

use bytes::Bytes;

use crate::json::Object;
use crate::protocol::message::{self, Id, Notification, Outcome, Request, Response};
use crate::protocol::{meta, method};
use crate::relay::Scope;
use crate::relay::caller::{Caller, Token};
use crate::relay::tasks;
use crate::upstream::{Link, Peer, watch};

/// Most requests that wait for one caller's answers.
const ASKED: usize = 64;

/// Most tasks of one caller whose progress is told; the oldest gives way.
const TOKENS: usize = 64;

/// A request of an upstream that a caller has not answered yet.
pub(super) struct Asked {
    link: Arc<Link>,
    peer: Arc<Peer>,
    /// The upstream's id.
    id: Id,
    /// The upstream's progress token, as JSON text.
    token: Option<Box<str>>,
}

/// What one call's upstream may ask of the caller: with the call, all of it is over.
pub(super) struct Asks {
    caller: Option<Arc<Caller>>,
    numbers: Vec<u64>,
}

impl Asks {
    /// Only the caller's own session may ask, and only where the caller hears it.
    pub(super) fn of(scope: &Scope<'_>, link: &Link, peer: &Arc<Peer>) -> Self {
        let is_shared = link
            .current_peer()
            .is_some_and(|shared| Arc::ptr_eq(&shared, peer));
        let caller = scope.caller.filter(|_| !is_shared && scope.streams);
        Self {
            caller: caller.cloned(),
            numbers: Vec::new(),
        }
    }

    /// A request on the call's stream, as the caller gets it.
    pub(super) fn ask(
        &mut self,
        link: &Arc<Link>,
        peer: &Arc<Peer>,
        request: &Request<'_>,
    ) -> Option<Bytes> {
        let caller = self.caller.as_ref()?;
        let (number, message) = ask(caller, link, peer, request)?;
        self.numbers.push(number);
        Some(message)
    }

    /// The call is over; where it became a task, its progress is told on (2025-11-25 `basic/utilities/tasks.mdx`).
    pub(super) fn outlived(&self, link: &Link, number: u64, token: Option<&str>, result: &str) {
        let (Some(caller), Some(token)) = (&self.caller, token) else {
            return;
        };
        if !Object::parse(result).is_ok_and(|result| result.contains("task")) {
            return;
        }
        let mut kept = caller.kept();
        if kept.tokens.len() >= TOKENS {
            kept.tokens.pop_front();
        }
        kept.tokens.push_back(Token {
            upstream: link.id().clone(),
            number,
            token: token.into(),
        });
    }

    /// Progress on this call's stream that is not of this call.
    pub(super) fn progress(&self, link: &Link, notification: Notification<'_>) -> Option<Bytes> {
        self.caller.as_ref()?.progress(link, notification)
    }

    /// A notification on the call's stream that is not about the call, as the caller gets it. What is cancelled is
    /// what was asked; a server has no business to cancel a call.
    pub(super) fn heard(&self, link: &Arc<Link>, notification: Notification<'_>) -> Option<Bytes> {
        match (notification.method.as_ref(), &self.caller) {
            (method::CANCELLED, caller) => caller.as_ref()?.taken_back(link, notification),
            (method::RESOURCE_UPDATED, Some(caller)) => caller.updated(link.id(), notification),
            (method::RESOURCE_UPDATED, None) => {
                watch::publish_update(link, &notification.envelope, "uri");
                None
            }
            // The catalog's own changes are what callers are told of.
            _ => {
                link.rounds.request_resync();
                None
            }
        }
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        if let Some(caller) = &self.caller {
            for number in &self.numbers {
                caller.unask(*number);
            }
        }
    }
}

/// Notes a request of an upstream and gives it as the caller gets it, with its number. `None` for what the caller
/// is not asked: a ping, which is answered here, and one request too many.
pub(super) fn ask(
    caller: &Caller,
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    request: &Request<'_>,
) -> Option<(u64, Bytes)> {
    if request.method == method::PING {
        return None;
    }
    let number = caller.number();
    let mut params = request.params.clone();
    let mut token = None;
    if let Some(own) = &request.meta {
        let mut own = own.clone();
        token = own.get(meta::PROGRESS_TOKEN).map(Box::from);
        if token.is_some() {
            own.set(meta::PROGRESS_TOKEN, number.to_string());
        }
        tasks::wrap_related(&mut own, link.id());
        params.set("_meta", own.to_text());
    }
    let asked = Asked {
        link: Arc::clone(link),
        peer: Arc::clone(peer),
        id: request.id.clone(),
        token,
    };
    let mut kept = caller.kept();
    if kept.asked.len() >= ASKED {
        return None;
    }
    kept.asked.insert(number, asked);
    drop(kept);
    let params = (!params.is_empty()).then(|| params.to_text());
    let message = message::request_of(&Id::from(number), &request.method, params.as_deref());
    Some((number, message))
}

impl Caller {
    /// Takes the caller's answer to what an upstream asked, and sends it there. False where nobody asked.
    pub fn answered(&self, response: &Response<'_>) -> bool {
        let number = response.id.and_then(|id| id.parse::<u64>().ok());
        let asked = number.and_then(|number| self.kept().asked.remove(&number));
        let Some(asked) = asked else {
            return false;
        };
        let body = match response.outcome {
            Outcome::Result(result) => {
                let unwrapped = tasks::unwrap_related(result, asked.link.id());
                message::result(&asked.id, unwrapped.as_deref().unwrap_or(result))
            }
            Outcome::Error(error) => message::error(Some(&asked.id), error),
        };
        asked.post(body);
        true
    }

    /// Takes the caller's word of how far it has come with what an upstream asked.
    pub fn progressed(&self, notification: &Notification<'_>) {
        let params = notification.envelope.get("params");
        let Some(mut params) = params.and_then(|params| Object::parse(params).ok()) else {
            return;
        };
        let number = params
            .get(meta::PROGRESS_TOKEN)
            .and_then(|t| t.parse().ok());
        let kept = self.kept();
        let asked = number.and_then(|number: u64| kept.asked.get(&number));
        if let Some((asked, token)) =
            asked.and_then(|asked| asked.token.as_ref().map(|t| (asked, t)))
        {
            params.set(meta::PROGRESS_TOKEN, token.to_string());
            let text = params.to_text();
            asked.post(message::notification(method::PROGRESS, Some(&text)));
        }
    }

    /// Progress of a task of this caller, as it gets it.
    pub(super) fn progress(
        &self,
        link: &Link,
        mut notification: Notification<'_>,
    ) -> Option<Bytes> {
        let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
        let number = watch::parse_progress_token(&params)?;
        let token = {
            let kept = self.kept();
            let mut known = kept.tokens.iter();
            let is_it = |one: &&Token| one.number == number && one.upstream == *link.id();
            known.find(is_it).map(|one| one.token.to_string())?
        };
        params.set(meta::PROGRESS_TOKEN, token);
        tasks::wrap_meta(&mut params, link.id());
        notification.envelope.set("params", params.to_text());
        let mut out = Vec::new();
        notification.envelope.write(&mut out);
        Some(out.into())
    }

    /// An upstream takes back what it asked: the notification as the caller gets it.
    pub(super) fn taken_back(
        &self,
        link: &Arc<Link>,
        mut notification: Notification<'_>,
    ) -> Option<Bytes> {
        let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
        let id = Id::parse(params.get("requestId")?)?;
        let number = {
            let mut kept = self.kept();
            let is_it = |asked: &Asked| Arc::ptr_eq(&asked.link, link) && asked.id == id;
            let found = kept.asked.iter().find(|(_, asked)| is_it(asked));
            let number = found.map(|(number, _)| *number)?;
            kept.asked.remove(&number);
            number
        };
        params.set("requestId", number.to_string());
        notification.envelope.set("params", params.to_text());
        let mut out = Vec::new();
        notification.envelope.write(&mut out);
        Some(out.into())
    }

    /// Forgets a request that nobody can answer any more. Always false, for whoever could not ask it.
    pub(super) fn unask(&self, number: u64) -> bool {
        self.kept().asked.remove(&number);
        false
    }
}

impl Asked {
    /// Whether this peer asked.
    pub(super) fn is_of(&self, peer: &Arc<Peer>) -> bool {
        Arc::ptr_eq(&self.peer, peer)
    }

    fn post(&self, body: Bytes) {
        let (link, peer) = (Arc::clone(&self.link), Arc::clone(&self.peer));
        self.link.tasks().clone().spawn(async move {
            if let Err(error) = link.post(&peer, body).await {
                tracing::debug!(upstream = %link.id(), %error, "a caller's answer was not delivered");
            }
        });
    }
}
