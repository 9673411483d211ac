//! Weirs that list weirs.

use super::*;

/// Returns the list of a weir of this name: of its own upstream and of the other weirs.
pub(super) fn weir(name: &str, own: Up, others: &[(&str, &Catalog)]) -> Catalog {
    let mut ups = vec![own];
    for (other, catalog) in others {
        let mut up = Up::new(other);
        for kind in Kind::ALL {
            for raw in listed(catalog, kind, Era::Legacy) {
                up = up.raw(kind, raw);
            }
        }
        ups.push(up);
    }
    ups.iter_mut()
        .for_each(|up| up.instance = Instance::parse(name).ok());
    catalog(&ups)
}

/// Every weir lists the next one, the last one the first, until nothing changes any more.
fn ring(size: usize) -> Vec<Catalog> {
    let name = |at: usize| format!("w{}", at % size);
    let own = |at: usize| {
        let (tool, uri) = (format!("t{at}"), format!("file:///{at}"));
        Up::new("up").tools(&[&tool]).resources(&[&uri])
    };
    let mut ring: Vec<Catalog> = (0..size).map(|at| weir(&name(at), own(at), &[])).collect();
    for _ in 0..=size {
        let before: Vec<_> = ring.iter().map(Catalog::digest).collect();
        for at in 0..size {
            let next = &ring[(at + 1) % size];
            ring[at] = weir(&name(at), own(at), &[(&name(at + 1), next)]);
        }
        if before == ring.iter().map(Catalog::digest).collect::<Vec<_>>() {
            return ring;
        }
    }
    panic!("{size} weirs in a ring never come to rest");
}

#[test]
fn weirs_that_list_each_other_come_to_rest_with_everything_once() {
    let pair = ring(2);
    assert_eq!(exposed(&pair[0], Kind::Tools), ["up__t0", "w1__up__t1"]);
    assert_eq!(exposed(&pair[1], Kind::Tools), ["up__t1", "w0__up__t0"]);
    for size in [2, 3, 8] {
        for (at, catalog) in ring(size).iter().enumerate() {
            for kind in [Kind::Tools, Kind::Resources] {
                assert_eq!(catalog.len(kind), size, "weir {at} of {size}: {kind}");
            }
        }
    }
    // Nine in a ring: what is nine weirs away is out of reach.
    for catalog in ring(9) {
        assert_eq!(catalog.len(Kind::Tools), 8);
    }
}

#[test]
fn each_weir_puts_itself_before_the_origin_of_a_definition() {
    let far = weir("b", Up::new("up").tools(&["t"]), &[]);
    let near = weir("a", Up::new("up").tools(&["t"]), &[("b", &far)]);
    let expected = [
        r#"{"name":"up__t","inputSchema":{},"_meta":{"weir/origin":["a"]}}"#,
        r#"{"name":"b__up__t","inputSchema":{},"_meta":{"weir/origin":["a","b"]}}"#,
    ];
    assert_eq!(listed(&near, Kind::Tools, Era::Modern), expected);
}
