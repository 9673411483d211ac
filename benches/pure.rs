//! The cost of the pure parts: reading a message, preparing a listing, merging, serving a page.
//!
//! `cargo bench --bench pure`. Read the ratios, not the figures: machines differ.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench is a test: it may fail loudly, and nobody reads its interface"
)]

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use futures::FutureExt as _;
use weir::audit::{AuditKeys, AuditLog, AuditSigner};
use weir::authentication::AuthenticationContext;
use weir::authentication::jwt::JwtAuthenticator;
use weir::caller::{Caller, Identity, Principal};
use weir::catalog::{Catalog, Kind, Listing, Part, PerKind, Prepared, Rules, listing};
use weir::classes::Class;
use weir::config::{Instructions, ListenAuth, Search, ToolRules, ValidateAction, ValidateSettings};
use weir::guard::coverage::Shape;
use weir::guard::detectors::Detectors;
use weir::guard::pseudonyms::{
    Form, PseudonymKeys, PseudonymStore, Pseudonyms, Scheme, StoreLimits,
};
use weir::guard::validate::{Schemas, check_arguments};
use weir::guard::{Direction, Findings, Guard, RequestGuard};
use weir::json::{self, Object};
use weir::metrics::Metrics;
use weir::name::{Instance, Namespace, Naming, UpstreamId, UpstreamIndex};
use weir::policy::{Policies, PolicyRequest, PolicyRules};
use weir::protocol::era::Era;
use weir::protocol::hops::Onward;
use weir::protocol::message::Message;
use weir::protocol::trace::Trace;
use weir::record::{Record, RecordedData, RequestOrigin};
use weir::telemetry::{LogKinds, Pipeline, Sampler, names};

#[path = "../src/authentication/jwt/tests/signing.rs"]
mod signing;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// A definition of about 900 bytes, as servers in use have them.
fn definition(tool: usize) -> String {
    let property = |name: &str| {
        format!(
            r#""{name}":{{"type":"string","description":"The {name} to look for, as the tracker spells it.","maxLength":200}}"#
        )
    };
    format!(
        r#"{{"name":"tool_{tool}","title":"Tool {tool}","description":"Looks for issues and gives them back newest first.\nArguments narrow the search down.","inputSchema":{{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{{{},{},{},{}}},"required":["query"],"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":true}}}}"#,
        property("query"),
        property("project"),
        property("assignee"),
        property("label"),
    )
}

