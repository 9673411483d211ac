"""The script for AgentCore Runtime against moto and a weir. Run by the venv's Python: see agentcore.py."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import tempfile
import traceback
import urllib.request
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.validate import ParamValidator
from moto.server import ThreadedMotoServer

HERE = Path(__file__).resolve().parent
AGENTCORE = HERE.parents[1] / "deploy" / "agentcore"
sys.path.insert(0, str(AGENTCORE))

import deploy
import documents
from aws_double import Front
from templates import check_templates

SECRET = "planted-client-secret-7Qz"
ACCOUNT = "123456789012"
GATEWAY = "https://tools-ab12cdef34.gateway.bedrock-agentcore.us-east-1.amazonaws.com/mcp"
GATEWAY_ARN = f"arn:aws:bedrock-agentcore:us-east-1:{ACCOUNT}:gateway/tools-ab12cdef34"
# The sample's file, key by key.
SAMPLE = {
    "agent_name": "mcp-proxy-server",
    "gateway_endpoint": GATEWAY,
    "region": "us-east-1",
    "iam_role_name": "MCPProxyServerRole",
    "gateway_api_id": None,
    "auth_mode": "iam",
    "cognito_user_pool_id": None,
    "cognito_client_id": None,
    "cognito_domain": None,
}
JWT = SAMPLE | {"auth_mode": "jwt", "cognito_user_pool_id": "us-east-1_AbCdEf", "cognito_client_id": "4abc"}


class SharedAws(deploy.Aws):
    """Clients take long to make: those of the test region are made once for all runs."""

    clients: dict[str, Any] = {}

    def __init__(self, region: str) -> None:
        super().__init__(region)
        self.made = self.clients


class Cases:
    """One moto, one front, one folder in which the script runs."""

    def __init__(self, weir: str, folder: Path) -> None:
        self.folder = folder
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        self.moto = f"http://{host}:{port}".replace("0.0.0.0", "127.0.0.1")
        self.front = Front(self.moto, weir)
        engine = folder / "bin" / "docker"
        engine.parent.mkdir()
        engine.write_text(f"#!/bin/sh\nexec {sys.executable} -I -S {HERE / 'engine.py'} \"$@\"\n")
        engine.chmod(0o755)
        self.log = folder / "engine.jsonl"
        # Everything that weir is told is written down too, to look for the secret there.
        seen = engine.parent / "seen-weir"
        seen.write_text(f"#!/bin/sh\n{{ printf '%s\\n' \"$@\"; env; }} >> {folder / 'weir-calls.txt'}\nexec {os.environ['WEIR']} \"$@\"\n")
        seen.chmod(0o755)
        os.environ |= {
            "WEIR": str(seen),
            "AWS_ENDPOINT_URL": self.front.start(), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "ENGINE_LOG": str(self.log), "ENGINE_ECR": self.moto, "PATH": f"{engine.parent}:{os.environ['PATH']}",
        }  # fmt: skip
        deploy.PAUSE = 0.01
        deploy.Aws = SharedAws  # type: ignore[misc]
        self.printed: list[str] = []
        self.clients: dict[str, Any] = {}
        self.reset()

    def check(self, what: str, holds: bool, more: object = "") -> None:
        said = " | ".join(str(more).splitlines())[-1200:]
        print(f"  {'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {said}'}", flush=True)

    def reset(self) -> None:
        """AWS as it was in the beginning."""
        urllib.request.urlopen(urllib.request.Request(f"{self.moto}/moto-api/reset", method="POST")).read()
        self.front.seen.clear()
        self.front.fail, self.front.young, self.front.status = None, 0, {}
        os.environ.pop("ENGINE_FAILS", None)
        self.log.write_text("")

    def client(self, name: str) -> Any:
        """Past the front: what a test looks at is no request of the script."""
        if name not in self.clients:
            self.clients[name] = boto3.client(name, endpoint_url=self.moto, region_name="us-east-1")
        return self.clients[name]

    def run(self, config: dict[str, Any], *arguments: str, secret: str | None = SECRET) -> tuple[int, str]:
        """The script, in this process: its exit code, and all that it printed."""
        (self.folder / "deploy_config.json").write_text(json.dumps(config))
        os.environ.pop(deploy.SECRET, None)
        if secret is not None:
            os.environ[deploy.SECRET] = secret
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                code = deploy.guarded([*arguments, "--config", str(self.folder / "deploy_config.json")])
            except SystemExit as ended:
                code = int(str(ended.code or 0))
        self.printed.append(printed.getvalue())
        return code, printed.getvalue()

    def state(self) -> dict[str, Any]:
        """All that there is in AWS, without what differs every time."""
        control, ecr, iam, manager = (self.client(n) for n in ("bedrock-agentcore-control", "ecr", "iam", "secretsmanager"))
        found: dict[str, Any] = {"runtimes": [], "roles": {}, "repositories": {}, "secrets": {}}
        for listed in control.list_agent_runtimes()["agentRuntimes"]:
            runtime = control.get_agent_runtime(agentRuntimeId=listed["agentRuntimeId"])
            found["runtimes"].append({k: runtime.get(k) for k in ("agentRuntimeName", "agentRuntimeArtifact", "roleArn", "protocolConfiguration", "environmentVariables", "lifecycleConfiguration")})
        for role in iam.list_roles()["Roles"]:
            name = role["RoleName"]
            policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
            found["roles"][name] = [role["AssumeRolePolicyDocument"], *(iam.get_role_policy(RoleName=name, PolicyName=p)["PolicyDocument"] for p in policies)]
        for repository in ecr.describe_repositories()["repositories"]:
            images = ecr.describe_images(repositoryName=repository["repositoryName"])["imageDetails"]
            found["repositories"][repository["repositoryName"]] = sorted(image["imageDigest"] for image in images)
        for secret in manager.list_secrets()["SecretList"]:
            found["secrets"][secret["Name"]] = manager.get_secret_value(SecretId=secret["Name"])["SecretString"]
        return found

    def engine(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def check_dry_run(cases: Cases) -> None:
    """Every document is printed, is what AWS takes, and nothing is done."""
    model = botocore.session.get_session()
    for name, config in (("iam", SAMPLE), ("jwt", JWT), ("jwt with a domain", JWT | {"cognito_domain": "corp"})):
        code, text = cases.run(config, "--dry-run")
        cases.check(f"dry run, {name}", code == 0, text)
        operations = [request.operation for request in cases.front.seen]
        cases.check(f"it only asks who you are, {name}", set(operations) == {"GetCallerIdentity"}, operations)
        printed = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in text.split("\n--- ")[1:]}
        plan = documents.Plan(documents.DEFAULTS | config, ACCOUNT, json.loads(printed["in the image, /etc/weir/weir.yaml"]), {})
        create = json.JSONDecoder().raw_decode(printed["CreateAgentRuntime"])[0]
        shape = model.get_service_model("bedrock-agentcore-control").operation_model("CreateAgentRuntime").input_shape
        report = ParamValidator().validate(create, shape)
        cases.check(f"CreateAgentRuntime is valid, {name}", not report.has_errors(), report.generate_report())
        cases.check(f"the hyphens are said, {name}", "`mcp-proxy-server` becomes `mcp_proxy_server`" in text and create["agentRuntimeName"] == "mcp_proxy_server", text[:500])
        for title, made in ((f"role {plan.role_name}, who may take it", documents.trust_policy(plan)),):
            cases.check(f"the role's trust is printed, {name}", json.loads(printed[title]) == made)
        cases.check(f"no secret is printed, {name}", SECRET not in text)
    auth = json.loads(printed["in the image, /etc/weir/weir.yaml"])["upstreams"]["gateway"]["auth"]
    platform = documents.sample_config(documents.DEFAULTS | SAMPLE)["listen"]
    cases.check("sessions are the platform's", platform.get("sessions") == "platform", platform)
    cases.check("a domain of Cognito", auth["token_url"] == "https://corp.auth.us-east-1.amazoncognito.com/oauth2/token", auth)


def check_create(cases: Cases) -> None:
    """From nothing, again, and with another config."""
    cases.reset()
    code, text = cases.run(JWT)
    cases.check("create", code == 0, text)
    cases.check("it calls tools/list, as a client", "has 1 tools" in text and "\n  demo_tool\n" in text, text)
    first = cases.state()
    runtime = first["runtimes"][0] if first["runtimes"] else {}
    uri = runtime.get("agentRuntimeArtifact", {}).get("containerConfiguration", {}).get("containerUri", "")
    cases.check("the image is named by its digest", uri.startswith(f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/weir/mcp-proxy-server@sha256:"), uri)
    cases.check("the runtime speaks MCP", runtime.get("protocolConfiguration") == {"serverProtocol": "MCP"}, runtime)
    cases.check("the secret is in Secrets Manager", first["secrets"] == {"weir/mcp_proxy_server/gateway-client-secret": SECRET}, list(first["secrets"]))
    built = [told for told in cases.engine() if told["context"]]
    config = json.loads(built[0]["context"]["config/weir.yaml"]) if built else {}
    wanted = {"aws_secret": {"id": "weir/mcp_proxy_server/gateway-client-secret", "region": "us-east-1"}}
    cases.check("weir's config refers to it", config.get("upstreams", {}).get("gateway", {}).get("auth", {}).get("client_secret") == wanted, config)
    cases.log.write_text("")
    cases.front.seen.clear()
    code, text = cases.run(JWT, secret=None)
    changes = {request.operation for request in cases.front.changing()}
    pushed = [told["arguments"][0] for told in cases.engine() if told["arguments"][0] in ("push", "login")]
    # moto does not keep metadataConfiguration, so that the runtime seems to lack it every time.
    cases.check("again: nothing new", code == 0 and changes <= {"PutRolePolicy", "UpdateAssumeRolePolicy", "UpdateAgentRuntime"} and not pushed, (changes, pushed, text))
    cases.check("and all is as it was", cases.state() == first, cases.state())
    check_update(cases, first)


def check_update(cases: Cases, first: dict[str, Any]) -> None:
    control = cases.client("bedrock-agentcore-control")
    listed = control.list_agent_runtimes()["agentRuntimes"][0]
    found = control.get_agent_runtime(agentRuntimeId=listed["agentRuntimeId"])
    kept = {key: found[key] for key in documents.KEPT if found.get(key)}
    kept |= {"lifecycleConfiguration": {"idleRuntimeSessionTimeout": 1200}, "environmentVariables": {"OTHERS": "1"}}
    control.update_agent_runtime(agentRuntimeId=listed["agentRuntimeId"], **kept)
    code, text = cases.run(JWT | {"gateway_endpoint": GATEWAY.replace("tools", "other")}, secret="another-secret-7Qz")
    now = cases.state()
    runtime = now["runtimes"][0]
    cases.check("update", code == 0 and len(now["runtimes"]) == 1, text)
    cases.check("another config is another image", runtime["agentRuntimeArtifact"] != first["runtimes"][0]["agentRuntimeArtifact"], (text, now["repositories"]))
    cases.check("what others have set is kept", runtime["lifecycleConfiguration"] == {"idleRuntimeSessionTimeout": 1200} and runtime["environmentVariables"].get("OTHERS") == "1", runtime)
    cases.check("another secret is taken over", list(now["secrets"].values()) == ["another-secret-7Qz"], list(now["secrets"]))
    code, text = cases.run(JWT, "check", secret=None)
    cases.check("check, by itself", code == 0 and "demo_tool" in text, text)
    code, text = cases.run(JWT, "destroy", secret=None)
    empty = {"runtimes": [], "roles": {}, "repositories": {}, "secrets": {}}
    cases.check("destroy leaves nothing", code == 0 and cases.state() == empty, (text, cases.state()))
    code, text = cases.run(JWT, "destroy", secret=None)
    cases.check("destroy once more", code == 0, text)
    code, text = cases.run(JWT)
    cases.check("create after destroy, with a secret that waits to be deleted", code == 0, text)


def check_failures(cases: Cases) -> None:
    """A failure at every request that changes something, before and after it is done, and of the engine."""
    # The config is the same every time: once that weir has looked at it is enough.
    weir = os.environ.pop("WEIR")
    try:
        check_points(cases)
    finally:
        os.environ["WEIR"] = weir


def check_points(cases: Cases) -> None:
    cases.reset()
    cases.run(JWT)
    wanted, points = cases.state(), len(cases.front.changing())
    cases.check("there are points at which to fail", points >= 5, points)
    for at in range(1, points + 1):
        for is_done_first in (False, True):
            cases.reset()
            cases.front.fail = (at, is_done_first)
            code, text = cases.run(JWT)
            what = f"{cases.front.changing()[at - 1].operation} fails{', though it is done' if is_done_first else ''}"
            one_line = text.rstrip().splitlines()[-1]
            cases.check(f"{what}: it is said in a line", code == 1 and one_line.startswith("error: "), text)
            cases.front.fail = None
            code, text = cases.run(JWT)
            cases.check(f"{what}: the same command goes on", code == 0 and cases.state() == wanted, (text, cases.state()))
    for verb in ("build", "login", "push"):
        cases.reset()
        os.environ["ENGINE_FAILS"] = verb
        code, text = cases.run(JWT)
        cases.check(f"{verb} fails: it is said in a line", code == 1 and f"error: docker {verb} failed" in text, text)
        del os.environ["ENGINE_FAILS"]
        code, text = cases.run(JWT)
        cases.check(f"{verb} fails: the same command goes on", code == 0 and cases.state() == wanted, text)
    cases.reset()
    cases.front.young = 2
    code, text = cases.run(SAMPLE)
    cases.check("a role that is not known everywhere yet is waited for", code == 0 and text.count("not known everywhere yet") == 2, text)
    cases.reset()
    cases.front.status = {"status": "CREATE_FAILED", "failureReason": "the image is for amd64"}
    code, text = cases.run(SAMPLE)
    cases.check("a runtime that fails says why", code == 1 and "the image is for amd64" in text, text)
    for verb in range(1, 6):
        cases.reset()
        cases.run(JWT)
        cases.front.seen.clear()
        cases.front.fail = (verb, False)
        cases.run(JWT, "destroy")
        cases.front.fail = None
        code, text = cases.run(JWT, "destroy")
        left = cases.state()
        cases.check(f"destroy, after it failed at its step {verb}", code == 0 and not any(left.values()), (text, left))


def check_others(cases: Cases) -> None:
    """What somebody else has made is not touched."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    cases.reset()
    cases.client("iam").create_role(RoleName="MCPProxyServerRole", AssumeRolePolicyDocument=trust)
    code, text = cases.run(SAMPLE)
    cases.check("a role of somebody else's", code == 1 and "choose another name" in text, text)
    cases.check("is not changed", cases.state()["roles"] == {"MCPProxyServerRole": [json.loads(trust)]}, cases.state())
    code, text = cases.run(SAMPLE, "destroy")
    cases.check("nor removed", code == 0 and list(cases.state()["roles"]) == ["MCPProxyServerRole"], text)
    cases.reset()
    role = f"arn:aws:iam::{ACCOUNT}:role/x"
    artifact = {"containerConfiguration": {"containerUri": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/x:1"}}
    control = cases.client("bedrock-agentcore-control")
    control.create_agent_runtime(agentRuntimeName="mcp_proxy_server", agentRuntimeArtifact=artifact, roleArn=role, networkConfiguration={"networkMode": "PUBLIC"})
    code, text = cases.run(SAMPLE)
    cases.check("a runtime of somebody else's", code == 1 and "choose another name" in text, text)
    cases.run(SAMPLE, "destroy")
    cases.check("is left", len(cases.state()["runtimes"]) == 1)


def check_wrong(cases: Cases) -> None:
    """What is refused, and how."""
    cases.reset()
    code, text = cases.run(JWT, "--cognito-client-secret", SECRET)
    cases.check("the secret as an argument is refused, and not repeated", code == 1 and SECRET not in text, text)
    code, text = cases.run(JWT, f"--cognito-client-secret={SECRET}")
    cases.check("also with an equals sign", code == 1 and SECRET not in text, text)
    code, text = cases.run(JWT, secret=None)
    cases.check("no secret at all", code == 1 and "COGNITO_CLIENT_SECRET" in text, text)
    wrong = {
        "a name that is too long": (SAMPLE | {"agent_name": "a" * 49}, "agent_name"),
        "no gateway": (SAMPLE | {"gateway_endpoint": None}, "gateway_endpoint"),
        "another way to log in": (SAMPLE | {"auth_mode": "mtls"}, "auth_mode"),
        "no client": (JWT | {"cognito_client_id": None}, "cognito_client_id"),
    }
    for what, (config, message) in wrong.items():
        code, text = cases.run(config)
        cases.check(f"{what} is refused", code == 1 and f"error: {message}" in text, text)
    upstream = {"url": "https://x.example.com/mcp", "auth": {"type": "bearer", "token": {"env": "T"}}}
    listen = {"address": "0.0.0.0:8000", "auth": "none"}
    for what, config, message in (
        ("a secret in the environment", {"listen": listen, "upstreams": {"x": upstream}}, "upstreams.x.auth.token"),
        ("a secret in the config", {"listen": listen, "upstreams": {"x": {"auth": {"token": {"value": SECRET}}}}}, "upstreams.x.auth.token"),
        ("another address", {"listen": {"address": "127.0.0.1:8000"}}, "listen"),
    ):
        file = cases.folder / "weir.json"
        file.write_text(json.dumps(config))
        code, text = cases.run(SAMPLE, "--weir", str(file))
        cases.check(f"{what} is refused", code == 1 and f"error: {message}" in text and SECRET not in text, text)
    changes = [request.operation for request in cases.front.changing()]
    cases.check("and nothing was done", not changes, changes)


def rights(config: dict[str, Any]) -> tuple[dict[str, Any], documents.Plan]:
    """What the role of a config of weir's own may do, by statement, and what is said of it."""
    plan = documents.Plan(documents.DEFAULTS | SAMPLE, ACCOUNT, config, {})
    plan.used = deploy.rights_of_config(plan)
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/weir/x:1"
    platform = {s["Sid"] for s in documents.platform_statements(plan, image)}
    statements = documents.role_policy(plan, image)["Statement"]
    sids = [s["Sid"] for s in statements]
    assert len(set(sids)) == len(sids), sids
    return {s["Sid"]: (s["Action"], s["Resource"]) for s in statements if s["Sid"] not in platform}, plan


def check_policy(cases: Cases) -> None:
    """Least privilege: exactly what a config uses."""
    own, plan = rights(deploy.load_config(HERE.parents[1] / "config" / "examples" / "agentcore.yaml"))
    here = f"arn:aws:bedrock-agentcore:eu-west-1:{ACCOUNT}"
    directory, vault = f"{here}:workload-identity-directory/default", f"{here}:token-vault/default"
    expected = {
        "InvokeGateways": (["bedrock-agentcore:InvokeGateway"], [f"{here}:gateway/tools-ab12cdef34"]),
        # `partner` takes a role of another account, which may synchronise too: nothing of it is here.
        "AssumeRoles": (["sts:AssumeRole"], ["arn:aws:iam::123456789012:role/mcp-invoke"]),
        "InvokeRuntimes": (["bedrock-agentcore:InvokeAgentRuntime"], [f"{here}:runtime/billing-x1", f"{here}:runtime/billing-x1/runtime-endpoint/*"]),
        "WorkloadTokens": (["bedrock-agentcore:GetWorkloadAccessToken"], [directory, f"{directory}/workload-identity/weir"]),
        "ApiKeys": (["bedrock-agentcore:GetResourceApiKey"], [vault, f"{vault}/apikeycredentialprovider/weather-api-key", directory, f"{directory}/workload-identity/weir"]),
        "ProviderSecrets": (["secretsmanager:GetSecretValue"], [f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:bedrock-agentcore-identity!default/*/weather-api-key-*"]),
    }  # fmt: skip
    for sid in sorted(set(own) | set(expected)):
        cases.check(f"the role of config/examples/agentcore.yaml: {sid}", own.get(sid) == expected.get(sid), own.get(sid))
    wide = {s["Sid"] for s in documents.role_policy(plan, f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/weir/x:1")["Statement"] if "*" in s["Resource"]}
    cases.check("only what has no resource is for all", wide == {"Traces", "Metrics", "ImageToken"}, wide)
    own, _ = rights({"version": 1, "upstreams": {"a": {"url": GATEWAY, "gateway": {"synchronize": True}}}})
    right = own.get("SynchronizeGateways", ([], []))
    cases.check("synchronize", right[1] == [GATEWAY_ARN] and len(right[0]) == 3, right)
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:compliance"
    own, _ = rights({"version": 1, "hooks": {"c": {"lambda": {"arn": function}}}, "telemetry": {"traces_endpoint": "https://xray.us-east-1.amazonaws.com/v1/traces", "auth": {"type": "sigv4"}}})
    cases.check("hooks and telemetry, and nothing else", own == {"InvokeFunctions": (["lambda:InvokeFunction"], [function]), "SendTraces": (["xray:PutTraceSegments"], ["*"])}, own)
    _, plan = rights({"version": 1, "upstreams": {"a": {"connector": "agentcore_gateway", "url": "https://tools.example.com/mcp"}}})
    cases.check("a gateway that its URL does not name is said", any("every gateway" in note for note in plan.notes), plan.notes)
    for name, sample in (("iam", SAMPLE), ("jwt", JWT)):
        settings = documents.DEFAULTS | sample
        plan = documents.Plan(settings, ACCOUNT, documents.sample_config(settings), {}, documents.secret_id(settings) if name == "jwt" else None)
        said = deploy.rights_of_config(plan)
        cases.check(f"weir says the same of the sample's config, {name}", documents.sample_rights(plan) == said, (documents.sample_rights(plan), said))


def check_own_config(cases: Cases) -> None:
    """A config of weir, with files beside it, callers that a platform names, and more of the runtime."""
    check_own_deployment(cases)
    weir, path = os.environ.pop("WEIR"), os.environ["PATH"]
    os.environ["PATH"] = str(cases.folder / "bin")
    code, text = cases.run(SAMPLE, "--weir", str(cases.folder / "own" / "weir.json"))
    cases.check("without weir nobody knows what its config needs, and that is said", code == 1 and "error: --weir: weir itself says which rights" in text, text)
    os.environ["WEIR"] = "/nonexistent/weir"
    code, text = cases.run(SAMPLE, "--weir", str(cases.folder / "own" / "weir.json"))
    cases.check("a WEIR that is not there is said in a line", code == 1 and "error: /nonexistent/weir: No such file" in text, text)
    os.environ |= {"WEIR": weir, "PATH": path}


def check_own_deployment(cases: Cases) -> None:
    cases.reset()
    folder = cases.folder / "own"
    (folder / "policies").mkdir(parents=True)
    (folder / "upstreams.d").mkdir()
    (folder / "policies" / "read.cedar").write_text("permit(principal, action, resource);\n")
    (folder / "secret.pem").write_text(SECRET)
    platform = {"subject_header": "X-Amzn-Bedrock-AgentCore-Runtime-Custom-User", "from": ["127.0.0.0/8"]}
    config = {"version": 1, "listen": {"address": "0.0.0.0:8000", "auth": {"platform": platform}}, "policy": {"files": ["policies/*.cedar"]}}
    (folder / "weir.json").write_text(json.dumps(config))
    (folder / "upstreams.d" / "corp.yaml").write_text(f"upstreams: {{ corp: {{ connector: agentcore_gateway, url: '{GATEWAY}' }} }}\n")
    (folder / "runtime.json").write_text(json.dumps({"lifecycleConfiguration": {"maxLifetime": 3600}}))
    mask = os.umask(0o077)
    code, text = cases.run(SAMPLE | {"gateway_endpoint": None}, "--weir", str(folder / "weir.json"), "--runtime", str(folder / "runtime.json"))
    os.umask(mask)
    cases.check("a config of weir's own", code == 0, text)
    unreadable = [name for told in cases.engine() for name in told["unreadable"]]
    cases.check("weir can read it in the image, whatever the umask is here", not unreadable, unreadable)
    context = next((told["context"] for told in cases.engine() if told["context"]), {})
    cases.check("its files are in the image, and no others", sorted(context) == ["Dockerfile", "config/policies/read.cedar", "config/weir.yaml"], sorted(context))
    control = cases.client("bedrock-agentcore-control")
    found = control.get_agent_runtime(agentRuntimeId=control.list_agent_runtimes()["agentRuntimes"][0]["agentRuntimeId"])
    cases.check("the Runtime passes on the header that it reads", found.get("requestHeaderConfiguration") == {"requestHeaderAllowlist": [platform["subject_header"]]}, found.get("requestHeaderConfiguration"))
    cases.check("more of the runtime", found.get("lifecycleConfiguration") == {"maxLifetime": 3600}, found)
    cases.check("the role may call that gateway only", cases.state()["roles"]["MCPProxyServerRole"][1]["Statement"][-1]["Resource"] == [GATEWAY_ARN])


def check_secret(cases: Cases, everything: list[bytes]) -> None:
    """The planted secret is in requests to Secrets Manager, and nowhere else."""
    printed = [text for text in cases.printed if SECRET in text]
    cases.check("the planted secret was never printed", not printed, printed[:1])
    bytes_of = SECRET.encode()
    cases.check("nor sent anywhere but to Secrets Manager", not any(bytes_of in body for body in everything), "")
    told = (cases.folder / "weir-calls.txt").read_text()
    cases.check("weir was asked for the rights, and to check", "\npolicy-document\n" in told and told.startswith("check\n"), told[:200])
    files = [path for path in cases.folder.rglob("*") if path.is_file() and bytes_of in path.read_bytes()]
    # One that a test has put beside a config, to see that it stays there.
    cases.check("nor written to a file, or given to the engine", [path.name for path in files] == ["secret.pem"], files)


def main() -> int:
    weir = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="weir-agentcore-") as folder:
        cases = Cases(weir, Path(folder))
        everything: list[bytes] = []
        sent = False
        parts = [check_dry_run, check_create, check_failures, check_others, check_wrong, check_policy, check_own_config]
        keep = cases.reset

        def reset() -> None:
            nonlocal sent
            for request in cases.front.seen:
                is_secret = request.operation in ("CreateSecret", "PutSecretValue")
                sent = sent or (is_secret and SECRET.encode() in request.body)
                everything.extend([] if is_secret else [request.body])
            with open(Path(folder) / "engine-all.jsonl", "a") as log:
                log.write(cases.log.read_text() if cases.log.exists() else "")
            keep()

        cases.reset = reset  # type: ignore[method-assign]
        for part in parts:
            try:
                part(cases)
            except Exception:  # noqa: BLE001: a part that breaks has failed
                cases.check(f"{part.__name__} runs to its end", False, traceback.format_exc())
        cases.reset()
        cases.check("the secret was sent to Secrets Manager", sent)
        check_secret(cases, everything)
    check_templates(lambda what, holds, more="": Cases.check(cases, what, holds, more))
    return 0


if __name__ == "__main__":
    sys.exit(main())
