//! AWS services that weir calls itself: Secrets Manager, AgentCore Identity, the control plane of
//! gateways.

use super::*;

#[tokio::test]
async fn a_secret_comes_from_secrets_manager_whole_or_by_its_key() {
    let services = services().await;
    let text = r#"{"user":"weir","password":"hunter2","port":5432,"list":[]}"#;
    let secrets = [("prod/db".to_owned(), text.to_owned())];
    services.inner.secrets.lock().unwrap().extend(secrets);
    let fetch = async |id: &str, key: Option<&str>| {
        let secret = AwsSecret {
            id: id.to_owned(),
            key: key.map(str::to_owned),
            region: Some(REGION.to_owned()),
            credentials: credentials(),
        };
        let fetcher = SecretFetcher::new(&secret, &with(&services), &opened).unwrap();
        let fetched = fetcher.fetch().await;
        fetched
            .map(|secret| secret.expose().to_owned())
            .map_err(|error| error.to_string())
    };
    assert_eq!(fetch("prod/db", None).await, Ok(text.to_owned()));
    assert_eq!(
        fetch("prod/db", Some("password")).await,
        Ok("hunter2".to_owned())
    );
    assert_eq!(fetch("prod/db", Some("port")).await, Ok("5432".to_owned()));
    let missing = fetch("prod/db", Some("token")).await.unwrap_err();
    assert_eq!(missing, "the AWS secret prod/db: it has no key `token`");
    let unknown = fetch("other", None).await.unwrap_err();
    assert_eq!(
        unknown,
        "the AWS secret other: Secrets Manager answered HTTP status 400: ResourceNotFoundException"
    );
    // The clock of this service may differ too.
    services.inner.keys.set_ahead(-900);
    assert_eq!(fetch("prod/db", Some("user")).await, Ok("weir".to_owned()));
}

fn identity(services: &Services, kind: IdentityKind) -> AgentcoreIdentityClient {
    let config = AgentcoreIdentity {
        workload: "weir".to_owned(),
        provider: "github".to_owned(),
        kind,
        subject: IdentitySubject::Workload,
        region: Some(REGION.to_owned()),
        credentials: credentials(),
    };
    AgentcoreIdentityClient::with_context(&config, &with(services), &opened).unwrap()
}

#[tokio::test]
async fn agentcore_identity_gives_tokens_and_api_keys() {
    let services = services().await;
    let source = identity(
        &services,
        IdentityKind::Oauth2 {
            scopes: vec!["repo".to_owned()],
            resources: Vec::new(),
            audiences: vec!["https://api.example.com".to_owned()],
            parameters: [("k".to_owned(), "v".to_owned())].into_iter().collect(),
        },
    );
    let before = std::time::SystemTime::now();
    let token = source.fetch().await.unwrap();
    assert_eq!(token.header, "authorization");
    assert_eq!(token.value.expose(), "Bearer opaque");
    // It has no expiry of its own: five minutes.
    let life = token.expires.unwrap().duration_since(before).unwrap();
    assert!((290..=310).contains(&life.as_secs()), "{life:?}");
    let called = services.called();
    assert_eq!(called[0].what, "POST /identities/GetWorkloadAccessToken");
    assert_eq!(called[0].body, json!({"workloadName": "weir"}));
    assert_eq!(
        called[1].body,
        json!({
            "workloadIdentityToken": "workload of weir",
            "resourceCredentialProviderName": "github",
            "scopes": ["repo"],
            "oauth2Flow": "M2M",
            "audiences": ["https://api.example.com"],
            "customParameters": {"k": "v"},
        })
    );
    *services.inner.access_token.lock().unwrap() = "e30.eyJleHAiOjQwMDAwMDAwMDB9.x".to_owned();
    let token = source.fetch().await.unwrap();
    let end = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    assert_eq!(token.expires, Some(end));

    let kind = IdentityKind::ApiKey {
        header: "x-api-key".parse().unwrap(),
        prefix: "Key ".to_owned(),
    };
    let token = identity(&services, kind).fetch().await.unwrap();
    assert_eq!(
        (token.header.as_str(), token.value.expose()),
        ("x-api-key", "Key k-1")
    );
}

#[tokio::test]
async fn a_refusal_of_agentcore_identity_says_what_kind_it_is_and_no_more() {
    let services = services().await;
    let kind = IdentityKind::ApiKey {
        header: "x-api-key".parse().unwrap(),
        prefix: String::new(),
    };
    let source = identity(&services, kind);
    for (status, kind, expected) in [
        (
            403,
            "AccessDeniedException",
            "Rejected(\"Bedrock AgentCore answered HTTP status 403: AccessDeniedException\")",
        ),
        (
            429,
            "ThrottlingException",
            "Temporary(\"Bedrock AgentCore answered HTTP status 429: ThrottlingException\")",
        ),
        (
            500,
            "planted-in-a-type",
            "Temporary(\"Bedrock AgentCore answered HTTP status 500\")",
        ),
    ] {
        services.fail(Some((status, kind)));
        let error = source.fetch().await.unwrap_err();
        assert_eq!(format!("{error:?}"), expected);
    }
}

