//! The config from text to value: what is accepted, and what errors look like.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("t0ken".to_owned()),
        "BAD" => Some("line\nbreak".to_owned()),
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
fn six_different_mistakes_print_six_errors_with_positions() {
    insta::assert_snapshot!(errors("\
version: 1
listen: { address: 0.0.0.0:8000 }
defaults:
  timeouts: { call: 120 }
upstreams:
  github:
    url: https://api.githubcopilot.com/mcp/
    auth: { type: bearer, tokn: { env: TOKEN } }
  erp:
    url: http://erp.example.com/mcp
  files:
    comand: /opt/mcp/files
    args: [--root, [a]]
  slack:
    url: https://slack.example.com/mcp
    headers: { X-Key: \"${SLACK_KEY}\" }
"), @"");
}

#[test]
fn unknown_keys_get_a_suggestion_at_every_level() {
    insta::assert_snapshot!(errors("\
lisen: {}
listen: { adress: 127.0.0.1:1 }
admin: { tokn: x }
state: { dri: x }
naming: { max-length: 64 }
defaults:
  resinc: 60s
  stale: { maxage: 1h }
  timeouts: { conect: 1s }
  limits: { inflight: 3 }
  resync: { crn: x }
upstreams:
  x:
    urll: https://x.example.com
    auth: { type: basic, user: x, password: { enw: TOKEN } }
    names: { strp: x }
    tools:
      alow: []
      override: { a: { nmae: b, hideargs: [], completely_else: 1 } }
  y:
    url: https://x.example.com
    auth: { tpye: bearer, token: { env: TOKEN } }
  z:
    url: https://x.example.com
    connector: sas
    auth: { type: beaerer, token: { env: TOKEN } }
"), @"");
}

#[test]
fn wrong_shapes_are_told_apart() {
    insta::assert_snapshot!(errors("\
version: one
listen:
  page_size: 1.5
  request_bytes: [1]
  allowed_hosts: [a, {}, 3, b/c]
  auth: jwt
instance: 5
state: folder
upstreams:
  a: https://a.example.com
  b: { command: [npx], disabled: maybe }
  c: { url: https://c.example.com, auth: bearer }
  d: { url: https://c.example.com, auth: { token: { env: TOKEN } } }
  e: { url: https://c.example.com, auth: { type: bearer } }
  f: { url: https://c.example.com, auth: { type: bearer, token: t0ken } }
  g: { url: https://c.example.com, auth: { type: bearer, token: { env: TOKEN, file: x } } }
  h: { url: https://c.example.com, auth: { type: bearer, token: {} } }
  i: { url: https://c.example.com, auth: { type: none, token: { env: TOKEN } } }
  j: { url: https://c.example.com, auth: { type: bearer, token: { env: 5 } } }
"), @"");
}

#[test]
fn what_later_versions_have_is_named() {
    insta::assert_snapshot!(errors("\
upstreams:
  corp:
    connector: agentcore_gateway
    gateway: { id: gw-ab12cdef34, region: eu-west-1 }
    auth: { type: sigv4, assume_role: x }
  billing:
    runtime: { arn: x }
    auth: { type: oauth2_client_credentials, token_url: x }
  erp:
    url: https://erp.mcp.internal:8443/mcp
    tls: { ca: ca.pem }
    auth: { type: bearer, token: { aws_secret: x } }
"), @"");
}

#[test]
fn values_are_checked_one_by_one() {
    insta::assert_snapshot!(errors("\
version: 2
listen: { address: localhost:8000, path: mcp, page_size: 0, request_bytes: 4 apples, allowed_origins: ['*', 'https://x/y', https://ok.example.com] }
admin: { address: 0.0.0.0:8001 }
sealing_key: { value: short }
instance: eu edge
naming: { separator: '/', max_length: 10 }
defaults:
  resync: { cron: '* * * *' }
  stale: { max_age: 0s, policy: hyde }
upstreams:
  '': { command: x }
  a:
    namespace: Jira
    command: x
    args: ['${NOPE}', '${OPEN']
    env: { 'A=B': x, C: { env: NOPE }, D: { file: /nonexistent/x }, E: { env: EMPTY } }
    resync: 0 0 25 * * *
    names: { strip: '(' }
    tools:
      allow: ['a*', '[', 'b']
      override: { q: { name: 'a b' }, r: { name: s, hide_args: [t], set_args: { t: 1 } }, t: { name: s } }
"), @"");
}

#[test]
fn the_way_to_an_upstream_is_checked() {
    insta::assert_snapshot!(errors("\
upstreams:
  neither: { connector: saas }
  both: { url: https://a.example.com, command: x }
  child: { command: x, connector: saas, auth: { type: bearer, token: { env: TOKEN } }, headers: { a: b } }
  http: { url: https://a.example.com, args: [x], env: { A: b }, cwd: . }
  sse: { type: sse, url: https://a.example.com/sse }
  kind: { type: stdio, url: https://a.example.com/sse }
  ftp: { url: ftp://a.example.com }
  text: { url: a.example.com }
  pass: { url: https://me:secret@a.example.com }
  plain: { url: http://a.example.com/mcp }
  plain_saas: { connector: saas, url: http://mcp.internal/mcp }
  plain_ours: { connector: on_prem, url: http://a.example.com/mcp }
  header: { url: https://a.example.com, headers: { 'a b': x, Host: x, Mcp-Session-Id: x, X-A: '1', x-a: '2' } }
  value: { url: https://a.example.com, auth: { type: header, name: x-key, value: { env: BAD } } }
  twice: { url: https://a.example.com, auth: { type: bearer, token: { env: TOKEN } }, headers: { Authorization: x } }
  basic: { url: https://a.example.com, auth: { type: basic, username: 'a:b', password: { value: c } } }
  unset: { url: 'https://${NOPE}/mcp' }
"), @"");
}

#[test]
fn no_error_shows_a_secret() {
    let text = errors(
        "\
upstreams:
  a: { url: https://me:hunter2@a.example.com, auth: { type: bearer, token: hunter2 } }
  b: { url: https://a.example.com, headers: { X: \"hunter2\\n\" } }
  c: { url: https://a.example.com, auth: { type: basic, username: x, password: [hunter2] } }
  d: { url: 'hunter2', auth: { type: header, name: x, value: { env: BAD } } }
",
    );
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(
        !text.contains("hunter2") && !text.contains("break"),
        "{text}"
    );
}

#[test]
fn an_empty_config_has_the_defaults() {
    for text in ["", "version: 1", "upstreams:\nlisten:\n", "{}"] {
        let config = config(text);
        assert_eq!(config.listen.address.to_string(), "127.0.0.1:8000");
        assert_eq!(config.listen.path, "/mcp");
        assert_eq!(config.listen.page_size.get(), 1000);
        assert_eq!(config.listen.request_bytes, 4 << 20);
        assert_eq!(config.naming, Naming::default());
        assert!(config.admin.is_none() && config.state_dir.is_none());
        assert!(config.upstreams.is_empty());
    }
}

#[test]
fn an_upstream_gets_defaults_key_by_key() {
    let config = config(
        "\
defaults: { timeouts: { call: 7s, list: 2s }, resync: 5m, stale: { policy: hide } }
upstreams:
  a: { command: a, timeouts: { list: 3s }, resync: '0 */5 * * * *', stale: { max_age: 1h } }
",
    );
    let a = config.upstreams.get("a").unwrap();
    assert_eq!(a.timeouts.call, Duration::from_secs(7));
    assert_eq!(a.timeouts.list, Duration::from_secs(3));
    assert_eq!(a.timeouts.connect, Duration::from_secs(3));
    assert_eq!(a.resync, Resync::Cron("0 */5 * * * *".to_owned()));
    assert_eq!(a.stale.policy, StalePolicy::Hide);
    assert_eq!(a.stale.max_age, Duration::from_secs(3600));
    assert_eq!(a.origin, "conf/weir.yaml:3");
}

#[test]
fn the_connector_is_inferred() {
    for (text, connector) in [
        ("command: x", Connector::OnPrem),
        ("url: https://api.example.com/mcp", Connector::Saas),
        ("url: http://127.0.0.1:9/mcp", Connector::OnPrem),
        ("url: http://[::1]:9/mcp", Connector::OnPrem),
        ("url: http://10.1.2.3/mcp", Connector::OnPrem),
        ("url: http://[fd00::1]/mcp", Connector::OnPrem),
        ("url: http://mcp/mcp", Connector::OnPrem),
        ("url: http://erp.mcp.internal./mcp", Connector::OnPrem),
        ("url: http://x.svc.cluster.local/mcp", Connector::OnPrem),
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
        .map(|(name, value)| (name.as_str(), value.expose()))
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
    let Auth::Headers(headers) = &config.upstreams["remote"].auth else {
        panic!();
    };
    assert_eq!(headers[0].0, "authorization");
    assert_eq!(headers[0].1.expose(), "Bearer t0ken");
}

#[test]
fn a_login_with_headers_becomes_headers() {
    let x = upstream(
        "url: https://a.example.com\nauth: { type: basic, username: me, password: { value: pw } }\nheaders: { X-Org: a }",
    );
    let Auth::Headers(headers) = &x.auth else {
        panic!("{x:?}");
    };
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        headers,
        [("authorization", "Basic bWU6cHc="), ("x-org", "a")]
    );
    let x = upstream(
        "url: https://a.example.com\nauth: { type: header, name: X-Key, value: { env: TOKEN } }",
    );
    assert!(matches!(&x.auth, Auth::Headers(headers) if headers[0].0 == "x-key"));
    let x = upstream("url: https://a.example.com\nauth: { type: bearer, token: { value: 1234 } }");
    assert!(matches!(&x.auth, Auth::Bearer(token) if token.expose() == "1234"));
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
        Endpoint::Http { .. } => panic!(),
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
    assert_eq!(open.admin.unwrap().token.unwrap().expose(), "t0ken");
}

#[test]
fn files_of_upstreams_d_are_added_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let main = folder.path().join("weir.yaml");
    let show = |result: Result<Config, ConfigErrors>| match result {
        Ok(config) => config
            .upstreams
            .keys()
            .map(UpstreamId::as_str)
            .collect::<Vec<_>>()
            .join(" "),
        Err(errors) => errors
            .to_string()
            .replace(&*folder.path().to_string_lossy(), "."),
    };
    assert_eq!(
        show(load(&main, &env)),
        "./weir.yaml: cannot be read: entity not found"
    );
    write(
        "weir.yaml",
        "defaults: { timeouts: { call: 7s } }\nupstreams: { m: { command: m } }",
    );
    write("upstreams.d/20-b.yml", "upstreams: { b: { command: ./b } }");
    write(
        "upstreams.d/10-c.json",
        r#"{"mcpServers": {"c": {"command": "c"}}}"#,
    );
    write(
        "upstreams.d/30-token.yaml",
        "upstreams: { t: { url: https://t.example.com, auth: { type: bearer, token: { file: t } } } }",
    );
    write("upstreams.d/t", "from-file\n");
    write("upstreams.d/.hidden.yaml", "nonsense: true");
    write("upstreams.d/README.md", "nonsense");
    let loaded = load(&main, &env).unwrap();
    assert_eq!(loaded.upstreams["b"].timeouts.call, Duration::from_secs(7));
    assert!(
        matches!(&loaded.upstreams["t"].auth, Auth::Bearer(token) if token.expose() == "from-file")
    );
    let b = &loaded.upstreams["b"].endpoint;
    assert!(
        matches!(b, Endpoint::Child { program, .. } if *program == folder.path().join("upstreams.d/b"))
    );
    assert_eq!(show(Ok(loaded)), "m c b t");
    write(
        "upstreams.d/40-bad.yaml",
        "listen: {}\nupstreams:\n  d: { command: d }\n  c: { command: c }\n  m:\n    command: c\n",
    );
    write("upstreams.d/50-worse.yaml", "a: b: c");
    insta::assert_snapshot!(show(load(&main, &env)), @"");
}

#[test]
fn reading_stops_at_a_hundred_mismatches() {
    let text = (0..200).map(|n| format!("k{n}: 1\n")).collect::<String>();
    let text = errors(&text);
    assert_eq!(text.lines().count(), 101);
    assert!(text.contains("weir.yaml: too many errors"), "{text}");
}

#[test]
fn the_schema_in_the_repository_is_the_schema() {
    let kept = include_str!("../../config/weir.schema.json");
    assert!(
        kept == schema_text(),
        "config/weir.schema.json is old; run: cargo run -- schema > config/weir.schema.json"
    );
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
        let text = format!("upstreams: {{ x: {{ command: x, resync: {{ cron: {} }} }} }}", node::quoted(&text));
        let _ = parse(&text, Path::new("weir.yaml"), &env);
    }
}
