//! The rules for the data of each route, merged from those of weir, of its upstream and of its tool.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::config::{ClassActions, Config, FieldRule, GuardRules, RedactAction};
use crate::name::UpstreamId;

/// The rules for the data of all routes of a config.
#[derive(Debug)]
pub struct Guard {
    upstreams: HashMap<UpstreamId, UpstreamPlans>,
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
}

/// The rules for the data of one route in one direction.
#[derive(Debug, Default)]
pub struct DirectionPlan {
    /// What is written about classes, the most specific first.
    layers: Vec<ClassActions>,
    /// The fields whose class is known, the most specific first.
    fields: Vec<FieldRule>,
}

impl Guard {
    /// Merges the rules of a config; `None` if they let everything pass.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let mut upstreams = HashMap::new();
        for (id, upstream) in &config.upstreams {
            let outer = [&upstream.guard.rules, &config.guard.rules];
            let plans = UpstreamPlans {
                rest: RoutePlan::of(&outer),
                tools: upstream
                    .guard
                    .tools
                    .iter()
                    .map(|(tool, own)| {
                        let rules = [own, outer[0], outer[1]];
                        (tool.clone(), RoutePlan::of(&rules))
                    })
                    .collect(),
            };
            if plans.rest.is_some() || plans.tools.values().any(Option::is_some) {
                upstreams.insert(id.clone(), plans);
            }
        }
        (!upstreams.is_empty()).then_some(Self { upstreams })
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
    fn of(rules: &[&GuardRules]) -> Option<Arc<Self>> {
        let redact = || rules.iter().map(|rules| &rules.redact);
        let fields: Vec<_> = redact().flat_map(|rules| rules.fields.clone()).collect();
        let direction = |actions: fn(&crate::config::RedactRules) -> &ClassActions| DirectionPlan {
            layers: redact().map(actions).cloned().collect(),
            fields: fields.clone(),
        };
        let plan = Self {
            towards_upstream: direction(|rules| &rules.towards_upstream),
            towards_caller: direction(|rules| &rules.towards_caller),
        };
        plan.does_something().then(|| Arc::new(plan))
    }

    fn does_something(&self) -> bool {
        [&self.towards_upstream, &self.towards_caller]
            .iter()
            .any(|direction| direction.does_something())
    }
}

impl DirectionPlan {
    fn does_something(&self) -> bool {
        let mut written = self.layers.iter().flat_map(|layer| {
            let named = layer.named.values().copied();
            named.chain(layer.others)
        });
        written.any(|action| action != RedactAction::Pass)
    }

    /// Returns what happens to values of a class.
    #[must_use]
    pub fn action(&self, class: &str) -> RedactAction {
        let mut found = self.layers.iter().filter_map(|layer| layer.get(class));
        found.next().unwrap_or(RedactAction::Pass)
    }

    /// Returns the fields whose class is known.
    #[must_use]
    pub fn fields(&self) -> &[FieldRule] {
        &self.fields
    }
}
