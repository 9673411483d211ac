//! The printed output: every command prints through an [`Output`], so that colours, widths and
//! progress are decided in one place.
//!
//! Colours and redrawn lines appear only on a terminal, and colours never with `NO_COLOR`
//! (<https://no-color.org>). In a pipe, progress is printed line by line and tables have their full
//! width.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, TableStyle};
use owo_colors::{OwoColorize, Style};

use crate::printable;

/// The two streams of the process.
#[derive(Debug)]
pub struct Output {
    /// Results, on stdout.
    pub out: Screen,
    /// Messages and progress, on stderr.
    pub err: Screen,
}

impl Output {
    /// Creates an output over stdout and stderr. `variable` looks up `NO_COLOR` and `TERM`.
    #[must_use]
    pub fn of_process(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let colour = allows_colour(variable);
        let out = io::stdout().is_terminal();
        let err = io::stderr().is_terminal();
        Self {
            out: Screen::new(Box::new(io::stdout()), Features::of(out, colour)),
            err: Screen::new(Box::new(io::stderr()), Features::of(err, colour)),
        }
    }

    /// Prints an error and its causes on stderr, as one line: `✗ error: cause: cause`.
    pub fn print_failure(&mut self, error: &dyn std::error::Error) {
        self.out.end_line();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.print_error(&text);
    }

    /// Prints an error on stderr: `✗ text`.
    pub fn print_error(&mut self, text: &str) {
        let mark = self.err.paint(TextStyle::Bad, "✗");
        self.err.print_line(&format!("{mark} {}", make_safe(text)));
    }

    /// Prints all errors of a file or an argument on stderr: one per line, unchanged, then their number
    /// and the advice.
    pub fn print_errors(&mut self, errors: &[String], place: &str, advice: Option<&str>) {
        self.out.end_line();
        for error in errors {
            self.err.print_raw(&format!("{error}\n"));
        }
        let errors = count(errors.len(), "error");
        let advice = advice.map(|advice| format!(": {advice}"));
        self.print_error(&format!(
            "{errors} in {place}{}",
            advice.unwrap_or_default()
        ));
    }

    /// Prints a warning on stderr: `! text`.
    pub fn print_warning(&mut self, text: &str) {
        let mark = self.err.paint(TextStyle::Bad, "!");
        self.err.print_line(&format!("{mark} {}", make_safe(text)));
    }
}

fn allows_colour(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let forbidden = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && variable("TERM").as_deref() != Some("dumb")
}

/// The capabilities of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Whether the stream is a terminal, where a line can be drawn again.
    pub terminal: bool,
    /// Whether colours are printed.
    pub colour: bool,
    /// The width in columns, if it is limited.
    pub width: Option<u16>,
}

impl Features {
    fn of(terminal: bool, colour: bool) -> Self {
        Self {
            terminal,
            colour: terminal && colour,
            // comfy-table asks the terminal; it is the only dependency that can.
            width: terminal
                .then(|| comfy_table::Table::new().width())
                .flatten(),
        }
    }
}

/// The role of a piece of text, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStyle {
    /// Ordinary text.
    Plain,
    /// The title of a section or of a column.
    Heading,
    /// Something to use: a tool, a command, a URL.
    Name,
    /// The name of an upstream.
    Upstream,
    /// Something went well, or is new.
    Good,
    /// Something failed, or is gone.
    Bad,
    /// Text of minor importance.
    Faint,
}

