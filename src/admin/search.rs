//! `GET /catalog/search`: the part of the catalog that an operator looks for, a page at a time.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use foldhash::HashSet;
use http::StatusCode;
use memchr::memmem::Finder;
use serde::Serialize;
use serde_json::json;
use url::form_urlencoded;

use crate::admin::drift::HeldNames;
use crate::admin::response::json_response;
use crate::admin::work::answer_with;
use crate::catalog::{Catalog, Kind, PartItems, Route};
use crate::live::{Live, Snapshot};

/// Rows of a page.
pub const ROWS: usize = 100;
/// The longest text that is looked for, in bytes.
const LONGEST: usize = 256;

/// The routes that are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogQuery {
    /// A part of the exposed name, the original name, the upstream or the description. Upper and
    /// lower case are the same (of ASCII).
    pub text: String,
    /// The kind; `None` for all.
    pub kind: Option<Kind>,
    /// The upstream; empty for all.
    pub upstream: String,
    /// The mark; `None` for all.
    pub mark: Option<RouteMark>,
    /// The page, from 0 on.
    pub page: usize,
}

/// Something that is to be said of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteMark {
    /// Its listing may be out of date.
    Stale,
    /// Its pinned definition is shown.
    Held,
    /// Another one wanted its name, or it wanted that of another.
    Conflict,
}

/// One page of what was found.
#[derive(Clone, Debug, Serialize)]
pub struct FoundRoutes {
    /// The number of the snapshot.
    pub generation: u64,
    /// How many there are on all pages.
    pub total: usize,
    /// The page, from 0 on.
    pub page: usize,
    /// How many pages there are.
    pub pages: usize,
    /// The routes of this page, at most [`ROWS`].
    pub rows: Vec<FoundRoute>,
}

/// A route that was found.
#[derive(Clone, Debug, Serialize)]
pub struct FoundRoute {
    /// The kind.
    pub kind: Kind,
    /// The exposed name, URI or template.
    pub name: String,
    /// The upstream it leads to.
    pub upstream: String,
    /// Its name at that upstream.
    pub original: String,
    /// The first line of its description.
    pub description: String,
    /// The length of its definition.
    pub bytes: usize,
    /// Whether its listing may be out of date.
    pub stale: bool,
    /// Whether its pinned definition is shown instead of the upstream's current one.
    pub held: bool,
    /// Whether another definition wanted its name, or it wanted that of another.
    pub conflict: bool,
}

impl RouteMark {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stale, Self::Held, Self::Conflict];

    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Held => "held",
            Self::Conflict => "conflict",
        }
    }
}

/// Returns the word for a kind in queries.
#[must_use]
pub const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools => "tool",
        Kind::Prompts => "prompt",
        Kind::Resources => "resource",
        Kind::Templates => "template",
        Kind::Instructions => "instructions",
    }
}

impl CatalogQuery {
    /// Reads the query of a URL: `q`, `kind`, `upstream`, `mark`, `page`. An empty value counts as
    /// none.
    ///
    /// # Errors
    /// An unknown parameter or word, a text that is too long, or a page that is no number.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            if value.len() > LONGEST {
                return Err(format!("a text to look for has at most {LONGEST} bytes"));
            }
            match &*name {
                "q" => wanted.text = value.trim().to_owned(),
                "upstream" => wanted.upstream = value.into_owned(),
                "kind" => {
                    let mut kinds = Kind::ALL.into_iter();
                    let kind = kinds.find(|kind| kind_word(*kind) == value);
                    wanted.kind = Some(kind.ok_or("`kind` is tool, prompt, resource or template")?);
                }
                "mark" => {
                    let mut marks = RouteMark::ALL.into_iter();
                    let mark = marks.find(|mark| mark.as_str() == value);
                    wanted.mark = Some(mark.ok_or("`mark` is stale, held or conflict")?);
                }
                "page" => {
                    let number = value.parse::<usize>().ok();
                    wanted.page = number.ok_or("`page` is a number from 0 on")?;
                }
                other => {
                    let other: String = other.chars().take(64).collect();
                    return Err(format!("unknown parameter `{other}`"));
                }
            }
        }
        Ok(wanted)
    }

    /// Writes the query of a URL for another page of the same.
    #[must_use]
    pub fn at_page(&self, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        };
        add("q", &self.text);
        add("kind", self.kind.map_or("", kind_word));
        add("upstream", &self.upstream);
        add("mark", self.mark.map_or("", RouteMark::as_str));
        if page > 0 {
            add("page", &page.to_string());
        }
        query.finish()
    }
}

/// The facts by which routes are marked.
struct Marks<'s> {
    stale: HashSet<&'s str>,
    held: HeldNames<'s>,
    /// Exposed names with a conflict, of both sides.
    conflicts: HashSet<(Kind, &'s str)>,
}

impl<'s> Marks<'s> {
    fn of(snapshot: &'s Snapshot) -> Self {
        let links = snapshot.links().iter();
        let stale = links.filter(|link| link.health.is_stale());
        let mut conflicts = HashSet::default();
        for conflict in snapshot.catalog.conflicts() {
            conflicts.insert((conflict.kind, &*conflict.exposed));
            conflicts.insert((conflict.kind, &*conflict.to));
        }
        Self {
            stale: stale.map(|link| link.id().as_str()).collect(),
            held: HeldNames::of(snapshot),
            conflicts,
        }
    }

