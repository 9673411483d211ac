//! Responses as callers get them.

use bytes::Bytes;
use http::StatusCode;

use crate::json;
use crate::memory::{MemoryShare, OverBudget};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Id};

/// A response: its HTTP status, and its bytes in pieces that are sent one after the other.
#[derive(Debug)]
pub struct Payload {
    /// The HTTP status, if the response is not part of a stream.
    pub status: StatusCode,
    /// The JSON text.
    pub chunks: Vec<Bytes>,
    /// The seconds of `Retry-After`, if the response is not part of a stream.
    pub retry_after: Option<u64>,
}

impl Payload {
    /// Makes a successful answer.
    #[must_use]
    pub fn ok(chunks: Vec<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            chunks,
            retry_after: None,
        }
    }

    /// Counts the bytes until they are sent.
    ///
    /// # Errors
    /// They do not fit into what is left of `limits.memory`.
    pub(super) fn keep(mut self, memory: &MemoryShare) -> Result<Self, OverBudget> {
        for chunk in &mut self.chunks {
            *chunk = memory.keep(std::mem::take(chunk))?;
        }
        Ok(self)
    }

    /// Makes the error answer to a request.
    #[must_use]
    pub fn fault(id: Option<&Id>, fault: &Fault, era: Era) -> Self {
        let text = fault.log_text();
        tracing::debug!(code = fault.code_for(era), blame = ?fault.blame(), "answered with an error: {text}");
        Self {
            status: fault.status(era),
            chunks: vec![message::error(id, &fault.to_json(era))],
            retry_after: fault.retry_after(),
        }
    }

    /// Makes the result of a tool that failed because of a fault, for models to read
    /// (`schema.ts`, `CallToolResult`).
    #[must_use]
    pub fn tool_error(id: &Id, fault: &Fault, era: Era) -> Self {
        let kind = match era {
            Era::Modern => "\"resultType\":\"complete\",",
            Era::Legacy => "",
        };
        let text = json::quote(&fault.to_string());
        let result = format!(
            "{{{kind}\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"isError\":true}}"
        );
        Self {
            retry_after: fault.retry_after(),
            ..Self::ok(vec![message::result(id, &result)])
        }
    }

    /// Counts the bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Joins the bytes into one piece.
    #[must_use]
    pub fn concat(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.chunks) {
            Ok([only]) => only,
            Err(chunks) => chunks.concat().into(),
        }
    }
}
