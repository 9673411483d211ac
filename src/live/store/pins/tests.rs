use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

const TOOL: &str = r#"{"name":"a","inputSchema":{"n":1e400},"x":12345678901234567890123}"#;
const PROMPT: &str = r#"{"name":"p\u0061","description":"é"}"#;

fn upstream(endpoint: &str) -> Arc<config::Upstream> {
    let yaml = format!("upstreams:\n  \"Ann & co\": {{ {endpoint} }}\n");
    let config = config::parse(&yaml, Path::new("/nowhere/weir.yaml"), &|_| None).unwrap();
    Arc::clone(config.upstreams.first().unwrap().1)
}

fn ann() -> Arc<config::Upstream> {
    upstream("url: http://127.0.0.1:1/mcp, drift: hold")
}

fn rows() -> [StoredPin<'static>; 2] {
    [
        StoredPin {
            kind: Kind::Tools,
            definition: TOOL,
            was: None,
            gone: Some(7),
            moved: true,
        },
        StoredPin {
            kind: Kind::Prompts,
            definition: PROMPT,
            was: Some("o\"ld"),
            gone: None,
            moved: false,
        },
    ]
}

struct Kept {
    folder: tempfile::TempDir,
    store: ListingStore,
}

fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    let mut pins = Pins::default();
    assert!(rows().iter().all(|row| pins.add(row)));
    store.write_pins(&ann(), &pins).unwrap();
    Kept { folder, store }
}

impl Kept {
    fn files(&self) -> Vec<PathBuf> {
        let found = std::fs::read_dir(self.folder.path().join(FOLDER)).unwrap();
        found.map(|entry| entry.unwrap().path()).collect()
    }

    /// Changes the text of the one file; whether it is still used afterwards.
    fn survives(&self, change: impl FnOnce(String) -> String) -> bool {
        let file = &self.files()[0];
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, change(text)).unwrap();
        let found = self.store.load_pins(&ann()).is_some();
        assert_eq!(found, file.exists(), "what is of no use is moved aside");
        assert_eq!(self.files().len(), 1, "and stays there");
        found
    }
}

#[test]
fn pins_come_back_as_they_were() {
    let kept = kept();
    let pins = kept.store.load_pins(&ann()).unwrap();
    assert_eq!(pins.rows().collect::<Vec<_>>(), rows());
    assert!(kept.survives(|text| text));
}

#[test]
fn what_is_damaged_or_anothers_is_set_aside() {
    assert!(!kept().survives(|text| text[..text.len() - 1].to_owned()));
    assert!(!kept().survives(|text| text.replace("1e400", "1e401")));
    assert!(!kept().survives(|text| text.replace("\"weir\":\"pins\"", "\"weir\":\"listing\"")));
    assert!(!kept().survives(|text| text.replace("\"version\":1", "\"version\":2")));
    assert!(!kept().survives(|_| String::new()));
    let kept = kept();
    let elsewhere = upstream("url: http://127.0.0.1:2/mcp, drift: hold");
    assert!(kept.store.load_pins(&elsewhere).is_none());
    assert!(kept.files()[0].to_str().unwrap().contains(".bad-"));
}

#[test]
fn who_accepts_everything_has_no_pins() {
    let kept = kept();
    assert!(
        kept.store
            .load_pins(&upstream("url: http://127.0.0.1:1/mcp"))
            .is_none()
    );
    assert_eq!(kept.files(), [""; 0].map(PathBuf::from));
    assert!(kept.store.load_pins(&ann()).is_none());
    kept.store.remove_pins(&ann()).unwrap();
}
