//! Expands gzip (RFC 1952) piece by piece, as the bytes come in. Each piece is small, whatever was
//! put in: who reads the pieces bounds the whole.

use std::io::{self, BufRead, ErrorKind, Read};

use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;

/// The most bytes of one expanded piece.
const PIECE: usize = 16 * 1024;

/// The bytes are not gzip, or end too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not gzip, though it says so, or cut off")]
pub(super) struct GunzipError;

/// Expands one gzip stream.
#[derive(Debug)]
pub(super) struct Gunzip(MultiGzDecoder<Input>);

/// The compressed bytes that have come and are not read yet.
#[derive(Debug, Default)]
struct Input {
    bytes: Bytes,
    is_end: bool,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self(MultiGzDecoder::new(Input::default()))
    }

    /// Adds compressed bytes. What was added before has to be read first.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.0.get_mut().bytes = bytes;
    }

    /// Notes that no more bytes come.
    pub(super) fn end(&mut self) {
        self.0.get_mut().is_end = true;
    }

    /// Returns the next expanded piece; `None` if there is none until more is added, or after the
    /// end.
    ///
    /// # Errors
    /// The bytes are not gzip, or ended too early.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, GunzipError> {
        let mut piece = vec![0; PIECE];
        match self.0.read(&mut piece) {
            Ok(0) => Ok(None),
            Ok(read) => {
                piece.truncate(read);
                Ok(Some(piece.into()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(GunzipError),
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.is_end {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, read: usize) {
        self.bytes.advance(read.min(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Expands what comes in pieces of this size.
    fn expand(compressed: &[u8], pieces: usize) -> Result<Vec<u8>, GunzipError> {
        let (mut gunzip, mut expanded) = (Gunzip::new(), Vec::new());
        let ends = compressed.chunks(pieces).map(Some).chain([None]);
        for chunk in ends {
            match chunk {
                Some(chunk) => gunzip.push(Bytes::copy_from_slice(chunk)),
                None => gunzip.end(),
            }
            while let Some(piece) = gunzip.next()? {
                assert!(piece.len() <= PIECE);
                expanded.extend_from_slice(&piece);
            }
        }
        Ok(expanded)
    }

    #[test]
    fn what_was_compressed_comes_back_however_it_is_cut() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut compressed = gzip(&bytes);
        for pieces in [1, 7, 1000, usize::MAX] {
            assert_eq!(expand(&compressed, pieces).unwrap(), bytes);
        }
        // Several members are one stream (RFC 1952 §2.2).
        compressed.extend(gzip(b"more"));
        assert_eq!(
            expand(&compressed, 3).unwrap(),
            [&bytes, &b"more"[..]].concat()
        );
        assert_eq!(expand(&gzip(b""), 1).unwrap(), b"");
    }

    #[test]
    fn what_is_flushed_is_there_before_the_end() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut gunzip = Gunzip::new();
        for event in ["data: one\n\n", "data: two\n\n"] {
            encoder.write_all(event.as_bytes()).unwrap();
            encoder.flush().unwrap();
            gunzip.push(std::mem::take(encoder.get_mut()).into());
            assert_eq!(gunzip.next(), Ok(Some(event.into())));
            assert_eq!(gunzip.next(), Ok(None));
        }
    }

    #[test]
    fn damage_is_an_error() {
        let compressed = gzip(b"something");
        for cut in [0, 5, compressed.len() / 2, compressed.len() - 1] {
            assert_eq!(expand(&compressed[..cut], 100), Err(GunzipError), "{cut}");
        }
        assert_eq!(expand(b"{\"jsonrpc\":\"2.0\"}", 100), Err(GunzipError));
        let mut wrong = compressed;
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        assert_eq!(expand(&wrong, 100), Err(GunzipError));
    }

    #[test]
    fn a_bomb_expands_piece_by_piece() {
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 1_000_000);
        let mut gunzip = Gunzip::new();
        gunzip.push(bomb.into());
        let mut pieces = 0;
        while let Ok(Some(piece)) = gunzip.next() {
            assert!(piece.len() <= PIECE);
            pieces += 1;
            if pieces == 10 {
                return;
            }
        }
        panic!("only {pieces} pieces");
    }
}
