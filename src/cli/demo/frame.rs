//! The output before and after the steps: the picture, the summary, how to go on.

use std::time::Duration;

use serde_json::json;

use crate::cli::output::{Screen, TextStyle, count};

/// Prints the title, and how client, weir and upstreams are connected.
pub(super) fn print_opening(out: &mut Screen) {
    let weir = out.paint(TextStyle::Heading, "weir");
    out.print_blank();
    out.print_line(&format!("  {weir}  many MCP servers, one tool catalog"));
    out.print_blank();
    let gap = " ".repeat(23);
    for (lead, name, kind, how) in [
        (
            format!("{gap}╭──▶"),
            "office",
            "AgentCore Gateway",
            "HTTP, every request signed (SigV4)",
        ),
        (
            format!("client ──▶ {weir} ───────┼──▶"),
            "warehouse",
            "AgentCore Runtime",
            "HTTP, OAuth 2 tokens that expire after a second",
        ),
        (
            format!("{gap}├──▶"),
            "crm",
            "SaaS",
            "HTTP, with an API key; speaks MCP 2025-11-25 at most",
        ),
        (
            format!("{gap}╰──▶"),
            "notes",
            "on-prem",
            "a child process, on stdin and stdout",
        ),
    ] {
        let name = out.paint(TextStyle::Upstream, &format!("{name:<9}"));
        let how = out.paint(TextStyle::Faint, &format!("{kind:<17}  {how}"));
        out.print_line(&format!("  {lead} {name}  {how}"));
    }
}

/// Prints the summary, and what to do next.
pub(super) fn print_closing(out: &mut Screen, upstreams: usize, calls: usize, took: Duration) {
    let took = format_duration(took);
    out.print_heading("That was weir");
    out.print_line(&format!(
        "  {} behind one URL, {} and one change, in {took}.",
        count(upstreams, "upstream"),
        count(calls, "call")
    ));
    out.print_line(
        "  The client needed no credentials, knew only weir, and was notified of the change.",
    );
    out.print_heading("Next");
    for (command, does) in [
        ("weir serve -c config/weir.yaml", "with your own upstreams"),
        (
            "weir import mcp.json",
            "turns your client's server list into a config",
        ),
        ("weir demo --keep", "keeps running, for your own client"),
    ] {
        let command = out.paint(TextStyle::Name, &format!("{command:<30}"));
        let does = out.paint(TextStyle::Faint, does);
        out.print_line(&format!("  {command}  {does}"));
    }
}

/// Prints how to use a weir that keeps running.
pub(super) fn print_usage(out: &mut Screen, url: &str, page: &Option<String>, config: &str) {
    out.print_heading(&format!("Running until Ctrl-C at {url}"));
    for command in [
        format!("weir tools --url {url}"),
        format!(r#"weir call crm__find_contact --args '{{"query":"grace"}}' --url {url}"#),
        format!("claude mcp add --transport http weir {url}"),
    ] {
        let command = out.paint(TextStyle::Name, &command);
        out.print_line(&format!("  {command}"));
    }
    if let Some(page) = page {
        out.print_heading(&format!("In a browser: {page}"));
    }
    out.print_heading("In a client's mcp.json");
    let entry = json!({ "mcpServers": { "weir": { "type": "http", "url": url } } });
    out.print_quote(&entry.to_string());
    out.print_heading("The config of this weir");
    out.print_quote(config);
}

/// Formats a duration for people: `3.1 ms`, `612 ms`, `1.4 s`.
pub(super) fn format_duration(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
