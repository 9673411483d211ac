//! Callers that are named on the command line.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::caller::{Caller, Identity, Principal, tags_of};
use crate::json::Object;

/// Most bytes of a file of claims.
const CLAIMS: usize = 1 << 20;

/// Reads the word for the kind of a caller.
pub(super) fn principal_parser() -> impl TypedValueParser<Value = Principal> {
    let words = PossibleValuesParser::new(Principal::ALL.map(Principal::as_str));
    words.try_map(|word| Principal::parse(&word).ok_or("no kind of caller"))
}

/// Returns the caller that is written as a subject, or as `@FILE` with its claims.
///
/// # Errors
/// The file cannot be read, is too large, or is no JSON object.
pub(super) fn read_caller(text: &str, kind: Principal) -> Result<Caller, String> {
    let Some(file) = text.strip_prefix('@') else {
        return Ok(Caller::new(Identity::new(kind, text)));
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    if text.len() > CLAIMS {
        return Err(format!("{file}: has more than {CLAIMS} bytes"));
    }
    let claims = Object::parse(&text).map_err(|error| format!("{file}: {error}"))?;
    let subject = claims.string("sub").unwrap_or_default();
    Ok(Caller::new(Identity {
        issuer: claims.string("iss").map(Into::into),
        tags: tags_of(&claims),
        ..Identity::new(kind, &subject)
    }))
}
