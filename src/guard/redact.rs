//! Replaces values in text: by pseudonyms, or by the names of their classes.

use std::ops::Range;

use crate::classes::Class;
use crate::config::RedactAction;
use crate::guard::coverage::Shape;
use crate::guard::detectors::Detection;
use crate::guard::findings::{Blocked, Direction, Findings};
use crate::guard::plan::DirectionPlan;
use crate::guard::pseudonyms::{Form, PseudonymError, Pseudonyms};
use crate::guard::strings::{EditError, EditOptions, Leaf, LeafKind, StringVisitor, edit};
use crate::guard::views::DecodedView;
use crate::guard::{blob, strings};

/// How often a text is looked at again for what the replacement of others brings to light. Then it
/// is refused.
const ROUNDS: usize = 3;

/// How many layers of encoded characters are taken away in the search.
const VIEWS: usize = 3;

/// Replaces values in the strings of one JSON text.
pub(super) struct Redactor<'r> {
    pub(super) direction: Direction,
    pub(super) plan: &'r DirectionPlan,
    pub(super) pseudonyms: Option<&'r Pseudonyms>,
    /// The tenant whose pseudonyms are made; `None` masks what would be tokenised.
    pub(super) tenant: Option<&'r str>,
    pub(super) findings: Findings,
    /// Whether pseudonyms were made, which have to be saved before they leave.
    pub(super) has_made: bool,
    /// Whether it is in JSON within a string.
    pub(super) is_nested: bool,
}

impl StringVisitor for Redactor<'_> {
    type Refusal = Blocked;

    fn visit(&mut self, leaf: Leaf<'_>, text: &str) -> Result<Option<String>, Blocked> {
        if let Some(class) = leaf.field.and_then(|field| self.plan.field_class(field)) {
            let class = class.clone();
            return self.field(&class, leaf, text);
        }
        match leaf.kind {
            LeafKind::Name => self.text("", text),
            LeafKind::Scalar => self.number(leaf.name, text),
            LeafKind::Text => self.any(leaf.name, text),
            LeafKind::Blob => self.blob(leaf.name, text),
        }
    }
}

impl From<EditError<Self>> for Blocked {
    fn from(error: EditError<Self>) -> Self {
        match error {
            EditError::Refused(blocked) => blocked,
            EditError::Syntax | EditError::Depth | EditError::Duplicate => Self::unreadable(),
        }
    }
}

