//! The sender of a request: the identity that it proved, and the program that it says it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::SystemTime;

use ring::digest::{Context, SHA256};

use crate::seal::MarkKeys;
use crate::secret::Secret;

/// The kind of an identity, which says how it was proved. Kinds are namespaces: the same subject of
/// two kinds is two principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A caller that proved no identity.
    Anonymous,
    /// The client on stdio, or a command of this process: the user who started weir.
    Local,
    /// A JSON Web Token of an issuer (RFC 9068).
    OAuthUser,
    /// An AWS role or user, asserted by the platform in front.
    IamEntity,
    /// An API key of `listen.auth.api_keys`.
    ApiKey,
    /// A client certificate (RFC 8705).
    Workload,
}

/// Tells principals apart: equal for the same kind, issuer, subject and client, and for nothing
/// else. What belongs to a caller is bound to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalKey([u8; 16]);

/// An identity and what is known of it.
#[derive(Debug)]
pub struct Identity {
    /// How it was proved.
    pub principal: Principal,
    /// The subject within its kind and issuer: `sub`, a key's subject, a SPIFFE id, an ARN. Empty
    /// for an anonymous caller.
    pub subject: Box<str>,
    /// `iss` of the token.
    pub issuer: Option<Box<str>>,
    /// The OAuth client that the token was issued to: the first of `client_id`, `azp`, `appid` and
    /// `cid`.
    pub client: Option<Box<str>>,
    /// The scopes that were granted (RFC 6749 §3.3).
    pub scopes: Box<[Box<str>]>,
    /// The claims as policies read them: text as it is, numbers and booleans as text, all else as
    /// compact JSON, members of objects also under dotted paths.
    pub tags: BTreeMap<Box<str>, Box<str>>,
    /// When what proved the identity ends to be valid.
    pub expires: Option<SystemTime>,
    /// The token that proved it, for an exchange on behalf of the caller (RFC 8693). It is sent to
    /// nobody else.
    pub token: Option<Secret>,
    /// The workload access token that AgentCore Runtime sent with the request: AgentCore Identity takes
    /// it for one of weir acting for the caller. It is sent to nobody else.
    pub workload_token: Option<Secret>,
}

/// The sender of a request. Clones are cheap.
///
/// The agent is what a client says of itself. Nothing is decided by it.
#[derive(Clone, Debug)]
pub struct Caller {
    known: Arc<Known>,
    agent: Option<Arc<str>>,
    /// The keys that bind handles to it.
    marks: Option<Arc<MarkKeys>>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    key: PrincipalKey,
    /// Computed when somebody asks for it.
    digest: OnceLock<IdentityDigest>,
}

/// Tells identities apart with all their claims: two tokens of one principal that say different
/// things have different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityDigest([u8; 16]);

impl Principal {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Anonymous,
        Self::Local,
        Self::OAuthUser,
        Self::IamEntity,
        Self::ApiKey,
        Self::Workload,
    ];

    /// Returns the word for the kind, as configs and records have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Local => "local",
            Self::OAuthUser => "oauth_user",
            Self::IamEntity => "iam_entity",
            Self::ApiKey => "api_key",
            Self::Workload => "workload",
        }
    }

    /// Returns the kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl Identity {
    /// Makes an identity of a kind of which nothing but the subject is known.
    #[must_use]
    pub fn new(principal: Principal, subject: &str) -> Self {
        Self {
            principal,
            subject: subject.into(),
            issuer: None,
            client: None,
            scopes: Box::default(),
            tags: BTreeMap::new(),
            expires: None,
            token: None,
            workload_token: None,
        }
    }

    /// Returns the same without the tokens.
    fn without_tokens(&self) -> Self {
        let Self {
            principal,
            ref subject,
            ref issuer,
            ref client,
            ref scopes,
            ref tags,
            expires,
            token: _,
            workload_token: _,
        } = *self;
        Self {
            principal,
            subject: subject.clone(),
            issuer: issuer.clone(),
            client: client.clone(),
            scopes: scopes.clone(),
            tags: tags.clone(),
            expires,
            token: None,
            workload_token: None,
        }
    }

    /// Returns the key of the principal.
    fn key(&self) -> PrincipalKey {
        let parts = [
            Some(self.principal.as_str()),
            self.issuer.as_deref(),
            Some(&*self.subject),
            self.client.as_deref(),
        ];
        PrincipalKey(digest_of(parts))
    }

    /// Returns the digest of all that policies read of it.
    fn digest(&self) -> IdentityDigest {
        let key = self.key().0.map(char::from).iter().collect::<String>();
        let tags = self.tags.iter();
        let tags = tags.flat_map(|(name, text)| [Some(&**name), Some(&**text)]);
        IdentityDigest(digest_of(std::iter::once(Some(&*key)).chain(tags)))
    }
}

/// Returns a digest that no two lists of parts share.
fn digest_of<'p>(parts: impl IntoIterator<Item = Option<&'p str>>) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        // The length goes before each part, so that no two lists of parts are the same bytes.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        digest.update(&length.to_be_bytes());
        digest.update(part.unwrap_or_default().as_bytes());
    }
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    key
}

