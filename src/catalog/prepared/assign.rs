//! Gives the definitions of one upstream names that differ from each other.

use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::listing::Definition;
use crate::catalog::naming;
use crate::catalog::rules::Rules;
use crate::config::ToolOverride;
use crate::name::{Namespace, Naming};

/// Two names of one upstream that became the same.
#[derive(Clone, Debug)]
pub(crate) struct LocalConflict {
    pub(crate) exposed: Arc<str>,
    pub(crate) original: Arc<str>,
    pub(crate) to: Arc<str>,
}

/// The names the definitions want, made different from each other. Among those of one upstream, a
/// name the operator gave comes first, then the order of the original names: not that of the
/// listing, which may change from one day to the next. The one that is `kept` has its own name,
/// without namespace.
pub(super) fn assign_names<'c>(
    rules: &Rules<'_>,
    naming: &Naming,
    definitions: &[&Definition],
    kept: Option<&str>,
    change: &dyn Fn(&Definition) -> Option<&'c ToolOverride>,
) -> (Vec<Arc<str>>, Vec<LocalConflict>) {
    let bare = Namespace::default();
    let wanted: Vec<(bool, Arc<str>)> = definitions
        .iter()
        .map(|definition| {
            let original = &**definition.key();
            let given = change(definition).and_then(|change| change.name.as_deref());
            let name = given.unwrap_or_else(|| naming::strip_prefix(rules.strip, original));
            let (namespace, name) = match kept {
                Some(kept) if kept == original && given.is_none() => (&bare, kept),
                Some(_) | None => (rules.namespace, name),
            };
            let exposed = naming::expose_name(naming, namespace, rules.upstream, original, name);
            (given.is_none(), exposed.into())
        })
        .collect();
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    order.sort_by_key(|at| {
        let ungiven = wanted.get(*at).is_none_or(|(ungiven, _)| *ungiven);
        let key = definitions.get(*at).map(|definition| definition.key());
        (ungiven, key)
    });
    let mut owner: HashMap<Arc<str>, usize> = HashMap::default();
    let mut clashes = Vec::new();
    for at in order {
        let (Some((_, name)), Some(definition)) = (wanted.get(at), definitions.get(at)) else {
            continue;
        };
        if !owner.contains_key(name) {
            owner.insert(name.clone(), at);
            continue;
        }
        let original = definition.key();
        let taken = |name: &str| owner.contains_key(name);
        let to: Arc<str> =
            naming::find_free_name(naming, name, rules.upstream, original, taken).into();
        owner.insert(to.clone(), at);
        clashes.push(LocalConflict {
            exposed: name.clone(),
            original: original.clone(),
            to,
        });
    }
    let mut names: Vec<(usize, Arc<str>)> =
        owner.into_iter().map(|(name, at)| (at, name)).collect();
    names.sort_unstable_by_key(|(at, _)| *at);
    (names.into_iter().map(|(_, name)| name).collect(), clashes)
}
