//! URI templates (RFC 6570), as far as it takes to say which upstream a URI belongs to.
//!
//! The upstream decides what a URI means; weir only has to find the upstream. So a variable may run
//! across slashes, as many servers let `{path}`. Matching walks all positions at once, templates are
//! found by the text that they begin with, and what one upstream's templates can cost a lookup is
//! bounded: no template makes it slow, nor do many.

use foldhash::HashMap;
use memchr::memmem;

/// The templates of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    all: Box<[Template]>,
    /// The positions in `all` of the templates that begin with a text.
    by_lead: HashMap<Box<str>, Vec<u32>>,
    /// The lengths of these texts, each once, in ascending order.
    leads: Box<[usize]>,
}

/// A template as literal text and holes.
#[derive(Clone, Debug)]
struct Template {
    pieces: Box<[Piece]>,
    literal: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Hole(Hole),
}

/// The expansions that an expression allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    /// The character the expansion begins with, if the expression has one; such a hole may be
    /// empty.
    lead: Option<u8>,
}

/// Longest URI that is matched with templates, in bytes.
const LONGEST: usize = 2 * 1024;
/// Most pieces of a template that is matched.
const PIECES: usize = 32;
/// The most that a lookup may cost one upstream, in bytes of the URI times pieces that they are
/// compared with: two hundred templates of five pieces with a URI of a thousand bytes, two thousand
/// with one of a hundred. Templates beyond that are not compared; only their own upstream loses by
/// it.
const WORK: usize = 1024 * 1024;

impl Templates {
    pub(crate) fn parse<'t>(templates: impl Iterator<Item = &'t str>) -> Self {
        let all: Box<[_]> = templates.map(Template::parse).collect();
        let mut by_lead: HashMap<Box<str>, Vec<u32>> = HashMap::default();
        for (at, template) in (0..).zip(&all) {
            if template.pieces.len() <= PIECES && template.literal <= LONGEST {
                by_lead.entry(template.lead().into()).or_default().push(at);
            }
        }
        let mut leads: Vec<usize> = by_lead.keys().map(|lead| lead.len()).collect();
        leads.sort_unstable();
        leads.dedup();
        Self {
            all,
            by_lead,
            leads: leads.into(),
        }
    }

    /// Returns the position of a template that fits the URI. Where several do, it is one of those
    /// that begin with the most text.
    pub(crate) fn find(&self, uri: &str) -> Option<u32> {
        self.find_within(uri, &mut WORK.clone())
    }

    /// Does the same, as long as the work that is left allows it: none is left where it does not.
    pub(crate) fn find_within(&self, uri: &str, left: &mut usize) -> Option<u32> {
        if uri.len() > LONGEST {
            return None;
        }
        let mut spend = |cost: usize| {
            let rest = left.checked_sub(cost);
            *left = rest.unwrap_or(0);
            rest.map(drop)
        };
        for lead in self.leads.iter().rev().filter(|lead| **lead <= uri.len()) {
            spend(*lead)?;
            let candidates = uri.get(..*lead).and_then(|lead| self.by_lead.get(lead));
            for at in candidates.into_iter().flatten() {
                let Some(template) = self.all.get(*at as usize) else {
                    continue;
                };
                spend(uri.len())?;
                if template.may_fit(uri) {
                    spend(template.cost(uri))?;
                    if template.fits(uri) {
                        return Some(*at);
                    }
                }
            }
        }
        None
    }

    /// Returns a URI that the template at this position expands to.
    pub(crate) fn example(&self, at: u32) -> Option<String> {
        self.all.get(at as usize).map(Template::example)
    }
}

impl Template {
    fn parse(template: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((before, (expression, after))) = rest
            .split_once('{')
            .and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
        {
            if !before.is_empty() {
                pieces.push(Piece::Literal(before.into()));
            }
            pieces.push(Piece::Hole(hole(expression)));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.into()));
        }
        let literal = pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Hole(_) => 0,
        });
        Self {
            literal: literal.sum(),
            pieces: pieces.into(),
        }
    }

    /// Returns the text that every expansion begins with.
    fn lead(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            Some(Piece::Hole(_)) | None => "",
        }
    }

    /// Returns what a comparison costs. Literal text is compared at many places, sixteen bytes at
    /// once.
    fn cost(&self, uri: &str) -> usize {
        uri.len() * (self.pieces.len() + self.literal / 16)
    }

    fn example(&self) -> String {
        let mut uri = String::with_capacity(self.literal + self.pieces.len());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => uri.push_str(text),
                Piece::Hole(hole) => {
                    uri.extend(hole.lead.map(char::from));
                    uri.push('x');
                }
            }
        }
        uri
    }

    /// Returns whether the literal texts are in the URI, one after the other: the cheap test that
    /// turns most templates away.
    fn may_fit(&self, uri: &str) -> bool {
        let mut rest = uri;
        let mut literals = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text),
            Piece::Hole(_) => None,
        });
        let in_order = literals.all(
            |text| match memmem::find(rest.as_bytes(), text.as_bytes()) {
                Some(at) => {
                    rest = rest.get(at + text.len()..).unwrap_or_default();
                    true
                }
                None => false,
            },
        );
        in_order
            && match self.pieces.last() {
                Some(Piece::Literal(text)) => uri.ends_with(&**text),
                Some(Piece::Hole(_)) | None => true,
            }
    }

    fn fits(&self, uri: &str) -> bool {
        let bytes = uri.as_bytes();
        // `at[i]`: the pieces so far can end before byte i.
        let mut at = vec![false; bytes.len() + 1];
        if let Some(start) = at.first_mut() {
            *start = true;
        }
        for piece in &self.pieces {
            at = match piece {
                Piece::Literal(text) => after_literal(&at, bytes, text.as_bytes()),
                Piece::Hole(hole) => after_hole(&at, bytes, *hole),
            };
            if !at.contains(&true) {
                return false;
            }
        }
        at.last() == Some(&true)
    }
}

