//! The reference of metrics, from the file that names them.

use weir::metrics::names;

use super::GENERATED;

/// The whole page.
pub fn page() -> String {
    let mut page = format!(
        "{GENERATED}\n# All metrics\n\n[Metrics](../metrics.md) says how to scrape them.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n"
    );
    for family in names::ALL {
        let labels: Vec<_> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            family.name,
            family.kind.as_str(),
            labels.join(", "),
            family.help,
        ));
    }
    page
}
