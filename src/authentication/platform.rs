//! Statements of a platform in front of weir in headers: `listen.auth.platform`. An identity that it
//! asserts, and the workload access token of AgentCore Runtime.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::Refusal;
use crate::caller::{Caller, Identity, Principal};
use crate::config::PlatformIdentity;
use crate::secret::Secret;

/// Most bytes of a subject.
const SUBJECT: usize = 1024;
/// Most bytes of the scopes, and of a claim.
const CLAIM: usize = 4096;
/// Most scopes.
const SCOPES: usize = 128;
/// Most bytes of a workload access token.
const TOKEN: usize = 8192;
/// The headers that AgentCore Runtime has a workload access token in, the newer one first (Python package
/// `bedrock-agentcore` 1.25.0, `runtime/app.py`).
static WORKLOAD_TOKENS: [HeaderName; 2] = [
    HeaderName::from_static("x-amz-bedrock-agentcore-identity-wat"),
    HeaderName::from_static("workloadaccesstoken"),
];

/// Reads the identity that a platform asserts.
#[derive(Debug)]
pub struct PlatformAuthenticator {
    settings: PlatformIdentity,
}

impl PlatformAuthenticator {
    /// Makes it of its settings.
    #[must_use]
    pub fn new(settings: &PlatformIdentity) -> Self {
        Self {
            settings: settings.clone(),
        }
    }

    /// Authenticates the sender of a request; `None` if the platform asserts nothing, or who sent
    /// the header is not the platform.
    ///
    /// # Errors
    /// There are two values, or one that is empty, too long, or has characters that no name has.
    #[must_use]
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Option<Result<Caller, Refusal>> {
        let subject_header = self.settings.subject_header.as_ref()?;
        if !headers.contains_key(subject_header) || !self.is_sent_by(address, subject_header) {
            return None;
        }
        let identity = self.identify(headers, subject_header);
        Some(identity.map(Caller::new))
    }

    /// Adds the workload access token of a request to its sender, if the settings let that be and the
    /// platform sent one.
    ///
    /// # Errors
    /// There are two values, or one that is empty, too long, or has characters that no token has.
    pub fn add_workload_token(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        if !self.settings.workload_token {
            return Ok(caller);
        }
        let mut names = WORKLOAD_TOKENS.iter();
        let Some(name) = names.find(|name| headers.contains_key(*name)) else {
            return Ok(caller);
        };
        if !self.is_sent_by(address, name) {
            return Ok(caller);
        }
        let token = read(headers, name, TOKEN)?.map(Secret::new);
        Ok(match token {
            Some(token) => caller.with_workload_token(token),
            None => caller,
        })
    }

    /// Returns whether the platform sent a header. From elsewhere it means nothing.
    fn is_sent_by(&self, address: Option<IpAddr>, header: &HeaderName) -> bool {
        let is_platform = address.is_some_and(|address| self.is_platform(address));
        if !is_platform {
            tracing::warn!(
                header = header.as_str(),
                ?address,
                "a header of the platform was ignored: its sender is not in `listen.auth.platform.from`"
            );
        }
        is_platform
    }

    fn is_platform(&self, address: IpAddr) -> bool {
        // IPv4 on a socket of IPv6 (RFC 4291 §2.5.5.2).
        let address = address.to_canonical();
        self.settings
            .from
            .iter()
            .any(|network| network.contains(&address))
    }

    fn identify(
        &self,
        headers: &HeaderMap,
        subject_header: &HeaderName,
    ) -> Result<Identity, Refusal> {
        let settings = &self.settings;
        let missing = || malformed(subject_header, "is empty");
        let subject = read(headers, subject_header, SUBJECT)?.ok_or_else(missing)?;
        let mut identity = match Arn::parse(subject) {
            Some(arn) => {
                let mut identity = Identity::new(Principal::IamEntity, &arn.id);
                if let Some(session) = arn.session {
                    identity.tags.insert("session".into(), session.into());
                }
                identity
            }
            None => {
                let mut identity = Identity::new(Principal::OAuthUser, subject);
                identity.issuer.clone_from(&settings.issuer);
                identity.tags.insert("sub".into(), subject.into());
                if let Some(issuer) = &settings.issuer {
                    identity.tags.insert("iss".into(), issuer.clone());
                }
                identity
            }
        };
        if let Some(name) = &settings.scopes_header
            && let Some(text) = read(headers, name, CLAIM)?
        {
            let scopes = text.split(' ').filter(|scope| !scope.is_empty());
            identity.scopes = scopes.take(SCOPES).map(Box::from).collect();
            identity.tags.insert("scope".into(), text.into());
        }
        for (claim, name) in &settings.claims {
            if let Some(text) = read(headers, name, CLAIM)? {
                identity.tags.insert(claim.clone(), text.into());
            }
        }
        Ok(identity)
    }
}

