//! Facts about the build of this weir. `build.rs` finds them; `unknown` stands for what it did not find.

/// The version of weir.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from: a whole hash, or what `WEIR_COMMIT` named. Ends in `-changed` for a
/// crate that was packed with changes. `unknown` in debug builds.
pub const COMMIT: &str = env!("WEIR_BUILD_COMMIT");

/// The date of the source in UTC, such as `2026-11-30`: that of `SOURCE_DATE_EPOCH`.
pub const DATE: &str = env!("WEIR_BUILD_DATE");

/// The profile of cargo: `debug`, `release` or `dist`.
pub const PROFILE: &str = env!("WEIR_BUILD_PROFILE");

/// The target triple, such as `x86_64-unknown-linux-gnu`.
pub const TARGET: &str = env!("WEIR_BUILD_TARGET");

/// The version of the compiler, such as `1.95.0`.
pub const RUSTC: &str = env!("WEIR_BUILD_RUSTC");

/// All of it, in the order of the labels of `weir_build_info`.
pub const LABELS: [&str; 6] = [VERSION, COMMIT, DATE, PROFILE, TARGET, RUSTC];

/// All of it, a line each, for `weir --version`.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:  ",
    env!("WEIR_BUILD_COMMIT"),
    "\ndate:    ",
    env!("WEIR_BUILD_DATE"),
    "\nprofile: ",
    env!("WEIR_BUILD_PROFILE"),
    "\ntarget:  ",
    env!("WEIR_BUILD_TARGET"),
    "\nrustc:   ",
    env!("WEIR_BUILD_RUSTC"),
);
