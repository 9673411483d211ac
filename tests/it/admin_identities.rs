//! The admin listener takes the identities of `listen.auth`, in the roles that `admin.auth` gives them.

use std::fs;
use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::bounded;
use crate::support::client::pool;
use crate::support::principals::Issuer;
use crate::support::ran;
use crate::support::upstream::Upstream;
use crate::support::weir::{ADMIN_TOKEN, Weir, admin_settings};

/// The operators, where nothing else is said.
const ROLES: &str = "{ read: [{ kind: oauth_user, scopes: [weir/read] }], \
     write: [{ kind: api_key, subjects: [deploy] }, \
     { kind: oauth_user, subjects: [root], claims: { groups: { contains: platform } } }] }";

/// A weir with operators, and those who have keys.
struct Rig {
    weir: Weir,
    issuer: Issuer,
    _jira: Upstream,
}

impl Rig {
    /// Starts a weir with these members of `listen.auth` and of `admin`.
    async fn start(auth: &str, admin: &str) -> Self {
        let jira = Upstream::named("jira").tools(["search"]).start().await;
        let issuer = Issuer::new();
        let keys = issuer.jwks();
        let listen = format!("auth: {{ {auth} }}");
        let builder = Weir::over([&jira]).top("audit: { file: weir.jsonl }");
        let weir = builder.listen(&listen).start_in(|home, yaml| {
            let from = yaml.find("admin:").unwrap();
            let line = yaml[from..].lines().next().unwrap();
            let port = line.split("127.0.0.1:").nth(1).unwrap();
            let port = port.split('"').next().unwrap();
            assert_eq!(line, admin_settings(port.parse().unwrap()));
            let admin = format!("admin: {{ address: \"127.0.0.1:{port}\", {admin} }}");
            fs::write(home.join("weir.yaml"), yaml.replace(line, &admin)).unwrap();
            fs::write(home.join("jwks.json"), &keys).unwrap();
            fs::write(home.join("callers.yaml"), "{}\n").unwrap();
        });
        Self {
            weir: weir.await,
            issuer,
            _jira: jira,
        }
    }

    /// The same with tokens and keys.
    async fn with_both(admin: &str) -> Self {
        let jwt = Issuer::auth("weir");
        let jwt = jwt.split_once("{ ").unwrap().1.rsplit_once(" }").unwrap().0;
        Self::start(&format!("{jwt}, api_keys: {{ file: callers.yaml }}"), admin).await
    }

    async fn key(&self, id: &str, subject: &str) -> String {
        let config = self.weir.home.path().join("weir.yaml");
        let config = config.to_str().unwrap();
        let made = ran::weir(["key", "new", id, "--subject", subject, "-c", config]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        made.out.trim_end().to_owned()
    }

    fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        pool().request(method.clone(), self.weir.admin_url(path))
    }
}

/// The status of the answer, and the text of the error in it.
async fn answer(request: RequestBuilder) -> (u16, String) {
    let answer = bounded("an answer", request.send()).await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    let error: Value = serde_json::from_str(&text).unwrap_or_default();
    let error = error["error"].as_str().unwrap_or_default();
    (status, error.to_owned())
}

/// The statuses of reading and of changing something.
async fn may(rig: &Rig, credential: &str) -> (u16, u16) {
    let read = rig.request(&Method::GET, "/upstreams");
    let write = rig.request(&Method::POST, "/upstreams/jira/resync");
    let read = answer(read.bearer_auth(credential)).await.0;
    (read, answer(write.bearer_auth(credential)).await.0)
}

