use super::*;

fn all() -> Detectors {
    Detectors::compile(Class::all().filter(Class::is_detected), []).unwrap()
}

fn only(names: &[&str]) -> Detectors {
    let classes = names.iter().map(|name| Class::known(name).unwrap());
    Detectors::compile(classes, []).unwrap()
}

/// Returns what is found, as `CLASS value`.
fn found(detectors: &Detectors, text: &str) -> Vec<String> {
    let found = detectors.find(text).into_iter();
    found
        .map(|found| format!("{} {}", found.class, &text[found.range]))
        .collect()
}

#[test]
fn values_are_found_where_they_are_and_in_order() {
    let text = "Pay 4111 1111 1111 1111 for max@example.com, from DE89 3704 0044 0532 0130 00.";
    let expected = [
        "CREDIT_DEBIT_CARD_NUMBER 4111 1111 1111 1111",
        "EMAIL max@example.com",
        "INTERNATIONAL_BANK_ACCOUNT_NUMBER DE89 3704 0044 0532 0130 00",
    ];
    assert_eq!(found(&all(), text), expected);
    assert_eq!(found(&only(&["EMAIL"]), text), expected[1..2]);
    assert!(found(&only(&["PHONE"]), text).is_empty());
}

#[test]
fn a_url_is_found_around_what_is_in_it() {
    let text = "https://a.example/?to=max@example.com&x=1";
    let expected = [
        "URL https://a.example/?to=",
        "EMAIL max@example.com",
        "URL &x=1",
    ];
    assert_eq!(found(&all(), text), expected);
    let text = "postgres://app:hunter2@db.example.com/x";
    let expected = ["PASSWORD hunter2"];
    assert_eq!(found(&only(&["PASSWORD", "EMAIL"]), text), expected);
    // Also with something before its scheme.
    for before in [
        "1.",
        "42",
        "+",
        "-",
        "7.5-",
        "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15",
    ] {
        let text = format!("{before}{text}");
        assert_eq!(found(&only(&["PASSWORD", "EMAIL"]), &text), expected);
        let url = only(&["URL"]).find(&text);
        assert_eq!(url.len(), 1, "{text}");
        assert_eq!(url[0].range, before.len()..text.len());
    }
}

#[test]
fn a_name_says_what_a_number_is() {
    let detectors = only(&["NL_BSN", "PL_PESEL", "PHONE", "CREDIT_DEBIT_CARD_NUMBER"]);
    assert!(detectors.find("111222333").is_empty());
    for name in ["bsn", "customerBsn", "bsn_number", "burgerservicenummer"] {
        assert_eq!(detectors.find_named(name, "111222333").len(), 1, "{name}");
        let class = detectors.find_in_number(name, "111222333").unwrap();
        assert_eq!(class.name(), "NL_BSN");
    }
    assert_eq!(detectors.find_in_number("total", "111222333"), None);
    let number = |number: &str| {
        detectors
            .find_in_number("", number)
            .map(|class| class.to_string())
    };
    assert_eq!(
        number("4111111111111111").as_deref(),
        Some("CREDIT_DEBIT_CARD_NUMBER")
    );
    assert_eq!(number("44051401359").as_deref(), Some("PL_PESEL"));
    for other in [
        "4111111111111112",
        "1732900000",
        "1",
        "",
        "4.1",
        "-1",
        "1e5",
    ] {
        assert_eq!(number(other), None, "{other}");
    }
    let phone = detectors.find_in_number("phone", "4155552671").unwrap();
    assert_eq!(phone.name(), "PHONE");
}

#[test]
fn values_in_other_digits_and_with_invisible_characters_are_found() {
    let detectors = only(&["CREDIT_DEBIT_CARD_NUMBER", "PHONE", "EMAIL"]);
    for text in [
        "４１１１ １１１１ １１１１ １１１１",
        "٤١١١ ١١١١ ١١١١ ١١١١",
        "4111\u{200b}1111\u{200b}1111\u{200b}1111",
        "41\u{ad}11 1111 1111 1111",
    ] {
        let around = format!("金 {text}、ä");
        assert_eq!(
            found(&detectors, &around),
            [format!("CREDIT_DEBIT_CARD_NUMBER {text}")]
        );
    }
    assert_eq!(
        found(&detectors, "０９０ー１２３４ー５６７８です"),
        ["PHONE ０９０ー１２３４ー５６７８"]
    );
    assert_eq!(
        found(&detectors, "ｍａｘ＠example.com"),
        ["EMAIL ｍａｘ＠example.com"]
    );
    // Over the borders of the pieces in which such a text is looked at.
    for before in (65_400..65_700).step_by(3) {
        let text = format!("{}４111 1111 1111 1111 ", "a ".repeat(before / 2));
        assert_eq!(detectors.find(&text).len(), 1, "{before}");
    }
    let many = "４111 1111 1111 1111, ".repeat(10_000);
    assert_eq!(detectors.find(&many).len(), 10_000);
}

