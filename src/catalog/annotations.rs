//! `x-mcp-header`: which arguments of a tool are mirrored into headers
//! (`basic/transports/streamable-http.mdx#schema-extension`).
//!
//! Only schemas that may have an annotation are read at all, and those in one pass over text that
//! is known to be JSON, so that depth and size cost what they weigh and numbers of any size are no
//! matter.

use std::borrow::Cow;

use crate::json;
use crate::protocol::headers::{HeaderParam, ParamKind};

const ANNOTATION: &str = "x-mcp-header";
/// Most annotations of one tool. Each call of it costs a pass over its arguments for each of them.
const MOST: usize = 64;
/// Most properties on the way to a mirrored argument: each is parsed at each call.
const STEPS: usize = 16;
/// Most bytes in the names of these properties.
const PATH_BYTES: usize = 1024;

/// Why an annotation makes its tool unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// Not a non-empty field-name token (RFC 9110 §5.1).
    #[error("`x-mcp-header` of `{0}` is not a header name")]
    Name(String),
    /// Two annotations make one header: names are compared without case.
    #[error("`x-mcp-header` of `{0}` is used twice in the tool")]
    Twice(String),
    /// Only strings, integers and booleans are mirrored.
    #[error("`x-mcp-header` of `{0}` stands on something other than a string, integer or boolean")]
    Type(String),
    /// Not on a property, or on one that is not reached through `properties` alone.
    #[error("`x-mcp-header` at `{0}` is not reached through `properties` alone")]
    Place(String),
    /// More than 64.
    #[error("`x-mcp-header` is used more than {MOST} times in the tool")]
    Many,
    /// Each call would follow the path.
    #[error(
        "`x-mcp-header` at `{0}` is below more than {STEPS} properties, or their names have more than {PATH_BYTES} bytes together"
    )]
    Path(String),
    /// A key that decides about headers occurs twice in one schema.
    #[error("the schema at `{0}` has a key twice")]
    Key(String),
}

/// Whether a text may contain an annotation, also with letters of it escaped.
fn mentions(text: &str) -> bool {
    text.contains(ANNOTATION) || text.contains("\\u00")
}

/// The annotated properties of an input schema, in order. `schema` is JSON text of an object,
/// nested no deeper than the caller's stack allows.
pub(crate) fn header_params(schema: &str) -> Result<Vec<HeaderParam>, AnnotationError> {
    if !mentions(schema) {
        return Ok(Vec::new());
    }
    let mut reader = Reader {
        rest: schema,
        path: Vec::new(),
        found: Vec::new(),
    };
    reader.value(true)?;
    Ok(reader.found)
}

/// Walks JSON text that is known to be valid.
struct Reader<'a> {
    rest: &'a str,
    path: Vec<Cow<'a, str>>,
    found: Vec<HeaderParam>,
}

impl<'a> Reader<'a> {
    /// Reads a value where a schema may stand. `chain`: it is the root, or reached through
    /// `properties`.
    fn value(&mut self, chain: bool) -> Result<(), AnnotationError> {
        match self.first() {
            Some(b'{') => self.schema(chain),
            Some(b'[') => self.items(|reader| reader.value(false)),
            _ => {
                self.scalar();
                Ok(())
            }
        }
    }

    fn schema(&mut self, chain: bool) -> Result<(), AnnotationError> {
        let (mut annotation, mut kind, mut properties) = (None, None, false);
        self.members(|reader, key| {
            let twice = match key {
                ANNOTATION => annotation.replace(reader.skip()).is_some(),
                "type" => kind.replace(reader.skip()).is_some(),
                "properties" => {
                    reader.named(chain)?;
                    std::mem::replace(&mut properties, true)
                }
                "$defs" | "definitions" | "dependentSchemas" | "patternProperties" => {
                    reader.named(false)?;
                    false
                }
                // Instances, not schemas.
                "default" | "const" | "enum" | "examples" => {
                    reader.skip();
                    false
                }
                _ => {
                    reader.value(false)?;
                    false
                }
            };
            if twice {
                return Err(AnnotationError::Key(reader.place()));
            }
            Ok(())
        })?;
        match annotation {
            Some(name) => self.annotated(chain, name, kind),
            None => Ok(()),
        }
    }

