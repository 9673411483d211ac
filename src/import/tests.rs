//! Files of other programs, and the config that is made of them.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{Auth, Config, Endpoint, is_standard_variable, parse};

/// The config that the YAML is, each variable set to `<NAME>`.
fn run(yaml: &str) -> Config {
    let env = |name: &str| (!is_standard_variable(name)).then(|| format!("<{name}>"));
    parse(yaml, Path::new("weir.yaml"), &env).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"))
}

const CLAUDE_DESKTOP: &str = r#"{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": { "command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/me"] },
    "github": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-github"],
      "env": { "GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_hunter2hunter2", "LOG_LEVEL": "debug", "PORT": "8080" }
    },
    "github-work": { "command": "npx", "env": { "GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_hunter3hunter3" } },
    "pg": { "command": "npx", "args": ["pg", "postgres://me:hunter2@db/x", "--api-key", "hunter2", "--header", "Authorization: Bearer hunter2", "--mode=fast", "--config", "{\"apiKey\": \"hunter2=\"}"] },
    "remote": { "url": "https://mcp.example.com/s/hunter2hunter2hunter222/mcp?apiKey=hunter2&team=a", "headers": { "Authorization": "Bearer hunter2", "X-Org": "acme", "Accept": "application/json" } },
    "plain": { "type": "http", "url": "http://mcp.example.com/mcp", "headers": { "X-API-Key": "hunter2" }, "autoApprove": ["x"] },
    "old": { "type": "sse", "url": "https://me:hunter2@mcp.example.com/sse" },
    "broken": { "url": "mcp.example.com" },
    "off": { "command": "x", "disabled": true }
  }
}"#;

