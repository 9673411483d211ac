//! Weir in this process: what replaces `Process` inside `Weir` once `weir::Server` is there.
//! Not in the mod list yet. Ports are fixed in the config, so nothing else of `Weir` changes.

use std::path::Path;

use weir::{Options, Server, config};

/// Starts weir from the config file in `home`.
pub async fn start(home: &Path) -> Server {
    let file = home.join("weir.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let config = config::parse(&text, &file, &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let options = Options {
        guard: Some(env!("CARGO_BIN_EXE_weir").into()),
        stores: true,
    };
    Server::start(config, options).await.unwrap()
}
