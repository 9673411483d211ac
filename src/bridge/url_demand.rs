//! URLs that a legacy upstream wants a person to visit before it runs a call: it refuses the call with
//! error -32042, and takes it again later (2025-11-25 `client/elicitation.mdx`). The modern era has no
//! such error: its clients are asked, and send the call again (2026-07-28 `client/elicitation.mdx`).

use crate::bridge::asks;
use crate::bridge::open_asks::to_result;
use crate::json::{self, Object};
use crate::protocol::method;

/// The most URLs of one refusal, and its bytes.
const MOST_URLS: usize = 64;
const LARGEST: usize = 256 * 1024;

/// The URLs of one refusal.
#[derive(Debug)]
pub struct UrlDemand {
    urls: Vec<DemandedUrl>,
}

#[derive(Debug)]
struct DemandedUrl {
    /// The name that the caller knows it by.
    key: String,
    /// `elicitationId`, by which the upstream says that a person is done there.
    id: String,
    url: String,
    /// Method and params, as JSON text.
    embedded: String,
    is_accepted: bool,
    is_complete: bool,
}

/// The next step after the caller's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemandStep {
    /// Some are not answered: they are asked again.
    Ask,
    /// The person is on the way: the call is sent again soon.
    Again,
    /// The person does not want to.
    Declined,
}

impl UrlDemand {
    /// Reads the error of a response; `None` if it demands no URL.
    #[must_use]
    pub fn read(error: &str) -> Option<Self> {
        let error = Object::parse(error).ok()?;
        if error.get("code") != Some("-32042") {
            return None;
        }
        let data = error.get("data").filter(|data| data.len() <= LARGEST)?;
        let data = Object::parse(data).ok()?;
        let listed = json::array_up_to(data.get("elicitations")?, MOST_URLS).ok()?;
        let urls = listed.into_iter().enumerate();
        let urls: Option<Vec<_>> = urls.map(|(at, text)| DemandedUrl::read(at, text)).collect();
        let urls = urls.filter(|urls| !urls.is_empty())?;
        Some(Self { urls })
    }

    /// Returns whether it demands the same URLs as another.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (own, others) = (self.urls.iter(), other.urls.iter());
        own.map(|one| &one.url).eq(others.map(|one| &one.url))
    }

    /// Returns the result that asks the caller to have the rest visited.
    #[must_use]
    pub fn to_result(&self, state: &str) -> String {
        let open = self.open().map(|url| (&*url.key, &*url.embedded));
        to_result(open, state)
    }

    /// Returns the names of those that are not answered.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.open().map(|url| url.key.clone()).collect()
    }

    fn open(&self) -> impl Iterator<Item = &DemandedUrl> {
        self.urls.iter().filter(|url| !url.is_accepted)
    }

    /// Returns whether some are not answered.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open().next().is_some()
    }

    /// Takes the caller's answers (`inputResponses`, as JSON text).
    pub fn answer(&mut self, answers: &str) -> DemandStep {
        let answers = Object::parse(answers).unwrap_or_default();
        for url in &mut self.urls {
            let Some(Ok(answer)) = answers.value(&url.key).map(Object::parse) else {
                continue;
            };
            if !asks::is_accepted(&answer) {
                return DemandStep::Declined;
            }
            url.is_accepted = true;
        }
        match self.is_open() {
            true => DemandStep::Ask,
            false => DemandStep::Again,
        }
    }

    /// Notes that a person is done with the elicitation of this id. Returns whether all are done.
    pub fn complete(&mut self, id: &str) -> bool {
        let done = self.urls.iter_mut().find(|url| url.id == id);
        let Some(done) = done else {
            return false;
        };
        done.is_complete = true;
        self.is_complete()
    }

    /// Returns whether a person is done with all of them.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.urls.iter().all(|url| url.is_complete)
    }
}

impl DemandedUrl {
    fn read(at: usize, text: &str) -> Option<Self> {
        let mut params = Object::parse(text).ok()?;
        let text = |params: &Object<'_>, key| params.string(key).map(std::borrow::Cow::into_owned);
        let id = text(&params, "elicitationId").unwrap_or_default();
        let url = text(&params, "url")?;
        asks::strip(&mut params);
        if !params.contains("mode") {
            params.set("mode", "\"url\"");
        }
        let (asked, params) = (method::ELICIT, params.to_text());
        Some(Self {
            key: format!("url-{}", at + 1),
            id,
            url,
            embedded: format!("{{\"method\":\"{asked}\",\"params\":{params}}}"),
            is_accepted: false,
            is_complete: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{"code":-32042,"message":"visit","data":{"elicitations":[{"mode":"url","elicitationId":"a","url":"https://a","message":"\u0041"},{"elicitationId":"b","url":"https://b"}]}}"#;

    #[test]
    fn the_urls_of_a_refusal_are_asked_without_their_ids() {
        let demand = UrlDemand::read(TWO).unwrap();
        assert_eq!(demand.keys(), ["url-1", "url-2"]);
        assert_eq!(
            demand.to_result("s"),
            r#"{"resultType":"input_required","inputRequests":{"url-1":{"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"\u0041"}},"url-2":{"method":"elicitation/create","params":{"url":"https://b","mode":"url"}}},"requestState":"s"}"#
        );
    }

    #[test]
    fn no_other_error_demands_a_url() {
        for error in [
            r#"{"code":-32603,"data":{"elicitations":[{"url":"https://a"}]}}"#,
            r#"{"code":-32042}"#,
            r#"{"code":-32042,"data":{"elicitations":[]}}"#,
            r#"{"code":-32042,"data":{"elicitations":[{"mode":"url"}]}}"#,
            r#"{"code":-32042,"data":{"elicitations":[7]}}"#,
            "[]",
        ] {
            assert!(UrlDemand::read(error).is_none(), "{error}");
        }
    }

    #[test]
    fn the_call_is_sent_again_once_all_are_accepted() {
        let mut demand = UrlDemand::read(TWO).unwrap();
        let yes = r#"{"action":"accept"}"#;
        assert_eq!(
            demand.answer(&format!(r#"{{"url-1":{yes},"x":7}}"#)),
            DemandStep::Ask
        );
        assert_eq!(demand.keys(), ["url-2"]);
        assert_eq!(
            demand.answer(&format!(r#"{{"url-2":{yes}}}"#)),
            DemandStep::Again
        );
        assert!(!demand.is_open());
        for no in [r#"{"action":"decline"}"#, r#"{"action":"cancel"}"#, "{}"] {
            let mut demand = UrlDemand::read(TWO).unwrap();
            let answers = format!(r#"{{"url-1":{yes},"url-2":{no}}}"#);
            assert_eq!(demand.answer(&answers), DemandStep::Declined);
        }
    }

    #[test]
    fn it_is_complete_when_all_are() {
        let mut demand = UrlDemand::read(TWO).unwrap();
        assert!(!demand.complete("x") && !demand.complete("a") && !demand.complete("a"));
        assert!(demand.complete("b"));
        let other = TWO.replace("https://b", "https://c");
        assert!(demand.is_same(&UrlDemand::read(TWO).unwrap()));
        assert!(!demand.is_same(&UrlDemand::read(&other).unwrap()));
    }
}
