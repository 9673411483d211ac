use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;

const TOOL: &str = r#"{"name":"a","inputSchema":{"n":1e400},"x":12345678901234567890123}"#;

fn upstream(endpoint: &str) -> Arc<config::Upstream> {
    let yaml = format!("upstreams:\n  \"Ann & co\": {{ {endpoint} }}\n");
    let config = config::parse(&yaml, Path::new("/nowhere/weir.yaml"), &|_| None).unwrap();
    Arc::clone(config.upstreams.first().unwrap().1)
}

fn ann() -> Arc<config::Upstream> {
    upstream("url: http://127.0.0.1:1/mcp")
}

fn listing(tools: &[&str]) -> Listing {
    let mut builder = Listing::of(Era::Modern);
    for tool in tools {
        builder.add(Kind::Tools, tool);
    }
    builder.add(Kind::Resources, r#"{"uri":"file:///a","name":"b"}"#);
    builder.finish()
}

struct Kept {
    folder: tempfile::TempDir,
    store: ListingStore,
}

/// A store that has one listing.
fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    store.write_listing(&ann(), &listing(&[TOOL])).unwrap();
    Kept { folder, store }
}

impl Kept {
    fn files(&self) -> Vec<PathBuf> {
        let found = std::fs::read_dir(self.folder.path().join(FOLDER)).unwrap();
        let mut found: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    /// Changes the bytes of the one file; whether it is still used afterwards.
    fn survives(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> bool {
        let file = &self.files()[0];
        let bytes = std::fs::read(file).unwrap();
        std::fs::write(file, change(bytes)).unwrap();
        let found = self.store.load_listing(&ann()).is_some();
        assert_eq!(found, file.exists(), "what is of no use is moved aside");
        assert_eq!(self.files().len(), 1, "and stays there");
        found
    }
}

#[test]
fn a_listing_comes_back_as_it_was() {
    let kept = kept();
    let stored = kept.store.load_listing(&ann()).unwrap();
    let written = listing(&[TOOL]);
    assert_eq!(stored.listing.digest(), written.digest());
    assert_eq!(stored.listing.definitions(Kind::Tools)[0].raw(), TOOL);
    assert_eq!(stored.listing.definitions(Kind::Resources).len(), 1);
    assert!(stored.at.elapsed().unwrap() < Duration::from_secs(60));
}

#[test]
fn a_later_listing_takes_the_place_of_an_earlier_one() {
    let kept = kept();
    let other = listing(&[TOOL, r#"{"name":"b","inputSchema":{}}"#]);
    kept.store.write_listing(&ann(), &other).unwrap();
    let stored = kept.store.load_listing(&ann()).unwrap();
    assert_eq!(stored.listing.digest(), other.digest());
    assert_eq!(kept.files().len(), 1);
}

#[test]
fn what_is_confirmed_is_young_again() {
    let kept = kept();
    let file = File::options().write(true).open(&kept.files()[0]).unwrap();
    let old = SystemTime::now() - Duration::from_secs(7200);
    file.set_modified(old).unwrap();
    let age = |kept: &Kept| {
        kept.store
            .load_listing(&ann())
            .unwrap()
            .at
            .elapsed()
            .unwrap()
    };
    assert!(age(&kept) >= Duration::from_secs(7200));
    kept.store.confirm_listing(&ann()).unwrap();
    assert!(age(&kept) < Duration::from_secs(60));
}

#[test]
fn nothing_stored_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    assert!(store.load_listing(&ann()).is_none());
    assert!(store.confirm_listing(&ann()).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn damage_is_set_aside() {
    let cut = |at: usize| {
        move |mut bytes: Vec<u8>| {
            bytes.truncate(at);
            bytes
        }
    };
    let length = std::fs::read(&kept().files()[0]).unwrap().len();
    // Never half a listing, whatever the byte after which it ends.
    for at in 0..length {
        assert!(!kept().survives(cut(at)), "cut after {at}");
    }
    assert!(kept().survives(cut(length)));
    let replaced = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{text}");
            text.replace(from, to).into_bytes()
        }
    };
    assert!(!kept().survives(replaced("1e400", "1e401")));
    assert!(!kept().survives(replaced("\"version\":1", "\"version\":2")));
    assert!(!kept().survives(replaced("modern", "golden")));
    assert!(!kept().survives(|_| vec![0xff; 10]));
    assert!(!kept().survives(|_| b"{}\n".to_vec()));
}

#[test]
fn another_server_of_the_same_name_gets_nothing() {
    for other in [
        "url: http://127.0.0.1:2/mcp",
        "url: http://127.0.0.1:1/other",
        "command: x",
    ] {
        let kept = kept();
        assert!(
            kept.store.load_listing(&upstream(other)).is_none(),
            "{other}"
        );
        assert!(!kept.files().is_empty(), "{other}");
    }
    // How weir logs in, and what it makes of the tools, is another matter.
    let same =
        "url: http://127.0.0.1:1/mcp, namespace: x, auth: { type: bearer, token: { value: t } }";
    assert!(kept().store.load_listing(&upstream(same)).is_some());
}

#[tokio::test]
async fn the_writer_writes_the_latest_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    let writer = Arc::new(StoreWriter::new(store.clone()));
    let latest = listing(&[TOOL]);
    for tools in [&[][..], &[TOOL]] {
        writer.queue_listing(0, &ann(), Arc::new(listing(tools)));
    }
    writer.queue_confirmation(0, &ann());
    let stop = CancellationToken::new();
    stop.cancel();
    writer.run(stop).await;
    assert_eq!(
        store.load_listing(&ann()).unwrap().listing.digest(),
        latest.digest()
    );
}

/// Writes what waits, once.
async fn write(writer: &Arc<StoreWriter>) {
    let stop = CancellationToken::new();
    stop.cancel();
    Arc::clone(writer).run(stop).await;
}

#[tokio::test]
async fn a_listing_that_cannot_be_written_is_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    let (in_the_way, ann) = (folder.path().join(FOLDER), ann());
    let (one, two) = (Arc::new(listing(&[TOOL])), Arc::new(listing(&[])));
    let stored = || {
        store
            .load_listing(&ann)
            .map(|stored| stored.listing.digest())
    };
    // The same link, and a later one of the same upstream.
    for link in [0, 1] {
        let writer = Arc::new(StoreWriter::new(store.clone()));
        std::fs::write(&in_the_way, "").unwrap();
        writer.queue_listing(0, &ann, Arc::clone(&one));
        write(&writer).await;
        // That it still holds does not take its place.
        writer.queue_confirmation(0, &ann);
        writer.queue_confirmation(1, &ann);
        write(&writer).await;
        std::fs::remove_file(&in_the_way).unwrap();
        write(&writer).await;
        assert_eq!(stored(), Some(one.digest()));
        std::fs::remove_dir_all(&in_the_way).unwrap();
        write(&writer).await;
        assert_eq!(stored(), None, "once is enough");
        // A newer one does.
        std::fs::write(&in_the_way, "").unwrap();
        writer.queue_listing(0, &ann, Arc::clone(&one));
        write(&writer).await;
        writer.queue_listing(link, &ann, Arc::clone(&two));
        write(&writer).await;
        std::fs::remove_file(&in_the_way).unwrap();
        write(&writer).await;
        assert_eq!(stored(), Some(two.digest()));
        std::fs::remove_dir_all(&in_the_way).unwrap();
    }
}

#[tokio::test]
async fn pins_that_cannot_be_written_are_written_later_and_that_is_told_now() {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    let in_the_way = folder.path().join("pins");
    let ann = upstream("url: http://127.0.0.1:1/mcp, drift: hold");
    let of = |text: &str| {
        let mut pins = crate::catalog::Pins::default();
        assert!(pins.add(&crate::catalog::pins::StoredPin {
            kind: Kind::Tools,
            definition: text,
            was: None,
            gone: None,
            moved: false,
        }));
        Some(Arc::new(pins))
    };
    let stored = || {
        let pins = store.read_pins(&ann).unwrap()?;
        let mut rows = pins.rows();
        rows.next().map(|row| row.definition.to_owned())
    };
    let other = r#"{"name":"b","inputSchema":{}}"#;
    let writer = Arc::new(StoreWriter::new(store.clone()));
    std::fs::write(&in_the_way, "").unwrap();
    let (done, told) = tokio::sync::oneshot::channel();
    writer.queue_pins(0, &ann, of(TOOL), Some(done));
    write(&writer).await;
    assert!(!told.await.unwrap());
    std::fs::remove_file(&in_the_way).unwrap();
    write(&writer).await;
    assert_eq!(stored().as_deref(), Some(TOOL));
    std::fs::remove_dir_all(&in_the_way).unwrap();
    // A newer listing takes their place.
    for link in [0, 1] {
        std::fs::write(&in_the_way, "").unwrap();
        writer.queue_pins(0, &ann, of(TOOL), None);
        write(&writer).await;
        writer.queue_pins(link, &ann, of(other), None);
        write(&writer).await;
        std::fs::remove_file(&in_the_way).unwrap();
        write(&writer).await;
        assert_eq!(stored().as_deref(), Some(other));
        std::fs::remove_dir_all(&in_the_way).unwrap();
    }
}
