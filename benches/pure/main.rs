//! The cost of the pure parts: reading a message, preparing a listing, merging, serving a page.
//!
//! `cargo bench --bench pure`. Read the ratios, not the figures: machines differ.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench is a test: it may fail loudly, and nobody reads its interface"
)]

mod calls;
mod catalogs;
mod data;
mod policies;
#[path = "../../src/authentication/jwt/tests/signing.rs"]
mod signing;
mod tokens;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}