/// Arguments of a tool with ten properties, and its schema: `guard.validate.arguments`.
#[divan::bench]
fn validate_ten_arguments(bencher: Bencher<'_, '_>) {
    let property = |n: usize| match n % 3 {
        0 => format!(r#""p{n}":{{"type":"string","maxLength":200}}"#),
        1 => format!(r#""p{n}":{{"type":"integer","minimum":0}}"#),
        _ => format!(r#""p{n}":{{"type":"array","items":{{"type":"string"}}}}"#),
    };
    let properties: Vec<_> = (0..10).map(property).collect();
    let definition: Arc<str> = format!(
        r#"{{"name":"t","inputSchema":{{"type":"object","properties":{{{}}},"required":["p0","p1"],"additionalProperties":false}}}}"#,
        properties.join(",")
    )
    .into();
    let arguments = r#"{"p0":"some text","p1":7,"p2":["a","b"],"p3":"more text","p4":12,"p5":["c"],"p6":"x","p7":1,"p8":[],"p9":"y"}"#;
    let settings = ValidateSettings {
        arguments: ValidateAction::Refuse,
        ..ValidateSettings::default()
    };
    let schemas = Schemas::default();
    bencher.bench(|| {
        let (tool, _) = schemas.of(&definition, &settings);
        let checked = check_arguments(&settings, &tool, Some(black_box(arguments)));
        assert!(checked.findings.is_empty());
    });
}

/// Records a call, from its first note to its end.
#[divan::bench(threads = [1, 2])]
fn count_a_call(bencher: Bencher<'_, '_>) {
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").expect("a legal key"));
    let trace = Trace::new();
    bencher.bench(|| {
        let mut record = Record::open(&metrics, Caller::anonymous(), "tools/call", &trace);
        record.set_destination(
            &upstream,
            "tools/call",
            Some(black_box("erp__query_orders")),
        );
        record.succeed();
    });
}

/// Records a call in the record file: the cost for the task that answers the call. The writer works
/// on another thread.
#[divan::bench]
fn record_a_call_in_the_file(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let config = weir::config::parse(
        "audit: { file: weir.jsonl }",
        &folder.path().join("weir.yaml"),
        &|_| None,
    );
    let settings = config.expect("a config").audit.expect("settings");
    let key = AuditSigner::new_pem().expect("a key");
    let keys = AuditKeys {
        hash: vec![7; 32],
        signer: AuditSigner::from_pem(&key).expect("a key"),
    };
    let log = runtime.block_on(async {
        AuditLog::start(&settings, keys, "weir-1", &Arc::default()).expect("a log")
    });
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").expect("a legal key"));
    let (trace, original) = (Trace::new(), Arc::from("query_orders"));
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"erp__query_orders","arguments":{"customer":"4711","since":"2026-01-01","limit":20}}}"#;
    let Ok(Message::Request(request)) = Message::parse(text) else {
        return;
    };
    bencher.bench_local(|| {
        let record = Record::open(&metrics, Caller::anonymous(), "tools/call", &trace);
        let mut record = record.audited(Some(&log), black_box(&request), text.len());
        record.set_scope(Era::Modern, 7);
        let admitted = record.admit().now_or_never();
        record.set_destination(&upstream, "tools/call", Some("erp__query_orders"));
        record.set_original(&original);
        record.set_sent_arguments(recorded(
            request.params.get("arguments").unwrap_or_default(),
        ));
        record.note_sent();
        record.note_answer("result");
        record.succeed();
        let result = r#"{"content":[{"type":"text","text":"no orders"}]}"#;
        record.set_result(recorded(black_box(result)));
        admitted
    });
    runtime.block_on(log.stop());
}

fn recorded(sent: &str) -> RecordedData<'_> {
    RecordedData {
        sent,
        unrestored: None,
        guard: None,
    }
}

/// Records a call with the span of the request and that of an attempt, as they are encoded and wait.
/// Sending them, 512 at once, is not in it.
#[divan::bench(args = ["off", "not recorded", "recorded"])]
fn trace_a_call(bencher: Bencher<'_, '_>, which: &str) {
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").expect("a legal key"));
    let sampler = Sampler {
        follows_parent: true,
        ratio: if which == "recorded" { 1.0 } else { 0.0 },
    };
    let pipeline = Pipeline::new(
        Some(sampler),
        LogKinds::default(),
        [("service.name", "weir")],
    );
    let is_on = which != "off";
    metrics
        .tracer()
        .replace(is_on.then(|| Arc::clone(&pipeline)));
    let (trace, original) = (Trace::new(), Arc::from("query_orders"));
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"erp__query_orders","arguments":{"customer":"4711","since":"2026-01-01","limit":20}}}"#;
    let Ok(Message::Request(request)) = Message::parse(text) else {
        return;
    };
    bencher.bench_local(|| {
        let mut record = Record::open(&metrics, Caller::anonymous(), "tools/call", &trace);
        record.begin_span(black_box(&request), RequestOrigin::http(None, None));
        record.set_scope(Era::Modern, 7);
        record.set_destination(&upstream, "tools/call", Some("erp__query_orders"));
        record.set_original(&original);
        let client = record.place().and_then(|place| {
            let mut span = place.client("tools/call query_orders")?;
            span.set(names::METHOD, "tools/call");
            span.set(names::TOOL, "query_orders");
            span.set(names::UPSTREAM, "erp");
            span.set(names::CONNECTOR, "on_prem");
            span.set(names::TRANSPORT, "tcp");
            span.set(names::NETWORK_PROTOCOL, "http");
            span.set(names::SERVER_ADDRESS, "127.0.0.1");
            span.set(names::ATTEMPT, 1);
            Some(span)
        });
        let onward = record
            .place()
            .and_then(|place| place.onward(&trace, client.as_ref()));
        record.note_sent();
        record.note_answer("result");
        record.succeed();
        record.set_result(recorded(black_box(
            r#"{"content":[{"type":"text","text":"no orders"}]}"#,
        )));
        drop((client, record));
        // The exporter does the same, and sends it.
        drop(pipeline.spans.take_full());
        onward
    });
}