/// Waits until a key that was just made is known.
async fn wait_known(rig: &Rig, key: &str) {
    bounded("the key", async {
        while may(rig, key).await.0 == 401 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_record_of_a_reload_names_the_operator() {
    let rig = Rig::with_both(&format!("page: write, auth: {ROLES}")).await;
    let deploy = rig.key("one", "deploy").await;
    wait_known(&rig, &deploy).await;
    let file = rig.weir.home.path().join("weir.jsonl");
    let count = || {
        let text = fs::read_to_string(&file).unwrap();
        let named = text.lines().filter(|line| {
            line.contains(r#""caller_identity":"deploy""#)
                && line.contains(r#""method":"weir/reload""#)
        });
        named.count()
    };
    let reload = rig.request(&Method::POST, "/reload");
    assert_eq!(answer(reload.bearer_auth(&deploy)).await.0, 200);
    // By the page too.
    let own = rig.weir.admin_url("");
    let reload = rig
        .request(&Method::POST, "/page/reload")
        .bearer_auth(&deploy);
    let reload = reload.header("origin", own.trim_end_matches('/'));
    answer(reload.header("sec-fetch-site", "same-origin")).await;
    bounded("the records", async {
        while count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_records_name_the_operator_who_tried_a_tool() {
    let rig = Rig::with_both(&format!("try_tools: true, auth: {ROLES}")).await;
    let deploy = rig.key("one", "deploy").await;
    wait_known(&rig, &deploy).await;
    let tried = rig.request(&Method::POST, "/try").bearer_auth(&deploy);
    let tried = tried.body(r#"{"name":"jira__search"}"#).send();
    let tried: Value = bounded("a trial", tried)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(tried["result"].is_object(), "{tried}");
    let file = rig.weir.home.path().join("weir.jsonl");
    let of_trial = || -> Vec<(Value, Value)> {
        let text = fs::read_to_string(&file).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let same = lines.filter(|line: &Value| line["request_id"] == tried["request_id"]);
        same.map(|line| (line["method"].clone(), line["caller_identity"].clone()))
            .collect()
    };
    bounded("the records", async {
        while of_trial().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let expected = [("weir/try", "deploy"), ("tools/call", "operator")];
    let expected = expected.map(|(method, caller)| (method.into(), caller.into()));
    assert_eq!(of_trial(), expected);
}

#[tokio::test]
async fn operators_read_and_write_as_their_roles_say() {
    let rig = Rig::with_both(&format!("token: {{ value: {ADMIN_TOKEN} }}, auth: {ROLES}")).await;
    let deploy = rig.key("one", "deploy").await;
    // A key and a token are different principals, whatever their subjects.
    let root = rig.key("two", "root").await;
    for key in [&deploy, &root] {
        wait_known(&rig, key).await;
    }
    let token = |claim, value| rig.issuer.token_with("root", claim, value);
    let table = [
        (ADMIN_TOKEN.to_owned(), (200, 200)),
        (deploy, (200, 200)),
        (root, (403, 403)),
        (token("scope", json!("weir/read mcp")), (200, 403)),
        (token("scope", json!("weir/reader")), (403, 403)),
        (token("groups", json!(["ops", "platform"])), (200, 200)),
        (token("groups", json!(["platforms"])), (403, 403)),
        (token("groups", json!("platform")), (403, 403)),
        (rig.issuer.token("deploy"), (403, 403)),
        (rig.issuer.expired("root"), (401, 401)),
        ("guess".to_owned(), (401, 401)),
        ("weir_one_x".to_owned(), (401, 401)),
    ];
    for (index, (credential, expected)) in table.into_iter().enumerate() {
        assert_eq!(may(&rig, &credential).await, expected, "row {index}");
    }
    let told = rig.weir.stderr();
    assert!(told.contains("deploy"), "changes are logged: {told}");
}

#[tokio::test]
async fn without_a_credential_operators_are_told_what_is_needed() {
    let rig = Rig::with_both(&format!("auth: {ROLES}")).await;
    for (method, path) in [(Method::GET, "/upstreams"), (Method::POST, "/reload")] {
        let request = rig.request(&method, path);
        let sent = bounded("an answer", request.send()).await.unwrap();
        assert_eq!(sent.status(), 401, "{method}");
        assert_eq!(sent.headers()["www-authenticate"], "Bearer");
        let text = sent.text().await.unwrap();
        assert!(text.contains("admin.auth"), "{text}");
    }
    // Probes need nothing.
    let probe = rig.request(&Method::GET, "/healthz");
    assert_eq!(answer(probe).await.0, 200);
    // Those who are known and have no role are told that.
    let request = rig.request(&Method::GET, "/upstreams");
    let (status, error) = answer(request.bearer_auth(rig.issuer.token("a"))).await;
    assert_eq!(status, 403);
    assert!(error.contains("`admin.auth.read`"), "{error}");
}

#[tokio::test]
async fn reading_stays_open_where_the_config_says_so() {
    let rig = Rig::with_both(&format!("reading: open, auth: {ROLES}")).await;
    let read = rig.request(&Method::GET, "/upstreams");
    assert_eq!(answer(read).await.0, 200);
    let write = rig.request(&Method::POST, "/reload");
    assert_eq!(answer(write).await.0, 401);
}

#[tokio::test]
async fn headers_of_a_platform_count_for_programs_and_not_for_pages() {
    let platform = "platform: { subject_header: X-User, from: [127.0.0.0/8] }";
    let roles = "auth: { write: [{ kind: oauth_user, subjects: [root] }] }";
    let rig = Rig::start(platform, roles).await;
    let request = |user: &str| {
        rig.request(&Method::POST, "/reload")
            .header("x-user", user.to_owned())
    };
    assert_eq!(answer(request("root")).await.0, 200);
    assert_eq!(answer(request("toor")).await.0, 403);
    let page = request("root").header("origin", "http://localhost");
    assert_eq!(answer(page).await.0, 403);
    // A name that leads to this machine, as in DNS rebinding.
    let rebound = request("root").header("host", "page.example");
    assert_eq!(answer(rebound).await.0, 403);
}

#[tokio::test]
async fn what_can_let_nobody_in_is_a_mistake_of_the_config() {
    let home = tempfile::tempdir().unwrap();
    let check = async |auth: &str, admin: &str| {
        let text = format!("listen: {{ auth: {auth} }}\nadmin: {{ {admin} }}\nupstreams: {{}}\n");
        let config = home.path().join("weir.yaml");
        fs::write(&config, text).unwrap();
        fs::write(home.path().join("callers.yaml"), "{}\n").unwrap();
        let ran = ran::weir(["check", "-c", config.to_str().unwrap()]).await;
        (ran.code, ran.err)
    };
    let two = "{ jwt: [{ issuer: 'https://a.example', clients: [c] }, { issuer: 'https://b.example', clients: [c] }], api_keys: { file: callers.yaml } }";
    let table = [
        (
            "none",
            "{ read: [{ kind: api_key, subjects: [a] }] }",
            "admin.auth: ",
        ),
        (two, "{}", "admin.auth: "),
        (two, "{ read: [] }", "admin.auth.read: must not be empty"),
        (two, "{ read: [{ kind: api_key }] }", "admin.auth.read[0]: "),
        (
            two,
            "{ read: [{ kind: api_key, subjects: [] }] }",
            "admin.auth.read[0].subjects: must not be empty",
        ),
        (
            two,
            "{ read: [{ kind: workload, subjects: [a] }] }",
            "admin.auth.read[0].kind: ",
        ),
        (
            two,
            "{ write: [{ kind: oauth_user, subjects: [a] }] }",
            "admin.auth.write[0]: `kind: oauth_user` needs `issuer`",
        ),
        (
            two,
            "{ write: [{ kind: oauth_user, issuer: 'https://c.example', subjects: [a] }] }",
            "admin.auth.write[0].issuer: ",
        ),
    ];
    for (listen, auth, error) in table {
        let (code, err) = check(listen, &format!("auth: {auth}")).await;
        assert_eq!(code, Some(2), "{auth}: {err}");
        assert!(err.contains(error), "{auth}: {err}");
    }
    let right =
        "auth: { write: [{ kind: oauth_user, issuer: 'https://a.example', subjects: [a] }] }";
    let (code, err) = check(two, right).await;
    assert_eq!(code, Some(0), "{err}");
    // Identities are as good as a token where a network reaches the listener.
    let right = format!("address: 0.0.0.0:8001, {right}");
    let (code, err) = check(two, &right).await;
    assert_eq!(code, Some(0), "{err}");
}

#[tokio::test]
async fn a_revoked_key_is_no_operators_any_more() {
    let rig = Rig::with_both(&format!("auth: {ROLES}")).await;
    let key = rig.key("one", "deploy").await;
    wait_known(&rig, &key).await;
    assert_eq!(may(&rig, &key).await, (200, 200));
    replace(&rig.weir.home.path().join("callers.yaml"), "{}\n");
    bounded("its end", async {
        while may(&rig, &key).await.0 != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}
