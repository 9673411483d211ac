//! A TLS door before an upstream: it takes connections, asks for certificates, and passes on what is inside.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, string::Ia5String,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for a server of this name.
    pub fn server(&self, name: &str) -> Pair {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, |_| {})
    }

    /// One that ended in 2001.
    pub fn expired(&self, name: &str) -> Pair {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        })
    }

    /// A certificate for a client of this name.
    pub fn client(&self, name: &str) -> Pair {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, |_| {})
    }

    /// A certificate for a client with a SPIFFE id and a serial number, by which it can be revoked.
    pub fn workload(&self, id: &str, serial: u64) -> Pair {
        self.issue(
            "workload.example",
            ExtendedKeyUsagePurpose::ClientAuth,
            |params| {
                let id = Ia5String::try_from(id.to_owned()).unwrap();
                params.subject_alt_names.push(SanType::URI(id));
                params.serial_number = Some(SerialNumber::from(serial));
            },
        )
    }

    /// The list of these serial numbers as revoked, in PEM.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2200, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn issue(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A client that trusts a CA, and may have a certificate.
pub struct Client {
    roots: RootCertStore,
    pair: Option<Pair>,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
}

impl Client {
    pub fn of(ca: &Ca) -> Self {
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
        roots.add(cert).unwrap();
        Self {
            roots,
            pair: None,
            versions: DEFAULT_VERSIONS.to_vec(),
            protocols: Vec::new(),
        }
    }

    pub fn with(mut self, pair: &Pair) -> Self {
        self.pair = Some(pair.clone());
        self
    }

    pub fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Offers this protocol (ALPN) and no other.
    pub fn speaking(mut self, protocol: &str) -> Self {
        self.protocols = vec![protocol.as_bytes().to_vec()];
        self
    }

    pub fn config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes());
                let chain = chain.collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        config
    }

    /// A pool of connections.
    pub fn pool(&self) -> reqwest::Client {
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.tls_backend_preconfigured(self.config());
        builder.build().unwrap()
    }

    /// One connection to `localhost`.
    pub async fn connect(&self, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let connector = TlsConnector::from(Arc::new(self.config()));
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await
    }
}

/// Returns the settings with which a door takes connections.
pub fn config(
    pair: &Pair,
    clients: Option<&Ca>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            let cert = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
            roots.add(cert).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// A door before an upstream.
pub struct Door {
    address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    open: Arc<Mutex<CancellationToken>>,
    _stop: DropGuard,
}

impl Door {
    pub async fn before(upstream: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let config = Arc::new(Mutex::new(config));
        let open = Arc::new(Mutex::new(CancellationToken::new()));
        let (tasks, ending) = (TaskTracker::new(), stop.clone());
        let (configs, opened) = (Arc::clone(&config), Arc::clone(&open));
        let (own, each) = (tasks.clone(), ending.clone());
        tasks.spawn(ending.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(configs.lock().unwrap().clone());
                let (open, each) = (opened.lock().unwrap().clone(), each.clone());
                own.spawn(each.run_until_cancelled_owned(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        open.run_until_cancelled(pass(stream, upstream)).await;
                    }
                }));
            }
        }));
        Self {
            address,
            config,
            open,
            _stop: stop.drop_guard(),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Takes the next connections like this.
    pub fn becomes(&self, config: Arc<ServerConfig>) {
        *self.config.lock().unwrap() = config;
    }

    /// Closes all connections, so that the next request makes a new one.
    pub fn hang_up(&self) {
        let mut open = self.open.lock().unwrap();
        open.cancel();
        *open = CancellationToken::new();
    }
}

/// A Unix socket before an upstream.
pub fn socket(path: &Path, upstream: SocketAddr, config: Option<Arc<ServerConfig>>) -> DropGuard {
    let (listener, stop) = (UnixListener::bind(path).unwrap(), CancellationToken::new());
    let (tasks, own) = (TaskTracker::new(), stop.clone());
    let each = tasks.clone();
    tasks.spawn(own.clone().run_until_cancelled_owned(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (config, own) = (config.clone(), own.clone());
            each.spawn(own.run_until_cancelled_owned(async move {
                match config {
                    None => pass(stream, upstream).await,
                    Some(config) => {
                        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                            pass(stream, upstream).await;
                        }
                    }
                }
            }));
        }
    }));
    stop.drop_guard()
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, upstream: SocketAddr) {
    if let Ok(mut inside) = TcpStream::connect(upstream).await {
        let _ = copy_bidirectional(&mut stream, &mut inside).await;
    }
}
