//! Tasks from their beginning to every end, as tables.

use super::*;

const GET: &str = method::TASKS_GET;
const FORM: &str = r#"{"method":"elicitation/create","params":{"message":"\u0041"}}"#;

fn begun(upstream: Era, result: &str) -> (DrivenTask, TaskStep) {
    DrivenTask::begin(upstream, result).expect("it is a task")
}

fn modern() -> DrivenTask {
    let working = r#"{"resultType":"task","taskId":"7","status":"working"}"#;
    begun(Era::Modern, working).0
}

fn legacy() -> DrivenTask {
    begun(Era::Legacy, r#"{"task":{"taskId":"7","status":"working"}}"#).0
}

fn send(milliseconds: u64, method: &'static str) -> TaskStep {
    TaskStep::Send(Duration::from_millis(milliseconds), method)
}

fn malformed(reason: &'static str) -> TaskStep {
    TaskStep::Fail(TaskFailure::Malformed(reason))
}

#[test]
fn a_task_is_followed_at_the_pace_of_its_upstream_within_bounds() {
    for (upstream, result, pause) in [
        (Era::Modern, r#"{"resultType":"task","taskId":"7"}"#, 1000),
        (
            Era::Modern,
            r#"{"resultType":"task","taskId":"7","status":"working","pollIntervalMs":2500}"#,
            2500,
        ),
        (
            Era::Modern,
            r#"{"resultType":"task","taskId":"7","status":"working","pollIntervalMs":0}"#,
            100,
        ),
        (
            Era::Modern,
            r#"{"resultType":"task","taskId":"7","status":"working","pollIntervalMs":1e400}"#,
            30_000,
        ),
        (
            Era::Modern,
            r#"{"resultType":"task","taskId":"7","status":"working","pollIntervalMs":"5"}"#,
            1000,
        ),
        (
            Era::Modern,
            r#"{"resultType":"task","taskId":"7","status":"completed","pollIntervalMs":2500}"#,
            0,
        ),
        (
            Era::Legacy,
            r#"{"task":{"taskId":"7","status":"working","pollInterval":3e2}}"#,
            300,
        ),
        (
            Era::Legacy,
            r#"{"task":{"taskId":"7","status":"input_required","pollInterval":300}}"#,
            0,
        ),
    ] {
        let (task, step) = begun(upstream, result);
        assert_eq!(step, send(pause, GET), "{result}");
        assert_eq!((task.id(), task.is_over()), ("7", false));
    }
    let mut task = modern();
    let slower = r#"{"resultType":"complete","status":"working","pollIntervalMs":5000}"#;
    assert_eq!(task.take(Ok(slower)), send(5000, GET));
    assert_eq!(task.take(Ok(r#"{"status":"working"}"#)), send(5000, GET));
    assert_eq!(task.again(), (Duration::from_secs(5), GET));
}

#[test]
fn a_result_that_is_no_task_is_left_alone() {
    for (upstream, result) in [
        (
            Era::Modern,
            r#"{"resultType":"complete","content":[],"task":{"taskId":"7"}}"#,
        ),
        (Era::Modern, r#"{"content":[{"resultType":"task"}]}"#),
        (Era::Modern, "[]"),
        (Era::Legacy, r#"{"resultType":"task","taskId":"7"}"#),
        (Era::Legacy, r#"{"content":[],"task":null}"#),
        (Era::Legacy, r#"{"content":[],"task":{}}"#),
    ] {
        assert!(DrivenTask::begin(upstream, result).is_none(), "{result}");
    }
    let long = format!(
        r#"{{"resultType":"task","taskId":"{}"}}"#,
        "x".repeat(TASK_ID_BYTES + 1)
    );
    for (upstream, result) in [
        (Era::Modern, r#"{"resultType":"task"}"#),
        (Era::Modern, r#"{"resultType":"task","taskId":7}"#),
        (Era::Modern, long.as_str()),
        (Era::Legacy, r#"{"task":{"status":"working"}}"#),
    ] {
        let (task, step) = begun(upstream, result);
        let reason = "its task has no id, or one that is too long";
        assert_eq!((step, task.is_over()), (malformed(reason), true));
    }
}

#[test]
fn a_modern_task_ends_with_what_its_state_has() {
    let not_mcp = || malformed("the state of its task is not MCP");
    for (state, expected, is_over) in [
        (
            r#"{"status":"completed","result":{"content":[ ],"n":1e400}}"#,
            TaskStep::Result(r#"{"content":[ ],"n":1e400}"#.to_owned()),
            true,
        ),
        (
            r#"{"status":"completed","result":{"isError":true,"resultType":"complete"}}"#,
            TaskStep::Result(r#"{"isError":true,"resultType":"complete"}"#.to_owned()),
            true,
        ),
        (
            r#"{"status":"failed","error":{"code":-5,"message":"\u0041"}}"#,
            TaskStep::Error(r#"{"code":-5,"message":"\u0041"}"#.to_owned()),
            true,
        ),
        (
            r#"{"status":"cancelled"}"#,
            TaskStep::Fail(TaskFailure::Cancelled),
            true,
        ),
        (r#"{"status":"completed"}"#, not_mcp(), false),
        (
            r#"{"status":"completed","result":{"resultType":"input_required"}}"#,
            not_mcp(),
            false,
        ),
        (r#"{"status":"failed","error":null}"#, not_mcp(), false),
        (r#"{"status":"failed","error":"x"}"#, not_mcp(), false),
        (r#"{"status":"paused"}"#, not_mcp(), false),
        ("{}", not_mcp(), false),
        ("7", not_mcp(), false),
    ] {
        let mut task = modern();
        assert_eq!(task.take(Ok(state)), expected, "{state}");
        assert_eq!(task.is_over(), is_over, "{state}");
    }
    let mut task = modern();
    let lost = task.take(Err(r#"{"code":-32602,"message":"no such task"}"#));
    assert_eq!(lost, TaskStep::Fail(TaskFailure::Lost));
    assert!(!task.is_over());
}

#[test]
fn a_modern_task_asks_each_question_once() {
    let asks = |keys: &[&str]| {
        let asks = keys.iter().map(|key| format!("\"{key}\":{FORM}"));
        let asks = asks.collect::<Vec<_>>().join(",");
        format!(r#"{{"status":"input_required","pollIntervalMs":200,"inputRequests":{{{asks}}}}}"#)
    };
    let question = |key: &str| {
        TaskStep::Ask(format!(
            r#"{{"resultType":"input_required","inputRequests":{{"{key}":{FORM}}}}}"#
        ))
    };
    let mut task = modern();
    assert_eq!(task.take(Ok(&asks(&["a"]))), question("a"));
    // The next answer is that to `tasks/update`.
    assert_eq!(task.take(Ok("{}")), send(100, GET));
    // It has not seen the answer yet.
    assert_eq!(task.take(Ok(&asks(&["a"]))), send(200, GET));
    assert_eq!(task.take(Ok(&asks(&["a", "b"]))), question("b"));
    assert_eq!(task.again(), (Duration::from_millis(200), GET));
    let lost = task.take(Err(r#"{"code":-32602,"message":"x"}"#));
    assert_eq!(lost, TaskStep::Fail(TaskFailure::Lost));

    let mut task = modern();
    let none = r#"{"status":"input_required"}"#;
    assert_eq!(task.take(Ok(none)), send(1000, GET));
    let odd = r#"{"status":"input_required","inputRequests":[1]}"#;
    assert_eq!(task.take(Ok(odd)), malformed("its questions are not MCP"));
    let many: Vec<_> = (0..=MOST_ASKS).map(|at| at.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let reason = "its task asks too many questions";
    assert_eq!(modern().take(Ok(&asks(&many))), malformed(reason));
}

#[test]
fn a_legacy_task_ends_with_what_is_asked_for_at_its_end() {
    let result = send(0, method::TASKS_RESULT);
    for (state, is_over) in [
        ("completed", true),
        ("failed", true),
        ("input_required", false),
    ] {
        let mut task = legacy();
        let state = format!(r#"{{"taskId":"7","status":"{state}"}}"#);
        assert_eq!(task.take(Ok(&state)), result, "{state}");
        assert_eq!(task.is_over(), is_over, "{state}");
        let again = (Duration::from_secs(1), method::TASKS_RESULT);
        assert_eq!(task.again(), again);
        let ended = task.take(Ok(r#"{"content":[ ],"isError":true}"#));
        let expected = r#"{"content":[ ],"isError":true}"#;
        assert_eq!(ended, TaskStep::Result(expected.to_owned()));
        assert!(task.is_over());
    }
    let mut task = legacy();
    task.take(Ok(r#"{"status":"failed"}"#));
    let error = r#"{"code":-32603,"message":"\u0041"}"#;
    assert_eq!(task.take(Err(error)), TaskStep::Error(error.to_owned()));
    let cancelled = legacy().take(Ok(r#"{"status":"cancelled"}"#));
    assert_eq!(cancelled, TaskStep::Fail(TaskFailure::Cancelled));
}

#[test]
fn the_result_of_a_legacy_task_does_not_name_it() {
    for (result, expected) in [
        (
            r#"{"content":[ ],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"7"}}}"#,
            r#"{"content":[ ]}"#,
        ),
        (
            r#"{"content":[ ],"_meta":{"a":1e400,"io.modelcontextprotocol/related-task":{"taskId":"7"}}}"#,
            r#"{"content":[ ],"_meta":{"a":1e400}}"#,
        ),
        (
            r#"{"content":[ ],"_meta":{"a": 1e400}}"#,
            r#"{"content":[ ],"_meta":{"a": 1e400}}"#,
        ),
        (r#"{"_meta":7}"#, r#"{"_meta":7}"#),
        ("7", "7"),
    ] {
        assert_eq!(without_related(result), expected);
    }
}

#[test]
fn a_client_declares_the_extension_beside_what_it_declares() {
    let tasks = r#""io.modelcontextprotocol/tasks":{}"#;
    for (capabilities, expected) in [
        ("{}", format!(r#"{{"extensions":{{{tasks}}}}}"#)),
        (
            r#"{"roots":{ },"extensions":{"x/y":{"a":1e400}}}"#,
            format!(r#"{{"roots":{{ }},"extensions":{{"x/y":{{"a":1e400}},{tasks}}}}}"#),
        ),
    ] {
        assert_eq!(with_extension(capabilities), expected);
    }
}
