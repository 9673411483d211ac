//! The last steps of the demo: data that an upstream does not see, and a question that crosses the eras.

use serde_json::json;

use super::client::DemoClient;
use super::error::DemoError;
use super::frame::format_duration;
use super::steps::{DemoRun, exposed};
use super::tools::{CRM, RESERVE_STOCK, WAREHOUSE};
use super::upstream::DemoUpstream;
use crate::cli::output::{TextStyle, count};

/// An address in the arguments of a call.
const ADDRESS: &str = "ada@example.com";

impl DemoRun<'_> {
    /// Step 7: an address leaves an agent, reaches the upstream as a pseudonym, and comes back.
    pub(super) async fn show_redaction(
        &mut self,
        warehouse: &DemoUpstream,
    ) -> Result<(), DemoError> {
        self.out
            .print_heading("7  An address that the upstream does not see");
        let tool = exposed(WAREHOUSE.name, RESERVE_STOCK.name);
        let sent = json!({ "sku": "BRG-6204", "quantity": 2, "order": ADDRESS });
        let arguments = sent.as_object().cloned().unwrap_or_default();
        // The last agent is the one that may use the warehouse.
        let Some(agent) = self.state.agents.last_mut() else {
            return Ok(());
        };
        let answer = agent.call(&tool, arguments, &mut |_| {}).await?;
        let arrived = warehouse.last_arguments();
        if arrived.contains(ADDRESS) || !answer.text.contains(ADDRESS) {
            return Err(DemoError::Unredacted { tool });
        }
        self.out.print_done(&format!("the agent sends    {sent}"));
        self.out
            .print_done(&format!("the upstream gets  {arrived}"));
        self.out
            .print_done(&format!("the agent reads    {}", answer.text));
        Ok(())
    }

    /// Step 8: a server of 2025-11-25 asks a client of 2026-07-28, which have no message in common for it.
    pub(super) async fn show_question(
        &mut self,
        http: &reqwest::Client,
        url: &str,
    ) -> Result<(), DemoError> {
        self.out.print_heading("8  A question from the era before");
        let tool = exposed(CRM.name, "log_activity");
        let said = json!({ "deal": "closing" });
        let mut client = DemoClient::connect_modern(http.clone(), url, said.clone()).await?;
        let sent = json!({ "contact": "ada@analytical.example", "note": "40 bearings a month" });
        let arguments = sent.as_object().cloned().unwrap_or_default();
        let called = client.call_and_answer(&tool, arguments).await;
        self.state.agents.push(client);
        let (answer, asked) = called?;
        let [question] = asked.as_slice() else {
            return Err(DemoError::NotAsked { tool });
        };
        let shown = self.out.paint(TextStyle::Name, &tool);
        self.out.print_line(&format!("  ▸ {shown} {sent}"));
        let crm = self.out.paint(TextStyle::Upstream, CRM.name);
        self.out
            .print_done(&format!("{crm}, which speaks 2025-11-25, asks: {question}"));
        self.out.print_done(&format!(
            "the client, which speaks 2026-07-28, answers {said}"
        ));
        self.out.print_quote(&answer.text);
        self.out.print_done(&format!(
            "{crm} answered in {}, with {}",
            format_duration(answer.latency),
            count(asked.len(), "question")
        ));
        self.calls += 1;
        Ok(())
    }
}
