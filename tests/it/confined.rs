//! The knowledge that a child process can get of weir and about other upstreams.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use weir::upstream::confinement;

use crate::support::prowler::{prowler, run};
use crate::support::ran;
use crate::support::weir::{Process, Weir};
use crate::support::{bounded, free_port};

/// A secret in weir's environment that no child inherits.
const HIDDEN: &str = "swordfish-of-weir";

/// Returns whether the kernel has Landlock; says loudly if not.
fn has_landlock() -> bool {
    let has = confinement::is_supported();
    if !has {
        eprintln!("\n!!! SKIPPED: this kernel has no Landlock, so nothing is shown of it !!!\n");
    }
    has
}

/// Returns whether the tests run as root; says loudly if not.
fn is_root() -> bool {
    let is = rustix::process::geteuid().is_root();
    if !is {
        eprintln!("\n!!! SKIPPED: only root can start processes as other users !!!\n");
    }
    is
}

/// Python that reads a file: its text, or the type of the error.
fn reads(path: &str) -> String {
    format!("out = open('{path}', 'rb').read(200000).decode(errors='replace')")
}

/// Python that reads the memory of a process wherever it holds this text.
fn searches(pid: &str) -> String {
    format!(
        "import re\n\
         found = False\n\
         for line in open(f'/proc/{{{pid}}}/maps'):\n\
         \x20   first, last = (int(n, 16) for n in line.split()[0].split('-'))\n\
         \x20   if 'rw' not in line or last - first > 1 << 26: continue\n\
         \x20   try:\n\
         \x20       memory = open(f'/proc/{{{pid}}}/mem', 'rb')\n\
         \x20       memory.seek(first)\n\
         \x20       found |= b'{HIDDEN}' in memory.read(last - first)\n\
         \x20   except (OSError, OverflowError, ValueError) as error:\n\
         \x20       if isinstance(error, PermissionError): raise\n\
         out = found\n"
    )
}

/// A weir with a nosy child, another upstream with a secret in a file, and a state folder.
async fn nosy(settings: &str) -> Weir {
    let kid = prowler("kid", settings);
    let other = "  other:\n    url: http://127.0.0.1:9/\n    auth: { type: bearer, token: { file: secrets/other } }\n";
    Weir::with(&format!("{kid}{other}"))
        .state()
        .env([("WEIR_TEST_SECRET", HIDDEN.to_owned())])
        .start_in(|home, yaml| {
            for folder in ["secrets", "own"] {
                fs::create_dir(home.join(folder)).unwrap();
            }
            fs::write(home.join("secrets/other"), "of the other").unwrap();
            fs::write(home.join("secrets/kid"), "of the kid").unwrap();
            fs::write(home.join("weir.yaml"), yaml).unwrap();
        })
        .await
}

const OWN: &str = "    env: { OWN: { file: secrets/kid } }\n";

#[tokio::test]
async fn a_child_reads_no_secret_of_weir_or_of_another_upstream() {
    if !has_landlock() {
        return;
    }
    let weir = nosy(OWN).await;
    weir.wait_tools(["kid__run"]).await;
    let home = weir.home.path().to_str().unwrap();
    std::os::unix::fs::symlink(format!("{home}/state"), format!("{home}/own/way")).unwrap();
    for path in [
        format!("{home}/state/sealing.key"),
        format!("{home}/state/instance"),
        format!("{home}/own/way/sealing.key"),
        format!("{home}/own/../state/sealing.key"),
        format!("/proc/self/root{home}/state/sealing.key"),
        format!("{home}/secrets/other"),
        // It has the token of operators in it.
        format!("{home}/weir.yaml"),
    ] {
        let said = run(&weir, "kid", &reads(&path)).await;
        assert!(said.starts_with("PermissionError"), "{path}: {said}");
    }
    // As root it could read all memory, but for Landlock. (Environments too, where it is not the
    // kernel's perfmon_capable() that lets it: what root can do is said in SECURITY.md.)
    let (own, weirs) = ("os.getppid()", weir.pid().to_string());
    for who in [own, &weirs] {
        let code = format!("import os\nout = open(f'/proc/{{{who}}}/mem', 'rb').read(100)");
        let said = run(&weir, "kid", &code).await;
        assert!(said.starts_with("PermissionError"), "{who}: {said}");
    }
    // Nor does what it starts.
    let shell = format!(
        "import subprocess\nout = subprocess.run(['cat', '{home}/state/sealing.key'], capture_output=True)"
    );
    let said = run(&weir, "kid", &shell).await;
    assert!(said.contains("Permission denied"), "{said}");
    // Everything else is as before: its own secret, its own files, programs, lists of folders.
    let said = run(&weir, "kid", &reads(&format!("{home}/secrets/kid"))).await;
    assert_eq!(said, "of the kid");
    let work = format!(
        "import os, subprocess, tempfile\n\
         os.makedirs('{home}/own/new')\n\
         open('{home}/own/new/file', 'w').write('mine')\n\
         os.listdir('{home}/state')\n\
         open('{home}/beside', 'w').write('written')\n\
         out = open('{home}/own/new/file').read() + subprocess.check_output(['echo', 'ran']).decode()\n\
         out += open('/etc/passwd').read()[:4]\n"
    );
    assert_eq!(run(&weir, "kid", &work).await, "mineran\nroot");
}

