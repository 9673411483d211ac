//! Pins: the definitions of an upstream as they were first seen, or accepted. Trust on first use.
//!
//! Tools, prompts and instructions are pinned, by kind and original name: they steer models. Resources and
//! templates are data. A definition that is not listed any more keeps its pin, so that it cannot
//! come back with another text; the number of such pins is limited.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use crate::catalog::canonical::{DEPTH, canonical};
use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::listing::{self, Definition};
use crate::catalog::{Kind, render};
use crate::json::{self, Object};

/// The kinds whose definitions are pinned.
pub const PINNED: [Kind; 3] = [Kind::Tools, Kind::Prompts, Kind::Instructions];

/// Most bytes of pinned definitions: two of the largest listings.
const ROOM: usize = if cfg!(test) { 1 << 20 } else { 128 << 20 };
/// Most bytes of pins of what is listed no more.
const GONE_BYTES: usize = if cfg!(test) { 256 << 10 } else { 16 << 20 };

/// The pins of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    pins: BTreeMap<(Kind, Arc<str>), Pin>,
    /// Counts the definitions that went.
    gone: u64,
    /// Bytes of all pinned definitions.
    bytes: usize,
}

/// A definition that is trusted.
#[derive(Clone, Debug)]
pub struct Pin {
    definition: Definition,
    /// The name when it was pinned, if that differs.
    was: Option<Arc<str>>,
    gone: Option<Gone>,
}

/// A pinned definition that is not listed any more.
#[derive(Clone, Debug)]
struct Gone {
    /// Higher than that of all that went before.
    order: u64,
    /// The shape by which it is found under another name; `None` if it was found already. Its old
    /// name stays pinned, so that nothing else can come back under it.
    shape: Option<Shape>,
}

/// The properties by which a definition is found under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Arguments and description.
    told: Option<Digest>,
    /// Arguments alone, where there are any.
    bare: Option<Digest>,
}

/// A pin as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPin<'p> {
    /// The kind.
    pub kind: Kind,
    /// The definition as JSON text.
    pub definition: &'p str,
    /// The name when it was pinned, if that differs.
    pub was: Option<&'p str>,
    /// If it is not listed any more: the higher, the later it went.
    pub gone: Option<u64>,
    /// Whether it is listed under another name, which has a pin of its own.
    pub moved: bool,
}

impl Pin {
    /// Returns the trusted definition.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Returns the name when it was pinned, if that differs.
    #[must_use]
    pub fn was(&self) -> Option<&Arc<str>> {
        self.was.as_ref()
    }
}

impl Pins {
    /// Returns the pin of a definition.
    #[must_use]
    pub fn get(&self, kind: Kind, original: &Arc<str>) -> Option<&Pin> {
        self.pins.get(&(kind, Arc::clone(original)))
    }

    /// Returns whether there are no pins.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }

    /// Iterates over the original names of the pinned definitions of a kind, listed or not, in
    /// order, and whether each goes by another name now.
    pub(in crate::catalog) fn names(&self, kind: Kind) -> impl Iterator<Item = (&Arc<str>, bool)> {
        let of = self.pins.iter().filter(move |((of, _), _)| *of == kind);
        of.map(|((_, original), pin)| {
            let moved = pin.gone.as_ref().is_some_and(|gone| gone.shape.is_none());
            (original, moved)
        })
    }

