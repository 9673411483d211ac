//! Streams that tell callers when lists change: the legacy GET stream and modern `subscriptions/listen`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Digest, Kind};
use crate::live::Live;
use crate::protocol::method;

/// The three kinds of change a caller can be told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) tools: bool,
    pub(super) prompts: bool,
    pub(super) resources: bool,
}

impl Wanted {
    /// All of them: what a legacy session is told.
    pub(super) const ALL: Self = Self {
        tools: true,
        prompts: true,
        resources: true,
    };
}

/// Which lists differ from what this caller was last told.
pub(super) struct Changes {
    live: Arc<Live>,
    generations: watch::Receiver<u64>,
    told: [Digest; 4],
    wanted: Wanted,
    due: VecDeque<&'static str>,
    end: CancellationToken,
}

/// What happens next on a stream of changes.
pub(super) enum Next {
    /// A list changed: the notification's method.
    Changed(&'static str),
    /// Nothing for a while: keep the connection alive.
    Silence,
    /// The stream is over.
    End,
}

impl Changes {
    /// Watches from now on, until `end`.
    pub(super) fn new(live: &Arc<Live>, wanted: Wanted, end: CancellationToken) -> Self {
        let generations = live.watch();
        let told = digests(live);
        Self {
            live: Arc::clone(live),
            generations,
            told,
            wanted,
            due: VecDeque::new(),
            end,
        }
    }

    pub(super) async fn next(&mut self) -> Next {
        loop {
            if let Some(method) = self.due.pop_front() {
                return Next::Changed(method);
            }
            tokio::select! {
                () = self.end.cancelled() => return Next::End,
                changed = self.generations.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    self.compare();
                }
                () = tokio::time::sleep(super::answer::KEEP_ALIVE) => return Next::Silence,
            }
        }
    }

    fn compare(&mut self) {
        let now = digests(&self.live);
        let [tools, prompts, resources, templates] =
            std::array::from_fn(|at| now.get(at) != self.told.get(at));
        self.told = now;
        if tools && self.wanted.tools {
            self.due.push_back(method::TOOLS_CHANGED);
        }
        if prompts && self.wanted.prompts {
            self.due.push_back(method::PROMPTS_CHANGED);
        }
        if (resources || templates) && self.wanted.resources {
            self.due.push_back(method::RESOURCES_CHANGED);
        }
    }
}

fn digests(live: &Live) -> [Digest; 4] {
    let snapshot = live.load();
    Kind::ALL.map(|kind| snapshot.catalog.digest_of(kind))
}

/// The bytes of a stream of changes: what begins it, each change as `render` writes it, what ends it.
pub(super) fn body(
    first: Option<Bytes>,
    changes: Changes,
    render: impl Fn(&'static str) -> Bytes + Send + 'static,
    last: Option<Bytes>,
    kept: impl Send + 'static,
) -> axum::body::Body {
    let state = (first, Some(changes), last, render, kept);
    let stream =
        futures::stream::unfold(state, |(first, changes, last, render, kept)| async move {
            if let Some(first) = first {
                return Some((
                    Ok::<_, std::convert::Infallible>(first),
                    (None, changes, last, render, kept),
                ));
            }
            let mut changes = changes?;
            match changes.next().await {
                Next::Changed(method) => Some((
                    Ok(render(method)),
                    (None, Some(changes), last, render, kept),
                )),
                Next::Silence => Some((
                    Ok(crate::protocol::sse::KEEP_ALIVE),
                    (None, Some(changes), last, render, kept),
                )),
                Next::End => last.map(|last| (Ok(last), (None, None, None, render, kept))),
            }
        });
    axum::body::Body::from_stream(stream)
}
