//! `listen.auth.platform`

/// An identity that a platform in front of weir asserts in headers.
#[derive(Clone, Debug)]
pub struct PlatformIdentity {
    /// The header with the subject.
    pub subject_header: Box<str>,
    /// The networks of the platform.
    pub from: Vec<Box<str>>,
}
