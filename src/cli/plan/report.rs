//! The printed plan: a table, or JSON.

use serde::Serialize;

use crate::catalog::diff::{ExposedItem, RedefinedItem, RenamedItem, UpstreamDiff};
use crate::catalog::named::{NameStep, RenameCause};
use crate::catalog::{Diff, Kind};
use crate::cli::output::{Output, Table, TextStyle, make_safe};
use crate::cli::plan::baseline::Baseline;
use crate::cli::plan::drift::HeldDefinition;
use crate::cli::plan::exposed::PlannedCatalog;
use crate::policy::AccessChange;

/// Most callers, or names, of a row.
const LISTED: usize = 20;

/// The changes that the new config would bring.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// The file or URL that it is compared with.
    against: String,
    /// Whether anything would change.
    pub(super) changes: bool,
    /// Changed settings that cannot change while weir runs: a reload would refuse the config.
    fixed: Vec<String>,
    /// How many definitions, of all kinds together.
    totals: Totals,
    /// The upstreams with changes: those of the new config in its order, then the removed ones.
    upstreams: Vec<UpstreamPlan>,
    /// Other changed settings, which a reload applies.
    settings: Vec<String>,
    /// The names that callers gain and lose by other policies.
    access: Vec<AccessChange>,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    added: usize,
    removed: usize,
    renamed: usize,
    redefined: usize,
    /// Upstreams that would be connected anew.
    reconnects: usize,
}

/// The changes at one upstream.
#[derive(Debug, Serialize)]
struct UpstreamPlan {
    name: String,
    /// `same`, `changed` (it would be connected anew), `added` or `removed`.
    config: &'static str,
    /// Where its listing is from: `kept`, `live`, `stored`, `earlier` or `none`.
    listing: Option<&'static str>,
    /// Why it was not asked.
    reason: Option<String>,
    #[serde(skip)]
    trouble: Option<String>,
    added: Vec<ExposedItem>,
    removed: Vec<ExposedItem>,
    renamed: Vec<RenamedItem>,
    redefined: Vec<RedefinedItem>,
    /// Definitions that its drift policy would hold back until they are accepted.
    held: Vec<HeldDefinition>,
}

impl UpstreamPlan {
    fn is_empty(&self) -> bool {
        let lists = [&self.added, &self.removed];
        self.config == "same"
            && lists.iter().all(|list| list.is_empty())
            && self.renamed.is_empty()
            && self.redefined.is_empty()
    }
}

impl Plan {
    pub(super) fn new(before: Baseline, after: PlannedCatalog, diff: Diff) -> Self {
        let mut held = after.held;
        let mut diffs = diff.upstreams;
        let mut take = |name: &str| {
            let at = diffs.iter().position(|diff| diff.upstream == name);
            at.map_or_else(UpstreamDiff::default, |at| diffs.swap_remove(at))
        };
        let compared = before.compared;
        let mut upstreams = Vec::new();
        for (id, source) in &after.sources {
            let name = id.as_str();
            let config = match () {
                () if compared.same.contains(name) => "same",
                () if compared.changed.contains(name) => "changed",
                () => "added",
            };
            upstreams.push(UpstreamPlan {
                config,
                listing: Some(source.as_str()),
                reason: source.reason().map(str::to_owned),
                trouble: source.trouble(),
                held: held
                    .extract_if(.., |held| *held.upstream == *name)
                    .collect(),
                ..from_diff(name, take(name))
            });
        }
        for name in &compared.removed {
            upstreams.push(from_diff(name, take(name)));
        }
        upstreams.retain(|planned| !planned.is_empty());
        let mut totals = Totals::default();
        for planned in &upstreams {
            totals.added += planned.added.len();
            totals.removed += planned.removed.len();
            totals.renamed += planned.renamed.len();
            totals.redefined += planned.redefined.len();
            totals.reconnects += usize::from(planned.config == "changed");
        }
        Self {
            against: before.against,
            changes: !compared.fixed.is_empty()
                || !upstreams.is_empty()
                || !compared.settings.is_empty(),
            fixed: compared.fixed,
            totals,
            upstreams,
            settings: compared.settings,
            access: compared.access,
        }
    }

    pub(super) fn print(&self, json: bool, output: &mut Output) {
        for planned in &self.upstreams {
            if let Some(trouble) = &planned.trouble {
                output.print_warning(&format!("{}: {trouble}", planned.name));
            }
        }
        if json {
            let text = serde_json::to_string(self).unwrap_or_default();
            output.out.print_raw(&format!("{text}\n"));
            return;
        }
        for field in &self.fixed {
            let line = format!(
                "`{field}` cannot change while weir runs: a reload refuses this config, restart weir"
            );
            output.out.print_line(&line);
        }
        if !self.upstreams.is_empty() {
            let mut table = Table::new(&["UPSTREAM", "CHANGE", "KIND", "NAME", "WHAT"]);
            for planned in &self.upstreams {
                planned.add_rows(&mut table);
            }
            output.out.print_table(&table);
        }
        self.print_settings(output);
        let against = make_safe(&self.against);
        match self.changes {
            true => output.out.print_line(&self.summary()),
            false => output
                .out
                .print_done(&format!("no changes against {against}")),
        }
    }