#[test]
fn claude_desktops_file_becomes_yaml_without_its_secrets() {
    let yaml = import(CLAUDE_DESKTOP).unwrap().yaml;
    insta::assert_snapshot!(yaml, @r#"
    # yaml-language-server: $schema=./weir.schema.json
    # Made by `weir import`.
    # Set these environment variables before weir starts:
    #   GITHUB_PERSONAL_ACCESS_TOKEN              upstreams.github.env.GITHUB_PERSONAL_ACCESS_TOKEN, where a secret is written in the file
    #   GITHUB_WORK_GITHUB_PERSONAL_ACCESS_TOKEN  upstreams.github-work.env.GITHUB_PERSONAL_ACCESS_TOKEN, where a secret is written in the file
    #   PG_SECRET                                 upstreams.pg.args, where a secret is written in the file
    #   PG_API_KEY                                upstreams.pg.args, where a secret is written in the file
    #   PG_TOKEN                                  upstreams.pg.args, where a secret is written in the file
    #   PG_CONFIG                                 upstreams.pg.args, where a secret is written in the file
    #   REMOTE_SECRET                             upstreams.remote.url, where a secret is written in the file
    #   REMOTE_API_KEY                            upstreams.remote.url, where a secret is written in the file
    #   REMOTE_TOKEN                              upstreams.remote.headers.Authorization, where a secret is written in the file
    #   PLAIN_X_API_KEY                           upstreams.plain.headers.X-API-Key, where a secret is written in the file
    #   OLD_PASSWORD                              upstreams.old.auth, where a secret is written in the file
    version: 1
    upstreams:
      filesystem:
        command: npx
        args: ["-y", "@modelcontextprotocol/server-filesystem", "/home/me"]
      github:
        command: npx
        args: ["-y", "@modelcontextprotocol/server-github"]
        env:
          GITHUB_PERSONAL_ACCESS_TOKEN: { env: GITHUB_PERSONAL_ACCESS_TOKEN }
          LOG_LEVEL: "debug"
          PORT: "8080"
      github-work:
        command: npx
        env:
          GITHUB_PERSONAL_ACCESS_TOKEN: { env: GITHUB_WORK_GITHUB_PERSONAL_ACCESS_TOKEN }
      pg:
        command: npx
        args: ["pg", "${PG_SECRET}", "--api-key", "${PG_API_KEY}", "--header", "Authorization: Bearer ${PG_TOKEN}", "--mode=fast", "--config", "${PG_CONFIG}"]
      remote:
        # header left out, weir sets it itself: Accept
        url: "https://mcp.example.com/s/${REMOTE_SECRET}/mcp?apiKey=${REMOTE_API_KEY}&team=a"
        auth: { type: bearer, token: { env: REMOTE_TOKEN } }
        headers:
          X-Org: "acme"
      plain:
        # not taken over: autoApprove
        url: "http://mcp.example.com/mcp"
        allow_plain_http: true # what is sent can be read on the way
        headers:
          X-API-Key: { env: PLAIN_X_API_KEY }
      old:
        # the file says HTTP+SSE, which weir does not speak: try the server's Streamable HTTP URL
        auth: { type: basic, username: "me", password: { env: OLD_PASSWORD } }
        url: "https://mcp.example.com/sse"
        disabled: true
      broken:
        # upstreams.broken.url: not a URL: relative URL without a base
        url: "mcp.example.com"
        disabled: true
      "off":
        command: x
        disabled: true
    "#);
}

#[test]
fn what_claude_desktops_file_becomes_runs() {
    let yaml = import(CLAUDE_DESKTOP).unwrap().yaml;
    assert!(!yaml.contains("hunter"), "{yaml}");
    let config = run(&yaml);
    let remote = &config.upstreams["remote"];
    let Endpoint::Http(endpoint) = &remote.endpoint else {
        panic!("{remote:?}");
    };
    let headers = endpoint.headers.iter().map(|(_, value)| value.text());
    assert_eq!(headers.collect::<Vec<_>>(), ["acme"]);
    let Auth::Bearer(token) = &remote.auth else {
        panic!("{remote:?}");
    };
    assert_eq!(token.text(), "<REMOTE_TOKEN>");
    assert_eq!(config.upstreams.len(), 6);
}

#[test]
fn cursors_variables_stay_variables() {
    let yaml = import(
        r#"{"mcpServers": {
    "a": { "url": "https://${env:HOST}/mcp", "headers": { "Authorization": "Bearer ${env:API_TOKEN}", "X-A": "${env:A}", "X-B": "b ${B:-c}" } },
    "b": { "command": "${userHome}/bin/x", "args": ["${workspaceFolder}/data", "100${"], "env": { "API_TOKEN": "literal" } }
}}"#,
    )
    .unwrap()
    .yaml;
    insta::assert_snapshot!(yaml, @r#"
    # yaml-language-server: $schema=./weir.schema.json
    # Made by `weir import`.
    # Set these environment variables before weir starts:
    #   HOST              upstreams.a.url
    #   API_TOKEN         upstreams.a.headers.Authorization
    #   A                 upstreams.a.headers.X-A
    #   WORKSPACE_FOLDER  upstreams.b.args
    #   B_API_TOKEN       upstreams.b.env.API_TOKEN, where a secret is written in the file
    version: 1
    upstreams:
      a:
        url: "https://${HOST}/mcp"
        auth: { type: bearer, token: { env: API_TOKEN } }
        headers:
          X-A: { env: A }
          X-B: "b ${B:-c}"
      b:
        command: "${HOME}/bin/x"
        args: ["${WORKSPACE_FOLDER}/data", "100$${"]
        env:
          API_TOKEN: { env: B_API_TOKEN }
    "#);
    let config = run(&yaml.replace("https://${HOST}", "https://host"));
    let Endpoint::Child { program, args, .. } = &config.upstreams["b"].endpoint else {
        panic!();
    };
    assert!(program.ends_with("<HOME>/bin/x"), "{program:?}");
    assert_eq!(args, &["<WORKSPACE_FOLDER>/data", "100${"]);
}

