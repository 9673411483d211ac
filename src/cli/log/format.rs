//! How lines look, and what may not be in them.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::log::limit::LineLimits;
use crate::printable;

/// Longest value of a field that is written, in bytes.
const LONGEST: usize = 8 * 1024;

/// A format that writes nothing of lines beyond their limit.
pub(super) struct LimitedFormat<F> {
    format: F,
    limits: Arc<LineLimits>,
}

impl<F> LimitedFormat<F> {
    pub(super) const fn new(format: F, limits: Arc<LineLimits>) -> Self {
        Self { format, limits }
    }
}

impl<S, N, F> FormatEvent<S, N> for LimitedFormat<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.limits.admits(event, Instant::now()) {
            true => self.format.format_event(context, writer, event),
            false => Ok(()),
        }
    }
}

/// Writes the message, and the other fields as `name=value`.
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = TextWriter {
            writer,
            is_first: true,
            result: Ok(()),
        };
        fields.record(&mut text);
        text.result
    }
}

struct TextWriter<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl TextWriter<'_> {
    fn write(&mut self, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.writer.write_char(' ')?;
        }
        let name = field.name();
        if name != "message" {
            match self.writer.has_ansi_escapes() {
                true => write!(self.writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
                false => write!(self.writer, "{name}=")?,
            }
        }
        let value = format!("{value:?}");
        match value.get(..value.floor_char_boundary(LONGEST)) {
            Some(cut) if cut.len() < value.len() => {
                let cut = printable::escaped(cut);
                write!(self.writer, "{cut}… ({} bytes)", value.len())
            }
            _ => self.writer.write_str(&printable::escaped(&value)),
        }
    }
}

impl Visit for TextWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Of records of the crate `log`, these are written by the format itself.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.write(field, value);
        }
    }
}

/// Writes lines of JSON, with escapes for characters that are not harmless.
pub(super) struct JsonWriter<W>(pub(super) W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line comes whole, and is UTF-8.
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(printable::json(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use parking_lot::Mutex;
    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(write: impl FnOnce()) -> String {
        let (buffer, limits) = (Buffer::default(), Arc::new(LineLimits::new()));
        let into = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || into.clone())
            .fmt_fields(TextFields)
            .map_event_format(|format| LimitedFormat::new(format, limits))
            .finish();
        with_default(subscriber, write);
        String::from_utf8(buffer.0.lock().clone()).unwrap()
    }

    #[test]
    fn no_text_of_others_begins_a_line_or_drives_the_terminal() {
        let bad = "2025-11-25\n2026-01-01T00:00:00Z  WARN forged \u{1b}]0;x\u{7}\u{202e}";
        let text = logged(|| tracing::warn!(upstream = %"a", version = %bad, "listed {bad}"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.ends_with('\n') && text.starts_with(" WARN listed 2025-11-25\\n2026"),
            "{text}"
        );
        assert!(text.contains(" upstream=a version=2025-11-25\\n"), "{text}");
        let mut line = text.trim_end().chars();
        assert!(line.all(printable::is_harmless), "{text:?}");
        let long = logged(|| tracing::info!(reason = "x".repeat(1 << 20), "called"));
        assert!(
            long.len() < 2 * LONGEST && long.contains("… (10485"),
            "{}",
            long.len()
        );
    }

    #[test]
    fn a_flood_of_one_cause_is_cut() {
        let text = logged(|| (0..1_000).for_each(|number| tracing::warn!(number, "refused")));
        assert_eq!(text.lines().count(), 30);
    }

    #[test]
    fn lines_of_json_stay_json() {
        let buffer = Buffer::default();
        let mut writer = JsonWriter(buffer.clone());
        writer
            .write_all("{\"message\":\"\u{202e}\u{9b}é\"}\n".as_bytes())
            .unwrap();
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        assert_eq!(text, "{\"message\":\"\\u202e\\u009bé\"}\n");
    }
}
