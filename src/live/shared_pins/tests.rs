use std::path::Path;

use super::*;
use crate::seal::KeyRing;

fn shared() -> (Arc<SharedPins>, Arc<config::Upstream>) {
    let text = "instance: edge\nsealing_key: { value: 0123456789-0123456789-0123456789 }\n\
                replicas: { store: { url: 'redis://127.0.0.1:1' } }\n\
                upstreams: { a: { url: 'http://127.0.0.1:1/mcp', drift: hold } }\n";
    let config = config::parse(text, Path::new("weir.yaml"), &|_| None).unwrap();
    let keys = KeyRing::from_texts(["key"]).unwrap();
    let settings = config.replicas.as_ref().unwrap();
    let store = settings.store.as_ref().unwrap();
    let store = SharedStore::new(settings, store, &keys).unwrap();
    let upstream = Arc::clone(config.upstreams.first().unwrap().1);
    (SharedPins::new(store), upstream)
}

fn pins(tools: &[(&str, &str)]) -> Arc<Pins> {
    let mut pins = Pins::default();
    for (name, description) in tools {
        let definition =
            format!(r#"{{"name":"{name}","description":"{description}","inputSchema":{{}}}}"#);
        let row = StoredPin {
            kind: Kind::Tools,
            definition: &definition,
            was: None,
            gone: None,
            moved: false,
        };
        assert!(pins.add(&row));
    }
    Arc::new(pins)
}

/// The fields that are new, changed, gone.
fn written(shared: &SharedPins, upstream: &config::Upstream, all: bool) -> [Vec<Field>; 3] {
    let place = place(upstream);
    let changes = shared.changes(&place, "key", all).unwrap();
    let names = |rows: &[(Field, String)]| {
        let mut names: Vec<_> = rows.iter().map(|(field, _)| field.clone()).collect();
        names.sort();
        names
    };
    let found = [
        names(&changes.new),
        names(&changes.changed),
        changes.gone.clone(),
    ];
    shared.upstreams.lock().get_mut(&place).unwrap().known = changes.after;
    found
}

#[test]
fn a_replica_writes_what_changed_on_it_and_leaves_the_rest_alone() {
    let (shared, upstream) = shared();
    let of = |name: &str| field(Kind::Tools, name);
    let mut both = vec![of("a"), of("b")];
    both.sort();
    shared.queue(&upstream, Some(pins(&[("a", "One."), ("b", "One.")])));
    assert_eq!(
        written(&shared, &upstream, false),
        [both.clone(), vec![], vec![]]
    );
    shared.queue(&upstream, Some(pins(&[("a", "Two."), ("b", "One.")])));
    assert_eq!(
        written(&shared, &upstream, false),
        [vec![], vec![of("a")], vec![]]
    );
    // A store that may have lost its data gets everything that it has not.
    assert_eq!(written(&shared, &upstream, true), [both, vec![], vec![]]);
    shared.queue(&upstream, Some(pins(&[("a", "Two.")])));
    assert_eq!(
        written(&shared, &upstream, false),
        [vec![], vec![], vec![of("b")]]
    );
    // Nothing is pinned here any more, which says nothing of the others.
    shared.queue(&upstream, None);
    assert!(shared.changes(&place(&upstream), "key", true).is_none());
}

#[test]
fn when_a_definition_went_is_no_change_and_that_it_moved_is() {
    let row = |gone, moved| StoredPin {
        kind: Kind::Tools,
        definition: r#"{"name":"a","inputSchema":{}}"#,
        was: None,
        gone,
        moved,
    };
    assert_eq!(line(&row(None, false)), line(&row(Some(7), false)));
    assert_ne!(line(&row(Some(7), false)), line(&row(Some(7), true)));
    assert_eq!(line(&row(Some(7), true)), line(&row(Some(9), true)));
}

#[tokio::test]
async fn without_the_store_a_replica_trusts_what_it_has_stored_itself() {
    let (shared, upstream) = shared();
    let own = Pins::clone(&pins(&[("a", "One.")]));
    let found = shared.restore(&upstream, Some(own)).await.unwrap();
    assert_eq!(found.rows().len(), 1);
    assert!(shared.restore(&upstream, None).await.is_none());
}