#[test]
fn vs_codes_inputs_become_variables() {
    let yaml = import(
        r#"// .vscode/mcp.json
{
	"inputs": [
		{ "type": "promptString", "id": "perplexity-key", "description": "Perplexity\nAPI key", "password": true },
	],
	/* servers */
	"servers": {
		"perplexity": {
			"type": "stdio",
			"command": "docker",
			"args": ["run", "-e", "PERPLEXITY_API_KEY", "mcp/perplexity"],
			"env": { "PERPLEXITY_API_KEY": "${input:perplexity-key}" },
			"envFile": "${workspaceFolder}/.env",
		},
		"github": { "type": "http", "url": "https://api.githubcopilot.com/mcp/", "headers": { "Authorization": "Bearer ${input:gh}" } },
	},
}"#,
    )
    .unwrap()
    .yaml;
    insta::assert_snapshot!(yaml, @r#"
    # yaml-language-server: $schema=./weir.schema.json
    # Made by `weir import`.
    # Set these environment variables before weir starts:
    #   PERPLEXITY_KEY  upstreams.perplexity.env.PERPLEXITY_API_KEY: Perplexity API key
    #   GH              upstreams.github.headers.Authorization
    version: 1
    upstreams:
      perplexity:
        # not taken over: envFile
        command: docker
        args: ["run", "-e", "PERPLEXITY_API_KEY", "mcp/perplexity"]
        env:
          PERPLEXITY_API_KEY: { env: PERPLEXITY_KEY }
      github:
        url: "https://api.githubcopilot.com/mcp/"
        auth: { type: bearer, token: { env: GH } }
    "#);
    let config = run(&yaml);
    assert!(
        matches!(&config.upstreams["github"].auth, Auth::Bearer(token) if token.text() == "<GH>")
    );
}

#[test]
fn what_is_no_mcp_json_is_refused() {
    let error = |text| import(text).unwrap_err().to_string();
    insta::assert_snapshot!(["", "{}", r#"{"mcpServers": []}"#, "{\"a\": 1,\n\"a\": 2}", "{\"a\": [}"].map(error).join("\n"), @r"
    no servers here: expected the key `mcpServers` (Claude, Cursor), `servers` (VS Code), `mcp_servers` (LiteLLM), `binds` or `mcp` (agentgateway), `customJWTAuthorizer` (AgentCore)
    no servers here: expected the key `mcpServers` (Claude, Cursor), `servers` (VS Code), `mcp_servers` (LiteLLM), `binds` or `mcp` (agentgateway), `customJWTAuthorizer` (AgentCore)
    no servers here: expected the key `mcpServers` (Claude, Cursor), `servers` (VS Code), `mcp_servers` (LiteLLM), `binds` or `mcp` (agentgateway), `customJWTAuthorizer` (AgentCore)
    2:1: key `a` is already written at 1:2
    1:8: while parsing a node, did not find expected node content
    ");
}

#[test]
fn a_key_that_no_comment_may_hold_is_named_without_it() {
    let yaml = import("{\"mcpServers\": {\"a\": {\"command\": \"x\", \"k\u{feff}\u{ffff}y\": 1}}}")
        .unwrap()
        .yaml;
    assert!(yaml.contains("# not taken over: k  y\n"), "{yaml}");
    assert_eq!(run(&yaml).upstreams.len(), 1);
}

#[test]
fn what_a_file_says_twice_stands_once() {
    let imported = import(
        r#"{"mcpServers": { "a": {
    "url": "https://me:hunter2@a.example.com/mcp", "serverUrl": "https://b.example.com/mcp",
    "headers": { "Authorization": "Bearer hunter3", "X-A": "1", "x-a": "2" }
}}}"#,
    )
    .unwrap();
    insta::assert_snapshot!(imported.yaml, @r#"
    # yaml-language-server: $schema=./weir.schema.json
    # Made by `weir import`.
    # Set these environment variables before weir starts:
    #   A_PASSWORD  upstreams.a.auth, where a secret is written in the file
    version: 1
    upstreams:
      a:
        # not taken over: serverUrl, headers.Authorization, headers.x-a
        auth: { type: basic, username: "me", password: { env: A_PASSWORD } }
        url: "https://a.example.com/mcp"
        headers:
          X-A: "1"
    "#);
    run(&imported.yaml);
    let left_out = imported.report.servers[0].notes.iter();
    let left_out = left_out.filter(|note| note.kind == NoteKind::LeftOut);
    let left_out: Vec<_> = left_out.map(|note| note.at.to_string()).collect();
    assert_eq!(left_out, ["2:52", "3:18", "3:65"]);
}

/// Whether the config of a file is valid once its variables are set. A value from the environment may be unfit where a
/// variable stands; what matters is that it is read.
fn is_valid(file: &serde_json::Value) -> Result<(), String> {
    let imported = import(&file.to_string()).map_err(|error| error.to_string())?;
    let env = |name: &str| {
        let value = if name.contains("PORT") {
            "1"
        } else {
            "localhost"
        };
        (!is_standard_variable(name)).then(|| value.to_owned())
    };
    match parse(&imported.yaml, Path::new("weir.yaml"), &env) {
        Ok(_) => Ok(()),
        Err(errors) => Err(format!("{errors}\n{}", imported.yaml)),
    }
}

/// Words that mean something somewhere, and any others.
fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        1 => "os.environ/[A-Z]{1,3}",
        1 => "[$]{1,2}[A-Z{}]{1,4}",
        1 => "https?://[a-z.]{1,9}(:[0-9]{1,3})?/[a-z]{0,3}",
        1 => prop::sample::select(vec!["oauth2", "bearer_token", "api_key", "basic", "authorization", "aws_sigv4", "client_credentials", "sse", "http", "stdio", "1.5", "7"]).prop_map(str::to_owned),
    ]
}