impl Redactor<'_> {
    /// Replaces what may not pass in a JSON text.
    pub(super) fn edit(
        &mut self,
        shape: &'static Shape,
        text: &str,
    ) -> Result<Option<String>, Blocked> {
        let options = EditOptions {
            shape,
            fields: self.plan.matcher(),
            allows_duplicates: false,
        };
        Ok(edit(text, options, self)?)
    }

    /// Replaces the whole value of a field.
    fn field(
        &mut self,
        class: &Class,
        leaf: Leaf<'_>,
        text: &str,
    ) -> Result<Option<String>, Blocked> {
        let action = self.plan.action(class);
        if text.is_empty() {
            return Ok(None);
        }
        match action {
            RedactAction::Tokenise | RedactAction::Mask | RedactAction::Block => {
                if self.is_pseudonym(text) {
                    return Ok(None);
                }
                self.replace(class, text).map(Some)
            }
            RedactAction::Report | RedactAction::Pass | RedactAction::Restore => {
                if action == RedactAction::Report {
                    self.findings.count(self.direction, class.name(), action);
                }
                self.visit(
                    Leaf {
                        field: None,
                        ..leaf
                    },
                    text,
                )
            }
        }
    }

    /// Returns whether a text is a pseudonym and nothing else.
    fn is_pseudonym(&self, text: &str) -> bool {
        let found = self.pseudonyms.map(|pseudonyms| pseudonyms.find(text));
        let found = found.unwrap_or_default();
        found.iter().any(|found| found.range == (0..text.len()))
    }

    /// Replaces values in a string, which may be JSON again.
    fn any(&mut self, name: &str, text: &str) -> Result<Option<String>, Blocked> {
        if !self.is_nested && strings::is_json(text) {
            return self.json(text);
        }
        self.text(name, text)
    }

    fn json(&mut self, text: &str) -> Result<Option<String>, Blocked> {
        let options = EditOptions {
            shape: &Shape::Fields,
            fields: self.plan.matcher(),
            // Each of its values is looked at, whichever counts.
            allows_duplicates: true,
        };
        self.is_nested = true;
        let edited = edit(text, options, self);
        self.is_nested = false;
        edited.map_err(|error| match error {
            EditError::Refused(blocked) => blocked,
            EditError::Syntax | EditError::Depth | EditError::Duplicate => Blocked::unreadable(),
        })
    }

    /// Replaces values in what base64 stands for, if that is text.
    fn blob(&mut self, name: &str, text: &str) -> Result<Option<String>, Blocked> {
        if blob::is_short(text)
            && let Some(changed) = self.any(name, text)?
        {
            return Ok(Some(changed));
        }
        match blob::decode(text) {
            Some(decoded) => {
                let changed = self.any(name, &decoded)?;
                Ok(changed.map(|changed| blob::encode(&changed)))
            }
            None if blob::is_binary(text) => Ok(None),
            None => self.any(name, text),
        }
    }

    /// Replaces a number that is a value as a whole.
    fn number(&mut self, name: &str, text: &str) -> Result<Option<String>, Blocked> {
        match self.plan.find_in_number(name, text) {
            Some(class) => self.replace(&class, text).map(Some),
            None => Ok(None),
        }
    }

    /// Replaces values in plain text.
    fn text(&mut self, name: &str, text: &str) -> Result<Option<String>, Blocked> {
        for class in self.plan.find_reported(name, text) {
            let action = RedactAction::Report;
            self.findings.count(self.direction, class.name(), action);
        }
        let mut changed: Option<String> = None;
        for _ in 0..ROUNDS {
            let current = changed.as_deref().unwrap_or(text);
            let found = self.find(name, current);
            if found.is_empty() {
                return Ok(changed);
            }
            changed = Some(self.replace_all(current, &found)?);
        }
        let rest = self.find(name, changed.as_deref().unwrap_or(text));
        match rest.first() {
            Some(residue) => Err(Blocked::by(self.direction, &residue.class)),
            None => Ok(changed),
        }
    }

    /// Finds values, also in what encoded text stands for. In order; none overlaps another.
    fn find(&self, name: &str, text: &str) -> Vec<Detection> {
        let mut found = self.plan.find(name, text);
        // Each view is of the one before: an escape may stand for the sign of another.
        let mut views: Vec<DecodedView> = Vec::new();
        while views.len() < VIEWS {
            let before = views.last().map_or(text, |view| view.text.as_str());
            let Some(view) = DecodedView::of(before) else {
                break;
            };
            for mut detection in self.plan.find(name, &view.text) {
                detection.range = view.original(&detection.range);
                for outer in views.iter().rev() {
                    detection.range = outer.original(&detection.range);
                }
                found.push(detection);
            }
            views.push(view);
        }
        let Some(view) = views.first() else {
            return found;
        };
        for Detection { range, .. } in &mut found {
            range.start = view.after_encoded(text, range.start).min(range.end);
        }
        found.sort_by_key(|detection| (detection.range.start, usize::MAX - detection.range.end));
        join(found)
    }

    /// Replaces values at these places.
    fn replace_all(&mut self, text: &str, found: &[Detection]) -> Result<String, Blocked> {
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for Detection { class, range } in found {
            let value = text.get(range.clone()).unwrap_or_default();
            out.push_str(text.get(copied..range.start).unwrap_or_default());
            out.push_str(&self.replace(class, value)?);
            copied = range.end;
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Ok(out)
    }

    /// Returns what takes the place of a value.
    fn replace(&mut self, class: &Class, value: &str) -> Result<String, Blocked> {
        let action = self.plan.action(class);
        let made = match (action, self.pseudonyms, self.tenant) {
            (RedactAction::Block, ..) => {
                self.findings.count(self.direction, class.name(), action);
                return Err(Blocked::by(self.direction, class));
            }
            (RedactAction::Tokenise, Some(pseudonyms), Some(tenant)) => {
                pseudonyms.replace(tenant, class, value, Form::Word)
            }
            _ => Err(PseudonymError::Format),
        };
        match made {
            Ok(pseudonym) => {
                self.has_made = true;
                self.findings
                    .count(self.direction, class.name(), RedactAction::Tokenise);
                self.findings.add_pseudonym(&pseudonym.id);
                Ok(pseudonym.text)
            }
            Err(PseudonymError::NotStored) => Err(Blocked::not_stored()),
            Err(_) => {
                self.findings
                    .count(self.direction, class.name(), RedactAction::Mask);
                Ok(format!("[{class}]"))
            }
        }
    }
}

