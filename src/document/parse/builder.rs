//! The events of the parser → a tree of nodes.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::document::node::{
    MAX_DEPTH, MAX_NODES, MapEntry, Node, Position, SyntaxError, TEXT_BYTES, Value,
};

/// An error after which parsing cannot continue.
type Fatal = (Position, SyntaxError);

/// A list or mapping that is still open.
struct Frame {
    node: Node,
    anchor: usize,
    /// The key whose value comes next, or `Some(None)` if that value is dropped.
    key: Option<Option<(String, Position)>>,
    /// The keys so far.
    keys: HashMap<String, Position>,
    /// Nodes counted before this one: the difference is its size.
    before: usize,
}

/// The tree as it grows.
#[derive(Default)]
pub(crate) struct TreeBuilder {
    pub(crate) root: Option<Node>,
    frames: Vec<Frame>,
    /// Finished anchored values with their sizes.
    anchors: HashMap<usize, (Node, usize)>,
    documents: usize,
    /// Whether the node at hand is a plain `<<`.
    is_merge: bool,
    nodes: usize,
    pub(crate) errors: Vec<Fatal>,
}

impl TreeBuilder {
    pub(crate) fn run(&mut self, parser: Parser<'_, StrInput<'_>>) -> Result<(), Fatal> {
        for event in parser {
            let (event, span) = event.map_err(|error| {
                let grammar = SyntaxError::Grammar(error.info().to_owned());
                (Position::of(*error.marker()), grammar)
            })?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        let at = Position::of(span.start);
        self.is_merge =
            matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((at, SyntaxError::Documents));
                }
            }
            Event::Alias(anchor) => {
                let (node, size) = self.anchors.get(&anchor).ok_or((at, SyntaxError::Loop))?;
                let (node, size) = (node.clone(), *size);
                self.count(at, size)?;
                self.place(node, at)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                // Copies of a long text are as much a bomb as copies of a long list.
                let size = 1 + text.len() / TEXT_BYTES;
                self.count(at, size)?;
                let value = scalar(&text, style, tag.as_deref()).map_err(|error| (at, error))?;
                self.finish(Node { at, value }, at, anchor, size)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(at, Value::List(Vec::new()), anchor, tag.as_deref())?;
            }
            Event::MappingStart(anchor, tag) => {
                self.open(at, Value::Map(Vec::new()), anchor, tag.as_deref())?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.frames.pop() {
                    let size = self.nodes.saturating_sub(frame.before);
                    let at = frame.node.at;
                    self.finish(frame.node, at, frame.anchor, size)?;
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, at: Position, nodes: usize) -> Result<(), Fatal> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err((at, SyntaxError::TooMany));
        }
        Ok(())
    }

    fn open(
        &mut self,
        at: Position,
        value: Value,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Fatal> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err((at, SyntaxError::Tag(tag.to_string())));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err((at, SyntaxError::TooDeep));
        }
        let before = self.nodes;
        self.count(at, 1)?;
        self.frames.push(Frame {
            node: Node { at, value },
            anchor,
            key: None,
            keys: HashMap::new(),
            before,
        });
        Ok(())
    }

    fn finish(
        &mut self,
        node: Node,
        at: Position,
        anchor: usize,
        size: usize,
    ) -> Result<(), Fatal> {
        if anchor > 0 {
            self.count(at, size)?; // the copy kept here costs memory too
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.place(node, at)
    }

    /// Puts a finished node where it belongs. `at` is where it is used, which for an alias is not where it is written.
    fn place(&mut self, node: Node, at: Position) -> Result<(), Fatal> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match frame.key.take() {
                None if self.is_merge => {
                    self.errors.push((at, SyntaxError::Merge));
                    frame.key = Some(None);
                }
                None => frame.key = Some(Some((key(node).ok_or((at, SyntaxError::Key))?, at))),
                Some(None) => {}
                Some(Some((key, at))) => {
                    if let Some(&first) = frame.keys.get(&key) {
                        self.errors
                            .push((at, SyntaxError::Duplicate { key, first }));
                    } else {
                        frame.keys.insert(key.clone(), at);
                        entries.push(MapEntry { key, at, node });
                    }
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Removed => {}
        }
        Ok(())
    }
}

fn key(node: Node) -> Option<String> {
    match node.value {
        Value::Text(text) | Value::Number(text) => Some(text),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Removed => None,
    }
}

/// A scalar by the core schema (YAML 1.2.2 §10.3.2): quoted is text, plain is what it looks like.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, SyntaxError> {
    if let Some(tag) = tag {
        let plain = tag.handle.is_empty() && tag.suffix == "!";
        if !plain && !tag.is_yaml_core_schema() {
            return Err(SyntaxError::Tag(tag.to_string()));
        }
        if matches!(tag.suffix.as_str(), "str" | "!") {
            return Ok(Value::Text(text.to_owned()));
        }
    }
    if style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    })
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal) && octal.bytes().all(|byte| byte < b'8');
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent
        .is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    let mantissa_fits = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    exponent_fits && mantissa_fits
}
