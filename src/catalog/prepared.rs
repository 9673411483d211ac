//! One upstream's listing under its config: exposed names, rules, bytes rendered once.
//!
//! Everything that depends on one upstream alone is done here, when that upstream changes, so that
//! a merge has only to join.

mod assign;

use std::sync::{Arc, OnceLock};

use assign::{LocalConflict, assign_names};
use foldhash::HashMap;

use crate::catalog::arguments::ArgumentRules;
use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::drift::DriftReport;
use crate::catalog::inline::{RenderedSchema, SchemaInliner};
use crate::catalog::listing::{Definition, Listing};
use crate::catalog::origin::DroppedCounts;
use crate::catalog::page::Rendered;
use crate::catalog::rules::{ExcludedTool, Rules, exclude, repetition, warn_of_unused};
use crate::catalog::search_texts::SearchTexts;
use crate::catalog::template::Templates;
use crate::catalog::{Kind, PerEra, PerKind, Repetition, instructions, render};
use crate::config::{CallTimeout, ToolOverride, ValidateSettings};
use crate::json;
use crate::name::{Namespace, Naming, UpstreamId};
use crate::protocol::era::Era;
use crate::protocol::headers::HeaderParam;

/// One upstream's part of a catalog, ready to be merged.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) upstream: UpstreamId,
    pub(crate) namespace: Namespace,
    pub(crate) kinds: PerKind<PreparedKind>,
    /// The resource templates, each in the place of its item.
    pub(crate) templates: Templates,
    /// The tools that are shown with a resource.
    pub(crate) ui: Box<[UiTool]>,
    instructions: Option<Box<str>>,
    warnings: Vec<String>,
    excluded: Vec<ExcludedTool>,
    dropped: DroppedCounts,
    left_out: Vec<DroppedDefinition>,
    drift: DriftReport,
    digest: Digest,
}

/// A definition that is left out because of the weirs it came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedDefinition {
    /// The kind.
    pub kind: Kind,
    /// The original name.
    pub original: Arc<str>,
    /// Whether it came from this weir; else it came through too many.
    pub own: bool,
}

/// The definitions of one kind.
#[derive(Debug, Default)]
pub(crate) struct PreparedKind {
    pub(crate) items: Box<[Item]>,
    /// Shared where both eras see the same.
    pub(crate) rendered: PerEra<Arc<Rendered>>,
    pub(crate) clashes: Vec<LocalConflict>,
    /// Digest of what callers see; `None` without items.
    pub(crate) seen: Option<Digest>,
    /// Empty until somebody looks for a text.
    texts: OnceLock<SearchTexts>,
}

/// A definition's place in the catalog: the name it wants, and where that leads.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) exposed: Arc<str>,
    pub(crate) target: Arc<RouteTarget>,
}

/// Where an exposed name leads within its upstream.
#[derive(Debug)]
pub(crate) struct RouteTarget {
    pub(crate) original: Arc<str>,
    pub(crate) original_json: Box<str>,
    pub(crate) header_params: Arc<[HeaderParam]>,
    pub(crate) repetition: Repetition,
    /// It can be called only as a task of 2025-11-25.
    pub(crate) requires_task: bool,
    pub(crate) timeout: Option<CallTimeout>,
    pub(crate) arguments: Option<Box<ArgumentRules>>,
    /// The checks of calls; `None` if there are none.
    pub(crate) validate: Option<Box<ValidateSettings>>,
    /// The definition as it was listed.
    pub(crate) definition: Arc<str>,
    pub(crate) listed: PerEra<bool>,
}

/// A tool that is shown with a resource of its upstream.
#[derive(Debug)]
pub(crate) struct UiTool {
    pub(crate) tool: u32,
    pub(crate) uri: Arc<str>,
    /// The resource, if the upstream lists it.
    pub(crate) listed: Option<u32>,
}

