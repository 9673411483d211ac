//! Watches the frames of HTTP/2 for a header block that does not end: one HEADERS frame and
//! CONTINUATION frames until END_HEADERS (RFC 9113 §6.2, §6.10). Nothing else may come between them,
//! so that one block holds up the whole connection.

/// The bytes of a frame's head.
const HEAD: usize = 9;
/// The beginning of a client's connection (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The place in the frames that have arrived.
#[derive(Debug, Default)]
pub(super) struct HeaderBlock {
    /// Bytes of the preface that have arrived; `None` if this is not HTTP/2.
    preface: usize,
    is_other: bool,
    head: [u8; HEAD],
    /// Bytes of `head` that have arrived.
    filled: usize,
    /// Bytes of the frame's payload that are to come.
    left: usize,
    is_open: bool,
}

impl HeaderBlock {
    /// Takes bytes that have arrived, and returns whether a header block has begun and not ended.
    pub(super) fn note(&mut self, mut bytes: &[u8]) -> bool {
        while !self.is_other && !bytes.is_empty() {
            if let Some(expected) = PREFACE.get(self.preface) {
                self.is_other = bytes.first() != Some(expected);
                self.preface += 1;
                bytes = bytes.get(1..).unwrap_or_default();
            } else if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
            } else {
                let (first, rest) = bytes
                    .split_first()
                    .map_or((0, bytes), |(b, rest)| (*b, rest));
                if let Some(to) = self.head.get_mut(self.filled) {
                    *to = first;
                }
                self.filled += 1;
                bytes = rest;
                if self.filled == HEAD {
                    self.begin_frame();
                }
            }
        }
        self.is_open
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.filled = 0;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_open = flags & END_HEADERS == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![7; usize::from(length)]);
        frame
    }

    #[test]
    fn a_header_block_is_open_until_its_end() {
        let mut all = PREFACE.to_vec();
        all.extend(frame(4, 0, 6));
        all.extend(frame(HEADERS, END_HEADERS, 20));
        for size in [1, 3, 1000] {
            let mut block = HeaderBlock::default();
            assert!(all.chunks(size).all(|bytes| !block.note(bytes)));
            assert!(block.note(&frame(HEADERS, 1, 5)));
            assert!(block.note(&frame(CONTINUATION, 0, 5)));
            assert!(!block.note(&frame(CONTINUATION, END_HEADERS, 0)));
        }
        let mut other = HeaderBlock::default();
        assert!(!other.note(b"POST /mcp HTTP/1.1\r\n"));
        assert!(!other.note(&frame(HEADERS, 0, 5)));
    }
}
