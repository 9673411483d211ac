//! `listen.auth.jwt[]`

/// An issuer of tokens, and what must be in them.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    /// The issuer, exactly as in `iss`.
    pub issuer: Box<str>,
}

impl JwtIssuer {
    /// Returns the scopes that a token needs for this entry, for metadata and challenges.
    pub fn needed_scopes(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}
