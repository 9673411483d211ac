//! JSON that is generated with values planted in it, and written in any legal way.

use serde_json::Value;

use super::random::Random;
use super::values::Planted;

/// Text before and after values. None of them is part of a value, wherever it is cut.
const BEFORE: [&str; 14] = [
    "", "", "to ", "Zoë: ", "(", "<", "\"", "\n", "「", "😀 ", "a\\", "q: ", "\t", "{ ",
];
const AFTER: [&str; 13] = [
    "",
    "",
    ".",
    ", 😀",
    " – x",
    "\n",
    "\"",
    ")",
    "> ",
    "\\",
    "\t|",
    "」",
    " und \u{7f}",
];
const PLAIN: [&str; 8] = [
    "",
    "an order",
    "Grüße 🌍",
    "[]",
    "a\"b\\c\u{1}",
    "null",
    "100% \\u00e9",
    "12 of 15",
];
const SCALARS: [&str; 7] = [
    "1",
    "-0.5e+3",
    "true",
    "false",
    "null",
    "12345678901234567890123",
    "0",
];

/// A piece of a text.
#[derive(Clone, Debug)]
pub enum Part {
    Plain(String),
    Value(Planted),
}

/// A JSON value.
#[derive(Clone, Debug)]
pub enum Tree {
    Text(Vec<Part>),
    /// A card as a number.
    Digits(Planted),
    Scalar(&'static str),
    List(Vec<Tree>),
    Object(Vec<(Vec<Part>, Tree)>),
    /// JSON text in a string, after words or without any.
    Nested(&'static str, Box<Tree>),
}

/// The fate of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    Mask,
    Pseudonym,
}

pub fn text_with(random: &mut Random, value: Planted) -> Vec<Part> {
    let before = Part::Plain((*random.choose(&BEFORE)).to_owned());
    let after = Part::Plain((*random.choose(&AFTER)).to_owned());
    vec![before, Part::Value(value), after]
}

fn text(random: &mut Random) -> Vec<Part> {
    match random.below(4) {
        0 => vec![Part::Plain((*random.choose(&PLAIN)).to_owned())],
        1 => {
            let mut two = text(random);
            two.push(Part::Plain(" ; ".to_owned()));
            let value = Planted::any(random);
            two.extend(text_with(random, value));
            two
        }
        _ => {
            let value = Planted::any(random);
            text_with(random, value)
        }
    }
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Message,
    /// In JSON text that is a string.
    Json,
    /// In JSON text after words.
    Prose,
}

impl Tree {
    /// An object with at least one value in it, and at times a field whose class is known by its path.
    pub fn root(random: &mut Random) -> Self {
        let Self::Object(mut members) = Self::root_without_fields(random) else {
            panic!("it is an object");
        };
        if random.one_in(3) {
            let name = Self::Text(vec![Part::Value(Planted::name(random))]);
            let customer = vec![(vec![Part::Plain("name".to_owned())], name)];
            let key = vec![Part::Plain("customer".to_owned())];
            members.push((key, Self::Object(customer)));
        }
        Self::Object(members)
    }

    /// An object with at least one value in it.
    pub fn root_without_fields(random: &mut Random) -> Self {
        let Self::Object(mut members) = Self::object(random, 3, Within::Message) else {
            panic!("it is an object");
        };
        let value = Planted::any(random);
        let must = Self::Text(text_with(random, value));
        members.push((vec![Part::Plain("must".to_owned())], must));
        Self::Object(members)
    }

    fn object(random: &mut Random, depth: usize, within: Within) -> Self {
        let members = (0..random.below(4)).map(|number| {
            let mut name = vec![Part::Plain(format!("k{number} "))];
            if random.one_in(4) {
                name.push(Part::Value(Planted::any(random)));
            }
            (name, Self::any(random, depth, within))
        });
        Self::Object(members.collect())
    }

    fn any(random: &mut Random, depth: usize, within: Within) -> Self {
        let can_nest = within == Within::Message;
        match random.below(10) {
            0 if depth > 0 => {
                let items = (0..random.below(4)).map(|_| Self::any(random, depth - 1, within));
                Self::List(items.collect())
            }
            1 if depth > 0 => Self::object(random, depth - 1, within),
            2 if can_nest => {
                let inside = Self::object(random, 2, Within::Json);
                Self::Nested("", Box::new(inside))
            }
            3 if can_nest => {
                let inside = Self::object(random, 2, Within::Prose);
                Self::Nested("said: ", Box::new(inside))
            }
            4 => Self::Scalar(random.choose::<&'static str>(&SCALARS)),
            // In prose nothing says that a number has to stay JSON.
            5 if within != Within::Prose => Self::Digits(Planted::digits(random)),
            _ => Self::Text(text(random)),
        }
    }

    /// Writes it, each string in one of the ways of JSON.
    pub fn write(&self, random: &mut Random) -> String {
        let mut out = String::new();
        self.write_to(random, &mut out);
        out
    }

    fn write_to(&self, random: &mut Random, out: &mut String) {
        match self {
            Self::Text(parts) => out.push_str(&spell(random, &joined(parts))),
            Self::Digits(value) => out.push_str(&value.text),
            Self::Scalar(text) => out.push_str(text),
            Self::Nested(before, tree) => {
                let inside = format!("{before}{}", tree.write(random));
                out.push_str(&spell(random, &inside));
            }
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    blank(random, out);
                    item.write_to(random, out);
                    blank(random, out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    blank(random, out);
                    out.push_str(&spell(random, &joined(name)));
                    blank(random, out);
                    out.push(':');
                    value.write_to(random, out);
                }
                out.push('}');
            }
        }
    }