/// Measures giving an id to a request without one, and writing it twice.
#[divan::bench]
fn name_a_request(bencher: Bencher<'_, '_>) {
    let headers = http::HeaderMap::new();
    bencher.bench(|| {
        let mut sent = http::HeaderMap::with_capacity(8);
        let trace = Trace::of(black_box(&headers));
        trace.write(&mut sent, usize::MAX);
        trace.answer(&mut sent);
        sent
    });
}

fn listing_of(tools: usize, salt: usize) -> Listing {
    let mut listing = Listing::of(Era::Legacy);
    for tool in 0..tools {
        listing.add(Kind::Tools, &definition(tool + salt));
    }
    listing.finish()
}

fn prepare(at: usize, listing: &Listing) -> Prepared {
    let upstream = UpstreamId::parse(&format!("upstream-{at}")).expect("a legal key");
    let instance = Instance::parse("eu-edge-1").expect("a legal name");
    let rules = Rules {
        instructions: &Instructions::Served,
        instance: Some(&instance),
        stale: PerKind::default(),
        upstream: &upstream,
        namespace: &Namespace::of(&upstream),
        strip: None,
        tools: &ToolRules::default(),
        validate: &ValidateSettings::default(),
        inline_schemas: false,
        search: Search::default(),
    };
    Prepared::new(rules, &Naming::default(), listing)
}

fn part(at: usize, prepared: Prepared) -> Part {
    Part {
        upstream: prepared.upstream().clone(),
        upstream_index: UpstreamIndex::new(at),
        prepared: Arc::new(prepared),
    }
}

fn parts(upstreams: usize, tools: usize) -> Vec<Part> {
    let listing = listing_of(tools, 0);
    (0..upstreams)
        .map(|at| part(at, prepare(at, &listing)))
        .collect()
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"jira__search","arguments":{"query":"assignee = currentUser() AND status != Done","limit":50},"_meta":{"progressToken":"p-17","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[divan::bench]
fn parse_envelope(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Object::parse(black_box(CALL)).map(|object| object.len()));
}

#[divan::bench]
fn rename_a_call(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let mut envelope = Object::parse(black_box(CALL)).ok()?;
        let mut params = Object::parse(envelope.borrowed("params")?).ok()?;
        params.set("name", "\"search\"");
        envelope.set("id", "4711");
        envelope.set("params", params.to_text());
        Some(envelope.to_text())
    });
}

/// `_meta` on its next hop: of a caller that sends none, of a modern one, and of a weir.
const METAS: [&str; 3] = [
    "{}",
    r#"{"progressToken":"p-17","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#,
    r#"{"progressToken":"p-17","weir/path":["us-west-2","us-east-1"],"weir/deadlineMs":119500}"#,
];

#[divan::bench(args = [0, 1, 2])]
fn meta_as_it_is(bencher: Bencher<'_, '_>, which: usize) {
    let meta = Object::parse(METAS[which]).expect("JSON");
    bencher.bench(|| black_box(&meta).clone().to_text());
}

