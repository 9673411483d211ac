//! The context of a span: what the next hop learns of it (<https://www.w3.org/TR/trace-context/>).

use std::cell::Cell;

use http::HeaderValue;

use crate::hex;
use crate::seal;

/// The bit of the flags that says that the sender records the trace.
const SAMPLED: u8 = 1;

/// The context of a span: its trace, itself, and whether the trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The id of the trace; not zero.
    pub trace: [u8; 16],
    /// The id of the span; not zero.
    pub span: [u8; 8],
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl SpanContext {
    /// Makes the context of a new trace.
    #[must_use]
    pub(super) fn root(is_sampled: impl FnOnce(&[u8; 16]) -> bool) -> Self {
        let [a, b, c, d, e, f, g, h] = random_id();
        let [i, j, k, l, m, n, o, p] = random_id();
        let trace = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
        Self {
            is_sampled: is_sampled(&trace),
            trace,
            span: random_id(),
        }
    }

    /// Makes the context of a span below this one.
    #[must_use]
    pub(super) fn child(&self) -> Self {
        Self {
            span: random_id(),
            ..*self
        }
    }

    /// Reads a `traceparent` that passed the checks of [`crate::protocol::trace`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').skip(1);
        let mut part = || parts.next();
        let (trace, span, flags) = (part()?, part()?, part()?);
        let [flags] = read_hex::<1>(flags)?;
        Some(Self {
            trace: read_hex(trace)?,
            span: read_hex(span)?,
            is_sampled: flags & SAMPLED != 0,
        })
    }

    /// Reads the id of a trace: 32 hexadecimal digits.
    #[must_use]
    pub fn parse_trace(text: &str) -> Option<[u8; 16]> {
        read_hex(text)
    }

    /// Reads an `X-Amzn-Trace-Id`: `Root=1-8hex-24hex;Parent=16hex;Sampled=1`, in any order
    /// (AWS X-Ray developer guide, "Tracing header"). Without `Parent` there is nothing to be below.
    #[must_use]
    pub fn parse_amazon(text: &str) -> Option<Self> {
        if text.len() > 512 {
            return None;
        }
        let member = |name: &str| {
            let mut members = text.split(';').filter_map(|member| member.split_once('='));
            let found = members.find(|(key, _)| key.trim() == name);
            found.map(|(_, value)| value.trim())
        };
        let root = member("Root")?.strip_prefix("1-")?;
        let (time, rest) = root.split_once('-')?;
        let trace: [u8; 16] = match (time.len(), rest.len()) {
            (8, 24) => read_hex(&format!("{time}{rest}"))?,
            _ => return None,
        };
        let span: [u8; 8] = read_hex(member("Parent")?)?;
        let is_zero = trace == [0; 16] || span == [0; 8];
        (!is_zero).then(|| Self {
            trace,
            span,
            is_sampled: member("Sampled") == Some("1"),
        })
    }

    /// Writes it as a `traceparent`.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let mut text = [b'-'; 55];
        let mut write = |at: usize, bytes: &[u8]| {
            let places = text.get_mut(at..).unwrap_or_default();
            for (place, byte) in places.chunks_exact_mut(2).zip(bytes) {
                place.copy_from_slice(&hex::digits(*byte));
            }
        };
        write(0, &[0]);
        write(3, &self.trace);
        write(36, &self.span);
        write(53, &[u8::from(self.is_sampled)]);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    /// Returns the id of the trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_text(&self) -> String {
        hex::text(&self.trace)
    }
}

/// Reads bytes in hexadecimal digits, exactly as many as there are.
fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.bytes().map(|digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    });
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    digits.next().is_none().then_some(bytes)
}

/// Returns a random id that is not zero. Each thread has a generator of its own (SplitMix64), which
/// the system's random numbers seed: ids need to differ, and nothing rests on nobody guessing them.
fn random_id() -> [u8; 8] {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seal::random().map_or_else(|_| weak_seed(), u64::from_le_bytes));
    }
    loop {
        let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let id = mixed ^ (mixed >> 31);
        if id != 0 {
            return id.to_be_bytes();
        }
    }
}

/// A seed where the system has no random numbers: the standard library's own for its hash maps.
fn weak_seed() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_and_written_as_it_was() {
        let context = SpanContext::parse(PARENT).unwrap();
        assert!(context.is_sampled);
        assert_eq!(context.to_header(), PARENT);
        assert_eq!(context.trace_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!SpanContext::parse(&unsampled).unwrap().is_sampled);
        assert_eq!(
            SpanContext::parse(&unsampled).unwrap().to_header(),
            unsampled
        );
        // A later version: only what is known of it is taken over.
        let later = PARENT.replace("00-4b", "cc-4b") + "-more";
        assert_eq!(SpanContext::parse(&later).unwrap().to_header(), PARENT);
    }

    #[test]
    fn a_header_of_x_ray_is_a_parent_if_it_is_whole() {
        let whole = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let context = SpanContext::parse_amazon(whole).unwrap();
        assert_eq!(
            context.to_header(),
            "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
        );
        let turned = "Sampled=0; Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793";
        assert!(!SpanContext::parse_amazon(turned).unwrap().is_sampled);
        for odd in [
            "",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e98-8bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000",
            &format!("{whole};Self={}", "x".repeat(512)),
        ] {
            assert_eq!(SpanContext::parse_amazon(odd), None, "{odd}");
        }
    }

    #[test]
    fn ids_differ_in_all_threads() {
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| (0..2_000).map(|_| random_id()).collect::<Vec<_>>()))
            .collect();
        let mut ids: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 16_000);
    }
}
