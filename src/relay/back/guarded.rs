//! Applies the rules for data to a message of an upstream before it is put into the caller's era.

use std::borrow::Cow;

use crate::guard::{Blocked, Direction, Findings, RequestGuard, coverage};
use crate::json::Object;
use crate::protocol::message::{Message, Outcome};

/// The most bytes of a text that is kept for the record file, where more than 8 KiB are a hash: a
/// pseudonym may be some thirty times as long as its value.
const LONGEST_KEPT: usize = 256 * 1024;

/// A text that changes before it may pass to a caller.
#[derive(Debug)]
pub(in crate::relay) struct GuardedText {
    /// The text for the caller.
    pub(in crate::relay) text: String,
    /// The text before pseudonyms in it became values, if some did: readers of records are not
    /// cleared for them. Of a message, its result. A long one is left out.
    pub(in crate::relay) unrestored: Option<String>,
}

/// Returns a message as it may pass to a caller; `None` if it stays as it is.
///
/// It changes nothing but `findings`, so the future may be dropped and made again.
///
/// # Errors
/// The message may not pass.
pub(super) async fn guard_message(
    guard: &RequestGuard,
    message: &Message<'_>,
    text: &str,
    findings: &mut Findings,
) -> Result<Option<GuardedText>, Blocked> {
    let (member, shape) = match message {
        Message::Response(response) => match response.outcome {
            Outcome::Result(_) => ("result", &coverage::RESULT),
            Outcome::Error(_) => ("error", &coverage::ERROR),
        },
        Message::Notification(notification) => {
            ("params", coverage::notification(&notification.method))
        }
        Message::Request(_) => ("params", &coverage::ASKED),
    };
    let mut envelope = Object::parse(text).map_err(|_| Blocked::unreadable())?;
    let (mut is_changed, mut unrestored) = (false, None);
    // Members that no revision knows pass with a notification: they are text.
    let members: Vec<String> = envelope.iter().map(|(key, _)| key.to_owned()).collect();
    for key in members {
        let shape = match key.as_str() {
            "jsonrpc" | "id" | "method" => continue,
            key if key == member => shape,
            _ => &coverage::Shape::Text,
        };
        guard.check_name(Direction::TowardsCaller, &key, findings)?;
        let value = envelope.get(&key).unwrap_or_default();
        if let Some(changed) = towards_caller(guard, shape, value, findings).await? {
            if key == member {
                unrestored = changed.unrestored;
            }
            envelope.replace(&key, changed.text);
            is_changed = true;
        }
    }
    Ok(is_changed.then(|| GuardedText {
        text: envelope.to_text(),
        unrestored,
    }))
}

/// Returns a JSON text as it may pass to a caller; `None` if it stays as it is: values are replaced
/// first, and then pseudonyms become values.
///
/// # Errors
/// It may not pass.
pub(in crate::relay) async fn towards_caller(
    guard: &RequestGuard,
    shape: &'static coverage::Shape,
    text: &str,
    findings: &mut Findings,
) -> Result<Option<GuardedText>, Blocked> {
    let direction = Direction::TowardsCaller;
    let redacted = guard.redact(direction, shape, text, findings).await?;
    let redacted = redacted.map_or(Cow::Borrowed(text), Cow::Owned);
    let restored = guard.restore(direction, shape, &redacted, findings).await?;
    Ok(match (restored, redacted) {
        (Some(text), redacted) => Some(GuardedText {
            text,
            unrestored: (redacted.len() <= LONGEST_KEPT).then(|| redacted.into_owned()),
        }),
        (None, Cow::Owned(text)) => Some(GuardedText {
            text,
            unrestored: None,
        }),
        (None, Cow::Borrowed(_)) => None,
    })
}
