//! Lines that are not JSON, and the request that one was meant to answer.
//!
//! Servers print `NaN`, cut lines off, forget to escape a quote or write bytes of another encoding.
//! Then the request that waits should fail at once, not at its deadline.

use crate::protocol::message::read_number;

/// Returns the id of the request that a broken line was meant to answer: the line has `result` or
/// `error`, no `method`, and an `id` that is a number of weir's.
pub(super) fn answered_id(line: &[u8]) -> Option<u64> {
    let found = Members::scan(line);
    let text = match found.id {
        Some(id) => id,
        None => id_at_end(line)?,
    };
    let is_response = found.has_outcome && !found.has_method;
    let text = std::str::from_utf8(text).ok().filter(|_| is_response)?;
    read_number(text)
}

/// The members of a line's object, as far as they can be read.
#[derive(Default)]
struct Members<'l> {
    id: Option<&'l [u8]>,
    has_outcome: bool,
    has_method: bool,
}

impl<'l> Members<'l> {
    /// Looks at keys of the outermost object, until the end or a string that does not end.
    fn scan(line: &'l [u8]) -> Self {
        let mut found = Self::default();
        let (mut rest, mut depth) = (line, 0_usize);
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' => {
                    let Some((text, after)) = split_string(after) else {
                        return found;
                    };
                    rest = after;
                    if let (1, Some(value)) = (depth, member_value(after)) {
                        found.take(text, value);
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn take(&mut self, key: &[u8], value: &'l [u8]) {
        match key {
            b"id" => self.id = self.id.or(Some(scalar(value))),
            b"result" | b"error" => self.has_outcome = true,
            b"method" => self.has_method = true,
            _ => {}
        }
    }
}

/// Splits a string from what follows its closing quote. `None` if it is not closed.
fn split_string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
        from = at + 2;
    }
}

/// Returns what follows the colon after a key.
fn member_value(after: &[u8]) -> Option<&[u8]> {
    Some(
        after
            .trim_ascii_start()
            .strip_prefix(b":")?
            .trim_ascii_start(),
    )
}

/// Returns the number or string at the beginning of a text.
fn scalar(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| b",}] \t\r".contains(byte));
    value.get(..end.unwrap_or(value.len())).unwrap_or_default()
}

/// Returns the value of an `id` that is the last member of a line.
fn id_at_end(line: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::rfind(line, b"\"id\"")?;
    let value = member_value(line.get(at + 4..)?)?;
    let id = scalar(value);
    let rest = value.get(id.len()..)?.trim_ascii();
    (rest == b"}").then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_that_a_broken_line_answers_is_found() {
        for (line, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#, Some(7)),
            (r#"{"jsonrpc":"2.0","result":{"x":NaN},"id":7}"#, Some(7)),
            (
                r#"{"jsonrpc":"2.0","id":"7","result":{"text":"cut of"#,
                Some(7),
            ),
            (
                r#"{"result":{"text":"a " quote","id":3},"id" : 7 }"#,
                Some(7),
            ),
            (r#"{"id":7,"error":{"code":-1,"message":'x'}}"#, Some(7)),
            (r#"{"id":7,"result":{"x":1}} trailing"#, Some(7)),
            (r#"{"id":7,"result":{"s":"\"id\":9 \\"},"x":NaN}"#, Some(7)),
            // Nothing tells which one.
            (r#"{"result":{"id":7,"x":NaN}}"#, None),
            (r#"{"result":{"x":NaN},"id":null}"#, None),
            (r#"{"id":-1,"result":NaN}"#, None),
            // A request of the child's own, or none at all.
            (r#"{"id":7,"method":"ping","params":{"result":NaN}}"#, None),
            (r#"{"id":7,"result":NaN,"method":"ping"}"#, None),
            (r#"{"id":7,"#, None),
            ("", None),
            ("\"", None),
            (r#"starting {"id":7}"#, None),
        ] {
            assert_eq!(answered_id(line.as_bytes()), expected, "{line}");
        }
        let latin = b"{\"id\":7,\"result\":{\"text\":\"caf\xe9\"}}";
        assert_eq!(answered_id(latin), Some(7));
    }
}