    /// Reads an object whose values are schemas under names.
    fn named(&mut self, chain: bool) -> Result<(), AnnotationError> {
        if self.first() != Some(b'{') {
            self.skip();
            return Ok(());
        }
        self.members(|reader, name| {
            reader.path.push(Cow::Owned(name.to_owned()));
            reader.value(chain)?;
            reader.path.pop();
            Ok(())
        })
    }

    fn annotated(
        &mut self,
        chain: bool,
        name: &str,
        kind: Option<&str>,
    ) -> Result<(), AnnotationError> {
        if !chain || self.path.is_empty() {
            return Err(AnnotationError::Place(self.place()));
        }
        let kind = match kind.and_then(json::string).as_deref() {
            Some("string") => ParamKind::String,
            Some("integer") => ParamKind::Integer,
            Some("boolean") => ParamKind::Boolean,
            _ => return Err(AnnotationError::Type(self.place())),
        };
        let bytes: usize = self.path.iter().map(|step| step.len()).sum();
        if self.path.len() > STEPS || bytes > PATH_BYTES {
            return Err(AnnotationError::Path(self.place()));
        }
        let path: Vec<&str> = self.path.iter().map(AsRef::as_ref).collect();
        let param = json::string(name)
            .and_then(|name| HeaderParam::new(&name, &path, kind))
            .ok_or_else(|| AnnotationError::Name(self.place()))?;
        if self.found.iter().any(|other| other.header == param.header) {
            return Err(AnnotationError::Twice(self.place()));
        }
        if self.found.len() == MOST {
            return Err(AnnotationError::Many);
        }
        self.found.push(param);
        Ok(())
    }

    /// Where the reader is, cut to 64 characters.
    fn place(&self) -> String {
        if self.path.is_empty() {
            return "inputSchema".to_owned();
        }
        let mut place = String::new();
        for step in &self.path {
            let dot = if place.is_empty() { "" } else { "." };
            place.extend(dot.chars().chain(step.chars()).take(64));
            if place.len() >= 4 * 64 {
                break;
            }
        }
        place.chars().take(64).collect()
    }

    fn first(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), AnnotationError>,
    ) -> Result<(), AnnotationError> {
        self.items(|reader| {
            let key = json::string(reader.skip()).unwrap_or_default();
            reader.space();
            reader.advance(1);
            reader.space();
            each(reader, &key)
        })
    }

    /// Reads what stands between two brackets, separated by commas.
    fn items(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), AnnotationError>,
    ) -> Result<(), AnnotationError> {
        loop {
            // The opening bracket, or a comma.
            self.advance(1);
            self.space();
            if matches!(self.first(), None | Some(b'}' | b']')) {
                break;
            }
            each(self)?;
            self.space();
            if self.first() != Some(b',') {
                break;
            }
        }
        self.advance(1);
        Ok(())
    }

    /// Passes over any value and gives its text.
    fn skip(&mut self) -> &'a str {
        if !matches!(self.first(), Some(b'{' | b'[')) {
            return self.scalar();
        }
        let (mut depth, mut at) = (0_usize, 0);
        let mut bytes = self.rest.bytes();
        while let Some(byte) = bytes.next() {
            at += 1;
            match byte {
                b'"' => at += string_tail(&mut bytes),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        self.advance(at)
    }

    fn scalar(&mut self) -> &'a str {
        let mut bytes = self.rest.bytes();
        let length = if bytes.next() == Some(b'"') {
            1 + string_tail(&mut bytes)
        } else {
            self.rest
                .find([',', '}', ']', ' ', '\t', '\r', '\n'])
                .unwrap_or(self.rest.len())
        };
        self.advance(length)
    }
}

/// Passes over the rest of a string whose opening quote is read; gives the bytes passed.
fn string_tail(bytes: &mut std::str::Bytes<'_>) -> usize {
    let mut passed = 0;
    while let Some(byte) = bytes.next() {
        passed += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                bytes.next();
                passed += 1;
            }
            _ => {}
        }
    }
    passed
}

