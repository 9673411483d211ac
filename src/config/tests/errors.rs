//! Errors of a config are reported all at once, each with its place.

use super::*;

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
    weir.yaml:2:20: listen.address: 0.0.0.0:8000 can be reached from the network: write `auth` under `listen` (`auth: none` if something in front checks callers), or listen on 127.0.0.1
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
    weir.yaml:19:47: upstreams.x.tools.override.a.completely_else: unknown key; the keys here are name, description, hide_args, set_args, annotations, timeout, timeout_resets_on_progress, guard
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
    weir.yaml:15:65: upstreams.f.auth.token: a secret is not written as plain text: write `{ env: NAME }`, `{ file: PATH }`, or `{ value: TEXT }` if everybody may read it here
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
    weir.yaml:3:19: admin.address: 0.0.0.0:8001 can be reached from the network: write `token: { env: NAME }` or `auth` under `admin`, or listen on 127.0.0.1
    weir.yaml:4:1: sealing_key: a key has at least 32 bytes of text, this one has 5; `openssl rand -base64 32` makes one
    weir.yaml:5:11: instance: an instance has 1 to 64 of the characters A-Z a-z 0-9 _ . -
    weir.yaml:6:22: naming.separator: a separator has 1 to 8 of the characters A-Z a-z 0-9 _ . -
    weir.yaml:6:39: naming.max_length: must be from 24 to 128
    weir.yaml:8:19: defaults.resync.cron: looks like a cron expression with 4 fields, and needs 6 (second, minute, hour, day of month, month, day of week)
    weir.yaml:9:21: defaults.stale.max_age: a duration must be longer than zero
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
    weir.yaml:2:3: upstreams.neither: nothing says how to reach it: write `url`, `command`, `gateway` or `runtime`
    weir.yaml:3:48: upstreams.both.command: an upstream has one endpoint, and this one already has a `url`
    weir.yaml:4:35: upstreams.child.connector: a child process is `on_prem`, not `saas`
    weir.yaml:4:41: upstreams.child.auth: `auth` belongs to an upstream with a `url`; a child process gets secrets through `env`
    weir.yaml:4:88: upstreams.child.headers: `headers` belongs to an upstream with a `url`; a child process gets secrets through `env`
    weir.yaml:5:45: upstreams.http.args: `args` belongs to an upstream with a `command`
    weir.yaml:5:50: upstreams.http.env: `env` belongs to an upstream with a `command`
    weir.yaml:5:70: upstreams.http.cwd: `cwd` belongs to an upstream with a `command`
    weir.yaml:6:16: upstreams.sse.type: the HTTP+SSE transport of 2024-11-05 is not supported; most servers also offer Streamable HTTP, often at /mcp
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
