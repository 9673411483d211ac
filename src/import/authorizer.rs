//! The `customJWTAuthorizer` of an AgentCore gateway or runtime, as `get-gateway` and
//! `get-agent-runtime` print it → `listen.auth.jwt`.
//!
//! A rule that weir cannot say is not left out, because that would let more callers in: a variable
//! stands in its place, and without it the config is not valid.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::report::{ImportFormat, ImportReport, Note, NoteKind, ServerReport};
use super::variables::Variables;
use super::yaml;
use crate::document::node::{MapEntry, Node};

/// The variable with the URL of the endpoint.
const PUBLIC_URL: &str = "WEIR_PUBLIC_URL";
/// The variable that takes the place of a rule that cannot be said.
const UNDECIDED: &str = "WEIR_UNDECIDED";
/// Keys that say how the gateway reaches its own issuer, or what weir has in another place.
const ASIDE: [(&str, NoteKind, &str); 4] = [
    (
        "privateEndpoint",
        NoteKind::LeftOut,
        "how the issuer is reached: weir uses the network that it runs in; `jwks` and `allowed_hosts` help where that is another one",
    ),
    (
        "privateEndpointOverrides",
        NoteKind::LeftOut,
        "how the issuer is reached: weir uses the network that it runs in",
    ),
    (
        "certificateConfigurations",
        NoteKind::LeftOut,
        "weir trusts the certificate authorities of the machine, or those that `SSL_CERT_FILE` names",
    ),
    (
        "allowedWorkloadConfiguration",
        NoteKind::LeftOut,
        "weir does not know AgentCore's workloads: whoever meets the other rules gets in; a policy can ask for a claim of the workload",
    ),
];

/// Finds the authorizer of a file.
pub(super) fn find(root: &Node) -> Option<&Node> {
    let inside = root.get("authorizerConfiguration");
    let outer = inside.map_or(root, |entry| &entry.node);
    let found = outer.get("customJWTAuthorizer").map(|entry| &entry.node);
    found.or_else(|| root.get("discoveryUrl").map(|_| root))
}

/// Turns the authorizer into a config, and says what became of it.
pub(super) fn import(root: &Node, authorizer: &Node) -> (String, ImportReport) {
    let mut writer = AuthorizerWriter::new(authorizer);
    for entry in authorizer.entries().unwrap_or_default() {
        writer.read(entry);
    }
    writer.note_audience();
    let entry = writer.write();
    let notes = match std::ptr::eq(root, authorizer) {
        true => Vec::new(),
        false => notes_beside(root),
    };
    let head = "# yaml-language-server: $schema=./weir.schema.json\n# Made by `weir import`.\n";
    let comment = writer.variables.comment();
    let yaml = format!(
        "{head}{comment}version: 1\nlisten:\n  auth:\n    public_url: \"${{{PUBLIC_URL}}}\"\n{entry}upstreams: {{}}\n"
    );
    let report = ImportReport {
        format: ImportFormat::AgentCoreAuthorizer,
        servers: vec![ServerReport {
            name: "listen.auth.jwt".to_owned(),
            at: authorizer.at,
            carried: writer.carried,
            notes: writer.notes,
        }],
        notes,
        variables: writer.variables.names(),
    };
    (yaml, report)
}

/// Says what becomes of the keys beside the authorizer.
fn notes_beside(root: &Node) -> Vec<Note> {
    let (mut notes, mut others) = (Vec::new(), Vec::new());
    for entry in root.entries().unwrap_or_default() {
        let text = match entry.key.as_str() {
            "authorizerConfiguration" | "authorizerType" | "customJWTAuthorizer" => continue,
            "policyEngineConfiguration" => {
                "export the policies of the engine and name their files in `policy.files`, with `policy.gateway`"
            }
            "interceptorConfigurations" => "weir has no interceptors",
            _ => {
                others.push(entry);
                continue;
            }
        };
        notes.push(Note {
            at: entry.at,
            kind: NoteKind::LeftOut,
            text: format!("`{}`: {text}", entry.key),
        });
    }
    if let Some(first) = others.first() {
        let keys: Vec<_> = others
            .iter()
            .map(|entry| format!("`{}`", entry.key))
            .collect();
        notes.push(Note {
            at: first.at,
            kind: NoteKind::Foreign,
            text: format!("{}: only who may come in is imported", keys.join(", ")),
        });
    }
    notes.sort_by_key(|note| note.at);
    notes
}

/// Writes one entry of `listen.auth.jwt`, and what becomes of each key.
struct AuthorizerWriter<'n> {
    node: &'n Node,
    lines: String,
    advertised: Vec<String>,
    carried: Vec<String>,
    notes: Vec<Note>,
    variables: Variables,
}

impl<'n> AuthorizerWriter<'n> {
    fn new(node: &'n Node) -> Self {
        let mut variables = Variables::default();
        let place = "the URL of the endpoint, as clients know it";
        variables.refer(PUBLIC_URL, place);
        Self {
            node,
            lines: String::new(),
            advertised: Vec::new(),
            carried: Vec::new(),
            notes: Vec::new(),
            variables,
        }
    }

    fn note(&mut self, entry: &MapEntry, kind: NoteKind, text: &str) {
        self.notes.push(Note {
            at: entry.at,
            kind,
            text: format!("`{}`: {text}", entry.key),
        });
    }

