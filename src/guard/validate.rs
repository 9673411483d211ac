//! Checks of a tool's arguments and results: against its schemas, against limits, and for characters
//! that hide.
//!
//! Invalid arguments are a result with `isError`, which a model can act on (2025-11-25
//! `server/tools.mdx#error-handling`, SEP-1303). Its text names the place, the rule and what was
//! expected, and nothing of the value. A schema that cannot be applied is reported, and the call
//! passes: the schema is the upstream's, which validates too.

mod cache;
mod schema;
mod shape;
mod value;
mod words;

use std::borrow::Cow;

use crate::config::{InvisibleAction, ValidateAction, ValidateSettings};
use crate::guard::invisible;
use crate::json::{self, Object};

pub use cache::{Schemas, ToolSchemas};
pub use shape::Uncheckable;
pub use value::ValueError;

use schema::{CompiledSchema, Nulls, SchemaVerdict};
use value::{Measured, ValueLimits};

/// Bounds without limits in the config: what a parser of JSON takes as a rule, and what a check may
/// keep in memory.
const ARGUMENTS: ValueLimits = ValueLimits {
    depth: 120,
    values: 100_000,
    string: usize::MAX,
};
const RESULT: ValueLimits = ValueLimits {
    values: 300_000,
    ..ARGUMENTS
};

/// Most bytes of the text that is answered.
const TEXT: usize = 2_048;

/// The subject of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A value does not fit its schema.
    Schema,
    /// A value exceeds a limit, or cannot be read the same by everybody.
    Limit,
    /// There are control or invisible characters.
    Invisible,
    /// The schema cannot be applied.
    Unchecked,
}

impl FindingKind {
    /// All of them, in the order of [`Self::as_str`]'s words.
    pub const ALL: [Self; 4] = [Self::Schema, Self::Limit, Self::Invisible, Self::Unchecked];

    /// Returns the word for it in metrics and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Limit => "limit",
            Self::Invisible => "invisible",
            Self::Unchecked => "unchecked",
        }
    }
}

/// The consequence of a finding for the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It passed.
    Reported,
    /// The characters were cut out.
    Removed,
    /// The call was refused.
    Refused,
}

impl Consequence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reported, Self::Removed, Self::Refused];

    /// Returns the word for it in metrics and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Removed => "removed",
            Self::Refused => "refused",
        }
    }
}

/// Something that was found. Nothing of the data is in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationFinding {
    /// Its subject.
    pub kind: FindingKind,
    /// The consequence for the data.
    pub consequence: Consequence,
    /// A description, in words.
    pub text: String,
}

/// The outcome of a check.
#[derive(Debug, Default)]
pub struct Checked {
    /// The JSON text that takes the place of what was checked, if it was changed.
    pub changed: Option<String>,
    /// The findings, in the order of the checks. Nothing is checked after a refusal.
    pub findings: Vec<ValidationFinding>,
}

impl Checked {
    /// Returns the finding because of which the call is refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&ValidationFinding> {
        let last = self.findings.last();
        last.filter(|finding| finding.consequence == Consequence::Refused)
    }

    fn add(&mut self, kind: FindingKind, consequence: Consequence, text: impl Into<String>) {
        self.findings.push(ValidationFinding {
            kind,
            consequence,
            text: text.into(),
        });
    }
}

/// Checks the arguments of a call: JSON text, `None` for none.
#[must_use]
pub fn check_arguments(
    settings: &ValidateSettings,
    schemas: &ToolSchemas,
    arguments: Option<&str>,
) -> Checked {
    let mut checked = Checked::default();
    let text = arguments.filter(|text| !json::says_nothing(text));
    let text = text.unwrap_or("{}");
    let text = remove_invisible(settings.invisible_arguments, text, &mut checked);
    if checked.refusal().is_some() {
        return checked;
    }
    let limits = settings.limits;
    let has_limits = limits != crate::config::ArgumentLimits::default();
    if settings.arguments != ValidateAction::Off || has_limits {
        check_value(settings, schemas, &text, &mut checked);
    }
    if let Cow::Owned(text) = text {
        checked.changed = Some(text);
    }
    checked
}

/// Checks the value of arguments against limits and schema.
fn check_value(
    settings: &ValidateSettings,
    schemas: &ToolSchemas,
    text: &str,
    checked: &mut Checked,
) {
    let written = settings.limits;
    let limits = ValueLimits {
        depth: written.depth.unwrap_or(ARGUMENTS.depth),
        values: written.values.unwrap_or(ARGUMENTS.values),
        string: written.string.unwrap_or(ARGUMENTS.string),
    };
    let measured = match value::read(text, limits) {
        Ok(measured) => measured,
        Err(error) => {
            let is_written = match error {
                ValueError::Depth(_) => written.depth.is_some(),
                ValueError::Values(_) => written.values.is_some(),
                ValueError::Text(_) => written.string.is_some(),
                ValueError::Duplicate | ValueError::Number => false,
            };
            let consequence = match settings.arguments {
                ValidateAction::Report if !is_written => Consequence::Reported,
                ValidateAction::Off | ValidateAction::Report | ValidateAction::Refuse => {
                    Consequence::Refused
                }
            };
            checked.add(FindingKind::Limit, consequence, error.to_string());
            return;
        }
    };
    if settings.arguments != ValidateAction::Off
        && let Some(input) = schemas.input()
    {
        let value = (&measured, text.len(), Nulls::LeftOut);
        apply(settings.arguments, input, value, checked);
    }
}

