//! The tools that an upstream of the bench has, and their listing as ready-made bytes.
//!
//! Both sides use the names: the upstream to list and to answer, the caller to know what a complete
//! list is.

use std::fmt::Write as _;

/// Echoes its `text` at once.
pub(crate) const ECHO: &str = "echo";
/// Echoes its `text` after [`SLOW_MILLIS`]: under swaps it is always in flight.
pub(crate) const SLOW_ECHO: &str = "echo_slowly";
pub(crate) const SLOW_MILLIS: u64 = 20;
/// Says that it makes progress, and echoes its `text` after [`SLOW_MILLIS`].
pub(crate) const ECHO_IN_STEPS: &str = "echo_in_steps";
/// Says nothing for [`HANG_MILLIS`].
pub(crate) const HANG: &str = "hang";
pub(crate) const HANG_MILLIS: u64 = 2_000;
/// Asks its caller for a form, and echoes its `text` once the form is accepted.
pub(crate) const ASK: &str = "ask";
/// The tools that do something.
pub(crate) const ACTIVE: [&str; 5] = [ECHO, SLOW_ECHO, ECHO_IN_STEPS, HANG, ASK];
/// A swap adds or removes these two together, the first and the last of the listing and of any sorted
/// catalog. A list that shows one without the other was put together from two catalogs.
pub(crate) const PAIR: [&str; 2] = ["a_first", "z_last"];

/// The names of a server's standing tools; those that do something come first.
pub(crate) fn names(count: usize) -> impl Iterator<Item = String> {
    ACTIVE
        .into_iter()
        .map(str::to_owned)
        .chain((ACTIVE.len()..).map(|number| format!("search_{number:04}")))
        .take(count)
}

/// The tools of one server at one time.
pub(crate) struct ToolSet {
    count: usize,
    page_size: usize,
    pair: bool,
    /// Per page the members `"tools":[…],"nextCursor":"…"`.
    pages: Vec<String>,
}

impl ToolSet {
    pub(crate) fn new(count: usize, page_size: usize) -> Self {
        let mut set = Self {
            count,
            page_size,
            pair: false,
            pages: Vec::new(),
        };
        set.render();
        set
    }

    pub(crate) fn page(&self, number: usize) -> Option<&str> {
        self.pages.get(number).map(String::as_str)
    }

    /// Adds the pair, or removes it; says whether it is there now.
    pub(crate) fn toggle(&mut self) -> bool {
        self.pair = !self.pair;
        self.render();
        self.pair
    }

    fn render(&mut self) {
        let [first, last] = PAIR.map(str::to_owned);
        let all: Vec<String> = self
            .pair
            .then_some(first)
            .into_iter()
            .chain(names(self.count))
            .chain(self.pair.then_some(last))
            .collect();
        let size = if self.page_size == 0 {
            all.len().max(1)
        } else {
            self.page_size
        };
        let last_page = all.len().div_ceil(size).max(1) - 1;
        self.pages = (0..=last_page)
            .map(|page| {
                let definitions: Vec<String> = all
                    .iter()
                    .skip(page * size)
                    .take(size)
                    .map(|name| definition(name))
                    .collect();
                let mut text = format!("\"tools\":[{}]", definitions.join(","));
                if page < last_page {
                    let _ = write!(text, ",\"nextCursor\":\"{}\"", page + 1);
                }
                text
            })
            .collect();
    }
}

/// A definition of about 590 bytes, of the kind that issue trackers and databases publish.
fn definition(name: &str) -> String {
    let properties = if ACTIVE.contains(&name) {
        r#""text":{"type":"string","description":"The text to give back."}},"required":["text"]"#
    } else {
        r#""query":{"type":"string","description":"Words to look for; all have to occur."},"project":{"type":"string","description":"Look only in this project."},"state":{"type":"string","enum":["open","closed","any"],"default":"open"},"limit":{"type":"integer","minimum":1,"maximum":200}},"required":["query"],"additionalProperties":false"#
    };
    format!(
        r#"{{"name":"{name}","title":"Tool {name}","description":"Finds the records that match the words and gives them back, the newest first, one page at a time.","inputSchema":{{"type":"object","properties":{{{properties}}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#
    )
}
