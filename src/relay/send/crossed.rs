//! A call of a modern caller that its legacy upstream may ask something. It has a session of its own
//! there, and a task reads all that comes in it: the call may go on without its caller, who gets the
//! questions as a result and comes back with the answers.

mod asking;
mod call;
mod demanded;
mod demands;
mod messages;
mod phase;
mod source;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::session::{ParkedCall, Resumption};
use crate::upstream::{Exchange, LinkError, OutboundRequest};

pub(super) use call::CallSetup;
use call::CrossedCall;

/// The messages that wait for the caller to read them.
const WAITING: usize = 16;

/// Sends a request in a session that it has to itself. The exchange has its messages up to the response,
/// or to a result that asks the caller something.
///
/// # Errors
/// The upstream gave no answer.
pub(super) fn begin(
    setup: CallSetup,
    outbound: OutboundRequest,
) -> BoxFuture<'static, Result<Exchange, LinkError>> {
    async move {
        let (out, messages) = mpsc::channel(WAITING);
        let (told, begun) = oneshot::channel();
        let deadline = setup.deadline;
        let call = Box::new(CrossedCall::new(setup, outbound, out, told)?);
        let tasks = call.setup.session.link.tasks().clone();
        tasks.spawn(call.run());
        match timeout_at(deadline, begun).await {
            Ok(Ok(begun)) => begun.map(|()| Exchange::from_relayed(messages)),
            Ok(Err(_)) => Err(LinkError::Nonsense("ended without an answer")),
            Err(_) => Err(LinkError::Timeout),
        }
    }
    .boxed()
}

/// Has a parked call go on with the caller's answers. Returns `None` if it is over.
pub(super) fn resume(
    call: ParkedCall,
    answers: Option<String>,
    deadline: Instant,
) -> Option<Exchange> {
    let (out, messages) = mpsc::channel(WAITING);
    let resumption = Resumption {
        answers,
        out,
        deadline,
    };
    call.resume.send(resumption).ok()?;
    Some(Exchange::from_relayed(messages))
}
