//! A container that is being visited.

use std::borrow::Cow;

use foldhash::{HashSet, HashSetExt as _};

use crate::guard::coverage::Shape;
use crate::guard::fields::FieldStates;

/// Most keys that are compared in pairs; more are in a set.
const PAIRWISE: usize = 12;

/// A container that is being visited.
pub(super) struct Frame<'t> {
    pub(super) is_object: bool,
    pub(super) shape: &'static Shape,
    /// The name of the member that it is the value of, or in whose list it is.
    pub(super) name: Cow<'t, str>,
    pub(super) fields: FieldStates,
    keys: Keys<'t>,
}

/// The keys of an object so far.
enum Keys<'t> {
    Few(Vec<Cow<'t, str>>),
    Many(HashSet<Cow<'t, str>>),
}

impl<'t> Frame<'t> {
    pub(super) fn new(
        is_object: bool,
        shape: &'static Shape,
        name: Cow<'t, str>,
        fields: FieldStates,
    ) -> Self {
        // An object in the place of an id is none: all of it is text.
        let shape = match (is_object, shape) {
            (true, Shape::Structure | Shape::Blob) => &Shape::Text,
            _ => shape,
        };
        Self {
            is_object,
            shape,
            name,
            fields,
            keys: Keys::Few(Vec::new()),
        }
    }

    /// Adds a key. Returns false if the object has it already.
    pub(super) fn add_key(&mut self, key: Cow<'t, str>) -> bool {
        match &mut self.keys {
            Keys::Few(keys) => {
                if keys.contains(&key) {
                    return false;
                }
                keys.push(key);
                if keys.len() > PAIRWISE {
                    let mut many = HashSet::with_capacity(2 * keys.len());
                    many.extend(keys.drain(..));
                    self.keys = Keys::Many(many);
                }
                true
            }
            Keys::Many(keys) => keys.insert(key),
        }
    }
}
