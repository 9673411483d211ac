//! The steps of the demo, and what they print.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rmcp::model::Tool;
use serde_json::json;

use super::agents::{self, DemoAgent, GuardedWeir};
use super::client::{DemoClient, PATIENCE, ProgressUpdate};
use super::error::DemoError;
use super::frame::{self, format_duration};
use super::servers::{self, AccessChecks};
use super::state::DemoState;
use super::tools::{CRM, DemoProfile, NOTES, OFFICE, RESERVE_STOCK, WAREHOUSE};
use super::upstream::DemoUpstream;
use super::weir;
use crate::cli::output::{Progress, Screen, Table, TextStyle, count};
use crate::name::{Namespace, Naming};

const PROFILES: [&DemoProfile; 4] = [&OFFICE, &WAREHOUSE, &CRM, &NOTES];

/// A run of the demo.
pub(super) struct DemoRun<'a> {
    pub(super) state: &'a mut DemoState,
    pub(super) out: &'a mut Screen,
    /// Upstream and original name of each exposed name.
    origins: HashMap<String, (&'static str, &'static str)>,
    pub(super) calls: usize,
}

/// The parts that run after the first step.
struct RunningDemo {
    warehouse: DemoUpstream,
    checks: AccessChecks,
    client: DemoClient,
    url: String,
    page: Option<String>,
    config: String,
    endpoints: weir::Endpoints,
    http: reqwest::Client,
    began: Instant,
}

