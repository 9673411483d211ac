use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config;
use crate::seal::KeyRing;

fn store(key: &str) -> Arc<SharedStore> {
    let text = "instance: edge\nsealing_key: { value: 0123456789-0123456789-0123456789 }\n\
                replicas: { store: { url: 'redis://127.0.0.1:1', timeout: 5s } }\n";
    let config = config::parse(text, std::path::Path::new("weir.yaml"), &|_| None).unwrap();
    let keys = KeyRing::from_texts([key]).unwrap();
    let settings = config.replicas.as_ref().unwrap();
    let store = settings.store.as_ref().unwrap();
    SharedStore::new(settings, store, &keys).unwrap()
}

#[test]
fn a_value_opens_in_its_place_and_with_its_key_only() {
    let (one, other) = (store("a"), store("b"));
    let sealed = one.seal("here", b"value").unwrap();
    assert_eq!(
        store("a").unseal("here", &sealed).as_deref(),
        Some(b"value".as_slice())
    );
    assert_eq!(one.unseal("there", &sealed), None);
    assert_eq!(one.unseal("her", &sealed), None);
    assert_eq!(other.unseal("here", &sealed), None);
    assert_eq!(one.unseal("here", "value"), None);
    let mark = one.mark(&["a", "b"]);
    assert!(store("a").is_mark(&mark, &["a", "b"]) && !one.is_mark(&mark, &["a", "c"]));
    assert!(!other.is_mark(&mark, &["a", "b"]));
}

#[test]
fn news_are_of_others_and_have_a_form() {
    let message = StoreNews::message(NewsTopic::Sessions, "me", "e 00 1 0");
    let read = StoreNews::read(message.as_bytes(), "you").unwrap();
    assert_eq!((read.topic, &*read.text), (NewsTopic::Sessions, "e 00 1 0"));
    assert_eq!(StoreNews::read(message.as_bytes(), "me"), None);
    for odd in ["", "pins", "pins x", "pints x y", "reached x y", "\u{0}"] {
        assert_eq!(StoreNews::read(odd.as_bytes(), "me"), None, "{odd}");
    }
    assert_eq!(StoreNews::read(&[0xff, b' ', b' '], "me"), None);
}

#[tokio::test]
async fn without_a_connection_nobody_waits() {
    let store = store("a");
    let ping = redis::cmd("PING");
    let asked = store.ask::<String>(&ping);
    let answer = tokio::time::timeout(Duration::from_millis(100), asked).await;
    assert_eq!(answer, Ok(Err(StoreLost)));
    store.tell(NewsTopic::Pins, "x");
    let status = store.status();
    assert_eq!(
        (status.store, status.losses, status.failures),
        (StoreState::Connecting, 0, 2)
    );
    assert!(!store.reached(Duration::ZERO).await);
}

#[tokio::test]
async fn a_server_that_is_none_is_tried_on_and_weir_stops_at_once() {
    let store = store("a");
    let stop = tokio_util::sync::CancellationToken::new();
    let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let dial: Dial = Box::new(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async {
            // Its other end says something that is not of the protocol.
            let (near, mut far) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut far, b"SSH-2.0\r\n")
                .await
                .ok();
            let login = StoreLogin {
                database: 0,
                username: None,
                password: None,
            };
            Ok(DialedStore {
                stream: Box::new(near),
                login,
            })
        })
    });
    let running = Arc::clone(&store).run(dial, stop.clone());
    let tasks = tokio_util::task::TaskTracker::new();
    let running = tasks.spawn(running);
    while tries.load(std::sync::atomic::Ordering::Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!store.is_up());
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), running).await;
    assert!(ended.is_ok());
}
