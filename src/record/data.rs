//! The data of a request, on its way to the record file.

use crate::guard::RequestGuard;

/// Arguments or a result, for a record.
#[derive(Clone, Copy, Debug)]
pub struct RecordedData<'d> {
    /// The JSON text as it was sent.
    pub sent: &'d str,
    /// The text before pseudonyms in it became values, if some did.
    pub unrestored: Option<&'d str>,
    /// The rules for the data; `None` if all of it passes.
    pub guard: Option<&'d RequestGuard>,
}
