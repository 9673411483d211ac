//! Policies over a catalog that is made here, and their callers.

use std::fs;
use std::sync::Arc;

use crate::caller::{Caller, Identity, Principal};
use crate::catalog::{Catalog, Kind, Listing, Part, Prepared, Route, instructions};
use crate::config::{self, Config};
use crate::json;
use crate::name::UpstreamIndex;
use crate::policy::{Decision, Policies, PolicyRequest, PolicyRules};
use crate::protocol::era::Era;

/// Policies over a catalog, and what it takes to ask them.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    pub(crate) policies: Policies,
}

/// A tool: upstream, name, properties of its input schema, further members of its definition.
pub(crate) type Tool<'t> = (&'t str, &'t str, &'t str, &'t str);

impl World {
    pub(crate) fn new(cedar: &str, upstreams: &str, tools: &[Tool<'_>]) -> Self {
        Self::with(cedar, "", upstreams, tools)
    }

    /// `settings` is more of the block `policy`.
    pub(crate) fn with(cedar: &str, settings: &str, upstreams: &str, tools: &[Tool<'_>]) -> Self {
        Self::paged(cedar, settings, upstreams, tools, 1000)
    }

    /// The same in pages of this many definitions.
    pub(crate) fn paged(
        cedar: &str,
        settings: &str,
        upstreams: &str,
        tools: &[Tool<'_>],
        page_size: usize,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.cedar"), cedar).unwrap();
        let validation = match settings.contains("validation") {
            true => "",
            false => ", validation: off",
        };
        let text = format!(
            "policy: {{ files: [a.cedar]{settings}{validation} }}\nupstreams: {{ {upstreams} }}\n"
        );
        let file = folder.path().join("weir.yaml");
        let config = config::parse(&text, &file, &|_| None);
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        let mut parts = Vec::new();
        for (index, (id, upstream)) in config.upstreams.iter().enumerate() {
            let mut listing = Listing::of(Era::Modern);
            for (_, name, properties, more) in tools.iter().filter(|tool| tool.0 == id.as_str()) {
                let name = json::quote(name);
                listing.add(Kind::Tools, &format!(
                    "{{\"name\":{name},\"inputSchema\":{{\"type\":\"object\",\"properties\":{{{properties}}}}}{more}}}"
                ));
            }
            for name in ["greet", "bye"] {
                listing.add(Kind::Prompts, &format!("{{\"name\":\"{name}\"}}"));
            }
            let instructions = instructions::define("Read me.").unwrap();
            listing.add(Kind::Instructions, &instructions);
            let uri = format!("file://{id}/a");
            listing.add(
                Kind::Resources,
                &format!("{{\"uri\":\"{uri}\",\"name\":\"a\"}}"),
            );
            let prepared = Prepared::new(upstream.as_ref(), &config.naming, &listing.finish());
            parts.push(Part {
                upstream: id.clone(),
                upstream_index: UpstreamIndex::new(index),
                prepared: Arc::new(prepared),
            });
        }
        let catalog = Catalog::merge(&config.naming, page_size, &parts);
        let rules = PolicyRules::of(&config).unwrap();
        let policies = Policies::new(rules, &config.upstreams, &catalog, config.memory);
        Self {
            config,
            catalog,
            policies,
        }
    }

    pub(crate) fn route(&self, kind: Kind, upstream: &str, original: &str) -> Route {
        let mut routes = self.catalog.routes(kind);
        let found = routes
            .find(|route| route.upstream.as_str() == upstream && **route.original() == *original);
        found.unwrap_or_else(|| panic!("no {original} of {upstream}"))
    }

    pub(crate) fn decide(
        &self,
        caller: &Caller,
        tool: (&str, &str),
        arguments: &str,
    ) -> Arc<Decision> {
        let route = self.route(Kind::Tools, tool.0, tool.1);
        let request = PolicyRequest::of_route(Kind::Tools, &route, Era::Modern, Some(arguments));
        self.policies.decide(caller, &request)
    }

    pub(crate) fn allows(&self, caller: &Caller, tool: (&str, &str), arguments: &str) -> bool {
        self.decide(caller, tool, arguments).is_allowed()
    }

    /// The exposed names that a caller sees.
    pub(crate) fn seen(&self, caller: &Caller, kind: Kind) -> Vec<String> {
        let visible = self.policies.visible(caller, kind, Era::Modern);
        let routes = self.catalog.routes(kind).enumerate();
        let seen = routes.filter(|(place, route)| {
            let sees = self.policies.sees(caller, kind, route, Era::Modern);
            assert_eq!(sees, visible.contains(*place));
            sees
        });
        seen.map(|(_, route)| route.exposed.to_string()).collect()
    }
}

pub(crate) fn user(subject: &str, tags: &[(&str, &str)]) -> Caller {
    caller(Principal::OAuthUser, subject, tags)
}

pub(crate) fn caller(kind: Principal, subject: &str, tags: &[(&str, &str)]) -> Caller {
    let tags = tags
        .iter()
        .map(|(name, text)| ((*name).into(), (*text).into()));
    Caller::new(Identity {
        tags: tags.collect(),
        ..Identity::new(kind, subject)
    })
}

pub(crate) const UPSTREAMS: &str = "erp: { command: erp }, crm: { url: 'https://crm.example/mcp' }";
const REFUND: &str =
    r#""amount":{"type":"integer"},"rate":{"type":"number"},"note":{"type":"string"}"#;
pub(super) const TOOLS: [Tool<'_>; 4] = [
    ("erp", "refund", REFUND, ""),
    (
        "erp",
        "query",
        "",
        r#","annotations":{"readOnlyHint":true}"#,
    ),
    ("crm", "find", "", r#","annotations":{"readOnlyHint":true}"#),
    ("crm", "drop", "", ""),
];