#[tokio::test]
async fn targets_are_synchronized_one_by_one_and_those_that_cannot_be_are_left_alone() {
    let services = services().await;
    let target = |status: &str, then: &[&str]| Target {
        status: status.to_owned(),
        then: then.iter().map(|&status| status.to_owned()).collect(),
        ..Target::ready()
    };
    let all = [
        ("a", Target::ready()),
        ("b", target("CREATE_PENDING_AUTH", &[])),
        (
            "c",
            target("READY", &["SYNCHRONIZING", "SYNCHRONIZE_UNSUCCESSFUL"]),
        ),
        ("d", target("DELETING", &[])),
        ("e", target("READY", &["SYNCHRONIZE_PENDING_AUTH"])),
    ];
    let all = all.map(|(id, target)| (id.to_owned(), target));
    services.inner.targets.lock().unwrap().extend(all);
    let control = ControlPlane::with_context(
        "gw-ab12cdef34",
        Some(REGION),
        &credentials(),
        &with(&services),
        &opened,
    );
    let control = control.unwrap();
    let ends = control.synchronize(Instant::now() + 3 * BOUND).await;
    let ends = ends.unwrap().unwrap();
    assert_eq!((ends.done, ends.skipped, ends.failed), (1, 3, 1));
    let put = "PUT /gateways/gw-ab12cdef34/synchronizeTargets";
    let called = services.called();
    let asked: Vec<_> = called.iter().filter(|called| called.what == put).collect();
    let asked: Vec<_> = asked
        .iter()
        .map(|called| &called.body["targetIdList"][0])
        .collect();
    assert_eq!(asked, ["a", "c", "e"]);
    assert_eq!(services.count("GET /gateways/gw-ab12cdef34/targets/"), 3);
    // Not twice within a minute.
    let again = control.synchronize(Instant::now() + BOUND).await;
    assert_eq!(again, Ok(None));
}

/// Signs a request with static keys, and returns what the signer makes of this rejection.
async fn reject(url: &str, body: &str, headers: HeaderMap) -> (RejectionOutcome, Arc<StatusCell>) {
    let services = services().await;
    let state = Arc::<StatusCell>::default();
    let signer =
        Signer::with_context(&sigv4(), &with(&services), &opened, Arc::clone(&state)).unwrap();
    let (mut signed, deadline) = (HeaderMap::new(), Instant::now() + BOUND);
    let version = signer
        .sign(
            &Method::POST,
            &url.parse().unwrap(),
            &mut signed,
            b"{}",
            deadline,
        )
        .await
        .unwrap();
    let rejection = Rejection {
        status: StatusCode::FORBIDDEN,
        headers: &headers,
        body: &Bytes::from(body.to_owned()),
    };
    (signer.handle_rejection(version, &rejection), state)
}

#[tokio::test]
async fn a_refusal_is_explained_without_a_word_of_the_upstream() {
    let gateway = "https://gw-ab12cdef34.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp";
    let runtime = "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/x/invocations";
    for (url, body, words) in [
        (
            gateway,
            r#"{"__type":"AccessDeniedException","message":"planted"}"#,
            "InvokeGateway",
        ),
        (
            runtime,
            r#"{"message":"planted is not authorized to perform: x"}"#,
            "InvokeAgentRuntime",
        ),
        (
            runtime,
            r#"{"message":"Authorization method mismatch. planted"}"#,
            "takes tokens (JWT)",
        ),
        (
            gateway,
            r#"{"__type":"InvalidSignatureException","message":"planted"}"#,
            "the secret access key is wrong",
        ),
        (gateway, "planted", "HTTP status 403"),
        // An answer without a `Date` header.
        (
            gateway,
            r#"{"message":"Signature expired: planted"}"#,
            "rejects this machine's time",
        ),
    ] {
        let (outcome, state) = reject(url, body, HeaderMap::new()).await;
        let RejectionOutcome::Final(Some(why)) = outcome else {
            panic!("{body}: {outcome:?}")
        };
        assert!(why.contains(words) && !why.contains("planted"), "{why}");
        let status = state.get();
        assert_eq!(
            (status.state, status.reason),
            (CredentialState::Failing, Some(why))
        );
    }
}
