//! Checks of numbers of people and firms in Europe.
//!
//! python-stdnum and the pages of the offices describe them; a name tells the office.

use super::{
    at, digit, ends_mod_11, is_date, is_day, is_letter, is_uniform, letter, luhn, mod_11_10,
    number, weighted,
};

pub(in crate::guard::detectors) fn at_social_security(value: &[u8]) -> bool {
    let sum = weighted(value, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    // Months up to 15 stand for unknown days.
    let is_day = is_day(value, 8, 6, 4) || (13..=15).contains(&number(value, 6, 8));
    sum % 11 == at(value, 3) && is_day && at(value, 0) > 0
}

pub(in crate::guard::detectors) fn be_national_number(value: &[u8]) -> bool {
    let body = u64::from(number(value, 0, 9));
    let check = u64::from(number(value, 9, 11));
    let is_right = |body: u64| 97 - body % 97 == check;
    // Months are 20 or 40 higher in numbers for foreigners.
    let month = number(value, 2, 4) % 20;
    let is_day = month <= 12 && number(value, 4, 6) <= 31;
    // Since 2000 there is a 2 before the number.
    let is_young = number(value, 0, 2) < 40 && is_right(body + 2_000_000_000);
    is_day && (is_right(body) || is_young) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn bg_egn(value: &[u8]) -> bool {
    let month = number(value, 2, 4);
    let month = if month > 40 {
        month - 40
    } else if month > 20 {
        month - 20
    } else {
        month
    };
    let year = 2000 + number(value, 0, 2);
    let is_day = is_date(Some(year), month, number(value, 4, 6));
    is_day && ends_mod_11(value, &[2, 4, 8, 5, 10, 9, 7, 3, 6])
}

pub(in crate::guard::detectors) fn ch_ahv(value: &[u8]) -> bool {
    // EAN-13: the country is 756.
    let sum = weighted(value, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    number(value, 0, 3) == 756 && sum.is_multiple_of(10)
}

pub(in crate::guard::detectors) fn cz_birth_number(value: &[u8]) -> bool {
    let month = match number(value, 2, 4) {
        month @ 71.. => month - 70,
        month @ 51.. => month - 50,
        month @ 21.. => month - 20,
        month => month,
    };
    let year = 2000 + number(value, 0, 2);
    // Until 1985 a remainder of 10 was written as 0.
    let check = number(value, 0, 9) % 11 % 10;
    is_date(Some(year), month, number(value, 4, 6)) && check == at(value, 9)
}

pub(in crate::guard::detectors) fn de_health_insurance(value: &[u8]) -> bool {
    let Some((first, digits)) = value.split_first() else {
        return false;
    };
    let place = letter(*first) + 1;
    let body = digits.get(..8).unwrap_or_default();
    let body = [place / 10, place % 10]
        .into_iter()
        .chain(body.iter().map(|byte| digit(*byte)));
    let sum: u32 = body
        .zip([1, 2].into_iter().cycle())
        .map(|(d, w)| d * w / 10 + d * w % 10)
        .sum();
    sum % 10 == at(value, 9)
}

/// Checks a document number by ICAO Doc 9303 part 3: weights 7, 3, 1.
pub(in crate::guard::detectors) fn icao(value: &[u8]) -> bool {
    let Some((last, body)) = value.split_last() else {
        return false;
    };
    let values = body.iter().map(|byte| match byte.is_ascii_digit() {
        true => digit(*byte),
        false => letter(*byte) + 10,
    });
    let sum: u32 = values
        .zip([7, 3, 1].into_iter().cycle())
        .map(|(v, w)| v * w)
        .sum();
    // Letters that are taken for digits are not used.
    let is_used = body.iter().all(|byte| !b"ABDEIOQSU".contains(byte));
    sum % 10 == digit(*last) && is_used && !is_uniform(value)
}

pub(in crate::guard::detectors) fn de_lanr(value: &[u8]) -> bool {
    (10 - weighted(value, &[4, 9, 4, 9, 4, 9]) % 10) % 10 == at(value, 6) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn de_social_security(value: &[u8]) -> bool {
    let (day, month) = (number(value, 2, 4), number(value, 4, 6));
    let place = value.get(8).map_or(0, |byte| letter(*byte)) + 1;
    let head = value
        .get(..8)
        .unwrap_or_default()
        .iter()
        .map(|byte| digit(*byte));
    let tail = value
        .get(9..11)
        .unwrap_or_default()
        .iter()
        .map(|byte| digit(*byte));
    let all = head.chain([place / 10, place % 10]).chain(tail);
    let sum: u32 = all
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(d, w)| d * w / 10 + d * w % 10)
        .sum();
    let is_day = (1..=31).contains(&(day % 50)) && day <= 81 && (1..=12).contains(&month);
    is_day && sum % 10 == at(value, 11)
}

pub(in crate::guard::detectors) fn de_tax_id(value: &[u8]) -> bool {
    let body = value.get(..10).unwrap_or_default();
    let count = |wanted: u8| body.iter().filter(|byte| **byte == wanted).count();
    // One digit occurs twice or three times, and no other more than once.
    let mut repeated = (b'0'..=b'9').map(count).filter(|count| *count > 1);
    let is_given = matches!(repeated.next(), Some(2 | 3)) && repeated.next().is_none();
    at(value, 0) > 0 && is_given && mod_11_10(value)
}

pub(in crate::guard::detectors) fn de_vat_id(value: &[u8]) -> bool {
    let digits = value.get(2..).unwrap_or_default();
    mod_11_10(digits) && digits.first().is_some_and(|byte| *byte != b'0')
}

pub(in crate::guard::detectors) fn dk_cpr(value: &[u8]) -> bool {
    is_day(value, 4, 2, 0) && !is_uniform(value)
}

/// Checks a personal code of Estonia or Lithuania.
pub(in crate::guard::detectors) fn baltic(value: &[u8]) -> bool {
    let first = weighted(value, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(value, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10;
    let check = if first < 10 { first } else { second };
    (1..=8).contains(&at(value, 0)) && is_day(value, 1, 3, 5) && check == at(value, 10)
}

const SPANISH: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";

pub(in crate::guard::detectors) fn es_nif(value: &[u8]) -> bool {
    let number = number(value, 0, value.len().saturating_sub(1));
    is_letter(SPANISH, number % 23, value.last()) && number > 0
}

pub(in crate::guard::detectors) fn es_nie(value: &[u8]) -> bool {
    let Some((first @ b'X'..=b'Z', rest)) = value.split_first() else {
        return false;
    };
    let digits = rest.len().saturating_sub(1);
    let number = u32::from(first - b'X') * 10_u32.pow(u32::try_from(digits).unwrap_or(0))
        + number(rest, 0, digits);
    is_letter(SPANISH, number % 23, value.last())
}

pub(in crate::guard::detectors) fn es_social_security(value: &[u8]) -> bool {
    let (province, serial) = (
        u64::from(number(value, 0, 2)),
        u64::from(number(value, 2, 10)),
    );
    let whole = if serial < 10_000_000 {
        province * 10_000_000 + serial
    } else {
        province * 100_000_000 + serial
    };
    (1..=66).contains(&province) && whole % 97 == u64::from(number(value, 10, 12))
}

pub(in crate::guard::detectors) fn fi_personal_identity_code(value: &[u8]) -> bool {
    let tail = value.len().saturating_sub(4);
    let body = number(value, 0, 6) * 1000 + number(value, tail, tail + 3);
    is_letter(b"0123456789ABCDEFHJKLMNPRSTUVWXY", body % 31, value.last()) && is_day(value, 4, 2, 0)
}

pub(in crate::guard::detectors) fn fr_nir(value: &[u8]) -> bool {
    let body = value.get(..13).unwrap_or_default();
    let body = body.iter().fold(0_u64, |body, byte| match byte {
        // Corsica: 2A counts as 19, 2B as 18.
        b'A' => (body * 10).saturating_sub(1),
        b'B' => (body * 10).saturating_sub(2),
        byte => body * 10 + u64::from(digit(*byte)),
    });
    let month = number(value, 3, 5);
    let is_born = (1..=12).contains(&month) || (20..=42).contains(&month) || month >= 50;
    let has_sex = matches!(value.first(), Some(b'1'..=b'4' | b'7' | b'8'));
    has_sex && is_born && 97 - body % 97 == u64::from(number(value, 13, 15))
}

pub(in crate::guard::detectors) fn gr_afm(value: &[u8]) -> bool {
    let sum = weighted(value, &[256, 128, 64, 32, 16, 8, 4, 2]);
    sum % 11 % 10 == at(value, 8) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn gr_amka(value: &[u8]) -> bool {
    is_day(value, 4, 2, 0) && luhn(value)
}

pub(in crate::guard::detectors) fn hr_oib(value: &[u8]) -> bool {
    mod_11_10(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn ie_ppsn(value: &[u8]) -> bool {
    let second = match value.get(8) {
        Some(byte @ b'A'..=b'I') => letter(*byte) + 1,
        // W, T and X of earlier numbers count nothing.
        Some(b'T' | b'W' | b'X') | None => 0,
        Some(_) => return false,
    };
    let sum = weighted(value, &[8, 7, 6, 5, 4, 3, 2]) + 9 * second;
    is_letter(b"WABCDEFGHIJKLMNOPQRSTUV", sum % 23, value.get(7))
}

pub(in crate::guard::detectors) fn it_fiscal_code(value: &[u8]) -> bool {
    /// Values of digits and letters at odd places, counted from 1.
    const ODD: &[u32] = &[
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let Some((last, body)) = value.split_last() else {
        return false;
    };
    let plain = |byte: u8| {
        if byte.is_ascii_digit() {
            digit(byte)
        } else {
            letter(byte)
        }
    };
    let odd = |value: u32| {
        usize::try_from(value)
            .ok()
            .and_then(|at| ODD.get(at))
            .copied()
    };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(place, byte)| match place % 2 {
            0 => odd(plain(*byte)).unwrap_or(0),
            _ => plain(*byte),
        })
        .sum();
    // Digits may be letters, where two people would have the same code.
    let is_digit = |place: usize| {
        let byte = value.get(place);
        byte.is_some_and(|byte| byte.is_ascii_digit() || b"LMNPQRSTUV".contains(byte))
    };
    let is_month = value
        .get(8)
        .is_some_and(|byte| b"ABCDEHLMPRST".contains(byte));
    let has_digits = [6, 7, 9, 10, 12, 13, 14].into_iter().all(is_digit);
    sum % 26 == letter(*last) && is_month && has_digits
}

pub(in crate::guard::detectors) fn it_vat_code(value: &[u8]) -> bool {
    luhn(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn jmbg(value: &[u8]) -> bool {
    let sum = weighted(value, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    let check = (11 - sum % 11) % 11 % 10;
    let year = number(value, 4, 7);
    let is_day = is_date(Some(year), number(value, 2, 4), number(value, 0, 2));
    is_day && (year >= 880 || year <= 99) && check == at(value, 12)
}

pub(in crate::guard::detectors) fn nl_bsn(value: &[u8]) -> bool {
    let sum = weighted(value, &[9, 8, 7, 6, 5, 4, 3, 2]);
    let last = at(value, 8);
    sum >= last && (sum - last).is_multiple_of(11) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn no_fnr(value: &[u8]) -> bool {
    let first = (11 - weighted(value, &[3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11) % 11;
    let second = (11 - weighted(value, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    // D-numbers have 40 more in the day.
    let day = number(value, 0, 2) % 40;
    let year = 2000 + number(value, 4, 6);
    let is_day = is_date(Some(year), number(value, 2, 4) % 40, day);
    is_day && first == at(value, 9) && second == at(value, 10)
}

pub(in crate::guard::detectors) fn pl_id_card(value: &[u8]) -> bool {
    let values = value.iter().map(|byte| match byte.is_ascii_digit() {
        true => digit(*byte),
        false => letter(*byte) + 10,
    });
    // The check digit is the fourth character.
    let sum: u32 = values
        .zip([7, 3, 1, 9, 7, 3, 1, 7, 3])
        .map(|(v, w)| v * w)
        .sum();
    sum.is_multiple_of(10)
}

pub(in crate::guard::detectors) fn pl_nip(value: &[u8]) -> bool {
    weighted(value, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == at(value, 9) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn pl_pesel(value: &[u8]) -> bool {
    let sum = weighted(value, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    // The century is in the month.
    let year = 2000 + number(value, 0, 2);
    let month = number(value, 2, 4) % 20;
    is_date(Some(year), month, number(value, 4, 6)) && sum.is_multiple_of(10)
}

pub(in crate::guard::detectors) fn pt_nif(value: &[u8]) -> bool {
    let rest = weighted(value, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    check == at(value, 8) && !matches!(at(value, 0), 0 | 4) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn ro_cnp(value: &[u8]) -> bool {
    let rest = weighted(value, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let check = if rest == 10 { 1 } else { rest };
    at(value, 0) > 0 && is_day(value, 1, 3, 5) && check == at(value, 12)
}

/// Checks a personal identity number of Sweden, of ten or twelve digits. Coordination numbers have
/// 60 more in the day.
pub(in crate::guard::detectors) fn se_personnummer(value: &[u8]) -> bool {
    let ten = value
        .get(value.len().saturating_sub(10)..)
        .unwrap_or_default();
    let day = number(ten, 4, 6) % 60;
    let year = 2000 + number(ten, 0, 2);
    let is_day = is_date(Some(year), number(ten, 2, 4), day);
    let century = number(value, 0, 2);
    is_day && luhn(ten) && (value.len() == 10 || (18..=20).contains(&century))
}

pub(in crate::guard::detectors) fn se_organisationsnummer(value: &[u8]) -> bool {
    at(value, 2) >= 2 && luhn(value) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn uk_nhs(value: &[u8]) -> bool {
    let rest = weighted(value, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    (11 - rest) % 11 == at(value, 9) && !is_uniform(value)
}

pub(in crate::guard::detectors) fn uk_nino(value: &[u8]) -> bool {
    let prefix = value.get(..2).unwrap_or_default();
    let is_given = ![b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ"]
        .iter()
        .any(|other| prefix == *other);
    let first = prefix.first().is_some_and(|byte| !b"DFIQUV".contains(byte));
    let second = prefix.last().is_some_and(|byte| !b"DFIQUVO".contains(byte));
    let suffix = value.get(8).is_none_or(|byte| (b'A'..=b'D').contains(byte));
    is_given && first && second && suffix
}

pub(in crate::guard::detectors) fn uk_utr(value: &[u8]) -> bool {
    let rest = weighted(
        value.get(1..).unwrap_or_default(),
        &[6, 7, 8, 9, 10, 5, 4, 3, 2],
    ) % 11;
    let digits = b"21987654321";
    is_letter(digits, rest, value.first()) && !is_uniform(value)
}

/// Checks a driver number of Great Britain: five of the name, date and sex, initials.
pub(in crate::guard::detectors) fn uk_driver(value: &[u8]) -> bool {
    let name = value.get(..5).unwrap_or_default();
    let letters = name
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let fills = name.iter().skip(letters).all(|byte| *byte == b'9');
    let digits = value.get(5..11).unwrap_or_default();
    let month = number(value, 6, 8) % 50;
    let day = number(value, 8, 10);
    letters > 0
        && fills
        && digits.iter().all(u8::is_ascii_digit)
        && is_date(None, month, day)
        && value
            .get(11)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'9')
}
