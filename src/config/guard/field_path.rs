//! Paths of fields: `$.customer.ssn`, `$.items[*].email`, `$..password`, `$['a.b']`.

use std::fmt;

/// Most steps of a path.
const STEPS: usize = 32;

/// The path of a field in JSON, from the arguments of a call or the structured content of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    steps: Box<[FieldStep]>,
    text: Box<str>,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldStep {
    /// `.name`: the member with this name.
    Member(Box<str>),
    /// `[*]` or `.*`: every member or item.
    Each,
    /// `..name`: the member with this name here or at any depth below.
    Below(Box<str>),
}

/// An error of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// It is no path.
    #[error("not a path of a field, such as `$.customer.ssn`, `$.items[*].email` or `$..password`")]
    Syntax,
    /// It has too many steps.
    #[error("a path has {STEPS} steps at most")]
    Long,
}

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    /// It does not begin with `$` and at least one step, or has too many of them.
    pub fn parse(text: &str) -> Result<Self, FieldPathError> {
        let mut rest = text.strip_prefix('$').ok_or(FieldPathError::Syntax)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = next_step(rest).ok_or(FieldPathError::Syntax)?;
            steps.push(step);
            rest = after;
        }
        match steps.len() {
            0 => Err(FieldPathError::Syntax),
            1..=STEPS => Ok(Self {
                steps: steps.into(),
                text: text.into(),
            }),
            _ => Err(FieldPathError::Long),
        }
    }

    /// Returns the steps from the root. There is at least one.
    #[must_use]
    pub fn steps(&self) -> &[FieldStep] {
        &self.steps
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a step, and returns what follows it.
fn next_step(text: &str) -> Option<(FieldStep, &str)> {
    if let Some(rest) = text.strip_prefix("..") {
        let (name, rest) = name(rest)?;
        return Some((FieldStep::Below(name.into()), rest));
    }
    if let Some(rest) = text.strip_prefix(".*").or_else(|| text.strip_prefix("[*]")) {
        return Some((FieldStep::Each, rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let (name, rest) = name(rest)?;
        return Some((FieldStep::Member(name.into()), rest));
    }
    let (name, rest) = text.strip_prefix("['")?.split_once("']")?;
    let step = (!name.is_empty()).then(|| FieldStep::Member(name.into()))?;
    Some((step, rest))
}

/// Reads a name without quotes, and returns what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let is_legal = !name.is_empty() && !name.contains([']', '*', '\'', '"']);
    is_legal.then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_members_items_and_depths() {
        let parse = |text| FieldPath::parse(text).map(|path| path.steps().to_vec());
        let member = |name: &str| FieldStep::Member(name.into());
        let parsed = parse("$.a[*].b.*..c['d.e']").unwrap();
        let expected = [
            member("a"),
            FieldStep::Each,
            member("b"),
            FieldStep::Each,
            FieldStep::Below("c".into()),
            member("d.e"),
        ];
        assert_eq!(parsed, expected);
        for wrong in [
            "", "$", "a.b", "$a", "$.", "$..", "$.a[", "$.a[0]", "$['']", "$.a*",
        ] {
            assert_eq!(parse(wrong), Err(FieldPathError::Syntax), "{wrong}");
        }
        assert_eq!(
            parse(&format!("${}", ".a".repeat(33))),
            Err(FieldPathError::Long)
        );
    }
}
