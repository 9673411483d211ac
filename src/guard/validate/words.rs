//! Describes what is wrong with a value, in words that a model can act on.
//!
//! Nothing of the value itself is in them, because it may be what other rules keep secret: a name of a
//! member is written only if it looks like one.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::printable;

/// Most characters of what the schema expects.
const EXPECTED: usize = 200;
/// Most alternatives of which is said what is wrong.
const ALTERNATIVES: usize = 4;
/// Most names that are listed.
const NAMES: usize = 8;

/// Returns where, what and by which keyword: `` `/amount` must be of type integer (type) ``.
pub(super) fn describe(error: &ValidationError<'_>) -> String {
    let path = path_of(error);
    let keyword = error.kind().keyword();
    format!("`{path}` {} ({keyword})", expected(error))
}

/// Returns the place in the arguments as a JSON pointer.
fn path_of(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().as_str();
    if path.is_empty() {
        return "/".to_owned();
    }
    let parts = path.split('/').skip(1);
    let parts = parts.map(|part| match looks_like_name(part) {
        true => format!("/{part}"),
        false => "/*".to_owned(),
    });
    cut(&parts.collect::<String>())
}

/// Returns whether a text looks like a name or an index, and not like data.
fn looks_like_name(text: &str) -> bool {
    let is_index = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '-' | '.');
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    is_index || (text.len() <= 64 && digits <= 4 && !text.is_empty() && text.chars().all(legal))
}

/// Returns what the schema wants, as the end of a sentence.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the crate adds kinds; the keyword says enough of those"
)]
fn expected(error: &ValidationError<'_>) -> String {
    let value = |value: &Value| cut(&value.to_string());
    match error.kind() {
        Kind::Type { kind } => match kind {
            TypeKind::Single(kind) => format!("must be of type {kind}"),
            TypeKind::Multiple(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
                format!("must be of type {}", kinds.join(" or "))
            }
        },
        Kind::Required { property } => format!("must have the member {}", value(property)),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("must not have {}", list_names(unexpected))
        }
        Kind::Enum { options } => format!("must be one of {}", value(options)),
        Kind::Constant { expected_value } => format!("must be {}", value(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {}", value(limit)),
        Kind::Maximum { limit } => format!("must be at most {}", value(limit)),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {}", value(limit)),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {}", value(limit)),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} members"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} members"),
        Kind::Pattern { pattern } => format!("must match {}", cut(pattern)),
        Kind::UniqueItems => "must have no item twice".to_owned(),
        Kind::Contains => "must have an item that fits".to_owned(),
        Kind::FalseSchema => "must not be there".to_owned(),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => alternatives(context),
        Kind::OneOfMultipleValid { .. } => "must fit one alternative only".to_owned(),
        Kind::Not { .. } => "must be something else".to_owned(),
        Kind::PropertyNames { .. } => "has a name that is not allowed".to_owned(),
        Kind::BacktrackLimitExceeded { .. } => {
            "takes too long to compare with the pattern".to_owned()
        }
        _ => "does not fit".to_owned(),
    }
}

/// Says of each of a few alternatives what does not fit.
fn alternatives(context: &[Vec<ValidationError<'_>>]) -> String {
    let firsts = context.iter().filter_map(|errors| errors.first());
    let has_own = |kind: &Kind| matches!(kind, Kind::AnyOf { .. } | Kind::OneOfNotValid { .. });
    let firsts = firsts.map(|error| match has_own(error.kind()) {
        // One level of alternatives is enough for a sentence.
        true => "must fit one of its alternatives".to_owned(),
        false => expected(error),
    });
    let firsts: Vec<_> = firsts.take(ALTERNATIVES).collect();
    match firsts.is_empty() {
        true => "must fit one of the alternatives".to_owned(),
        false => cut(&firsts.join(", or ")),
    }
}

/// Returns names that look like names, and the number of all others.
fn list_names(names: &[String]) -> String {
    let listed: Vec<_> = names
        .iter()
        .filter(|name| looks_like_name(name))
        .take(NAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    match (listed.is_empty(), names.len() - listed.len()) {
        (true, others) => format!("{others} of its members"),
        (false, 0) => listed.join(", "),
        (false, others) => format!("{}, and {others} more", listed.join(", ")),
    }
}

/// Returns a text of a schema, harmless and cut.
fn cut(text: &str) -> String {
    let text = printable::line(text);
    if text.chars().count() <= EXPECTED {
        return text.into_owned();
    }
    let cut: String = text.chars().take(EXPECTED).collect();
    format!("{cut}…")
}
