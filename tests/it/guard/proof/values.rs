//! Values that are planted: each kind has a part that nothing else has, by which it is found again.

use weir::classes::Class;

use super::random::Random;

/// Parts of planted values, in lower case, and digits without separators. Whatever has one of them has a
/// planted value in it.
pub const MARKS: [&str; 3] = ["zanzibar", "quagga", "zq471108"];
pub const DIGITS: [&str; 3] = ["4539578763", "370400440532", "4930555123"];

/// The class of the config's own.
pub const OWN: &str = "detectors: { STAFF: { pattern: \"ZQ47[1]108[0-9]{3}\" } }";

/// A value of a class, as it is written in a text.
#[derive(Clone, Debug)]
pub struct Planted {
    pub class: &'static str,
    pub text: String,
}

impl Planted {
    /// The word that its pseudonyms begin with.
    pub fn word(&self) -> String {
        Class::known(self.class).map_or_else(|| self.class.to_lowercase(), |class| class.word())
    }

    /// Any value that is found in text.
    pub fn any(random: &mut Random) -> Self {
        let number = random.below(1_000_000);
        let (class, text) = match random.below(5) {
            0 => ("CREDIT_DEBIT_CARD_NUMBER", card(random, number)),
            1 => ("INTERNATIONAL_BANK_ACCOUNT_NUMBER", iban(random, number)),
            2 => ("PHONE", phone(random, number)),
            3 => ("STAFF", format!("ZQ471108{:03}", number % 1000)),
            _ => return Self::mail(random),
        };
        Self { class, text }
    }

    /// An e-mail address, spelled in one of the ways of text.
    pub fn mail(random: &mut Random) -> Self {
        let number = random.below(1_000_000);
        let plain = format!("zanzibar.{number}@quagga.example.com");
        let text = match random.below(8) {
            0 => plain.replace('@', "%40"),
            1 => plain.replace('@', "&#64;"),
            2 => plain.replace('@', "&#x40;").replace("zanz", "Zanz"),
            3 => plain.to_uppercase(),
            _ => plain,
        };
        Self {
            class: "EMAIL",
            text,
        }
    }

    /// One that can be part of a URI.
    pub fn plain_mail(random: &mut Random) -> Self {
        let number = random.below(1_000_000);
        Self {
            class: "EMAIL",
            text: format!("zanzibar.{number}@quagga.example.com"),
        }
    }

    /// A name, which is known by its field only.
    pub fn name(random: &mut Random) -> Self {
        let number = random.below(1_000_000);
        Self {
            class: "NAME",
            text: format!("Zanzibar {number} Quagga"),
        }
    }

    /// The digits of a card, for a number.
    pub fn digits(random: &mut Random) -> Self {
        let number = random.below(100_000);
        Self {
            class: "CREDIT_DEBIT_CARD_NUMBER",
            text: card_digits(number),
        }
    }
}

fn grouped(digits: &str, by: &str) -> String {
    let groups: Vec<_> = digits
        .as_bytes()
        .chunks(4)
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(by)
}

fn card(random: &mut Random, number: usize) -> String {
    grouped(&card_digits(number), random.choose::<&str>(&["", " ", "-"]))
}

/// Sixteen digits, the last by Luhn.
fn card_digits(number: usize) -> String {
    let body = format!("{}{:05}", DIGITS[0], number % 100_000);
    let sum: u32 = body
        .bytes()
        .rev()
        .zip(0..)
        .map(|(byte, at)| match (u32::from(byte - b'0'), at % 2) {
            (digit, 0) => digit * 2 / 10 + digit * 2 % 10,
            (digit, _) => digit,
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// A German IBAN (ISO 13616): 98 less the number before it, modulo 97.
fn iban(random: &mut Random, number: usize) -> String {
    let body = format!("{}{:06}", DIGITS[1], number);
    let whole: u128 = format!("{body}131400").parse().unwrap();
    let text = format!("DE{:02}{body}", 98 - whole % 97);
    grouped(&text, random.choose::<&str>(&["", " "]))
}

fn phone(random: &mut Random, number: usize) -> String {
    let rest = format!("{:03}", number % 1000);
    match random.below(3) {
        0 => format!("+4930555123{rest}"),
        1 => format!("+49 30 555123{rest}"),
        _ => format!("+49-30-555123{rest}"),
    }
}
