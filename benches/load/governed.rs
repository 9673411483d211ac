//! The cost of knowing callers and of policies: API keys, tokens, policies by class and on arguments, beside
//! a weir without them.
//!
//! 1,000 principals in 20 classes, 50 policies. Each class is permitted every tool but one, so that each has
//! lists of its own.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::json;
use weir::authentication::{ApiKeyText, make_api_key, write_hash};

use crate::caller::{Caller, Era};
use crate::measure::{self, Point, TEXT_BYTES, Work};
use crate::parts::{Plan, Results};
use crate::report::{self, number, say, time};
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject};
use crate::signing::{SigningKey, jwks};
use crate::summary::median;
use crate::tools::ACTIVE;

const PRINCIPALS: usize = 1_000;
const CLASSES: usize = 20;
const POLICIES: usize = 50;
const ISSUER: &str = "https://issuer.example";
/// Tokens that differ, of as many callers as there are at once: more than weir remembers.
const NEW_TOKENS: usize = 24_000;
const CALLERS: usize = 32;
/// Lists of each subject in each round.
const LISTS: usize = 60;
/// The time for which weir is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// The lists of a weir of 2,000 tools.
#[derive(Serialize)]
pub(crate) struct GovernedLists {
    subject: Kind,
    p50_us: f64,
    /// Callers that each list for the first time: 1,000 principals in 20 classes.
    first_us: f64,
    /// The memory that this took, for good.
    grown_kib: u64,
}

/// Writes keys, tokens and policies.
pub(crate) fn write_files(folder: &Path) -> Result<(), String> {
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
    };
    let key = SigningKey::p256();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = now.unwrap_or_default().as_secs() + 86_400;
    let (mut tokens, mut keys, mut hashes) = (String::new(), String::new(), String::new());
    for number in 0..PRINCIPALS {
        let claims = json!({
            "iss": ISSUER, "aud": "weir", "sub": format!("p{number}"), "exp": end,
            "groups": [format!("g{}", number % CLASSES)],
        });
        let _ = writeln!(tokens, "{}", key.sign(&json!({ "kid": "k" }), &claims));
        let id = format!("k{number}");
        let made = make_api_key(&id).ok_or("no random bytes")?;
        let text = ApiKeyText::parse(made.expose()).map_err(|error| error.to_string())?;
        let hash = write_hash(&text.hash());
        let _ = writeln!(hashes, "{id}: {{ subject: p{number}, hash: \"{hash}\" }}");
        let _ = writeln!(keys, "{}", made.expose());
    }
    let mut new_tokens = String::new();
    for number in 0..NEW_TOKENS {
        let claims = json!({
            "iss": ISSUER, "aud": "weir", "sub": format!("p{}", number % CALLERS), "exp": end,
            "jti": number.to_string(), "groups": ["g0"],
        });
        let _ = writeln!(new_tokens, "{}", key.sign(&json!({ "kid": "k" }), &claims));
    }
    crate::transport::write_certificate(folder)?;
    write("new_tokens.txt", &new_tokens)?;
    write("jwks.json", &jwks(&[key.jwk("k")]))?;
    write("tokens.txt", &tokens)?;
    write("keys.txt", &keys)?;
    write("keys.yaml", &hashes)?;
    write("classes.cedar", &policies(""))?;
    let on_text = "context.input has text && context.input.text like \"*drop*\"";
    write("arguments.cedar", &policies(on_text))
}

