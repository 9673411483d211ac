//! The names of classes of data, as Amazon Bedrock Guardrails has them
//! (`PiiEntityType` in the API reference), and those of identifiers and secrets that it does not know.

/// The classes that weir knows, in alphabetical order. Those without a detector are for `fields` only.
pub const CLASSES: &[&str] = &[
    "ADDRESS",
    "AGE",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "CA_HEALTH_NUMBER",
    "CA_SOCIAL_INSURANCE_NUMBER",
    "CREDIT_DEBIT_CARD_CVV",
    "CREDIT_DEBIT_CARD_EXPIRY",
    "CREDIT_DEBIT_CARD_NUMBER",
    "DATE",
    "DRIVER_ID",
    "EMAIL",
    "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
    "IP_ADDRESS",
    "LICENSE_PLATE",
    "MAC_ADDRESS",
    "NAME",
    "PASSWORD",
    "PHONE",
    "PIN",
    "SWIFT_CODE",
    "UK_NATIONAL_HEALTH_SERVICE_NUMBER",
    "UK_NATIONAL_INSURANCE_NUMBER",
    "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER",
    "URL",
    "USERNAME",
    "US_BANK_ACCOUNT_NUMBER",
    "US_BANK_ROUTING_NUMBER",
    "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER",
    "US_PASSPORT_NUMBER",
    "US_SOCIAL_SECURITY_NUMBER",
    "VEHICLE_IDENTIFICATION_NUMBER",
];

/// Classes of which so few values exist that a pseudonym, which is the same for the same value,
/// could be guessed: they are masked and never tokenised.
pub const GUESSABLE: &[&str] = &[
    "AGE",
    "CREDIT_DEBIT_CARD_CVV",
    "CREDIT_DEBIT_CARD_EXPIRY",
    "DATE",
    "PIN",
];

/// Most characters of the name of a class.
const NAME: usize = 64;

/// Returns whether a text may be the name of a class.
#[must_use]
pub fn is_class_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= NAME
        && text.bytes().all(legal)
        && text.starts_with(|first: char| first.is_ascii_uppercase())
}
