//! Visits every string of a JSON text, and writes back only those that change.
//!
//! Strings are decoded before they are looked at, because an escape hides a value from whoever
//! compares bytes. What does not change keeps its bytes. Nesting is followed without recursion, and
//! is bounded. Time is linear in the text.

mod decode;
mod frame;

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::value::RawValue;

use crate::guard::coverage::Shape;
use crate::guard::fields::{FieldMatcher, FieldStates};
use crate::json;

pub use decode::decode;
use frame::Frame;

/// Most containers around a value.
pub const MAX_DEPTH: usize = 128;

/// Why the strings of a text cannot be visited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError<E> {
    /// It is not JSON.
    #[error("not JSON")]
    Syntax,
    /// It is nested too deeply.
    #[error("nested in more than {MAX_DEPTH} containers")]
    Depth,
    /// An object has a key twice, after what changed.
    #[error("a key occurs twice")]
    Duplicate,
    /// The visitor refuses it.
    #[error(transparent)]
    Refused(E),
}

/// A value that may be text.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'l> {
    /// The name of the member that it is the value of, or in whose list it is; empty if there is none.
    /// Of a member's name, that name itself.
    pub name: &'l str,
    /// The kind of leaf.
    pub kind: LeafKind,
    /// The place of the field's rule, if there is one for it.
    pub field: Option<usize>,
}

/// The kind of a value that may be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// A string, decoded.
    Text,
    /// The name of a member, decoded.
    Name,
    /// A string of base64.
    Blob,
    /// A number or a truth value, as it is written.
    Scalar,
}

/// Decides what becomes of strings.
pub trait StringVisitor {
    /// Why a text is refused.
    type Refusal;

    /// Returns the string that takes the place of a value; `None` leaves it as it is.
    ///
    /// # Errors
    /// The whole text is refused.
    fn visit(&mut self, leaf: Leaf<'_>, text: &str) -> Result<Option<String>, Self::Refusal>;
}

/// How a text is visited.
#[derive(Clone, Copy, Debug)]
pub struct EditOptions<'o> {
    /// The part that the value has in its message.
    pub shape: &'static Shape,
    /// The fields whose class is known.
    pub fields: &'o FieldMatcher,
    /// Whether an object may have a key twice.
    pub allows_duplicates: bool,
}

/// Visits the strings of a JSON text. Returns the text with those that changed; `None` if none did.
///
/// # Errors
/// The text is not JSON, too deep, has a key twice, or is refused by the visitor.
pub fn edit<V: StringVisitor>(
    text: &str,
    options: EditOptions<'_>,
    visitor: &mut V,
) -> Result<Option<String>, EditError<V::Refusal>> {
    let mut editor = Editor {
        text,
        at: 0,
        out: String::new(),
        copied: 0,
        frames: Vec::new(),
        options,
        visitor,
    };
    editor.run()?;
    if editor.out.is_empty() {
        return Ok(None);
    }
    let rest = text.get(editor.copied..).unwrap_or_default();
    editor.out.push_str(rest);
    Ok(Some(editor.out))
}

/// Returns whether a text is a JSON object or list.
#[must_use]
pub fn is_json(text: &str) -> bool {
    let begins = text.trim_ascii_start().starts_with(['{', '[']);
    begins && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The parts of JSON that may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// The first member or item, or the end of the container.
    FirstOrEnd,
    /// After a value: a comma, or the end of the container.
    CommaOrEnd,
}

struct Editor<'t, 'o, 'v, V> {
    text: &'t str,
    at: usize,
    out: String,
    /// Up to where the text is in `out`, or left out.
    copied: usize,
    frames: Vec<Frame<'t>>,
    options: EditOptions<'o>,
    visitor: &'v mut V,
}

/// The place of a value.
struct Place<'t> {
    shape: &'static Shape,
    name: Cow<'t, str>,
    fields: FieldStates,
}

impl<'t, V: StringVisitor> Editor<'t, '_, '_, V> {
    fn run(&mut self) -> Result<(), EditError<V::Refusal>> {
        let mut next = Next::Value;
        let shape = self.options.shape;
        let mut place = Place {
            shape,
            name: Cow::Borrowed(""),
            fields: self.options.fields.begin(shape),
        };
        loop {
            self.skip_white_space();
            match next {
                Next::Value => next = self.value(&place)?,
                Next::FirstOrEnd => {
                    if self.ends_container() {
                        next = Next::CommaOrEnd;
                    } else {
                        place = self.place()?;
                        next = Next::Value;
                    }
                }
                Next::CommaOrEnd => {
                    if self.frames.is_empty() {
                        return match self.at == self.text.len() {
                            true => Ok(()),
                            false => Err(EditError::Syntax),
                        };
                    }
                    if self.ends_container() {
                        continue;
                    }
                    self.expect(b',')?;
                    self.skip_white_space();
                    place = self.place()?;
                    next = Next::Value;
                }
            }
        }
    }

