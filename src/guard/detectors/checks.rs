//! Checksums: whether a value can be what it looks like.
//!
//! Each takes the value without separators, letters in capitals, in the form that its layout has
//! (`super::kinds`). Several kinds share most of them; those of one country are by region.

mod africa_asia_oceania;
mod americas;
mod europe;

pub(super) use africa_asia_oceania::*;
pub(super) use americas::*;
pub(super) use europe::*;

/// Returns the value of a digit; of anything else a number that is no digit.
pub(super) fn digit(byte: u8) -> u32 {
    u32::from(byte.wrapping_sub(b'0'))
}

/// Returns the digit at a place, counted from 0.
pub(super) fn at(value: &[u8], place: usize) -> u32 {
    value.get(place).map_or(u32::MAX, |byte| digit(*byte))
}

/// Returns the number that is written at these places.
pub(super) fn number(value: &[u8], from: usize, to: usize) -> u32 {
    let digits = value.get(from..to).unwrap_or_default();
    digits.iter().fold(0, |number, byte| {
        number.saturating_mul(10).saturating_add(digit(*byte))
    })
}

/// Returns the sum of digits times weights, for as many as there are weights.
pub(super) fn weighted(value: &[u8], weights: &[u32]) -> u32 {
    let pairs = value.iter().zip(weights);
    pairs.map(|(byte, weight)| digit(*byte) * weight).sum()
}

/// Returns whether the digits pass the Luhn check (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(value: &[u8]) -> bool {
    let digits = value.iter().rev().map(|byte| digit(*byte));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled @ 10..) => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Returns whether the digits pass the check of Verhoeff, by the dihedral group D5.
pub(super) fn verhoeff(value: &[u8]) -> bool {
    const PERMUTED: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut check = 0;
    for (place, byte) in value.iter().rev().enumerate() {
        let mut permuted = digit(*byte);
        for _ in 0..place % 8 {
            permuted = usize::try_from(permuted)
                .ok()
                .and_then(|at| PERMUTED.get(at).copied())
                .unwrap_or(0);
        }
        check = multiply(check, permuted);
    }
    check == 0
}