/// How deep the brackets of JSON text nest.
pub(crate) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                string_tail(&mut bytes);
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(schema: &str) -> Vec<(String, String)> {
        header_params(schema)
            .unwrap()
            .iter()
            .map(|param| (param.header.to_string(), param.path.join("/")))
            .collect()
    }

    #[test]
    fn annotated_properties_are_found_at_any_depth_of_properties() {
        let schema = r#"{ "type":"object", "properties" : {
            "region":{"type":"string","x-mcp-header":"Region"},
            "big":{"type":"number","maximum":1e400},
            "where": {"type":"object","properties":{"zo\u006ee":{"x-mcp-header":"Zone","type":"integer"}}},
            "x-mcp-header":{"type":"object","description":"a property, not an annotation \" } ]"},
            "on":{"type":"boolean","\u0078-mcp-header":"On"},
            "data":{"type":"object","default":{"x-mcp-header":1},"enum":[{"x-mcp-header":2}]}
        }, "required":["region"] }"#;
        let expected = [
            ("mcp-param-region", "region"),
            ("mcp-param-zone", "where/zone"),
            ("mcp-param-on", "on"),
        ];
        assert_eq!(
            paths(schema),
            expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
    }

    #[test]
    fn a_broken_rule_is_named_with_its_place() {
        let on = |property: &str| format!(r#"{{"properties":{{"a":{property}}}}}"#);
        let string = |name: &str| on(&format!(r#"{{"type":"string","x-mcp-header":{name}}}"#));
        let a = || "a".to_owned();
        let cases = [
            (string(r#""""#), AnnotationError::Name(a())),
            (string(r#""a b""#), AnnotationError::Name(a())),
            (string(r#""a:b""#), AnnotationError::Name(a())),
            (string(r#""é""#), AnnotationError::Name(a())),
            (string(r#""a\n""#), AnnotationError::Name(a())),
            (string("7"), AnnotationError::Name(a())),
            (on(r#"{"type":"number","x-mcp-header":"A"}"#), AnnotationError::Type(a())),
            (on(r#"{"type":"object","x-mcp-header":"A"}"#), AnnotationError::Type(a())),
            (on(r#"{"type":["string","null"],"x-mcp-header":"A"}"#), AnnotationError::Type(a())),
            (on(r##"{"$ref":"#/$defs/x","x-mcp-header":"A"}"##), AnnotationError::Type(a())),
            (
                r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#.to_owned(),
                AnnotationError::Twice("b".into()),
            ),
            (
                r#"{"type":"string","x-mcp-header":"A"}"#.to_owned(),
                AnnotationError::Place("inputSchema".into()),
            ),
            (
                on(r#"{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#),
                AnnotationError::Place(a()),
            ),
            (
                on(r#"{"anyOf":[{"type":"object","properties":{"b":{"type":"string","x-mcp-header":"A"}}}]}"#),
                AnnotationError::Place("a.b".into()),
            ),
            (
                r#"{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}"#.to_owned(),
                AnnotationError::Place("d".into()),
            ),
            (
                on(r#"{"type":"string","x-mcp-header":"A","x-mcp-header":"B"}"#),
                AnnotationError::Key(a()),
            ),
            (
                format!(
                    r#"{}{{"type":"string","x-mcp-header":"A"}}{}"#,
                    r#"{"properties":{"p":"#.repeat(STEPS + 1),
                    "}}".repeat(STEPS + 1)
                ),
                AnnotationError::Path(["p"; STEPS + 1].join(".")),
            ),
            (
                format!(
                    r#"{{"properties":{{"{}":{{"type":"string","x-mcp-header":"A"}}}}}}"#,
                    "p".repeat(PATH_BYTES + 1)
                ),
                AnnotationError::Path("p".repeat(64)),
            ),
        ];
        for (schema, error) in cases {
            assert_eq!(header_params(&schema), Err(error), "{schema}");
        }
    }

    #[test]
    fn a_tool_mirrors_so_many_arguments_and_no_more() {
        let schema = |count: usize| {
            let property = |n| format!(r#""a{n}":{{"type":"string","x-mcp-header":"A{n}"}}"#);
            let properties: Vec<_> = (0..count).map(property).collect();
            format!(r#"{{"properties":{{{}}}}}"#, properties.join(","))
        };
        assert_eq!(header_params(&schema(MOST)).unwrap().len(), MOST);
        assert_eq!(header_params(&schema(MOST + 1)), Err(AnnotationError::Many));
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(depth(r#"{"a":[1,{"b":"[[[\"[["}],"c":[]}"#), 3);
        assert_eq!(depth("7"), 0);
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(depth(&deep), 500_000);
    }
}
