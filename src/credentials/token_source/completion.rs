//! A task that always reports its end.

/// Reports a result when it is dropped, so that a task that panics or is aborted ends for those who
/// wait for it too.
pub(super) struct CompletionGuard<R, F: FnOnce(R)> {
    /// The result to report on drop, and the function that reports it; `None` once something was
    /// reported.
    pending: Option<(R, F)>,
}

impl<R, F: FnOnce(R)> CompletionGuard<R, F> {
    /// Creates a guard that reports `broken` unless it is completed.
    pub(super) fn new(broken: R, report: F) -> Self {
        Self {
            pending: Some((broken, report)),
        }
    }

    /// Reports this result.
    pub(super) fn complete(mut self, result: R) {
        if let Some((_, report)) = self.pending.take() {
            report(result);
        }
    }
}

impl<R, F: FnOnce(R)> Drop for CompletionGuard<R, F> {
    fn drop(&mut self) {
        if let Some((broken, report)) = self.pending.take() {
            report(broken);
        }
    }
}
