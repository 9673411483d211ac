"""Every document of a deployment, made of the settings and of nothing else: weir's config, policies, requests.

Nothing here talks to AWS. Formats: CreateAgentRuntime of bedrock-agentcore-control, IAM policy grammar 2012-10-17.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Marks what this script has made: it changes and removes nothing else.
TAG = "weir:deployment"
# The keys of the sample's deploy_config.json (aws-samples, sample-mcp-proxy-agentcore-runtime).
DEFAULTS: dict[str, str | None] = {
    "agent_name": "mcp-proxy-server",
    "gateway_endpoint": None,
    "region": "us-east-1",
    "iam_role_name": "MCPProxyServerRole",
    "gateway_api_id": None,
    "auth_mode": "iam",
    "cognito_user_pool_id": None,
    "cognito_client_id": None,
    "cognito_domain": None,
}
GATEWAY_HOST = re.compile(r"^([0-9a-z-]+)\.gateway\.bedrock-agentcore\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$")
# What UpdateAgentRuntime takes besides its id: it forgets all of these that are not sent.
KEPT = [
    "description", "authorizerConfiguration", "requestHeaderConfiguration", "protocolConfiguration",
    "lifecycleConfiguration", "hooksConfiguration", "metadataConfiguration", "environmentVariables",
    "filesystemConfigurations", "capacityProviderConfiguration", "platformVersion", "allowedPorts",
    "resourceConfigurations", "agentRuntimeArtifact", "roleArn", "networkConfiguration",
]  # fmt: skip
OWNED = {"agentRuntimeName", "agentRuntimeArtifact", "roleArn", "tags", "clientToken", "description"}


class Wrong(Exception):
    """What was asked for cannot be done; the text says what to do."""


def partition(region: str) -> str:
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


@dataclass
class Plan:
    """What is to be deployed."""

    settings: dict[str, str | None]
    account: str
    # Weir's config, and the files that lie beside it in the image, by their path there.
    config: dict[str, Any]
    files: dict[str, bytes]
    # The id of the secret of the sample's client in Secrets Manager, if there is one.
    secret: str | None = None
    # More members of CreateAgentRuntime.
    more: dict[str, Any] = field(default_factory=dict)
    # The statements of the role that this config needs, as weir says them; None for the sample's config.
    used: list[dict[str, Any]] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def region(self) -> str:
        return str(self.settings["region"])

    @property
    def name(self) -> str:
        """A runtime's name: `[a-zA-Z][a-zA-Z0-9_]{0,47}`. The sample's own default has hyphens."""
        return runtime_name(str(self.settings["agent_name"]))

    @property
    def role_name(self) -> str:
        return str(self.settings["iam_role_name"])

    @property
    def role_arn(self) -> str:
        return f"arn:{partition(self.region)}:iam::{self.account}:role/{self.role_name}"

    @property
    def repository(self) -> str:
        return "weir/" + re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def registry(self) -> str:
        suffix = ".cn" if partition(self.region) == "aws-cn" else ""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com{suffix}"

    @property
    def tags(self) -> dict[str, str]:
        return {TAG: self.name}

    @property
    def description(self) -> str:
        return f"weir, made by deploy/agentcore/deploy.py as {self.name}"

    def arn(self, service: str, rest: str, region: str | None = None, account: str | None = None) -> str:
        return f"arn:{partition(self.region)}:{service}:{region or self.region}:{account or self.account}:{rest}"


def runtime_name(name: str) -> str:
    legal = name.replace("-", "_")
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]{0,47}", legal):
        raise Wrong(f"agent_name: `{name}` has to begin with a letter, and have at most 48 letters, digits, - and _")
    return legal


def secret_id(settings: dict[str, str | None]) -> str:
    return f"weir/{runtime_name(str(settings['agent_name']))}/gateway-client-secret"


# --- weir's config


def sample_config(settings: dict[str, str | None]) -> dict[str, Any]:
    """The config that does what the sample does: one gateway, whose tools keep their names."""
    if not settings["gateway_endpoint"]:
        raise Wrong("gateway_endpoint: write the URL of the gateway, or give a config of weir with --weir")
    listen = {"address": "0.0.0.0:8000", "auth": "none", "sessions": "platform"}
    gateway = {"connector": "agentcore_gateway", "url": settings["gateway_endpoint"], "namespace": ""}
    config = {"version": 1, "listen": listen, "instance": runtime_name(str(settings["agent_name"]))}
    return config | {"upstreams": {"gateway": gateway | {"auth": sample_auth(settings)}}}


def sample_auth(settings: dict[str, str | None]) -> dict[str, Any]:
    region = settings["region"]
    if settings["auth_mode"] == "iam":
        host = GATEWAY_HOST.match(urlsplit(str(settings["gateway_endpoint"])).hostname or "")
        return {"type": "sigv4", "region": host[2] if host else region}
    if settings["auth_mode"] != "jwt":
        raise Wrong(f"auth_mode: `iam` or `jwt`, not `{settings['auth_mode']}`")
    if not settings["cognito_client_id"]:
        raise Wrong("cognito_client_id: needed with auth_mode jwt")
    auth: dict[str, Any] = {"type": "oauth2_client_credentials", "client_id": settings["cognito_client_id"]}
    auth["client_secret"] = {"aws_secret": {"id": secret_id(settings), "region": region}}
    if domain := settings["cognito_domain"]:
        host = domain.removeprefix("https://").strip("/")
        # A prefix of Cognito's own domain, or a whole domain.
        host = host if "." in host else f"{host}.auth.{region}.amazoncognito.com"
        return auth | {"token_url": f"https://{host}/oauth2/token"}
    pool = settings["cognito_user_pool_id"]
    if not pool:
        raise Wrong("cognito_domain or cognito_user_pool_id: one is needed with auth_mode jwt")
    # The token endpoint is on another host than the issuer: weir takes it from the issuer's metadata. The
    # region of a pool is in its id.
    issuer = f"https://cognito-idp.{pool.split('_')[0]}.amazonaws.com/{pool}"
    return auth | {"issuer": issuer}


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every mapping and scalar of a config, with its path."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, (*path, str(index)))


def check_config(config: dict[str, Any]) -> list[str]:
    """Refuses what does not work in a Runtime, and returns what is worth knowing."""
    listen = config.get("listen") or {}
    if listen.get("address") not in ("0.0.0.0:8000", "[::]:8000") or listen.get("path", "/mcp") != "/mcp":
        raise Wrong("listen: the Runtime calls 0.0.0.0:8000 at /mcp; write `address: 0.0.0.0:8000`")
    if "tls" in listen:
        raise Wrong("listen.tls: the Runtime speaks plain HTTP to its container")
    for path, value in walk(config):
        if not isinstance(value, dict) or len(value) != 1:
            continue
        (kind,) = value
        where = ".".join(path)
        if kind == "value":
            raise Wrong(f"{where}: the secret would be in the image; keep it in Secrets Manager and write aws_secret")
        if kind == "env":
            raise Wrong(f"{where}: who may read the runtime reads its environment; write aws_secret")
        if kind == "file" and path[-1] not in ("api_keys", "jwks"):
            raise Wrong(f"{where}: there is no such file in the Runtime; write aws_secret")
    notes = []
    if "admin" in config:
        notes.append("admin: nothing outside of the container reaches it; the Runtime passes on /mcp only")
    if not str((config.get("state") or {}).get("dir", "/mnt/")).startswith("/mnt/"):
        notes.append("state.dir: ends with the session's microVM, unless it is on a file system under /mnt")
    children = [name for name, upstream in upstreams(config) if "command" in upstream]
    if children:
        notes.append(f"upstreams {', '.join(children)}: their programs have to be in the base image")
    return notes


def upstreams(config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = {**(config.get("mcpServers") or {}), **(config.get("upstreams") or {})}
    return [(name, upstream) for name, upstream in found.items() if isinstance(upstream, dict)]


def named_files(config: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """The files beside a config that it names: keys' hashes, policies, certificates. No secrets."""
    patterns = list[str]()
    for path, value in walk(config):
        last, parent = (path[-1:] or ("",))[0], path[-2] if len(path) > 1 else ""
        if isinstance(value, str) and (last in ("ca", "crl", "cert") or (last == "file" and parent in ("api_keys", "jwks"))):
            patterns.append(value)
        if isinstance(value, list) and path in (("policy", "files"), ("policy", "tests")):
            patterns += value
    found: dict[str, bytes] = {}
    for pattern in patterns:
        if pattern.startswith("/") or ".." in Path(pattern).parts:
            raise Wrong(f"{pattern}: only files beside the config come into the image; write a relative path")
        matches = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
        if not matches:
            raise Wrong(f"{folder / pattern}: there is no such file")
        found |= {path.relative_to(folder).as_posix(): path.read_bytes() for path in matches}
    return found


