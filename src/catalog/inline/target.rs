//! Finds what a reference names.

use std::borrow::Cow;

use foldhash::HashMap;

use crate::catalog::inline::keyword::has_base;
use crate::catalog::inline::outcome::WidenReason;
use crate::catalog::inline::tree::{TextNode, TextValue};

/// Objects with more members are indexed, so that many references cost as much as they are long.
const FEW: usize = 16;

/// The places of one schema.
pub(super) struct SchemaTargets<'s, 't> {
    root: &'s TextNode<'t>,
    /// Its `$id`.
    base: Option<Cow<'t, str>>,
    /// The members of large objects, by the object.
    indexes: HashMap<*const TextNode<'t>, HashMap<&'s str, &'s TextNode<'t>>>,
}

impl<'s, 't> SchemaTargets<'s, 't> {
    pub(super) fn new(root: &'s TextNode<'t>) -> Self {
        Self {
            root,
            base: root.get("$id").and_then(TextNode::string),
            indexes: HashMap::default(),
        }
    }

    /// Finds what a reference names: `#`, or a JSON Pointer in a fragment (RFC 6901 §6), of the root.
    pub(super) fn find(&mut self, reference: &str) -> Result<&'s TextNode<'t>, WidenReason> {
        let own = self.base.as_deref().unwrap_or_default();
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !base.is_empty() && base != own.trim_end_matches('#') {
            return Err(WidenReason::Outside);
        }
        let fragment = decode(fragment).ok_or(WidenReason::Outside)?;
        match fragment.strip_prefix('/') {
            None if fragment.is_empty() => Ok(self.root),
            None => Err(WidenReason::Anchor),
            Some(pointer) => self.follow(pointer).ok_or(WidenReason::Outside),
        }
    }

    /// Follows a JSON Pointer, but not through a schema with a base of its own.
    fn follow(&mut self, pointer: &str) -> Option<&'s TextNode<'t>> {
        let mut here = self.root;
        for (step, token) in pointer.split('/').enumerate() {
            if step > 0 && has_base(here) {
                return None;
            }
            let token = token.replace("~1", "/").replace("~0", "~");
            here = self.step(here, &token)?;
        }
        Some(here)
    }

    fn step(&mut self, here: &'s TextNode<'t>, token: &str) -> Option<&'s TextNode<'t>> {
        match &here.value {
            TextValue::Object(members) if members.len() > FEW => {
                let index = self.indexes.entry(std::ptr::from_ref(here));
                let all = || members.iter().map(|(name, node)| (&**name, node)).collect();
                index.or_insert_with(all).get(token).copied()
            }
            TextValue::Object(_) => here.get(token),
            TextValue::Array(items) => items.get(token.parse::<usize>().ok()?),
            TextValue::Scalar => None,
        }
    }
}

/// Decodes a fragment (RFC 3986 §2.1); `None` if it is no text.
fn decode(fragment: &str) -> Option<Cow<'_, str>> {
    if !fragment.contains('%') {
        return Some(Cow::Borrowed(fragment));
    }
    let mut pieces = fragment.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
