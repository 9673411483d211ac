//! Lines of metrics on stdout, while weir serves: programs read them.

use std::io::{self, Write as _};

/// Writes whole lines to stdout, for what collects them.
///
/// # Errors
/// Nobody reads them.
pub(super) fn write_stdout(lines: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(lines)?;
    out.flush()
}
