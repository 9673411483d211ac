//! LiteLLM's lists of tools mean the same in weir.

use super::*;

/// The upstream `gh` as YAML, and what is said of it.
fn gh(settings: &str) -> (String, Vec<String>) {
    let file = format!(
        "litellm_settings: {{ mcp_aliases: {{ hub: gh }} }}\nmcp_servers:\n  gh: {{ command: x, {settings} }}\n"
    );
    let imported = import(&file).unwrap();
    run(&imported.yaml);
    let tools = imported.yaml.lines().map(str::trim);
    let tools = tools.filter(|line| line.starts_with("tools:"));
    let notes = imported.report.servers[0].notes.iter();
    (
        tools.collect(),
        notes
            .map(|note| format!("{}: {}", note.kind, note.text))
            .collect(),
    )
}

#[test]
fn a_name_with_the_servers_prefix_means_the_tool_without() {
    let (tools, notes) = gh("disallowed_tools: [gh-delete_repo, drop]");
    assert_eq!(
        tools,
        r#"tools: { deny: ["gh-delete_repo", "delete_repo", "drop"] }"#
    );
    assert_eq!(
        notes,
        [
            "changed: `disallowed_tools`: `gh-delete_repo` stands there as `delete_repo` too, the tool's own name"
        ]
    );
}

#[test]
fn every_name_of_the_server_is_a_prefix() {
    let settings =
        "server_name: git, alias: hub, allowed_tools: [gh-a, git-b, hub-c, other-d, gh-, hub-e]";
    let (tools, _) = gh(settings);
    assert_eq!(
        tools,
        r#"tools: { allow: ["gh-a", "a", "git-b", "b", "hub-c", "c", "other-d", "gh-", "hub-e", "e"] }"#
    );
    let (tools, _) = gh("disallowed_tools: [hub-c]");
    assert_eq!(tools, r#"tools: { deny: ["hub-c", "c"] }"#);
}

#[test]
fn an_empty_list_filters_nothing() {
    for settings in ["allowed_tools: []", "disallowed_tools: []"] {
        assert_eq!(gh(settings), (String::new(), Vec::new()));
    }
    let file = r#"{"mcpServers": { "a": { "command": "x", "includeTools": [] } }}"#;
    let yaml = import(file).unwrap().yaml;
    assert!(yaml.contains("tools: { allow: [] }"), "{yaml}");
}
