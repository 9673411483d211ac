//! The classes that weir knows.

/// A class that weir knows.
pub(super) struct KnownClass {
    /// Its name.
    pub name: &'static str,
    /// The word of its pseudonyms, if that is shorter than the name.
    pub word: &'static str,
    /// How values of it are found.
    pub origin: Finding,
    /// Whether it has so few values that they can all be tried.
    pub is_guessable: bool,
}

/// How values of a class are found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// In text, by its form.
    Text,
    /// By the path of a field that a config names, or by a hook: text does not show it.
    Field,
}

const fn text(name: &'static str, word: &'static str) -> KnownClass {
    KnownClass {
        name,
        word,
        origin: Finding::Text,
        is_guessable: false,
    }
}

const fn field(name: &'static str) -> KnownClass {
    KnownClass {
        name,
        word: "",
        origin: Finding::Field,
        is_guessable: false,
    }
}

const fn guessable(class: KnownClass) -> KnownClass {
    KnownClass {
        is_guessable: true,
        ..class
    }
}

/// All of them, sorted by name.
pub(super) const KNOWN: &[KnownClass] = &[
    field("ADDRESS"),
    guessable(field("AGE")),
    text("API_KEY", ""),
    text("AR_CUIT", ""),
    text("AT_SOCIAL_SECURITY", ""),
    text("AU_ABN", ""),
    text("AU_ACN", ""),
    text("AU_MEDICARE", ""),
    text("AU_TFN", ""),
    text("AWS_ACCESS_KEY", ""),
    text("AWS_SECRET_KEY", ""),
    text("BE_NATIONAL_NUMBER", ""),
    text("BG_EGN", ""),
    text("BR_CNPJ", ""),
    text("BR_CPF", ""),
    text("CA_HEALTH_NUMBER", ""),
    text("CA_SOCIAL_INSURANCE_NUMBER", "ca_sin"),
    text("CH_AHV", ""),
    text("CL_RUT", ""),
    text("CN_RESIDENT_ID", ""),
    guessable(text("CREDIT_DEBIT_CARD_CVV", "cvv")),
    guessable(text("CREDIT_DEBIT_CARD_EXPIRY", "expiry")),
    text("CREDIT_DEBIT_CARD_NUMBER", "card"),
    text("CRYPTO", ""),
    text("CZ_BIRTH_NUMBER", ""),
    guessable(field("DATE")),
    guessable(field("DATE_OF_BIRTH")),
    text("DE_HEALTH_INSURANCE", ""),
    text("DE_ID_CARD", ""),
    text("DE_LANR", ""),
    text("DE_SOCIAL_SECURITY", ""),
    text("DE_TAX_ID", ""),
    text("DE_VAT_ID", ""),
    text("DK_CPR", ""),
    text("DRIVER_ID", ""),
    text("EE_PERSONAL_CODE", ""),
    text("EMAIL", "email"),
    text("ES_NIE", ""),
    text("ES_NIF", ""),
    text("ES_SOCIAL_SECURITY", ""),
    text("FI_PERSONAL_IDENTITY_CODE", "fi_hetu"),
    text("FR_NIR", ""),
    text("GR_AFM", ""),
    text("GR_AMKA", ""),
    text("HR_OIB", ""),
    text("IE_PPSN", ""),
    text("IL_ID", ""),
    text("INTERNATIONAL_BANK_ACCOUNT_NUMBER", "iban"),
    text("IN_AADHAAR", ""),
    text("IN_GSTIN", ""),
    text("IN_PAN", ""),
    text("IP_ADDRESS", "ip"),
    text("IT_FISCAL_CODE", ""),
    text("IT_VAT_CODE", ""),
    text("JMBG", ""),
    text("JP_MY_NUMBER", ""),
    text("JSON_WEB_TOKEN", "jwt"),
    text("KR_BRN", ""),
    text("KR_RRN", ""),
    guessable(field("LICENSE_PLATE")),
    text("LT_PERSONAL_CODE", ""),
    text("MAC_ADDRESS", "mac"),
    text("MEDICAL_LICENSE", ""),
    text("MX_CURP", ""),
    text("MX_RFC", ""),
    field("NAME"),
    text("NG_NIN", ""),
    text("NL_BSN", ""),
    text("NO_FNR", ""),
    text("PASSWORD", ""),
    text("PHONE", "phone"),
    guessable(field("PIN")),
    text("PL_ID_CARD", ""),
    text("PL_NIP", ""),
    text("PL_PESEL", ""),
    text("PRIVATE_KEY", ""),
    text("PT_NIF", ""),
    text("RO_CNP", ""),
    text("SE_ORGANISATIONSNUMMER", ""),
    text("SE_PERSONNUMMER", ""),
    text("SG_NRIC_FIN", ""),
    text("SG_UEN", ""),
    text("SWIFT_CODE", "swift"),
    text("TH_TNIN", ""),
    text("TR_NATIONAL_ID", ""),
    text("TW_ID", ""),
    text("UK_NATIONAL_HEALTH_SERVICE_NUMBER", "uk_nhs"),
    text("UK_NATIONAL_INSURANCE_NUMBER", "uk_nino"),
    text("UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER", "uk_utr"),
    text("URL", "url"),
    field("USERNAME"),
    text("US_BANK_ACCOUNT_NUMBER", "us_account"),
    text("US_BANK_ROUTING_NUMBER", "us_routing"),
    text("US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "us_itin"),
    text("US_MBI", ""),
    text("US_NPI", ""),
    text("US_PASSPORT_NUMBER", "us_passport"),
    text("US_SOCIAL_SECURITY_NUMBER", "ssn"),
    text("VEHICLE_IDENTIFICATION_NUMBER", "vin"),
    text("ZA_ID_NUMBER", ""),
];
