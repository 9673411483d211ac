//! A hook that is a child process: the process of a stdio upstream, with a JSON-RPC request `intercept`
//! a line. It is started with the first message, and again after it has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::context::ANSWER;
use super::socket::{read_response, request_message};
use super::{HookContext, HookFailure, HookSetupError};
use crate::config::{self, Endpoint};
use crate::credentials::SetupError;
use crate::memory::MemoryShare;
use crate::upstream::stdio::{Child, ChildReply, ChildSpec, InheritedEnv};

/// The process of one hook.
#[derive(Debug)]
pub(super) struct ChildCarrier {
    spec: ChildSpec,
    tasks: TaskTracker,
    memory: MemoryShare,
    current: Mutex<Option<Arc<Child>>>,
    next: AtomicU64,
}

impl ChildCarrier {
    pub(super) fn new(
        hook: &Arc<config::Upstream>,
        context: &HookContext,
    ) -> Result<Self, HookSetupError> {
        let memory = context.memory.share();
        let Endpoint::Child {
            program,
            args,
            env,
            cwd,
            inherit_env,
            hides_secrets,
            user,
        } = &hook.endpoint
        else {
            return Err(HookSetupError::NoProgram);
        };
        let opened = env
            .iter()
            .map(|(name, value)| Ok((name.clone(), context.auth.secrets.open(value)?)));
        let spec = ChildSpec {
            name: hook.id.clone(),
            program: program.clone(),
            args: args.clone(),
            env: opened.collect::<Result<_, SetupError>>()?,
            cwd: cwd.clone(),
            reaper: context.reaper.clone(),
            hidden: hides_secrets.then(|| Arc::clone(&context.secret_paths)),
            user: user.clone(),
            inherited: InheritedEnv::read(inherit_env),
            max_message: ANSWER,
            memory: memory.clone(),
        };
        Ok(Self {
            spec,
            tasks: context.tasks.clone(),
            memory,
            current: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    pub(super) async fn exchange(&self, input: &Bytes) -> Result<Bytes, HookFailure> {
        let child = self.running().await?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let message = request_message(id, input);
        let sent = child.request(id, message, self.memory.clone()).await;
        let mut replies = sent.map_err(|_| HookFailure::Broken)?;
        loop {
            match replies.next().await {
                Some(ChildReply::Response(bytes)) => return read_response(id, &bytes),
                Some(ChildReply::Notification(_)) => {}
                Some(ChildReply::NoMemory(_)) => return Err(HookFailure::TooLong(ANSWER)),
                Some(ChildReply::Closed(_)) | None => return Err(HookFailure::Broken),
            }
        }
    }

    /// Stops the process, if there is one.
    pub(super) fn stop(&self) {
        self.current.lock().take();
    }

    /// Returns the process, and starts it if there is none.
    async fn running(&self) -> Result<Arc<Child>, HookFailure> {
        if let Some(child) = self
            .current
            .lock()
            .as_ref()
            .filter(|child| !child.is_closed())
        {
            return Ok(Arc::clone(child));
        }
        let unreachable = |error: &dyn std::error::Error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            HookFailure::Unreachable(format!("{error}{}", cause.unwrap_or_default()))
        };
        let secrets = self.spec.read_secrets().await;
        secrets.map_err(|error| unreachable(&error))?;
        let mut current = self.current.lock();
        if let Some(child) = current.as_ref().filter(|child| !child.is_closed()) {
            return Ok(Arc::clone(child));
        }
        let started = Child::start(&self.spec, &self.tasks);
        // Nothing that it sends of its own accord is of interest: the receiver is dropped here.
        let (child, _) = started.map_err(|error| unreachable(&error))?;
        *current = Some(Arc::clone(&child));
        Ok(child)
    }
}
