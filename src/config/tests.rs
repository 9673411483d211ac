//! The config from text to value: what is accepted, and what errors look like.

mod audit;
mod compared;
mod connectors;
mod errors;
mod files;
mod guard;
mod jwt_issuers;
mod listen_auth;
mod mistakes;
mod on_behalf;
mod policy;
mod rates;
mod replicas;
mod telemetry;

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("t0ken".to_owned()),
        "BAD" => Some("line\nbr3ak".to_owned()),
        "EMPTY" => Some(String::new()),
        "HOST" => Some("api.example.com".to_owned()),
        _ => None,
    }
}

fn config(text: &str) -> Config {
    parse(text, Path::new("conf/weir.yaml"), &env).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    let config = parse(text, Path::new("weir.yaml"), &env);
    config.map_or_else(|errors| errors.to_string(), |_| "no error".to_owned())
}

fn upstream(text: &str) -> Arc<Upstream> {
    let config = config(&format!(
        "upstreams:\n  x:\n    {}",
        text.replace('\n', "\n    ")
    ));
    Arc::clone(config.upstreams.get("x").unwrap())
}

#[test]
fn an_empty_config_has_the_defaults() {
    for text in ["", "version: 1", "upstreams:\nlisten:\n", "{}"] {
        let config = config(text);
        assert_eq!(config.listen.address.to_string(), "127.0.0.1:8000");
        assert_eq!(config.listen.path, "/mcp");
        assert_eq!(config.listen.page_size.get(), 1000);
        assert_eq!(config.listen.request_bytes, 4 << 20);
        assert_eq!(config.listen.header_timeout, Duration::from_secs(10));
        assert_eq!(config.listen.body_timeout, Duration::from_secs(60));
        assert_eq!(config.listen.connections.get(), 10_000);
        assert_eq!(config.listen.drain, Duration::from_secs(10));
        assert_eq!(config.naming, Naming::default());
        assert!(config.admin.is_none() && config.state_dir.is_none());
        assert!(config.upstreams.is_empty());
    }
}

#[test]
fn an_upstream_gets_defaults_key_by_key() {
    let config = config(
        "\
defaults: { timeouts: { call: 7s, list: 2s }, resync: 5m, stale: { policy: hide, mark_after: 5m }, retry: { idempotent: true } }
upstreams:
  a: { command: a, timeouts: { list: 3s }, resync: '0 */5 * * * *', stale: { max_age: 1h } }
  b: { command: b, timeouts: { first_byte: 1s }, retry: { idempotent: false } }
",
    );
    let a = config.upstreams.get("a").unwrap();
    assert_eq!(a.timeouts.call, Duration::from_secs(7));
    assert_eq!(a.timeouts.list, Duration::from_secs(3));
    assert_eq!(a.timeouts.connect, Duration::from_secs(3));
    assert_eq!((a.timeouts.first_byte, a.retry.idempotent), (None, true));
    let b = config.upstreams.get("b").unwrap();
    let second = Some(Duration::from_secs(1));
    assert_eq!((b.timeouts.first_byte, b.retry.idempotent), (second, false));
    assert_eq!(a.resync, Resync::Cron("0 */5 * * * *".to_owned()));
    assert_eq!(a.stale.policy, StalePolicy::Hide);
    assert_eq!(a.stale.max_age, Duration::from_secs(3600));
    assert_eq!(a.stale.mark_after, Duration::from_secs(300));
    assert_eq!(a.origin, "conf/weir.yaml:3");
}

#[test]
fn the_connector_is_inferred() {
    for (text, connector) in [
        ("command: x", Connector::OnPrem),
        ("url: https://api.example.com/mcp", Connector::Saas),
        ("url: http://127.0.0.1:9/mcp", Connector::OnPrem),
        ("url: http://[::1]:9/mcp", Connector::OnPrem),
        ("url: https://10.1.2.3/mcp", Connector::OnPrem),
        ("url: https://[fd00::1]/mcp", Connector::OnPrem),
        ("url: https://mcp/mcp", Connector::OnPrem),
        ("url: https://erp.mcp.internal./mcp", Connector::OnPrem),
        ("url: https://x.svc.cluster.local/mcp", Connector::OnPrem),
        ("url: https://internal.example.com/mcp", Connector::Saas),
        ("url: https://172.32.0.1/mcp", Connector::Saas),
        (
            "connector: on_prem\nurl: https://api.example.com/mcp",
            Connector::OnPrem,
        ),
        (
            "connector: saas\nurl: http://localhost/mcp",
            Connector::Saas,
        ),
        (
            "allow_plain_http: true\nurl: http://api.example.com/mcp",
            Connector::Saas,
        ),
    ] {
        assert_eq!(upstream(text).connector, connector, "{text}");
    }
}