#[test]
fn patterns_of_the_config_are_found_beside_the_others() {
    let own = Class::own("EMPLOYEE").unwrap();
    let email = Class::known("EMAIL").unwrap();
    let detectors = Detectors::compile([email], [(own, "E[0-9]{6}")]).unwrap();
    let expected = ["EMPLOYEE E123456", "EMAIL max@example.com"];
    assert_eq!(found(&detectors, "E123456 is max@example.com"), expected);
}

#[test]
fn a_pattern_that_cannot_be_used_is_refused_with_its_class() {
    let error = |pattern: &str| {
        let own = Class::own("EMPLOYEE").unwrap();
        Detectors::compile([], [(own, pattern)])
            .unwrap_err()
            .to_string()
    };
    for pattern in ["(", "(?=x)", r"(a)\1", "((a{1000}){1000}){1000}"] {
        assert_eq!(
            error(pattern),
            "the pattern of EMPLOYEE cannot be used",
            "{pattern}"
        );
    }
    assert_eq!(
        error("x*"),
        "the pattern of EMPLOYEE matches the empty text"
    );
    let error = Detectors::compile([Class::known("NAME").unwrap()], []).unwrap_err();
    assert!(
        error.to_string().starts_with("NAME is not found in text"),
        "{error}"
    );
    let patterns = (0..257).map(|number| (Class::own(&format!("A{number}")).unwrap(), "x"));
    assert!(matches!(
        Detectors::compile([], patterns),
        Err(DetectorsError::Many)
    ));
}

#[test]
fn a_pattern_that_would_explode_elsewhere_takes_linear_time() {
    let own = Class::own("EMPLOYEE").unwrap();
    let detectors = Detectors::compile([], [(own, "^(a+)+$")]).unwrap();
    assert!(
        detectors
            .find(&format!("{}b", "a".repeat(100_000)))
            .is_empty()
    );
}

#[test]
fn many_values_are_found_and_too_many_are_one() {
    let detectors = all();
    let text = "max@example.com ".repeat(100_000);
    let found = detectors.find(&text);
    assert_eq!(found.len(), 100_000);
    assert!(found.iter().all(|found| found.range.len() == 15));
    let text = "max@example.com ".repeat(scan::MOST + 1_000);
    let found = detectors.find(&text);
    assert!(found.len() <= scan::MOST + 2, "{}", found.len());
    assert_eq!(
        found.last().unwrap().range.end,
        text.len(),
        "nothing is left out"
    );
}

/// Texts that would take long if a detector began anew in what another had read.
#[test]
fn no_text_takes_more_than_its_length() {
    let detectors = all();
    for part in [
        "http://",
        "eyJ",
        "eyJhbGciOiJ.",
        "sk-",
        "xoxb-",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n-----END ",
        "1 ",
        "11 ",
        "1.",
        "1:",
        "a@",
        "@",
        "@a.",
        "a.",
        "(1)",
        "+1",
        "DE89 ",
        "%40",
        "a_",
        "12-34-",
        "fe80::",
        "https://a)))",
        "\\n1",
        "\"@",
        "\u{200b}1",
        "1\u{a0}",
        "A/",
        "0 1234 ",
        "１",
    ] {
        // A quadratic one would take minutes.
        let text = part.repeat((256 << 10) / part.len());
        let found = detectors.find(&text);
        assert!(
            found
                .iter()
                .all(|found| text.get(found.range.clone()).is_some()),
            "{part}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn detections_are_in_order_and_whole_characters(text in "[ -~äß€漢\u{200b}１２３\\-@.:/+]{0,80}") {
        let mut end = 0;
        for found in all().find(&text) {
            proptest::prop_assert!(found.range.start >= end && !found.range.is_empty());
            proptest::prop_assert!(text.get(found.range.clone()).is_some());
            end = found.range.end;
        }
    }
}
