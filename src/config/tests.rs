//! The config from text to value: what is accepted, and what errors look like.

mod connectors;
mod mistakes;

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
  slack:
    url: https://slack.example.com/mcp
    headers: { X-Key: \"${SLACK_KEY}\" }
"), @r"
    weir.yaml:2:20: listen.address: 0.0.0.0:8000 can be reached from the network: write `auth: none` under `listen` if something in front checks callers, or listen on 127.0.0.1
    weir.yaml:4:21: defaults.timeouts.call: not a duration: write a whole number with its unit, such as `500ms`, `30s`, `5m`, `1h`
    weir.yaml:8:27: upstreams.github.auth.tokn: unknown key (did you mean `token`?)
    weir.yaml:10:10: upstreams.erp.url: plain http to `erp.example.com` can be read and changed on the way: use https, or write `allow_plain_http: true`
    weir.yaml:12:5: upstreams.files.comand: unknown key (did you mean `command`?)
    weir.yaml:15:23: upstreams.slack.headers.X-Key: environment variable `SLACK_KEY` is not set; `${SLACK_KEY:-default}` has a default, `$${` is a plain `${`
    ");
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
"), @r"
    weir.yaml:1:1: lisen: unknown key (did you mean `listen`?)
    weir.yaml:2:11: listen.adress: unknown key (did you mean `address`?)
    weir.yaml:3:10: admin.tokn: unknown key (did you mean `token`?)
    weir.yaml:4:10: state.dri: unknown key (did you mean `dir`?)
    weir.yaml:5:11: naming.max-length: unknown key (did you mean `max_length`?)
    weir.yaml:7:3: defaults.resinc: unknown key (did you mean `resync`?)
    weir.yaml:8:12: defaults.stale.maxage: unknown key (did you mean `max_age`?)
    weir.yaml:9:15: defaults.timeouts.conect: unknown key (did you mean `connect`?)
    weir.yaml:10:13: defaults.limits.inflight: unknown key (did you mean `in_flight`?)
    weir.yaml:11:13: defaults.resync.crn: unknown key (did you mean `cron`?)
    weir.yaml:14:5: upstreams.x.urll: unknown key (did you mean `url`?)
    weir.yaml:15:26: upstreams.x.auth.user: unknown key (did you mean `username`?)
    weir.yaml:15:47: upstreams.x.auth.password.enw: unknown key (did you mean `env`?)
    weir.yaml:16:14: upstreams.x.names.strp: unknown key (did you mean `strip`?)
    weir.yaml:18:7: upstreams.x.tools.alow: unknown key (did you mean `allow`?)
    weir.yaml:19:24: upstreams.x.tools.override.a.nmae: unknown key (did you mean `name`?)
    weir.yaml:19:33: upstreams.x.tools.override.a.hideargs: unknown key (did you mean `hide_args`?)
    weir.yaml:19:47: upstreams.x.tools.override.a.completely_else: unknown key; the keys here are name, description, hide_args, set_args
    weir.yaml:22:13: upstreams.y.auth.tpye: unknown key (did you mean `type`?)
    weir.yaml:25:16: upstreams.z.connector: expected agentcore_gateway, agentcore_runtime, saas or on_prem, found `sas` (did you mean `saas`?)
    weir.yaml:26:19: upstreams.z.auth.type: expected none, bearer, header, basic, sigv4, oauth2_client_credentials, oauth2_authorization_code, oauth2_token_exchange or agentcore_identity, found `beaerer` (did you mean `bearer`?)
    ");
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
"), @r"
    weir.yaml:1:10: version: expected a whole number, found text
    weir.yaml:3:14: listen.page_size: expected a whole number, found 1.5
    weir.yaml:4:18: listen.request_bytes: expected a size such as `32MiB`, found a list
    weir.yaml:5:22: listen.allowed_hosts[1]: expected text, found a mapping
    weir.yaml:5:26: listen.allowed_hosts[2]: expected text (put it in quotes), found a number
    weir.yaml:5:29: listen.allowed_hosts[3]: not a host: write HOST or HOST:PORT, without scheme and path
    weir.yaml:6:9: listen.auth: expected none, found `jwt`
    weir.yaml:7:11: instance: expected text (put it in quotes), found a number
    weir.yaml:8:8: state: expected a mapping, found text
    weir.yaml:10:6: upstreams.a: expected a mapping, found text
    weir.yaml:11:17: upstreams.b.command: expected text, found a list
    weir.yaml:11:34: upstreams.b.disabled: expected true or false, found text
    weir.yaml:12:42: upstreams.c.auth: expected a mapping with a `type`, found text
    weir.yaml:13:42: upstreams.d.auth: `type` is missing
    weir.yaml:14:42: upstreams.e.auth: `token` is missing
    weir.yaml:15:65: upstreams.f.auth.token: a secret is not written as plain text: write `{ env: NAME }`, `{ file: PATH }`, or `{ value: TEXT }` if it may stand here
    weir.yaml:16:65: upstreams.g.auth.token: expected exactly one key: env, file, aws_secret or value
    weir.yaml:17:65: upstreams.h.auth.token: expected exactly one key: env, file, aws_secret or value
    weir.yaml:18:56: upstreams.i.auth.token: unknown key; no other key belongs here
    weir.yaml:19:72: upstreams.j.auth.token.env: expected text (put it in quotes), found a number
    ");
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
"), @r#"
    weir.yaml:1:10: version: version 2 is not known; this weir reads version 1
    weir.yaml:2:20: listen.address: not an address: write IP:PORT, such as 127.0.0.1:8000
    weir.yaml:2:42: listen.path: a path begins with `/` and has only letters, digits and - _ . ~ /
    weir.yaml:2:58: listen.page_size: must be from 1 to 1000000
    weir.yaml:2:76: listen.request_bytes: not a size: write bytes, or a whole number with its unit, such as `32MiB`, `4MB`, `512KiB`
    weir.yaml:2:104: listen.allowed_origins[0]: not an origin: write SCHEME://HOST or SCHEME://HOST:PORT, without path
    weir.yaml:2:109: listen.allowed_origins[1]: not an origin: write SCHEME://HOST or SCHEME://HOST:PORT, without path
    weir.yaml:3:19: admin.address: 0.0.0.0:8001 can be reached from the network: write `token: { env: NAME }` under `admin`, or listen on 127.0.0.1
    weir.yaml:4:1: sealing_key: a sealing key has at least 32 bytes of text, this one has 5; `openssl rand -base64 32` makes one
    weir.yaml:5:11: instance: an instance has 1 to 64 of the characters A-Z a-z 0-9 _ . -
    weir.yaml:6:22: naming.separator: a separator has 1 to 8 of the characters A-Z a-z 0-9 _ . -
    weir.yaml:6:39: naming.max_length: must be from 24 to 128
    weir.yaml:8:19: defaults.resync.cron: looks like a cron expression with 4 fields, and needs 6 (second, minute, hour, day of month, month, day of week)
    weir.yaml:9:21: defaults.stale.max_age: a duration must be longer than nothing
    weir.yaml:9:33: defaults.stale.policy: expected serve or hide, found `hyde` (did you mean `hide`?)
    weir.yaml:11:3: upstreams."": an upstream's name must have 1 to 64 printable characters
    weir.yaml:13:16: upstreams.a.namespace: a namespace has at most 31 of the characters a-z, 0-9 and -
    weir.yaml:15:12: upstreams.a.args[0]: environment variable `NOPE` is not set; `${NOPE:-default}` has a default, `$${` is a plain `${`
    weir.yaml:15:23: upstreams.a.args[1]: `${` without `}`; `$${` is a plain `${`
    weir.yaml:16:19: upstreams.a.env."A=B": has a character that no argument or environment variable can have
    weir.yaml:16:22: upstreams.a.env.C: environment variable `NOPE` is not set
    weir.yaml:16:40: upstreams.a.env.D: file `/nonexistent/x` cannot be read: there is no such file
    weir.yaml:16:69: upstreams.a.env.E: environment variable `EMPTY` is empty
    weir.yaml:17:13: upstreams.a.resync: not a cron expression of six fields (second, minute, hour, day of month, month, day of week): number out of bounds
    weir.yaml:18:21: upstreams.a.names.strip: not a regular expression: unclosed group
    weir.yaml:20:21: upstreams.a.tools.allow[1]: not a glob: unclosed character class; missing ']'
    weir.yaml:21:30: upstreams.a.tools.override.q.name: a tool's name has 1 to 128 of the characters A-Z a-z 0-9 _ . -
    weir.yaml:21:102: upstreams.a.tools.override.t.name: `r` has this name already
    "#);
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
"), @r#"
    weir.yaml:2:3: upstreams.neither: how is it reached? write `url`, `command`, `gateway` or `runtime`
    weir.yaml:3:48: upstreams.both.command: an upstream is reached in one way, and this one has a `url` already
    weir.yaml:4:35: upstreams.child.connector: a child process is `on_prem`, not `saas`
    weir.yaml:4:41: upstreams.child.auth: `auth` belongs to an upstream with a `url`; a child process is given secrets by `env`
    weir.yaml:4:88: upstreams.child.headers: `headers` belongs to an upstream with a `url`; a child process is given secrets by `env`
    weir.yaml:5:45: upstreams.http.args: `args` belongs to an upstream with a `command`
    weir.yaml:5:50: upstreams.http.env: `env` belongs to an upstream with a `command`
    weir.yaml:5:70: upstreams.http.cwd: `cwd` belongs to an upstream with a `command`
    weir.yaml:6:16: upstreams.sse.type: the HTTP+SSE transport of 2024-11-05 is not spoken; most servers offer Streamable HTTP beside it, often at /mcp
    weir.yaml:7:17: upstreams.kind.type: `type: stdio` goes with `command`, `type: http` with `url`
    weir.yaml:8:15: upstreams.ftp.url: not an `https://` or `http://` URL
    weir.yaml:9:16: upstreams.text.url: not a URL: relative URL without a base
    weir.yaml:10:16: upstreams.pass.url: a URL must not hold credentials; write them under `auth`
    weir.yaml:11:17: upstreams.plain.url: plain http to `a.example.com` can be read and changed on the way: use https, or write `allow_plain_http: true`
    weir.yaml:12:39: upstreams.plain_saas.url: plain http to `mcp.internal` can be read and changed on the way: use https, or write `allow_plain_http: true`
    weir.yaml:13:42: upstreams.plain_ours.url: plain http to `a.example.com` can be read and changed on the way: use https, or write `allow_plain_http: true`
    weir.yaml:14:59: upstreams.header.headers."a b": not a header name
    weir.yaml:14:68: upstreams.header.headers.Host: weir sets this header itself
    weir.yaml:14:87: upstreams.header.headers.Mcp-Session-Id: weir sets this header itself
    weir.yaml:14:105: upstreams.header.headers.x-a: this header is set twice
    weir.yaml:15:75: upstreams.value.auth.value: has characters that a header cannot have, such as a line break
    weir.yaml:16:113: upstreams.twice.headers.Authorization: this header is set twice
    weir.yaml:17:71: upstreams.basic.auth.username: a user name has no `:` and no control characters
    weir.yaml:18:17: upstreams.unset.url: environment variable `NOPE` is not set; `${NOPE:-default}` has a default, `$${` is a plain `${`
    "#);
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
        !text.contains("hunter2") && !text.contains("br3ak"),
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
        "./weir.yaml: cannot be read: there is no such file"
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
        matches!(&loaded.upstreams["t"].auth, Auth::Bearer(token) if token.text() == "from-file")
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
    insta::assert_snapshot!(show(load(&main, &env)), @r"
    ./upstreams.d/40-bad.yaml:1:1: listen: unknown key; the keys here are upstreams, mcpServers
    ./upstreams.d/40-bad.yaml:4:3: upstreams.c: there is an upstream of this name at ./upstreams.d/10-c.json:1 already
    ./upstreams.d/40-bad.yaml:5:3: upstreams.m: there is an upstream of this name at ./weir.yaml:2 already
    ./upstreams.d/50-worse.yaml:1:5: mapping values are not allowed in this context
    ");
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

/// Every config in the folder that users start from.
fn samples() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let examples = std::fs::read_dir(folder.join("examples")).unwrap();
    let mut samples: Vec<_> = examples.map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    samples.push(folder.join("weir.yaml"));
    samples
}

/// Values that fit where the samples use them.
fn sample_env(name: &str) -> Option<String> {
    static PKI: std::sync::LazyLock<(tempfile::TempDir, String)> = std::sync::LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = connectors::identity();
        for name in ["ca.pem", "weir.pem"] {
            std::fs::write(folder.path().join(name), &cert).unwrap();
        }
        (folder, key)
    });
    match name {
        "PKI" => Some(PKI.0.path().to_str().unwrap().to_owned()),
        "ERP_TLS_KEY" => Some(PKI.1.clone()),
        _ => Some(format!("{name:*<32}")),
    }
}