#[divan::bench(args = [0, 1, 2])]
fn meta_with_path_and_deadline(bencher: Bencher<'_, '_>, which: usize) {
    let meta = Object::parse(METAS[which]).expect("JSON");
    let own = Instance::parse("eu-edge-1").expect("a legal name");
    let onward = Onward {
        own: Some(&own),
        left: Duration::from_secs(120),
    };
    bencher.bench(|| {
        let mut meta = black_box(&meta).clone();
        onward.mark(&mut meta).map(|()| meta.to_text())
    });
}

#[divan::bench]
fn check_a_definition(bencher: Bencher<'_, '_>) {
    let raw = definition(7);
    bencher
        .counter(divan::counter::BytesCount::of_str(&raw))
        .bench(|| listing::check_definition(Kind::Tools, black_box(&raw)));
}

/// The first listing, one that says the same again, and one that says it but for one tool.
#[divan::bench(args = ["first", "same", "one changed"])]
fn list_100_tools(bencher: Bencher<'_, '_>, which: &str) {
    let items: Vec<String> = (0..100).map(definition).collect();
    let page = format!("[{}]", items.join(","));
    let list = |page: &str, earlier: Option<&Arc<Listing>>| {
        let mut listing = Listing::of(Era::Legacy);
        if let Some(earlier) = earlier {
            listing = listing.after(Arc::clone(earlier));
        }
        for raw in json::array(page).unwrap_or_default() {
            listing.add(Kind::Tools, raw);
        }
        listing.finish()
    };
    let earlier = match which {
        "first" => None,
        "same" => Some(page.clone()),
        _ => Some(page.replace("\"Tool 7\"", "\"Tool seven\"")),
    };
    let earlier = earlier.map(|page| Arc::new(list(&page, None)));
    bencher.bench(|| list(black_box(&page), earlier.as_ref()));
}

#[divan::bench]
fn prepare_100_tools(bencher: Bencher<'_, '_>) {
    let listing = listing_of(100, 0);
    bencher.bench(|| prepare(3, black_box(&listing)));
}

/// Everything joined afresh, as at the start and under another config.
#[divan::bench(args = [(20, 100), (1000, 100)], sample_count = 20)]
fn merge_all(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let (parts, naming) = (parts(upstreams, tools), Naming::default());
    bencher.bench_local(|| Catalog::merge(&naming, 1000, black_box(&parts)).digest());
}

/// One of many upstreams has one tool more than in its listing before, or one less: prepare it, merge, and drop the
/// catalog before.
#[divan::bench(args = [(20, 100), (100, 100), (1000, 100)], sample_count = 50)]
fn after_one_changed(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    after(
        bencher,
        upstreams,
        [tools, tools + 1].map(|tools| listing_of(tools, 0)),
    );
}

/// One of many upstreams lists only tools that it did not have before.
#[divan::bench(args = [(20, 100), (1000, 100)], sample_count = 50)]
fn after_one_changed_all_names(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    after(
        bencher,
        upstreams,
        [0, tools].map(|salt| listing_of(tools, salt)),
    );
}

/// One of many upstreams goes and comes back: the cost of hiding stale listings.
#[divan::bench(args = [(1000, 100)], sample_count = 50)]
fn after_one_went_or_came(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let all = parts(upstreams, tools);
    let mut others = all.clone();
    others.remove(upstreams / 2);
    let mut current = Catalog::merge(&Naming::default(), 1000, &all);
    let mut rounds = [others, all].into_iter().cycle();
    bencher.bench_local(|| {
        current = current.after(&rounds.next().expect("no end"));
        current.digest()
    });
}

fn after(bencher: Bencher<'_, '_>, upstreams: usize, listings: [Listing; 2]) {
    let (mut parts, middle) = (parts(upstreams, 100), upstreams / 2);
    let mut current = Catalog::merge(&Naming::default(), 1000, &parts);
    let mut rounds = listings.iter().cycle();
    bencher.bench_local(|| {
        parts[middle] = part(middle, prepare(middle, rounds.next().expect("no end")));
        current = current.after(&parts);
        current.digest()
    });
}

