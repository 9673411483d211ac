//! The rules for the data of each route, merged from those of weir, of its upstream and of its tool.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::classes::Class;
use crate::config::{
    AuditedData, ClassActions, Config, CustomDetector, GuardRules, RedactAction, RedactRules,
};
use crate::guard::detectors::{Detection, Detectors, DetectorsError};
use crate::guard::fields::FieldMatcher;
use crate::guard::pseudonyms::Pseudonyms;
use crate::metrics::Metrics;
use crate::name::UpstreamId;

/// The rules for the data of all routes of a config.
#[derive(Debug)]
pub struct Guard {
    upstreams: HashMap<UpstreamId, UpstreamPlans>,
    /// `None` if no rule makes pseudonyms or leads them back.
    pub(super) pseudonyms: Option<Arc<Pseudonyms>>,
    /// The tag of callers that names their tenant; `None` if all are one.
    pub(super) tenant: Option<Box<str>>,
    pub(super) metrics: Arc<Metrics>,
}

/// The rules for the data of one upstream's routes.
#[derive(Debug, Default)]
struct UpstreamPlans {
    /// Of tools that have none of their own, and of all else; `None` if all of it passes.
    rest: Option<Arc<RoutePlan>>,
    /// Of single tools, by the upstream's own name.
    tools: HashMap<Box<str>, Option<Arc<RoutePlan>>>,
}

/// The rules for the data of one route, of which at least one does something.
#[derive(Debug)]
pub struct RoutePlan {
    /// On the way to the upstream.
    pub towards_upstream: DirectionPlan,
    /// On the way to the caller.
    pub towards_caller: DirectionPlan,
    /// For the record file: masks every class that the others do something with. `None` if it has
    /// no data as text.
    pub records: Option<DirectionPlan>,
}

/// The rules for the data of one route in one direction.
#[derive(Debug)]
pub struct DirectionPlan {
    /// The action for values of each class that is known.
    actions: HashMap<Class, RedactAction>,
    /// Finds what may not pass as it is; `None` if there is nothing to find.
    changing: Option<Arc<Detectors>>,
    /// Finds what is only counted.
    reported: Option<Arc<Detectors>>,
    fields: FieldMatcher,
    /// The classes of the fields.
    field_classes: Vec<Class>,
}

/// Detectors of the same classes, made once.
struct DetectorCache<'c> {
    custom: &'c [CustomDetector],
    /// Whether records have data as text.
    records_text: bool,
    made: Vec<(Vec<Class>, Arc<Detectors>)>,
}

impl Guard {
    /// Merges the rules of a config; `None` if they let everything pass.
    ///
    /// # Errors
    /// A pattern cannot be used. A config that is valid has none of that kind.
    pub fn of(
        config: &Config,
        pseudonyms: Option<Arc<Pseudonyms>>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, DetectorsError> {
        let is_text = |form| form == AuditedData::Redacted;
        let records = config.audit.as_ref();
        let mut cache = DetectorCache {
            custom: &config.guard.detectors,
            records_text: records
                .is_some_and(|audit| is_text(audit.arguments) || is_text(audit.results)),
            made: Vec::new(),
        };
        let mut upstreams = HashMap::new();
        for (id, upstream) in &config.upstreams {
            let (own, outer) = (&upstream.guard.rules, &config.guard.rules);
            let mut plans = UpstreamPlans {
                rest: RoutePlan::of(&[own, outer], &mut cache)?,
                tools: HashMap::new(),
            };
            for (tool, rules) in &upstream.guard.tools {
                let plan = RoutePlan::of(&[rules, own, outer], &mut cache)?;
                plans.tools.insert(tool.clone(), plan);
            }
            if plans.rest.is_some() || plans.tools.values().any(Option::is_some) {
                upstreams.insert(id.clone(), plans);
            }
        }
        Ok((!upstreams.is_empty()).then(|| Self {
            upstreams,
            pseudonyms,
            tenant: config.guard.pseudonyms.tenant.clone(),
            metrics: Arc::clone(metrics),
        }))
    }

    /// Returns the upstreams for whose data there are rules.
    pub fn upstreams(&self) -> impl Iterator<Item = &UpstreamId> {
        self.upstreams.keys()
    }

    /// Returns the rules for a route: of this tool, by the upstream's own name, or of what else the
    /// upstream has. `None` if its data is not looked at.
    #[must_use]
    pub fn plan(&self, upstream: &UpstreamId, tool: Option<&str>) -> Option<&Arc<RoutePlan>> {
        let plans = self.upstreams.get(upstream)?;
        let own = tool.and_then(|tool| plans.tools.get(tool));
        own.unwrap_or(&plans.rest).as_ref()
    }
}

impl RoutePlan {
    /// Merges rules, the most specific first; `None` if nothing is done.
    fn of(
        rules: &[&GuardRules],
        cache: &mut DetectorCache<'_>,
    ) -> Result<Option<Arc<Self>>, DetectorsError> {
        let redact: Vec<_> = rules.iter().map(|rules| &rules.redact).collect();
        let mut direction = |actions: fn(&RedactRules) -> &ClassActions| {
            let layers: Vec<_> = redact.iter().map(|rules| actions(rules)).collect();
            let actions = cache.actions(&layers);
            DirectionPlan::of(&redact, actions, cache)
        };
        let towards_upstream = direction(|rules| &rules.towards_upstream)?;
        let towards_caller = direction(|rules| &rules.towards_caller)?;
        let known = [&towards_upstream, &towards_caller];
        let records = match cache.records_text {
            true => Some(DirectionPlan::of(&redact, masks_of(known), cache)?),
            false => None,
        };
        let plan = Self {
            towards_upstream,
            towards_caller,
            records,
        };
        let does_something =
            plan.towards_upstream.does_something() || plan.towards_caller.does_something();
        Ok(does_something.then(|| Arc::new(plan)))
    }
}

impl DirectionPlan {
    /// Makes the plan of one direction, of rules whose most specific comes first.
    fn of(
        rules: &[&RedactRules],
        actions: HashMap<Class, RedactAction>,
        cache: &mut DetectorCache<'_>,
    ) -> Result<Self, DetectorsError> {
        let fields: Vec<_> = rules
            .iter()
            .flat_map(|rules| rules.fields.clone())
            .collect();
        let field_classes = fields.iter().filter_map(|field| class_of(&field.class));
        let is_changing = |action| {
            matches!(
                action,
                RedactAction::Tokenise | RedactAction::Mask | RedactAction::Block
            )
        };
        Ok(Self {
            changing: cache.find(&actions, is_changing)?,
            reported: cache.find(&actions, |action| action == RedactAction::Report)?,
            fields: FieldMatcher::new(&fields),
            field_classes: field_classes.collect(),
            actions,
        })
    }

