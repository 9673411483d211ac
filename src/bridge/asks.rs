//! The questions of servers to clients during a call (elicitation, sampling, roots), and the clients
//! that can be asked.

use crate::json::Object;
use crate::protocol::era::Version;
use crate::protocol::{meta, method};

/// The kinds of asks, by the capability that a client needs for them (2026-07-28
/// `client/elicitation.mdx`, `client/sampling.mdx`, `client/roots.mdx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// A form that a person fills in.
    Form,
    /// A URL that a person visits.
    Url,
    /// A message of the client's model.
    Sampling,
    /// The same with tools for the model.
    SamplingWithTools,
    /// The client's roots.
    Roots,
}

impl AskKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Form,
        Self::Url,
        Self::Sampling,
        Self::SamplingWithTools,
        Self::Roots,
    ];

    /// Returns the kind of a request of a server; `None` for one that no client knows.
    #[must_use]
    pub fn of(asked_method: &str, params: &Object<'_>) -> Option<Self> {
        let has = |key| params.has_value(key);
        match asked_method {
            method::ELICIT => match params.string("mode").as_deref() {
                None | Some("form") => Some(Self::Form),
                Some("url") => Some(Self::Url),
                Some(_) => None,
            },
            method::SAMPLE if has("tools") || has("toolChoice") => Some(Self::SamplingWithTools),
            method::SAMPLE => Some(Self::Sampling),
            method::ROOTS_LIST => Some(Self::Roots),
            _ => None,
        }
    }

    /// Returns the method of such a request.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Form | Self::Url => method::ELICIT,
            Self::Sampling | Self::SamplingWithTools => method::SAMPLE,
            Self::Roots => method::ROOTS_LIST,
        }
    }

    /// Returns the path of the capability that it needs.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Form => "elicitation",
            Self::Url => "elicitation.url",
            Self::Sampling => "sampling",
            Self::SamplingWithTools => "sampling.tools",
            Self::Roots => "roots",
        }
    }
}

/// The questions that a client says it can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskableClient {
    form: bool,
    url: bool,
    sampling: bool,
    tools: bool,
    roots: bool,
}

impl AskableClient {
    /// Reads a client's capabilities, as far as its version has them.
    #[must_use]
    pub fn read(version: Version, capabilities: &str) -> Self {
        let Ok(all) = Object::parse(capabilities) else {
            return Self::default();
        };
        let inside = |key: &str| {
            all.value(key)
                .map(|text| Object::parse(text).unwrap_or_default())
        };
        let elicitation = inside("elicitation").filter(|_| version >= Version::V2025_06_18);
        let sampling = inside("sampling");
        let knows_modes = version >= Version::V2025_11_25;
        let has =
            |of: &Option<Object<'_>>, key: &str| of.as_ref().is_some_and(|of| of.has_value(key));
        let url = knows_modes && has(&elicitation, "url");
        // Without a mode it is forms (2025-11-25 `client/elicitation.mdx#capabilities`).
        let form = elicitation.is_some() && (!url || has(&elicitation, "form"));
        Self {
            form,
            url,
            sampling: sampling.is_some(),
            tools: knows_modes && has(&sampling, "tools"),
            roots: all.has_value("roots"),
        }
    }

    /// Returns whether it can be asked for this.
    #[must_use]
    pub const fn takes(self, kind: AskKind) -> bool {
        match kind {
            AskKind::Form => self.form,
            AskKind::Url => self.url,
            AskKind::Sampling => self.sampling,
            AskKind::SamplingWithTools => self.tools,
            AskKind::Roots => self.roots,
        }
    }

    /// Returns whether it can be asked for anything.
    #[must_use]
    pub const fn takes_any(self) -> bool {
        self.form || self.url || self.sampling || self.roots
    }
}

/// Returns the capabilities of a legacy client as a modern upstream is told: as they are, but for
/// tasks, for changes of roots, of which the modern era has no notification, and for what the
/// client's version did not have yet.
#[must_use]
pub fn declared(version: Version, capabilities: &str) -> String {
    let mut all = Object::parse(capabilities).unwrap_or_default();
    all.remove("tasks");
    if all.contains("roots") {
        all.set("roots", "{}");
    }
    if version < Version::V2025_11_25 {
        for key in ["elicitation", "sampling"] {
            if all.contains(key) {
                all.set(key, "{}");
            }
        }
    }
    if version < Version::V2025_06_18 {
        all.remove("elicitation");
    }
    let extensions = all
        .get("extensions")
        .and_then(|text| Object::parse(text).ok());
    let extensions = extensions.filter(|extensions| extensions.contains(meta::TASKS));
    if let Some(mut extensions) = extensions {
        extensions.remove(meta::TASKS);
        let left = extensions.to_text();
        all.set("extensions", left);
    }
    all.to_text()
}

/// Returns the capabilities of a modern client as a legacy upstream of this version is told: as
/// [`declared`], and forms only to a version that knows nothing else.
#[must_use]
pub fn declared_to_legacy(version: Version, capabilities: &str) -> String {
    let text = declared(version, capabilities);
    let client = AskableClient::read(Version::MODERN, capabilities);
    if version >= Version::V2025_11_25 || client.takes(AskKind::Form) {
        return text;
    }
    let mut all = Object::parse(&text).unwrap_or_default();
    all.remove("elicitation");
    all.to_text()
}