/// The worst merge: the second half wants the names of the first, so each of its tools is rendered again.
#[divan::bench(args = [(20, 100), (200, 100)], sample_count = 20)]
fn all_in_conflict(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let (parts, naming) = (conflicting(upstreams, tools), Naming::default());
    bencher.bench_local(|| Catalog::merge(&naming, 1000, black_box(&parts)));
}

/// One of the first half has one tool more or one less, where the second half wants the names of the first.
#[divan::bench(args = [(200, 100), (1000, 100)], sample_count = 20)]
fn after_one_changed_all_in_conflict(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let mut parts = conflicting(upstreams, tools);
    let mut current = Catalog::merge(&Naming::default(), 1000, &parts);
    let listings = [tools - 1, tools].map(|tools| listing_of(tools, 0));
    let mut rounds = listings.iter().cycle();
    bencher.bench_local(|| {
        parts[7] = part(7, prepare(7, rounds.next().expect("no end")));
        current = current.after(&parts);
        current.digest()
    });
}

fn conflicting(upstreams: usize, tools: usize) -> Vec<Part> {
    let mut parts = parts(upstreams / 2, tools);
    let again: Vec<Part> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| Part {
            upstream_index: UpstreamIndex::new(upstreams / 2 + at),
            ..part.clone()
        })
        .collect();
    parts.extend(again);
    parts
}

#[divan::bench]
fn serve_a_page_of_1000_tools(bencher: Bencher<'_, '_>) {
    let catalog = Catalog::merge(&Naming::default(), 1000, &parts(20, 100));
    let page = catalog
        .page(Kind::Tools, Era::Modern, 0)
        .expect("the first page");
    bencher
        .counter(divan::counter::BytesCount::new(page.bytes()))
        .bench(|| {
            let mut out = Vec::new();
            black_box(page).write(&mut out);
            out
        });
}

#[divan::bench]
fn look_a_tool_up_among_100_000(bencher: Bencher<'_, '_>) {
    let catalog = Catalog::merge(&Naming::default(), 1000, &parts(1000, 100));
    bencher.bench(|| catalog.tool(black_box("upstream-517__tool_42")));
}

/// Policies over a catalog, and what it takes to make them.
struct PolicyWorld {
    config: weir::config::Config,
    catalog: Catalog,
}

impl PolicyWorld {
    /// Makes `count` policies over 2,000 tools of 20 upstreams: permits of groups of tools to groups of
    /// callers, and forbids of single tools by an argument.
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut text = String::new();
        for number in 0..count {
            let (upstream, tool) = (number % 20, number % 100);
            text += &match number % 2 {
                0 => format!(
                    "permit(principal is AgentCore::OAuthUser, action in AgentCore::Action::\"up{upstream}\", resource) when {{ principal.hasTag(\"groups\") && principal.getTag(\"groups\") like \"*\\\"g{upstream}\\\"*\" }};\n"
                ),
                _ => format!(
                    "forbid(principal, action == AgentCore::Action::\"up{upstream}___tool_{tool}\", resource) when {{ context.input has query && context.input.query like \"*drop*\" }};\n"
                ),
            };
        }
        std::fs::write(folder.path().join("a.cedar"), text).expect("a file");
        let mut yaml = "policy: { files: [a.cedar] }\nupstreams:\n".to_owned();
        for number in 0..20 {
            yaml += &format!("  up{number}: {{ command: x }}\n");
        }
        let file = folder.path().join("weir.yaml");
        let config = weir::config::parse(&yaml, &file, &|_| None).expect("a valid config");
        let parts: Vec<_> = (0..)
            .zip(&config.upstreams)
            .map(|(index, (id, upstream))| {
                let mut listing = Listing::of(Era::Modern);
                (0..100).for_each(|tool| {
                    listing.add(Kind::Tools, &definition(tool));
                });
                let listing = listing.finish();
                Part {
                    upstream: id.clone(),
                    upstream_index: UpstreamIndex::new(index),
                    prepared: Arc::new(Prepared::new(upstream.as_ref(), &config.naming, &listing)),
                }
            })
            .collect();
        let catalog = Catalog::merge(&config.naming, 1000, &parts);
        Self { config, catalog }
    }

    fn policies(&self) -> Policies {
        let rules = PolicyRules::of(&self.config).expect("there are policies");
        Policies::new(
            rules,
            &self.config.upstreams,
            &self.catalog,
            self.config.memory,
        )
    }
}

