//! The few things about a source file that the rules need to know: what it defines, what it imports
//! and which paths occur in its code. No parser of Rust: tokens are enough, since rustfmt and the
//! compiler have seen the files already.

use std::collections::BTreeSet;

/// A name that a `use` brings in, and the path that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    /// `*` for a glob.
    pub name: String,
    /// A re-export: `pub use` or `pub(…) use`.
    pub is_public: bool,
}

/// The code of a file, without its tests.
#[derive(Default)]
pub struct Syntax {
    pub imports: Vec<Import>,
    /// Paths of two segments or more in the code, outside `use`, and single names too: both may
    /// stand for something imported.
    pub paths: BTreeSet<Vec<String>>,
    /// Everything with a name that the file defines at its top: types, functions, constants,
    /// macros.
    pub definitions: BTreeSet<String>,
    /// Types that other files can see.
    pub visible_types: BTreeSet<String>,
}

impl Syntax {
    pub fn parse(text: &str) -> Self {
        let tests = text.find("\n#[cfg(test)]\nmod tests {");
        let tokens = tokens(&text[..tests.unwrap_or(text.len())]);
        let mut parser = Parser {
            tokens: &tokens,
            at: 0,
            open: Vec::new(),
            found: Syntax::default(),
        };
        while parser.at < tokens.len() {
            parser.step();
        }
        parser.found
    }
}

/// The words and signs of a text: no comments, no literals. `::` is one sign.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        if c == '/' && next == '/' {
            at = position(&chars, at, |c| c == '\n');
        } else if c == '/' && next == '*' {
            at = after_block_comment(&chars, at);
        } else if c == '"' {
            at = after_string(&chars, at);
        } else if c == '\'' {
            at = after_quote(&chars, at);
        } else if is_word(c) {
            let end = position(&chars, at, |c| !is_word(c));
            let word: String = chars[at..end].iter().collect();
            at = end;
            let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
            if is_raw && matches!(chars.get(at), Some('#' | '"')) {
                at = after_raw(&chars, at);
            } else {
                found.push(word);
            }
        } else if c == ':' && next == ':' {
            found.push("::".to_owned());
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push(c.to_string());
            }
            at += 1;
        }
    }
    found
}

fn position(chars: &[char], from: usize, is_end: impl Fn(char) -> bool) -> usize {
    let found = chars[from..].iter().position(|c| is_end(*c));
    found.map_or(chars.len(), |found| from + found)
}

fn after_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// After a character literal, or after the quote of a lifetime.
fn after_quote(chars: &[char], from: usize) -> usize {
    match chars.get(from + 1) {
        Some('\\') => position(chars, from + 3, |c| c == '\'') + 1,
        Some(_) if chars.get(from + 2) == Some(&'\'') => from + 3,
        _ => from + 1,
    }
}

/// After a raw string whose `#`s begin here, or after the `#` of a raw identifier.
fn after_raw(chars: &[char], from: usize) -> usize {
    let quote = position(chars, from, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return quote;
    }
    let end: Vec<char> = [vec!['"'], vec!['#'; quote - from]].concat();
    let found = chars[quote + 1..].windows(end.len()).position(|w| w == end);
    found.map_or(chars.len(), |found| quote + 1 + found + end.len())
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    /// The braces that are open, and whether each is that of a `mod name {`.
    open: Vec<bool>,
    found: Syntax,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn take(&mut self) -> String {
        let token = self.peek(0).to_owned();
        self.at += 1;
        token
    }

    fn step(&mut self) {
        let is_public = self.visibility();
        let (word, name) = (self.peek(0).to_owned(), self.peek(1).to_owned());
        match word.as_str() {
            "use" => {
                self.at += 1;
                self.imports(Vec::new(), is_public);
            }
            "mod" if self.peek(2) == "{" => {
                self.at += 3;
                self.open.push(true);
            }
            "mod" => self.at += 2,
            "struct" | "enum" | "trait" | "type" | "union" if is_name(&name) => {
                self.define(name.clone());
                if is_public {
                    self.found.visible_types.insert(name);
                }
            }
            "fn" | "const" | "static" if is_name(&name) => self.define(name),
            "macro_rules" => {
                self.at += 1;
                let name = self.peek(1).to_owned();
                self.define(name);
            }
            "{" => {
                self.at += 1;
                self.open.push(false);
            }
            "}" => {
                self.at += 1;
                self.open.pop();
            }
            _ if is_name(&word) => self.path(),
            _ => self.at += 1,
        }
    }

    /// Goes past `pub` and `pub(…)`.
    fn visibility(&mut self) -> bool {
        if self.peek(0) != "pub" {
            return false;
        }
        self.at += 1;
        if self.peek(0) == "(" && matches!(self.peek(1), "crate" | "super" | "self" | "in") {
            while self.take() != ")" {}
        }
        true
    }

    fn define(&mut self, name: String) {
        self.at += 2;
        // A type that is defined in a function or an impl has no path.
        if self.open.iter().all(|is_module| *is_module) {
            self.found.definitions.insert(name);
        }
    }

    /// Returns what `use` or a part of its tree names, up to `;`, `,` or `}`.
    fn imports(&mut self, mut path: Vec<String>, is_public: bool) {
        loop {
            let token = self.take();
            match token.as_str() {
                "{" => {
                    while !matches!(self.peek(0), "}" | "") {
                        self.imports(path.clone(), is_public);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "*" => return self.import(path, "*", is_public),
                _ => path.push(token),
            }
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.peek(0) == "as" {
            self.at += 1;
            name = self.take();
        }
        self.import(path, &name, is_public);
    }

    fn import(&mut self, path: Vec<String>, name: &str, is_public: bool) {
        let (path, name) = (self.seen_from_file(path), name.to_owned());
        self.found.imports.push(Import {
            path,
            name,
            is_public,
        });
    }

    fn path(&mut self) {
        let mut path = vec![self.take()];
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            self.at += 1;
            path.push(self.take());
        }
        let path = self.seen_from_file(path);
        self.found.paths.insert(path);
    }

    /// A `super` of a module inside the file is the file, or nearer to it by as many modules as are
    /// open.
    fn seen_from_file(&self, mut path: Vec<String>) -> Vec<String> {
        let inside = self.open.iter().filter(|is_module| **is_module).count();
        let ups = path.iter().take_while(|part| *part == "super").count();
        if inside > 0 && ups > 0 {
            path.drain(..ups.min(inside));
            if ups <= inside {
                path.insert(0, "self".to_owned());
            }
        }
        path
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