impl<'a> DemoRun<'a> {
    pub(super) fn new(state: &'a mut DemoState, out: &'a mut Screen) -> Self {
        let tools = |profile: &&'static DemoProfile| {
            let name = profile.name;
            profile
                .tools
                .iter()
                .map(move |tool| (exposed(name, tool.name), (name, tool.name)))
        };
        let mut origins: HashMap<_, _> = PROFILES.iter().flat_map(tools).collect();
        origins.insert(
            exposed(WAREHOUSE.name, RESERVE_STOCK.name),
            (WAREHOUSE.name, RESERVE_STOCK.name),
        );
        Self {
            state,
            out,
            origins,
            calls: 0,
        }
    }

    /// Runs all steps, up to the first error.
    pub(super) async fn run(mut self, keep: bool, program: PathBuf) -> Result<(), DemoError> {
        frame::print_opening(self.out);
        let mut running = self.start(program).await?;
        let before = self.show_catalog(&running).await?;
        self.call_each(&mut running).await?;
        self.add_tool(&mut running, &before).await?;
        self.show_checks(&running.checks);
        self.show_agents(&running).await?;
        self.show_redaction(&running.warehouse).await?;
        self.show_question(&running.http, &running.url).await?;
        frame::print_closing(
            self.out,
            PROFILES.len(),
            self.calls,
            running.began.elapsed(),
        );
        self.state.finished = true;
        if keep {
            frame::print_usage(self.out, &running.url, &running.page, &running.config);
        }
        self.state.client = Some(running.client);
        if keep {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Step 1: starts upstreams, weir and client.
    async fn start(&mut self, program: PathBuf) -> Result<RunningDemo, DemoError> {
        self.out.print_heading("1  Start everything");
        let began = Instant::now();
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(DemoError::Http)?;
        let warehouse = DemoUpstream::new(&WAREHOUSE);
        let (checks, endpoints) = servers::start(self.state, &warehouse, program).await?;
        for request in servers::unauthenticated_requests(&endpoints) {
            request.expect_refusal(&http).await?;
            let place = match request.url.split_once("/runtimes/") {
                // An ARN is long.
                Some((origin, _)) => format!("{origin}/…"),
                None => request.url.clone(),
            };
            self.print_started(
                request.name,
                &place,
                &format!("{} {}", request.refusal, request.without),
            );
        }
        // Weir starts this one; the catalog will show whether it could.
        let line = self.format_place("notes", "weir demo-child", "started by weir");
        self.out.print_line(&format!("  · {line}"));
        let front = weir::start(&endpoints).await.map_err(DemoError::Start)?;
        let (url, page) = (front.url.clone(), front.page.clone());
        self.state.front = Some(front);
        let client = DemoClient::connect(http.clone(), &url).await?;
        self.print_started("weir", &url, "the one URL that clients know");
        Ok(RunningDemo {
            warehouse,
            checks,
            client,
            url,
            page,
            config: weir::config(&endpoints),
            endpoints,
            http,
            began,
        })
    }

    fn print_started(&mut self, name: &str, place: &str, note: &str) {
        let line = self.format_place(name, place, note);
        self.out.print_done(&line);
    }

    fn format_place(&self, name: &str, place: &str, note: &str) -> String {
        let style = if name == "weir" {
            TextStyle::Heading
        } else {
            TextStyle::Upstream
        };
        let name = self.out.paint(style, &format!("{name:<9}"));
        let place = self.out.paint(TextStyle::Name, &format!("{place:<26}"));
        let note = self.out.paint(TextStyle::Faint, note);
        format!("{name}  {place}  {note}").trim_end().to_owned()
    }

    /// Step 2: shows the merged catalog, once every upstream is in it.
    async fn show_catalog(&mut self, running: &RunningDemo) -> Result<Vec<Tool>, DemoError> {
        let tools = self.wait_for_catalog(&running.client).await?;
        let (prompts, resources) = running.client.prompts_and_resources().await?;
        let ready = format_duration(running.began.elapsed());
        self.out.print_heading("2  One catalog");
        let mut table = Table::new(&["TOOL", "UPSTREAM", "ORIGINAL", "DESCRIPTION"]);
        for tool in &tools {
            let (upstream, original) = self.origin(tool);
            table.add_row([
                (TextStyle::Name, tool.name.as_ref()),
                (TextStyle::Upstream, upstream),
                (TextStyle::Plain, original),
                (
                    TextStyle::Faint,
                    tool.description.as_deref().unwrap_or_default(),
                ),
            ]);
        }
        self.out.print_table(&table);
        self.out.print_blank();
        self.out.print_done(&format!(
            "{}, {} and {} of {}, {ready} after the start (generation {})",
            count(tools.len(), "tool"),
            count(prompts, "prompt"),
            count(resources, "resource"),
            count(PROFILES.len(), "upstream"),
            self.generation(),
        ));
        Ok(tools)
    }

    /// Waits until a tool of every upstream is in the catalog, and returns all tools.
    async fn wait_for_catalog(&self, client: &DemoClient) -> Result<Vec<Tool>, DemoError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tools = client.tools().await?;
            let mut missing: Vec<&'static str> =
                PROFILES.iter().map(|profile| profile.name).collect();
            missing.retain(|name| !tools.iter().any(|tool| self.origin(tool).0 == *name));
            if missing.is_empty() {
                return Ok(tools);
            }
            if Instant::now() > deadline {
                return Err(DemoError::Missing { names: missing });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Step 3: calls a tool of each upstream.
    async fn call_each(&mut self, running: &mut RunningDemo) -> Result<(), DemoError> {
        self.out
            .print_heading("3  Each call goes to the upstream that owns the tool");
        let team = json!({ "query": "accounts" });
        self.call_tool(running, &OFFICE, "directory___find_colleague", team)
            .await?;
        self.out.print_blank();
        self.call_tool(
            running,
            &WAREHOUSE,
            "stock_report",
            json!({ "site": "rotterdam" }),
        )
        .await?;
        self.out.print_blank();
        self.call_tool(
            running,
            &CRM,
            "find_contact",
            json!({ "query": "lovelace" }),
        )
        .await?;
        self.out.print_blank();
        self.call_tool(running, &NOTES, "read_note", json!({ "name": "handover" }))
            .await
    }

    async fn call_tool(
        &mut self,
        running: &mut RunningDemo,
        profile: &DemoProfile,
        tool: &str,
        arguments: serde_json::Value,
    ) -> Result<(), DemoError> {
        let name = exposed(profile.name, tool);
        let shown = self.out.paint(TextStyle::Name, &name);
        self.out.print_line(&format!("  ▸ {shown} {arguments}"));
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let out = &mut *self.out;
        let mut show = |step: &ProgressUpdate| {
            let ProgressUpdate {
                done,
                total,
                message,
            } = step;
            out.print_progress(&Progress {
                done: *done,
                total: *total,
                message: message.as_deref(),
            });
        };
        let answer = running.client.call(&name, arguments, &mut show).await?;
        self.out.print_quote(&answer.text);
        let upstream = self.out.paint(TextStyle::Upstream, profile.name);
        let mut line = format!("{upstream} answered in {}", format_duration(answer.latency));
        if answer.steps > 0 {
            line += &format!(", with {}", count(answer.steps, "progress notification"));
        }
        self.out.print_done(&line);
        self.calls += 1;
        Ok(())
    }

    /// Step 4: an upstream gains a tool while everything runs.
    async fn add_tool(
        &mut self,
        running: &mut RunningDemo,
        before: &[Tool],
    ) -> Result<(), DemoError> {
        self.out
            .print_heading("4  An upstream changes while everything runs");
        let followed =
            tokio::time::timeout(PATIENCE, running.warehouse.wait_for_followers(1)).await;
        followed.map_err(|_| DemoError::NotFollowed)?;
        let generation = self.generation();
        let seen = running.client.changes();
        let begun = Instant::now();
        running.warehouse.add_tool(RESERVE_STOCK).await;
        let warehouse = self.out.paint(TextStyle::Upstream, WAREHOUSE.name);
        self.out.print_done(&format!(
            "{warehouse} gained the tool {}",
            RESERVE_STOCK.name
        ));
        running.client.changed(seen).await?;
        let told = format_duration(begun.elapsed());
        self.out.print_done(&format!(
            "the client was notified {told} later: notifications/tools/list_changed"
        ));
        let tools = running.client.tools().await?;
        let after = self.generation();
        self.out.print_done(&format!(
            "the client listed again: {}, was {} (generation {generation} → {after})",
            count(tools.len(), "tool"),
            before.len()
        ));
        self.show_difference(before, &tools);
        let name = exposed(WAREHOUSE.name, RESERVE_STOCK.name);
        if !tools.iter().any(|tool| tool.name == name) {
            return Err(DemoError::NotListed { tool: name });
        }
        self.out.print_blank();
        let arguments = json!({ "sku": "BRG-6204", "quantity": 40, "order": "SO-1815" });
        self.call_tool(running, &WAREHOUSE, RESERVE_STOCK.name, arguments)
            .await
    }

    /// Step 5: shows what each upstream checked.
    fn show_checks(&mut self, checks: &AccessChecks) {
        self.out.print_heading("5  What the upstreams checked");
        for (profile, saw) in checks.describe() {
            let name = format!("{:<9}", profile.name);
            let name = self.out.paint(TextStyle::Upstream, &name);
            self.out.print_done(&format!("{name}  {saw}"));
        }
    }

    /// Step 6: agents with keys of their own see what policies permit them.
    async fn show_agents(&mut self, running: &RunningDemo) -> Result<(), DemoError> {
        self.out
            .print_heading("6  Two agents with keys, two catalogs");
        let guarded = GuardedWeir::start(&running.endpoints).await?;
        let clients = guarded.connect_agents().await?;
        let refused = guarded.expect_refusal(&running.http).await?;
        self.state.guarded = Some(guarded);
        for (agent, mut client) in clients {
            let tools = self.wait_for_tools_of(&agent, &client).await?;
            let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
            let name = self
                .out
                .paint(TextStyle::Heading, &format!("{:<9}", agent.name));
            let names = self.out.paint(TextStyle::Name, &names.join(", "));
            self.out.print_done(&format!("{name}  sees {names}"));
            if !agent.upstreams.contains(&WAREHOUSE.name) {
                let tool = exposed(WAREHOUSE.name, "stock_report");
                let error = agents::expect_denial(&mut client, &tool).await?;
                self.out
                    .print_done(&format!("{name}  calls {tool}: {error}"));
            }
            self.state.agents.push(client);
        }
        self.out.print_done(&format!(
            "without a key: {refused}; what an agent may not use does not exist for it"
        ));
        self.out.print_blank();
        self.out.print_quote(agents::POLICIES.trim_end());
        Ok(())
    }

    /// Waits until an agent sees tools of every upstream that it may use, and of no other one.
    async fn wait_for_tools_of(
        &self,
        agent: &DemoAgent,
        client: &DemoClient,
    ) -> Result<Vec<Tool>, DemoError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tools = client.tools().await?;
            let mut seen: Vec<_> = tools.iter().map(|tool| self.origin(tool).0).collect();
            seen.sort_unstable();
            seen.dedup();
            if seen == agent.upstreams {
                return Ok(tools);
            }
            let is_wrong = seen.iter().any(|name| !agent.upstreams.contains(name));
            if is_wrong || Instant::now() > deadline {
                return Err(DemoError::OtherTools {
                    agent: agent.name,
                    seen: seen.join(", "),
                    expected: agent.upstreams.join(", "),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Prints the tools that are in one of the lists only.
    fn show_difference(&mut self, before: &[Tool], after: &[Tool]) {
        let only = |here: &[Tool], there: &[Tool]| -> Vec<Tool> {
            let known = |tool: &&Tool| !there.iter().any(|other| other.name == tool.name);
            here.iter().filter(known).cloned().collect()
        };
        let gone = only(before, after)
            .into_iter()
            .map(|tool| ("-", TextStyle::Bad, tool));
        let new = only(after, before)
            .into_iter()
            .map(|tool| ("+", TextStyle::Good, tool));
        for (sign, style, tool) in gone.chain(new) {
            let description = tool.description.as_deref().unwrap_or_default();
            let description = self.out.paint(TextStyle::Faint, description);
            let name = self.out.paint(style, &format!("{sign} {}", tool.name));
            self.out.print_line(&format!("    {name}  {description}"));
        }
    }

    fn origin(&self, tool: &Tool) -> (&'static str, &'static str) {
        self.origins
            .get(tool.name.as_ref())
            .copied()
            .unwrap_or(("?", "?"))
    }

    fn generation(&self) -> u64 {
        self.state
            .front
            .as_ref()
            .map_or(0, |front| *front.generation.borrow())
    }
}

pub(super) fn exposed(upstream: &str, tool: &str) -> String {
    // The names of the demo's upstreams are valid namespaces; another would be missing from the catalog.
    let namespace = Namespace::parse(upstream).unwrap_or_default();
    // The same as `names.strip` in the demo's config.
    let bare = tool.rsplit("___").next().unwrap_or(tool);
    Naming::default().join(&namespace, bare)
}
