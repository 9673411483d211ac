//! The JSON Schema of a config file, from the raw types: editors complete and check with it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

/// The schema. Draft 7, which every YAML language server understands.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::File>();
    schema.insert("title".to_owned(), "weir config".into());
    schema.to_value()
}

/// The schema as `config/weir.schema.json` keeps it: indented, with a line break at the end.
#[must_use]
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}