/// Multiplies in D5: rotations are 0 to 4, reflections 5 to 9.
fn multiply(a: u32, b: u32) -> u32 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// Returns whether the digits pass ISO/IEC 7064, MOD 11,10.
pub(super) fn mod_11_10(value: &[u8]) -> bool {
    let Some((last, digits)) = value.split_last() else {
        return false;
    };
    let product = digits.iter().fold(10, |product, byte| {
        let sum = (digit(*byte) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == digit(*last)
}

/// Returns the remainder by 97 of digits and letters, of which A is 10 and Z is 35.
pub(super) fn mod_97(value: impl IntoIterator<Item = u8>) -> u32 {
    value.into_iter().fold(0, |rest, byte| {
        if byte.is_ascii_digit() {
            (rest * 10 + digit(byte)) % 97
        } else {
            (rest * 100 + letter(byte) + 10) % 97
        }
    })
}

/// Returns the place of a letter in the alphabet, from 0.
pub(super) fn letter(byte: u8) -> u32 {
    u32::from(byte.wrapping_sub(b'A'))
}

/// Returns whether there is such a day. Without a year, 29 February is one.
pub(super) fn is_date(year: Option<u32>, month: u32, day: u32) -> bool {
    let is_leap = year.is_none_or(|year| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    });
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Returns whether all characters are the same, as in examples and placeholders.
pub(super) fn is_uniform(value: &[u8]) -> bool {
    value.windows(2).all(|pair| pair.first() == pair.last())
}

/// Passes whatever has the form: there is no checksum.
pub(super) fn any(value: &[u8]) -> bool {
    !is_uniform(value)
}

/// Checks a number of a payment card: the beginning is of a network, the length is one of its, and
/// the last digit is right (ISO/IEC 7812-1).
pub(super) fn card(value: &[u8]) -> bool {
    let (two, three, four) = (
        number(value, 0, 2),
        number(value, 0, 3),
        number(value, 0, 4),
    );
    let lengths = match (two, three, four) {
        // American Express.
        (34 | 37, ..) => 15..=15,
        // Diners Club.
        (_, 300..=305 | 309, _) | (38..=39, ..) => 14..=16,
        (36, ..) => 14..=19,
        // JCB.
        (_, _, 3528..=3589) => 16..=19,
        // Visa.
        (40..=49, ..) => 13..=19,
        // Mastercard.
        (51..=55, ..) | (_, _, 2221..=2720) => 16..=16,
        // Mir.
        (_, _, 2200..=2204) => 16..=19,
        // Troy.
        (_, _, 9792) => 16..=16,
        // Maestro, Discover, UnionPay, RuPay, InstaPayment.
        (50 | 56..=69, ..) => match two {
            60 | 62 | 64 | 65 => 16..=19,
            _ => 16..=19,
        },
        (81 | 82, ..) => 16..=19,
        _ => return false,
    };
    // Visa of 14, 15, 17 and 18 digits was never issued.
    let is_odd = (40..=49).contains(&two) && !matches!(value.len(), 13 | 16 | 19);
    lengths.contains(&value.len()) && !is_odd && luhn(value) && !is_uniform(value)
}

/// Checks an IBAN (ISO 13616): the length is that of its country, and its number by ISO/IEC 7064,
/// MOD 97-10, is 1.
pub(super) fn iban(value: &[u8]) -> bool {
    let country = value.get(..2).unwrap_or_default();
    let rest = value.get(4..).unwrap_or_default();
    let head = value.get(..4).unwrap_or_default();
    let all = rest.iter().chain(head).copied();
    iban_length(country) == Some(value.len()) && mod_97(all) == 1
}

/// Returns how long an IBAN of a country is: SWIFT's IBAN registry.
pub(super) fn iban_length(country: &[u8]) -> Option<usize> {
    const LENGTHS: &[(usize, &str)] = &[
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    ];
    /// By the two letters of a country; 0 where there is none.
    static TABLE: std::sync::LazyLock<[u8; 26 * 26]> = std::sync::LazyLock::new(|| {
        let mut table = [0; 26 * 26];
        for (length, countries) in LENGTHS {
            for country in countries.split(' ') {
                let place = place_of(country.as_bytes()).and_then(|at| table.get_mut(at));
                if let (Some(place), Ok(length)) = (place, u8::try_from(*length)) {
                    *place = length;
                }
            }
        }
        table
    });
    let length = TABLE.get(place_of(country)?).copied().unwrap_or(0);
    (length > 0).then_some(usize::from(length))
}

/// Returns the place of two capitals among all pairs of them.
fn place_of(letters: &[u8]) -> Option<usize> {
    let [first, second] = letters else {
        return None;
    };
    let number = |letter: &u8| {
        let is_capital = letter.is_ascii_uppercase();
        is_capital.then(|| usize::from(letter - b'A'))
    };
    Some(26 * number(first)? + number(second)?)
}

/// Checks a vehicle identification number as North America has it (49 CFR 565.15).
pub(super) fn vin(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut sum = 0;
    for (byte, weight) in value.iter().zip(WEIGHTS) {
        let value = match byte {
            b'0'..=b'9' => digit(*byte),
            b'I' | b'O' | b'Q' => return false,
            b'A'..=b'H' => letter(*byte) + 1,
            b'J'..=b'R' => letter(*byte) - 8,
            b'S'..=b'Z' => letter(*byte) - 16,
            _ => return false,
        };
        sum += value * weight;
    }
    let check = match value.get(8) {
        Some(b'X') => 10,
        Some(byte) => digit(*byte),
        None => return false,
    };
    let has_both = value.iter().any(u8::is_ascii_alphabetic);
    sum % 11 == check && has_both && value.len() == WEIGHTS.len()
}

/// Checks a business identifier code (ISO 9362): letters, a country, letters or digits. It has no
/// check digit: the country has to be one.
pub(super) fn swift(value: &[u8]) -> bool {
    let country = value.get(4..6).unwrap_or_default();
    // Countries without IBANs that have banks all the same.
    const OTHERS: &str = "AF AG AM AO AR AU BB BD BF BJ BM BN BO BS BW CA CD CI CL CM CN CO CV CU EC ET FJ GA GH GN GY HK HT ID IN IR JM JP KE KH KR KY LA LK LR MA MG ML MM MO MW MX MY MZ NA NE NG NP NZ PA PE PG PH PY RW SG SN SY SZ TD TG TH TJ TM TO TT TW TZ UG US UY UZ VE VN VU WS ZA ZM ZW";
    let is_country = std::str::from_utf8(country)
        .is_ok_and(|country| OTHERS.split(' ').any(|known| known == country));
    is_country || iban_length(country).is_some()
}

/// Returns the letter of a list at a remainder, and whether it is this one.
fn is_letter(list: &[u8], rest: u32, byte: Option<&u8>) -> bool {
    let right = usize::try_from(rest).ok().and_then(|at| list.get(at));
    right.is_some() && right == byte
}

/// Returns whether digits at `YYMMDD` are a day, in some century.
fn is_day(value: &[u8], year: usize, month: usize, day: usize) -> bool {
    // 2000 was a leap year, so that two digits say enough.
    let year = 2000 + number(value, year, year + 2);
    let (month, day) = (number(value, month, month + 2), number(value, day, day + 2));
    is_date(Some(year), month, day)
}

/// Returns whether the last digit is the weighted sum of those before by 11, of which 10 counts as 0.
fn ends_mod_11(value: &[u8], weights: &[u32]) -> bool {
    weighted(value, weights) % 11 % 10 == at(value, weights.len())
}

/// Passes two to four digits.
pub(super) fn card_verification(value: &[u8]) -> bool {
    any(value) || value.len() == 3
}

/// Checks month and year of a card.
pub(super) fn card_expiry(value: &[u8]) -> bool {
    (1..=12).contains(&number(value, 0, 2)) && matches!(value.len(), 4 | 6)
}
