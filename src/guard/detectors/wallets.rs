//! Addresses of Bitcoin (base58check; bech32 and bech32m, BIP 173 and BIP 350) and Ethereum.

use ring::digest::{SHA256, digest};

use super::boundary;
use super::search::{Evidence, TextSearch};

/// Looks for an address in one word.
pub(super) fn find(search: &mut TextSearch<'_>, class: u16, start: usize, end: usize) {
    let word = search.bytes().get(start..end).unwrap_or_default();
    let is_whole = boundary::may_begin(search.text, start) && boundary::may_end(search.text, end);
    let evidence = match word {
        [b'1' | b'3', ..] if (26..=35).contains(&word.len()) && is_base58check(word) => {
            Evidence::Checksum
        }
        [b'b' | b'B', b'c' | b'C', b'1', ..] if word.len() <= 90 && is_bech32(word) => {
            Evidence::Checksum
        }
        [b'0', b'x', body @ ..] if body.len() == 40 && body.iter().all(u8::is_ascii_hexdigit) => {
            Evidence::Form
        }
        _ => return,
    };
    if is_whole {
        search.add(start, end, class, evidence);
    }
}

/// Returns whether a word of at most 35 characters is base58 of 21 bytes and their checksum.
fn is_base58check(word: &[u8]) -> bool {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for byte in word {
        let Some(digit) = DIGITS.iter().position(|digit| digit == byte) else {
            return false;
        };
        let mut carry = u32::try_from(digit).unwrap_or(0);
        for place in bytes.iter_mut().rev() {
            carry += u32::from(*place) * 58;
            *place = carry.to_le_bytes().first().copied().unwrap_or(0);
            carry >>= 8;
        }
        if carry > 0 {
            return false;
        }
    }
    let Some((body, check)) = bytes.split_last_chunk::<4>() else {
        return false;
    };
    let twice = digest(&SHA256, digest(&SHA256, body).as_ref());
    twice.as_ref().starts_with(check) && matches!(body.first(), Some(0 | 5))
}

fn is_bech32(word: &[u8]) -> bool {
    const DIGITS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let has_both =
        word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    let Some(data) = word.get(3..).filter(|data| data.len() >= 6 && !has_both) else {
        return false;
    };
    let step = |check: u32, value: u32| {
        let top = check >> 25;
        let next = (check & 0x01ff_ffff) << 5 ^ value;
        let bits = GENERATOR.iter().enumerate();
        bits.fold(next, |next, (bit, term)| {
            if top >> bit & 1 == 1 {
                next ^ term
            } else {
                next
            }
        })
    };
    // The prefix `bc`, expanded.
    let mut check = [3, 3, 0, 2, 3].into_iter().fold(1, step);
    for byte in data {
        let Some(value) = DIGITS
            .iter()
            .position(|digit| *digit == byte.to_ascii_lowercase())
        else {
            return false;
        };
        check = step(check, u32::try_from(value).unwrap_or(0));
    }
    matches!(check, 1 | 0x2bc8_30a3)
}
