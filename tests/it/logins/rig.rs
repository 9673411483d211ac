//! A server that requires a login, weir before it, and the browser of the person who logs in.

use super::*;

/// A server that requires a login, and the folder of a weir whose config names it.
pub struct Rig {
    pub saas: SaaS,
    pub home: tempfile::TempDir,
    _upstream: Upstream,
}

/// A login that waits for a browser.
pub struct Waiting {
    pub process: Process,
    pub url: Url,
}

impl Rig {
    pub async fn new(auth: &str) -> Self {
        let upstream = Upstream::named("linear").tools(["search"]).start().await;
        let saas = SaaS::before(&upstream).await;
        let home = tempfile::tempdir().unwrap();
        let rig = Self {
            saas,
            home,
            _upstream: upstream,
        };
        rig.write(auth);
        rig
    }

    pub fn write(&self, auth: &str) {
        let yaml = format!(
            "version: 1\nstate: {{ dir: state }}\nupstreams:\n  linear:\n    url: \"{}\"\n    {auth}\n",
            self.saas.url()
        );
        std::fs::write(self.config(), yaml).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.home.path().join("weir.yaml")
    }

    pub fn start(&self) -> Process {
        Process::start(["login", "linear", "-c", self.config().to_str().unwrap()])
    }

    /// Starts `weir login` and reads the address that it prints.
    pub async fn login(&self) -> Waiting {
        let process = self.start();
        Waiting::of(process).await
    }

    /// Runs `weir login` with a browser that follows every redirect.
    pub async fn logged_in(&self) -> (StatusCode, String, i32, String) {
        let waiting = self.login().await;
        let (status, page) = waiting.browse().await;
        let (code, err) = waiting.ended().await;
        (status, page, code, err)
    }

    /// Runs a login that ends before a browser is opened.
    pub async fn refused(&self) -> String {
        let (status, out, err) = self.start().wait_exit().await;
        assert_eq!((status.code(), out.as_str()), (Some(2), ""), "{err}");
        err
    }

    pub fn stored(&self) -> Vec<PathBuf> {
        let folder = self.home.path().join("state/oauth");
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_grant = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
        paths.filter(is_grant).collect()
    }

    /// Returns the one stored login.
    pub fn record(&self) -> Value {
        let stored = self.stored();
        assert_eq!(stored.len(), 1, "{stored:?}");
        serde_json::from_slice(&std::fs::read(&stored[0]).unwrap()).unwrap()
    }

    /// Starts a weir that serves with this rig's state folder.
    pub async fn serve(&self) -> Weir {
        let state = self.home.path().join("state");
        Weir::with(&format!(
            "  linear:\n    url: \"{}\"\n    {AUTH}\n",
            self.saas.url()
        ))
        .top(&format!("state: {{ dir: \"{}\" }}", state.display()))
        .start()
        .await
    }
}

pub fn browser() -> reqwest::Client {
    crate::support::tls();
    let builder = reqwest::Client::builder().no_proxy();
    let builder = builder.redirect(reqwest::redirect::Policy::none());
    builder.build().unwrap()
}

pub async fn get(url: &str) -> reqwest::Response {
    let got = bounded("the page", browser().get(url).send()).await;
    got.unwrap()
}

impl Waiting {
    pub async fn of(process: Process) -> Self {
        process.wait_stderr("Waiting for").await;
        let text = process.stderr();
        let line = text.lines().find(|line| line.starts_with("  http"));
        let url = line.unwrap().trim().parse().unwrap();
        Self { process, url }
    }

    /// Returns a parameter of the authorization request.
    pub fn asked(&self, name: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }

    /// Logs in and returns the URL to which the browser is redirected.
    pub async fn redirect(&self) -> Url {
        let answer = get(self.url.as_str()).await;
        assert_eq!(answer.status(), StatusCode::FOUND);
        let location = answer.headers()["location"].to_str().unwrap();
        location.parse().unwrap()
    }

    /// Logs in, follows the redirect and returns what the browser shows.
    pub async fn browse(&self) -> (StatusCode, String) {
        let answer = get(self.redirect().await.as_str()).await;
        (answer.status(), answer.text().await.unwrap())
    }

    /// Waits for the exit and returns its status and stderr.
    pub async fn ended(self) -> (i32, String) {
        let (status, _, err) = self.process.wait_exit().await;
        (status.code().unwrap(), err)
    }
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
