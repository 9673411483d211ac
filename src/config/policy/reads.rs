//! The things that conditions of a policy read, found in its JSON (Cedar's "JSON policy format").

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy};
use serde_json::Value;

/// The members of `context.input` that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum InputReads {
    /// None.
    #[default]
    Nothing,
    /// These.
    Members(BTreeSet<Box<str>>),
    /// The whole record.
    Whole,
}

/// The tags of the principal that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TagReads {
    /// Those with these names.
    Named(BTreeSet<Box<str>>),
    /// Those whose names are computed: any.
    Any,
}

/// All that an expression reads.
#[derive(Clone, Debug)]
pub(crate) struct ExpressionReads {
    /// The arguments.
    pub(crate) input: InputReads,
    /// Whether it depends on what is not known when a list is made: arguments and time.
    pub(crate) unknown: bool,
    /// Whether it reads the time.
    pub(crate) now: bool,
    /// Whether it reads `context.weir`.
    pub(crate) weir: bool,
    /// Whether it reads the action or the resource.
    pub(crate) scope: bool,
    /// Whether it reads the id of the principal as a text, or compares it with anything else than a
    /// principal that it names.
    pub(crate) id: bool,
    /// The principals that it names.
    pub(crate) named: BTreeSet<EntityUid>,
    /// The tags of the principal.
    pub(crate) tags: TagReads,
    /// Attributes that do not exist.
    pub(crate) unknown_attributes: BTreeSet<String>,
    /// The types that `is` asks for.
    pub(crate) types: BTreeSet<String>,
}

impl Default for ExpressionReads {
    fn default() -> Self {
        Self {
            input: InputReads::Nothing,
            unknown: false,
            now: false,
            weir: false,
            scope: false,
            id: false,
            named: BTreeSet::new(),
            tags: TagReads::Named(BTreeSet::new()),
            unknown_attributes: BTreeSet::new(),
            types: BTreeSet::new(),
        }
    }
}

/// The members of `context.weir`.
pub(crate) const WEIR: [&str; 4] = ["upstream", "exposed", "era", "method"];

impl ExpressionReads {
    /// Returns all that the conditions of a policy read.
    pub(crate) fn of(policy: &Policy) -> Self {
        let json = policy.to_json().unwrap_or_default();
        let mut reads = Self::default();
        let conditions = json.get("conditions").and_then(Value::as_array);
        let bodies = conditions.into_iter().flatten();
        for body in bodies.filter_map(|condition| condition.get("body")) {
            reads.walk(body);
        }
        reads
    }

    /// Returns whether it is the same whatever arguments and time are.
    pub(crate) fn is_known(expression: &Value) -> bool {
        let mut reads = Self::default();
        reads.walk(expression);
        !reads.unknown
    }

    /// Returns whether it may differ between two routes of one action.
    pub(crate) fn is_of_route(&self) -> bool {
        self.weir || self.scope
    }

    /// Adds what an expression reads.
    pub(crate) fn walk(&mut self, expression: &Value) {
        let Some((operator, operand)) = single(expression) else {
            return self.walk_all(expression);
        };
        match (operator, operand) {
            ("Value", _) => {}
            ("Var", Value::String(variable)) => self.variable(variable),
            (".", _) => self.attribute(operand, false),
            ("has", _) => self.attribute(operand, true),
            ("getTag" | "hasTag", _) => self.tag(operand),
            ("is", _) => {
                let name = operand.get("entity_type").and_then(Value::as_str);
                self.types.extend(name.map(str::to_owned));
                if !is_variable(operand.get("left"), "principal") {
                    self.walk_member(operand, "left");
                }
                self.principal_in(operand.get("in"));
            }
            ("==" | "!=" | "in", _) => {
                let (left, right) = (operand.get("left"), operand.get("right"));
                if is_variable(left, "principal") {
                    self.principal_in(right);
                } else if is_variable(right, "principal") {
                    self.principal_in(left);
                } else {
                    self.walk_all(operand);
                }
            }
            // The names of members are no operators.
            ("Record", Value::Object(members)) => {
                members.values().for_each(|member| self.walk(member));
            }
            _ => self.walk_all(operand),
        }
    }