    /// Whether this is what became of it, by the fate of each class.
    pub fn fits(&self, got: &Value, fate: &dyn Fn(&Planted) -> Fate) -> bool {
        match (self, got) {
            (Self::Text(parts), Value::String(got)) => fits(parts, got, fate),
            (Self::Digits(value), got) => match fate(value) {
                Fate::Stays => got.as_u64() == value.text.parse().ok(),
                Fate::Mask | Fate::Pseudonym => {
                    got.as_str().is_some_and(|got| is_fate(value, got, fate))
                }
            },
            (Self::Scalar(text), got) => serde_json::from_str::<Value>(text).unwrap() == *got,
            (Self::Nested(before, tree), Value::String(got)) => {
                let inside = got.strip_prefix(before);
                let value = inside.and_then(|inside| serde_json::from_str(inside).ok());
                value.is_some_and(|value: Value| tree.fits(&value, fate))
            }
            (Self::List(items), Value::Array(got)) => {
                items.len() == got.len()
                    && items
                        .iter()
                        .zip(got)
                        .all(|(item, got)| item.fits(got, fate))
            }
            (Self::Object(members), Value::Object(got)) => {
                members.len() == got.len()
                    && members.iter().zip(got).all(|((name, value), (key, got))| {
                        fits(name, key, fate) && value.fits(got, fate)
                    })
            }
            _ => false,
        }
    }
}

fn joined(parts: &[Part]) -> String {
    let parts = parts.iter().map(|part| match part {
        Part::Plain(text) => text.as_str(),
        Part::Value(value) => &value.text,
    });
    parts.collect()
}

fn blank(random: &mut Random, out: &mut String) {
    if random.one_in(6) {
        let blank: &str = random.choose::<&str>(&[" ", "\n", "\t", "\r\n "]);
        out.push_str(blank);
    }
}

/// Whether a text is what became of its parts.
pub fn fits(parts: &[Part], got: &str, fate: &dyn Fn(&Planted) -> Fate) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return got.is_empty();
    };
    match first {
        Part::Plain(text) => got
            .strip_prefix(text.as_str())
            .is_some_and(|got| fits(rest, got, fate)),
        Part::Value(value) => {
            // Where the value ends is not known: one of the places has to do.
            let mut ends = got.char_indices().map(|(at, c)| at + c.len_utf8());
            ends.any(|end| is_fate(value, &got[..end], fate) && fits(rest, &got[end..], fate))
        }
    }
}

fn is_fate(value: &Planted, got: &str, fate: &dyn Fn(&Planted) -> Fate) -> bool {
    match fate(value) {
        Fate::Stays => got == value.text,
        Fate::Mask => got == format!("[{}]", value.class),
        Fate::Pseudonym => {
            let body = got
                .strip_prefix(&value.word())
                .and_then(|got| got.strip_prefix('_'));
            body.is_some_and(|body| {
                let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                body.len() >= 16 && body.bytes().all(is_digit)
            })
        }
    }
}

/// Writes a string of JSON: as it is, all escaped, or some of it, in any of the forms of escapes.
pub fn spell(random: &mut Random, text: &str) -> String {
    let way = random.below(4);
    let mut out = String::from("\"");
    for c in text.chars() {
        let escapes = match way {
            0 => false,
            1 => true,
            _ => random.one_in(4),
        };
        let short = match c {
            '"' => Some('"'),
            '\\' => Some('\\'),
            '/' if escapes => Some('/'),
            '\n' => Some('n'),
            '\t' => Some('t'),
            '\r' => Some('r'),
            _ => None,
        };
        match short {
            Some(short) if !escapes || random.one_in(2) => out.extend(['\\', short]),
            _ if escapes || short.is_some() || c < ' ' => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    match random.one_in(2) {
                        true => out.push_str(&format!("\\u{unit:04x}")),
                        false => out.push_str(&format!("\\u{unit:04X}")),
                    }
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
