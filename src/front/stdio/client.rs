//! The client on stdio, for its records: the name that it gives itself, and a name of its session.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::front::agent::agent_of;
use crate::protocol::era::Era;
use crate::protocol::message::Request;
use crate::protocol::{meta, method};
use crate::record::Record;
use crate::session::session_name;
use crate::upstream::probe::SessionProfile;

/// The facts of a legacy client, which says them once. A modern one says them in each request.
#[derive(Debug, Default)]
pub(super) struct StdioClient(Mutex<ClientFacts>);

#[derive(Clone, Debug, Default)]
struct ClientFacts {
    session: Option<String>,
    agent: Option<Arc<str>>,
}

impl StdioClient {
    /// Notes a session that `initialize` opens, and the client of its record.
    pub(super) fn open(&self, profile: &SessionProfile, record: &Record) {
        *self.0.lock() = ClientFacts {
            session: profile.key.as_ref().map(session_name),
            agent: record.caller().agent().map(Arc::from),
        };
    }

    /// Notes in the record of a request who the client is, and its session.
    pub(super) fn describe(&self, era: Era, request: &Request<'_>, record: &mut Record) {
        if era == Era::Modern {
            let own = request.meta.as_ref();
            let info = own.and_then(|own| own.get(meta::CLIENT_INFO));
            record.set_agent(info.and_then(agent_of));
        } else if request.method == method::INITIALIZE {
            record.set_agent(request.params.get("clientInfo").and_then(agent_of));
        } else {
            let ClientFacts { session, agent } = self.0.lock().clone();
            record.set_agent(agent);
            if let Some(session) = session {
                record.set_session(|| session);
            }
        }
    }
}