#[test]
fn an_mcp_json_runs_unchanged() {
    let config = config(
        r#"{
	// as editors write it
	"mcpServers": {
		"Sequential Thinking": {
			"command": "npx",
			"args": ["-y", "server", "--url=https://${HOST}/", "${env:TOKEN}", "${NO:-none}", 8080],
			"env": { "KEY": "literal", "OTHER": "${TOKEN}", "PORT": 1, "REF": { "env": "TOKEN" } },
		},
		"remote": { "type": "streamableHttp", "url": "https://${HOST}/mcp", "headers": { "Authorization": "Bearer ${TOKEN}" } },
		"off": { "command": "x", "env": { "A": "${UNSET}" }, "disabled": true }
	}
}"#,
    );
    let names: Vec<&str> = config.upstreams.keys().map(UpstreamId::as_str).collect();
    assert_eq!(names, ["Sequential Thinking", "remote"]);
    let child = &config.upstreams["Sequential Thinking"];
    let Endpoint::Child {
        program,
        args,
        env,
        cwd,
        inherit_env: _,
        hides_secrets: _,
        user: _,
    } = &child.endpoint
    else {
        panic!("{child:?}");
    };
    assert_eq!((program.to_str(), cwd), (Some("npx"), &None));
    assert_eq!(
        args[2..],
        ["--url=https://api.example.com/", "t0ken", "none", "8080"]
    );
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.text()))
        .collect();
    assert_eq!(
        env,
        [
            ("KEY", "literal"),
            ("OTHER", "t0ken"),
            ("PORT", "1"),
            ("REF", "t0ken")
        ]
    );
    assert_eq!(child.namespace.as_str(), "sequential-thinking");
    let headers = headers(&config.upstreams["remote"]);
    assert_eq!(headers[0].0, "authorization");
    assert_eq!(headers[0].1.text(), "Bearer t0ken");
}

fn headers(upstream: &super::Upstream) -> &[(http::HeaderName, super::SecretRef)] {
    let Endpoint::Http(endpoint) = &upstream.endpoint else {
        panic!("{upstream:?}");
    };
    &endpoint.headers
}

#[test]
fn a_login_goes_with_headers() {
    let x = upstream(
        "url: https://a.example.com\nauth: { type: basic, username: me, password: { value: pw } }\nheaders: { X-Org: a }",
    );
    assert!(
        matches!(&x.auth, Auth::Basic { username, password } if username == "me" && password.text() == "pw")
    );
    let headers: Vec<_> = headers(&x)
        .iter()
        .map(|(name, value)| (name.as_str(), value.text()))
        .collect();
    assert_eq!(headers, [("x-org", "a")]);
    let x = upstream(
        "url: https://a.example.com\nauth: { type: header, name: X-Key, value: { env: TOKEN } }",
    );
    assert!(matches!(&x.auth, Auth::Header { name, .. } if name == "x-key"));
    let x = upstream("url: https://a.example.com\nauth: { type: bearer, token: { value: 1234 } }");
    assert!(matches!(&x.auth, Auth::Bearer(token) if token.text() == "1234"));
}

