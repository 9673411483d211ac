//! `GET /records`: the last records, which are kept in memory.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::admin::response::json_response;
use crate::audit::{AuditStatus, RecordFilter};
use crate::live::Live;

/// How many records are answered if it is not said, and at most.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// Answers `GET /records`: the newest first, those that every parameter of the query lets through
/// (`caller`, `tool`, `upstream`, `method`, `decision`, `status`, `request_id`, `since`, `until`,
/// `limit`), and the state of the record file. It needs the token or a role even where reading is
/// open. 400 for a wrong parameter, 404 without `audit`.
pub(super) async fn records(State(live): State<Arc<Live>>, RawQuery(query): RawQuery) -> Response {
    // `Value` has no raw text, so that a line keeps its bytes only in a type of its own.
    match find_records(&live, &query.unwrap_or_default()) {
        Ok(answer) => json_response(StatusCode::OK, &answer),
        Err((status, error)) => json_response(status, &json!({ "error": error })),
    }
}

/// The answer to a request for records.
#[derive(serde::Serialize)]
pub(crate) struct RecordsAnswer {
    /// The state of the record file.
    pub(crate) audit: AuditStatus,
    /// The records, the newest first.
    pub(crate) records: Vec<Box<RawValue>>,
}

/// Finds records.
///
/// # Errors
/// The status and the text of the answer to a wrong query, or where no records are kept.
pub(crate) fn find_records(
    live: &Live,
    query: &str,
) -> Result<RecordsAnswer, (StatusCode, String)> {
    let Some(audit) = live.audit() else {
        let error = "no records are kept: the config has no `audit`";
        return Err((StatusCode::NOT_FOUND, error.to_owned()));
    };
    let (filter, limit) = read_query(query).map_err(|error| (StatusCode::BAD_REQUEST, error))?;
    let found = audit.recent().find(&filter, limit).into_iter();
    let found = found.filter_map(|line| RawValue::from_string(line).ok());
    Ok(RecordsAnswer {
        audit: audit.status(),
        records: found.collect(),
    })
}

fn read_query(query: &str) -> Result<(RecordFilter, usize), String> {
    let (mut filter, mut limit) = (RecordFilter::default(), USUAL);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let member = match &*name {
            "caller" => &mut filter.caller,
            "tool" => &mut filter.tool,
            "upstream" => &mut filter.upstream,
            "method" => &mut filter.method,
            "decision" => &mut filter.decision,
            "status" => &mut filter.status,
            "request_id" => &mut filter.request_id,
            "since" => &mut filter.since,
            "until" => &mut filter.until,
            "limit" => {
                let number = value.parse::<usize>().ok();
                let number = number.filter(|number| (1..=MOST).contains(number));
                limit = number.ok_or_else(|| format!("`limit` is a number from 1 to {MOST}"))?;
                continue;
            }
            other => {
                let other: String = other.chars().take(64).collect();
                return Err(format!("unknown parameter `{other}`"));
            }
        };
        *member = Some(value.into_owned());
    }
    let filter = filter.with_times(SystemTime::now());
    Ok((filter.map_err(|error| error.to_string())?, limit))
}
