//! Text → a tree of nodes.

mod builder;

use saphyr_parser::Parser;

use super::node::{MAX_BYTES, Node, Position, SyntaxError, Value};
use super::{advice, jsonc};
use builder::TreeBuilder;

/// The result of parsing: a tree, unless the text is incomplete, and all errors.
pub(crate) struct ParsedDocument {
    pub(crate) root: Option<Node>,
    pub(crate) errors: Vec<(Position, SyntaxError)>,
}

/// Parses one document.
pub(crate) fn parse(text: &str) -> ParsedDocument {
    if text.len() > MAX_BYTES {
        return ParsedDocument {
            root: None,
            errors: vec![(Position::START, SyntaxError::TooLarge)],
        };
    }
    // Editors on Windows begin files with a byte order mark.
    let text = jsonc::to_yaml(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut builder = TreeBuilder::default();
    let read = builder.run(Parser::new_from_str(&text));
    let explain = |(at, error)| (at, in_plain_words(error, at, &text));
    builder.errors = builder.errors.into_iter().map(explain).collect();
    match read.map_err(explain) {
        Ok(()) => ParsedDocument {
            root: Some(builder.root.unwrap_or(Node {
                at: Position::START,
                value: Value::Null,
            })),
            errors: builder.errors,
        },
        Err(fatal) => {
            builder.errors.push(fatal);
            ParsedDocument {
                root: None,
                errors: builder.errors,
            }
        }
    }
}

/// Replaces an error by one that says what to write.
fn in_plain_words(error: SyntaxError, at: Position, text: &str) -> SyntaxError {
    if let SyntaxError::Grammar(info) = &error {
        return advice::explain(info, at, text);
    }
    if error == SyntaxError::Key && advice::is_template(text, at) {
        return SyntaxError::Template;
    }
    error
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let reading = parse(text);
        assert_eq!(reading.errors, []);
        reading.root.unwrap().to_json()
    }

    fn error(text: &str) -> String {
        let (at, error) = parse(text).errors.into_iter().next().unwrap();
        format!("{at}: {error}")
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        insta::assert_snapshot!(
            json("[1, 0x1F, 0o17, +7, 007, -.5, 1., 1e400, 123456789012345678901234567890, .inf, yes, no, ~, True, '1', !!str 2, 1.2.3, 1_000]"),
            @r#"[1,31,15,7,7,-0.5,1,1e400,123456789012345678901234567890,".inf","yes","no",null,true,"1","2","1.2.3","1_000"]"#
        );
    }

    #[test]
    fn json_is_a_subset_even_with_tabs_comments_and_surrogates() {
        insta::assert_snapshot!(
            json("// head\n{\n\t\"a\": \"http://x/*y*/\", /* in */ \"b\": \"\\ud83d\\ude00\\/\", // tail\n\t\"c\": [1, 2,],\n}\n"),
            @r#"{"a":"http://x/*y*/","b":"😀/","c":[1,2]}"#
        );
    }

    #[test]
    fn a_quoted_merge_key_is_a_key() {
        assert_eq!(json(r#"{"<<": "<<"}"#), r#"{"<<":"<<"}"#);
        assert_eq!(json("a: <<"), r#"{"a":"<<"}"#);
    }

    #[test]
    fn aliases_repeat_a_value() {
        assert_eq!(json("a: &x [1]\nb: *x"), r#"{"a":[1],"b":[1]}"#);
    }

    #[test]
    fn what_is_wrong_with_a_text_has_a_position() {
        insta::assert_snapshot!(
            [
                "a: 1\nb: {c: 1, c: 2}",
                "a: [1\nb: 2",
                "a: b: c",
                "a: 1\n---\nb: 2",
                "a: *nope",
                "a: &x [*x]",
                "[a]: 1",
                "a: &x {b: 1}\nc:\n  <<: *x",
                "a: !env X",
            ]
            .map(error)
            .join("\n"),
            @r#"
    2:11: key `c` is already written at 2:5
    2:2: a closing `]` or `}` is missing before this line
    1:5: a value that has `: ` in it needs quotes
    2:1: a second document; a config file holds one
    1:4: a value that begins with `*` needs quotes, such as "*" or "*_list"
    1:8: an alias inside its own anchor
    1:1: a key must be plain text
    3:3: YAML 1.2 has no merge key `<<`; write the keys out
    1:4: tag `!env` has no meaning here
    "#
        );
    }

    #[test]
    fn size_depth_and_expansion_are_bounded() {
        let bomb = (1..20).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
            let alias = format!("*a{}", level - 1);
            format!(
                "{text}a{level}: &a{level} [{}]\n",
                [alias.as_str(); 10].join(",")
            )
        });
        let long = format!("- &a {}\n{}", "x".repeat(100_000), "- *a\n".repeat(1000));
        let texts = [bomb, long, "[".repeat(100), " ".repeat(MAX_BYTES + 1)];
        let errors = texts.map(|text| error(&text));
        insta::assert_snapshot!(errors.join("\n"), @r"
    6:38: more than 200000 values, those that aliases repeat included
    127:3: more than 200000 values, those that aliases repeat included
    1:65: nested more than 64 levels deep
    1:1: the file is larger than 1024 KiB
    ");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn no_text_of_yaml_characters_panics(text in r#"[-a:{}\[\],'"&*!|>%#?@ \n\t0.~<\\/ue]{0,200}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn any_json_is_read_as_serde_json_reads_it(text in r#"[\PC\n\t"\\]{0,40}"#, number in any::<f64>()) {
            let value = serde_json::json!({ "text": text, "list": [number, {"k": text}] });
            prop_assert_eq!(&json(&value.to_string()), &value.to_string());
        }
    }
}