/// Permits each class everything but one tool; the rest are forbids under a condition, of the tools that are
/// called where there is one.
fn policies(condition: &str) -> String {
    let mut text = String::new();
    for class in 0..CLASSES {
        let member = format!(
            "principal.hasTag(\"groups\") && principal.getTag(\"groups\") like \"*\\\"g{class}\\\"*\""
        );
        let _ = writeln!(
            text,
            "permit(principal is AgentCore::OAuthUser, action, resource) when {{ {member} }};"
        );
        let tool = format!("u00___search_{:04}", ACTIVE.len() + class);
        let _ = writeln!(
            text,
            "forbid(principal is AgentCore::OAuthUser, action == AgentCore::Action::\"{tool}\", resource) when {{ {member} }};"
        );
    }
    for number in 2 * CLASSES..POLICIES {
        let (tool, condition) = match condition {
            "" => (
                format!("u01___search_{number:04}"),
                "context.weir.era == \"none\"",
            ),
            condition => (format!("u0{}___echo", number % 2), condition),
        };
        let _ = writeln!(
            text,
            "forbid(principal, action == AgentCore::Action::\"{tool}\", resource) when {{ {condition} }};"
        );
    }
    text
}

pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    write_files(&run_files.folder)?;
    let kinds = [
        Kind::Route,
        Kind::Weir,
        Kind::Keys,
        Kind::Tokens,
        Kind::Classes,
        Kind::Arguments,
    ];
    let setup = Setup::start(run_files, plan.shape.clone(), &kinds).await?;
    for callers in [1, 32] {
        let point = Point {
            work: Work::Call,
            modern: false,
            callers,
            text: TEXT_BYTES,
        };
        let samples = measure::rounds(&setup, point, plan.pace).await;
        report::point(&samples);
        results.samples.extend(samples);
    }
    setup.stop().await;
    let shape = Shape {
        servers: 20,
        tools: 100,
        weir_page_size: plan.list_page_size,
        ..plan.shape.clone()
    };
    let kinds = [Kind::Weir, Kind::Tokens, Kind::Classes];
    let setup = Setup::start(run_files, shape, &kinds).await?;
    let lists = measure_lists(&setup, plan.pace.rounds).await;
    setup.stop().await;
    print(&lists.as_ref().map_err(Clone::clone)?[..]);
    results.governed = lists?;
    Ok(())
}

async fn measure_lists(setup: &Setup, rounds: usize) -> Result<Vec<GovernedLists>, String> {
    let mut lists = Vec::new();
    for subject in &setup.subjects {
        report::progress(&format!("first lists: {}", report::name(subject.kind)));
        let before = subject.memory();
        let mut first = Vec::new();
        for principal in 0..PRINCIPALS {
            first.push(caller(subject, principal).first_page().await?);
        }
        tokio::time::sleep(SETTLE).await;
        lists.push(GovernedLists {
            subject: subject.kind,
            p50_us: f64::NAN,
            first_us: median(first.iter().map(micros)),
            grown_kib: subject.memory().rss_kib.saturating_sub(before.rss_kib),
        });
    }
    let mut times = vec![Vec::new(); lists.len()];
    for round in 0..rounds.max(1) * LISTS {
        for (subject, times) in setup.subjects.iter().zip(&mut times) {
            let mut caller = caller(subject, round);
            // The first opens the connection.
            caller.first_page().await?;
            times.push(micros(&caller.first_page().await?));
        }
    }
    for (figure, times) in lists.iter_mut().zip(times) {
        figure.p50_us = median(times);
    }
    Ok(lists)
}

fn micros(took: &Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

fn caller(subject: &Subject, principal: usize) -> Caller {
    let target = &subject.targets[0];
    Caller::new(target.address, Era::Modern).with_credential(target.credential(principal))
}

#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
fn print(lists: &[GovernedLists]) {
    say(&format!(
        "\ntools/list, the first 1,000 of 2,000 tools, {PRINCIPALS} principals in {CLASSES} classes, {POLICIES} policies"
    ));
    let mut table = report::table(&[
        "subject",
        "p50",
        "× weir",
        "p50 of first lists",
        "grown MiB",
    ]);
    let base = lists.first().map_or(f64::NAN, |figure| figure.p50_us);
    for figure in lists {
        let cells = vec![
            report::name(figure.subject).to_owned(),
            time(figure.p50_us),
            number(figure.p50_us / base, 2),
            time(figure.first_us),
            number(figure.grown_kib as f64 / 1024.0, 1),
        ];
        report::row(&mut table, cells);
    }
    say(&table.to_string());
}
