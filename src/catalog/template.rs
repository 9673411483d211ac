//! URI templates (RFC 6570), as far as it takes to say which upstream a URI belongs to.
//!
//! The upstream decides what a URI means; weir only has to find the upstream. A template is matched
//! strictly first (`{var}` within one path segment, as expansion would give) and loosely after
//! that, because many servers let `{path}` run across slashes. Matching walks all positions at
//! once, so no template can make it slow.

/// A template as literal text and holes.
#[derive(Clone, Debug)]
pub(crate) struct Template {
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
    /// The bytes it cannot have.
    stops: &'static [u8],
}

/// How well a template fits a URI; greater is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fit {
    strict: bool,
    literal: usize,
    holes: std::cmp::Reverse<usize>,
}

/// Longest URI that is matched with templates, in bytes.
const LONGEST: usize = 2 * 1024;
/// Most pieces of a template that is matched. With [`LONGEST`] it bounds what one upstream's
/// templates can cost the readers of another's resources.
const PIECES: usize = 32;

impl Template {
    pub(crate) fn parse(template: &str) -> Self {
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

    /// How well this template fits the URI, if it does.
    pub(crate) fn fit(&self, uri: &str) -> Option<Fit> {
        if uri.len() > LONGEST
            || self.pieces.len() > PIECES
            || uri.len() < self.literal
            || !self.ends_fit(uri)
        {
            return None;
        }
        self.matches(uri, false).then(|| Fit {
            strict: self.matches(uri, true),
            literal: self.literal,
            holes: std::cmp::Reverse(self.pieces.len()),
        })
    }

    /// The cheap test that turns most templates away.
    fn ends_fit(&self, uri: &str) -> bool {
        let fits = |piece: Option<&Piece>, test: &dyn Fn(&str) -> bool| match piece {
            Some(Piece::Literal(text)) => test(text),
            _ => true,
        };
        fits(self.pieces.first(), &|text| uri.starts_with(text))
            && fits(self.pieces.last(), &|text| uri.ends_with(text))
    }

    fn matches(&self, uri: &str, strict: bool) -> bool {
        let bytes = uri.as_bytes();
        // `at[i]`: the pieces so far can end before byte i.
        let mut at = vec![false; bytes.len() + 1];
        if let Some(start) = at.first_mut() {
            *start = true;
        }
        for piece in &self.pieces {
            at = match piece {
                Piece::Literal(text) => after_literal(&at, bytes, text.as_bytes()),
                Piece::Hole(hole) => after_hole(&at, bytes, *hole, strict),
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

fn after_hole(at: &[bool], bytes: &[u8], hole: Hole, strict: bool) -> Vec<bool> {
    let mut next = vec![false; at.len()];
    let mut running = false;
    let ends = next.iter_mut().skip(1);
    for ((open, byte), end) in at.iter().zip(bytes).zip(ends) {
        running = match hole.lead {
            Some(lead) => running || (*open && *byte == lead),
            None => running || *open,
        } && !(strict && hole.stops.contains(byte) && hole.lead != Some(*byte));
        *end = running;
    }
    if hole.lead.is_some() {
        next.iter_mut()
            .zip(at)
            .for_each(|(end, open)| *end |= *open);
    }
    next
}

/// RFC 6570 §3.2: the operator says what the expansion begins with and may contain.
fn hole(expression: &str) -> Hole {
    let (lead, stops): (_, &[u8]) = match expression.bytes().next() {
        Some(b'+') => (None, b""),
        Some(b'#') => (Some(b'#'), b""),
        Some(b'.') => (Some(b'.'), b"/?#"),
        Some(b'/') => (Some(b'/'), b"?#"),
        Some(b';') => (Some(b';'), b"/?#"),
        Some(b'?') => (Some(b'?'), b"#"),
        Some(b'&') => (Some(b'&'), b"#"),
        _ => (None, b"/?#"),
    };
    Hole { lead, stops }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(template: &str, uri: &str) -> Option<bool> {
        Template::parse(template).fit(uri).map(|fit| fit.strict)
    }

    #[test]
    fn templates_match_what_they_expand_to() {
        for (template, uri, expected) in [
            ("file:///{path}", "file:///a.txt", Some(true)),
            ("file:///{path}", "file:///a/b.txt", Some(false)),
            ("file:///{+path}", "file:///a/b.txt", Some(true)),
            ("file:///{path}", "file:///", None),
            ("file:///{path}", "http:///a", None),
            ("db://{table}/rows/{id}", "db://users/rows/7", Some(true)),
            ("db://{table}/rows/{id}", "db://users/7", None),
            ("db://{table}/rows", "db://users/rows/7", None),
            ("x://a{/path*}", "x://a/b/c", Some(true)),
            ("x://a{/path*}", "x://a", Some(true)),
            ("x://a{/path*}", "x://ab", None),
            ("x://a{?q,r}", "x://a?q=1&r=2", Some(true)),
            ("x://a{?q}{#f}", "x://a#part", Some(true)),
            ("x://a{.ext}", "x://a.json", Some(true)),
            ("x://a{;m}/b", "x://a;m=1/b", Some(true)),
            ("x://{a}{b}", "x://yz", Some(true)),
            ("x://{a}{b}", "x://y", None),
            ("{+any}", "whatever:1", Some(true)),
            ("x://plain", "x://plain", Some(true)),
            ("x://open{brace", "x://open{brace", Some(true)),
            ("x://{v}é", "x://7é", Some(true)),
        ] {
            assert_eq!(fit(template, uri), expected, "{template} {uri}");
        }
    }

    #[test]
    fn more_literal_text_and_fewer_holes_are_more_specific() {
        let fit = |template: &str| Template::parse(template).fit("db://users/rows/7").unwrap();
        let order = [
            "db://users/rows/{id}",
            "db://{table}/rows/{id}",
            "db://{a}/{b}/{c}",
            "{+all}",
            "db://{loose}",
        ];
        for pair in order.windows(2) {
            assert!(fit(pair[0]) > fit(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn no_template_is_slow() {
        let template = format!("{}y{{b}}", "{a}x".repeat(PIECES / 2 - 1));
        // A backtracking matcher would not come back from this.
        assert_eq!(fit(&template, &"x".repeat(LONGEST)), None);
        assert_eq!(fit(&template, &format!("{}yy", "x".repeat(99))), Some(true));
        assert_eq!(fit("{+a}", &"x".repeat(LONGEST + 1)), None);
        assert_eq!(fit(&"{a}x".repeat(PIECES), &"x".repeat(LONGEST)), None);
    }
}
