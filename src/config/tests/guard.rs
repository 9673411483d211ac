//! `guard`: its rules, and what is said of their errors.

use super::*;

const UPSTREAM: &str = "upstreams: { x: { command: x } }\n";

fn wrong(redact: &str) -> String {
    let text = format!("guard: {{ redact: {redact} }}\n{UPSTREAM}");
    parse(&text, Path::new("weir.yaml"), &env)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_class_that_there_is_not_is_an_error_with_the_one_that_was_meant() {
    for (written, meant) in [
        ("EMIAL", "EMAIL"),
        ("email", "EMAIL"),
        ("SSN", "US_SOCIAL_SECURITY_NUMBER"),
        ("IBAN", "INTERNATIONAL_BANK_ACCOUNT_NUMBER"),
        ("CREDIT_CARD", "CREDIT_DEBIT_CARD_NUMBER"),
    ] {
        let said = wrong(&format!("{{ towards_upstream: {{ {written}: mask }} }}"));
        let expected = format!("`{written}` is no class of data (did you mean `{meant}`?)");
        assert!(said.ends_with(&expected), "{said}");
        let place = format!("guard.redact.towards_upstream.{written}: ");
        assert!(said.contains(&place), "{said}");
    }
    let said = wrong("{ towards_upstream: { SOMETHING_ELSE: mask } }");
    assert!(said.contains("`detectors`"), "{said}");
}

#[test]
fn an_action_that_there_is_not_is_an_error_with_the_one_that_was_meant() {
    let said = wrong("{ towards_upstream: { EMAIL: tokenize } }");
    assert!(said.contains("did you mean `tokenise`?"), "{said}");
}

#[test]
fn rules_that_would_do_nothing_or_too_much_are_errors() {
    for (redact, expected) in [
        (
            "{ towards_upstream: { NAME: mask } }",
            "no pattern finds values of this class",
        ),
        (
            "{ towards_upstream: { PIN: tokenise }, fields: { '$.pin': PIN } }",
            "can be guessed",
        ),
        (
            "{ detectors: { A: { pattern: 'x*' } } }",
            "matches the empty text",
        ),
        (
            "{ detectors: { A: { pattern: '(a' } } }",
            "detectors.A.pattern: ",
        ),
        (
            "{ detectors: { A: { pattern: '(?=a)b' } } }",
            "detectors.A.pattern: ",
        ),
        (
            "{ detectors: { A: { pattern: '(x{1000}){1000}' } } }",
            "detectors.A.pattern: ",
        ),
        ("{ detectors: { a: { pattern: 'x' } } }", "capital letters"),
        (
            "{ detectors: { EMAIL: { pattern: 'x' } } }",
            "weir has a class of this name",
        ),
        ("{ fields: { a.b: EMAIL } }", "not a path of a field"),
        ("{ key: { value: short } }", "at least 32 bytes"),
        ("{ tenant: '' }", "must not be empty"),
    ] {
        let said = wrong(redact);
        assert!(said.contains(expected), "{redact}: {said}");
        assert!(
            !said.contains("short\n") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn classes_of_the_config_and_fields_are_known_at_every_level() {
    let text = "guard:
  redact:
    detectors: { EMPLOYEE: { pattern: 'E[0-9]{6}' } }
    fields: { '$.name': NAME }
upstreams:
  x:
    command: x
    guard: { redact: { towards_upstream: { EMPLOYEE: tokenise, NAME: mask } } }
    tools: { override: { t: { guard: { redact: { towards_caller: { EMPLOYEE: restore, '*': mask } } } } } }
";
    let config = config(text);
    let (_, upstream) = config.upstreams.first().unwrap();
    let rules = &upstream.guard.rules.redact;
    assert_eq!(
        rules.towards_upstream.get("EMPLOYEE"),
        Some(RedactAction::Tokenise)
    );
    assert_eq!(rules.towards_upstream.get("EMAIL"), None);
    let tool = &upstream.guard.tools["t"].redact;
    assert_eq!(tool.towards_caller.get("EMAIL"), Some(RedactAction::Mask));
    assert_eq!(
        tool.towards_caller.get("EMPLOYEE"),
        Some(RedactAction::Restore)
    );
}

#[test]
fn other_rules_of_an_upstream_need_no_new_link() {
    let with = |action: &str| {
        config(&format!(
            "upstreams: {{ x: {{ command: x, guard: {{ redact: {{ towards_upstream: {{ EMAIL: {action} }} }} }} }} }}\n"
        ))
    };
    let (mask, block) = (with("mask"), with("block"));
    let fingerprint = |config: &Config| config.upstreams.first().unwrap().1.fingerprint;
    assert_eq!(fingerprint(&mask), fingerprint(&block));
    assert!(!mask.is_same(&block));
    assert!(mask.is_same(&with("mask")));
}

#[test]
fn the_samples_with_rules_for_data_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let env = |name: &str| (name == "WEIR_PSEUDONYMS").then(|| "x".repeat(32));
    for sample in ["bank", "hospital", "public-office"] {
        let config = load(&folder.join(format!("{sample}.yaml")), &env);
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        assert!(!config.guard.rules.redact.is_empty(), "{sample}");
    }
}