impl Prepared {
    /// Prepares a listing under the config of its upstream.
    #[must_use]
    pub fn new<'a>(config: impl Into<Rules<'a>>, naming: &Naming, listing: &Listing) -> Self {
        let rules = config.into();
        let (mut excluded, mut dropped) = (Vec::new(), DroppedCounts::default());
        let mut inliner = SchemaInliner::new(rules.inline_schemas);
        let mut left_out = Vec::new();
        let kinds = PerKind::from_fn(|kind| {
            if kind == Kind::Instructions {
                return PreparedKind::default();
            }
            let definitions: Vec<&Definition> = listing
                .definitions(kind)
                .iter()
                .filter(|definition| {
                    let (origin, before) = (&definition.facts.origin, dropped.own);
                    let own = rules.instance;
                    let out = own.is_some_and(|own| origin.is_dropped(own, &mut dropped));
                    if out {
                        left_out.push(DroppedDefinition {
                            kind,
                            original: definition.key().clone(),
                            own: dropped.own > before,
                        });
                    }
                    !out
                })
                .filter(|definition| match exclude(&rules, kind, definition) {
                    Some(reason) => {
                        excluded.push(reason);
                        false
                    }
                    None => true,
                })
                .collect();
            let schemas = inliner.of_kind(kind, &definitions);
            PreparedKind::new(
                &rules,
                naming,
                (listing.era(), kind),
                &definitions,
                &schemas,
            )
        });
        let resources = &kinds.get(Kind::Resources).items;
        let instructions = instructions::choose(rules.instructions, listing);
        let warnings = warn_of_unused(rules.tools, listing, &excluded).into_iter();
        Self {
            upstream: rules.upstream.clone(),
            namespace: rules.namespace.clone(),
            templates: parse_templates(&kinds),
            ui: find_ui_tools(&kinds.get(Kind::Tools).items, resources, listing),
            warnings: warnings.chain(inliner.into_warnings()).collect(),
            digest: digest_of(&rules, &kinds, instructions.as_deref()),
            instructions,
            excluded,
            dropped,
            left_out,
            drift: DriftReport::default(),
            kinds,
        }
    }

    /// The upstream.
    #[must_use]
    pub const fn upstream(&self) -> &UpstreamId {
        &self.upstream
    }

    /// How many definitions of a kind are exposed.
    #[must_use]
    pub fn len(&self, kind: Kind) -> usize {
        self.kinds.get(kind).items.len()
    }

    /// Whether nothing is exposed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.len(kind) == 0)
    }

    /// Whether nothing is exposed, and nothing held back.
    #[must_use]
    pub fn has_nothing(&self) -> bool {
        self.is_empty() && self.drift.is_empty()
    }

    /// Returns the instructions of the upstream, or those that the config gives it.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// Returns warnings for the operator: rules of the config for tools or arguments that do not
    /// exist.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The tools that the config keeps out of the catalog.
    #[must_use]
    pub fn excluded(&self) -> &[ExcludedTool] {
        &self.excluded
    }

    /// How many definitions are left out because of the weirs they came through.
    #[must_use]
    pub const fn dropped(&self) -> DroppedCounts {
        self.dropped
    }

    /// Those definitions.
    #[must_use]
    pub fn left_out(&self) -> &[DroppedDefinition] {
        &self.left_out
    }

    /// Adds what the drift filter found. It is not in the digest, since callers do not see it.
    #[must_use]
    pub fn drifting(self, drift: DriftReport) -> Self {
        Self { drift, ..self }
    }

    /// Returns what the drift filter found.
    #[must_use]
    pub const fn drift(&self) -> &DriftReport {
        &self.drift
    }

    /// Iterates over the definitions of a kind that are exposed: original names, and the exposed
    /// names they want.
    pub fn wanted(&self, kind: Kind) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let items = self.kinds.get(kind).items.iter();
        items.map(|item| (&item.target.original, &item.exposed))
    }

    /// Digest of what callers see and of where it leads.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl PreparedKind {
    fn new(
        rules: &Rules<'_>,
        naming: &Naming,
        (era, kind): (Era, Kind),
        definitions: &[&Definition],
        schemas: &[Vec<RenderedSchema>],
    ) -> Self {
        let change = |definition: &Definition| match kind {
            Kind::Tools => rules.tools.overrides.get(&**definition.key()),
            Kind::Prompts | Kind::Resources | Kind::Templates | Kind::Instructions => None,
        };
        let (names, clashes) = match kind {
            Kind::Tools => assign_names(rules, naming, definitions, rules.kept(), &change),
            Kind::Prompts => assign_names(rules, naming, definitions, None, &change),
            Kind::Resources | Kind::Templates | Kind::Instructions => {
                let keys = definitions
                    .iter()
                    .map(|definition| definition.key().clone());
                (keys.collect(), Vec::new())
            }
        };
        let render = |caller| {
            let texts: Vec<_> = (0_u32..)
                .zip(definitions.iter().zip(&names))
                .filter_map(|(item, (definition, name))| {
                    let change = change(definition);
                    let own = rules.instance;
                    let schemas = schemas.get(item as usize).map_or(&[][..], Vec::as_slice);
                    let text =
                        render::definition(definition, name, own, change, schemas, era, caller)?;
                    Some(match *rules.stale.get(kind) {
                        Some(stamp) => (item, stamp.put(text)),
                        None => (item, text),
                    })
                })
                .collect();
            Arc::new(Rendered::new(&texts))
        };
        let differs = definitions.iter().any(|definition| match era {
            Era::Legacy => definition.facts.execution,
            Era::Modern => definition.facts.free_output,
        });
        let legacy = render(Era::Legacy);
        let rendered = PerEra {
            modern: if differs {
                render(Era::Modern)
            } else {
                legacy.clone()
            },
            legacy,
        };
        let items =
            (0_u32..)
                .zip(definitions.iter().zip(names))
                .map(|(at, (definition, exposed))| Item {
                    exposed,
                    target: make_target(rules, definition, change(definition), &rendered, at),
                });
        Self {
            items: items.collect(),
            clashes,
            seen: digest_rendered(kind, &rendered, definitions.is_empty()),
            rendered,
            texts: OnceLock::new(),
        }
    }

    /// Returns the texts by which operators find the items. The first time, they are made.
    pub(super) fn search_texts(&self) -> &SearchTexts {
        self.texts.get_or_init(|| {
            let items = (0_u32..).zip(&self.items);
            SearchTexts::of(items.map(|(at, item)| {
                let definition = self.definition(at).unwrap_or_default();
                (&*item.exposed, &*item.target.original, definition)
            }))
        })
    }

    /// Returns the definition of an item as JSON text under the name that it wants, as the era sees it
    /// that sees more of it.
    pub(super) fn definition(&self, item: u32) -> Option<&str> {
        let PerEra { legacy, modern } = &self.rendered;
        let texts = [legacy, modern].into_iter();
        let texts = texts.filter_map(|rendered| rendered.text(rendered.position(item)?));
        texts.max_by_key(|text| text.len())
    }

    /// Adds what callers see, and where it leads.
    fn add_to(&self, hasher: &mut Hasher) {
        if let Some(seen) = &self.seen {
            hasher.add(seen.as_bytes());
        }
        for item in &self.items {
            hasher.add(item.exposed.as_bytes());
            hasher.add(item.target.original.as_bytes());
            for param in &*item.target.header_params {
                hasher.add(param.header.as_str().as_bytes());
                for step in &*param.path {
                    hasher.add(step.as_bytes());
                }
            }
            if let Some(rules) = &item.target.arguments {
                rules.hidden().for_each(|name| hasher.add(name.as_bytes()));
                for (name, value) in rules.set() {
                    hasher.add(name.as_bytes());
                    hasher.add(value.as_bytes());
                }
            }
        }
    }
}

