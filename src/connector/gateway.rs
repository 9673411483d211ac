//! Amazon Bedrock AgentCore Gateway (AgentCore developer guide, "Use an AgentCore gateway").

use crate::upstream::quirks::{Errors, Quirks};

/// A gateway speaks the versions it was created with and no others; keeps sessions if it was told to, which may be
/// later than weir came; throttles in the body of an answer.
pub(super) const QUIRKS: Quirks = Quirks {
    errors: Errors::Gateway,
    affinity: false,
    // What it has to say comes on the answer of the POST that it is about.
    only_posts: true,
    keeps_sessions: false,
    sessions_may_come: true,
    refuses_versions: true,
};
