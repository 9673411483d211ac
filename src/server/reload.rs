//! The config is read again: refused as a whole, or taken on while calls go on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Kind};
use crate::config::{self, Config};
use crate::live::Live;
use crate::live::reload::{Ask, Outcome, Reloads};
use crate::server::ServeError;
use crate::server::core::{Core, Reconfigured};

/// Where the config of a running weir comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// What `--listen` said, which the file does not.
    pub address: Option<std::net::SocketAddr>,
}

impl Source {
    fn read(&self) -> Result<Config, Vec<String>> {
        let loaded = config::load(&self.file, &config::process_env);
        let mut config = loaded.map_err(|errors| {
            let lines = errors.to_string();
            lines.lines().map(str::to_owned).collect::<Vec<_>>()
        })?;
        if let Some(address) = self.address {
            config.listen.address = address;
        }
        Ok(config)
    }
}

/// Answers requests for a reload until `stop`, and gives the core back.
pub(super) async fn attend(
    mut core: Core,
    source: Option<Source>,
    reloads: Reloads,
    mut asked: mpsc::Receiver<Ask>,
    stop: CancellationToken,
) -> Core {
    loop {
        let ask = tokio::select! {
            () = stop.cancelled() => return core,
            Some(ask) = asked.recv() => ask,
        };
        // Without a file, dropping `ask` says so.
        if let Some(source) = &source {
            let outcome = reload(&mut core, source).await;
            tell(&outcome);
            reloads.note(&outcome);
            let _ = ask.send(outcome);
        }
    }
}

async fn reload(core: &mut Core, source: &Source) -> Outcome {
    let reader = source.clone();
    let read = tokio::task::spawn_blocking(move || reader.read()).await;
    let mut config = match read {
        Ok(Ok(config)) => config,
        Ok(Err(errors)) => return Outcome::Refused { errors },
        Err(_) => {
            let errors = vec!["the config could not be read".to_owned()];
            return Outcome::Refused { errors };
        }
    };
    let before = core.live().load_full();
    if config.instance.is_none() {
        // Then the name was made or kept, and stays.
        config.instance.clone_from(&before.config.instance);
    }
    let fixed = before.config.fixed_changes(&config);
    if !fixed.is_empty() {
        let error = |field| format!("`{field}` cannot change while weir runs: restart it");
        let errors = fixed.into_iter().map(error).collect();
        return Outcome::Refused { errors };
    }
    if before.config.is_same(&config) {
        return Outcome::Unchanged;
    }
    match core.configure(Arc::new(config)).await {
        Ok(done) => applied(core, &before.catalog, done),
        Err(error) => Outcome::Refused {
            errors: vec![in_full(&error)],
        },
    }
}

/// An error and what caused it.
fn in_full(error: &ServeError) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn applied(core: &Core, before: &Catalog, done: Reconfigured) -> Outcome {
    let now = core.live().load_full();
    let names = |catalog: &Catalog| {
        let rows = catalog.routes(Kind::Tools);
        rows.map(|row| row.exposed.to_string())
            .collect::<BTreeSet<_>>()
    };
    let (then, since) = (names(before), names(&now.catalog));
    Outcome::Applied {
        generation: now.generation,
        added: done.added,
        changed: done.changed,
        removed: done.removed,
        tools_added: since.difference(&then).cloned().collect(),
        tools_removed: then.difference(&since).cloned().collect(),
    }
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Applied {
            generation,
            added,
            changed,
            removed,
            ..
        } => tracing::info!(generation, ?added, ?changed, ?removed, "config applied"),
        Outcome::Unchanged => tracing::debug!("the config says what it said before"),
        Outcome::Refused { errors } => {
            for error in errors {
                tracing::error!(%error, "the config is refused, the one from before stays in force");
            }
        }
    }
}

/// A core whose config can be read again.
pub struct Attended {
    live: Arc<Live>,
    reloads: Reloads,
    stop: CancellationToken,
    core: JoinHandle<Core>,
}

impl Attended {
    /// Attends to a core. Without a source, nobody can have the config read again.
    #[must_use]
    pub fn start(core: Core, source: Option<Source>) -> Self {
        let (reloads, asked) = Reloads::new();
        let (live, stop) = (Arc::clone(core.live()), CancellationToken::new());
        let tasks = core.tasks.clone();
        let attending = attend(core, source, reloads.clone(), asked, stop.clone());
        Self {
            live,
            reloads,
            stop,
            core: tasks.spawn(attending),
        }
    }

    /// The current snapshot and word of new ones.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The way to ask for a reload.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Stops the core.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Ok(core) = self.core.await {
            core.stop().await;
        }
    }
}