    /// Iterates over all pins, in an order of their own.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = StoredPin<'_>> {
        self.named_rows().map(|(_, row)| row)
    }

    /// Iterates over all pins with their original names, in the same order.
    pub fn named_rows(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, StoredPin<'_>)> {
        self.pins.iter().map(|((kind, original), pin)| {
            let row = StoredPin {
                kind: *kind,
                definition: pin.definition.raw(),
                was: pin.was.as_deref(),
                gone: pin.gone.as_ref().map(|gone| gone.order),
                moved: pin.gone.as_ref().is_some_and(|gone| gone.shape.is_none()),
            };
            (original, row)
        })
    }

    /// Adds a pin of an earlier run. Returns false if it is not valid.
    #[must_use]
    pub fn add(&mut self, row: &StoredPin<'_>) -> bool {
        let Ok(definition) = listing::check_definition(row.kind, row.definition) else {
            return false;
        };
        if !PINNED.contains(&row.kind) {
            return false;
        }
        let shape = || Shape::of(row.kind, &definition);
        let gone = row.gone.map(|order| Gone {
            order,
            shape: (!row.moved).then(shape),
        });
        self.gone = self.gone.max(row.gone.unwrap_or_default());
        let was = row.was.map(Arc::from);
        self.put(row.kind, definition, was, gone);
        true
    }

    /// Pins a definition in place of the one before.
    pub(in crate::catalog) fn pin(&mut self, kind: Kind, definition: &Definition) {
        self.put(kind, definition.clone(), None, None);
    }

    /// Pins a redefinition that is applied without review. It keeps the name under which it was
    /// first pinned.
    pub(in crate::catalog) fn redefine(&mut self, kind: Kind, definition: &Definition) {
        let was = self.get(kind, definition.key());
        let was = was.and_then(|pin| pin.was.clone());
        self.put(kind, definition.clone(), was, None);
    }

    fn put(
        &mut self,
        kind: Kind,
        definition: Definition,
        was: Option<Arc<str>>,
        gone: Option<Gone>,
    ) {
        self.bytes += definition.raw().len();
        let key = (kind, Arc::clone(definition.key()));
        let pin = Pin {
            definition,
            was,
            gone,
        };
        if let Some(before) = self.pins.insert(key, pin) {
            self.bytes = self.bytes.saturating_sub(before.definition.raw().len());
        }
    }

    fn take(&mut self, kind: Kind, original: &Arc<str>) -> Option<Pin> {
        let pin = self.pins.remove(&(kind, Arc::clone(original)))?;
        self.bytes = self.bytes.saturating_sub(pin.definition.raw().len());
        Some(pin)
    }

    /// Returns whether a definition can be pinned within the limit of bytes.
    pub(in crate::catalog) fn has_room(&self, kind: Kind, definition: &Definition) -> bool {
        let before = self.get(kind, definition.key());
        let before = before.map_or(0, |pin| pin.definition.raw().len());
        let after = self.bytes.saturating_sub(before) + definition.raw().len();
        after <= ROOM
    }

    /// Records which definitions of a kind are listed. Returns whether that changed.
    pub(in crate::catalog) fn see(&mut self, kind: Kind, listed: &HashSet<&str>) -> bool {
        let (mut moved, mut gone) = (false, self.gone);
        for ((of, original), pin) in &mut self.pins {
            if *of != kind || listed.contains(&**original) != pin.gone.is_some() {
                continue;
            }
            moved = true;
            pin.gone = match pin.gone {
                Some(_) => None,
                None => {
                    gone += 1;
                    Some(Gone {
                        order: gone,
                        shape: Some(Shape::of(kind, &pin.definition)),
                    })
                }
            };
        }
        self.gone = gone;
        moved
    }

    /// Removes the pins of what went longest ago while there are more than `most` of them, or more
    /// bytes than allowed.
    pub(in crate::catalog) fn forget(&mut self, most: usize) -> bool {
        let mut gone: Vec<_> = self
            .pins
            .iter()
            .filter_map(|(key, pin)| {
                let order = pin.gone.as_ref()?.order;
                Some((order, key.clone(), pin.definition.raw().len()))
            })
            .collect();
        gone.sort_unstable_by_key(|(order, ..)| std::cmp::Reverse(*order));
        let mut bytes = 0;
        let mut forgotten = false;
        for (at, (_, (kind, original), length)) in gone.iter().enumerate() {
            bytes += length;
            if at >= most || bytes > GONE_BYTES {
                self.take(*kind, original);
                forgotten = true;
            }
        }
        forgotten
    }

    /// Finds definitions that have another name now, and pins them under that name too: a
    /// definition that went and a new one are the same if only these two share their arguments.
    /// `may` says whether the definition of the first name may have the second. Returns whether
    /// there was any.
    pub(in crate::catalog) fn rename(
        &mut self,
        kind: Kind,
        newcomers: &[&Definition],
        may: &dyn Fn(&Arc<str>, &Arc<str>) -> bool,
    ) -> bool {
        if newcomers.is_empty() || !self.pins.values().any(|pin| pin.gone.is_some()) {
            return false;
        }
        let mut left: Vec<_> = newcomers
            .iter()
            .map(|definition| (*definition, Shape::of(kind, definition)))
            .collect();
        let mut renamed = false;
        // Equal descriptions first: they tell definitions with equal arguments apart.
        for by in [|shape: &Shape| shape.told, |shape: &Shape| shape.bare] {
            let pairs = self.pairs(kind, &left, by);
            left.retain(|(definition, _)| !pairs.contains_key(definition.key()));
            for (to, from) in pairs {
                renamed |= may(&from, &to) && self.call(kind, &from, &to);
            }
        }
        renamed
    }

    /// Pairs new names with old ones.
    fn pairs(
        &self,
        kind: Kind,
        newcomers: &[(&Definition, Shape)],
        by: fn(&Shape) -> Option<Digest>,
    ) -> BTreeMap<Arc<str>, Arc<str>> {
        let mut found: HashMap<Digest, [Vec<&Arc<str>>; 2]> = HashMap::default();
        for ((of, original), pin) in &self.pins {
            let shape = pin.gone.as_ref().and_then(|gone| gone.shape.as_ref());
            let shape = shape.and_then(by);
            if let Some(shape) = shape.filter(|_| *of == kind) {
                let [from, _] = found.entry(shape).or_default();
                from.push(original);
            }
        }
        for (definition, shape) in newcomers {
            if let Some(shape) = by(shape) {
                let [_, to] = found.entry(shape).or_default();
                to.push(definition.key());
            }
        }
        let pairs = found.into_values().filter_map(|[from, to]| {
            let ([from], [to]) = (from.as_slice(), to.as_slice()) else {
                return None;
            };
            Some((Arc::clone(to), Arc::clone(from)))
        });
        pairs.collect()
    }

    /// Pins the definition of one name under another one too.
    fn call(&mut self, kind: Kind, from: &Arc<str>, to: &Arc<str>) -> bool {
        let Some(pin) = self.get(kind, from) else {
            return false;
        };
        let text = render::rerender(kind, pin.definition.raw(), Some(to), None);
        let Some(definition) = text.and_then(|text| listing::check_definition(kind, &text).ok())
        else {
            return false;
        };
        let was = pin.was.clone().unwrap_or_else(|| Arc::clone(from));
        let was = (was != *to).then_some(was);
        if let Some(gone) = self.pins.get_mut(&(kind, Arc::clone(from))) {
            gone.gone = gone.gone.take().map(|gone| Gone {
                shape: None,
                ..gone
            });
        }
        self.put(kind, definition, was, None);
        true
    }
}