    fn has(&self, mark: RouteMark, kind: Kind, route: &Route) -> bool {
        match mark {
            RouteMark::Stale => self.stale.contains(route.upstream.as_str()),
            RouteMark::Held => {
                let upstream = route.upstream.as_str();
                self.held.has(kind, upstream, route.original())
            }
            RouteMark::Conflict => self.conflicts.contains(&(kind, &*route.exposed)),
        }
    }
}

/// Looks for routes. It may take its time the first time that a text is looked for: call it where
/// nothing waits for it.
#[must_use]
pub fn search(snapshot: &Snapshot, wanted: &CatalogQuery) -> FoundRoutes {
    let catalog = &snapshot.catalog;
    let marks = Marks::of(snapshot);
    let text = wanted.text.to_ascii_lowercase();
    let text = Finder::new(&text);
    let first = wanted.page.saturating_mul(ROWS);
    let (mut total, mut rows) = (0, Vec::new());
    let kinds = Kind::ALL.into_iter();
    for kind in kinds.filter(|kind| wanted.kind.is_none_or(|wanted| wanted == *kind)) {
        for items in catalog.items_by_upstream(kind) {
            let Some(found) = positions(&items, wanted, &text, &marks) else {
                continue;
            };
            // Most are on other pages: only their number matters.
            if wanted.mark.is_none() && (rows.len() == ROWS || total + found.len() <= first) {
                total += found.len();
                continue;
            }
            for route in found.iter().filter_map(|at| items.route(at)) {
                if !wanted.mark.is_none_or(|mark| marks.has(mark, kind, &route)) {
                    continue;
                }
                if total >= first && rows.len() < ROWS {
                    rows.push(describe(catalog, kind, &route, &marks));
                }
                total += 1;
            }
        }
    }
    FoundRoutes {
        generation: snapshot.generation,
        total,
        page: wanted.page,
        pages: total.div_ceil(ROWS),
        rows,
    }
}

/// The positions of items that were found.
enum Positions {
    /// All, so many.
    All(usize),
    /// Some.
    These(Vec<usize>),
}

impl Positions {
    fn len(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::These(positions) => positions.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let (all, these) = match self {
            Self::All(count) => (0..*count, &[][..]),
            Self::These(positions) => (0..0, &positions[..]),
        };
        all.chain(these.iter().copied())
    }
}

/// Returns the items of an upstream that have a text, in lower case. `None` if another upstream is
/// wanted, or a mark that none of its items can have.
fn positions(
    items: &PartItems<'_>,
    wanted: &CatalogQuery,
    text: &Finder<'_>,
    marks: &Marks<'_>,
) -> Option<Positions> {
    let upstream = items.upstream().as_str();
    if !(wanted.upstream.is_empty() || upstream == wanted.upstream) {
        return None;
    }
    let can_have_mark = match wanted.mark {
        Some(RouteMark::Stale) => marks.stale.contains(upstream),
        Some(RouteMark::Held) => !items.drift().is_empty(),
        Some(RouteMark::Conflict) => !marks.conflicts.is_empty(),
        None => true,
    };
    if !can_have_mark {
        return None;
    }
    let is_all = text
        .find(upstream.to_ascii_lowercase().as_bytes())
        .is_some();
    Some(match is_all {
        true => Positions::All(items.len()),
        false => Positions::These(items.containing(text)),
    })
}

fn describe(catalog: &Catalog, kind: Kind, route: &Route, marks: &Marks<'_>) -> FoundRoute {
    let definition = catalog.definition(kind, &route.exposed);
    FoundRoute {
        kind,
        name: route.exposed.to_string(),
        upstream: route.upstream.as_str().to_owned(),
        original: route.original().to_string(),
        description: catalog.head(kind, &route.exposed),
        bytes: definition.map_or(0, |definition| definition.len()),
        stale: marks.has(RouteMark::Stale, kind, route),
        held: marks.has(RouteMark::Held, kind, route),
        conflict: marks.has(RouteMark::Conflict, kind, route),
    }
}

/// Answers `GET /catalog/search[?q=…&kind=…&upstream=…&mark=…&page=…]`: 200 with [`FoundRoutes`], 400
/// for a wrong parameter.
pub(super) async fn catalog_search(
    State(live): State<Arc<Live>>,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = match CatalogQuery::parse(&query.unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(error) => {
            return json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        }
    };
    let snapshot = live.load_full();
    answer_with(move || search(&snapshot, &wanted)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_written() {
        let query = "q=a%26b&kind=tool&upstream=jira&mark=held&page=3";
        let wanted = CatalogQuery::parse(query).unwrap();
        assert_eq!(wanted.text, "a&b");
        assert_eq!((wanted.kind, wanted.page), (Some(Kind::Tools), 3));
        assert_eq!(wanted.at_page(3), query);
        assert_eq!(
            CatalogQuery::parse("q=&kind=").unwrap(),
            CatalogQuery::default()
        );
        for wrong in ["kind=x", "mark=x", "page=-1", "other=1"] {
            assert!(CatalogQuery::parse(wrong).is_err(), "{wrong}");
        }
        let long = format!("q={}", "x".repeat(LONGEST + 1));
        assert!(CatalogQuery::parse(&long).is_err());
    }
}