const LITELLM: [&str; 24] = [
    "url",
    "command",
    "args",
    "env",
    "static_headers",
    "headers",
    "transport",
    "allowed_tools",
    "disallowed_tools",
    "timeout",
    "max_concurrent_requests",
    "alias",
    "auth_type",
    "auth_value",
    "authentication_token",
    "client_id",
    "client_secret",
    "token_url",
    "scopes",
    "audience",
    "aws_region_name",
    "aws_role_name",
    "aws_access_key_id",
    "aws_secret_access_key",
];

proptest! {
    #[test]
    fn whatever_is_imported_is_a_valid_config(
        name in any::<String>(),
        args in prop::collection::vec(any::<String>(), 0..4),
        key in any::<String>(),
        value in any::<String>(),
    ) {
        let file = serde_json::json!({ "mcpServers": {
            &name: { "command": "x", "args": args, "env": { &key: value } },
            "remote": { "url": value, "headers": { &key: value } },
        }});
        prop_assert_eq!(is_valid(&file), Ok(()));
    }

    #[test]
    fn whatever_is_imported_from_litellm_is_a_valid_config(
        name in any::<String>(),
        keys in prop::collection::vec((prop::sample::select(LITELLM.to_vec()), any_word()), 0..8),
        entry in any::<String>(),
    ) {
        let mut server = serde_json::Map::new();
        for (key, value) in keys {
            let value = match key {
                "args" | "allowed_tools" | "disallowed_tools" | "scopes" => serde_json::json!([value, entry]),
                "env" | "headers" | "static_headers" => serde_json::json!({ &entry: value }),
                _ => value.into(),
            };
            server.insert(key.to_owned(), value);
        }
        let file = serde_json::json!({ "mcp_servers": { name: server } });
        prop_assert_eq!(is_valid(&file), Ok(()));
    }

    #[test]
    fn whatever_is_imported_from_agentgateway_is_a_valid_config(
        name in any::<String>(),
        words in prop::collection::vec(any_word(), 8),
        port in prop::option::of(any::<u16>()),
        kind in 0..5_usize,
        nested in any::<bool>(),
    ) {
        let w = |at: usize| words[at].as_str();
        let mut host = serde_json::json!({ "host": w(0), "path": w(1) });
        if let Some(port) = port {
            host["port"] = port.into();
        }
        let spec = match kind {
            0 => serde_json::json!({ "stdio": { "cmd": w(0), "args": [w(1), w(2)], "env": { w(3): w(4) } } }),
            1 => serde_json::json!({ "sse": host }),
            2 => serde_json::json!({ "openapi": host }),
            3 => serde_json::json!({ "mcp": { "backend": w(0) } }),
            _ => serde_json::json!({ "mcp": host }),
        };
        let mut target = serde_json::json!({ "name": name, "policies": {
            "backendAuth": if port.is_some() { serde_json::json!({ "key": w(5) }) } else { serde_json::json!({ "aws": { "region": w(5) } }) },
            "requestHeaderModifier": { "set": { w(6): w(7) } },
        }});
        target.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let mcp = serde_json::json!({ "targets": [target] });
        let file = match nested {
            true => serde_json::json!({ "binds": [{ "listeners": [{ "routes": [{ "backends": [{ "mcp": mcp }] }] }] }] }),
            false => serde_json::json!({ "mcp": mcp }),
        };
        prop_assert_eq!(is_valid(&file), Ok(()));
    }

    #[test]
    fn harmless_arguments_arrive_as_they_were(args in prop::collection::vec("[a-z .,:'\"{}\\[\\]#&*!|>%@`\\\\\u{e9}\u{1f600}\t\n-]{0,12}", 0..5)) {
        // `key:x` is not harmless, nor is `a:x` after `-u`.
        let tells = |word: &str| word == "u" || sort::is_secret_name(word);
        prop_assume!(!args.iter().any(|arg| arg.split(|c: char| !c.is_ascii_alphabetic()).any(tells)));
        let file = serde_json::json!({ "mcpServers": { "x": { "command": "x", "args": args } } });
        let yaml = import(&file.to_string()).unwrap().yaml;
        let config = run(&yaml);
        if let Endpoint::Child { args: got, .. } = &config.upstreams["x"].endpoint {
            prop_assert_eq!(got, &args);
        }
    }
}

mod arguments;
mod filters;
mod references;
mod userinfo;
