//! The certificate that a caller proved to have at the handshake of TLS.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

use crate::hex;
use crate::json;

use super::identity::{Caller, Identity, Principal};

/// Most bytes of a name in a certificate: SPIFFE allows 2048 for an id (SPIFFE-ID §2.3).
const NAME: usize = 2048;
/// Most names in a certificate.
const NAMES: usize = 64;
/// Most certificates of a chain that are kept, to be verified again.
const CHAIN: usize = 8;

/// A certificate of a trusted CA, and the identity in it.
#[derive(Debug)]
pub struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    thumbprint: Box<str>,
    caller: Caller,
    /// The version of the trust that it was verified with last.
    verified: AtomicU64,
}

/// Why the certificate of a trusted CA names no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Syntax,
    /// It has several SPIFFE ids.
    #[error("it has more than one SPIFFE id")]
    SpiffeIds,
    /// A name that is too long, too many names, or characters that no name has.
    #[error("a name in it is too long or has odd characters, or there are more than {NAMES}")]
    Names,
    /// A chain that is too long.
    #[error("more than {CHAIN} certificates came with it")]
    Chain,
}

/// The names of a certificate.
#[derive(Debug, Default)]
struct AlternativeNames<'c> {
    spiffe: Option<&'c str>,
    dns: Option<&'c str>,
    /// All of them, each with its kind before it.
    all: Vec<String>,
}

impl PeerCertificate {
    /// Reads the identity in a chain of certificates, the caller's first, that was verified with
    /// this version of the trust. It is the SPIFFE id (a URI, SPIFFE X.509-SVID §2), else the first
    /// DNS name, else the digest.
    ///
    /// # Errors
    /// It cannot be read, or the identity is not clear.
    pub fn parse(chain: &[CertificateDer<'_>], verified: u64) -> Result<Self, CertificateError> {
        let first = chain.first().ok_or(CertificateError::Syntax)?;
        if chain.len() > CHAIN {
            return Err(CertificateError::Chain);
        }
        let (_, parsed) = parse_x509_certificate(first).map_err(|_| CertificateError::Syntax)?;
        let thumbprint: Box<str> = URL_SAFE_NO_PAD.encode(digest(&SHA256, first)).into();
        let names = AlternativeNames::of(&parsed)?;
        let subject = match (names.spiffe, names.dns) {
            (Some(id), _) => id.to_owned(),
            (None, Some(name)) => name.to_ascii_lowercase(),
            (None, None) => hex_digest(first),
        };
        let mut identity = Identity::new(Principal::Workload, &subject);
        let ends = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        identity.expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(ends));
        let all: Vec<_> = names.all.iter().map(|name| json::quote(name)).collect();
        let tags = [
            ("san", Some(format!("[{}]", all.join(",")))),
            ("subject", distinguished(parsed.subject())),
            ("issuer", distinguished(parsed.issuer())),
            ("x5t#S256", Some(thumbprint.to_string())),
        ];
        let tags = tags.into_iter();
        let tags = tags.filter_map(|(name, text)| Some((name.into(), text?.into())));
        identity.tags = tags.collect();
        Ok(Self {
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            thumbprint,
            caller: Caller::new(identity),
            verified: AtomicU64::new(verified),
        })
    }

    /// Returns the certificate and those between it and its CA.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Returns its digest as tokens that are bound to it have it: `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Returns the version of the trust that it was verified with last.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.verified.load(Relaxed)
    }

    /// Notes that it was verified with another version of the trust.
    pub fn note_verified(&self, version: u64) {
        self.verified.store(version, Relaxed);
    }

    /// Returns the caller that it names.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl<'c> AlternativeNames<'c> {
    fn of(certificate: &'c X509Certificate<'_>) -> Result<Self, CertificateError> {
        let found = certificate.subject_alternative_name();
        let found = found.map_err(|_| CertificateError::Syntax)?;
        let general = found.map_or(&[][..], |extension| &extension.value.general_names);
        if general.len() > NAMES {
            return Err(CertificateError::Names);
        }
        let mut names = Self::default();
        for name in general {
            let (kind, text) = match name {
                GeneralName::URI(text) => ("URI", *text),
                GeneralName::DNSName(text) => ("DNS", *text),
                GeneralName::RFC822Name(text) => ("email", *text),
                GeneralName::OtherName(..)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_)
                | GeneralName::Invalid(..) => continue,
            };
            let text = checked(text)?;
            if kind == "URI"
                && text.starts_with("spiffe://")
                && names.spiffe.replace(text).is_some()
            {
                return Err(CertificateError::SpiffeIds);
            }
            if kind == "DNS" && !text.contains('*') {
                names.dns.get_or_insert(text);
            }
            names.all.push(format!("{kind}:{text}"));
        }
        Ok(names)
    }
}

