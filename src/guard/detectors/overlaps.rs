//! Makes of what was found what is told: ranges in order, none of which overlap.

use std::cmp::Reverse;

use super::search::{Evidence, Hit};

/// Leaves of hits that overlap the longer ones, then those with the better evidence, then those of
/// the earlier class. Of the others stays what no other covers, so that no part of a value is lost.
pub(super) fn resolve(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_unstable_by_key(|hit| (hit.start, Reverse(hit.end)));
    let mut told = Vec::with_capacity(hits.len());
    let mut rest = hits.as_slice();
    while let Some(first) = rest.first() {
        let mut end = first.end;
        let together = rest.iter().take_while(|hit| {
            let is_inside = hit.start < end;
            end = if is_inside { end.max(hit.end) } else { end };
            is_inside
        });
        let count = together.count().max(1);
        let (cluster, others) = rest.split_at(count);
        match cluster {
            [hit] => told.push(*hit),
            cluster => told.append(&mut resolve_cluster(cluster)),
        }
        rest = others;
    }
    told
}

/// Resolves hits each of which overlaps another.
fn resolve_cluster(cluster: &[Hit]) -> Vec<Hit> {
    let mut ranked = cluster.to_vec();
    ranked.sort_unstable_by_key(|hit| {
        let is_container = hit.evidence == Evidence::Container;
        let length = Reverse(hit.end - hit.start);
        (
            is_container,
            length,
            Reverse(hit.evidence),
            hit.class,
            hit.start,
        )
    });
    let mut taken = Taken::default();
    for hit in ranked {
        taken.add(hit);
    }
    taken.0.into_values().collect()
}

/// Ranges that do not overlap, by where they begin.
#[derive(Default)]
struct Taken(std::collections::BTreeMap<usize, Hit>);

impl Taken {
    /// Adds what is free of a hit.
    fn add(&mut self, hit: Hit) {
        let before = self.0.range(..=hit.start).next_back();
        let mut from = before.map_or(hit.start, |(_, other)| other.end.max(hit.start));
        while from < hit.end {
            let next = self.0.range(from..hit.end).next();
            let (to, after) = next.map_or((hit.end, hit.end), |(start, other)| (*start, other.end));
            if from < to {
                let free = Hit {
                    start: from,
                    end: to,
                    ..hit
                };
                self.0.insert(from, free);
            }
            from = after.max(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(start: usize, end: usize, class: u16, evidence: Evidence) -> Hit {
        Hit {
            start,
            end,
            class,
            evidence,
        }
    }

    fn told(hits: &[Hit]) -> Vec<(usize, usize, u16)> {
        let told = resolve(hits.to_vec()).into_iter();
        told.map(|hit| (hit.start, hit.end, hit.class)).collect()
    }

    #[test]
    fn the_longer_then_the_better_then_the_earlier_wins() {
        let form = |start, end, class| hit(start, end, class, Evidence::Form);
        assert_eq!(told(&[form(0, 5, 1), form(0, 9, 2)]), [(0, 9, 2)]);
        let checked = hit(0, 9, 3, Evidence::Checksum);
        assert_eq!(told(&[form(0, 9, 2), checked]), [(0, 9, 3)]);
        assert_eq!(told(&[form(0, 9, 2), form(0, 9, 1)]), [(0, 9, 1)]);
        assert_eq!(
            told(&[form(5, 9, 1), form(0, 5, 2)]),
            [(0, 5, 2), (5, 9, 1)]
        );
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn nothing_that_was_found_is_lost() {
        let form = |start, end, class| hit(start, end, class, Evidence::Form);
        let part = [form(0, 6, 1), form(4, 14, 2)];
        assert_eq!(told(&part), [(0, 4, 1), (4, 14, 2)]);
        let around = [
            hit(0, 30, 1, Evidence::Container),
            form(5, 9, 2),
            form(20, 24, 3),
        ];
        let parts = [(0, 5, 1), (5, 9, 2), (9, 20, 1), (20, 24, 3), (24, 30, 1)];
        assert_eq!(told(&around), parts);
    }
}
