//! The listing of one upstream: definitions checked one by one, invalid ones set aside.
//!
//! A definition is kept as the text that arrived, and parsed one level deep for what routing needs.
//! One odd definition never costs the others their place.

mod builder;
mod replaced;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::annotations::{self, AnnotationError};
use crate::catalog::digest::Digest;
use crate::catalog::edit::span;
use crate::catalog::origin::Origin;
use crate::catalog::repetition::Repetition;
use crate::catalog::{Kind, PerKind};
use crate::json::{self, Object, ObjectError};
use crate::protocol::bounds::{NAME_BYTES, URI_BYTES};
use crate::protocol::era::Era;
use crate::protocol::headers::HeaderParam;

pub use builder::ListingBuilder;

/// Most bytes in one definition.
pub const DEFINITION_BYTES: usize = 1024 * 1024;
/// Deepest nesting of one definition. Many JSON parsers of callers take less than 128 levels in
/// all, and up to four are around a definition; one level more, and such a caller would lose the
/// whole list.
pub const DEPTH: usize = 120;
/// Most characters of a description's first line that are kept for tables.
const HEAD: usize = 120;

/// A definition that may be exposed: its text and what routing needs of it.
#[derive(Clone, Debug)]
pub struct Definition {
    raw: Arc<str>,
    key: Arc<str>,
    pub(crate) facts: Facts,
}

/// Facts about a definition, read once when it was checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Where in the text the value of the key stands.
    pub(crate) key_at: Range<usize>,
    /// The weirs it came through.
    pub(crate) origin: Origin,
    /// Arguments that are mirrored into headers.
    pub(crate) header_params: Arc<[HeaderParam]>,
    /// Whether it may run twice.
    pub(crate) repetition: Repetition,
    /// It has an `execution` member (legacy only).
    pub(crate) execution: bool,
    /// It can be called only as a task (legacy only).
    pub(crate) task_required: bool,
    /// It has an `outputSchema` that is not of an object (modern only).
    pub(crate) free_output: bool,
    /// The resource it is shown with (MCP Apps).
    pub(crate) ui: Option<UiUri>,
}

/// The URI of the resource that a tool is shown with: `_meta.ui.resourceUri`, or the flat
/// `_meta["ui/resourceUri"]` that MCP Apps had before, and that servers still write beside it.
#[derive(Clone, Debug)]
pub(crate) struct UiUri {
    pub(crate) uri: Arc<str>,
    /// Where the value stands: nested, flat.
    pub(crate) at: [Option<Range<usize>>; 2],
}

impl Definition {
    /// The definition as JSON text: as listed, but for line breaks between tokens, which are spaces
    /// here so that a definition fits on one line of stdio and of SSE.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Returns the same text, shared.
    pub(crate) const fn shared(&self) -> &Arc<str> {
        &self.raw
    }

    /// Returns the key by which the upstream knows it: name, URI or URI template, unescaped.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The arguments that are mirrored into headers.
    #[must_use]
    pub fn header_params(&self) -> &[HeaderParam] {
        &self.facts.header_params
    }
}

/// A definition that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDefinition {
    /// The kind it was listed as.
    pub kind: Kind,
    /// Its name, URI or template, if it could be read; cut to 64 characters.
    pub name: Option<String>,
    /// Why it is invalid.
    pub reason: InvalidReason,
}

impl fmt::Display for InvalidDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} `{name}`: {}", self.kind, self.reason),
            None => write!(f, "a {} without a name: {}", self.kind, self.reason),
        }
    }
}