impl TextStyle {
    const fn ansi(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Heading => style.bold(),
            Self::Name => style.cyan(),
            Self::Upstream => style.magenta(),
            Self::Good => style.green(),
            Self::Bad => style.red(),
            Self::Faint => style.dimmed(),
        }
    }

    fn apply_to(self, cell: comfy_table::Cell) -> comfy_table::Cell {
        use comfy_table::{Attribute, Color};
        match self {
            Self::Plain => cell,
            Self::Heading => cell.add_attribute(Attribute::Bold),
            Self::Name => cell.fg(Color::DarkCyan),
            Self::Upstream => cell.fg(Color::DarkMagenta),
            Self::Good => cell.fg(Color::DarkGreen),
            Self::Bad => cell.fg(Color::DarkRed),
            Self::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// A stream that people read. After a write error (`weir tools | head`), nothing is written any more.
pub struct Screen {
    stream: Box<dyn Write + Send>,
    features: Features,
    /// The unfinished line before the cursor.
    open_line: OpenLine,
    broken: bool,
}

/// An unfinished line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenLine {
    /// There is none.
    Nothing,
    /// A progress line: finished when something else is printed.
    Progress,
    /// A status line: erased when something else is printed.
    Status,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// Creates a screen over any stream.
    #[must_use]
    pub fn new(stream: Box<dyn Write + Send>, features: Features) -> Self {
        Self {
            stream,
            features,
            open_line: OpenLine::Nothing,
            broken: false,
        }
    }

    /// Returns what the stream can show.
    #[must_use]
    pub const fn features(&self) -> Features {
        self.features
    }

    /// Returns the text in its colour, if the stream has colours. The text is not made safe: see
    /// [`make_safe`].
    #[must_use]
    pub fn paint(&self, style: TextStyle, text: &str) -> String {
        if self.features.colour && style != TextStyle::Plain && !text.is_empty() {
            text.style(style.ansi()).to_string()
        } else {
            text.to_owned()
        }
    }

    /// Prints one line.
    pub fn print_line(&mut self, text: &str) {
        self.end_line();
        self.write(format_args!("{text}\n"));
    }

    /// Prints text of several lines. Machines and files get it unchanged; on a terminal it is
    /// [made safe](printable::lines).
    pub fn print_raw(&mut self, text: &str) {
        self.end_line();
        match self.features.terminal {
            true => self.write(format_args!("{}", printable::lines(text))),
            false => self.write(format_args!("{text}")),
        }
    }

    /// Prints an empty line.
    pub fn print_blank(&mut self) {
        self.print_line("");
    }

    /// Prints the title of a section after an empty line.
    pub fn print_heading(&mut self, text: &str) {
        let title = self.paint(TextStyle::Heading, text);
        self.print_blank();
        self.print_line(&title);
    }

    /// Prints a success: `✓ text`.
    pub fn print_done(&mut self, text: &str) {
        let mark = self.paint(TextStyle::Good, "✓");
        self.print_line(&format!("  {mark} {text}"));
    }

    /// Prints text from elsewhere, made safe, with a vertical line at its left.
    pub fn print_quote(&mut self, text: &str) {
        let rule = self.paint(TextStyle::Faint, "│");
        for line in text.lines() {
            self.print_line(&format!("    {rule} {}", make_safe(line)));
        }
    }

    /// Prints a table. On a terminal each row is one line, and the last column is cut; in a pipe nothing
    /// is cut.
    pub fn print_table(&mut self, table: &Table) {
        for line in table.render(self.features).lines() {
            let ruler = line.starts_with('─');
            let style = if ruler {
                TextStyle::Faint
            } else {
                TextStyle::Plain
            };
            let line = self.paint(style, line.trim_end());
            self.print_line(&format!("  {line}"));
        }
    }

    /// Prints a progress. On a terminal the line replaces the one before.
    pub fn print_progress(&mut self, progress: &Progress<'_>) {
        if self.features.terminal {
            let bar = self.paint(TextStyle::Good, &progress.bar(24));
            let text = progress.to_string();
            let room = usize::from(self.features.width.unwrap_or(80)).saturating_sub(32);
            let text: String = text.chars().take(room).collect();
            self.write(format_args!("\r\u{1b}[2K    {bar} {text}"));
            self.open_line = OpenLine::Progress;
        } else {
            self.print_line(&format!("    {progress}"));
        }
    }

    /// Shows a status, which the next line replaces. Only on a terminal.
    pub fn show_status(&mut self, text: &str) {
        if self.features.terminal {
            let room = usize::from(self.features.width.unwrap_or(80)).saturating_sub(1);
            let text: String = text.chars().take(room).collect();
            let text = self.paint(TextStyle::Faint, &text);
            self.write(format_args!("\r\u{1b}[2K{text}"));
            self.open_line = OpenLine::Status;
        }
    }

    /// Finishes a progress line, or erases a status line.
    pub fn end_line(&mut self) {
        match std::mem::replace(&mut self.open_line, OpenLine::Nothing) {
            OpenLine::Nothing => {}
            OpenLine::Progress => self.write(format_args!("\n")),
            OpenLine::Status => self.write(format_args!("\r\u{1b}[2K")),
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        if !self.broken {
            let written = self.stream.write_fmt(text);
            self.broken = written.and_then(|()| self.stream.flush()).is_err();
        }
    }
}

/// The progress of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// Done so far.
    pub done: f64,
    /// The total, if known.
    pub total: Option<f64>,
    /// The current step, if known.
    pub message: Option<&'a str>,
}

impl Progress<'_> {
    /// Draws a bar of `width` cells; it is empty if the total is unknown.
    fn bar(&self, width: u32) -> String {
        let share = match self.total {
            Some(total) if total > 0.0 => (self.done / total).clamp(0.0, 1.0),
            _ => 0.0,
        };
        let full = (share * f64::from(width)).round();
        (0..width)
            .map(|cell| if f64::from(cell) < full { '█' } else { '░' })
            .collect()
    }
}

