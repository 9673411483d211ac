//! The doors of the page: logins, cookies, and requests that come from elsewhere.

use super::*;
use crate::support::upstream::Upstream;
use crate::support::weir::ADMIN_TOKEN;

async fn over_jira(members: &str) -> (Upstream, Weir) {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = started(Weir::over([&jira]).state(), members).await;
    weir.wait_tools(["jira__search"]).await;
    (jira, weir)
}

#[tokio::test]
async fn a_login_with_the_token_opens_the_page_and_a_logout_closes_it() {
    let (_jira, weir) = over_jira("page: write").await;
    for (path, _) in VIEWS {
        let closed = get(&weir, path).await;
        assert_eq!(closed.status, 401, "{path}");
        closed.has("type=\"password\"");
        closed.has_not("jira");
    }
    let login = log_in(&weir, ADMIN_TOKEN).await;
    assert_eq!((login.status, login.header("location")), (303, "../"));
    let cookie = login.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(ADMIN_TOKEN), "{cookie}");
    let cookie = login.cookie();
    for (path, heading) in VIEWS {
        let open = get_as(&weir, &cookie, path).await;
        assert_eq!(open.status, 200, "{path}");
        open.has(&format!("<h2>{heading}</h2>"));
    }
    let left = post(&weir, &cookie, "/page/logout", "").await;
    assert_eq!(left.status, 303);
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    // Over TLS the cookie is of this host alone.
    let request = pool().post(weir.admin_url("/page/login"));
    let request = request.header("sec-fetch-site", "same-origin");
    let request = request.header("origin", "https://weir.example");
    let secure = send(request.body(format!("token={}", ADMIN_TOKEN.replace(' ', "+")))).await;
    let cookie = secure.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-weir=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn a_guessed_token_and_a_made_up_cookie_open_nothing_and_guessing_is_slow() {
    let (_jira, weir) = over_jira("page: write").await;
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let (name, value) = cookie.split_once('=').unwrap();
    let forged = value.replace(&value[..4], "AAAA");
    for wrong in [
        "",
        &format!("{name}={forged}"),
        &format!("{name}="),
        "weir-1=x",
    ] {
        assert_eq!(get_as(&weir, wrong, "/").await.status, 401, "{wrong}");
    }
    // One client, so that they are faster than time that comes back.
    let (client, mut statuses) = (pool(), Vec::new());
    for _ in 0..60 {
        let request = client.post(weir.admin_url("/page/login"));
        let guess = send(request.body("token=guess")).await;
        assert_eq!(guess.header("set-cookie"), "");
        statuses.push(guess.status);
    }
    assert_eq!(statuses[..8], [401; 8]);
    assert!(statuses.contains(&429), "{statuses:?}");
    // Those who are in stay in.
    assert_eq!(get_as(&weir, &cookie, "/").await.status, 200);
}

#[tokio::test]
async fn a_cookie_of_an_old_token_is_worth_nothing() {
    let (_jira, weir) = over_jira("page: read").await;
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    assert_eq!(get_as(&weir, &cookie, "/").await.status, 200);
    let weir = weir
        .restart_with(|home| {
            let file = home.join("weir.yaml");
            let yaml = fs::read_to_string(&file).unwrap();
            fs::write(&file, yaml.replace(ADMIN_TOKEN, "another one")).unwrap();
        })
        .await;
    assert_eq!(get_as(&weir, &cookie, "/").await.status, 401);
}

