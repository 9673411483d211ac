//! The page for operators: what it shows, what it lets through, and who may do what there.

mod doors;
mod trials;
mod views;

use std::fs;
use std::time::Duration;

use crate::support::bounded;
use crate::support::client::pool;
use crate::support::weir::{Builder, Weir};

/// The views, by path and heading.
const VIEWS: [(&str, &str); 9] = [
    ("/", "Upstreams"),
    ("/page/catalog", "Catalog"),
    ("/page/drift", "Drift"),
    ("/page/plan", "Plan"),
    ("/page/events", "Events"),
    ("/page/calls", "Calls"),
    ("/page/callers", "Callers"),
    ("/page/explain?name=jira__search", "Explain"),
    ("/page/try", "Try a tool"),
];

/// Attributes that would evaluate something, or need a weaker policy.
const FORBIDDEN: [&str; 7] = [
    " style=",
    " onclick",
    " onload",
    " onerror=",
    "hx-on",
    "hx-vals",
    "javascript:",
];

/// Starts a weir whose `admin` has these members besides address and token.
async fn started(builder: Builder, members: &str) -> Weir {
    let change = |yaml: &str| yaml.replace("reading: open }", &format!("{members} }}"));
    let builder = builder.unwatched();
    builder
        .start_in(|home, yaml| fs::write(home.join("weir.yaml"), change(yaml)).unwrap())
        .await
}

/// An answer of the page.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The name and value of the cookie that it sets.
    fn cookie(&self) -> String {
        let cookie = self.header("set-cookie");
        cookie.split(';').next().unwrap().to_owned()
    }

    #[track_caller]
    fn has(&self, part: &str) {
        assert!(self.text.contains(part), "no {part} in {}", self.text);
    }

    #[track_caller]
    fn has_not(&self, part: &str) {
        assert!(!self.text.contains(part), "{part} in {}", self.text);
    }
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = bounded("an answer", request.send()).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = bounded("a body", answer.text()).await.unwrap();
    Answer {
        status,
        headers,
        text,
    }
}

async fn get(weir: &Weir, path: &str) -> Answer {
    send(pool().get(weir.admin_url(path))).await
}

/// Gets with the cookie of a login.
async fn get_as(weir: &Weir, cookie: &str, path: &str) -> Answer {
    send(pool().get(weir.admin_url(path)).header("cookie", cookie)).await
}

/// Posts a form, as a browser does from a page of the same origin.
async fn post(weir: &Weir, cookie: &str, path: &str, form: &str) -> Answer {
    let origin = weir.admin_url("");
    let request = pool().post(weir.admin_url(path)).header("origin", origin);
    let request = request.header("sec-fetch-site", "same-origin");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    send(request.header("cookie", cookie).body(form.to_owned())).await
}

/// Logs in, and returns the cookie.
async fn log_in(weir: &Weir, token: &str) -> Answer {
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    post(weir, "", "/page/login", &format!("token={token}")).await
}

/// Waits until a view has a text.
async fn wait_for(weir: &Weir, cookie: &str, path: &str, part: &str) -> Answer {
    let mut last = String::new();
    let wait = async {
        loop {
            let answer = get_as(weir, cookie, path).await;
            if answer.text.contains(part) {
                return answer;
            }
            last = answer.text;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(crate::support::BOUND, wait).await {
        Ok(answer) => answer,
        Err(_) => panic!("{path} never had `{part}`: {last}"),
    }
}
