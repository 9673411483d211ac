//! Checks of numbers of people and firms in Africa, Asia and Oceania.
//!
//! python-stdnum and the pages of the offices describe them; a name tells the office.

use super::{
    at, digit, is_date, is_day, is_letter, is_uniform, letter, luhn, number, verhoeff, weighted,
};

pub(in crate::guard::detectors) fn au_abn(value: &[u8]) -> bool {
    let sum = weighted(value, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    // One is taken from the first digit, whose weight is 10.
    at(value, 0) > 0 && (sum - 10).is_multiple_of(89) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn au_acn(value: &[u8]) -> bool {
    let sum = weighted(value, &[8, 7, 6, 5, 4, 3, 2, 1]);
    (10 - sum % 10) % 10 == at(value, 8) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn au_medicare(value: &[u8]) -> bool {
    let sum = weighted(value, &[1, 3, 7, 9, 1, 3, 7, 9]);
    (2..=6).contains(&at(value, 0)) && sum % 10 == at(value, 8)
}

pub(in crate::guard::detectors) fn au_tfn(value: &[u8]) -> bool {
    let sum = weighted(value, &[1, 4, 3, 7, 5, 8, 6, 9, 10]);
    sum.is_multiple_of(11) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn cn_resident_id(value: &[u8]) -> bool {
    let sum = weighted(
        value,
        &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2],
    );
    let year = number(value, 6, 10);
    let is_day = is_date(Some(year), number(value, 10, 12), number(value, 12, 14));
    is_day && (1900..=2100).contains(&year) && is_letter(b"10X98765432", sum % 11, value.last())
}

pub(in crate::guard::detectors) fn il_id(value: &[u8]) -> bool {
    luhn(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn in_aadhaar(value: &[u8]) -> bool {
    at(value, 0) >= 2 && verhoeff(value) && !value.iter().eq(value.iter().rev())
}

pub(in crate::guard::detectors) fn in_gstin(value: &[u8]) -> bool {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let place = |byte: u8| {
        if byte.is_ascii_digit() {
            digit(byte)
        } else {
            letter(byte) + 10
        }
    };
    let body = value.get(..14).unwrap_or_default();
    let sum: u32 = body
        .iter()
        .zip([1, 2].into_iter().cycle())
        .map(|(byte, weight)| place(*byte) * weight / 36 + place(*byte) * weight % 36)
        .sum();
    let state = number(value, 0, 2);
    (1..=38).contains(&state) && is_letter(DIGITS, (36 - sum % 36) % 36, value.last())
}

pub(in crate::guard::detectors) fn in_pan(value: &[u8]) -> bool {
    value
        .get(3)
        .is_some_and(|byte| b"ABCFGHJLPT".contains(byte))
}

pub(in crate::guard::detectors) fn jp_my_number(value: &[u8]) -> bool {
    let sum = weighted(value, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    let check = match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    check == at(value, 11) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn kr_brn(value: &[u8]) -> bool {
    let sum = weighted(value, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + at(value, 8) * 5 / 10;
    (10 - sum % 10) % 10 == at(value, 9) && !is_uniform(value)
}

/// Checks the day and the sex of a resident of Korea. Numbers given since October 2020 have no check
/// digit.
pub(in crate::guard::detectors) fn kr_rrn(value: &[u8]) -> bool {
    is_day(value, 0, 2, 4) && (1..=8).contains(&at(value, 6))
}

pub(in crate::guard::detectors) fn kr_rrn_checked(value: &[u8]) -> bool {
    let sum = weighted(value, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    kr_rrn(value) && (11 - sum % 11) % 10 == at(value, 12)
}

pub(in crate::guard::detectors) fn ng_nin(value: &[u8]) -> bool {
    verhoeff(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn sg_nric_fin(value: &[u8]) -> bool {
    let digits = value.get(1..8).unwrap_or_default();
    let sum = weighted(digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (letters, more): (&[u8], u32) = match value.first() {
        Some(b'S') => (b"JZIHGFEDCBA", 0),
        Some(b'T') => (b"JZIHGFEDCBA", 4),
        Some(b'F') => (b"XWUTRQPNMLK", 0),
        Some(b'G') => (b"XWUTRQPNMLK", 4),
        Some(b'M') => (b"KLJNPQRTUWX", 3),
        _ => return false,
    };
    // The list of M runs the other way.
    let rest = match value.first() {
        Some(b'M') => 10 - (sum + more) % 11,
        _ => (sum + more) % 11,
    };
    is_letter(letters, rest, value.last())
}

pub(in crate::guard::detectors) fn sg_uen(value: &[u8]) -> bool {
    let is_digits = |value: &[u8]| value.iter().all(u8::is_ascii_digit);
    let body = value.split_last().map_or(value, |(_, body)| body);
    if value.len() == 9 {
        let sum = weighted(value, &[10, 4, 9, 3, 8, 2, 7, 1]);
        return is_digits(body) && is_letter(b"XMKECAWLJDB", sum % 11, value.last());
    }
    if is_digits(body) {
        let sum = weighted(value, &[10, 8, 6, 4, 9, 7, 5, 3, 1]);
        let is_year = (1800..=2100).contains(&number(value, 0, 4));
        return is_year && is_letter(b"ZKCMDNERGWH", sum % 11, value.last());
    }
    const OTHERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWX0123456789";
    let places = body
        .iter()
        .map(|byte| OTHERS.iter().position(|other| other == byte));
    let sum = places
        .zip([4, 3, 5, 3, 10, 2, 2, 5, 7])
        .try_fold(0_u32, |sum, (place, weight)| {
            let place = u32::try_from(place?).ok()?;
            Some(sum + place * weight)
        });
    let right = sum.map(|sum| (sum + 11 * 5 - 5) % 11);
    right.is_some_and(|right| is_letter(OTHERS, right, value.last()))
}

pub(in crate::guard::detectors) fn th_tnin(value: &[u8]) -> bool {
    let sum = weighted(value, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    at(value, 0) > 0 && (11 - sum % 11) % 10 == at(value, 12) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn tr_national_id(value: &[u8]) -> bool {
    let odd = weighted(value, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(value, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let tenth = (odd * 7 + 100 - even) % 10;
    let sum = odd + even + at(value, 9);
    at(value, 0) > 0 && tenth == at(value, 9) && sum % 10 == at(value, 10)
}

pub(in crate::guard::detectors) fn tw_id(value: &[u8]) -> bool {
    // Numbers of letters, 10 to 35, in the order of the alphabet.
    const LETTERS: [u32; 26] = [
        10, 11, 12, 13, 14, 15, 16, 17, 34, 18, 19, 20, 21, 22, 35, 23, 24, 25, 26, 27, 28, 29, 32,
        30, 31, 33,
    ];
    let first = value.first().map_or(0, |byte| letter(*byte));
    let first = usize::try_from(first)
        .ok()
        .and_then(|at| LETTERS.get(at))
        .copied()
        .unwrap_or(0);
    let digits = value.get(1..).unwrap_or_default();
    let sum = first / 10 + first % 10 * 9 + weighted(digits, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    matches!(at(value, 1), 1 | 2 | 8 | 9) && sum.is_multiple_of(10)
}

pub(in crate::guard::detectors) fn za_id_number(value: &[u8]) -> bool {
    is_day(value, 0, 2, 4) && at(value, 10) <= 2 && luhn(value)
}
