//! A JSON text as a tree whose leaves keep their bytes: numbers of any size stay as they are.

use std::borrow::Cow;

use crate::json;

/// The deepest nesting that is read: a definition has less ([`crate::catalog::listing::DEPTH`]).
const LEVELS: usize = 128;

/// A value in a JSON text.
#[derive(Debug)]
pub(super) struct TextNode<'t> {
    /// Its text.
    pub(super) raw: &'t str,
    /// The number of levels of objects and arrays in it.
    pub(super) depth: usize,
    pub(super) value: TextValue<'t>,
}

#[derive(Debug)]
pub(super) enum TextValue<'t> {
    Object(Vec<(Cow<'t, str>, TextNode<'t>)>),
    Array(Vec<TextNode<'t>>),
    /// Anything else.
    Scalar,
}

impl<'t> TextNode<'t> {
    /// Reads a JSON text that is known to be valid; `None` if it is not, or too deep.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        Reader { text, at: 0 }.node(0)
    }

    /// Returns a member of an object. Of members with one key, the last counts, as for most parsers.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let TextValue::Object(members) = &self.value else {
            return None;
        };
        let mut found = members.iter().rev();
        found.find_map(|(name, node)| (name == key).then_some(node))
    }

    /// Returns the text of a string.
    pub(super) fn string(&self) -> Option<Cow<'t, str>> {
        json::string(self.raw)
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Takes a byte that must come next, after blanks.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn node(&mut self, level: usize) -> Option<TextNode<'t>> {
        if level > LEVELS {
            return None;
        }
        self.skip_blanks();
        let from = self.at;
        let (value, depth) = match self.peek()? {
            b'{' => self.object(level)?,
            b'[' => self.array(level)?,
            b'"' => {
                self.string()?;
                (TextValue::Scalar, 0)
            }
            _ => {
                let is_over =
                    |byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                while self.peek().is_some_and(|byte| !is_over(byte)) {
                    self.at += 1;
                }
                (TextValue::Scalar, 0)
            }
        };
        let raw = self.text.get(from..self.at)?;
        Some(TextNode { raw, depth, value })
    }

    /// Takes a string, and returns its text with the quotes.
    fn string(&mut self) -> Option<&'t str> {
        let from = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(from..self.at)
    }

    fn object(&mut self, level: usize) -> Option<(TextValue<'t>, usize)> {
        self.take(b'{')?;
        let (mut members, mut depth) = (Vec::new(), 0);
        self.skip_blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some((TextValue::Object(members), 1));
        }
        loop {
            self.skip_blanks();
            let key = json::string(self.string()?)?;
            self.take(b':')?;
            let node = self.node(level + 1)?;
            depth = depth.max(node.depth);
            members.push((key, node));
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some((TextValue::Object(members), depth + 1));
            }
        }
    }

    fn array(&mut self, level: usize) -> Option<(TextValue<'t>, usize)> {
        self.take(b'[')?;
        let (mut items, mut depth) = (Vec::new(), 0);
        self.skip_blanks();
        if self.peek()? == b']' {
            self.at += 1;
            return Some((TextValue::Array(items), 1));
        }
        loop {
            let node = self.node(level + 1)?;
            depth = depth.max(node.depth);
            items.push(node);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some((TextValue::Array(items), depth + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_keeps_its_bytes() {
        let text =
            r#" { "a\u0062" : [ 1e400 , -0.0, "x\\\"]}" ,true,null,[ ],{ }], "" : {"~/":[7]} } "#;
        let tree = TextNode::read(text).unwrap();
        assert_eq!((tree.raw, tree.depth), (text.trim(), 3));
        let items = tree.get("ab").unwrap();
        let TextValue::Array(all) = &items.value else {
            panic!("{items:?}")
        };
        let raw: Vec<_> = all.iter().map(|node| node.raw).collect();
        let expected = [
            "1e400",
            "-0.0",
            r#""x\\\"]}""#,
            "true",
            "null",
            "[ ]",
            "{ }",
        ];
        assert_eq!(raw, expected);
        assert_eq!(
            items.raw,
            r#"[ 1e400 , -0.0, "x\\\"]}" ,true,null,[ ],{ }]"#
        );
        let twice = TextNode::read(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(twice.get("a").unwrap().raw, "2");
        for bad in ["", "{", "[1", "{\"a\"}", "\"a", "[1 2]"] {
            assert!(TextNode::read(bad).is_none(), "{bad}");
        }
        assert!(TextNode::read(&"[".repeat(1_000_000)).is_none());
    }
}
