//! The keys of an upstream, each once: a key that stands there twice would make the whole config unreadable.

use indexmap::IndexMap;

/// Keys in order, each with what stands behind it and below it.
#[derive(Default)]
pub(super) struct KeyBlocks(IndexMap<String, Block>);

#[derive(Default)]
struct Block {
    value: String,
    /// Members that have a name, in order.
    members: IndexMap<String, String>,
}

impl KeyBlocks {
    /// A key with its value; false if the key is there already.
    pub(super) fn set(&mut self, key: &str, value: String) -> bool {
        let block = Block {
            value,
            ..Block::default()
        };
        self.insert(key, block)
    }

    /// A key with members below it; false if the key is there already.
    pub(super) fn nest(&mut self, key: &str, members: Vec<(&str, String)>) -> bool {
        let members = members.into_iter();
        let block = Block {
            value: String::new(),
            members: members
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        };
        self.insert(key, block)
    }

    fn insert(&mut self, key: &str, block: Block) -> bool {
        let is_new = !self.has(key);
        if is_new {
            self.0.insert(key.to_owned(), block);
        }
        is_new
    }

    /// Adds a member below a key; false if it is there already. Names are compared as headers are if `folded`.
    pub(super) fn add(&mut self, key: &str, name: &str, value: String, folded: bool) -> bool {
        let members = &mut self.0.entry(key.to_owned()).or_default().members;
        let same = |known: &String| match folded {
            true => known.eq_ignore_ascii_case(name),
            false => known == name,
        };
        let is_new = !members.keys().any(same);
        if is_new {
            members.insert(name.to_owned(), value);
        }
        is_new
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines, not indented.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(key, block)| {
            let space = if block.value.is_empty() { "" } else { " " };
            let head = format!("{key}:{space}{}", block.value);
            let members = block.members.iter();
            let members = members.map(|(name, value)| format!("  {name}: {value}"));
            std::iter::once(head).chain(members)
        })
    }
}