    fn does_something(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Returns whether values are looked for, to be replaced, refused or counted.
    #[must_use]
    pub fn redacts(&self) -> bool {
        self.changing.is_some() || self.reported.is_some() || self.has_field_rules()
    }

    /// Returns whether pseudonyms become values.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.actions
            .values()
            .any(|action| *action == RedactAction::Restore)
    }

    fn has_field_rules(&self) -> bool {
        self.field_classes
            .iter()
            .any(|class| self.actions.contains_key(class))
    }

    /// Returns what happens to values of a class.
    #[must_use]
    pub fn action(&self, class: &Class) -> RedactAction {
        self.actions
            .get(class)
            .copied()
            .unwrap_or(RedactAction::Pass)
    }

    pub(super) fn matcher(&self) -> &FieldMatcher {
        &self.fields
    }

    pub(super) fn field_class(&self, field: usize) -> Option<&Class> {
        self.field_classes.get(field)
    }

    /// Finds values that may not pass as they are.
    pub(super) fn find(&self, name: &str, text: &str) -> Vec<Detection> {
        let detectors = self.changing.as_ref();
        detectors.map_or_else(Vec::new, |detectors| detectors.find_named(name, text))
    }

    /// Finds the class of a number that may not pass as it is.
    pub(super) fn find_in_number(&self, name: &str, number: &str) -> Option<Class> {
        self.changing.as_ref()?.find_in_number(name, number)
    }

    /// Finds the classes of values that are only counted.
    pub(super) fn find_reported(&self, name: &str, text: &str) -> Vec<Class> {
        let detectors = self.reported.as_ref();
        let found = detectors.map_or_else(Vec::new, |detectors| detectors.find_named(name, text));
        found.into_iter().map(|detection| detection.class).collect()
    }
}

/// Returns the actions for records: what may not be seen on one of the ways is masked.
fn masks_of(known: [&DirectionPlan; 2]) -> HashMap<Class, RedactAction> {
    let all = known.into_iter().flat_map(|plan| &plan.actions);
    let hidden = all.filter(|(_, action)| **action != RedactAction::Report);
    hidden
        .map(|(class, _)| (class.clone(), RedactAction::Mask))
        .collect()
}

/// Returns what the most specific rule says of a class.
fn action_for(layers: &[&ClassActions], class: &Class) -> RedactAction {
    let mut found = layers.iter().filter_map(|layer| layer.get(class.name()));
    let action = found.next().unwrap_or(RedactAction::Pass);
    // Only `*` can say so: what is named is checked.
    if action == RedactAction::Tokenise && class.is_guessable() {
        return RedactAction::Mask;
    }
    action
}

/// Returns the class with a name that the config has checked.
fn class_of(name: &str) -> Option<Class> {
    Class::known(name).or_else(|| Class::own(name).ok())
}

impl DetectorCache<'_> {
    /// Returns the action for each class that does not pass, by layers of which the first is the
    /// most specific.
    fn actions(&self, layers: &[&ClassActions]) -> HashMap<Class, RedactAction> {
        let mut actions = HashMap::new();
        for class in self.classes() {
            let action = action_for(layers, &class);
            if action != RedactAction::Pass {
                actions.insert(class, action);
            }
        }
        actions
    }

    /// Returns all classes: those of weir, and those of the config.
    fn classes(&self) -> Vec<Class> {
        let custom = self
            .custom
            .iter()
            .filter_map(|custom| class_of(&custom.class));
        Class::all().chain(custom).collect()
    }

    /// Returns detectors of the classes with such an action, those that can be found in text.
    fn find(
        &mut self,
        actions: &HashMap<Class, RedactAction>,
        has_action: impl Fn(RedactAction) -> bool,
    ) -> Result<Option<Arc<Detectors>>, DetectorsError> {
        let mut known = Vec::new();
        let mut patterns = Vec::new();
        for (class, _) in actions.iter().filter(|(_, action)| has_action(**action)) {
            let custom = self
                .custom
                .iter()
                .find(|custom| *custom.class == *class.name());
            match custom {
                Some(custom) => patterns.push((class.clone(), &*custom.pattern)),
                None if class.is_detected() => known.push(class.clone()),
                None => {}
            }
        }
        known.sort_unstable();
        patterns.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let own = patterns.iter().map(|(class, _)| class.clone());
        let key: Vec<_> = known.iter().cloned().chain(own).collect();
        if key.is_empty() {
            return Ok(None);
        }
        if let Some((_, made)) = self.made.iter().find(|(classes, _)| *classes == key) {
            return Ok(Some(Arc::clone(made)));
        }
        let made = Arc::new(Detectors::compile(known, patterns)?);
        self.made.push((key, Arc::clone(&made)));
        Ok(Some(made))
    }
}
