//! The effect of another config on the upstreams.

/// The outcome of another config for the upstreams: their names, in the order of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// New upstreams.
    pub added: Vec<String>,
    /// Upstreams that are connected anew.
    pub changed: Vec<String>,
    /// Upstreams that are gone.
    pub removed: Vec<String>,
}