/// Joins values that overlap: what was found first and begins first is the class of all of it.
fn join(found: Vec<Detection>) -> Vec<Detection> {
    let mut joined: Vec<Detection> = Vec::with_capacity(found.len());
    for detection in found {
        match joined.last_mut() {
            Some(last) if detection.range.start < last.range.end => {
                last.range.end = last.range.end.max(detection.range.end);
            }
            _ => joined.push(detection),
        }
    }
    joined
}

/// Puts values in place of pseudonyms in the strings of one JSON text.
pub(super) struct Restorer<'r> {
    pub(super) direction: Direction,
    pub(super) plan: &'r DirectionPlan,
    pub(super) pseudonyms: &'r Pseudonyms,
    pub(super) tenant: &'r str,
    pub(super) findings: Findings,
    pub(super) is_nested: bool,
}

impl StringVisitor for Restorer<'_> {
    type Refusal = Blocked;

    fn visit(&mut self, leaf: Leaf<'_>, text: &str) -> Result<Option<String>, Blocked> {
        match leaf.kind {
            LeafKind::Scalar => Ok(None),
            LeafKind::Name => Ok(self.text(text)),
            LeafKind::Text => self.any(text),
            LeafKind::Blob => match blob::decode(text) {
                Some(decoded) => {
                    let changed = self.any(&decoded)?;
                    Ok(changed.map(|changed| blob::encode(&changed)))
                }
                None => Ok(None),
            },
        }
    }
}

impl Restorer<'_> {
    /// Puts values in place of pseudonyms in a JSON text.
    pub(super) fn edit(
        &mut self,
        shape: &'static Shape,
        text: &str,
    ) -> Result<Option<String>, Blocked> {
        let options = EditOptions {
            shape,
            fields: self.plan.matcher(),
            allows_duplicates: self.is_nested,
        };
        Ok(edit(text, options, self)?)
    }

    fn any(&mut self, text: &str) -> Result<Option<String>, Blocked> {
        if self.is_nested || !strings::is_json(text) {
            return Ok(self.text(text));
        }
        self.is_nested = true;
        let edited = self.edit(&Shape::Text, text);
        self.is_nested = false;
        edited
    }

    fn text(&mut self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut copied = 0;
        for found in self.pseudonyms.find(text) {
            let range: Range<usize> = found.range.clone();
            if self.plan.action(found.class()) != RedactAction::Restore {
                continue;
            }
            let Some(restored) = self.pseudonyms.restore(self.tenant, &found) else {
                self.findings
                    .count_unknown(self.direction, found.class().name());
                continue;
            };
            let class = restored.class.name();
            self.findings
                .count(self.direction, class, RedactAction::Restore);
            self.findings.add_pseudonym(found.id());
            out.push_str(text.get(copied..range.start).unwrap_or_default());
            out.push_str(&restored.value);
            copied = range.end;
        }
        if copied == 0 {
            return None;
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Some(out)
    }
}
