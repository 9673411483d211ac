//! The compiled schemas of tools: each is compiled when its tool is first called, and kept for as long
//! as it is used.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::schema::CompiledSchema;
use super::shape::Uncheckable;
use crate::config::{ValidateAction, ValidateSettings};
use crate::json::Object;

/// Most tools whose schemas are kept.
const TOOLS: usize = 4_096;
/// Most bytes that they take together, by estimate.
const BYTES: usize = 64 << 20;

/// The compiled schemas of the tools that were called.
#[derive(Debug, Default)]
pub struct Schemas {
    /// By the address of their definition, which they keep alive.
    tools: RwLock<HashMap<usize, Arc<ToolSchemas>>>,
    /// Held while one is compiled, so that calls at once do not all do it.
    compiling: Mutex<()>,
    uses: AtomicU64,
}

/// The schemas of one tool.
#[derive(Debug)]
pub struct ToolSchemas {
    /// The definition as it was listed.
    definition: Arc<str>,
    input: Compiled,
    output: Compiled,
    /// The number of the last use.
    used: AtomicU64,
}

/// One of the schemas.
#[derive(Debug)]
enum Compiled {
    /// It was not asked for.
    NotYet,
    /// The tool has none.
    None,
    Schema(Box<CompiledSchema>),
    Not(Uncheckable),
}

impl Schemas {
    /// Returns the schemas that are checked of the tool with this definition, and why some cannot be if
    /// they were compiled just now.
    #[must_use]
    pub fn of(
        &self,
        definition: &Arc<str>,
        settings: &ValidateSettings,
    ) -> (Arc<ToolSchemas>, Vec<(&'static str, String)>) {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.find_with(definition, settings) {
            known.used.store(now, Ordering::Relaxed);
            return (known, Vec::new());
        }
        let _compiling = self.compiling.lock();
        if let Some(known) = self.find_with(definition, settings) {
            return (known, Vec::new());
        }
        let new = ToolSchemas::compile(Arc::clone(definition), Checks::of(settings));
        new.used.store(now, Ordering::Relaxed);
        let (problems, new) = (new.problems(), Arc::new(new));
        let mut tools = self.tools.write();
        let before = tools.insert(address(definition), Arc::clone(&new));
        let gone = evict(&mut tools);
        // Large ones take a while to be taken apart.
        drop(tools);
        drop((before, gone));
        (new, problems)
    }

    /// Returns the schemas of a tool, if it was called and they are kept.
    #[must_use]
    pub fn find(&self, definition: &Arc<str>) -> Option<Arc<ToolSchemas>> {
        self.tools.read().get(&address(definition)).cloned()
    }

    fn find_with(
        &self,
        definition: &Arc<str>,
        settings: &ValidateSettings,
    ) -> Option<Arc<ToolSchemas>> {
        let checks = Checks::of(settings);
        let tools = self.tools.read();
        let known = tools.get(&address(definition))?;
        known.has(checks).then(|| Arc::clone(known))
    }
}

/// The schemas that are applied.
#[derive(Clone, Copy)]
struct Checks {
    input: bool,
    output: bool,
}

impl Checks {
    fn of(settings: &ValidateSettings) -> Self {
        Self {
            input: settings.arguments != ValidateAction::Off,
            output: settings.results != ValidateAction::Off,
        }
    }
}

fn address(definition: &Arc<str>) -> usize {
    definition.as_ptr().addr()
}

/// Takes out what was not used for longest, until the rest is within the bounds.
fn evict(tools: &mut HashMap<usize, Arc<ToolSchemas>>) -> Vec<Arc<ToolSchemas>> {
    let mut gone = Vec::new();
    let mut bytes: usize = tools.values().map(|tool| tool.bytes()).sum();
    while tools.len() > TOOLS || (bytes > BYTES && tools.len() > 1) {
        let oldest = tools
            .iter()
            .min_by_key(|(_, tool)| tool.used.load(Ordering::Relaxed))
            .map(|(address, _)| *address);
        let Some(oldest) = oldest.and_then(|oldest| tools.remove(&oldest)) else {
            break;
        };
        bytes = bytes.saturating_sub(oldest.bytes());
        gone.push(oldest);
    }
    gone
}

