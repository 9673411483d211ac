//! Logging in to AWS, against doors that recompute every signature and services that give keys away.

use std::sync::Arc;
use std::time::Duration;

use weir::cli::demo::sigv4::Refusal;

use crate::support::aws::{KEY, Keyring, REGION, SECRET, Services, SigDoor};
use crate::support::upstream::Upstream;
use crate::support::weir::{Builder, Weir};

/// An upstream `shop` behind a door, and keys.
struct Shop {
    server: Upstream,
    keys: Arc<Keyring>,
    door: SigDoor,
}

impl Shop {
    async fn open() -> Self {
        let server = Upstream::named("shop").tools(["buy"]).start().await;
        let keys = Arc::new(Keyring::default());
        let door = SigDoor::before(&server.url(), &keys).await;
        Self { server, keys, door }
    }

    /// A weir over it, as a gateway; `auth` is what follows `type: sigv4`.
    fn gateway(&self, auth: &str) -> Builder {
        let origin = self.door.origin();
        Weir::with(&format!(
            "  shop:\n    gateway: {{ id: gw-ab12cdef34, region: {REGION}, endpoint: '{origin}' }}\n    auth: {{ type: sigv4{auth} }}\n"
        ))
    }
}

/// Keys of the environment, and nothing of the machine's own.
fn keys() -> Vec<(&'static str, String)> {
    let mut env = nowhere();
    env.push(("AWS_ACCESS_KEY_ID", KEY.to_owned()));
    env.push(("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()));
    env
}

fn nowhere() -> Vec<(&'static str, String)> {
    let mut env = Vec::new();
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        env.push((name, "/nonexistent".to_owned()));
    }
    env.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    env
}

async fn buys(weir: &Weir, times: usize) {
    let modern = weir.modern();
    let calls = (0..times).map(|_| modern.call("shop__buy", "{}"));
    for answer in futures::future::join_all(calls).await {
        assert!(answer.text().starts_with("shop.buy"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_gateway_takes_what_weir_signs() {
    let shop = Shop::open().await;
    let weir = shop.gateway("").env(keys()).start().await;
    weir.wait_tools(["shop__buy"]).await;
    buys(&weir, 3).await;
    assert_eq!(shop.door.refusals(), []);
}
