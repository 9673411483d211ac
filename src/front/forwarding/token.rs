//! The tokens of forwarded requests: they prove that a replica forwards, for whom, and what.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::HashMap;
use http::HeaderValue;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Identity, Principal};
use crate::replicas::ReplicaTag;
use crate::seal::{KeyRing, NoRandom, Sealer, random};

/// The purpose that tokens are sealed for.
const PURPOSE: &str = "forwarded request";
/// How long a token is good. The clocks of replicas may differ by less than that.
const LIVES: Duration = Duration::from_secs(30);
/// The most bytes of a token: a quarter of what a header may have is left to the rest of it. Claims of a
/// caller make most of them.
const MOST_BYTES: usize = 48 << 10;
/// The most tokens that are known as used. Each is known until it has expired.
const MOST_USED: usize = 4096;

/// Makes tokens for other replicas, and takes theirs.
#[derive(Debug)]
pub(super) struct ForwardTokens {
    sealer: Sealer,
    own: ReplicaTag,
    used: Mutex<UsedState>,
}

/// The tokens that were used, and when they expire, in milliseconds since 1970.
type UsedState = HashMap<[u8; 16], u64>;

/// The content of a token.
#[derive(Debug, Serialize, Deserialize)]
struct TokenContent {
    /// The replica that it is for; none for what all are told.
    target: Option<u32>,
    /// In milliseconds since 1970.
    expires: u64,
    /// Makes it good for one use.
    nonce: [u8; 16],
    /// SHA-256 of the body.
    body: [u8; 32],
    /// The address that the caller connected from.
    address: Option<IpAddr>,
    caller: SealedCaller,
}

/// A caller, but for its tokens.
#[derive(Debug, Serialize, Deserialize)]
struct SealedCaller {
    principal: String,
    subject: Box<str>,
    issuer: Option<Box<str>>,
    client: Option<Box<str>>,
    scopes: Vec<Box<str>>,
    tags: BTreeMap<Box<str>, Box<str>>,
    /// In milliseconds since 1970.
    expires: Option<u64>,
}

/// The words of another replica about a request that it forwards.
#[derive(Debug)]
pub(in crate::front) struct ForwardedRequest {
    /// Its caller, whom the other replica has authenticated.
    pub(in crate::front) caller: Caller,
    /// The address that the caller connected from.
    pub(in crate::front) address: Option<IpAddr>,
    body: [u8; 32],
}

/// Why a forwarded request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) enum ForwardRefusal {
    /// No replica made its token, or it has expired or was used.
    Invalid,
    /// It is for another replica.
    Misdirected,
}

impl ForwardedRequest {
    /// Returns whether the token was made for this body.
    pub(in crate::front) fn is_of(&self, body: &[u8]) -> bool {
        self.body == digest_of(body)
    }
}

impl ForwardTokens {
    /// Makes the tokens of this replica.
    ///
    /// # Errors
    /// The keys cannot be derived.
    pub(super) fn new(keys: &KeyRing, own: ReplicaTag) -> Result<Self, NoRandom> {
        Ok(Self {
            sealer: keys.sealer(PURPOSE).ok_or(NoRandom)?,
            own,
            used: Mutex::default(),
        })
    }

    /// Makes a token for a replica, or for all of them, that forwards a body for a caller. Returns `None`
    /// if it would be too long, or there are no random numbers.
    pub(super) fn make(
        &self,
        target: Option<ReplicaTag>,
        (caller, address): (&Caller, Option<IpAddr>),
        body: &[u8],
    ) -> Option<HeaderValue> {
        let content = TokenContent {
            target: target.map(u32::from),
            expires: milliseconds(SystemTime::now() + LIVES),
            nonce: random().ok()?,
            body: digest_of(body),
            address,
            caller: SealedCaller::of(caller.identity()),
        };
        let sealed = self.sealer.seal(&serde_json::to_vec(&content).ok()?).ok()?;
        let token = HeaderValue::try_from(sealed).ok();
        token.filter(|token| token.len() <= MOST_BYTES)
    }

