//! Each part of a call has its own budget.

use std::time::{Duration, Instant};

use super::{Zoo, at, beast, beside};
use crate::support::upstream::{Fault, On, Times};

#[tokio::test]
async fn the_first_byte_has_its_own() {
    let up = beast().gate("slow").progress("slow", 1).start().await;
    let yaml = at(&up.url()).replace("call: 800ms", "first_byte: 200ms, call: 5s");
    let yaml = yaml.replace("idle: 500ms", "idle: 5s");
    beside(&yaml, async |zoo: &Zoo| {
        zoo.listed().await;
        up.fault(
            On::Tool("search".into()),
            Times::Next(1),
            Fault::StallHeaders,
        );
        zoo.fails(
            "no answer in time",
            "no first byte of an answer within 200ms",
        )
        .await;
        // A stream that has begun may take its time.
        let begun = Instant::now();
        let release = async {
            up.wait_running("slow", 1).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
            up.release("slow");
        };
        let (reply, ()) = tokio::join!(zoo.call("slow"), release);
        assert!(reply.succeeded(), "{reply:?}");
        assert!(begun.elapsed() >= Duration::from_millis(400));
    })
    .await;
}

#[tokio::test]
async fn a_dribble_ends_with_the_call() {
    // A byte at a time is no silence, so only the whole budget ends it.
    let up = beast().start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        up.fault(On::Tool("search".into()), Times::Forever, Fault::KeepAlives);
        let begun = Instant::now();
        zoo.fails("no answer in time", "no answer within the time budget")
            .await;
        assert!(begun.elapsed() >= Duration::from_millis(800));
    })
    .await;
}
