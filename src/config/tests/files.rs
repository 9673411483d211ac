//! The files: those of a folder, the samples, the schema.

use super::*;

#[test]
fn files_of_upstreams_d_are_added_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let main = folder.path().join("weir.yaml");
    let show = |result: Result<Config, ConfigErrors>| match result {
        Ok(config) => config
            .upstreams
            .keys()
            .map(UpstreamId::as_str)
            .collect::<Vec<_>>()
            .join(" "),
        Err(errors) => errors
            .to_string()
            .replace(&*folder.path().to_string_lossy(), "."),
    };
    assert_eq!(
        show(load(&main, &env)),
        "./weir.yaml: cannot be read: there is no such file"
    );
    write(
        "weir.yaml",
        "defaults: { timeouts: { call: 7s } }\nupstreams: { m: { command: m } }",
    );
    write("upstreams.d/20-b.yml", "upstreams: { b: { command: ./b } }");
    write(
        "upstreams.d/10-c.json",
        r#"{"mcpServers": {"c": {"command": "c"}}}"#,
    );
    write(
        "upstreams.d/30-token.yaml",
        "upstreams: { t: { url: https://t.example.com, auth: { type: bearer, token: { file: t } } } }",
    );
    write("upstreams.d/t", "from-file\n");
    write("upstreams.d/.hidden.yaml", "nonsense: true");
    write("upstreams.d/README.md", "nonsense");
    let loaded = load(&main, &env).unwrap();
    assert_eq!(loaded.upstreams["b"].timeouts.call, Duration::from_secs(7));
    assert!(
        matches!(&loaded.upstreams["t"].auth, Auth::Bearer(token) if token.text() == "from-file")
    );
    let b = &loaded.upstreams["b"].endpoint;
    assert!(
        matches!(b, Endpoint::Child { program, .. } if *program == folder.path().join("upstreams.d/b"))
    );
    assert_eq!(show(Ok(loaded)), "m c b t");
    write(
        "upstreams.d/40-bad.yaml",
        "listen: {}\nupstreams:\n  d: { command: d }\n  c: { command: c }\n  m:\n    command: c\n",
    );
    write("upstreams.d/50-worse.yaml", "a: b: c");
    insta::assert_snapshot!(show(load(&main, &env)), @r"
    ./upstreams.d/40-bad.yaml:1:1: listen: unknown key; the keys here are upstreams, mcpServers
    ./upstreams.d/40-bad.yaml:4:3: upstreams.c: there is an upstream of this name at ./upstreams.d/10-c.json:1 already
    ./upstreams.d/40-bad.yaml:5:3: upstreams.m: there is an upstream of this name at ./weir.yaml:2 already
    ./upstreams.d/50-worse.yaml:1:5: a value that has `: ` in it needs quotes
    ");
}

#[test]
fn reading_stops_at_a_hundred_mismatches() {
    let text = (0..200).map(|n| format!("k{n}: 1\n")).collect::<String>();
    let text = errors(&text);
    assert_eq!(text.lines().count(), 101);
    assert!(text.contains("weir.yaml: too many errors"), "{text}");
}

#[test]
fn the_schema_in_the_repository_is_the_schema() {
    let kept = include_str!("../../../config/weir.schema.json");
    assert!(
        kept == schema_text(),
        "config/weir.schema.json is old; run: cargo run -- schema > config/weir.schema.json"
    );
}

/// Every config in the folder that users start from.
fn samples() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let examples = std::fs::read_dir(folder.join("examples")).unwrap();
    let mut samples: Vec<_> = examples.map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    samples.push(folder.join("weir.yaml"));
    samples
}

/// Values that fit where the samples use them.
fn sample_env(name: &str) -> Option<String> {
    static PKI: std::sync::LazyLock<(tempfile::TempDir, String)> = std::sync::LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = connectors::identity();
        for name in ["ca.pem", "weir.pem"] {
            std::fs::write(folder.path().join(name), &cert).unwrap();
        }
        std::fs::write(folder.path().join("callers.yaml"), "{}\n").unwrap();
        (folder, key)
    });
    match name {
        "PKI" => Some(PKI.0.path().to_str().unwrap().to_owned()),
        "ERP_TLS_KEY" | "WEIR_TLS_KEY" => Some(PKI.1.clone()),
        "WEIR_CALLERS" => Some(PKI.0.path().join("callers.yaml").display().to_string()),
        // Nobody has to name the standard variables for them to count.
        _ if name.starts_with("OTEL_") => None,
        _ => Some(format!("{name:*<32}")),
    }
}

#[test]
fn the_samples_are_valid() {
    let samples = samples();
    assert!(samples.len() >= 6, "{samples:?}");
    for path in samples {
        let config = load(&path, &sample_env).unwrap_or_else(|errors| panic!("{errors}"));
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        if path.extension().unwrap() == "yaml" {
            assert!(
                first.starts_with("# yaml-language-server: $schema="),
                "{path:?}"
            );
            let schema = path.with_file_name(first.rsplit('=').next().unwrap());
            assert!(schema.exists(), "{schema:?}");
        }
        let is_default = path.ends_with("weir.yaml");
        assert_eq!(config.upstreams.is_empty(), is_default, "{path:?}");
    }
}

#[test]
fn the_default_config_writes_the_defaults_and_its_comments_are_valid() {
    let path = samples().pop().unwrap();
    let written = load(&path, &sample_env).unwrap();
    let usual = config("");
    let shown = |config: &Config| format!("{:?} {:?}", config.listen, config.naming);
    assert_eq!(shown(&written), shown(&usual));
    let text = std::fs::read_to_string(&path).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| match line.split_once('#') {
            Some((blank, rest)) if blank.trim().is_empty() && !rest.starts_with(' ') => {
                format!("{blank}{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let full = parse(&uncommented, &path, &sample_env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        full.upstreams
            .keys()
            .map(UpstreamId::as_str)
            .collect::<Vec<_>>(),
        ["everything", "github"]
    );
    let upstream = full.upstreams["everything"].as_ref();
    let bare = config("upstreams: { everything: { command: npx } }");
    let bare = bare.upstreams["everything"].as_ref();
    assert_eq!(upstream.timeouts, bare.timeouts);
    assert_eq!(upstream.limits, bare.limits);
    assert_eq!(upstream.stale, bare.stale);
    assert_eq!(upstream.resync, bare.resync);
}
