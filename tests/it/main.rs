//! Weir's integration tests: one binary, a file per behaviour, real servers and real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says where"
)]
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "nothing outside this binary sees these modules"
)]

mod support;

// The source itself.
mod docs;
mod house;

// The doubles, held to the protocol themselves.
mod child_test;
mod faults_test;
mod support_test;

// Weir.
mod access;
mod additions;
mod admin_identities;
mod advice;
mod agentcore;
mod asks;
mod audit;
mod aws;
mod batches;
mod browsers;
mod budget;
mod build_info;
mod callers;
mod catalog;
mod chains;
mod checks;
mod children;
mod codings;
mod commands;
mod config_source;
mod confined;
mod connections;
mod cookies;
mod corpus;
mod crossing;
mod drain;
mod drift;
mod environment;
mod eras;
mod explain;
mod face_legacy;
mod face_modern;
mod face_stdio;
mod forwarding;
mod get_streams;
mod guard;
mod habits;
mod hooks;
mod hosted;
mod hosts;
mod identity;
mod identity_bound;
mod import;
mod instructions;
mod isolation;
mod issuers;
mod kept_alive;
mod keys;
mod leaks;
mod limits;
mod linear;
mod listener_tls;
mod logins;
mod lossless;
mod metrics;
mod mirrored;
mod mistakes;
mod named_resources;
mod nulls;
mod on_behalf;
mod one_list;
mod operators;
mod outbox;
mod paces;
mod packaged;
mod page;
mod patience;
mod plan;
mod platform_sessions;
mod policy;
mod policy_document;
mod reaper;
mod records;
mod redirects;
mod reload;
mod replicas;
mod rotation;
mod secrets;
mod session_lives;
mod shares;
mod sigv4;
mod soak;
mod stale;
mod starts;
mod stored;
mod streams;
mod swap;
mod telemetry;
mod terminals;
mod tls;
mod tokens;
mod tool_checks;
mod tool_rules;
mod traces;
mod trusted;
mod upstreams;
mod validation;
mod views;
mod watch;
mod zoo;