    /// Takes the token of another replica. From then on it is used.
    ///
    /// # Errors
    /// It is not good, or not for this replica, which may take it then.
    pub(super) fn take(&self, token: &[u8]) -> Result<ForwardedRequest, ForwardRefusal> {
        let text = std::str::from_utf8(token).ok();
        let opened = text.and_then(|text| self.sealer.open(text));
        let content = opened.and_then(|plain| serde_json::from_slice::<TokenContent>(&plain).ok());
        let content = content.ok_or(ForwardRefusal::Invalid)?;
        let now = milliseconds(SystemTime::now());
        if content.expires <= now {
            return Err(ForwardRefusal::Invalid);
        }
        let own = u32::from(self.own);
        if content.target.is_some_and(|target| target != own) {
            return Err(ForwardRefusal::Misdirected);
        }
        let caller = content.caller.into_caller();
        let caller = caller.ok_or(ForwardRefusal::Invalid)?;
        self.use_up(content.nonce, content.expires, now)?;
        Ok(ForwardedRequest {
            caller,
            address: content.address,
            body: content.body,
        })
    }

    /// Notes that a token is used.
    ///
    /// # Errors
    /// It was before, or too many are known.
    fn use_up(&self, nonce: [u8; 16], expires: u64, now: u64) -> Result<(), ForwardRefusal> {
        let mut used = self.used.lock();
        if used.len() >= MOST_USED {
            used.retain(|_, expires| *expires > now);
        }
        if used.len() >= MOST_USED || used.insert(nonce, expires).is_some() {
            return Err(ForwardRefusal::Invalid);
        }
        Ok(())
    }
}

impl SealedCaller {
    fn of(identity: &Identity) -> Self {
        Self {
            principal: identity.principal.as_str().to_owned(),
            subject: identity.subject.clone(),
            issuer: identity.issuer.clone(),
            client: identity.client.clone(),
            scopes: identity.scopes.to_vec(),
            tags: identity.tags.clone(),
            expires: identity.expires.map(milliseconds),
        }
    }

    fn into_caller(self) -> Option<Caller> {
        let expires = self.expires.map(Duration::from_millis);
        Some(Caller::new(Identity {
            principal: Principal::parse(&self.principal)?,
            subject: self.subject,
            issuer: self.issuer,
            client: self.client,
            scopes: self.scopes.into(),
            tags: self.tags,
            expires: expires.map(|since| UNIX_EPOCH + since),
            token: None,
            workload_token: None,
        }))
    }
}