    fn walk_all(&mut self, value: &Value) {
        match value {
            Value::Object(members) => members.values().for_each(|member| self.walk(member)),
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn walk_member(&mut self, operand: &Value, name: &str) {
        if let Some(member) = operand.get(name) {
            self.walk(member);
        }
    }

    fn variable(&mut self, name: &str) {
        match name {
            "principal" => self.id = true,
            "context" => {
                self.unknown = true;
                self.now = true;
                self.weir = true;
                self.input = InputReads::Whole;
            }
            _ => self.scope = true,
        }
    }

    /// `left.attr`, or `left has attr`.
    fn attribute(&mut self, operand: &Value, is_test: bool) {
        let left = operand.get("left");
        let names = operand.get("attr").map(names_of).unwrap_or_default();
        let Some((first, rest)) = names.split_first() else {
            return self.walk_all(operand);
        };
        if is_variable(left, "principal") {
            match *first {
                "id" => self.id |= !is_test,
                _ => self.no_attribute("principal", first),
            }
        } else if is_variable(left, "context") {
            self.context(&names);
        } else if is_variable(left, "action") || is_variable(left, "resource") {
            self.scope = true;
            self.no_attribute("action or resource", first);
        } else if let Some(path) = path_of(left)
            && let [member] = path.as_slice()
        {
            let path = [&[*member], &[*first], rest].concat();
            self.context(&path);
        } else if let Some(left) = left {
            self.walk(left);
        }
    }

    /// `context.path…`
    fn context(&mut self, path: &[&str]) {
        match path {
            ["input", member, ..] => {
                self.unknown = true;
                match &mut self.input {
                    InputReads::Whole => {}
                    InputReads::Members(members) => {
                        members.insert((*member).into());
                    }
                    InputReads::Nothing => {
                        self.input = InputReads::Members([Box::from(*member)].into());
                    }
                }
            }
            ["input"] => {
                self.unknown = true;
                self.input = InputReads::Whole;
            }
            ["weir", rest @ ..] => {
                self.weir = true;
                if let [member, ..] = rest
                    && !WEIR.contains(member)
                {
                    self.no_attribute("context.weir", member);
                }
            }
            ["system", rest @ ..] => {
                self.unknown = true;
                self.now = true;
                if let [member, ..] = rest
                    && *member != "now"
                {
                    self.no_attribute("context.system", member);
                }
            }
            [member, ..] => {
                self.unknown = true;
                self.no_attribute("context", member);
            }
            [] => {}
        }
    }

    fn no_attribute(&mut self, of: &str, name: &str) {
        self.unknown_attributes.insert(format!("{of}.{name}"));
    }

    /// `left.getTag(right)`, or `left.hasTag(right)`.
    fn tag(&mut self, operand: &Value) {
        let right = operand.get("right");
        if !is_variable(operand.get("left"), "principal") {
            self.walk_member(operand, "left");
        }
        match right.and_then(|right| right.get("Value")?.as_str()) {
            Some(name) => {
                if let TagReads::Named(names) = &mut self.tags {
                    names.insert(name.into());
                }
            }
            None => {
                self.tags = TagReads::Any;
                self.walk_member(operand, "right");
            }
        }
    }

    /// Takes what the principal is compared with: principals that are named, or anything else.
    fn principal_in(&mut self, other: Option<&Value>) {
        let Some(other) = other else {
            return;
        };
        if let Some(entity) = other.get("Value").and_then(entity_of) {
            self.named.insert(entity);
        } else if let Some(Value::Array(items)) = other.get("Set") {
            items.iter().for_each(|item| self.principal_in(Some(item)));
        } else {
            self.id = true;
            self.walk(other);
        }
    }
}

/// Returns the entity of a literal.
pub(crate) fn entity_of(value: &Value) -> Option<EntityUid> {
    EntityUid::from_json(value.clone()).ok()
}

/// Returns the only member of an expression.
fn single(expression: &Value) -> Option<(&str, &Value)> {
    let mut members = expression.as_object()?.iter();
    let (operator, operand) = members.next()?;
    members
        .next()
        .is_none()
        .then_some((operator.as_str(), operand))
}

fn is_variable(expression: Option<&Value>, name: &str) -> bool {
    let variable = expression.and_then(|expression| expression.get("Var"));
    variable.is_some_and(|variable| variable == name)
}

/// Returns the member of `context` that an expression is, as a path.
fn path_of(expression: Option<&Value>) -> Option<Vec<&str>> {
    let (".", operand) = single(expression?)? else {
        return None;
    };
    let is_of_context = is_variable(operand.get("left"), "context");
    is_of_context.then(|| operand.get("attr").map(names_of))?
}

/// Returns the names of an attribute: `has` may have several, for `has a.b`.
fn names_of(attribute: &Value) -> Vec<&str> {
    match attribute {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}