# --- the role


def trust_policy(plan: Plan) -> dict[str, Any]:
    """Only this account's AgentCore may take the role."""
    condition = {
        "StringEquals": {"aws:SourceAccount": plan.account},
        "ArnLike": {"aws:SourceArn": plan.arn("bedrock-agentcore", "*")},
    }
    statement = {"Effect": "Allow", "Principal": {"Service": "bedrock-agentcore.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement | {"Condition": condition}]}


def allow(sid: str, actions: list[str], resources: list[str], **condition: Any) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": sorted(set(resources))}
    return statement | ({"Condition": condition} if condition else {})


def platform_statements(plan: Plan, image: str) -> list[dict[str, Any]]:
    """What a Runtime needs whatever runs in it: its image, its log, its traces."""
    group = plan.arn("logs", "log-group:/aws/bedrock-agentcore/runtimes/*")
    statements = [
        allow("LogGroup", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [group]),
        allow("LogGroups", ["logs:DescribeLogGroups"], [plan.arn("logs", "log-group:*")]),
        allow("LogStream", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{group}:log-stream:*"]),
        allow("Traces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"], ["*"]),
        allow("Metrics", ["cloudwatch:PutMetricData"], ["*"], StringEquals={"cloudwatch:namespace": "bedrock-agentcore"}),
    ]
    private = re.match(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)", image)
    if private:
        repository = plan.arn("ecr", f"repository/{private[3]}", private[2], private[1])
        statements.append(allow("ImageToken", ["ecr:GetAuthorizationToken"], ["*"]))
        statements.append(allow("Image", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [repository]))
    return statements


def sample_rights(plan: Plan) -> list[dict[str, Any]]:
    """What the sample's config uses. Of any other one, `weir policy-document` says it."""
    upstream = plan.config["upstreams"]["gateway"]
    statements = []
    if upstream["auth"]["type"] == "sigv4":
        host = GATEWAY_HOST.match(urlsplit(str(upstream["url"])).hostname or "")
        identifier = host[1] if host else plan.settings["gateway_api_id"]
        if identifier is None:
            plan.notes.append("gateway_endpoint: it does not say which gateway it is; without gateway_api_id the role may call every gateway of the account")
        gateway = plan.arn("bedrock-agentcore", f"gateway/{identifier or '*'}", upstream["auth"]["region"])
        statements.append(allow("InvokeGateways", ["bedrock-agentcore:InvokeGateway"], [gateway]))
    if plan.secret:
        # Secrets Manager puts a hyphen and six characters behind a name.
        secret = plan.arn("secretsmanager", f"secret:{plan.secret}-??????")
        statements.append(allow("Secrets", ["secretsmanager:GetSecretValue"], [secret]))
    return statements


def role_policy(plan: Plan, image: str) -> dict[str, Any]:
    """Least privilege: what the platform needs, and what this config uses."""
    used = sample_rights(plan) if plan.used is None else plan.used
    return {"Version": "2012-10-17", "Statement": platform_statements(plan, image) + used}


# --- the image


def dockerfile(base: str) -> str:
    return f"FROM {base}\nCOPY config/ /etc/weir/\n"


def image_files(plan: Plan) -> dict[str, bytes]:
    return {"weir.yaml": json.dumps(plan.config, indent=2).encode() + b"\n"} | plan.files


def image_tag(plan: Plan, base: str, base_id: str) -> str:
    """The same for the same content: what is pushed already is not pushed again."""
    content = hashlib.sha256(dockerfile(base).encode() + b"\0" + base_id.encode())
    for path, text in sorted(image_files(plan).items()):
        content.update(b"\0" + path.encode() + b"\0" + hashlib.sha256(text).digest())
    return f"c{content.hexdigest()[:16]}"


# --- the runtime


def is_of_platform(header: str) -> bool:
    """Whether a header is one of AWS, and not one that clients may set through a Runtime."""
    name = header.lower()
    return name.startswith(("x-amz-", "x-amzn-")) and not name.startswith("x-amzn-bedrock-agentcore-runtime-custom-")


def headers(config: dict[str, Any]) -> list[str]:
    """The headers that the Runtime has to pass on, because the config reads them."""
    auth = (config.get("listen") or {}).get("auth")
    if not isinstance(auth, dict):
        return []
    platform = auth.get("platform") or {}
    named = [platform.get("subject_header"), platform.get("scopes_header"), *(platform.get("claims") or {}).values()]
    # Headers that the platform adds itself, such as the user id, cannot be on the list.
    found = {name for name in named if isinstance(name, str) and not is_of_platform(name)}
    if "jwt" in auth or "api_keys" in auth:
        found.add("Authorization")
    return sorted(found)


def wanted(plan: Plan, image: str) -> dict[str, Any]:
    """What this deployment says of a runtime; all else of an existing one is kept."""
    said: dict[str, Any] = {
        "description": plan.description,
        "agentRuntimeArtifact": {"containerConfiguration": {"containerUri": image}},
        "roleArn": plan.role_arn,
        # Without it the platform speaks plain HTTP to port 8080, and every call of MCP times out.
        "protocolConfiguration": {"serverProtocol": "MCP"},
        "environmentVariables": {"WEIR_LOG_FORMAT": "json", "AWS_REGION": plan.region},
    }
    if names := headers(plan.config):
        if len(names) > 20:
            raise Wrong("listen.auth: a Runtime passes on at most 20 headers")
        said["requestHeaderConfiguration"] = {"requestHeaderAllowlist": names}
    environment = said["environmentVariables"] | plan.more.get("environmentVariables", {})
    return said | plan.more | {"environmentVariables": environment}


def create_request(plan: Plan, image: str) -> dict[str, Any]:
    network = {"networkConfiguration": {"networkMode": "PUBLIC"}}
    # The metadata service's second version is asked for by an update: CreateAgentRuntime has no such member.
    said = {key: value for key, value in wanted(plan, image).items() if key != "metadataConfiguration"}
    return {"agentRuntimeName": plan.name} | network | said | {"tags": plan.tags}


def update_request(plan: Plan, image: str, found: dict[str, Any]) -> dict[str, Any] | None:
    """The whole request, or None if nothing would change. An update forgets what it does not say."""
    kept = {key: found[key] for key in KEPT if found.get(key) not in (None, {}, [])}
    said = wanted(plan, image)
    said["environmentVariables"] = kept.get("environmentVariables", {}) | said["environmentVariables"]
    said["metadataConfiguration"] = kept.get("metadataConfiguration", {}) | {"requireMMDSV2": True}
    request = kept | said
    return None if request == kept else {"agentRuntimeId": found["agentRuntimeId"]} | request