fn digest_of(body: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest(&SHA256, body).as_ref()) {
        *to = *from;
    }
    bytes
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::ReplicaId;
    use crate::secret::Secret;

    fn tag(of: u8) -> ReplicaTag {
        ReplicaId::from_bytes([of; 16]).tag()
    }

    fn tokens(key: &str, of: u8) -> ForwardTokens {
        ForwardTokens::new(&KeyRing::from_texts([key]).unwrap(), tag(of)).unwrap()
    }

    fn user() -> Caller {
        let tag = |name: &str, text: &str| (Box::from(name), Box::from(text));
        Caller::new(Identity {
            issuer: Some("https://issuer".into()),
            client: Some("c".into()),
            scopes: Box::new(["a".into(), "b".into()]),
            tags: [tag("groups", "[\"x\"]"), tag("sub", "me")].into(),
            expires: Some(UNIX_EPOCH + Duration::from_millis(1 << 42)),
            token: Some(Secret::new("planted-token")),
            ..Identity::new(Principal::OAuthUser, "me")
        })
    }

    fn make(from: &ForwardTokens, target: Option<u8>, body: &[u8]) -> HeaderValue {
        from.make(target.map(tag), (&user(), None), body).unwrap()
    }

    #[test]
    fn a_token_says_who_the_caller_is_and_has_no_token_of_the_caller() {
        let (one, two) = (tokens("k", 1), tokens("k", 2));
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        let token = one.make(Some(tag(2)), (&user(), address), b"body").unwrap();
        let plain = one.sealer.open(token.to_str().unwrap()).unwrap();
        assert!(!String::from_utf8(plain).unwrap().contains("planted"));
        let taken = two.take(token.as_bytes()).unwrap();
        assert_eq!(taken.address, address);
        assert_eq!(taken.caller.key(), user().key());
        assert_eq!(taken.caller.digest(), user().digest());
        assert_eq!(taken.caller.identity().expires, user().identity().expires);
        assert_eq!(taken.caller.identity().scopes, user().identity().scopes);
        assert!(taken.is_of(b"body") && !taken.is_of(b"another body"));
    }

    #[test]
    fn a_token_is_good_once_and_where_it_is_meant_to_go() {
        let (one, two, three) = (tokens("k", 1), tokens("k", 2), tokens("k", 3));
        let token = make(&one, Some(2), b"");
        let refused = |tokens: &ForwardTokens, token: &[u8]| tokens.take(token).err();
        assert_eq!(
            refused(&three, token.as_bytes()),
            Some(ForwardRefusal::Misdirected)
        );
        assert_eq!(refused(&two, token.as_bytes()), None);
        assert_eq!(
            refused(&two, token.as_bytes()),
            Some(ForwardRefusal::Invalid)
        );
        // A token for all of them is good once for each.
        let all = make(&one, None, b"");
        for tokens in [&two, &three] {
            assert_eq!(refused(tokens, all.as_bytes()), None);
            assert_eq!(
                refused(tokens, all.as_bytes()),
                Some(ForwardRefusal::Invalid)
            );
        }
    }

    #[test]
    fn nobody_else_can_make_a_token() {
        let (stranger, two) = (tokens("other", 1), tokens("k", 2));
        let forged = make(&stranger, Some(2), b"");
        let sealed = |purpose: &str, text: &str| {
            let keys = KeyRing::from_texts(["k"]).unwrap();
            let sealer = keys.sealer(purpose).unwrap();
            HeaderValue::try_from(sealer.seal(text.as_bytes()).unwrap()).unwrap()
        };
        let nonsense = [
            forged,
            sealed("session", "{}"),
            sealed(PURPOSE, "{}"),
            HeaderValue::from_static("x"),
            HeaderValue::from_static(""),
            HeaderValue::from_bytes(&[0xff]).unwrap(),
        ];
        for token in nonsense {
            let refusal = two.take(token.as_bytes()).unwrap_err();
            assert_eq!(refusal, ForwardRefusal::Invalid);
        }
    }

    #[test]
    fn a_token_expires_and_is_forgotten_then() {
        let tokens = tokens("k", 1);
        let now = milliseconds(SystemTime::now());
        let content = TokenContent {
            target: None,
            expires: now - 1,
            nonce: [0; 16],
            body: [0; 32],
            address: None,
            caller: SealedCaller::of(user().identity()),
        };
        let plain = serde_json::to_vec(&content).unwrap();
        let expired = tokens.sealer.seal(&plain).unwrap();
        assert_eq!(
            tokens.take(expired.as_bytes()).unwrap_err(),
            ForwardRefusal::Invalid
        );
        let nonce = |number: usize| (number as u128).to_be_bytes();
        for number in 0..MOST_USED {
            tokens.use_up(nonce(number), now + 10, now).unwrap();
        }
        let more = tokens.use_up(nonce(MOST_USED), now + 10, now);
        assert_eq!(more, Err(ForwardRefusal::Invalid));
        assert_eq!(tokens.use_up(nonce(0), now + 99, now + 10), Ok(()));
        assert_eq!(tokens.used.lock().len(), 1);
    }

    #[test]
    fn a_caller_with_very_many_claims_is_not_forwarded() {
        let caller = Caller::new(Identity {
            tags: [("x".into(), "x".repeat(MOST_BYTES).into())].into(),
            ..Identity::new(Principal::OAuthUser, "me")
        });
        assert!(tokens("k", 1).make(None, (&caller, None), b"").is_none());
    }
}