#[tokio::test]
async fn hiding_secrets_can_be_switched_off() {
    let weir = nosy(&format!("{OWN}    hide_secrets: false\n")).await;
    weir.wait_tools(["kid__run"]).await;
    let home = weir.home.path().to_str().unwrap();
    for path in ["state/sealing.key", "secrets/other", "weir.yaml"] {
        let said = run(&weir, "kid", &reads(&format!("{home}/{path}"))).await;
        if is_root() {
            assert!(!said.contains("PermissionError"), "{path}: {said}");
        }
    }
}

/// Weir as somebody without rights, in a folder of theirs.
fn as_nobody(home: &std::path::Path, config: &str) -> Process {
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(home.join("weir.yaml"), config).unwrap();
    let state = home.join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&state, Some(65534), Some(65534)).unwrap();
    let file = home.join("weir.yaml");
    Process::start_with(["serve", "-c", file.to_str().unwrap()], |command| {
        command.uid(65534).gid(65534).current_dir(home);
        command
            .env("PATH", "/usr/bin:/bin")
            .env("WEIR_TEST_SECRET", HIDDEN);
    })
}

#[allow(
    clippy::too_many_lines,
    reason = "one weir without rights, looked at from all sides"
)]
#[tokio::test]
async fn without_landlock_too_a_child_of_the_same_user_reads_neither_memory_nor_environment() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("prowler.py");
    fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/prowler.py"),
        &script,
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (listen, admin) = (free_port(), free_port());
    let kid = |name: &str, more: &str| {
        format!(
            "  {name}: {{ command: /usr/bin/python3, args: [\"{}\"], hide_secrets: false{more} }}\n",
            script.display()
        )
    };
    let config = format!(
        "version: 1\nlisten: {{ address: 127.0.0.1:{listen} }}\nadmin: {{ address: 127.0.0.1:{admin} }}\nstate: {{ dir: state }}\nupstreams:\n{}{}{}",
        kid("kid", ""),
        kid("root", ", user: \"0:0\""),
        kid("shut", "").replace("hide_secrets: false", "hide_secrets: true"),
    );
    let process = as_nobody(home.path(), &config);
    let modern = crate::support::client::Modern::new(format!("http://127.0.0.1:{listen}/mcp"));
    bounded("the child", async {
        let ready = format!("http://127.0.0.1:{listen}/readyz");
        let http = crate::support::client::pool();
        while !http
            .get(&ready)
            .send()
            .await
            .is_ok_and(|a| a.status().is_success())
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        while modern.tool_names().await.len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let ask = async |code: String| {
        let arguments = serde_json::json!({ "code": code }).to_string();
        modern.call("kid__run", &arguments).await.text().to_owned()
    };
    // It is the same user.
    let said = ask("import os\nout = os.getuid(), os.getppid() != 1".to_owned()).await;
    assert_eq!(said, "(65534, True)");
    let weirs = process.pid().to_string();
    for who in [weirs.as_str(), "os.getppid()"] {
        let said = ask(format!("import os\n{}", searches(who))).await;
        assert!(said.starts_with("PermissionError"), "{who}: {said}");
        let code = format!("import os\nout = open(f'/proc/{{{who}}}/environ').read()");
        let said = ask(code).await;
        assert!(said.starts_with("PermissionError"), "{who}: {said}");
    }
    // With Landlock, not that of another child either.
    if has_landlock() {
        let pid = ask("import os\nout = os.getpid()".to_owned()).await;
        let code = format!("out = open('/proc/{pid}/environ').read()");
        let arguments = serde_json::json!({ "code": code }).to_string();
        let said = modern.call("shut__run", &arguments).await.text();
        assert!(said.starts_with("PermissionError"), "{said}");
    }
    // Weir can still see its own files in `/proc`.
    let metrics = reqwest::get(format!("http://127.0.0.1:{admin}/metrics"))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let open = metrics
        .lines()
        .find(|line| line.starts_with("process_open_fds "));
    assert!(open.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    // Without root, no process can be started as somebody else, and the error says so.
    let page = reqwest::get(format!("http://127.0.0.1:{admin}/upstreams"))
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("CAP_SETUID"), "{page}");
    process.stop().await;
}

#[tokio::test]
async fn a_child_can_run_as_a_user_of_its_own() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = home.path().join("prowler.py");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/prowler.py");
    fs::copy(source, &script).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let kid = |name: &str, user: &str| {
        let script = script.display();
        format!("  {name}: {{ command: /usr/bin/python3, args: [\"{script}\"], user: {user} }}\n")
    };
    let all = [
        kid("ids", "\"4711:4712\""),
        kid("named", "nobody"),
        kid("none", "no-such-user"),
    ];
    let weir = Weir::with(&all.concat()).state().start().await;
    weir.wait_tools(["ids__run", "named__run"]).await;
    let ids = "import os\nout = os.getuid(), os.getgid(), os.getgroups()";
    assert_eq!(run(&weir, "ids", ids).await, "(4711, 4712, [])");
    let named = run(&weir, "named", ids).await;
    assert!(named.starts_with("(65534, "), "{named}");
    let told = weir.wait_told("none", "reason", "no-such-user").await;
    assert_eq!(told["state"], "failing");
    let pid = run(&weir, "ids", "import os\nout = os.getpid()").await;
    weir.interrupt().await;
    bounded("its end", async {
        while fs::exists(format!("/proc/{pid}")).unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_user_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    let upstreams = "upstreams:\n  a: { command: python3, user: \"a b\" }\n  b: { url: \"https://b.example/\", user: root }\n";
    fs::write(&file, upstreams).unwrap();
    let ran = ran::weir(["check", "-c", file.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.err.contains("weir.yaml:2:") && ran.err.contains("UID:GID"),
        "{ran:?}"
    );
    assert!(ran.err.contains("weir.yaml:3:"), "{ran:?}");
}

#[tokio::test]
async fn a_child_that_kills_its_reaper_takes_all_that_it_started_with_it() {
    let weir = nosy("").await;
    weir.wait_tools(["kid__run"]).await;
    let pids = weir.home.path().join("own/pids");
    // Two that cut every tie, one of them in weir's own group.
    let code = format!(
        "import os, signal, time\n\
         def escape(name, tie):\n\
         \x20   if os.fork() == 0:\n\
         \x20       tie()\n\
         \x20       if os.fork() == 0:\n\
         \x20           for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n\
         \x20           open('{0}.' + name, 'w').write(str(os.getpid()))\n\
         \x20           for fd in range(3): os.close(fd)\n\
         \x20           while True: time.sleep(60)\n\
         \x20       os._exit(0)\n\
         escape('session', os.setsid)\n\
         escape('group', lambda: os.setpgid(0, 0))\n\
         while not all(os.path.exists('{0}.' + n) for n in ('session', 'group')): time.sleep(0.01)\n\
         open('{0}', 'w').write(str(os.getpid()))\n\
         os.kill(os.getppid(), signal.SIGKILL)\n\
         time.sleep(60)\n",
        pids.display()
    );
    run(&weir, "kid", &code).await;
    let ended = ["pids", "pids.session", "pids.group"].map(|name| {
        let pid = fs::read_to_string(weir.home.path().join("own").join(name)).unwrap();
        format!("/proc/{pid}/stat")
    });
    bounded("their end, reaped", async {
        while ended.iter().any(|stat| fs::exists(stat).unwrap()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    // And the upstream comes back.
    weir.wait_told("kid", "state", "up").await;
    bounded("its answer", async {
        while run(&weir, "kid", "out = 7").await != "7" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn others_lose_what_they_could_do_in_the_state_folder() {
    let open = |home: &std::path::Path, yaml: &str| {
        fs::write(home.join("weir.yaml"), yaml).unwrap();
        let state = home.join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
        let key = state.join("sealing.key");
        fs::write(&key, "a key that everybody could read, and write").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    };
    let weir = Weir::with("  {}\n").state().start_in(open).await;
    let mode = |name: &str| {
        let found = fs::metadata(weir.home.path().join(name)).unwrap();
        format!("{:o}", found.permissions().mode() & 0o7777)
    };
    assert_eq!(
        (mode("state"), mode("state/sealing.key")),
        ("700".into(), "600".into())
    );
    weir.wait_stderr("everybody could write in the state folder")
        .await;
    weir.wait_stderr("others could use a secret of weir").await;
    if !is_root() {
        return;
    }
    // Where weir may not change that, it does not start.
    let home = tempfile::tempdir().unwrap();
    let config =
        "version: 1\nlisten: { address: 127.0.0.1:0 }\nstate: { dir: volume }\nupstreams: {}\n";
    let volume = home.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    let (status, _, err) = as_nobody(home.path(), config).wait_exit().await;
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("0777") && err.contains("volume/weir"), "{err}");
    // A folder inside it is made for weir alone.
    let inside = config.replace("volume", "volume/weir");
    fs::remove_dir(home.path().join("state")).unwrap();
    let weir = as_nobody(home.path(), &inside);
    weir.wait_stderr("http://").await;
    weir.stop().await;
    let made = fs::metadata(volume.join("weir")).unwrap().permissions();
    assert_eq!(made.mode() & 0o7777, 0o700);
}