#[test]
fn the_samples_are_valid() {
    let samples = samples();
    assert!(samples.len() >= 6, "{samples:?}");
    for path in samples {
        let config = load(&path, &sample_env).unwrap_or_else(|errors| panic!("{errors}"));
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        if path.extension().unwrap() == "yaml" {
            assert!(
                first.starts_with("# yaml-language-server: $schema="),
                "{path:?}"
            );
            let schema = path.with_file_name(first.rsplit('=').next().unwrap());
            assert!(schema.exists(), "{schema:?}");
        }
        let is_default = path.ends_with("weir.yaml");
        assert_eq!(config.upstreams.is_empty(), is_default, "{path:?}");
    }
}

#[test]
fn the_default_config_writes_the_defaults_and_its_comments_are_valid() {
    let path = samples().pop().unwrap();
    let written = load(&path, &sample_env).unwrap();
    let usual = config("");
    let shown = |config: &Config| format!("{:?} {:?}", config.listen, config.naming);
    assert_eq!(shown(&written), shown(&usual));
    let text = std::fs::read_to_string(&path).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| match line.split_once('#') {
            Some((blank, rest)) if blank.trim().is_empty() && !rest.starts_with(' ') => {
                format!("{blank}{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let full = parse(&uncommented, &path, &sample_env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        full.upstreams
            .keys()
            .map(UpstreamId::as_str)
            .collect::<Vec<_>>(),
        ["everything", "github"]
    );
    let upstream = full.upstreams["everything"].as_ref();
    let bare = config("upstreams: { everything: { command: npx } }");
    let bare = bare.upstreams["everything"].as_ref();
    assert_eq!(upstream.timeouts, bare.timeouts);
    assert_eq!(upstream.limits, bare.limits);
    assert_eq!(upstream.stale, bare.stale);
    assert_eq!(upstream.resync, bare.resync);
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
        let text = format!("upstreams: {{ x: {{ command: x, resync: {{ cron: {} }} }} }}", node::quoted(&text));
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
