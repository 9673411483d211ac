//! Reloading the config: it is refused as a whole, or applied while calls go on.

mod outcome;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditEvent;
use crate::config::{self, Config, ConfigFiles, TextDigest};
use crate::live::reload::{FileState, ReloadHandle, ReloadOutcome, ReloadRequest, ReloadTrigger};
use crate::live::{Live, Snapshot};
use crate::name::UpstreamId;
use crate::policy::{Policies, PolicyRules};
use crate::server::config_watch;
use crate::server::core::Core;
use crate::server::error::ServeError;
use crate::server::options::ConfigSource;
use crate::server::reload::outcome::{describe_applied, log_outcome};

/// A config that was read.
struct ReadConfig {
    text: TextDigest,
    /// `None` if the text is as before, and was not parsed again.
    config: Option<Result<Config, Vec<String>>>,
}

impl ConfigSource {
    /// Reads the files, and parses them unless their text was tried before and parsed without errors.
    fn read(&self, tried: Option<LastAttempt>) -> ReadConfig {
        let texts = ConfigFiles::read(&self.file);
        let text = texts.digest();
        if tried.is_some_and(|tried| tried.text == text && !tried.wrong) {
            return ReadConfig { text, config: None };
        }
        let config = texts.config(&config::process_env);
        let config = config.map_err(|errors| {
            let lines = errors.to_string();
            lines.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        let config = config.map(|mut config| {
            if let Some(address) = self.address {
                config.listen.address = address;
            }
            config
        });
        ReadConfig {
            text,
            config: Some(config),
        }
    }
}

/// The text that was tried last, and whether it had errors of its own.
#[derive(Clone, Copy)]
struct LastAttempt {
    text: TextDigest,
    wrong: bool,
}

/// The task that reloads the config.
struct ReloadTask {
    core: Core,
    source: ConfigSource,
    reloads: ReloadHandle,
    tried: LastAttempt,
}

/// Answers requests for a reload until `stop`, then returns the core.
pub(super) async fn run_reloads(
    core: Core,
    source: Option<ConfigSource>,
    reloads: ReloadHandle,
    mut asked: mpsc::Receiver<ReloadRequest>,
    stop: CancellationToken,
) -> Core {
    let Some(source) = source else {
        // Requests fail at once.
        drop(asked);
        stop.cancelled().await;
        return core;
    };
    let tried = LastAttempt {
        text: source.started,
        wrong: false,
    };
    let mut task = ReloadTask {
        core,
        source,
        reloads,
        tried,
    };
    loop {
        let ask = tokio::select! {
            () = stop.cancelled() => return task.core,
            Some(ask) = asked.recv() => ask,
        };
        match ask {
            ReloadRequest::Reload {
                trigger,
                subject,
                tell,
            } => {
                let outcome = task.reload(trigger, subject.as_deref()).await;
                let _ = tell.send(outcome);
            }
            ReloadRequest::Look { whole, tell } => {
                let seen = task.look(whole).await;
                let _ = tell.send(seen);
            }
        }
    }
}

impl ReloadTask {
    /// Reads and applies the files, even if they are unchanged.
    async fn reload(&mut self, trigger: ReloadTrigger, subject: Option<&str>) -> ReloadOutcome {
        // A reload does not wait for the watch over its file.
        self.core.authentication.admin_token().read().await;
        let outcome = match self.read(None).await {
            Some(ReadConfig { text, config }) => {
                let wrong = matches!(config, Some(Err(_)));
                self.tried = LastAttempt { text, wrong };
                match config {
                    Some(Ok(config)) => self.take_on(config).await,
                    Some(Err(errors)) => ReloadOutcome::Refused { errors },
                    None => ReloadOutcome::Unchanged,
                }
            }
            None => ReloadOutcome::Refused {
                errors: vec!["the config could not be read".to_owned()],
            },
        };
        self.record(trigger, subject, &outcome);
        outcome
    }

    /// Reads the files and applies them if their text was not tried yet. Errors are not reported until
    /// the caller knows that the text is `whole`: a writer may not be done.
    async fn look(&mut self, whole: Option<TextDigest>) -> FileState {
        let Some(ReadConfig { text, config }) = self.read(Some(self.tried)).await else {
            return FileState::Settled;
        };
        let (outcome, wrong) = match config {
            None => return FileState::Settled,
            // A file may be gone or cut off for a moment. Upstreams are in no hurry to go.
            Some(Ok(config)) if whole != Some(text) && self.only_removes(&config) => {
                return FileState::Wrong {
                    text,
                    refused: false,
                };
            }
            Some(Ok(config)) => (self.take_on(config).await, false),
            Some(Err(_)) if text == self.tried.text || whole != Some(text) => {
                let refused = text == self.tried.text;
                return FileState::Wrong { text, refused };
            }
            Some(Err(errors)) => (ReloadOutcome::Refused { errors }, true),
        };
        self.tried = LastAttempt { text, wrong };
        self.record(ReloadTrigger::File, None, &outcome);
        match wrong {
            true => FileState::Wrong {
                text,
                refused: true,
            },
            false => FileState::Settled,
        }
    }

    async fn read(&self, tried: Option<LastAttempt>) -> Option<ReadConfig> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read(tried));
        let mut read = read.await.ok()?;
        if let Some(Ok(config)) = &read.config {
            let emptied = describe_emptied(&self.core.live().load().config, config);
            if !emptied.is_empty() {
                read.config = Some(Err(emptied));
            }
        }
        Some(read)
    }