/// Returns a name if it is short enough and has nothing but printable characters of ASCII.
fn checked(name: &str) -> Result<&str, CertificateError> {
    let legal = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    match name.len() <= NAME && name.bytes().all(legal) {
        true => Ok(name),
        false => Err(CertificateError::Names),
    }
}

/// Returns a distinguished name as text; `None` if it is too long or has control characters.
fn distinguished(name: &X509Name<'_>) -> Option<String> {
    let text = name.to_string();
    (text.len() <= NAME && !text.chars().any(char::is_control)).then_some(text)
}

fn hex_digest(certificate: &CertificateDer<'_>) -> String {
    let mut text = "sha256:".to_owned();
    hex::push(&mut text, digest(&SHA256, certificate).as_ref());
    text
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn uri(text: &str) -> SanType {
        SanType::URI(Ia5String::try_from(text.to_owned()).unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(Ia5String::try_from(text.to_owned()).unwrap())
    }

    fn made(names: Vec<SanType>, common: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name.push(DnType::CommonName, common);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn parse(names: Vec<SanType>) -> Result<PeerCertificate, CertificateError> {
        PeerCertificate::parse(&[made(names, "ada")], 1)
    }

    #[test]
    fn the_identity_is_the_spiffe_id_else_a_name_else_the_digest() {
        let id = "spiffe://corp.example/billing";
        let table = [
            (vec![dns("A.example"), uri(id)], id),
            (
                vec![uri("https://x"), dns("*.example"), dns("A.example")],
                "a.example",
            ),
        ];
        for (names, subject) in table {
            let parsed = parse(names).unwrap();
            assert_eq!(parsed.caller().subject(), Some(subject));
            assert_eq!(parsed.caller().principal(), Principal::Workload);
        }
        for names in [vec![], vec![uri("https://x")], vec![dns("*.example")]] {
            let der = made(names, "ada");
            let parsed = PeerCertificate::parse(std::slice::from_ref(&der), 1).unwrap();
            let subject = parsed.caller().subject().unwrap();
            assert_eq!(subject, hex_digest(&der));
            assert_eq!(subject.len(), "sha256:".len() + 64);
        }
    }

    #[test]
    fn names_and_thumbprint_are_tags() {
        let parsed = parse(vec![dns("a.example"), uri("spiffe://c/b")]).unwrap();
        let identity = parsed.caller().identity();
        let tag = |name: &str| identity.tags.get(name).map(|tag| &**tag);
        assert_eq!(tag("san"), Some(r#"["DNS:a.example","URI:spiffe://c/b"]"#));
        assert!(tag("subject").unwrap().contains("CN=ada"));
        assert!(tag("issuer").unwrap().contains("CN=ada"));
        assert_eq!(tag("x5t#S256"), Some(parsed.thumbprint()));
        assert_eq!(parsed.thumbprint().len(), 43);
        let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(2_208_988_800);
        assert_eq!(identity.expires, Some(ends));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(at in 0_usize..2000, with: u8, cut in 0_usize..2000) {
            static DER: LazyLock<Vec<u8>> =
                LazyLock::new(|| made(vec![uri("spiffe://a/1"), dns("b.example")], "ada").to_vec());
            let mut der = DER.clone();
            let length = der.len();
            der[at % length] = with;
            der.truncate(cut.max(1));
            if let Ok(parsed) = PeerCertificate::parse(&[CertificateDer::from(der)], 1) {
                let subject = parsed.caller().subject().unwrap_or_default();
                proptest::prop_assert!(!subject.is_empty() && subject.len() <= NAME);
            }
        }
    }

    #[test]
    fn an_identity_that_is_not_clear_is_none() {
        let two = vec![uri("spiffe://a/1"), uri("spiffe://a/2")];
        assert_eq!(parse(two).unwrap_err(), CertificateError::SpiffeIds);
        let odd = vec![uri("spiffe://a/\n")];
        assert_eq!(parse(odd).unwrap_err(), CertificateError::Names);
        let long = vec![uri(&format!("spiffe://a/{}", "x".repeat(2048)))];
        assert_eq!(parse(long).unwrap_err(), CertificateError::Names);
        let many = (0..65).map(|n| dns(&format!("n{n}.example"))).collect();
        assert_eq!(parse(many).unwrap_err(), CertificateError::Names);
        let nonsense = CertificateDer::from(vec![1, 2, 3]);
        let parsed = PeerCertificate::parse(&[nonsense], 1);
        assert_eq!(parsed.unwrap_err(), CertificateError::Syntax);
        let chain = vec![made(vec![], "ada"); 9];
        let parsed = PeerCertificate::parse(&chain, 1);
        assert_eq!(parsed.unwrap_err(), CertificateError::Chain);
    }
}
