//! Where spans and log records go, as the config says.

use std::sync::Arc;

use crate::admin;
use crate::authentication::CurrentAuthenticator;
use crate::config::Config;
use crate::connector::ConnectorContext;
use crate::exporter::{ExportChange, Exporter};
use crate::live::Live;
use crate::live::reload::ReloadHandle;
use crate::server::error::ServeError;
use crate::server::options::Options;

/// The exporter of a weir that serves; commands have none.
pub(super) struct Export(Option<Exporter>);

impl Export {
    /// Starts to send what the config says.
    pub(super) fn start(
        config: &Config,
        options: &Options,
        around: &ConnectorContext,
    ) -> Result<Self, ServeError> {
        let tracer = Arc::clone(around.metrics.tracer());
        let make = || Exporter::new(tracer, around.auth.clone(), options.metric_lines);
        let mut export = Self(options.exports.then(make));
        let change = export.prepare(config)?;
        export.apply(change);
        Ok(export)
    }

    /// Makes what puts the settings of a config in force.
    pub(super) fn prepare(&self, config: &Config) -> Result<ExportChange, ServeError> {
        let Some(exporter) = &self.0 else {
            return Ok(ExportChange::None);
        };
        let settings = config.telemetry.as_deref();
        let prepared = exporter.prepare(settings, config.instance.as_ref());
        prepared.map_err(ServeError::Telemetry)
    }

    /// Has metrics sent, where the config says so, as the admin listener shows them.
    pub(super) fn send_metrics(
        &self,
        live: &Arc<Live>,
        reloads: &ReloadHandle,
        callers: &Arc<CurrentAuthenticator>,
    ) {
        if let Some(exporter) = &self.0 {
            let (live, reloads) = (Arc::clone(live), reloads.clone());
            let callers = Arc::clone(callers);
            let of_lines = (Arc::clone(&live), reloads.clone(), Arc::clone(&callers));
            let make = move || admin::export_metrics(&live, &reloads, &callers);
            let (live, reloads, callers) = of_lines;
            let add = move |lines| admin::add_metrics(lines, &live, &reloads, &callers);
            exporter.metrics().set(make, add);
        }
    }

    /// Puts other settings in force.
    pub(super) fn apply(&mut self, change: ExportChange) {
        if let Some(exporter) = &mut self.0 {
            exporter.apply(change);
        }
    }
}
