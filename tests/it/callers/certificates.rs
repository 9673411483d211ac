//! Callers that log in with client certificates, and tokens that are bound to one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{becomes, jira, replace, status};
use crate::support::client::Modern;
use crate::support::tls::{Ca, Client, Pair};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// Weir with client certificates.
struct Certificates {
    folder: tempfile::TempDir,
    servers: Ca,
    callers: Ca,
    weir: Weir,
    jira: Upstream,
}

impl Certificates {
    /// `more` are other members of `client_certificates`, `ways` of `auth`.
    async fn start(more: &str, ways: &str) -> Self {
        Self::listening("", more, ways).await
    }

    /// The same with other members of `listen` before them.
    async fn listening(first: &str, more: &str, ways: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (servers, callers) = (Ca::new("servers"), Ca::new("callers"));
        let pair = servers.server("localhost");
        let files = [
            ("cert.pem", &pair.cert),
            ("key.pem", &pair.key),
            ("callers.pem", &callers.pem),
            ("revoked.pem", &callers.revoke(&[])),
        ];
        for (name, text) in files {
            replace(&folder.path().join(name), text);
        }
        let at = folder.path().display();
        let listen = format!(
            "{first}tls: {{ cert: {at}/cert.pem, key: {{ file: {at}/key.pem }} }}, \
             auth: {{ client_certificates: {{ ca: {at}/callers.pem, crl: {at}/revoked.pem{more} }}{ways} }}"
        );
        let jira = jira().await;
        let weir = Weir::over([&jira]).secure(&listen).start().await;
        Self {
            folder,
            servers,
            callers,
            weir,
            jira,
        }
    }

    fn client(&self, pair: Option<&Pair>) -> Client {
        let client = Client::of(&self.servers);
        match pair {
            Some(pair) => client.with(pair),
            None => client,
        }
    }

    fn modern(&self, pair: Option<&Pair>) -> Modern {
        Modern::over(self.client(pair).pool(), self.weir.secure_url())
    }

    /// Whether a connection with this certificate comes to be and is used.
    async fn connects(&self, pair: Option<&Pair>) -> bool {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let Ok(mut stream) = self.client(pair).connect(self.weir.port()).await else {
            return false;
        };
        let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut read = [0; 12];
        stream.write_all(ask).await.is_ok() && stream.read_exact(&mut read).await.is_ok()
    }
}

#[tokio::test]
async fn a_certificate_of_the_callers_authority_is_a_caller() {
    let rig = Certificates::start("", "").await;
    let good = rig.callers.workload("spiffe://corp.example/billing", 7);
    assert_eq!(status(&rig.modern(Some(&good))).await, 200);
    // Without one there is a connection, and no caller.
    assert_eq!(status(&rig.modern(None)).await, 401);
    let others = [
        (
            Ca::new("another").client("a.example"),
            "is from an unknown CA",
        ),
        (rig.callers.expired("a.example"), "has expired"),
        (rig.callers.server("a.example"), "is not for clients"),
    ];
    for (pair, reason) in others {
        assert!(!rig.connects(Some(&pair)).await, "{reason}");
        rig.weir
            .wait_stderr(&format!("the caller's certificate {reason}"))
            .await;
    }
}