    /// Returns whether a config differs from the one in force only in upstreams that are not there any
    /// more.
    fn only_removes(&self, config: &Config) -> bool {
        let live = self.core.live().load();
        let before = &live.config.upstreams;
        let known = |(id, upstream): (_, &Arc<config::Upstream>)| {
            let old = before.get(id);
            old.is_some_and(|old| old.fingerprint == upstream.fingerprint)
        };
        config.upstreams.len() < before.len() && config.upstreams.iter().all(known)
    }

    /// Applies another config, if it changes nothing that needs a restart.
    async fn take_on(&mut self, mut config: Config) -> ReloadOutcome {
        let before = self.core.live().load_full();
        if config.instance.is_none() {
            // The name was generated or stored, and stays.
            config.instance.clone_from(&before.config.instance);
        }
        let fixed = before.config.fixed_changes(&config);
        if !fixed.is_empty() {
            let error = |field| format!("`{field}` cannot change while weir runs: restart it");
            let errors = fixed.into_iter().map(error).collect();
            return ReloadOutcome::Refused { errors };
        }
        if let Some(error) = config.listen.refused_address() {
            let errors = vec![error.to_string()];
            return ReloadOutcome::Refused { errors };
        }
        let misfits = find_misfits(&before, &config).await;
        if !misfits.is_empty() {
            return ReloadOutcome::Refused { errors: misfits };
        }
        let same = before.config.is_same(&config);
        self.core.memory().set_limit(config.memory);
        let config = Arc::new(config);
        if same {
            self.core.relocate(config).await;
            return ReloadOutcome::Unchanged;
        }
        match self.core.configure(config).await {
            Ok(done) => describe_applied(&self.core, before, done).await,
            Err(error) => ReloadOutcome::Refused {
                errors: vec![with_causes(&error)],
            },
        }
    }

    fn record(&self, trigger: ReloadTrigger, subject: Option<&str>, outcome: &ReloadOutcome) {
        log_outcome(trigger, outcome);
        let live = self.core.live();
        if let Some(audit) = live.audit() {
            let details = json!({ "trigger": trigger, "outcome": outcome });
            audit.write_event(&AuditEvent {
                subject,
                generation: Some(live.load().generation),
                ..AuditEvent::new(AuditEvent::RELOAD, details)
            });
        }
        self.reloads.note(trigger, outcome);
    }
}