/// A caller of one group.
fn grouped_caller(number: usize) -> Caller {
    let tags = [
        ("groups", format!("[\"g{}\",\"staff\"]", number % 20)),
        ("email", format!("user{number}@example.com")),
        ("scope", "mcp:call".to_owned()),
    ];
    let tags = tags.map(|(name, text)| (name.into(), text.into()));
    Caller::new(Identity {
        tags: tags.into_iter().collect(),
        ..Identity::new(Principal::OAuthUser, &format!("user{number}"))
    })
}

/// Takes policies apart and slices them for a catalog of 2,000 tools.
#[divan::bench(args = [50, 500])]
fn load_policies(bencher: Bencher<'_, '_>, count: usize) {
    let world = PolicyWorld::new(count);
    bencher.bench(|| world.policies());
}

/// Validates policies against the schemas of 2,000 tools.
#[divan::bench(args = [50, 500])]
fn validate_policies(bencher: Bencher<'_, '_>, count: usize) {
    let world = PolicyWorld::new(count);
    let settings = world.config.policy.clone().expect("there are policies");
    bencher
        .with_inputs(|| world.policies())
        .bench_refs(|policies| policies.findings(&settings));
}

/// Decides a call: with a decision that is the same for every call of a class, and with one on
/// arguments.
#[divan::bench(args = ["up0__tool_0", "up1__tool_1"])]
fn decide_a_call(bencher: Bencher<'_, '_>, name: &str) {
    let world = PolicyWorld::new(50);
    let policies = world.policies();
    let route = world.catalog.tool(name).expect("it is listed");
    let callers: Vec<_> = (0..1000).map(grouped_caller).collect();
    let arguments = r#"{"query":"open issues","project":"weir","assignee":"me","label":"bug"}"#;
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % callers.len();
        let request = PolicyRequest::of_route(Kind::Tools, &route, Era::Modern, Some(arguments));
        policies.decide(&callers[next], &request)
    });
}

/// Finds out what a class of callers sees of 2,000 tools under 50 policies, for the first of them.
#[divan::bench]
fn see_as_a_new_class(bencher: Bencher<'_, '_>) {
    let world = PolicyWorld::new(50);
    bencher
        .with_inputs(|| (world.policies(), grouped_caller(1)))
        .bench_refs(|(policies, caller)| policies.visible(caller, Kind::Tools, Era::Modern));
}

/// Makes an authenticator that has the key in a file, as the config says.
fn authenticator(key: &signing::SigningKey) -> JwtAuthenticator {
    let file = std::env::temp_dir().join(format!("weir-bench-{}.json", std::process::id()));
    std::fs::write(&file, signing::jwks(&[key.jwk("k")])).expect("a file");
    let text = format!(
        "listen: {{ auth: {{ public_url: 'https://w.example/mcp', jwt: [{{ issuer: i, scopes: [mcp], jwks: {{ file: '{}' }}, claims: {{ groups: {{ contains: payments }} }} }}] }} }}\nupstreams: {{}}\n",
        file.display()
    );
    let config = weir::config::parse(&text, std::path::Path::new("weir.yaml"), &|_| None);
    let config = config.expect("a valid config");
    let Some(ListenAuth::Callers(auth)) = &config.listen.auth else {
        unreachable!("the text above has `listen.auth`");
    };
    let files = Arc::new(weir::files::Files::default());
    let context = AuthenticationContext {
        tls: Arc::new(weir::tls::TlsConfigs::new(Arc::clone(&files))),
        files,
        tasks: tokio_util::task::TaskTracker::new(),
        shutdown: tokio_util::sync::CancellationToken::new(),
        caller_trust: None,
        memory: weir::memory::MemoryBudget::new(512 << 20),
    };
    let made = JwtAuthenticator::new(&auth.jwt, auth.public_url.as_deref(), &context);
    std::fs::remove_file(file).expect("the file");
    made.expect("keys")
}

