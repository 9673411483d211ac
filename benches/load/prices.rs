//! The price list: what each thing that can be switched on adds to a call, and all of it together.

use crate::governed;
use crate::measure::{self, Point, Work};
use crate::parts::{Plan, Results};
use crate::report;
use crate::setup::{Kind, RunFiles, Setup};

const KIB: usize = 1024;
const CALLERS: usize = 32;

/// Measures calls of 32 callers: 1 KiB with each rule, and 10 and 100 KiB where the price is by the byte.
/// And those of one caller, where a price is a time to wait.
pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    governed::write_files(&run_files.folder)?;
    let kinds = [
        Kind::Route,
        Kind::Weir,
        Kind::Saas,
        Kind::Sigv4,
        Kind::Http2,
        Kind::Tls,
        Kind::Tokens,
        Kind::NewTokens,
        Kind::Classes,
        Kind::Arguments,
        Kind::Limited,
        Kind::Validated,
        Kind::Redacted,
        Kind::Recorded,
        Kind::Sampled,
        Kind::Traced,
        Kind::Hooked,
        Kind::Everything,
    ];
    measure_calls(run_files, plan, &kinds, &[(CALLERS, KIB)], results).await?;
    let waits = [Kind::Weir, Kind::Recorded, Kind::Hooked];
    measure_calls(run_files, plan, &waits, &[(1, KIB)], results).await?;
    let by_the_byte = [
        Kind::Route,
        Kind::Weir,
        Kind::Validated,
        Kind::Redacted,
        Kind::Everything,
    ];
    let texts = [(CALLERS, 10 * KIB), (CALLERS, 100 * KIB)];
    measure_calls(run_files, plan, &by_the_byte, &texts, results).await?;
    report::prices(&results.samples);
    Ok(())
}

async fn measure_calls(
    run_files: &RunFiles,
    plan: &Plan,
    kinds: &[Kind],
    points: &[(usize, usize)],
    results: &mut Results,
) -> Result<(), String> {
    let setup = Setup::start(run_files, plan.shape.clone(), kinds).await?;
    for (callers, text) in points.iter().copied() {
        let point = Point {
            work: Work::Call,
            modern: false,
            callers,
            text,
        };
        let samples = measure::rounds(&setup, point, plan.pace).await;
        report::point(&samples);
        results.samples.extend(samples);
    }
    setup.stop().await;
    Ok(())
}
