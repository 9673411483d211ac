//! The chain: `seq`, `prev` and `hash` at the end of each line.
//!
//! `hash` is SHA-256 over the line without it: over the bytes of the line with
//! `,"hash":"…"` taken out. `prev` is the `hash` of the line before; that of the first line is 64
//! zeros. Lines are compact JSON in UTF-8, so a reader that keeps the order of members gets the same
//! bytes when it writes the other members again.

use ring::digest::{Context, SHA256};

/// The `hash` of a line: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineHash([u8; 64]);

/// The end of a chain: the number and the hash of its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainEnd {
    pub(super) seq: u64,
    pub(super) hash: LineHash,
}

/// The members at the end of a line, which were found to be right about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineEnd {
    pub(super) seq: u64,
    pub(super) prev: LineHash,
    pub(super) hash: LineHash,
}

/// The bytes before the number, the hash of the line before, and the hash.
const SEQ: &[u8] = b",\"seq\":";
const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b",\"hash\":\"";
/// The bytes from `,"hash"` on.
const HASH_LEN: usize = HASH.len() + 64 + 2;
/// The bytes from `,"prev"` to before `,"hash"`.
const PREV_LEN: usize = PREV.len() + 64 + 1;

impl LineHash {
    /// That of the line before the first one.
    pub(super) const NONE: Self = Self([b'0'; 64]);

    /// Computes the hash of a line: its bytes without `,"hash":"…"`, in two parts.
    fn of(line: &[u8], rest: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
        let mut context = Context::new(&SHA256);
        context.update(line);
        context.update(rest);
        let found = context.finish();
        let mut hex = [0; 64];
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(found.as_ref()) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        Self(hex)
    }

    /// Reads one: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let hex: [u8; 64] = text.try_into().ok()?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        hex.iter().all(is_digit).then_some(Self(hex))
    }

    /// Returns the digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl ChainEnd {
    /// The end of a chain without lines.
    pub(super) const EMPTY: Self = Self {
        seq: 0,
        hash: LineHash::NONE,
    };

    /// Ends a line: adds the three members, the brace and the line break to its members, and moves on.
    pub(super) fn end_line(&mut self, line: &mut Vec<u8>) {
        self.seq += 1;
        line.extend_from_slice(SEQ);
        line.extend_from_slice(self.seq.to_string().as_bytes());
        line.extend_from_slice(PREV);
        line.extend_from_slice(&self.hash.0);
        line.push(b'"');
        self.hash = LineHash::of(line, b"}");
        line.extend_from_slice(HASH);
        line.extend_from_slice(&self.hash.0);
        line.extend_from_slice(b"\"}\n");
    }
}

impl LineEnd {
    /// Reads the end of a line, given without its line break; `None` if it is no line of the chain,
    /// or its hash is not that of its bytes.
    pub(super) fn check(line: &[u8]) -> Option<Self> {
        let (hashed, hash) = line.split_at_checked(line.len().checked_sub(HASH_LEN)?)?;
        let hash = hash.strip_prefix(HASH)?.strip_suffix(b"\"}")?;
        let hash = LineHash::parse(hash)?;
        let (rest, prev) = hashed.split_at_checked(hashed.len().checked_sub(PREV_LEN)?)?;
        let prev = LineHash::parse(prev.strip_prefix(PREV)?.strip_suffix(b"\"")?)?;
        let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit());
        let (rest, digits) = rest.split_at_checked(rest.len() - digits.count())?;
        let text = std::str::from_utf8(digits).ok()?;
        let seq = text.parse().ok().filter(|_| !text.starts_with('0'))?;
        if !rest.ends_with(SEQ) || !rest.starts_with(b"{") {
            return None;
        }
        (LineHash::of(hashed, b"}") == hash).then_some(Self { seq, prev, hash })
    }

    /// Returns the end of the chain after this line.
    pub(super) fn after(self) -> ChainEnd {
        ChainEnd {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_in_its_number_the_hash_before_it_and_its_own() {
        let mut end = ChainEnd::EMPTY;
        let mut first = b"{\"time\":\"t\"".to_vec();
        end.end_line(&mut first);
        let zeros = "0".repeat(64);
        // printf '{"time":"t","seq":1,"prev":"000…"}' | sha256sum
        let without = format!("{{\"time\":\"t\",\"seq\":1,\"prev\":\"{zeros}\"}}");
        let hash = LineHash::of(without.as_bytes(), b"");
        let text = String::from_utf8(first.clone()).unwrap();
        assert_eq!(
            text,
            format!(
                "{{\"time\":\"t\",\"seq\":1,\"prev\":\"{zeros}\",\"hash\":\"{}\"}}\n",
                hash.as_str()
            )
        );
        let mut second = b"{\"time\":\"u\"".to_vec();
        end.end_line(&mut second);
        let line = second.strip_suffix(b"\n").unwrap();
        let found = LineEnd::check(line).unwrap();
        assert_eq!((found.seq, found.prev), (2, hash));
        assert_eq!(found.after(), end);
    }

    #[test]
    fn a_hash_is_that_of_sha256() {
        // printf abc | sha256sum
        assert_eq!(
            LineHash::of(b"a", b"bc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn no_byte_of_a_line_can_change() {
        let mut line = "{\"agent\":\"é 0\"".as_bytes().to_vec();
        let mut end = ChainEnd::EMPTY;
        end.end_line(&mut line);
        line.pop();
        assert!(LineEnd::check(&line).is_some());
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(LineEnd::check(&changed), None, "{at} {bit}");
            }
            let mut shorter = line.clone();
            shorter.remove(at);
            assert_eq!(LineEnd::check(&shorter), None, "{at}");
        }
    }
}