/// Applies a schema, and notes what does not fit.
fn apply(
    action: ValidateAction,
    schema: Result<&CompiledSchema, &Uncheckable>,
    (measured, bytes, nulls): (&Measured, usize, Nulls),
    checked: &mut Checked,
) {
    let consequence = match action {
        ValidateAction::Off => return,
        ValidateAction::Report => Consequence::Reported,
        ValidateAction::Refuse => Consequence::Refused,
    };
    let schema = match schema {
        Ok(schema) => schema,
        Err(error) => {
            let text = error.to_string();
            checked.add(FindingKind::Unchecked, Consequence::Reported, text);
            return;
        }
    };
    match schema.apply(measured, bytes, nulls) {
        SchemaVerdict::Fits => {}
        SchemaVerdict::Broken(places) if places.is_empty() => {
            checked.add(FindingKind::Schema, consequence, "the schema is not met");
        }
        SchemaVerdict::Broken(places) => {
            checked.add(FindingKind::Schema, consequence, join(&places));
        }
        SchemaVerdict::TooMuch => {
            let text = "there is too much of it for this schema";
            checked.add(FindingKind::Limit, consequence, text);
        }
    }
}

/// Checks the result of a call, as the upstream sent it: JSON text. A result that is an error, a task
/// or a question has nothing that a schema applies to.
#[must_use]
pub fn check_result(settings: &ValidateSettings, schemas: &ToolSchemas, result: &str) -> Checked {
    let mut checked = Checked::default();
    let text = remove_invisible(settings.invisible_results, result, &mut checked);
    if checked.refusal().is_some() {
        return checked;
    }
    if settings.results != ValidateAction::Off
        && let Some(schema) = schemas.output()
        && let Ok(result) = Object::parse(&text)
    {
        check_structured(settings.results, schema, &result, &mut checked);
    }
    if let Cow::Owned(text) = text {
        checked.changed = Some(text);
    }
    checked
}

fn check_structured(
    action: ValidateAction,
    schema: Result<&CompiledSchema, &Uncheckable>,
    result: &Object<'_>,
    checked: &mut Checked,
) {
    let is_complete = result
        .string("resultType")
        .is_none_or(|kind| kind == "complete");
    if result.get("isError") == Some("true") || result.contains("task") || !is_complete {
        return;
    }
    let refuses = match action {
        ValidateAction::Refuse => Consequence::Refused,
        ValidateAction::Report | ValidateAction::Off => Consequence::Reported,
    };
    let Some(content) = result.value("structuredContent") else {
        let text = "there is no `structuredContent`";
        checked.add(FindingKind::Schema, refuses, text);
        return;
    };
    match value::read(content, RESULT) {
        Ok(measured) => {
            let value = (&measured, content.len(), Nulls::Values);
            apply(action, schema, value, checked);
        }
        Err(error) => checked.add(FindingKind::Limit, refuses, error.to_string()),
    }
}

/// Does with control and invisible characters what the config says.
fn remove_invisible<'t>(
    action: InvisibleAction,
    text: &'t str,
    checked: &mut Checked,
) -> Cow<'t, str> {
    if action == InvisibleAction::Off {
        return Cow::Borrowed(text);
    }
    let found = invisible::count(text);
    if found.is_none() {
        return Cow::Borrowed(text);
    }
    let kind = FindingKind::Invisible;
    let number = found.in_values + found.in_names;
    let words = match number {
        1 => "there is a control or invisible character".to_owned(),
        number => format!("there are {number} control or invisible characters"),
    };
    match action {
        InvisibleAction::Off => {}
        InvisibleAction::Report => checked.add(kind, Consequence::Reported, words),
        InvisibleAction::Remove if found.in_names == 0 => {
            checked.add(kind, Consequence::Removed, words);
            return invisible::remove(text).0;
        }
        InvisibleAction::Remove => {
            let words = format!("{words}, some of them in names of members");
            checked.add(kind, Consequence::Refused, words);
        }
        InvisibleAction::Refuse => checked.add(kind, Consequence::Refused, words),
    }
    Cow::Borrowed(text)
}

/// Joins what is wrong, within the bytes of an answer.
fn join(places: &[String]) -> String {
    let mut text = String::new();
    for (at, place) in places.iter().enumerate() {
        if text.len() + place.len() > TEXT {
            text.push_str(&format!("; and {} more", places.len() - at));
            break;
        }
        if at > 0 {
            text.push_str("; ");
        }
        text.push_str(place);
    }
    text
}

#[cfg(test)]
mod tests;
