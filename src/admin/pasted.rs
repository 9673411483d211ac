//! `POST /plan`: what a config that somebody pastes would change in the catalog. It is parsed, and
//! nothing else: no secret is looked up, no file is read, no program starts, nobody is asked. The
//! listings are those that weir has.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::admin::response::json_response;
use crate::admin::work::answer_with;
use crate::catalog::{Catalog, Diff, Listing, Part, Prepared, Rules, Side};
use crate::config::{self, Config, ConfigErrors};
use crate::live::{Live, Snapshot};
use crate::name::{UpstreamId, UpstreamIndex};

/// The name of the pasted text in messages.
const FILE: &str = "pasted.yaml";
/// The largest config.
pub const MOST_BYTES: usize = 1 << 20;

/// The changes that a pasted config would bring, or what is wrong with it.
#[derive(Debug, Default, Serialize)]
pub struct PastedPlan {
    /// Everything that is wrong; then there is nothing else.
    pub errors: Vec<PastedError>,
    /// Upstreams that would be new.
    pub added: Vec<String>,
    /// Upstreams that would be gone.
    pub removed: Vec<String>,
    /// Upstreams of files of `upstreams.d`, which would stay as they are.
    pub kept: Vec<String>,
    /// Upstreams whose listing is not known, so that nothing can be said of their names.
    pub unlisted: Vec<String>,
    /// The changes of names and definitions.
    pub changes: Diff,
}

/// Something that is wrong with a pasted config.
#[derive(Debug, Serialize)]
pub struct PastedError {
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// The key path; empty at the root.
    pub key: String,
    /// The message.
    pub message: String,
}

impl PastedPlan {
    /// Compares a pasted config with the one in force. It may take as long as merging the catalog.
    #[must_use]
    pub fn of(snapshot: &Snapshot, text: &str) -> Self {
        match config::parse_outline(text, Path::new(FILE)) {
            Ok(config) => Self::compare(snapshot, config),
            Err(errors) => Self {
                errors: describe(&errors),
                ..Self::default()
            },
        }
    }

    fn compare(snapshot: &Snapshot, mut config: Config) -> Self {
        let now = &snapshot.config;
        // Those of the files beside the main one stay where they are.
        let beside = now
            .sources
            .iter()
            .skip(1)
            .flat_map(|source| &source.upstreams);
        let mut kept = Vec::new();
        for id in beside {
            if let Some(upstream) = now.upstreams.get(id)
                && !config.upstreams.contains_key(id)
            {
                config.upstreams.insert(id.clone(), Arc::clone(upstream));
                kept.push(id.as_str().to_owned());
            }
        }
        let before = Side::of(&now.upstreams, &now.naming, &snapshot.catalog);
        let (mut parts, mut unlisted) = (Vec::new(), Vec::new());
        for (index, (id, upstream)) in config.upstreams.iter().enumerate() {
            let Some(listing) = listing_of(snapshot, &before, id) else {
                unlisted.push(id.as_str().to_owned());
                continue;
            };
            // The listener stays as it is, whatever is pasted.
            let rules = Rules {
                inline_schemas: now.listen.inline_schemas,
                ..Rules::from(upstream.as_ref())
            };
            parts.push(Part {
                upstream: id.clone(),
                upstream_index: UpstreamIndex::new(index),
                prepared: Arc::new(Prepared::new(rules, &config.naming, &listing)),
            });
        }
        let page_size = config.listen.page_size.get();
        let catalog = Catalog::merge(&config.naming, page_size, &parts);
        let after = Side::of(&config.upstreams, &config.naming, &catalog);
        let names = |config: &Config| -> BTreeSet<String> {
            let names = config.upstreams.keys();
            names.map(|id| id.as_str().to_owned()).collect()
        };
        let (earlier, later) = (names(now), names(&config));
        Self {
            errors: Vec::new(),
            added: later.difference(&earlier).cloned().collect(),
            removed: earlier.difference(&later).cloned().collect(),
            kept,
            unlisted,
            changes: Diff::between(&before, &after),
        }
    }
}

/// Returns the listing of an upstream that is known, if there is one.
fn listing_of(snapshot: &Snapshot, before: &Side, id: &UpstreamId) -> Option<Arc<Listing>> {
    let mut links = snapshot.links().iter();
    let link = links.find(|link| link.id() == id)?;
    // A definition that waits to be accepted would wait under another config too.
    let drift = crate::admin::drift::drift_of(&link.config, &snapshot.catalog);
    let is_held = drift.is_some_and(|drift| !drift.is_empty());
    match link.rounds.listing().filter(|_| !is_held) {
        Some(listing) => Some(listing),
        None => link
            .health
            .report()
            .at
            .map(|_| Arc::new(before.listing(id))),
    }
}

fn describe(errors: &ConfigErrors) -> Vec<PastedError> {
    let errors = errors.iter().map(|problem| {
        let position = problem.position();
        let suggestion = problem.kind().suggestion();
        let suggestion = suggestion.map(|meant| format!(" (did you mean `{meant}`?)"));
        PastedError {
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            key: problem.key().to_owned(),
            message: format!("{}{}", problem.kind(), suggestion.unwrap_or_default()),
        }
    });
    errors.collect()
}

/// Answers `POST /plan` with a [`PastedPlan`] of the YAML or JSON in its body: 200, also for a config
/// with mistakes; 400 for what is no text, 413 above [`MOST_BYTES`].
pub(super) async fn plan(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        let error = json!({ "error": "expected a config, as YAML or JSON in UTF-8" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    let snapshot = live.load_full();
    answer_with(move || PastedPlan::of(&snapshot, &text)).await
}