#[test]
fn preset_arguments_keep_their_digits() {
    let x = upstream(
        "command: x\ntools: { override: { q: { set_args: { n: 123456789012345678901234567890, l: [1e400, 'a', {b: null}] } } } }",
    );
    let set = &x.tools.overrides["q"].set_args;
    assert_eq!(set["n"].get(), "123456789012345678901234567890");
    assert_eq!(set["l"].get(), r#"[1e400,"a",{"b":null}]"#);
}

#[test]
fn globs_match_names_and_not_paths() {
    let x = upstream("command: x\ntools: { allow: ['a*', '{b,c}_?'], deny: ['*delete*'] }");
    let (allow, deny) = (
        x.tools.allow.as_ref().unwrap(),
        x.tools.deny.as_ref().unwrap(),
    );
    assert!(allow.is_match("a/b.c") && allow.is_match("b_x") && !allow.is_match("b_"));
    assert!(deny.is_match("x_delete_y"));
    let x = upstream("command: x\ntools: { allow: [] }");
    assert!(!x.tools.allow.as_ref().unwrap().is_match("anything"));
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = std::path::absolute("conf").unwrap();
    let config = config(
        "\
state: { dir: ../.weir }
upstreams:
  a: { command: ./bin/a, cwd: data }
  b: { command: b }
  c: { command: /opt/c }
",
    );
    assert_eq!(config.state_dir, Some(folder.join("../.weir")));
    let child = |name: &str| match &config.upstreams[name].endpoint {
        Endpoint::Child { program, cwd, .. } => (program.clone(), cwd.clone()),
        Endpoint::Http(_) => panic!(),
    };
    assert_eq!(
        child("a"),
        (folder.join("bin/a"), Some(folder.join("data")))
    );
    assert_eq!(child("b").0, Path::new("b"));
    assert_eq!(child("c").0, Path::new("/opt/c"));
}

#[test]
fn listeners_on_the_network_need_a_word() {
    let open = config("\
listen: { address: '[::]:8000', auth: none, allowed_hosts: [Weir.example.com], allowed_origins: ['https://App.example.com:444'] }
admin: { address: 0.0.0.0:8001, token: { env: TOKEN } }
");
    assert_eq!(open.listen.allowed_hosts, ["weir.example.com"]);
    assert_eq!(open.listen.allowed_origins, ["https://app.example.com:444"]);
    assert_eq!(open.admin.unwrap().first_token().unwrap().expose(), "t0ken");
}

#[test]
fn what_looks_like_cron_is_told_how_many_fields_cron_has() {
    let told = |resync: &str| {
        let text = errors(&format!(
            "upstreams: {{ x: {{ command: x, resync: '{resync}' }} }}"
        ));
        let (_, message) = text.split_once("resync: ").unwrap();
        message.to_owned()
    };
    let of = |found: &str| {
        format!(
            "looks like a cron expression with {found}, and needs 6 (second, minute, hour, day of month, month, day of week)"
        )
    };
    assert_eq!(told("* * *"), of("3 fields"));
    assert_eq!(told("*"), of("1 field"));
    assert_eq!(told("0 12"), of("2 fields"));
    let five = format!("{}: put the second in front, such as `0`", of("5 fields"));
    assert_eq!(told("*/5 * * * *"), five);
    assert_eq!(told("0 4 * * MON-FRI"), five);
    for duration in ["60", "5 min", "soon"] {
        assert!(told(duration).starts_with("not a duration"), "{duration}");
    }
}

/// YAML out of pieces of real configs: far more likely to get past the reader than random text.
fn config_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "upstreams",
        "x",
        "url",
        "https://a.b/c",
        "command",
        "auth",
        "type",
        "bearer",
        "token",
        "env",
        "TOKEN",
        "resync",
        "0 0 1 1 * *",
        "60s",
        "tools",
        "override",
        "set_args",
        "null",
        "5",
        "true",
        "'",
        "listen",
        "address",
        "127.0.0.1:1",
        "headers",
        "args",
        "${",
        "}",
        "@daily",
        "0 0 0 L * 5#6",
    ]);
    let glue = prop::sample::select(vec![
        ": ", ": {", "}", ", ", "\n", "\n  ", "\n    ", "\n- ", "[", "]", " ",
    ]);
    prop::collection::vec((word, glue), 0..40).prop_map(|pieces| {
        pieces
            .into_iter()
            .map(|(word, glue)| format!("{word}{glue}"))
            .collect()
    })
}

proptest! {
    #[test]
    fn no_text_panics_the_parser(text in prop_oneof![any::<String>(), config_like()]) {
        let _ = parse(&text, Path::new("weir.yaml"), &env);
    }

    #[test]
    fn no_cron_expression_panics_the_parser(text in r"[-0-9*/,LW#?@A-Z ]{0,30}") {
        let text = format!("upstreams: {{ x: {{ command: x, resync: {{ cron: {} }} }} }}", crate::document::node::quoted(&text));
        let _ = parse(&text, Path::new("weir.yaml"), &env);
    }
}

#[test]
fn drift_is_a_policy_or_a_mapping_and_inherits_key_by_key() {
    let of = |defaults: &str, own: &str| {
        let text = format!(
            "defaults: {{ {defaults} }}\nupstreams:\n  x: {{ url: \"http://127.0.0.1:1/mcp\", {own} }}\n"
        );
        let drift = config(&text).upstreams.get("x").unwrap().drift;
        (drift.policy.as_str(), drift.threshold.as_str())
    };
    assert_eq!(of("", ""), ("accept", "widened"));
    assert_eq!(of("drift: hold", ""), ("hold", "widened"));
    assert_eq!(
        of("drift: hold", "drift: quarantine"),
        ("quarantine", "widened")
    );
    assert_eq!(
        of(
            "drift: { policy: hold, threshold: cosmetic }",
            "drift: quarantine"
        ),
        ("quarantine", "cosmetic")
    );
    assert_eq!(
        of("drift: hold", "drift: { threshold: new_required }"),
        ("hold", "new_required")
    );
    insta::assert_snapshot!(errors("\
defaults: { drift: quarantin }
upstreams:
  a: { url: \"http://127.0.0.1:1/mcp\", drift: { policy: hold, threshold: description } }
  b: { url: \"http://127.0.0.1:1/mcp\", drift: { treshold: widened } }
  c: { url: \"http://127.0.0.1:1/mcp\", drift: [hold] }
"), @"
    weir.yaml:1:20: defaults.drift: expected accept, hold or quarantine, found `quarantin` (did you mean `quarantine`?)
    weir.yaml:3:73: upstreams.a.drift.threshold: expected cosmetic, widened, narrowed, new_required or annotation, found `description`
    weir.yaml:4:48: upstreams.b.drift.treshold: unknown key (did you mean `threshold`?)
    weir.yaml:5:46: upstreams.c.drift: expected a mapping, found a list
    ");
}