impl Caller {
    /// Makes the caller with this identity.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let key = identity.key();
        Self {
            known: Arc::new(Known {
                identity,
                key,
                digest: OnceLock::new(),
            }),
            agent: None,
            marks: None,
        }
    }

    /// Returns the caller that proved no identity.
    #[must_use]
    pub fn anonymous() -> Self {
        static ANONYMOUS: LazyLock<Caller> =
            LazyLock::new(|| Caller::new(Identity::new(Principal::Anonymous, "")));
        ANONYMOUS.clone()
    }

    /// Returns the caller that is the user who started weir.
    #[must_use]
    pub fn local() -> Self {
        static LOCAL: LazyLock<Caller> =
            LazyLock::new(|| Caller::new(Identity::new(Principal::Local, "local")));
        LOCAL.clone()
    }

    /// Returns the caller for whom operators call tools.
    #[must_use]
    pub fn operator() -> Self {
        static OPERATOR: LazyLock<Caller> =
            LazyLock::new(|| Caller::new(Identity::new(Principal::Local, "operator")));
        OPERATOR.clone()
    }

    /// Adds what the client says of itself, for records: name and version.
    #[must_use]
    pub fn with_agent(self, agent: Option<Arc<str>>) -> Self {
        Self { agent, ..self }
    }

    /// Returns the caller without its tokens, to be kept for longer than they are.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self::new(self.known.identity.without_tokens())
    }

    /// Returns the caller with the workload access token of its request.
    #[must_use]
    pub fn with_workload_token(self, workload_token: Secret) -> Self {
        let identity = &self.known.identity;
        let known = Self::new(Identity {
            token: identity.token.clone(),
            workload_token: Some(workload_token),
            ..identity.without_tokens()
        });
        Self {
            known: known.known,
            ..self
        }
    }

    /// Adds the keys that bind handles to the caller, see [`Caller::bind`].
    #[must_use]
    pub fn with_marks(self, keys: &Arc<MarkKeys>) -> Self {
        let marks = Some(Arc::clone(keys));
        Self { marks, ..self }
    }

    /// Returns the keys that bind handles to the caller.
    pub(super) fn mark_keys(&self) -> Option<&MarkKeys> {
        self.marks.as_deref()
    }

    /// Returns the identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.known.identity
    }

    /// Returns the kind of the identity.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.known.identity.principal
    }

    /// Returns the key of the principal.
    #[must_use]
    pub fn key(&self) -> PrincipalKey {
        self.known.key
    }

    /// Returns the digest of all that policies read of the caller.
    #[must_use]
    pub fn digest(&self) -> IdentityDigest {
        let known = &self.known;
        *known.digest.get_or_init(|| known.identity.digest())
    }

    /// Returns the key that what belongs to the caller is bound to; `None` for a caller that proved
    /// no identity, and for the user who started weir, who is alone.
    #[must_use]
    pub fn owner(&self) -> Option<PrincipalKey> {
        match self.principal() {
            Principal::Anonymous | Principal::Local => None,
            Principal::OAuthUser
            | Principal::IamEntity
            | Principal::ApiKey
            | Principal::Workload => Some(self.known.key),
        }
    }

    /// Returns the name under which the caller is logged; `None` for an anonymous one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self.principal() {
            Principal::Anonymous => None,
            Principal::Local
            | Principal::OAuthUser
            | Principal::IamEntity
            | Principal::ApiKey
            | Principal::Workload => Some(&self.known.identity.subject),
        }
    }

    /// Returns what the client says of itself. Nobody has verified it.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }
}

impl PrincipalKey {
    /// Returns the bytes, for what is sealed for the principal.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }

    /// Makes the key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// Prints nothing of the subject: the key of a few known subjects could be guessed from it.
impl fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(issuer: &str, subject: &str, client: Option<&str>) -> Caller {
        Caller::new(Identity {
            issuer: Some(issuer.into()),
            client: client.map(Box::from),
            ..Identity::new(Principal::OAuthUser, subject)
        })
    }

    #[test]
    fn principals_are_told_apart_by_kind_issuer_subject_and_client() {
        let one = user("https://a", "s", Some("c"));
        assert_eq!(one.key(), user("https://a", "s", Some("c")).key());
        for other in [
            user("https://as", "", Some("c")),
            user("https://a", "s", None),
            user("https://a", "s", Some("")),
            user("https://a", "sc", Some("")),
            user("https://b", "s", Some("c")),
            Caller::new(Identity::new(Principal::ApiKey, "s")),
            Caller::anonymous(),
            Caller::local(),
        ] {
            assert_ne!(one.key(), other.key(), "{other:?}");
        }
    }

    #[test]
    fn identities_are_told_apart_by_their_claims_too() {
        let with = |tags: &[(&str, &str)]| {
            let tags = tags
                .iter()
                .map(|(name, text)| ((*name).into(), (*text).into()));
            let identity = Identity::new(Principal::OAuthUser, "s");
            let tags = tags.collect();
            Caller::new(Identity { tags, ..identity }).digest()
        };
        assert_eq!(with(&[("a", "b")]), with(&[("a", "b")]));
        assert_ne!(with(&[("a", "b")]), with(&[("a", "c")]));
        assert_ne!(with(&[("a", "b")]), with(&[]));
        assert_ne!(with(&[]), user("i", "s", None).digest());
    }

    #[test]
    fn the_token_of_a_caller_is_not_printed() {
        let caller = Caller::new(Identity {
            token: Some(Secret::new("planted-token")),
            ..Identity::new(Principal::OAuthUser, "s")
        });
        assert!(!format!("{caller:?}").contains("planted"));
    }
}