/// A token of about 1 KiB, with twenty claims, as identity providers give them.
fn token(key: &signing::SigningKey, number: u64) -> String {
    let mut claims = serde_json::json!({
        "iss": "i", "sub": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "aud": ["https://w.example/mcp", "account"],
        "azp": "cursor", "scope": "openid profile mcp", "exp": 4_000_000_000_u64, "iat": 1_700_000_000, "nbf": 1_700_000_000,
        "jti": number.to_string(), "groups": ["all", "engineering", "payments"], "email": "ada@example.com", "email_verified": true,
        "realm_access": { "roles": ["user", "offline_access", "mcp"] }, "name": "Ada Lovelace",
    });
    for extra in 0..6 {
        claims[format!("claim_{extra}")] = "a value of some length".into();
    }
    key.sign(&serde_json::json!({ "kid": "k", "typ": "at+jwt" }), &claims)
}

fn key(which: &str) -> signing::SigningKey {
    match which {
        "RS256" => signing::SigningKey::rsa(0),
        "ES256" => signing::SigningKey::p256(),
        _ => signing::SigningKey::ed25519(),
    }
}

/// Authenticates a caller whose token was seen before.
#[divan::bench(args = ["RS256"])]
fn authenticate_again(bencher: Bencher<'_, '_>, which: &str) {
    let key = key(which);
    let (authenticator, token) = (authenticator(&key), token(&key, 0));
    bencher.bench(|| {
        let verdict = authenticator.try_now(black_box(&token));
        assert!(verdict.is_some_and(|verdict| verdict.is_ok()));
    });
}

/// Authenticates a caller whose token is new and whose key is known.
#[divan::bench(args = ["RS256", "ES256", "EdDSA"], sample_size = 10)]
fn authenticate_at_first_sight(bencher: Bencher<'_, '_>, which: &str) {
    let key = key(which);
    let authenticator = authenticator(&key);
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            token(&key, number)
        })
        .bench_local_refs(|token| {
            let verdict = authenticator.try_now(black_box(token));
            assert!(verdict.is_some_and(|verdict| verdict.is_ok()));
        });
}

