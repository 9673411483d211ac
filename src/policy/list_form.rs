//! The list form of a policy: what it says when arguments and time are not known yet.
//!
//! A permit keeps those parts of its conditions that have to hold whatever the arguments are, so that
//! it may only permit more. A forbid counts only if it forbids whatever the arguments are.

use serde_json::{Value, json};

use crate::config::ExpressionReads;

/// The list form of a policy.
pub(super) struct ListForm {
    /// The conditions that are left.
    pub(super) conditions: Value,
    /// Whether they are all conditions, so that the policy says the same for every call.
    pub(super) exact: bool,
}

/// Returns the list form of a policy's conditions; `None` for a forbid that may not apply.
pub(super) fn list_form(permits: bool, conditions: &Value) -> Option<ListForm> {
    let conditions = conditions.as_array();
    let all = conditions.into_iter().flatten();
    let exact = all.clone().all(ExpressionReads::is_known);
    if exact {
        let conditions = Value::Array(all.cloned().collect());
        return Some(ListForm { conditions, exact });
    }
    if !permits {
        return None;
    }
    let mut kept = Vec::new();
    for condition in all {
        let Some(body) = condition.get("body") else {
            continue;
        };
        // `when a && b` needs both; `unless a || b` needs that neither holds.
        let (kind, operator) = match condition.get("kind").and_then(Value::as_str) {
            Some("when") => ("when", "&&"),
            _ => ("unless", "||"),
        };
        let mut parts = Vec::new();
        split(body, operator, &mut parts);
        let known = parts
            .into_iter()
            .filter(|part| ExpressionReads::is_known(part));
        kept.extend(known.map(|part| json!({ "kind": kind, "body": part })));
    }
    Some(ListForm {
        conditions: Value::Array(kept),
        exact,
    })
}

/// Takes an expression apart that an operator joins.
fn split<'e>(expression: &'e Value, operator: &str, parts: &mut Vec<&'e Value>) {
    let mut rest = vec![expression];
    while let Some(one) = rest.pop() {
        let joined = one.as_object().filter(|members| members.len() == 1);
        match joined.and_then(|members| members.get(operator)) {
            Some(joined) => {
                rest.extend(joined.get("right"));
                rest.extend(joined.get("left"));
            }
            None => parts.push(one),
        }
    }
}
