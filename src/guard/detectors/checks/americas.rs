//! Checks of numbers of people and firms in the Americas.
//!
//! python-stdnum and the pages of the offices describe them; a name tells the office.

use super::{at, digit, is_day, is_letter, is_uniform, letter, luhn, number, weighted};

pub(in crate::guard::detectors) fn ar_cuit(value: &[u8]) -> bool {
    let rest = weighted(value, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let is_kind = matches!(
        number(value, 0, 2),
        20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34
    );
    // There is no digit for 10.
    let check = ((11 - rest) % 11).min(9);
    is_kind && check == at(value, 10)
}

pub(in crate::guard::detectors) fn br_cpf(value: &[u8]) -> bool {
    let check = |sum: u32| sum * 10 % 11 % 10;
    let first = check(weighted(value, &[10, 9, 8, 7, 6, 5, 4, 3, 2]));
    let second = check(weighted(value, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]));
    first == at(value, 9) && second == at(value, 10) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn br_cnpj(value: &[u8]) -> bool {
    let check = |sum: u32| match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    let first = check(weighted(value, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]));
    let second = check(weighted(value, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]));
    first == at(value, 12) && second == at(value, 13) && !is_uniform(value)
}

/// Checks a number without separators: that of a firm with a hundred branches could be a time,
/// `20241129123456`.
pub(in crate::guard::detectors) fn br_cnpj_of_few_branches(value: &[u8]) -> bool {
    number(value, 8, 10) == 0 && br_cnpj(value)
}

pub(in crate::guard::detectors) fn ca_sin(value: &[u8]) -> bool {
    !matches!(at(value, 0), 0 | 8) && luhn(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn ca_health_number(value: &[u8]) -> bool {
    at(value, 0) > 0 && luhn(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn cl_rut(value: &[u8]) -> bool {
    let Some((last, body)) = value.split_last() else {
        return false;
    };
    let weights = [2, 3, 4, 5, 6, 7].into_iter().cycle();
    let sum: u32 = body
        .iter()
        .rev()
        .zip(weights)
        .map(|(byte, weight)| digit(*byte) * weight)
        .sum();
    is_letter(b"0123456789K", (11 - sum % 11) % 11, Some(last)) && !is_uniform(body)
}

pub(in crate::guard::detectors) fn mx_curp(value: &[u8]) -> bool {
    const STATES: &[u8] = b"AS BC BS CC CS CH CL CM DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS NE";
    let letters = |byte: u8| match byte {
        b'0'..=b'9' => digit(byte),
        // Ñ comes after N.
        b'A'..=b'N' => letter(byte) + 10,
        _ => letter(byte) + 11,
    };
    let body = value.get(..17).unwrap_or_default();
    let sum: u32 = body
        .iter()
        .zip((2..=18).rev())
        .map(|(byte, weight)| letters(*byte) * weight)
        .sum();
    let is_sex = value.get(10).is_some_and(|byte| b"HMX".contains(byte));
    let state = value.get(11..13).unwrap_or_default();
    let is_state = STATES
        .split(|byte| *byte == b' ')
        .any(|known| known == state);
    is_day(value, 4, 6, 8) && is_sex && is_state && (10 - sum % 10) % 10 == at(value, 17)
}

/// Checks a tax number of Mexico with its three characters at the end: the last is right.
pub(in crate::guard::detectors) fn mx_rfc(value: &[u8]) -> bool {
    let letters = value
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    is_day(value, letters, letters + 2, letters + 4)
}

pub(in crate::guard::detectors) fn us_ssn(value: &[u8]) -> bool {
    let (area, group, serial) = (
        number(value, 0, 3),
        number(value, 3, 5),
        number(value, 5, 9),
    );
    !matches!(area, 0 | 666 | 900..) && group > 0 && serial > 0 && !is_uniform(value)
}

pub(in crate::guard::detectors) fn us_itin(value: &[u8]) -> bool {
    let group = number(value, 3, 5);
    at(value, 0) == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

pub(in crate::guard::detectors) fn us_npi(value: &[u8]) -> bool {
    // Luhn with the prefix 80840, whose digits add 24 (45 CFR 162.406).
    let mut prefixed = [b'0'; 15];
    for (to, from) in prefixed.iter_mut().zip(b"80840".iter().chain(value)) {
        *to = *from;
    }
    matches!(at(value, 0), 1 | 2)
        && luhn(&prefixed)
        && !is_uniform(value.get(..9).unwrap_or_default())
}

pub(in crate::guard::detectors) fn us_routing(value: &[u8]) -> bool {
    let sum = weighted(value, &[3, 7, 1, 3, 7, 1, 3, 7, 1]);
    let is_given = matches!(number(value, 0, 2), 1..=12 | 21..=32 | 61..=72 | 80);
    is_given && sum.is_multiple_of(10)
}

/// Checks a registration number of the Drug Enforcement Administration.
pub(in crate::guard::detectors) fn us_dea(value: &[u8]) -> bool {
    let digits = value.get(2..).unwrap_or_default();
    let sum = weighted(digits, &[1, 2, 1, 2, 1, 2]);
    let is_kind = value
        .first()
        .is_some_and(|byte| b"ABCDEFGHJKLMPRSTUX".contains(byte));
    is_kind && sum % 10 == at(digits, 6) && !is_uniform(digits)
}

/// Checks the form of a Medicare beneficiary identifier: no S, L, O, I, B, Z.
pub(in crate::guard::detectors) fn us_mbi(value: &[u8]) -> bool {
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic());
    let is_used = letters.clone().all(|byte| !b"SLOIBZ".contains(byte));
    at(value, 0) > 0 && is_used && letters.count() >= 4
}
