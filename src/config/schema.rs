//! The JSON Schema of a config file, from the raw types: editors complete and check with it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

/// Returns the schema: draft 7, which every YAML language server understands.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::File>();
    schema.insert("title".to_owned(), "weir config".into());
    let mut schema = schema.to_value();
    join_lines(&mut schema);
    schema
}

/// Joins the lines of descriptions, which are wrapped in the source.
fn join_lines(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if let ("description", Value::String(text)) = (key.as_str(), &mut *member) {
                    *text = text.replace('\n', " ");
                } else {
                    join_lines(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the schema as `config/weir.schema.json` keeps it: indented, with a line break at the end.
#[must_use]
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}