/// Returns an error for each new policy that does not fit the tools that are listed now. Where the
/// upstreams change too, what they will list is not known, and there are none.
async fn find_misfits(before: &Arc<Snapshot>, config: &Config) -> Vec<String> {
    let same_upstreams = before.config.upstreams.keys().eq(config.upstreams.keys());
    let is_known = before
        .policies
        .as_ref()
        .is_some_and(|known| known.rules().is_of(config));
    let Some(settings) = config
        .policy
        .clone()
        .filter(|_| same_upstreams && !is_known)
    else {
        return Vec::new();
    };
    let Some(rules) = PolicyRules::of(config) else {
        return Vec::new();
    };
    let before = Arc::clone(before);
    let finding = tokio::task::spawn_blocking(move || {
        let policies = Policies::new(
            rules,
            &before.config.upstreams,
            &before.catalog,
            before.config.memory,
        );
        let mut found = policies.findings(&settings);
        found.retain(|finding| finding.is_error);
        found.iter().map(ToString::to_string).collect()
    });
    finding.await.unwrap_or_default()
}

/// Returns an error for each file that had upstreams and now says nothing of any, unless they are in
/// another file now. A file that is empty was probably cut off before it is written.
fn describe_emptied(before: &Config, now: &Config) -> Vec<String> {
    let is_gone = |id: &UpstreamId| !now.upstreams.contains_key(id);
    let had_upstreams = |file: &Path| {
        let mut sources = before.sources.iter();
        let source = sources.find(|source| source.file == file);
        source.is_some_and(|source| source.upstreams.iter().any(is_gone))
    };
    let silent = now.sources.iter().filter(|source| !source.is_written);
    silent
        .filter(|source| had_upstreams(&source.file))
        .map(|source| {
            let file = source.file.display();
            format!(
                "{file}: has no `upstreams` any more, as a file that is not written yet: if they are to go, write `upstreams: {{}}`"
            )
        })
        .collect()
}

/// Formats an error with its causes.
fn with_causes(error: &ServeError) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A core whose config can be reloaded.
pub struct ReloadableCore {
    live: Arc<Live>,
    reloads: ReloadHandle,
    stop: CancellationToken,
    /// Ends the watch of the files.
    unwatch: CancellationToken,
    core: JoinHandle<Core>,
}

impl ReloadableCore {
    /// Starts the reload task of a core, and watches the files of its config. Without a source the config
    /// cannot be reloaded.
    #[must_use]
    pub fn start(core: Core, source: Option<ConfigSource>) -> Self {
        let cannot = match &source {
            None => Some("there is no config file to read"),
            Some(source) if source.is_stream => Some(
                "the config came from a stream, which cannot be read again: start weir with `-c FILE` to reload it",
            ),
            Some(_) => None,
        };
        let (reloads, asked) = ReloadHandle::new(cannot);
        let source = source.filter(|source| {
            if source.is_stream {
                let file = source.file.display();
                tracing::info!("the config is a stream ({file}): it is read once and not watched");
            }
            !source.is_stream
        });
        let (live, stop) = (Arc::clone(core.live()), CancellationToken::new());
        let unwatch = stop.child_token();
        let callers = core.authentication.current();
        core.export.send_metrics(&live, &reloads, callers);
        let tasks = core.tasks.clone();
        if let Some(source) = source.as_ref().filter(|source| source.watched) {
            let watching = config_watch::watch(source.file.clone(), reloads.clone());
            let unwatch = unwatch.clone();
            tasks.spawn(async move { unwatch.run_until_cancelled(watching).await });
        }
        let attending = run_reloads(core, source, reloads.clone(), asked, stop.clone());
        Self {
            live,
            reloads,
            stop,
            unwatch,
            core: tasks.spawn(attending),
        }
    }

    /// Returns the current snapshot, and notice of new ones.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Returns the handle that reloads the config.
    #[must_use]
    pub fn reloads(&self) -> &ReloadHandle {
        &self.reloads
    }

    /// Applies no change of the files any more.
    pub fn unwatch(&self) {
        self.unwatch.cancel();
    }

    /// Stops the core.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Ok(core) = self.core.await {
            core.stop().await;
        }
    }
}
