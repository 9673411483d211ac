//! `GET /catalog`: all routes, with their definitions on request.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use foldhash::HashSet;
use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::admin::drift::HeldNames;
use crate::admin::work::answer_with;
use crate::catalog::instructions;
use crate::catalog::{Kind, NameOrigin, Side, SideEntry, StaleSince};
use crate::live::{Live, Snapshot};
use crate::upstream::Link;

/// The answer of `GET /catalog`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CatalogPage {
    /// The number of the snapshot.
    pub generation: u64,
    /// Tools, in the order of the config and of each listing.
    pub tools: Vec<RouteRow>,
    /// Prompts.
    pub prompts: Vec<RouteRow>,
    /// Resources.
    pub resources: Vec<RouteRow>,
    /// Resource templates.
    pub templates: Vec<RouteRow>,
    /// The instructions that models get about each upstream, with their text.
    #[serde(default)]
    pub instructions: Vec<RouteRow>,
    /// Names that several definitions would have, each described in a sentence.
    pub conflicts: Vec<String>,
    /// The age of each upstream's listing, in the order of the config.
    #[serde(default)]
    pub upstreams: Vec<ListingAge>,
}

/// The age of an upstream's listing.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListingAge {
    /// The upstream.
    pub name: String,
    /// Whether weir fails to renew the listing, or it is of an earlier run and not renewed yet.
    pub stale: bool,
    /// When the listing was last confirmed: a time of RFC 3339, in UTC. `null` without a listing.
    pub listed_at: Option<String>,
    /// How long ago that was.
    pub listed_seconds_ago: Option<u64>,
}

/// One route.
#[derive(Debug, Serialize, Deserialize)]
pub struct RouteRow {
    /// The exposed name, URI or template.
    pub name: String,
    /// The upstream it leads to.
    pub upstream: String,
    /// Its name at that upstream.
    pub original: String,
    /// Whether its listing may be out of date.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Whether the pinned definition is shown instead of the upstream's current one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// How its name was made; with `definitions=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<NameOrigin>,
    /// The definition, as callers of the era that sees more of it get it; with `definitions=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Box<RawValue>>,
}

impl CatalogPage {
    /// Describes a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot, definitions: bool) -> Self {
        let stale: HashSet<_> = stale_upstreams(snapshot).collect();
        let held = HeldNames::of(snapshot);
        let rows = |kind| -> Vec<RouteRow> {
            let routes = snapshot.catalog.routes(kind);
            let row = routes.map(|route| RouteRow {
                held: held.has(kind, route.upstream.as_str(), route.original()),
                name: route.exposed.to_string(),
                upstream: route.upstream.as_str().to_owned(),
                original: route.original().to_string(),
                stale: stale.contains(route.upstream.as_str()),
                named: None,
                definition: None,
            });
            row.collect()
        };
        let mut kinds = match definitions {
            false => Kind::ALL.map(rows),
            true => rows_with_definitions(snapshot, &stale),
        }
        .into_iter();
        let mut next = || kinds.next().unwrap_or_default();
        Self {
            generation: snapshot.generation,
            tools: next(),
            prompts: next(),
            resources: next(),
            templates: next(),
            instructions: instruction_rows(snapshot, &stale, &held),
            conflicts: snapshot.catalog.rivalries().collect(),
            upstreams: snapshot
                .links()
                .iter()
                .map(|link| listing_age(link))
                .collect(),
        }
    }

    /// Returns what the weir exposes; `None` if definitions are missing.
    #[must_use]
    pub fn side(self) -> Option<Side> {
        let rows = [
            self.tools,
            self.prompts,
            self.resources,
            self.templates,
            self.instructions,
        ];
        let kinds = Kind::ALL.into_iter().chain([Kind::Instructions]);
        let mut entries = Vec::new();
        for (kind, rows) in kinds.zip(rows) {
            for row in rows {
                entries.push(SideEntry {
                    kind,
                    upstream: row.upstream.into(),
                    original: row.original.into(),
                    exposed: row.name.into(),
                    named: row.named?,
                    definition: row.definition?.get().into(),
                });
            }
        }
        Some(Side { entries })
    }
}

/// Describes the instructions that callers see.
fn instruction_rows(
    snapshot: &Snapshot,
    stale: &HashSet<&str>,
    held: &HeldNames<'_>,
) -> Vec<RouteRow> {
    let parts = snapshot.catalog.parts();
    let rows = parts.filter_map(|part| {
        let text = part.shown_instructions()?;
        let upstream = part.upstream.as_str();
        let definition = RawValue::from_string(instructions::define(text)?).ok()?;
        Some(RouteRow {
            name: upstream.to_owned(),
            upstream: upstream.to_owned(),
            original: instructions::KEY.to_owned(),
            stale: stale.contains(upstream),
            held: held.has(Kind::Instructions, upstream, instructions::KEY),
            named: Some(NameOrigin::default()),
            definition: Some(definition),
        })
    });
    rows.collect()
}

/// Returns the upstreams whose listings may be out of date.
fn stale_upstreams(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let links = snapshot
        .links()
        .iter()
        .filter(|link| link.health.is_stale());
    links.map(|link| link.id().as_str())
}

fn listing_age(link: &Link) -> ListingAge {
    let report = link.health.report();
    ListingAge {
        name: link.id().as_str().to_owned(),
        stale: link.health.is_stale(),
        listed_at: report.at.map(|(_, on)| StaleSince::of(on).to_string()),
        listed_seconds_ago: report.age().map(|age| age.as_secs()),
    }
}

fn rows_with_definitions(snapshot: &Snapshot, stale: &HashSet<&str>) -> [Vec<RouteRow>; 4] {
    let config = &snapshot.config;
    let side = Side::of(&config.upstreams, &config.naming, &snapshot.catalog);
    let held = HeldNames::of(snapshot);
    let row = |entry: &SideEntry| RouteRow {
        held: held.has(entry.kind, &entry.upstream, &entry.original),
        name: entry.exposed.to_string(),
        upstream: entry.upstream.to_string(),
        original: entry.original.to_string(),
        stale: stale.contains(&*entry.upstream),
        named: Some(entry.named.clone()),
        definition: RawValue::from_string(entry.definition.to_string()).ok(),
    };
    Kind::ALL.map(|kind| {
        let entries = side.entries.iter().filter(|entry| entry.kind == kind);
        entries.map(row).collect()
    })
}

/// Answers `GET /catalog[?definitions=true]`.
pub(super) async fn catalog(State(live): State<Arc<Live>>, uri: Uri) -> Response {
    let mut words = uri.query().unwrap_or_default().split('&');
    let has_definitions = words.any(|word| word == "definitions=true");
    let snapshot = live.load_full();
    answer_with(move || CatalogPage::of(&snapshot, has_definitions)).await
}
