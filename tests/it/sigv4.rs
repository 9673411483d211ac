//! Signatures: those that two other signers make, and a door that recomputes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use url::Url;
use weir::credentials::aws::sign::{SigningContext, sign};
use weir::sigv4::{ReceivedRequest, SignatureError, Verifier};

struct Vector(Value);

/// The vectors, all of them.
fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("vectors/sigv4.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 14);
    vectors.iter().cloned().map(Vector).collect()
}

impl Vector {
    fn text(&self, key: &str) -> &str {
        let value = self.0[key].as_str();
        value.unwrap_or_else(|| panic!("{key} of {}", self.0))
    }

    fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0["epoch"].as_u64().unwrap())
    }

    fn url(&self) -> Url {
        self.text("url").parse().unwrap()
    }

    fn token(&self) -> Option<String> {
        self.0["session_token"].as_str().map(str::to_owned)
    }

    /// The headers that weir's signer leaves.
    fn signed(&self) -> HeaderMap {
        let given = self.0["headers"].as_object().unwrap().iter();
        let given = given.map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (
                name,
                HeaderValue::from_str(value.as_str().unwrap()).unwrap(),
            )
        });
        let mut headers = HeaderMap::from_iter(given);
        let identity = Credentials::new(
            self.text("access_key_id"),
            self.text("secret_access_key"),
            self.token(),
            None,
            "test",
        );
        let scope = SigningContext {
            identity: &identity.into(),
            region: self.text("region"),
            service: self.text("service"),
            time: self.time(),
        };
        let method: Method = self.text("method").parse().unwrap();
        let body = self.text("body").as_bytes();
        sign(&scope, &method, &self.url(), &mut headers, body).unwrap();
        headers
    }

    fn verifier(&self) -> Verifier {
        Verifier {
            access_key_id: self.text("access_key_id").to_owned(),
            secret_access_key: self.text("secret_access_key").to_owned(),
            session_token: self.token(),
            region: self.text("region").to_owned(),
            service: self.text("service").to_owned(),
        }
    }
}

fn host(url: &Url) -> HeaderValue {
    url[url::Position::BeforeHost..url::Position::AfterPort]
        .parse()
        .unwrap()
}

fn target(url: &Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

#[test]
fn every_signature_is_the_one_that_botocore_makes() {
    for vector in vectors() {
        let name = vector.text("name");
        let signed = vector.signed();
        assert_eq!(
            signed["authorization"],
            vector.text("authorization"),
            "{name}"
        );
        assert_eq!(signed["x-amz-date"], vector.text("date"), "{name}");
        let token = signed.get("x-amz-security-token");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        assert_eq!(token, vector.token(), "{name}");
        let added = 2 + usize::from(token.is_some());
        let given = vector.0["headers"].as_object().unwrap().len();
        assert_eq!(signed.len(), given + added, "{name}");
    }
}

#[test]
fn the_door_lets_each_of_them_in_and_none_that_was_changed() {
    for vector in vectors() {
        let (name, url, door) = (vector.text("name"), vector.url(), vector.verifier());
        let mut headers = vector.signed();
        headers.insert("host", host(&url));
        let (target, body) = (target(&url), vector.text("body").as_bytes());
        let method = vector.text("method");
        let arrived = |target: &str, headers: &HeaderMap, body: &[u8]| {
            let arrived = ReceivedRequest {
                method,
                target,
                headers,
                body,
            };
            door.verify(&arrived, vector.time() + Duration::from_secs(299))
        };
        assert_eq!(arrived(&target, &headers, body), Ok(()), "{name}");

        let mut other = body.to_vec();
        other.push(b' ');
        let changed = Err(SignatureError::Mismatch);
        assert_eq!(arrived(&target, &headers, &other), changed, "{name}");
        let other = target.replacen('/', "/x", 1);
        assert_eq!(arrived(&other, &headers, body), changed, "{name}");
        let mut other = headers.clone();
        other.insert("host", "elsewhere".parse().unwrap());
        assert_eq!(arrived(&target, &other, body), changed, "{name}");
        let mut other = headers.clone();
        other.insert("traceparent", "00-1-1-00".parse().unwrap());
        assert_eq!(arrived(&target, &other, body), Ok(()), "{name}");
        other.insert("x-amz-more", "1".parse().unwrap());
        let unsigned = Err(SignatureError::Unsigned);
        assert_eq!(arrived(&target, &other, body), unsigned, "{name}");

        let arrived = ReceivedRequest {
            method,
            target: &target,
            headers: &headers,
            body,
        };
        let minutes = Duration::from_secs(301);
        let late = door.verify(&arrived, vector.time() + minutes);
        assert_eq!(late, Err(SignatureError::Expired), "{name}");
        let early = door.verify(&arrived, vector.time() - minutes);
        assert_eq!(early, Err(SignatureError::NotYet), "{name}");
        let mut other = door.clone();
        other.secret_access_key.push('x');
        let stranger = other.verify(&arrived, vector.time());
        assert_eq!(stranger, changed, "{name}");
    }
}
