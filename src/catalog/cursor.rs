//! Cursors: where a list goes on, in which generation.
//!
//! A cursor is opaque to callers and needs no secret: it only selects a page of what the caller may
//! list anyway, and every field is looked up, so a forged one gets a page or an error and nothing
//! else. It names the generation and the content it was made for, so that paging stays consistent
//! across a swap.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::catalog::{Digest, Kind};
use crate::protocol::era::Era;

/// The layout, so that another one can be told apart: version, kind and era, generation, digest,
/// page.
const VERSION: u8 = 1;
const BYTES: usize = 22;

/// Where a list goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which list.
    pub kind: Kind,
    /// For callers of which era: their pages may end elsewhere.
    pub era: Era,
    /// The generation whose list this is.
    pub generation: u64,
    /// [`Digest::prefix`] of that list, which generations of equal content share.
    pub digest: [u8; 8],
    /// The index of the page.
    pub page: usize,
}

/// Text that is not a cursor of weir's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct CursorError;

impl Cursor {
    /// A cursor for a page of a list with this digest.
    #[must_use]
    pub const fn new(kind: Kind, era: Era, generation: u64, digest: Digest, page: usize) -> Self {
        Self {
            kind,
            era,
            generation,
            digest: digest.prefix(),
            page,
        }
    }

    /// The cursor as callers see it: 30 characters of base64url, which need no escapes in JSON.
    #[must_use]
    pub fn encode(&self) -> String {
        let kind = match self.kind {
            // Instructions are not listed: no cursor names them.
            Kind::Tools | Kind::Instructions => 0,
            Kind::Prompts => 1,
            Kind::Resources => 2,
            Kind::Templates => 3,
        };
        let era = match self.era {
            Era::Legacy => 0,
            Era::Modern => 4,
        };
        // No catalog has 2^32 pages.
        let page = u32::try_from(self.page).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&[VERSION, kind | era]);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&page.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor.
    ///
    /// # Errors
    /// The text is not one that [`Self::encode`] makes.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        let mut bytes = [0; BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(BYTES) => {}
            _ => return Err(CursorError),
        }
        let (head, rest) = bytes.split_first_chunk::<2>().ok_or(CursorError)?;
        let (generation, rest) = rest.split_first_chunk::<8>().ok_or(CursorError)?;
        let (digest, rest) = rest.split_first_chunk::<8>().ok_or(CursorError)?;
        let page = rest.first_chunk::<4>().ok_or(CursorError)?;
        let (kind, era) = match *head {
            [VERSION, what @ 0..8] => (
                *Kind::ALL.get(usize::from(what & 3)).ok_or(CursorError)?,
                if what < 4 { Era::Legacy } else { Era::Modern },
            ),
            _ => return Err(CursorError),
        };
        Ok(Self {
            kind,
            era,
            generation: u64::from_be_bytes(*generation),
            digest: *digest,
            page: usize::try_from(u32::from_be_bytes(*page)).map_err(|_| CursorError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        let cursor = Cursor {
            kind: Kind::Resources,
            era: Era::Modern,
            generation: 7,
            digest: *b"digest 8",
            page: 3,
        };
        assert_eq!(cursor.encode(), "AQYAAAAAAAAAB2RpZ2VzdCA4AAAAAw");
        assert_eq!(Cursor::decode("AQYAAAAAAAAAB2RpZ2VzdCA4AAAAAw"), Ok(cursor));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "AQ",
            "abc",
            "AgYAAAAAAAAAB2RpZ2VzdCA4AAAAAw",
            "AQgAAAAAAAAAB2RpZ2VzdCA4AAAAAw",
            "AQYAAAAAAAAAB2RpZ2VzdCA4AAAAA",
            "AQYAAAAAAAAAB2RpZ2VzdCA4AAAAAx",
            "AQYAAAAAAAAAB2RpZ2VzdCA4AAAAAwAA",
            "AQYAAAAAAAAAB2RpZ2VzdCA4AAAAAw==",
            "AQYAAAAAAAAAB2RpZ2VzdCA4AAA+Aw",
            &"A".repeat(100_000),
        ] {
            assert_eq!(Cursor::decode(text), Err(CursorError), "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn any_cursor_comes_back(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            modern: bool,
            generation: u64,
            digest: [u8; 8],
            page: u32,
        ) {
            let era = if modern { Era::Modern } else { Era::Legacy };
            let cursor = Cursor { kind, era, generation, digest, page: page as usize };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn any_text_is_refused_or_is_what_it_decodes_to(text in "[A-Za-z0-9_-]{30}") {
            if let Ok(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }
    }
}