/// Returns the members of an ask that a client of this version gets: an ask within a result has no
/// metadata of a request, and no id of its own (2026-07-28 `basic/patterns/mrtr.mdx`).
pub(super) fn strip(params: &mut Object<'_>) {
    params.retain(|key| !["_meta", "elicitationId", "task"].contains(&key));
}

/// Returns whether an answer of a client accepts what it was asked.
pub(super) fn is_accepted(answer: &Object<'_>) -> bool {
    answer.string("action").as_deref() == Some("accept")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(asked: &str, params: &str) -> Option<AskKind> {
        AskKind::of(asked, &Object::parse(params).unwrap())
    }

    #[test]
    fn an_ask_has_the_kind_of_the_capability_that_it_needs() {
        for (asked, params, expected) in [
            (
                "elicitation/create",
                r#"{"message":"?"}"#,
                Some(AskKind::Form),
            ),
            (
                "elicitation/create",
                r#"{"mode":"form"}"#,
                Some(AskKind::Form),
            ),
            (
                "elicitation/create",
                r#"{"mode":"url"}"#,
                Some(AskKind::Url),
            ),
            ("elicitation/create", r#"{"mode":"voice"}"#, None),
            ("sampling/createMessage", "{}", Some(AskKind::Sampling)),
            (
                "sampling/createMessage",
                r#"{"tools":null}"#,
                Some(AskKind::Sampling),
            ),
            (
                "sampling/createMessage",
                r#"{"tools":[]}"#,
                Some(AskKind::SamplingWithTools),
            ),
            (
                "sampling/createMessage",
                r#"{"toolChoice":{}}"#,
                Some(AskKind::SamplingWithTools),
            ),
            ("roots/list", "{}", Some(AskKind::Roots)),
            ("tools/call", "{}", None),
        ] {
            assert_eq!(kind(asked, params), expected, "{asked} {params}");
        }
    }

    #[test]
    fn a_client_is_asked_for_what_it_declares_and_its_version_has() {
        use AskKind::{Form, Roots, Sampling, SamplingWithTools, Url};
        let (newest, older, oldest) = (
            Version::V2025_11_25,
            Version::V2025_06_18,
            Version::V2025_03_26,
        );
        let all = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}"#;
        for (version, capabilities, expected) in [
            (newest, "{}", vec![]),
            (newest, r#"{"elicitation":{}}"#, vec![Form]),
            (newest, r#"{"elicitation":{"url":{}}}"#, vec![Url]),
            (
                newest,
                r#"{"elicitation":{"form":{"applyDefaults":true}}}"#,
                vec![Form],
            ),
            (
                newest,
                all,
                vec![Form, Url, Sampling, SamplingWithTools, Roots],
            ),
            (
                Version::MODERN,
                all,
                vec![Form, Url, Sampling, SamplingWithTools, Roots],
            ),
            (older, all, vec![Form, Sampling, Roots]),
            (oldest, all, vec![Sampling, Roots]),
            (newest, "[]", vec![]),
        ] {
            let client = AskableClient::read(version, capabilities);
            let kinds = [Form, Url, Sampling, SamplingWithTools, Roots];
            let takes: Vec<_> = kinds
                .into_iter()
                .filter(|kind| client.takes(*kind))
                .collect();
            assert_eq!(takes, expected, "{version} {capabilities}");
            assert_eq!(client.takes_any(), !expected.is_empty());
        }
    }

    #[test]
    fn capabilities_cross_but_for_what_the_other_era_does_not_have() {
        let all = r#"{"roots":{"listChanged":true},"elicitation":{"form":{"x":1e400},"url":{}},"sampling":{"tools":{}},"tasks":{},"experimental":{"a":1},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{"m":[ ]}}}"#;
        for (version, expected) in [
            (
                Version::V2025_11_25,
                r#"{"roots":{},"elicitation":{"form":{"x":1e400},"url":{}},"sampling":{"tools":{}},"experimental":{"a":1},"extensions":{"io.modelcontextprotocol/ui":{"m":[ ]}}}"#,
            ),
            (
                Version::V2025_06_18,
                r#"{"roots":{},"elicitation":{},"sampling":{},"experimental":{"a":1},"extensions":{"io.modelcontextprotocol/ui":{"m":[ ]}}}"#,
            ),
            (
                Version::V2025_03_26,
                r#"{"roots":{},"sampling":{},"experimental":{"a":1},"extensions":{"io.modelcontextprotocol/ui":{"m":[ ]}}}"#,
            ),
        ] {
            assert_eq!(declared(version, all), expected, "{version}");
        }
        assert_eq!(declared(Version::V2025_11_25, "{}"), "{}");
    }

    #[test]
    fn an_older_upstream_is_told_of_elicitation_only_where_it_is_of_forms() {
        for (version, capabilities, expected) in [
            (
                Version::V2025_11_25,
                r#"{"elicitation":{"url":{}},"roots":{"listChanged":true}}"#,
                r#"{"elicitation":{"url":{}},"roots":{}}"#,
            ),
            (
                Version::V2025_06_18,
                r#"{"elicitation":{"url":{}},"sampling":{"tools":{}}}"#,
                r#"{"sampling":{}}"#,
            ),
            (
                Version::V2025_06_18,
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{}}"#,
            ),
            (
                Version::V2025_06_18,
                r#"{"elicitation":{"form":{"x":1},"url":{}}}"#,
                r#"{"elicitation":{}}"#,
            ),
        ] {
            assert_eq!(declared_to_legacy(version, capabilities), expected);
        }
    }
}