#[tokio::test]
async fn what_comes_from_another_site_or_under_another_name_is_refused() {
    let (jira, weir) = over_jira("page: write").await;
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let own = weir.admin_url("");
    let listed = jira.count("tools/list");
    let other_port = "http://127.0.0.1:1".to_owned();
    let evil = "https://evil.example".to_owned();
    let sites: [&[(&str, &str)]; 7] = [
        &[("origin", &evil)],
        &[("origin", "null")],
        &[("origin", &other_port)],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", &own)],
        &[("sec-fetch-site", "none")],
        &[("origin", &own), ("origin", &evil)],
    ];
    for headers in sites {
        for path in ["/page/resync?upstream=jira", "/page/login", "/page/logout"] {
            let mut request = pool().post(weir.admin_url(path)).header("cookie", &cookie);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = send(request).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(jira.count("tools/list"), listed);
    for host in [
        "evil.example",
        "127.0.0.1.evil.example:1",
        "localhost.evil.example",
    ] {
        let request = pool().get(weir.admin_url("/")).header("host", host);
        let answer = send(request.header("cookie", &cookie)).await;
        assert_eq!(answer.status, 403, "{host}");
        answer.has_not("jira");
    }
    // Scripts of another site may not read, whatever they know.
    let read = pool().get(weir.admin_url("/")).header("origin", &evil);
    let read = send(read.header("cookie", &cookie)).await;
    assert_eq!(read.status, 403);
    assert_eq!(read.header("access-control-allow-origin"), "");
    // Its own forms pass, with either header alone.
    for (name, value) in [("origin", own.as_str()), ("sec-fetch-site", "same-origin")] {
        let request = pool().post(weir.admin_url("/page/resync?upstream=jira"));
        let request = request.header("cookie", &cookie).header(name, value);
        let done = send(request).await;
        assert_eq!(
            (done.status, done.header("location")),
            (303, "../?done=listed")
        );
    }
    assert!(jira.count("tools/list") > listed);
}

#[tokio::test]
async fn every_answer_forbids_what_is_not_its_own() {
    let (_jira, weir) = over_jira("page: read, reading: open").await;
    let paths = VIEWS.map(|(path, _)| path);
    let more = [
        "/page/login",
        "/page/assets/htmx-4.0.1.min.js",
        "/page/assets/none.js",
    ];
    for path in paths.into_iter().chain(more) {
        let answer = get(&weir, path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        if !path.contains("assets") {
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            for forbidden in FORBIDDEN {
                assert!(!answer.text.contains(forbidden), "{path}: {forbidden}");
            }
            // No script but those of the page.
            let scripts = answer.text.matches("<script").count();
            assert_eq!(scripts, answer.text.matches("<script src=").count());
        }
    }
}

#[tokio::test]
async fn without_a_login_the_page_reads_where_reading_is_open_and_tells_nobodys_calls() {
    let (jira, weir) = over_jira("reading: open, page: write").await;
    let open = get(&weir, "/").await;
    assert_eq!(open.status, 200);
    open.has("jira");
    open.has_not("List jira now");
    let calls = get(&weir, "/page/calls").await;
    assert_eq!(calls.status, 200);
    calls.has("Log in");
    let listed = jira.count("tools/list");
    let refused = post(&weir, "", "/page/resync?upstream=jira", "").await;
    assert_eq!(refused.status, 401);
    assert_eq!(jira.count("tools/list"), listed);
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let known = get_as(&weir, &cookie, "/").await;
    known.has("List jira now");
}

#[tokio::test]
async fn a_page_that_reads_changes_nothing_and_one_that_is_off_is_not_there() {
    let (jira, weir) = over_jira("page: read").await;
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let listed = jira.count("tools/list");
    get_as(&weir, &cookie, "/").await.has_not("List jira now");
    for path in ["/page/resync?upstream=jira", "/page/reload"] {
        let refused = post(&weir, &cookie, path, "").await;
        assert_eq!(refused.status, 403, "{path}");
        refused.has("admin.page");
    }
    assert_eq!(jira.count("tools/list"), listed);
    // The cookie opens the page, not the API.
    let api = pool().post(weir.admin_url("/upstreams/jira/resync"));
    assert_eq!(send(api.header("cookie", &cookie)).await.status, 401);
    let weir = weir
        .restart_with(|home| {
            let file = home.join("weir.yaml");
            let yaml = fs::read_to_string(&file).unwrap();
            fs::write(&file, yaml.replace("page: read", "page: off")).unwrap();
        })
        .await;
    let request = pool().get(weir.admin_url("/")).bearer_auth(ADMIN_TOKEN);
    assert_eq!(send(request).await.status, 404);
}