    /// Prints the other settings that change, and what callers gain and lose.
    fn print_settings(&self, output: &mut Output) {
        for setting in self.settings.iter().filter(|key| *key != "policy") {
            output.out.print_line(&format!("`{setting}` changes"));
        }
        if !self.settings.iter().any(|key| key == "policy") {
            return;
        }
        if self.access.is_empty() {
            output.out.print_line(
                "`policy` changes; no caller that is known gains or loses a name (arguments and times are not compared)",
            );
            return;
        }
        let mut table = Table::new(&["CALLERS", "CHANGE", "NAMES"]);
        for change in &self.access {
            let callers = list(&change.callers);
            for (style, word, items) in [
                (TextStyle::Good, "gain", &change.gained),
                (TextStyle::Bad, "lose", &change.lost),
            ] {
                if !items.is_empty() {
                    let items = list(items);
                    table.add_row([
                        (TextStyle::Plain, callers.as_str()),
                        (style, word),
                        (TextStyle::Name, items.as_str()),
                    ]);
                }
            }
            if change.more > 0 {
                let more = format!("and {} more", change.more);
                table.add_row([
                    (TextStyle::Plain, ""),
                    (TextStyle::Plain, ""),
                    (TextStyle::Plain, more.as_str()),
                ]);
            }
        }
        output.out.print_table(&table);
    }

    fn summary(&self) -> String {
        let Totals {
            added,
            removed,
            renamed,
            redefined,
            reconnects,
        } = self.totals;
        let with = |config| {
            let found = self.upstreams.iter();
            found.filter(|planned| planned.config == config).count()
        };
        format!(
            "{added} added, {removed} removed, {renamed} renamed, {redefined} redefined; upstreams: {} added, {} removed, {reconnects} reconnected",
            with("added"),
            with("removed"),
        )
    }
}

/// Lists the first few.
fn list(all: &[impl ToString]) -> String {
    let named = all.iter().take(LISTED).map(ToString::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(LISTED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn from_diff(name: &str, diff: UpstreamDiff) -> UpstreamPlan {
    UpstreamPlan {
        name: name.to_owned(),
        config: "removed",
        listing: None,
        reason: None,
        trouble: None,
        added: diff.added,
        removed: diff.removed,
        renamed: diff.renamed,
        redefined: diff.redefined,
        held: Vec::new(),
    }
}

impl UpstreamPlan {
    fn add_rows(&self, table: &mut Table) {
        let mut row = |style, change: &str, kind: Option<Kind>, name: &str, what: &str| {
            table.add_row([
                (TextStyle::Upstream, self.name.as_str()),
                (style, change),
                (TextStyle::Plain, kind.map_or("upstream", Kind::as_str)),
                (TextStyle::Name, name),
                (TextStyle::Plain, what),
            ]);
        };
        let listed = self.listing.unwrap_or_default();
        match self.config {
            "changed" => row(TextStyle::Plain, "reconnects", None, "", listed),
            "added" => row(TextStyle::Good, "added", None, "", listed),
            "removed" => row(TextStyle::Bad, "removed", None, "", ""),
            _ => {}
        }
        for item in &self.added {
            let why = name_steps(&item.because);
            row(TextStyle::Good, "added", Some(item.kind), &item.name, &why);
        }
        for item in &self.removed {
            row(TextStyle::Bad, "removed", Some(item.kind), &item.name, "");
        }
        for item in &self.renamed {
            let causes: Vec<_> = item
                .causes
                .iter()
                .map(|cause| RenameCause::as_str(*cause))
                .collect();
            let why = name_steps(&item.because);
            let dots = if why.is_empty() { "" } else { ": " };
            let what = format!("was {} ({}){dots}{why}", item.from, causes.join(", "));
            row(
                TextStyle::Plain,
                "renamed",
                Some(item.kind),
                &item.to,
                &what,
            );
        }
        for item in &self.redefined {
            for change in &item.changes {
                let what = format!("{}: {}", change.class.as_str(), change.what);
                row(
                    TextStyle::Plain,
                    "redefined",
                    Some(item.kind),
                    &item.name,
                    &what,
                );
            }
        }
        for item in &self.held {
            for change in &item.changes {
                let what = format!("{}: {}", change.class.as_str(), change.what);
                let state = item.state.as_str();
                row(TextStyle::Bad, state, Some(item.kind), &item.name, &what);
            }
        }
    }
}

/// Describes the steps that shortened a name or changed it otherwise, such as by a hash.
fn name_steps(steps: &[NameStep]) -> String {
    let is = |step: &&NameStep| !matches!(step, NameStep::Stripped { .. } | NameStep::Given { .. });
    let words = steps.iter().filter(is).map(ToString::to_string);
    words.collect::<Vec<_>>().join("; ")
}