#[tokio::test]
async fn a_certificate_may_be_required() {
    let rig = Certificates::start(", required: true", "").await;
    let good = rig.callers.client("a.example");
    assert!(rig.connects(Some(&good)).await);
    assert!(!rig.connects(None).await);
    rig.weir
        .wait_stderr("`listen.auth.client_certificates.required` is set")
        .await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_on_open_connections_too() {
    let rig = Certificates::start("", "").await;
    let (one, two) = (
        rig.callers.workload("spiffe://corp.example/one", 1),
        rig.callers.workload("spiffe://corp.example/two", 2),
    );
    // Their pools keep the connections open.
    let (of_one, of_two) = (rig.modern(Some(&one)), rig.modern(Some(&two)));
    assert_eq!((status(&of_one).await, status(&of_two).await), (200, 200));
    replace(
        &rig.folder.path().join("revoked.pem"),
        &rig.callers.revoke(&[1]),
    );
    becomes(&of_one, 401).await;
    assert_eq!(status(&of_two).await, 200);
    assert!(!rig.connects(Some(&one)).await);
    assert!(rig.connects(Some(&two)).await);
    rig.weir
        .wait_stderr("the caller's certificate was revoked")
        .await;
    // A file that cannot be read changes nothing.
    replace(&rig.folder.path().join("revoked.pem"), "nonsense");
    rig.weir.wait_stderr("a file was replaced").await;
    assert!(rig.connects(Some(&two)).await);
    // Another authority takes over: its certificates are good, and those from before are not.
    let next = Ca::new("next");
    replace(&rig.folder.path().join("revoked.pem"), &next.revoke(&[]));
    replace(&rig.folder.path().join("callers.pem"), &next.pem);
    becomes(&of_two, 401).await;
    let new = next.client("b.example");
    assert_eq!(status(&rig.modern(Some(&new))).await, 200);
}

#[tokio::test]
async fn streams_of_a_revoked_certificate_end() {
    let rig = Certificates::listening("keep_alive: 300ms, ", "", "").await;
    let (one, two) = (
        rig.callers.workload("spiffe://corp.example/one", 1),
        rig.callers.workload("spiffe://corp.example/two", 2),
    );
    let mut streams = Vec::new();
    for pair in [&one, &two] {
        let modern = rig.modern(Some(pair));
        let mut stream = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
        assert!(stream.next().await.unwrap().contains("acknowledged"));
        streams.push(stream);
    }
    replace(
        &rig.folder.path().join("revoked.pem"),
        &rig.callers.revoke(&[1]),
    );
    // The last message of the stream, and its end.
    assert!(streams[0].next().await.unwrap().contains("resultType"));
    assert_eq!(streams[0].next().await, None);
    // That of another certificate goes on.
    rig.jira.add_tool("more");
    rig.weir.resync("jira").await;
    let told = streams[1].next().await.unwrap();
    assert!(told.contains("tools/list_changed"), "{told}");
}

/// A key that signs tokens of an issuer.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    fn jwks(&self) -> String {
        // An uncompressed point (SEC 1 §2.3.3).
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}]}}"#)
    }

    /// A token for `weir`, with more claims.
    fn token(&self, more: &str) -> String {
        let header = BASE64.encode(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#);
        let claims = format!(
            r#"{{"iss":"https://issuer.example","aud":"weir","sub":"ada","exp":4102444800{more}}}"#
        );
        let text = format!("{header}.{}", BASE64.encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64.encode(signature))
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_good_with_it_only() {
    let (issuer, keys) = (Issuer::new(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(keys.path(), issuer.jwks()).unwrap();
    let jwt = format!(
        ", jwt: [{{ issuer: 'https://issuer.example', audiences: [weir], jwks: {{ file: '{}' }} }}]",
        keys.path().display()
    );
    let rig = Certificates::start("", &jwt).await;
    let (own, other) = (
        rig.callers.client("a.example"),
        rig.callers.client("b.example"),
    );
    let der = CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap();
    let thumbprint = BASE64.encode(digest(&SHA256, &der));
    let bound = issuer.token(&format!(r#","cnf":{{"x5t#S256":"{thumbprint}"}}"#));
    let free = issuer.token("");
    let call = async |pair: Option<&Pair>, token: &str| {
        let modern = rig.modern(pair);
        let ask = modern.ask("tools/call", r#"{"name":"jira__search","arguments":{}}"#);
        let ask = ask.header("authorization", &format!("Bearer {token}"));
        ask.send().await.status
    };
    assert_eq!(call(Some(&own), &bound).await, 200);
    // The second time, what the first one found is remembered.
    for _ in 0..2 {
        assert_eq!(call(Some(&other), &bound).await, 401);
        assert_eq!(call(None, &bound).await, 401);
    }
    for pair in [Some(&own), Some(&other), None] {
        assert_eq!(call(pair, &free).await, 200);
        // A wrong token is refused, whatever certificate is there.
        assert_eq!(call(pair, &free[..free.len() - 2]).await, 401);
    }
    rig.weir
        .wait_stderr("bound to another client certificate")
        .await;
}