impl ToolSchemas {
    fn compile(definition: Arc<str>, checks: Checks) -> Self {
        let tool = Object::parse(&definition).unwrap_or_default();
        let compiled = |is_asked: bool, key| match (is_asked, tool.value(key)) {
            (false, _) => Compiled::NotYet,
            (true, None) => Compiled::None,
            (true, Some(schema)) => match CompiledSchema::compile(schema) {
                Ok(schema) => Compiled::Schema(Box::new(schema)),
                Err(error) => Compiled::Not(error),
            },
        };
        let input = compiled(checks.input, "inputSchema");
        let output = compiled(checks.output, "outputSchema");
        drop(tool);
        Self {
            definition,
            input,
            output,
            used: AtomicU64::new(0),
        }
    }

    /// Compiles the schemas that are checked, for one use.
    #[must_use]
    pub fn once(definition: &Arc<str>, settings: &ValidateSettings) -> Self {
        Self::compile(Arc::clone(definition), Checks::of(settings))
    }

    fn has(&self, checks: Checks) -> bool {
        let has = |compiled: &Compiled| !matches!(compiled, Compiled::NotYet);
        (!checks.input || has(&self.input)) && (!checks.output || has(&self.output))
    }

    /// Returns the schema of the arguments, if it is checked.
    pub(super) fn input(&self) -> Option<Result<&CompiledSchema, &Uncheckable>> {
        self.input.get()
    }

    /// Returns the schema of structured results, if the tool has one and it is checked.
    pub(super) fn output(&self) -> Option<Result<&CompiledSchema, &Uncheckable>> {
        self.output.get()
    }

    /// Returns which schemas cannot be applied, by their key, and why.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let both = [("inputSchema", &self.input), ("outputSchema", &self.output)];
        let both = both.into_iter();
        both.filter_map(|(key, compiled)| Some((key, compiled.get()?.err()?.to_string())))
            .collect()
    }

    /// Returns about how many bytes they take.
    fn bytes(&self) -> usize {
        let both = [&self.input, &self.output].into_iter();
        let compiled = both.filter_map(|compiled| compiled.get()?.ok());
        compiled.map(CompiledSchema::bytes).sum::<usize>() + self.definition.len()
    }
}

impl Compiled {
    fn get(&self) -> Option<Result<&CompiledSchema, &Uncheckable>> {
        match self {
            Self::NotYet | Self::None => None,
            Self::Schema(schema) => Some(Ok(schema)),
            Self::Not(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: ValidateSettings = ValidateSettings {
        arguments: ValidateAction::Refuse,
        results: ValidateAction::Refuse,
        invisible_arguments: crate::config::InvisibleAction::Off,
        invisible_results: crate::config::InvisibleAction::Off,
        limits: crate::config::ArgumentLimits {
            depth: None,
            values: None,
            string: None,
        },
    };

    fn definition(number: usize) -> Arc<str> {
        format!(r#"{{"name":"t{number}"}}"#).into()
    }

    #[test]
    fn schemas_are_compiled_once_and_the_least_used_go_first() {
        let schemas = Schemas::default();
        let definitions: Vec<_> = (0..TOOLS + 10).map(definition).collect();
        let (first, _) = schemas.of(&definitions[0], &BOTH);
        for definition in &definitions {
            let _ = schemas.of(definition, &BOTH);
            assert!(Arc::ptr_eq(&schemas.of(&definitions[0], &BOTH).0, &first));
        }
        assert_eq!(schemas.tools.read().len(), TOOLS);
        assert!(schemas.find(&definitions[0]).is_some());
        assert!(schemas.find(&definitions[5]).is_none());
    }

    #[test]
    fn what_is_not_checked_is_not_compiled_until_it_is() {
        let text =
            r##"{"inputSchema":{"$ref":"http://x/y"},"outputSchema":{"allOf":[{"$ref":"#"}]}}"##;
        let (tool, schemas): (Arc<str>, _) = (text.into(), Schemas::default());
        let arguments = ValidateSettings {
            results: ValidateAction::Off,
            ..BOTH
        };
        let (found, problems) = schemas.of(&tool, &arguments);
        assert!(found.output().is_none());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].0, "inputSchema");
        assert!(problems[0].1.contains("http://x/y"), "{problems:?}");
        // It is said once.
        assert_eq!(schemas.of(&tool, &arguments).1, []);
        assert_eq!(schemas.of(&tool, &BOTH).1.len(), 2);
        assert_eq!(schemas.find(&tool).unwrap().problems().len(), 2);
    }
}