    /// Reads the value at a place, or enters it if it is a container.
    fn value(&mut self, place: &Place<'t>) -> Result<Next, EditError<V::Refusal>> {
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                if self.frames.len() == MAX_DEPTH {
                    return Err(EditError::Depth);
                }
                self.at += 1;
                self.frames.push(Frame::new(
                    open == b'{',
                    place.shape,
                    place.name.clone(),
                    place.fields.clone(),
                ));
                return Ok(Next::FirstOrEnd);
            }
            Some(b'"') => {
                let begin = self.at;
                let decoded = self.string()?;
                self.leaf(place, begin, &decoded, true)?;
            }
            Some(_) => {
                let begin = self.at;
                let scalar = self.scalar()?;
                if scalar != "null" {
                    self.leaf(place, begin, scalar, false)?;
                }
            }
            None => return Err(EditError::Syntax),
        }
        Ok(Next::CommaOrEnd)
    }

    /// Shows a value to the visitor, and replaces it if it changes.
    fn leaf(
        &mut self,
        place: &Place<'_>,
        begin: usize,
        text: &str,
        is_string: bool,
    ) -> Result<(), EditError<V::Refusal>> {
        let field = self.options.fields.rule(&place.fields);
        let kind = match (place.shape, is_string) {
            (Shape::Structure, _) if field.is_none() => return Ok(()),
            (_, false) => LeafKind::Scalar,
            (Shape::Blob, true) => LeafKind::Blob,
            (_, true) => LeafKind::Text,
        };
        let name = &*place.name;
        let leaf = Leaf { name, kind, field };
        let changed = self.visitor.visit(leaf, text);
        if let Some(changed) = changed.map_err(EditError::Refused)? {
            self.replace(begin, &changed);
        }
        Ok(())
    }

    /// Writes a string in place of what was read since `begin`.
    fn replace(&mut self, begin: usize, changed: &str) {
        let before = self.text.get(self.copied..begin).unwrap_or_default();
        self.out.push_str(before);
        self.out.push_str(&json::quote(changed));
        self.copied = self.at;
    }

    /// Reads the place of the next member or item.
    fn place(&mut self) -> Result<Place<'t>, EditError<V::Refusal>> {
        let Some(frame) = self.frames.last() else {
            return Err(EditError::Syntax);
        };
        if !frame.is_object {
            return Ok(Place {
                shape: frame.shape.item(),
                name: frame.name.clone(),
                fields: self.options.fields.item(&frame.fields),
            });
        }
        let begin = self.at;
        if self.peek() != Some(b'"') {
            return Err(EditError::Syntax);
        }
        let key = self.string()?;
        let frame = self.frames.last().ok_or(EditError::Syntax)?;
        let shape = frame.shape.member(&key);
        let mut fields = self.options.fields.member(&frame.fields, &key);
        if *shape == Shape::Fields {
            fields = self.options.fields.begin(shape);
        }
        let changed = match frame.shape.has_text_names() {
            true => {
                let leaf = Leaf {
                    name: &key,
                    kind: LeafKind::Name,
                    field: None,
                };
                let changed = self.visitor.visit(leaf, &key);
                changed.map_err(EditError::Refused)?
            }
            false => None,
        };
        if let Some(changed) = &changed {
            self.replace(begin, changed);
        }
        if !self.options.allows_duplicates {
            let frame = self.frames.last_mut().ok_or(EditError::Syntax)?;
            let is_new = frame.add_key(key.clone())
                && changed.is_none_or(|changed| frame.add_key(Cow::Owned(changed)));
            if !is_new {
                return Err(EditError::Duplicate);
            }
        }
        self.skip_white_space();
        self.expect(b':')?;
        let name = key;
        Ok(Place {
            shape,
            name,
            fields,
        })
    }

    /// Reads a string, decoded.
    fn string(&mut self) -> Result<Cow<'t, str>, EditError<V::Refusal>> {
        let begin = self.at + 1;
        let mut at = begin;
        let mut has_escape = false;
        loop {
            let rest = self.text.as_bytes().get(at..).ok_or(EditError::Syntax)?;
            let found = memchr2(b'"', b'\\', rest).ok_or(EditError::Syntax)?;
            at += found;
            if rest.get(found) == Some(&b'"') {
                break;
            }
            has_escape = true;
            at += 2;
        }
        self.at = at + 1;
        let (from, to) = match has_escape {
            false => (begin, at),
            true => (begin - 1, at + 1),
        };
        let text = self.text.get(from..to).ok_or(EditError::Syntax)?;
        match has_escape {
            false => Ok(Cow::Borrowed(text)),
            true => decode(text).map(Cow::Owned).ok_or(EditError::Syntax),
        }
    }

    /// Reads a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<&'t str, EditError<V::Refusal>> {
        let rest = self.text.get(self.at..).ok_or(EditError::Syntax)?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (scalar, _) = rest.split_at(end);
        let is_word = matches!(scalar, "true" | "false" | "null");
        let is_number = scalar.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if !is_word && !is_number {
            return Err(EditError::Syntax);
        }
        self.at += end;
        Ok(scalar)
    }

    /// Leaves the container if its end is here.
    fn ends_container(&mut self) -> bool {
        let end = match self.frames.last() {
            Some(frame) if frame.is_object => b'}',
            Some(_) => b']',
            None => return false,
        };
        let ends = self.peek() == Some(end);
        if ends {
            self.frames.pop();
            self.at += 1;
        }
        ends
    }

    fn expect(&mut self, byte: u8) -> Result<(), EditError<V::Refusal>> {
        if self.peek() != Some(byte) {
            return Err(EditError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests;
