//! A store that replicas share: a redis-server of this machine.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{bounded, free_port};

/// A running redis-server, without anything on disk. Killed when dropped.
pub struct Store {
    port: u16,
    password: Option<&'static str>,
    child: Child,
}

impl Store {
    /// Starts one; `None`, and says so, where there is no redis-server.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// The same behind a password.
    pub async fn start_with(password: Option<&'static str>) -> Option<Self> {
        let port = free_port();
        let Some(child) = spawn(port, password) else {
            eprintln!(
                "\n!!! SKIPPED: there is no redis-server, so nothing is shown of replicas !!!\n"
            );
            return None;
        };
        let store = Self {
            port,
            password,
            child,
        };
        store.wait().await;
        Some(store)
    }

    async fn wait(&self) {
        let reached = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        bounded("the store", reached).await;
    }

    /// The settings of one of several replicas over it, and more of `replicas`.
    pub fn shared(&self, more: &str) -> String {
        let password = self.password.map_or_else(String::new, |password| {
            format!(", password: {{ value: {password} }}")
        });
        format!(
            "instance: edge\nsealing_key: {{ value: the key of all replicas that is long }}\n\
             replicas: {{ store: {{ url: \"redis://127.0.0.1:{}\"{password} }}{more} }}",
            self.port
        )
    }

    /// Ends it at once, with all that it knows.
    pub async fn kill(&mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    /// Starts it again, empty.
    pub async fn revive(&mut self) {
        self.child = spawn(self.port, self.password).unwrap();
        self.wait().await;
    }

    /// Halts it, or has it go on.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// Everything in it, as the text of its protocol.
    pub async fn dump(&self) -> String {
        let lua = "local all = {} \
            for _, key in ipairs(redis.call('KEYS', '*')) do \
              local kind = redis.call('TYPE', key).ok \
              all[#all + 1] = key \
              if kind == 'string' then all[#all + 1] = redis.call('GET', key) end \
              if kind == 'hash' then for _, v in ipairs(redis.call('HGETALL', key)) do all[#all + 1] = v end end \
              if kind == 'zset' then for _, v in ipairs(redis.call('ZRANGE', key, 0, -1)) do all[#all + 1] = v end end \
            end \
            return all";
        self.ask(&["EVAL", lua, "0"]).await
    }

    /// Its answer to a command, as the text of its protocol.
    pub async fn ask(&self, command: &[&str]) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut text = String::new();
        for command in [command, &["QUIT"]] {
            text.push_str(&format!("*{}\r\n", command.len()));
            for part in command {
                text.push_str(&format!("${}\r\n{part}\r\n", part.len()));
            }
        }
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        bounded("the store's answer", read).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn spawn(port: u16, password: Option<&str>) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    command.spawn().ok()
}
