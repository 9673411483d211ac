# The steps of tests/run, one by one: `just --list`. tests/run runs all of them, and needs no just.

weir := env("CARGO_TARGET_DIR", "target") / "debug/weir"

[private]
default:
    @just --list

# Everything that has to hold before a change goes in
all *arguments:
    tests/run {{arguments}}

# The demo: upstreams, one catalog, calls, a live change
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Check the format
format:
    cargo fmt --check

# Lints, and whether benches compile
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Unit, property and integration tests; a filter may follow
test *filter:
    cargo test --locked --tests --no-fail-fast {{filter}}

# Examples in the documentation of the code
doctest:
    cargo test --locked --doc

# Documentation of the code
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# The book, in docs/book
book:
    mdbook build docs

# Dependencies: licences, bans, sources, advisories
deny:
    cargo deny --locked check licenses bans sources
    cargo deny --locked check advisories

# Official MCP servers and clients with weir between them
interop *arguments: build
    cargo build --locked --example asking
    tests/interop/run --weir {{weir}} {{arguments}}

# The official conformance suite, directly, through weir and through three weirs
conformance *arguments: build
    tests/conformance/run --weir {{weir}} {{arguments}}

# Weir's detectors and Presidio's, on the same cases
guard *arguments:
    tests/guard/run {{arguments}}

# Two weirs with one key behind nginx, and the store that they share
replicas *arguments: build
    tests/replicas/run --weir {{weir}} {{arguments}}

# The page for operators, in a browser
page *arguments: build
    tests/page/run --weir {{weir}} {{arguments}}

# Signatures, judged by AWS's own SDK
aws *arguments: build
    tests/aws/run --weir {{weir}} {{arguments}}

# Spans and log records, decoded by OpenTelemetry; figures, asked of Prometheus
telemetry *arguments: build
    tests/telemetry/run --weir {{weir}} {{arguments}}

# Tokens from a certified OpenID provider
oauth *arguments: build
    tests/oauth/run --weir {{weir}} {{arguments}}

# The Helm chart, the systemd unit, and the script for AgentCore Runtime
deploy *arguments: build
    tests/deploy/run --weir {{weir}} {{arguments}}

# The image of the Dockerfile, built and run without Docker
image *arguments: build
    tests/image/run --weir {{weir}} {{arguments}}

# Whether a tag could be released: `just release-check v0.1.0`
release-check tag:
    deploy/release check {{tag}}

# The files of a release, as far as this machine can make them, in target/release-files
release:
    deploy/release all

# Write what is generated: the schema, and the reference pages of the book
generate:
    cargo run --locked -- schema > config/weir.schema.json.new
    mv config/weir.schema.json.new config/weir.schema.json
    UPDATE_DOCS=1 cargo test --locked --test it docs

[private]
build:
    cargo build --locked
