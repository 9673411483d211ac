//! Finds the fields that rules name, while a JSON text is visited.

use crate::config::{FieldRule, FieldStep};
use crate::guard::coverage::Shape;

/// The paths of the fields of a plan.
#[derive(Debug, Default)]
pub struct FieldMatcher {
    paths: Vec<Box<[FieldStep]>>,
}

/// How far the paths of a plan lead at a place: rule and number of steps, of each that leads on.
#[derive(Clone, Debug, Default)]
pub struct FieldStates(Vec<(u16, u8)>);

impl FieldMatcher {
    /// Makes the matcher of rules, of which the first that fits a field counts.
    #[must_use]
    pub fn new(rules: &[FieldRule]) -> Self {
        let paths = rules.iter().map(|rule| rule.path.steps().into());
        Self {
            paths: paths.collect(),
        }
    }

    /// Begins the paths at a value, if they begin at values of this shape.
    #[must_use]
    pub fn begin(&self, shape: &Shape) -> FieldStates {
        if self.paths.is_empty() || *shape != Shape::Fields {
            return FieldStates::default();
        }
        let rules = (0..self.paths.len()).filter_map(|rule| u16::try_from(rule).ok());
        FieldStates(rules.map(|rule| (rule, 0)).collect())
    }

    /// Follows the paths into a member.
    #[must_use]
    pub fn member(&self, states: &FieldStates, name: &str) -> FieldStates {
        self.follow(states, Some(name))
    }

    /// Follows the paths into an item of a list.
    #[must_use]
    pub fn item(&self, states: &FieldStates) -> FieldStates {
        self.follow(states, None)
    }

    /// Returns the place of the rule for a value here, the first if there are several.
    #[must_use]
    pub fn rule(&self, states: &FieldStates) -> Option<usize> {
        let ended = states
            .0
            .iter()
            .filter(|(rule, at)| self.step(*rule, *at).is_none());
        ended.map(|(rule, _)| usize::from(*rule)).min()
    }

    fn step(&self, rule: u16, at: u8) -> Option<&FieldStep> {
        self.paths.get(usize::from(rule))?.get(usize::from(at))
    }

    fn follow(&self, states: &FieldStates, name: Option<&str>) -> FieldStates {
        let mut next = FieldStates(Vec::new());
        for (rule, at) in &states.0 {
            let mut add = |at: u8| {
                if !next.0.contains(&(*rule, at)) {
                    next.0.push((*rule, at));
                }
            };
            match self.step(*rule, *at) {
                // The field is a container: all in it is of the class.
                None => add(*at),
                Some(FieldStep::Each) => add(at + 1),
                Some(FieldStep::Member(step)) if name == Some(step) => add(at + 1),
                Some(FieldStep::Member(_)) => {}
                Some(FieldStep::Below(step)) => {
                    add(*at);
                    if name == Some(step) {
                        add(at + 1);
                    }
                }
            }
        }
        next
    }
}