/// Why a definition is set aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReason {
    /// Not JSON.
    #[error("it is not JSON")]
    Syntax,
    /// Not an object.
    #[error("it is not an object")]
    NotObject,
    /// A key twice: two readers may read it differently.
    #[error("it has the key `{0}` twice")]
    Duplicate(String),
    /// The member it is known by is not there.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// The member it is known by is not a string.
    #[error("its `{0}` is not a string")]
    NotText(&'static str),
    /// The member it is known by is empty.
    #[error("its `{0}` is empty")]
    Empty(&'static str),
    /// The member it is known by is absurdly long.
    #[error("its `{member}` has {bytes} bytes, more than {most}")]
    Long {
        /// Which member.
        member: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// A tool must have an input schema (`server/tools.mdx`).
    #[error("it has no `inputSchema`")]
    NoInputSchema,
    /// An input schema is an object with unique keys.
    #[error("its `inputSchema` is not an object with unique keys")]
    InputSchema,
    /// Arguments are an object, so their schema is of type `object`.
    #[error("its `inputSchema` is not of type \"object\"")]
    InputType,
    /// Larger than [`DEFINITION_BYTES`].
    #[error("it has {0} bytes, more than {DEFINITION_BYTES}")]
    Large(usize),
    /// Nested deeper than [`DEPTH`].
    #[error("it nests deeper than {DEPTH}")]
    Deep,
    /// An `x-mcp-header` that breaks the rules.
    #[error(transparent)]
    Header(#[from] AnnotationError),
    /// Listed twice by the same upstream; the first one counts.
    #[error("it is listed twice")]
    Repeated,
}

/// Checks one definition: JSON text of one item of a list result.
///
/// # Errors
/// A [`InvalidDefinition`] that says why it cannot be exposed, with its name where it has one.
pub fn check_definition(kind: Kind, raw: &str) -> Result<Definition, InvalidDefinition> {
    check_line(kind, &one_line(raw))
}

/// The same of a text that [`one_line`] gave.
fn check_line(kind: Kind, raw: &str) -> Result<Definition, InvalidDefinition> {
    let nameless = |reason| InvalidDefinition {
        kind,
        name: None,
        reason,
    };
    if raw.len() > DEFINITION_BYTES {
        return Err(nameless(InvalidReason::Large(raw.len())));
    }
    let raw: Arc<str> = raw.into();
    let object = Object::parse(&raw).map_err(|error| {
        nameless(match error {
            ObjectError::Syntax(_) => InvalidReason::Syntax,
            ObjectError::NotObject => InvalidReason::NotObject,
            ObjectError::Duplicate(key) => InvalidReason::Duplicate(key),
        })
    })?;
    let key = key(kind, &object).map_err(nameless)?;
    let facts = facts(kind, &raw, &object).map_err(|reason| InvalidDefinition {
        kind,
        name: Some(key.chars().take(64).collect()),
        reason,
    })?;
    let key = key.into();
    drop(object);
    Ok(Definition { raw, key, facts })
}

/// A definition's text as it is kept: inside strings JSON has no raw line breaks, so these stand
/// between tokens.
fn one_line(raw: &str) -> Cow<'_, str> {
    let raw = raw.trim_matches([' ', '\t', '\r', '\n']);
    let bytes = raw.as_bytes();
    match bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        true => raw.replace(['\n', '\r'], " ").into(),
        false => raw.into(),
    }
}

/// Reads the key of a definition.
fn key(kind: Kind, object: &Object<'_>) -> Result<String, InvalidReason> {
    let member = kind.key();
    let text = object.get(member).ok_or(InvalidReason::Missing(member))?;
    let key = json::string(text).ok_or(InvalidReason::NotText(member))?;
    let most = match kind {
        Kind::Tools | Kind::Prompts | Kind::Instructions => NAME_BYTES,
        Kind::Resources | Kind::Templates => URI_BYTES,
    };
    match key.len() {
        0 => Err(InvalidReason::Empty(member)),
        bytes if bytes > most => Err(InvalidReason::Long {
            member,
            bytes,
            most,
        }),
        _ => Ok(key.into_owned()),
    }
}

fn facts(kind: Kind, raw: &str, object: &Object<'_>) -> Result<Facts, InvalidReason> {
    if annotations::depth(raw) > DEPTH {
        return Err(InvalidReason::Deep);
    }
    let key_at = object.borrowed(kind.key()).map(|text| span(raw, text));
    let facts = Facts {
        key_at: key_at.unwrap_or_default(),
        origin: Origin::read(raw, object),
        ..Facts::default()
    };
    if kind == Kind::Tools {
        tool_facts(raw, object, facts)
    } else {
        Ok(facts)
    }
}

fn tool_facts(raw: &str, object: &Object<'_>, facts: Facts) -> Result<Facts, InvalidReason> {
    let schema = object
        .get("inputSchema")
        .ok_or(InvalidReason::NoInputSchema)?;
    let input = Object::parse(schema).map_err(|_| InvalidReason::InputSchema)?;
    if input
        .get("type")
        .is_some_and(|kind| json::string(kind).as_deref() != Some("object"))
    {
        return Err(InvalidReason::InputType);
    }
    let execution = object.get("execution");
    let task = execution
        .and_then(|text| Object::parse(text).ok())
        .and_then(|execution| execution.string("taskSupport").map(|s| s == "required"));
    Ok(Facts {
        header_params: match annotations::header_params(schema)? {
            // Shared by all that have none.
            none if none.is_empty() => Arc::default(),
            some => some.into(),
        },
        repetition: object
            .get("annotations")
            .map(Repetition::read)
            .unwrap_or_default(),
        execution: execution.is_some(),
        task_required: task.unwrap_or_default(),
        free_output: object.get("outputSchema").is_some_and(is_free),
        ui: ui(raw, object),
        ..facts
    })
}

/// Whether an output schema is one that only modern callers know: not of type `object`.
fn is_free(schema: &str) -> bool {
    let of_object = |schema: &Object<'_>| schema.string("type").as_deref() == Some("object");
    !Object::parse(schema).is_ok_and(|schema| of_object(&schema))
}

/// The resource a tool is shown with, and where in the text its URI stands.
pub(crate) fn ui(raw: &str, object: &Object<'_>) -> Option<UiUri> {
    let meta = object
        .borrowed("_meta")
        .filter(|meta| meta.contains("resourceUri"))?;
    let meta = Object::parse(meta).ok()?;
    let nested = meta.borrowed("ui").and_then(|ui| Object::parse(ui).ok());
    let nested = nested.and_then(|ui| ui.borrowed("resourceUri"));
    let texts = [nested, meta.borrowed("ui/resourceUri")];
    let fits = |uri: &Cow<'_, str>| !uri.is_empty() && uri.len() <= URI_BYTES;
    let uri = texts
        .into_iter()
        .flatten()
        .filter_map(json::string)
        .find(fits)?;
    // Where the two differ, the flat one leads elsewhere and stays.
    let at = texts.map(|text| {
        let is_same = |text: &&str| json::string(text).is_some_and(|found| found == uri);
        text.filter(is_same).map(|text| span(raw, text))
    });
    Some(UiUri {
        uri: uri.as_ref().into(),
        at,
    })
}

/// The first line of a definition's description, cut for tables.
pub(crate) fn head(definition: &str) -> String {
    let text = Object::parse(definition).ok();
    let text = text
        .as_ref()
        .and_then(|object| object.string("description"));
    let text = text.unwrap_or_default();
    let line = text.trim_start().lines().next().unwrap_or_default();
    let line: String = line.chars().take(HEAD).collect();
    line.trim_end().to_owned()
}

/// All that one upstream listed, in its order.
#[derive(Clone, Debug)]
pub struct Listing {
    era: Era,
    ttl: Option<Duration>,
    definitions: PerKind<Arc<[Definition]>>,
    /// The kinds whose list did not come.
    unlisted: PerKind<bool>,
    quarantined: Vec<InvalidDefinition>,
    digests: PerKind<Digest>,
    digest: Digest,
}

impl Listing {
    /// The era the upstream speaks.
    #[must_use]
    pub const fn era(&self) -> Era {
        self.era
    }

    /// How long the upstream said this is fresh: the least of all its pages.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Returns the bytes of all definitions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let all = Kind::ALL.into_iter();
        let all = all.flat_map(|kind| self.definitions(kind));
        all.map(|definition| definition.raw.len()).sum()
    }

    /// Returns the valid definitions of a kind, in the order of the upstream.
    #[must_use]
    pub fn definitions(&self, kind: Kind) -> &[Definition] {
        self.definitions.get(kind)
    }

    /// Returns whether the list of a kind came. Where it did not, the definitions of the kind are
    /// those of an earlier listing, or none.
    #[must_use]
    pub const fn is_listed(&self, kind: Kind) -> bool {
        !*self.unlisted.get(kind)
    }

    /// Returns the invalid definitions, in the order they came.
    #[must_use]
    pub fn invalid(&self) -> &[InvalidDefinition] {
        &self.quarantined
    }

    /// Whether there is no good definition of any kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Kind::ALL
            .into_iter()
            .all(|kind| self.definitions(kind).is_empty())
    }

    /// Digest of the good definitions of a kind and their order.
    #[must_use]
    pub const fn digest_of(&self, kind: Kind) -> Digest {
        *self.digests.get(kind)
    }

    /// Digest of the good definitions, their order, and the era. Not of the time to live.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(kind: Kind, raw: &str) -> InvalidReason {
        check_definition(kind, raw).expect_err(raw).reason
    }

    #[test]
    fn a_good_definition_keeps_its_text() {
        let raw = "\n { \"x\":1e400, \"name\" :\"a\\u0062\",\r\n\t\"inputSchema\":{} , \"description\":\"\\n One\\nTwo\"}\n";
        let definition = check_definition(Kind::Tools, raw).unwrap();
        assert_eq!(
            definition.raw(),
            "{ \"x\":1e400, \"name\" :\"a\\u0062\",  \t\"inputSchema\":{} , \"description\":\"\\n One\\nTwo\"}"
        );
        assert_eq!(&**definition.key(), "ab");
        assert_eq!(
            &definition.raw()[definition.facts.key_at.clone()],
            "\"a\\u0062\""
        );
        assert_eq!(head(definition.raw()), "One");
    }

    #[test]
    fn a_bad_definition_says_why() {
        use Kind::{Prompts, Resources, Templates, Tools};
        let long = |bytes| "x".repeat(bytes);
        let cases = [
            (Tools, "{".to_owned(), InvalidReason::Syntax),
            (Tools, "[]".to_owned(), InvalidReason::NotObject),
            (Prompts, r#"{"name":"a","n\u0061me":"b"}"#.to_owned(), InvalidReason::Duplicate("name".into())),
            (Prompts, "{}".to_owned(), InvalidReason::Missing("name")),
            (Resources, r#"{"name":"a"}"#.to_owned(), InvalidReason::Missing("uri")),
            (Templates, r#"{"uri":"a:"}"#.to_owned(), InvalidReason::Missing("uriTemplate")),
            (Prompts, r#"{"name":7}"#.to_owned(), InvalidReason::NotText("name")),
            (Prompts, r#"{"name":"\ud800"}"#.to_owned(), InvalidReason::NotText("name")),
            (Prompts, r#"{"name":""}"#.to_owned(), InvalidReason::Empty("name")),
            (
                Prompts,
                format!(r#"{{"name":"{}"}}"#, long(1025)),
                InvalidReason::Long { member: "name", bytes: 1025, most: 1024 },
            ),
            (
                Resources,
                format!(r#"{{"uri":"{}"}}"#, long(8193)),
                InvalidReason::Long { member: "uri", bytes: 8193, most: 8192 },
            ),
            (Tools, r#"{"name":"a"}"#.to_owned(), InvalidReason::NoInputSchema),
            (Tools, r#"{"name":"a","inputSchema":true}"#.to_owned(), InvalidReason::InputSchema),
            (Tools, r#"{"name":"a","inputSchema":{"a":1,"a":2}}"#.to_owned(), InvalidReason::InputSchema),
            (Tools, r#"{"name":"a","inputSchema":{"type":"string"}}"#.to_owned(), InvalidReason::InputType),
            (Tools, r#"{"name":"a","inputSchema":{"type":["object"]}}"#.to_owned(), InvalidReason::InputType),
            (
                Prompts,
                format!(r#"{{"name":"a","x":{}{}}}"#, "[".repeat(DEPTH), "]".repeat(DEPTH)),
                InvalidReason::Deep,
            ),
            (
                Tools,
                r#"{"name":"a","inputSchema":{"properties":{"p":{"type":"number","x-mcp-header":"P"}}}}"#.to_owned(),
                InvalidReason::Header(AnnotationError::Type("p".into())),
            ),
        ];
        for (kind, raw, expected) in cases {
            assert_eq!(reason(kind, &raw), expected, "{raw}");
        }
        let large = format!(r#"{{"name":"a","x":"{}"}}"#, long(DEFINITION_BYTES));
        assert!(matches!(reason(Prompts, &large), InvalidReason::Large(_)));
    }

    #[test]
    fn what_is_just_within_the_limits_passes() {
        let deep = format!(
            r#"{{"name":"{}","x":{}{}}}"#,
            "n".repeat(1024),
            "[".repeat(DEPTH - 1),
            "]".repeat(DEPTH - 1)
        );
        assert!(check_definition(Kind::Prompts, &deep).is_ok());
        let batch = format!(r#"[{{"result":{{"prompts":[{deep}]}}}}]"#);
        assert!(serde_json::from_str::<serde_json::Value>(&batch).is_ok());
        assert!(
            check_definition(
                Kind::Tools,
                r#"{"name":"a","inputSchema":{"type":"object"}}"#
            )
            .is_ok()
        );
    }

    #[test]
    fn a_digest_tells_listings_apart_by_content_order_and_era() {
        let listing = |era, names: &[&str]| {
            let mut listing = Listing::of(era);
            for name in names {
                listing.add(Kind::Prompts, &format!(r#"{{"name":"{name}"}}"#));
            }
            listing.finish()
        };
        let base = listing(Era::Legacy, &["a", "b"]);
        assert_eq!(
            base.digest(),
            listing(Era::Legacy, &["a", "b", "a"]).digest()
        );
        for other in [
            listing(Era::Modern, &["a", "b"]),
            listing(Era::Legacy, &["b", "a"]),
            listing(Era::Legacy, &["a"]),
        ] {
            assert_ne!(base.digest(), other.digest());
        }
        assert_eq!(
            base.digest_of(Kind::Prompts),
            listing(Era::Modern, &["a", "b"]).digest_of(Kind::Prompts)
        );
        assert_ne!(base.digest_of(Kind::Tools), base.digest_of(Kind::Prompts));
    }

    #[test]
    fn facts_of_a_tool_are_read_once() {
        let raw = r#"{"name":"a","inputSchema":{},"execution":{"taskSupport":"required"},"outputSchema":{"type":"array"},"_meta":{"ui":{"resourceUri":"ui:\/\/x"}}}"#;
        let definition = check_definition(Kind::Tools, raw).unwrap();
        let facts = &definition.facts;
        assert!(facts.execution && facts.task_required && facts.free_output);
        let ui = facts.ui.clone().unwrap();
        assert_eq!(&*ui.uri, "ui://x");
        let [Some(at), None] = ui.at else {
            panic!("{ui:?}");
        };
        assert_eq!(&raw[at], r#""ui:\/\/x""#);
        let plain = check_definition(Kind::Tools, r#"{"name":"a","inputSchema":{},"execution":{"taskSupport":"optional"},"outputSchema":{"type":"object"}}"#).unwrap();
        assert!(plain.facts.execution && !plain.facts.task_required && !plain.facts.free_output);
    }
}