impl std::fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.done)?;
        if let Some(total) = self.total {
            write!(f, "/{total}")?;
        }
        match self.message {
            Some(message) => write!(f, " {}", make_safe(message)),
            None => Ok(()),
        }
    }
}

/// Counts something in words: `1 tool`, `2 tools`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Turns text from elsewhere into [one safe line](printable::line).
#[must_use]
pub fn make_safe(text: &str) -> String {
    printable::line(text).into_owned()
}

/// A table with a title row. Cells are made safe.
#[derive(Clone, Debug)]
pub struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<(TextStyle, String)>>,
}

impl Table {
    /// The smallest width of the last column at which rows are kept on one line.
    const NARROWEST: u16 = 16;
    /// Spaces after a column: its padding, and the one that comfy-table puts between columns.
    const GAP: u16 = 2;

    /// Creates a table with these columns and no rows.
    #[must_use]
    pub fn new(titles: &[&'static str]) -> Self {
        Self {
            titles: titles.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Only the first line of each cell is shown.
    pub fn add_row<'a>(&mut self, cells: impl IntoIterator<Item = (TextStyle, &'a str)>) {
        let first = |text: &str| make_safe(text.lines().next().unwrap_or_default());
        let cells = cells.into_iter().map(|(style, text)| (style, first(text)));
        self.rows.push(cells.collect());
    }

    fn render(&self, features: Features) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(
                TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')),
            )
            .force_no_tty()
            .set_header(
                self.titles
                    .iter()
                    .map(|title| TextStyle::Heading.apply_to(comfy_table::Cell::new(title))),
            );
        table.style_text_only();
        if features.colour {
            table.enforce_styling();
        }
        for cells in &self.rows {
            let cells = cells
                .iter()
                .map(|(style, text)| style.apply_to(comfy_table::Cell::new(text)));
            table.add_row(comfy_table::Row::from(cells.collect::<Vec<_>>()));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, Self::GAP - 1));
        }
        if let Some(width) = features.width {
            Self::fit(&mut table, width.saturating_sub(2));
        }
        table.to_string()
    }

    /// Cuts the last column so that each row is one line. If the other columns leave no room for it, rows
    /// wrap.
    fn fit(table: &mut comfy_table::Table, width: u16) {
        table
            .set_width(width)
            .set_content_arrangement(ContentArrangement::Dynamic);
        let widths = table.column_max_content_widths();
        let Some((_, fixed)) = widths.split_last() else {
            return;
        };
        let taken: u16 = widths.len().try_into().unwrap_or(u16::MAX);
        let taken = fixed
            .iter()
            .fold(taken.saturating_mul(Self::GAP), |sum, width| {
                sum.saturating_add(*width)
            });
        if taken.saturating_add(Self::NARROWEST) > width {
            return;
        }
        let last = fixed.len();
        for (index, column) in table.column_iter_mut().enumerate() {
            if index < last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for row in table.row_iter_mut() {
            row.max_height(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PIPE: Features = Features {
        terminal: false,
        colour: false,
        width: None,
    };
    const TERMINAL: Features = Features {
        terminal: true,
        colour: true,
        width: Some(60),
    };

    fn printed(features: Features, print: impl FnOnce(&mut Screen)) -> String {
        let buffer = Buffer::default();
        print(&mut Screen::new(Box::new(buffer.clone()), features));
        buffer.text()
    }

    fn tools() -> Table {
        let mut table = Table::new(&["TOOL", "UPSTREAM", "DESCRIPTION"]);
        let long =
            "Finds a contact by name, by company or by e-mail address, whichever is known\nmore";
        table.add_row([
            (TextStyle::Name, "crm__find_contact"),
            (TextStyle::Upstream, "crm"),
            (TextStyle::Faint, long),
        ]);
        table.add_row([
            (TextStyle::Name, "notes__list"),
            (TextStyle::Upstream, "notes"),
            (TextStyle::Faint, "Lists"),
        ]);
        table
    }

    #[test]
    fn a_pipe_gets_neither_colours_nor_cut_cells() {
        let text = printed(PIPE, |screen| screen.print_table(&tools()));
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(
            text.contains("by company or by e-mail address, whichever is known\n"),
            "{text}"
        );
        assert!(!text.contains("more"), "{text}");
    }

    #[test]
    fn on_a_terminal_a_row_is_one_line_and_the_last_column_gives_way() {
        let features = Features {
            colour: false,
            ..TERMINAL
        };
        let text = printed(features, |screen| screen.print_table(&tools()));
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        assert!(
            text.contains("crm__find_contact  crm") && text.contains('…'),
            "{text}"
        );
    }

    #[test]
    fn a_terminal_too_narrow_for_the_names_wraps_and_loses_no_letter() {
        let features = Features {
            colour: false,
            width: Some(24),
            ..TERMINAL
        };
        let text = printed(features, |screen| screen.print_table(&tools()));
        assert!(!text.contains("crm__find_contact"), "{text}");
        let letters = |text: &str| {
            let mut letters: Vec<char> = text.chars().filter(|c| !"─ \n".contains(*c)).collect();
            letters.sort_unstable();
            letters
        };
        let whole = printed(PIPE, |screen| screen.print_table(&tools()));
        assert_eq!(letters(&text), letters(&whole), "{text}");
    }

    #[test]
    fn colours_are_for_terminals_that_do_not_refuse_them() {
        let with = |name: &'static str, value: &'static str| {
            allows_colour(&move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(with("TERM", "xterm-256color") && with("NO_COLOR", ""));
        assert!(!with("NO_COLOR", "1") && !with("TERM", "dumb"));
        assert!(!Features::of(false, true).colour);
        let text = printed(TERMINAL, |screen| {
            let name = screen.paint(TextStyle::Name, "x");
            screen.print_line(&name);
        });
        assert!(text.starts_with('\u{1b}'), "{text:?}");
    }

    #[test]
    fn progress_is_redrawn_on_a_terminal_and_listed_in_a_pipe() {
        let steps = |screen: &mut Screen| {
            for done in 1..=2 {
                let progress = Progress {
                    done: f64::from(done),
                    total: Some(2.0),
                    message: Some("aisle"),
                };
                screen.print_progress(&progress);
            }
            screen.print_line("done");
        };
        assert_eq!(printed(PIPE, steps), "    1/2 aisle\n    2/2 aisle\ndone\n");
        let drawn = printed(TERMINAL, steps);
        assert_eq!(drawn.matches('\r').count(), 2);
        assert_eq!(drawn.lines().count(), 2, "{drawn:?}");
        assert!(drawn.ends_with("2/2 aisle\ndone\n"), "{drawn:?}");
    }

    #[test]
    fn a_passing_line_is_gone_with_the_next_and_never_in_a_pipe() {
        let steps = |screen: &mut Screen| {
            screen.show_status("waiting for crm");
            screen.print_line("done");
        };
        assert_eq!(printed(PIPE, steps), "done\n");
        let features = Features {
            colour: false,
            ..TERMINAL
        };
        assert_eq!(
            printed(features, steps),
            "\r\u{1b}[2Kwaiting for crm\r\u{1b}[2Kdone\n"
        );
    }

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        let text = printed(PIPE, |screen| {
            screen.print_quote("red\u{1b}[31m\u{7}\nnext\r")
        });
        assert_eq!(text, "    │ red\\u{1b}[31m\\u{7}\n    │ next \n");
        let mut table = Table::new(&["A"]);
        table.add_row([(TextStyle::Plain, "a\u{1b}]0;title\u{7}")]);
        assert!(!printed(PIPE, |screen| screen.print_table(&table)).contains('\u{1b}'));
        let raw = "a\tb\nc\u{1b}]0;x\u{7}\u{9b}\u{202e}\u{e0041}\n";
        assert_eq!(printed(PIPE, |screen| screen.print_raw(raw)), raw);
        let shown = printed(TERMINAL, |screen| screen.print_raw(raw));
        assert_eq!(
            shown,
            "a\tb\nc\\u{1b}]0;x\\u{7}\\u{9b}\\u{202e}\\u{e0041}\n"
        );
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_a_refusal_ends_with_its_count() {
        let buffer = Buffer::default();
        let mut output = Output {
            out: Screen::new(Box::new(Buffer::default()), PIPE),
            err: Screen::new(Box::new(buffer.clone()), PIPE),
        };
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen")]
        struct Failed(#[source] io::Error);
        output.print_failure(&Failed(io::Error::other("in use")));
        output.print_errors(&["a:1:1: x".into(), "a:2:1: y".into()], "a", None);
        output.print_errors(&["b: z".into()], "b", Some("use -c FILE"));
        assert_eq!(
            buffer.text(),
            "✗ cannot listen: in use\n\
             a:1:1: x\na:2:1: y\n✗ 2 errors in a\n\
             b: z\n✗ 1 error in b: use -c FILE\n"
        );
    }
}