    fn read(&mut self, entry: &MapEntry) {
        let list = |key: &str| format!("        {key}: {}\n", texts(&entry.node));
        let line = match entry.key.as_str() {
            "discoveryUrl" => {
                let url = yaml::quoted(&entry.node.scalar().unwrap_or_default());
                format!("        discovery_url: {url}\n")
            }
            "allowedAudience" => list("audiences"),
            "allowedClients" => list("clients"),
            "allowedScopes" => list("scopes"),
            "customClaims" => self.read_claims(entry),
            "advertisedScopeMapping" => self.read_advertised(entry),
            key => {
                let known = ASIDE.iter().find(|(name, ..)| *name == key);
                let (kind, text) = known.map_or(
                    (NoteKind::LeftOut, "weir does not know this key"),
                    |(_, kind, text)| (*kind, *text),
                );
                self.note(entry, kind, text);
                return;
            }
        };
        self.lines.push_str(&line);
        self.carried.push(entry.key.clone());
    }

    /// Says what weir asks for where the authorizer asks for neither audience nor client.
    fn note_audience(&mut self) {
        let has = |key: &str| self.node.get(key).is_some();
        if has("allowedAudience") || has("allowedClients") {
            return;
        }
        self.notes.push(Note {
            at: self.node.at,
            kind: NoteKind::Changed,
            text: format!(
                "no `allowedAudience` and no `allowedClients`: AgentCore accepts tokens for any audience, weir those for {PUBLIC_URL}; write `audiences` for others"
            ),
        });
    }

    fn read_claims(&mut self, entry: &MapEntry) -> String {
        let mut lines = "        claims:\n".to_owned();
        let mut names = HashSet::new();
        let claims = entry.node.items().unwrap_or_default();
        if claims.is_empty() {
            return String::new();
        }
        for claim in claims {
            let name = text_of(claim, "inboundTokenClaimName").unwrap_or_default();
            if !names.insert(name.clone()) {
                // A mapping has each name once; the rule that is there already stays.
                self.undecided(
                    claim,
                    &name,
                    "has a second rule, and weir has one for each claim",
                );
                let _ = writeln!(
                    lines,
                    "          # decide: \"${{{UNDECIDED}}}\" stands for this rule"
                );
                let stand_in = yaml::quoted(&format!("{name} (second rule)"));
                let _ = writeln!(
                    lines,
                    "          {stand_in}: {{ equals: \"${{{UNDECIDED}}}\" }}"
                );
                continue;
            }
            let rule = claim_rule(claim).unwrap_or_else(|| {
                self.undecided(claim, &name, "has an operator that weir does not know");
                format!("{{ equals: \"${{{UNDECIDED}}}\" }}")
            });
            let _ = writeln!(lines, "          {}: {rule}", yaml::quoted(&name));
        }
        lines
    }

    /// Notes a rule that cannot be said.
    fn undecided(&mut self, claim: &Node, name: &str, reason: &str) {
        let name = yaml::comment(name);
        let place = format!("in place of a rule on the claim `{name}`: rewrite it first");
        self.variables.refer(UNDECIDED, &place);
        self.notes.push(Note {
            at: claim.at,
            kind: NoteKind::LeftOut,
            text: format!(
                "the claim `{name}` {reason}; {UNDECIDED} stands in its place, so that nobody is let in by its absence"
            ),
        });
    }

    /// Reads which scopes clients are told in place of those that tokens need.
    fn read_advertised(&mut self, entry: &MapEntry) -> String {
        let shown = entry.node.entries().unwrap_or_default().iter();
        let shown = shown.filter_map(|scope| scope.node.scalar());
        self.advertised = shown.collect();
        self.note(
            entry,
            NoteKind::Changed,
            "they are `metadata.scopes` now; where a token lacks a scope, the challenge names the scope itself",
        );
        String::new()
    }

    fn write(&self) -> String {
        let mut text = String::new();
        if !self.advertised.is_empty() {
            let scopes: Vec<_> = self
                .advertised
                .iter()
                .map(|one| yaml::quoted(one))
                .collect();
            let scopes = scopes.join(", ");
            let _ = writeln!(text, "    metadata: {{ scopes: [{scopes}] }}");
        }
        // The first line of the entry is the item of the list.
        let entry = self.lines.replacen("        ", "      - ", 1);
        let _ = write!(text, "    jwt:\n{entry}");
        text
    }
}

/// Returns the rule of a custom claim in weir's words; `None` for one that weir does not have.
fn claim_rule(claim: &Node) -> Option<String> {
    let wanted = &claim.get("authorizingClaimMatchValue")?.node;
    let value = &wanted.get("claimMatchValue")?.node;
    let kind = text_of(claim, "inboundTokenClaimValueType");
    let is_list = kind.as_deref() == Some("STRING_ARRAY");
    let text = || text_of(value, "matchValueString").map(|text| yaml::quoted(&text));
    let rule = match text_of(wanted, "claimMatchOperator")?.as_str() {
        "EQUALS" if !is_list => format!("equals: {}", text()?),
        "CONTAINS" if is_list => format!("contains: {}", text()?),
        "CONTAINS_ANY" if is_list => {
            let list = &value.get("matchValueStringList")?.node;
            format!("contains_any: {}", texts(list))
        }
        _ => return None,
    };
    Some(format!("{{ {rule} }}"))
}

fn text_of(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.node.scalar()
}

/// Returns the texts of a list, in one line.
fn texts(node: &Node) -> String {
    let items = node.items().unwrap_or_default().iter();
    let items = items.filter_map(Node::scalar);
    let items: Vec<_> = items.map(|text| yaml::quoted(&text)).collect();
    format!("[{}]", items.join(", "))
}