impl Shape {
    fn of(kind: Kind, definition: &Definition) -> Self {
        let object = Object::parse(definition.raw()).unwrap_or_default();
        let (member, arguments) = match kind {
            Kind::Tools => {
                let schema = object.get("inputSchema").map(Object::parse);
                let properties = schema.and_then(Result::ok);
                let properties = properties.and_then(|schema| {
                    Object::parse(schema.get("properties")?)
                        .ok()
                        .map(|p| p.len())
                });
                ("inputSchema", properties)
            }
            Kind::Prompts | Kind::Resources | Kind::Templates | Kind::Instructions => {
                let arguments = object.get("arguments").map(json::array);
                let arguments = arguments.and_then(Result::ok);
                ("arguments", arguments.map(|arguments| arguments.len()))
            }
        };
        let text = canonical(object.get(member).unwrap_or_default(), DEPTH);
        let digest = |description: Option<&str>| {
            let mut hasher = Hasher::new("shape");
            hasher.add(text.as_bytes());
            hasher.add(description.unwrap_or_default().as_bytes());
            hasher.finish()
        };
        let description = object.string("description");
        let description = description.filter(|text| !text.is_empty());
        let has_arguments = arguments.is_some_and(|count| count > 0);
        let told = has_arguments || description.is_some();
        Self {
            told: told.then(|| digest(description.as_deref())),
            bare: has_arguments.then(|| digest(None)),
        }
    }
}