/// Text as tools pass it: sentences in several languages, JSON, a value now and then.
fn text(bytes: usize) -> String {
    const PARTS: [&str; 6] = [
        "Dear Ms Jones, the order 4711-0815 of 12 March has left our warehouse in Rotterdam and should be with you by Friday. ",
        r#"{"id":18273645,"status":"open","assignee":"jdoe","updated":"2026-11-29T18:30:00Z","labels":["billing","urgent"]} "#,
        "Bitte schreiben Sie an max.mustermann@example.com, oder rufen Sie an: +49 30 1234567. Viele Grüße aus München! ",
        "fn main() { let total: u64 = items.iter().map(|item| item.price * 100).sum(); println!(\"{total}\"); } ",
        "La société a versé 1 250,50 € sur le compte FR14 2004 1010 0505 0001 3M02 606, merci de vérifier. ",
        "See https://docs.example.com/guide/v2/index.html#install for the 15 steps; the build of 10.4.2 takes 3 minutes. ",
    ];
    let mut text: String = PARTS.iter().copied().cycle().take(bytes / 90 + 1).collect();
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn all_detectors() -> Detectors {
    let classes = Class::all().filter(Class::is_detected);
    Detectors::compile(classes, []).expect("detectors")
}

/// Finds values of all classes in a text.
#[divan::bench(args = [1 << 10, 100 << 10])]
fn find_all_classes(bencher: Bencher<'_, '_>, bytes: usize) {
    let (detectors, text) = (all_detectors(), text(bytes));
    bencher.bench(|| detectors.find(black_box(&text)).len());
}

/// Finds matches of a config's own pattern in a text.
#[divan::bench(args = [1 << 10, 100 << 10])]
fn find_an_own_pattern(bencher: Bencher<'_, '_>, bytes: usize) {
    let class = Class::own("EMPLOYEE").expect("a name");
    let detectors = Detectors::compile([], [(class, "E[0-9]{6}")]).expect("detectors");
    let text = text(bytes);
    bencher.bench(|| detectors.find(black_box(&text)).len());
}

fn pseudonyms(scheme: &str) -> Pseudonyms {
    let keys = PseudonymKeys::from_texts(["a key of this bench, long enough"]).expect("a key");
    let store = || Arc::new(PseudonymStore::in_memory(StoreLimits::default()));
    let scheme = match scheme {
        "stored" => Scheme::Stored(store()),
        _ => Scheme::Sealed,
    };
    Pseudonyms::new(keys, scheme, [])
}

/// Replaces a value that was replaced before.
#[divan::bench(args = ["stored", "sealed"])]
fn replace_a_value(bencher: Bencher<'_, '_>, scheme: &str) {
    let (pseudonyms, class) = (pseudonyms(scheme), Class::known("EMAIL").expect("a class"));
    bencher.bench(|| {
        let value = black_box("max.mustermann@example.com");
        pseudonyms.replace("tenant", &class, value, Form::Word)
    });
}

/// Finds a pseudonym in a text of 1 KiB, and restores its value.
#[divan::bench(args = ["stored", "sealed"])]
fn restore_a_value(bencher: Bencher<'_, '_>, scheme: &str) {
    let (pseudonyms, class) = (pseudonyms(scheme), Class::known("EMAIL").expect("a class"));
    let value = "max.mustermann@example.com";
    let made = pseudonyms
        .replace("tenant", &class, value, Form::Word)
        .expect("a pseudonym");
    let text = format!("{}{}", text(1 << 10), made.text);
    bencher.bench(|| {
        let found = pseudonyms.find(black_box(&text));
        let restored = found
            .iter()
            .filter_map(|found| pseudonyms.restore("tenant", found));
        restored.count()
    });
}

/// Looks at a message with a strings plan of all classes, as a call of a tool does.
#[divan::bench(args = [1 << 10, 10 << 10, 100 << 10])]
fn redact_a_message(bencher: Bencher<'_, '_>, bytes: usize) {
    let yaml = "guard: { redact: { towards_upstream: { '*': tokenise } } }\nupstreams: { ann: { url: http://127.0.0.1:1/mcp } }\n";
    let config = weir::config::parse(yaml, std::path::Path::new("weir.yaml"), &|_| None);
    let config = config.expect("a config");
    let guard = Guard::of(
        &config,
        Some(Arc::new(pseudonyms("stored"))),
        &Metrics::new(),
    );
    let guard = Arc::new(guard.expect("detectors").expect("rules"));
    let (upstream, _) = config.upstreams.first().expect("an upstream");
    let guard = RequestGuard::of(&guard, upstream, None, &Caller::anonymous()).expect("rules");
    let message = format!("{{\"a\":[{{\"b\":{}}}]}}", json::quote(&text(bytes)));
    bencher.bench(|| {
        let mut findings = Findings::default();
        let direction = Direction::TowardsUpstream;
        let redacted = guard.redact(
            direction,
            &Shape::Fields,
            black_box(&message),
            &mut findings,
        );
        // Nothing waits but for the store, which is in memory.
        futures::executor::block_on(redacted).expect("it may pass")
    });
}