/// Returns the digest of what callers see, and where it leads; `text` is that of instructions.
fn digest_of(rules: &Rules<'_>, kinds: &PerKind<PreparedKind>, text: Option<&str>) -> Digest {
    let mut hasher = Hasher::new("prepared");
    hasher.add(rules.upstream.as_str().as_bytes());
    hasher.add(rules.namespace.as_str().as_bytes());
    for kind in Kind::ALL {
        hasher.add(kind.member().as_bytes());
        kinds.get(kind).add_to(&mut hasher);
    }
    hasher.add(text.unwrap_or_default().as_bytes());
    hasher.finish()
}

/// Digest of what callers see of a kind.
pub(super) fn digest_rendered(
    kind: Kind,
    rendered: &PerEra<Arc<Rendered>>,
    empty: bool,
) -> Option<Digest> {
    if empty {
        return None;
    }
    let mut hasher = Hasher::new(kind.member());
    hasher.add(rendered.legacy.bytes());
    if !Arc::ptr_eq(&rendered.legacy, &rendered.modern) {
        hasher.add(rendered.modern.bytes());
    }
    Some(hasher.finish())
}

fn make_target(
    rules: &Rules<'_>,
    definition: &Definition,
    change: Option<&ToolOverride>,
    rendered: &PerEra<Arc<Rendered>>,
    at: u32,
) -> Arc<RouteTarget> {
    let own = change.and_then(|change| change.validate.as_ref());
    let validate = *own.unwrap_or(rules.validate);
    Arc::new(RouteTarget {
        original: definition.key().clone(),
        original_json: json::quote(definition.key()).into(),
        header_params: definition.facts.header_params.clone(),
        repetition: repetition(rules.tools, definition),
        requires_task: definition.facts.task_required,
        timeout: change.and_then(|change| change.timeout),
        arguments: change.and_then(ArgumentRules::of).map(Box::new),
        validate: (!validate.is_nothing()).then(|| Box::new(validate)),
        definition: Arc::clone(definition.shared()),
        listed: rendered.map(|rendered| rendered.position(at).is_some()),
    })
}

fn parse_templates(kinds: &PerKind<PreparedKind>) -> Templates {
    let items = kinds.get(Kind::Templates).items.iter();
    Templates::parse(items.map(|item| &*item.target.original))
}

fn find_ui_tools(tools: &[Item], resources: &[Item], listing: &Listing) -> Box<[UiTool]> {
    let definitions = listing.definitions(Kind::Tools).iter();
    let shown: HashMap<&str, &Arc<str>> = definitions
        .filter_map(|definition| {
            let ui = definition.facts.ui.as_ref()?;
            Some((&**definition.key(), &ui.uri))
        })
        .collect();
    if shown.is_empty() {
        return Box::default();
    }
    let listed: HashMap<&str, u32> = (0_u32..)
        .zip(resources)
        .map(|(at, item)| (&*item.target.original, at))
        .collect();
    (0_u32..)
        .zip(tools)
        .filter_map(|(tool, item)| {
            let uri = *shown.get(&*item.target.original)?;
            Some(UiTool {
                tool,
                uri: uri.clone(),
                listed: listed.get(&**uri).copied(),
            })
        })
        .collect()
}