/// Returns the value of a header; `None` if it is not there.
fn read<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    most: usize,
) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(name, "is there more than once"));
    }
    // Visible ASCII and tabs.
    let text = value.to_str().map(str::trim).unwrap_or_default();
    match text {
        "" => Err(malformed(name, "is empty or not ASCII")),
        text if text.len() > most => Err(malformed(name, "is too long")),
        text if text.contains('\t') => Err(malformed(name, "has a tab in it")),
        text => Ok(Some(text)),
    }
}

fn malformed(name: &HeaderName, what: &str) -> Refusal {
    Refusal::malformed(format!("the header `{name}` of the platform {what}"))
}

/// The ARN of a role or a user.
struct Arn<'a> {
    /// Without the session.
    id: String,
    session: Option<&'a str>,
}

impl<'a> Arn<'a> {
    /// Reads `arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION`, the form of a caller that AWS
    /// has authenticated (IAM user guide, "IAM identifiers"), or that of a user or role. AgentCore
    /// knows an entity without its session.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next();
        let (arn, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if arn != "arn" || !partition.starts_with("aws") || !region.is_empty() || !is_account {
            return None;
        }
        let (kind, name) = resource.split_once('/')?;
        match (service, kind) {
            ("sts", "assumed-role") => {
                let (role, session) = match name.split_once('/') {
                    Some((role, session)) => (role, Some(session)),
                    None => (name, None),
                };
                let id = format!("arn:{partition}:sts::{account}:assumed-role/{role}");
                Some(Self { id, session })
            }
            ("iam", "user" | "role") => Some(Self {
                id: text.to_owned(),
                session: None,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::authentication::RefusalKind;

    const HERE: &str = "10.1.2.3";

    fn platform() -> PlatformAuthenticator {
        PlatformAuthenticator::new(&PlatformIdentity {
            subject_header: Some(HeaderName::from_static("x-user")),
            workload_token: true,
            issuer: Some("https://i.example".into()),
            scopes_header: Some(HeaderName::from_static("x-scopes")),
            claims: vec![("department".into(), HeaderName::from_static("x-department"))],
            from: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        })
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(*name, value);
        }
        headers
    }

    fn asserted(pairs: &[(&'static str, &str)]) -> Option<Result<Caller, Refusal>> {
        platform().authenticate(&headers(pairs), Some(HERE.parse().unwrap()))
    }

    #[test]
    fn a_subject_is_a_user_of_the_issuer_with_scopes_and_claims() {
        let caller = asserted(&[
            ("x-user", " ada "),
            ("x-scopes", "a  b"),
            ("x-department", "payments"),
            ("x-other", "not asked for"),
        ]);
        let caller = caller.unwrap().unwrap();
        let identity = caller.identity();
        assert_eq!(identity.principal, Principal::OAuthUser);
        assert_eq!(&*identity.subject, "ada");
        assert_eq!(identity.issuer.as_deref(), Some("https://i.example"));
        assert_eq!(&*identity.scopes, [Box::from("a"), Box::from("b")]);
        let tags: Vec<_> = identity
            .tags
            .iter()
            .map(|(a, b)| format!("{a}={b}"))
            .collect();
        let expected = [
            "department=payments",
            "iss=https://i.example",
            "scope=a  b",
            "sub=ada",
        ];
        assert_eq!(tags, expected);
    }

    #[test]
    fn an_arn_is_an_entity_of_iam_without_its_session() {
        let role = "arn:aws:sts::123456789012:assumed-role/agents";
        let table = [
            (&*format!("{role}/s-1"), role, Some("s-1")),
            (role, role, None),
            (
                "arn:aws-us-gov:iam::123456789012:user/ada",
                "arn:aws-us-gov:iam::123456789012:user/ada",
                None,
            ),
        ];
        for (sent, subject, session) in table {
            let caller = asserted(&[("x-user", sent)]).unwrap().unwrap();
            let identity = caller.identity();
            assert_eq!(identity.principal, Principal::IamEntity, "{sent}");
            assert_eq!((&*identity.subject, &identity.issuer), (subject, &None));
            assert_eq!(identity.tags.get("session").map(|tag| &**tag), session);
        }
        for user in [
            "arn:aws:sts::12:assumed-role/agents/s",
            "arn:aws:s3:::bucket/key",
            "arn:aws:sts::123456789012:federated-user/x",
        ] {
            let caller = asserted(&[("x-user", user)]).unwrap().unwrap();
            assert_eq!(caller.principal(), Principal::OAuthUser, "{user}");
        }
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let (long, longer) = ("x".repeat(1025), "x".repeat(4097));
        let cases: [&[(&str, &str)]; 9] = [
            &[("x-user", "a"), ("x-user", "a")],
            &[("x-user", "")],
            &[("x-user", "  ")],
            &[("x-user", "ad\u{e4}")],
            &[("x-user", "a\tb")],
            &[("x-user", &long)],
            &[("x-user", "a"), ("x-scopes", "s"), ("x-scopes", "t")],
            &[("x-user", "a"), ("x-department", "")],
            &[("x-user", "a"), ("x-department", &longer)],
        ];
        for pairs in cases {
            let refusal = asserted(pairs).unwrap().unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Malformed, "{pairs:?}");
        }
        assert!(asserted(&[("x-scopes", "a")]).is_none(), "no subject");
    }

    #[test]
    fn a_workload_token_comes_from_the_platform_only_and_does_not_print_itself() {
        let add = |pairs: &[(&'static str, &str)], address: &str| {
            let caller = Caller::new(Identity::new(Principal::OAuthUser, "ada"));
            let address = Some(address.parse().unwrap());
            platform().add_workload_token(caller, &headers(pairs), address)
        };
        let token = |caller: &Caller| {
            let token = caller.identity().workload_token.as_ref();
            token.map(|token| token.expose().to_owned())
        };
        let older = ("workloadaccesstoken", "planted-1");
        let newer = ("x-amz-bedrock-agentcore-identity-wat", "planted-2");
        let caller = add(&[older, newer], HERE).unwrap();
        assert_eq!(token(&caller).as_deref(), Some("planted-2"));
        assert_eq!(caller.identity().subject.as_ref(), "ada");
        assert!(!format!("{caller:?}").contains("planted"));
        assert_eq!(token(&caller.without_token()), None);
        let caller = add(&[older], HERE).unwrap();
        assert_eq!(token(&caller).as_deref(), Some("planted-1"));
        assert_eq!(token(&add(&[older], "11.0.0.1").unwrap()), None);
        assert_eq!(token(&add(&[], HERE).unwrap()), None);
        let long = "x".repeat(8193);
        for pairs in [&[older, older][..], &[(older.0, "")], &[(older.0, &long)]] {
            let refusal = add(pairs, HERE).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Malformed, "{pairs:?}");
            assert!(!refusal.reason.contains("planted"));
        }
    }

    #[test]
    fn from_elsewhere_the_header_means_nothing() {
        let sent = headers(&[("x-user", "ada")]);
        let from = |address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            platform().authenticate(&sent, address).is_some()
        };
        assert!(from(Some("10.255.255.255")));
        assert!(from(Some("::ffff:10.0.0.1")), "IPv4 on a socket of IPv6");
        assert!(from(Some("::1")));
        for elsewhere in [
            None,
            Some("11.0.0.1"),
            Some("127.0.0.1"),
            Some("::2"),
            Some("::ffff:11.0.0.1"),
        ] {
            assert!(!from(elsewhere), "{elsewhere:?}");
        }
    }
}
