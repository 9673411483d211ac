use parking_lot::Mutex;
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::catalog::{Catalog, PerKind};
use crate::config::{self, Config};
use crate::live::store::ListingStore;
use crate::metrics::Metrics;
use crate::protocol::era::Era;

const LINK: u64 = 0;

fn config(rules: &str) -> Arc<Config> {
    let yaml = format!("upstreams:\n  ann: {{ url: \"http://127.0.0.1:1/mcp\", {rules} }}\n");
    let config = config::parse(&yaml, Path::new("weir.yaml"), &|_| None);
    Arc::new(config.unwrap())
}

fn listing(tools: &[&str]) -> Arc<Listing> {
    let mut listing = Listing::of(Era::Modern);
    for tool in tools {
        listing.add(Kind::Tools, tool);
    }
    Arc::new(listing.finish())
}

fn tool(name: &str, text: &str) -> String {
    let (name, text) = (crate::json::quote(name), crate::json::quote(text));
    format!(r#"{{"name":{name},"description":{text},"inputSchema":{{}}}}"#)
}

fn listed(round: u64, listing: Arc<Listing>) -> ListingAttempt {
    ListingAttempt {
        link: LINK,
        round,
        at: Instant::now(),
        on: SystemTime::UNIX_EPOCH,
        result: Ok(Listed {
            listing,
            failed: Vec::new(),
            hung: PerKind::default(),
            retry_after: None,
        }),
    }
}

/// Returns what is stored once each of these batches of listings was taken in.
async fn stored(batches: &[&[&Arc<Listing>]]) -> Arc<Listing> {
    let folder = tempfile::tempdir().unwrap();
    let store = ListingStore::new(folder.path());
    let config = config("");
    let upstream = Arc::clone(config.upstreams.first().unwrap().1);
    let mut state = State::new(Arc::clone(&config), [LINK]);
    let catalog = Catalog::merge(&config.naming, config.listen.page_size.get(), &[]);
    let first = Snapshot::first(config, Arc::default(), Arc::new(catalog), Metrics::new());
    let live = Live::new(first);
    let mut round = 0;
    for batch in batches {
        let writer = Arc::new(StoreWriter::new(store.clone()));
        let numbered = batch.iter().map(|listing| {
            round += 1;
            listed(round, Arc::clone(listing))
        });
        let mut attempts: Vec<_> = numbered.collect();
        apply_listings(&live, &mut state, &mut attempts, Some(&writer));
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
    }
    Arc::new(store.load_listing(&upstream).unwrap().listing)
}

#[tokio::test]
async fn of_two_listings_at_once_the_one_that_is_believed_is_stored() {
    let (one, two) = (
        listing(&[&tool("a", "One.")]),
        listing(&[&tool("a", "Two.")]),
    );
    let nothing = listing(&[]);
    // The same as before, then another one.
    let found = stored(&[&[&one], &[&one, &two]]).await;
    assert_eq!(found.digest(), two.digest());
    // The other way about.
    let found = stored(&[&[&one], &[&two, &one]]).await;
    assert_eq!(found.digest(), one.digest());
    // Another one, then one that is not believed yet.
    let found = stored(&[&[&one], &[&two, &nothing]]).await;
    assert_eq!(found.digest(), two.digest());
    // One that is attempts too late.
    let found = stored(&[&[&one], &[&two, &two]]).await;
    assert_eq!(found.digest(), two.digest());
}

/// Collects the log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock();
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The lines that the gate has logged of the second of two listings.
fn lines(before: &[String], after: &[String]) -> Vec<String> {
    let mut state = State::new(config("drift: hold"), [LINK]);
    let mut log = Vec::new();
    for (round, tools) in (1..).zip([before, after]) {
        let tools: Vec<_> = tools.iter().map(String::as_str).collect();
        let effects = state.apply([StateChange::Listed {
            link: LINK,
            round,
            at: Instant::now(),
            on: SystemTime::UNIX_EPOCH,
            listing: Some(listing(&tools)),
        }]);
        let to = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(to.clone());
        let subscriber = subscriber.with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || drift::log(&state, &effects));
        log = std::mem::take(&mut *to.0.lock());
    }
    let text = String::from_utf8(log).unwrap();
    text.split('\n')
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_name_forges_no_line_of_the_log() {
    let name = "send\n2026-11-22T00:00:00Z  INFO forged\u{1b}[2J";
    let drifted = lines(&[tool(name, "Sends.")], &[tool(name, "Sends all.")]);
    assert_eq!(drifted.len(), 1, "{drifted:?}");
    assert!(!drifted[0].contains('\u{1b}'), "{drifted:?}");
    assert!(drifted[0].contains("send\\n2026"), "{drifted:?}");
    let moved = lines(&[tool(name, "Sends.")], &[tool("post\n\u{1b}", "Sends.")]);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(!moved[0].contains('\u{1b}'), "{moved:?}");
    assert!(moved[0].contains("another name"), "{moved:?}");
}

#[test]
fn a_listing_full_of_drift_does_not_fill_the_log() {
    let all = |what: &dyn Fn(u32) -> String| (0..50).map(what).collect::<Vec<_>>();
    let before = all(&|at| tool(&format!("t{at}"), &format!("Does {at}.")));
    let drifted = lines(&before, &all(&|at| tool(&format!("t{at}"), "Other.")));
    assert_eq!(drifted.len(), 21, "{drifted:#?}");
    assert!(drifted[20].contains("more=30"), "{}", drifted[20]);
    assert!(drifted[20].contains("ann"), "{}", drifted[20]);
    let moved = lines(
        &before,
        &all(&|at| tool(&format!("u{at}"), &format!("Does {at}."))),
    );
    assert_eq!(moved.len(), 21, "{moved:#?}");
    assert!(moved[20].contains("more=30"), "{}", moved[20]);
    // Twenty are told one by one.
    let drifted = lines(
        &before[..20],
        &all(&|at| tool(&format!("t{at}"), "Other."))[..20],
    );
    assert_eq!(drifted.len(), 20, "{drifted:#?}");
}
