//! The course of a call of a tool whose upstream asks the caller something.

use crate::admin::explain::index::KnownUpstream;
use crate::bridge::AskKind;
use crate::catalog::{Kind, Route};
use crate::protocol::era::Era;

/// Returns sentences about the questions of a tool, and about the task that it may be.
pub(super) fn questions_of(
    kind: Kind,
    route: &Route,
    known: Option<&KnownUpstream>,
) -> Vec<String> {
    let era = known.and_then(|known| known.era);
    let (Kind::Tools, Some(era)) = (kind, era) else {
        return Vec::new();
    };
    let mut found = vec![match era {
        Era::Modern => {
            let needed = AskKind::ALL.map(|kind| format!("`{}`", kind.capability()));
            format!(
                "a legacy caller is asked on the stream of its call, if it declares what the question needs: {}",
                needed.join(", ")
            )
        }
        Era::Legacy => {
            "a caller is asked for what it declares, where the upstream keeps sessions: a legacy caller \
             during its call, a modern one by `input_required`, and its call waits for it"
                .to_owned()
        }
    }];
    if era == Era::Legacy && route.requires_task() {
        found.push(
            "it has to be called as a task, which weir does and follows for modern callers"
                .to_owned(),
        );
    }
    found
}
