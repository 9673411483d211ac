//! Connectors that log in: what errors look like.

use super::connectors::identity;
use super::*;

#[test]
#[allow(clippy::too_many_lines, reason = "one file, and what is said of it")]
fn the_way_to_aws_is_checked() {
    insta::assert_snapshot!(errors("\
upstreams:
  none: { connector: agentcore_gateway }
  part: { gateway: { id: gw-ab12cdef34 } }
  id: { gateway: { id: gateway, region: europe } }
  two: { gateway: { id: gw-ab12cdef34, region: eu-west-1 }, runtime: { arn: x } }
  both: { url: https://a.example.com, runtime: { arn: x } }
  third: { command: x, gateway: {} }
  kind: { connector: saas, gateway: { id: gw-ab12cdef34, region: eu-west-1 } }
  kinds: { connector: agentcore_gateway, runtime: { arn: 'arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/a' } }
  child: { connector: agentcore_runtime, command: x, tls: {}, socket: x }
  other: { url: https://gw-ab12cdef34.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp, gateway: { id: gw-0000000000, region: eu-west-2, endpoint: 'https://x' } }
  sync: { connector: agentcore_gateway, url: https://gw.example.com/mcp, gateway: { synchronize: true, serch: keep } }
  arn: { runtime: { arn: 'arn:aws:iam::123456789012:role/x', region: eu-west-1 } }
  ids: { runtime: { agent_id: 'a/b', account_id: '12', qualifier: a-b, region: eu-west-1 } }
  lacks: { runtime: { agent_id: a } }
  empty: { runtime: {} }
  plain: { runtime: { arn: 'arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/a', endpoint: 'http://vpce.internal' } }
  basic: { gateway: { id: gw-ab12cdef34, region: eu-west-1 }, auth: { type: basic, username: a, password: { env: TOKEN } } }
  twice: { gateway: { id: gw-ab12cdef34, region: eu-west-1 }, auth: { type: sigv4 }, headers: { Authorization: x, X-Amz-Date: x } }
  role: { url: https://a.example.com, auth: { type: sigv4, assume_role: { arn: me, session_name: 'a b', external_id: '' } } }
  keys: { url: https://a.example.com, auth: { type: sigv4, access_key_id: AKIA, profile: x } }
  more: { url: https://a.example.com, auth: { type: sigv4, access_key_id: AKIA, secret_access_key: { env: TOKEN }, profile: x } }
  token: { url: https://a.example.com, auth: { type: sigv4, session_token: { env: TOKEN } } }
  unset: { gateway: { id: '${NOPE}', region: '${NOPE}' } }
"), @r"
    weir.yaml:2:3: upstreams.none: nothing says how to reach it: write `url`, `command`, `gateway` or `runtime`
    weir.yaml:3:11: upstreams.part.gateway: `region` is missing
    weir.yaml:4:24: upstreams.id.gateway.id: not the id of an AgentCore Gateway: a name of a-z, 0-9 and -, then - and 10 characters
    weir.yaml:4:41: upstreams.id.gateway.region: not an AWS region, such as eu-west-1
    weir.yaml:5:61: upstreams.two.runtime: an upstream has one endpoint, and this one already has a `gateway`
    weir.yaml:6:39: upstreams.both.runtime: an upstream has one endpoint, and this one already has a `url`
    weir.yaml:7:21: upstreams.third.command: an upstream has one endpoint, and this one already has a `gateway`
    weir.yaml:8:22: upstreams.kind.connector: `gateway` makes it an upstream of the connector `agentcore_gateway`
    weir.yaml:9:23: upstreams.kinds.connector: `runtime` makes it an upstream of the connector `agentcore_runtime`
    weir.yaml:10:23: upstreams.child.connector: a child process is `on_prem`, not `agentcore_runtime`
    weir.yaml:10:54: upstreams.child.tls: `tls` belongs to an upstream with a `url`; a child process gets secrets through `env`
    weir.yaml:10:71: upstreams.child.socket: `socket` belongs to an upstream with a `url`; a child process gets secrets through `env`
    weir.yaml:11:109: upstreams.other.gateway.id: the URL says `gw-ab12cdef34`
    weir.yaml:11:132: upstreams.other.gateway.region: the URL says `eu-west-1`
    weir.yaml:11:153: upstreams.other.gateway.endpoint: `endpoint` and `url` cannot be used together
    weir.yaml:12:98: upstreams.sync.gateway.synchronize: `synchronize` needs `id` and `region`
    weir.yaml:12:104: upstreams.sync.gateway.serch: unknown key (did you mean `search`?)
    weir.yaml:13:26: upstreams.arn.runtime.arn: not the ARN of a Runtime: arn:aws:bedrock-agentcore:REGION:ACCOUNT:runtime/ID
    weir.yaml:13:70: upstreams.arn.runtime.region: `region` and `arn` cannot be used together
    weir.yaml:14:31: upstreams.ids.runtime.agent_id: the id of an AgentCore Runtime has only the characters A-Z a-z 0-9 _ -
    weir.yaml:14:50: upstreams.ids.runtime.account_id: the id of an AWS account has 12 digits
    weir.yaml:14:67: upstreams.ids.runtime.qualifier: a qualifier has 1 to 48 of the characters A-Z a-z 0-9 _
    weir.yaml:15:12: upstreams.lacks.runtime: `account_id` is missing
    weir.yaml:15:12: upstreams.lacks.runtime: `region` is missing
    weir.yaml:16:12: upstreams.empty.runtime: `arn` or `agent_id` is missing
    weir.yaml:17:100: upstreams.plain.runtime.endpoint: plain http to `vpce.internal` can be read and changed on the way: use https, or write `allow_plain_http: true`
    weir.yaml:18:77: upstreams.basic.auth.type: an `agentcore_gateway` accepts signatures or tokens: write `sigv4`, `bearer` or an `oauth2_…`
    weir.yaml:19:112: upstreams.twice.headers.Authorization: this header is set twice
    weir.yaml:19:127: upstreams.twice.headers.X-Amz-Date: this header is set twice
    weir.yaml:20:80: upstreams.role.auth.assume_role.arn: not the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME
    weir.yaml:20:98: upstreams.role.auth.assume_role.session_name: the name of a session has 2 to 64 of the characters A-Z a-z 0-9 _ + = , . @ -
    weir.yaml:20:118: upstreams.role.auth.assume_role.external_id: must not be empty
    weir.yaml:20:118: upstreams.role.auth.assume_role.external_id: an external id has 2 to 1224 of the characters A-Z a-z 0-9 _ + = , . @ : / -
    weir.yaml:21:75: upstreams.keys.auth.access_key_id: `access_key_id` needs `secret_access_key`
    weir.yaml:22:125: upstreams.more.auth.profile: `profile` and `access_key_id` cannot be used together
    weir.yaml:23:61: upstreams.token.auth.session_token: `session_token` needs `access_key_id`
    weir.yaml:24:27: upstreams.unset.gateway.id: environment variable `NOPE` is not set; `${NOPE:-default}` has a default, `$${` is a plain `${`
    weir.yaml:24:46: upstreams.unset.gateway.region: environment variable `NOPE` is not set; `${NOPE:-default}` has a default, `$${` is a plain `${`
    ");
}

#[test]
fn oauth_clients_are_checked() {
    insta::assert_snapshot!(errors("\
upstreams:
  nothing: { url: https://a.example.com, auth: { type: oauth2_client_credentials } }
  where: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: a, client_secret: { env: TOKEN } } }
  typo: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: a, token_ulr: 'https://b.example.com', client_secret: { env: NOPE } } }
  both: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: '', token_url: 'https://b.example.com', issuer: 'https://b.example.com', client_secret: { env: TOKEN }, private_key: { env: TOKEN } } }
  plain: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: a, token_url: 'http://b.internal/token', client_secret: { env: TOKEN } } }
  issuer: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: a, issuer: 'https://b.example.com?x', client_authentication: private_key_jwt, client_secret: { env: TOKEN }, algorithm: RS25 } }
  method: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: a, issuer: 'https://b.example.com', client_authentication: none, client_secret: { env: TOKEN }, algorithm: RS256, key_id: x } }
  words: { url: https://a.example.com, auth: { type: oauth2_client_credentials, client_id: a, issuer: 'https://b.example.com', client_secret: { env: TOKEN }, scopes: ['a b', ''], resource: x, parameters: { scope: x, ok: '${NOPE}' }, allowed_hosts: ['a/b'] } }
  state: { url: https://a.example.com, auth: { type: oauth2_authorization_code, client_secret: { env: TOKEN }, client_metadata_url: 'ftp://x', redirect_port: 0 } }
  known: { url: https://a.example.com, auth: { type: oauth2_authorization_code, client_id: a, client_metadata_url: 'https://x.example.com/c' } }
  subject: { url: https://a.example.com, auth: { type: oauth2_token_exchange, client_id: a, issuer: 'https://b.example.com', client_secret: { env: TOKEN }, actor_token_type: x } }
  identity: { url: https://a.example.com, auth: { type: agentcore_identity, workload: '', provider: p, scopes: [a], api_key: { header: host, prefix: \"\\n\" } } }
  twice: { url: https://a.example.com, headers: { X-Key: a }, auth: { type: agentcore_identity, workload: w, provider: p, api_key: { header: x-key } } }
  secret: { url: https://a.example.com, auth: { type: bearer, token: { aws_secret: { id: 'a b' } } } }
  secrets: { url: https://a.example.com, auth: { type: bearer, token: { aws_secret: { id: a, regio: b, region: c } } } }
sealing_key: { aws_secret: x }
"), @r"
    weir.yaml:2:48: upstreams.nothing.auth: `client_id` is missing
    weir.yaml:3:40: upstreams.where.auth: `token_url` or `issuer` is missing
    weir.yaml:4:94: upstreams.typo.auth.token_ulr: unknown key (did you mean `token_url`?)
    weir.yaml:4:130: upstreams.typo.auth.client_secret: environment variable `NOPE` is not set
    weir.yaml:5:91: upstreams.both.auth.client_id: must not be empty
    weir.yaml:5:139: upstreams.both.auth.issuer: `issuer` and `token_url` cannot be used together
    weir.yaml:5:195: upstreams.both.auth.private_key: `private_key` and `client_secret` cannot be used together
    weir.yaml:6:106: upstreams.plain.auth.token_url: plain http to `b.internal` can be read and changed on the way: use https, or write `allow_plain_http: true`
    weir.yaml:7:104: upstreams.issuer.auth.issuer: the URL of an issuer has no `?` part
    weir.yaml:7:154: upstreams.issuer.auth.client_authentication: `private_key_jwt` needs `private_key`
    weir.yaml:7:213: upstreams.issuer.auth.algorithm: expected RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA, found `RS25` (did you mean `RS256`?)
    weir.yaml:8:152: upstreams.method.auth.client_authentication: `client_authentication: none` and `client_secret` cannot be used together
    weir.yaml:8:200: upstreams.method.auth.algorithm: `algorithm` needs `private_key`
    weir.yaml:8:215: upstreams.method.auth.key_id: `key_id` needs `private_key`
    weir.yaml:9:168: upstreams.words.auth.scopes[0]: a scope has no spaces, quotes or control characters, and is not empty
    weir.yaml:9:175: upstreams.words.auth.scopes[1]: a scope has no spaces, quotes or control characters, and is not empty
    weir.yaml:9:190: upstreams.words.auth.resource: not a URL: relative URL without a base
    weir.yaml:9:214: upstreams.words.auth.parameters.scope: weir sends this parameter itself
    weir.yaml:9:221: upstreams.words.auth.parameters.ok: environment variable `NOPE` is not set; `${NOPE:-default}` has a default, `$${` is a plain `${`
    weir.yaml:9:250: upstreams.words.auth.allowed_hosts[0]: not a host: write HOST or HOST:PORT, without scheme and path
    weir.yaml:10:40: upstreams.state.auth: tokens of `weir login` are stored in the state folder: write `state: { dir: … }` in the main file
    weir.yaml:10:81: upstreams.state.auth.client_secret: `client_secret` needs `client_id`
    weir.yaml:10:133: upstreams.state.auth.client_metadata_url: not an `https://` or `http://` URL
    weir.yaml:10:159: upstreams.state.auth.redirect_port: must be from 1 to 65535
    weir.yaml:11:40: upstreams.known.auth: tokens of `weir login` are stored in the state folder: write `state: { dir: … }` in the main file
    weir.yaml:11:116: upstreams.known.auth.client_metadata_url: `client_metadata_url` and `client_id` cannot be used together
    weir.yaml:12:42: upstreams.subject.auth: `subject_token` or `subject` is missing
    weir.yaml:12:175: upstreams.subject.auth.actor_token_type: `actor_token_type` needs `actor_token`
    weir.yaml:13:87: upstreams.identity.auth.workload: must not be empty
    weir.yaml:13:112: upstreams.identity.auth.scopes: `scopes` and `api_key` cannot be used together
    weir.yaml:13:136: upstreams.identity.auth.api_key.header: weir sets this header itself
    weir.yaml:13:150: upstreams.identity.auth.api_key.prefix: has characters that a header cannot have, such as a line break
    weir.yaml:14:58: upstreams.twice.headers.X-Key: this header is set twice
    weir.yaml:15:63: upstreams.secret.auth.token: not the name or ARN of a secret
    weir.yaml:16:64: upstreams.secrets.auth.token: not an AWS region, such as eu-west-1
    weir.yaml:16:94: upstreams.secrets.auth.token.aws_secret.regio: unknown key (did you mean `region`?)
    weir.yaml:17:1: sealing_key: a secret of weir itself comes from `env` or `file`, not from `aws_secret`
    ");
}

#[test]
fn tls_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let ((cert, key), (other, _)) = (identity(), identity());
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let broken = &cert[..cert.len() / 2];
    for (name, text) in [
        ("cert", cert.as_str()),
        ("key", &key),
        ("other", &other),
        ("encrypted", &encrypted),
        ("broken", broken),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let text = "\
upstreams:
  plain: { url: http://127.0.0.1/mcp, tls: { min_version: '1.3' } }
  good: { url: https://a.internal/mcp, tls: { ca: cert, cert: cert, key: { file: key } } }
  cert: { url: https://a.internal/mcp, tls: { cert: cert, ca: /nonexistent/ca.pem } }
  key: { url: https://a.internal/mcp, tls: { key: { env: TOKEN }, server_name: 'a b', min_version: 1.3 } }
  word: { url: https://a.internal/mcp, tls: { min_version: '1.1', sni: x } }
  swapped: { url: https://a.internal/mcp, tls: { ca: key, cert: key, key: { file: cert } } }
  mismatch: { url: https://a.internal/mcp, tls: { cert: other, key: { file: key } } }
  locked: { url: https://a.internal/mcp, tls: { ca: broken, cert: cert, key: { file: encrypted } } }
  nokey: { url: https://a.internal/mcp, tls: { cert: cert, key: { env: TOKEN } } }
";
    let errors = parse(text, &folder.path().join("weir.yaml"), &env).unwrap_err();
    let shown = errors.to_string();
    let shown = shown.replace(&*folder.path().to_string_lossy(), "");
    insta::assert_snapshot!(shown.replace("/weir.yaml", "weir.yaml"), @r"
    weir.yaml:2:39: upstreams.plain.tls: `tls` belongs to an `https` URL
    weir.yaml:4:53: upstreams.cert.tls.cert: `cert` needs `key`
    weir.yaml:4:63: upstreams.cert.tls.ca: file `/nonexistent/ca.pem` cannot be read: there is no such file
    weir.yaml:5:46: upstreams.key.tls.key: `key` needs `cert`
    weir.yaml:5:80: upstreams.key.tls.server_name: not a host name
    weir.yaml:6:60: upstreams.word.tls.min_version: expected 1.2 or 1.3, found `1.1` (did you mean `1.2`?)
    weir.yaml:6:67: upstreams.word.tls.sni: unknown key; the keys here are ca, cert, key, server_name, min_version
    weir.yaml:7:54: upstreams.swapped.tls.ca: there is no certificate in it: `-----BEGIN CERTIFICATE-----`
    weir.yaml:7:65: upstreams.swapped.tls.cert: there is no certificate in it: `-----BEGIN CERTIFICATE-----`
    weir.yaml:8:64: upstreams.mismatch.tls.key: the private key does not fit the certificate
    weir.yaml:9:53: upstreams.locked.tls.ca: not PEM: `-----BEGIN …-----`, lines of base64, `-----END …-----`
    weir.yaml:9:73: upstreams.locked.tls.key: the private key is encrypted, and weir has nobody to ask for the password
    weir.yaml:10:60: upstreams.nokey.tls.key: there is no private key in it: `-----BEGIN PRIVATE KEY-----`, `… RSA …` or `… EC …`
    ");
}