fn after_literal(at: &[bool], bytes: &[u8], text: &[u8]) -> Vec<bool> {
    let mut next = vec![false; at.len()];
    for (from, _) in at.iter().enumerate().filter(|(_, open)| **open) {
        if bytes.get(from..).is_some_and(|rest| rest.starts_with(text))
            && let Some(end) = next.get_mut(from + text.len())
        {
            *end = true;
        }
    }
    next
}

fn after_hole(at: &[bool], bytes: &[u8], hole: Hole) -> Vec<bool> {
    let mut next = vec![false; at.len()];
    let mut running = false;
    let ends = next.iter_mut().skip(1);
    for ((open, byte), end) in at.iter().zip(bytes).zip(ends) {
        running |= *open && hole.lead.is_none_or(|lead| *byte == lead);
        *end = running;
    }
    if hole.lead.is_some() {
        next.iter_mut()
            .zip(at)
            .for_each(|(end, open)| *end |= *open);
    }
    next
}

/// Reads the operator, which says what the expansion begins with (RFC 6570 §3.2).
fn hole(expression: &str) -> Hole {
    let lead = expression.bytes().next();
    Hole {
        lead: lead.filter(|operator| b"#./;?&".contains(operator)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(template: &str, uri: &str) -> bool {
        Templates::parse([template].into_iter()).find(uri).is_some()
    }

    #[test]
    fn templates_match_what_they_expand_to() {
        for (template, uri, expected) in [
            ("file:///{path}", "file:///a.txt", true),
            ("file:///{path}", "file:///a/b.txt", true),
            ("file:///{+path}", "file:///a/b.txt", true),
            ("file:///{path}", "file:///", false),
            ("file:///{path}", "http:///a", false),
            ("db://{table}/rows/{id}", "db://users/rows/7", true),
            ("db://{table}/rows/{id}", "db://users/7", false),
            ("db://{table}/rows", "db://users/rows/7", false),
            ("x://a{/path*}", "x://a/b/c", true),
            ("x://a{/path*}", "x://a", true),
            ("x://a{/path*}", "x://ab", false),
            ("x://a{?q,r}", "x://a?q=1&r=2", true),
            ("x://a{?q}{#f}", "x://a#part", true),
            ("x://a{.ext}", "x://a.json", true),
            ("x://a{;m}/b", "x://a;m=1/b", true),
            ("x://{a}{b}", "x://yz", true),
            ("x://{a}{b}", "x://y", false),
            ("{+any}", "whatever:1", true),
            ("x://plain", "x://plain", true),
            ("x://open{brace", "x://open{brace", true),
            ("x://{v}é", "x://7é", true),
        ] {
            assert_eq!(fits(template, uri), expected, "{template} {uri}");
        }
    }

    #[test]
    fn what_begins_with_more_text_comes_first_and_each_example_fits() {
        let all = [
            "{+all}",
            "db://{a}/{b}",
            "db://users/{id}",
            "db://users/{?q}{#f}",
            "é{/v}",
        ];
        let templates = Templates::parse(all.into_iter());
        let found = |uri: &str| templates.find(uri).map(|at| all[at as usize]);
        assert_eq!(found("db://users/7"), Some("db://users/{id}"));
        assert_eq!(found("db://rows/7"), Some("db://{a}/{b}"));
        assert_eq!(found("x"), Some("{+all}"));
        for at in 0..5 {
            assert!(
                templates.find(&templates.example(at).unwrap()).is_some(),
                "{at}"
            );
        }
        assert_eq!(templates.example(3).unwrap(), "db://users/?x#x");
    }

    #[test]
    fn many_templates_cost_a_bounded_time_and_their_own_upstream_at_most_a_match() {
        let like = |number: usize| format!("u://{{a}}x{{b}}x{{?c}}y{number}");
        let texts: Vec<String> = (0..5_000).map(like).collect();
        let templates = Templates::parse(texts.iter().map(String::as_str));
        assert_eq!(templates.find("u://1x2x?c=3y77"), Some(77));
        assert_eq!(templates.find(&format!("u://{}", "x".repeat(2_000))), None);
    }

    #[test]
    fn no_template_is_slow() {
        let template = format!("{}y{{b}}", "{a}x".repeat(PIECES / 2 - 1));
        // A backtracking matcher would not come back from this.
        assert!(!fits(&template, &"x".repeat(LONGEST)));
        assert!(fits(&template, &format!("{}yy", "x".repeat(99))));
        assert!(!fits("{+a}", &"x".repeat(LONGEST + 1)));
        assert!(!fits(&"{a}x".repeat(PIECES), &"x".repeat(LONGEST)));
    }
}
