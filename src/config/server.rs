//! The texts that clients are told of weir and of upstreams at the handshake.

/// `server:` — what clients are told of weir itself at the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// `Implementation` of weir (`schema.ts`), as JSON text.
    pub info: Box<str>,
    /// The beginning of the instructions, escaped like the inside of a JSON string; `None` if it is
    /// not written.
    pub instructions: Option<Box<str>>,
}

/// `instructions:` — which instructions callers see of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Its own.
    Served,
    /// This text, instead of its own.
    Own(Box<str>),
    /// None.
    Off,
}
