#!/usr/bin/env python3
"""Runs weir on Amazon Bedrock AgentCore Runtime.

    python deploy.py                    # creates or updates what deploy_config.json says
    python deploy.py --dry-run          # prints every document, changes nothing
    python deploy.py check              # initialize and tools/list, as a client
    python deploy.py destroy            # removes what this script has made, and nothing else

deploy_config.json is that of AWS's sample (sample-mcp-proxy-agentcore-runtime), unchanged; an option of the
same name wins over it. With --weir FILE, a config of weir takes the place of the sample's one gateway; weir itself,
on the PATH or as WEIR=PATH, then says which rights the role needs (weir policy-document).

Every step may be repeated: after a failure, run the same command again.

The client secret of auth_mode jwt comes from the environment variable COGNITO_CLIENT_SECRET, from
--client-secret-file, or is asked for. It goes to AWS Secrets Manager, and nowhere else.

Exit: 0 done, 1 failed, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

sys.dont_write_bytecode = True

import documents
from documents import DEFAULTS, OWNED, TAG, Plan, Wrong

ROOT = Path(__file__).resolve().parents[2]
SECRET = "COGNITO_CLIENT_SECRET"
# Engines that build and push an image, in the order in which they are looked for.
ENGINES = ["docker", "finch", "podman"]
# How long IAM takes until a new role is known everywhere, and a runtime until it is ready.
PATIENCE = float(os.environ.get("WEIR_DEPLOY_PATIENCE", "600"))
PAUSE = float(os.environ.get("WEIR_DEPLOY_PAUSE", "3"))


def say(text: str) -> None:
    print(text, flush=True)


def step(text: str) -> None:
    say(f"\n==> {text}")


def show(title: str, document: Any) -> None:
    say(f"\n--- {title}\n{document if isinstance(document, str) else json.dumps(document, indent=2)}")


# --- what is to be deployed


def parse_options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("command", nargs="?", default="deploy", choices=["deploy", "check", "destroy"])
    parser.add_argument("--config", type=Path, default=Path("deploy_config.json"), help="the sample's file (deploy_config.json)")
    for key in DEFAULTS:
        parser.add_argument(f"--{key.replace('_', '-')}", default=None, help="in place of that of the file")
    parser.add_argument("--weir", type=Path, help="a config of weir, with its files beside it")
    parser.add_argument("--runtime", type=Path, help="JSON with more members of CreateAgentRuntime: networkConfiguration, authorizerConfiguration, …")
    parser.add_argument("--base-image", help="weir's image for linux/arm64; without it, it is built from the Dockerfile")
    parser.add_argument("--image", help="a finished image in ECR with its config in it; nothing is built")
    parser.add_argument("--client-secret-file", type=Path, help="a file with the client secret; - is standard input")
    parser.add_argument("--dry-run", action="store_true", help="print every document and command, change nothing")
    return parser.parse_args(refuse_secrets(argv))


def refuse_secrets(argv: list[str]) -> list[str]:
    """The sample takes the secret as an argument, where every process of the machine can read it."""
    if any(argument.split("=")[0] == "--cognito-client-secret" for argument in argv):
        raise Wrong(f"--cognito-client-secret: arguments are no place for a secret; set {SECRET}, or give --client-secret-file")
    return argv


def load_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text())
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Wrong(f"{path}: no JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise Wrong(f"{path}: has to be a JSON object")
    return loaded


def load_config(path: Path) -> dict[str, Any]:
    """A config of weir. JSON is YAML, and needs no parser besides Python's."""
    try:
        return load_json(path)
    except Wrong:
        if path.suffix not in (".yaml", ".yml"):
            raise
    try:
        import yaml
    except ImportError:
        raise Wrong(f"{path}: a config in YAML needs PyYAML (pip install pyyaml); one in JSON does not") from None
    try:
        loaded = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Wrong(f"{path}: {error}") from error
    if not isinstance(loaded, dict):
        raise Wrong(f"{path}: has to be a mapping")
    return loaded


def load_settings(args: argparse.Namespace) -> dict[str, str | None]:
    settings = dict(DEFAULTS)
    if args.config.exists():
        found = load_json(args.config)
        # Keys that others have put there are theirs.
        settings |= {key: found[key] for key in DEFAULTS if found.get(key) is not None}
    elif args.config != Path("deploy_config.json"):
        raise Wrong(f"{args.config}: there is no such file")
    given = {key: getattr(args, key) for key in DEFAULTS}
    return settings | {key: value for key, value in given.items() if value is not None}


def make_plan(args: argparse.Namespace, account: str) -> Plan:
    settings = load_settings(args)
    asked = str(settings["agent_name"])
    secret, files = None, dict[str, bytes]()
    if args.command != "deploy":
        # What is there is found by its name.
        return Plan(settings, account, {}, {})
    if args.weir:
        config = load_config(args.weir)
        folder = args.weir.resolve().parent
        for path in sorted(folder.glob("upstreams.d/*.y*ml")):
            more = documents.upstreams(load_config(path))
            config.setdefault("upstreams", {}).update(dict(more))
        files = documents.named_files(config, folder)
    else:
        config = documents.sample_config(settings)
        secret = documents.secret_id(settings) if settings["auth_mode"] == "jwt" else None
    more = load_json(args.runtime) if args.runtime else {}
    if wrong := OWNED & set(more):
        raise Wrong(f"{args.runtime}: {', '.join(sorted(wrong))}: this script says that")
    plan = Plan(settings, account, config, files, secret, more)
    plan.notes += documents.check_config(config)
    if plan.name != asked:
        plan.notes.append(f"agent_name: a Runtime's name has no hyphens; `{asked}` becomes `{plan.name}`")
    return plan


# --- AWS


class Aws:
    """The clients, made when they are needed."""

    def __init__(self, region: str) -> None:
        try:
            import boto3
        except ImportError:
            raise Wrong("boto3 is missing: pip install -r requirements.txt") from None
        self.session = boto3.session.Session(region_name=region)
        self.made: dict[str, Any] = {}

    def client(self, name: str) -> Any:
        if name not in self.made:
            self.made[name] = self.session.client(name)
        return self.made[name]

    def account(self) -> str:
        return self.client("sts").get_caller_identity()["Account"]


def error_code(error: BaseException) -> str:
    """The code of an AWS error; empty for any other one."""
    return getattr(error, "response", {}).get("Error", {}).get("Code", "")


def none_if(call: Callable[[], Any], *codes: str) -> Any:
    """The answer, or None if AWS says that there is no such thing."""
    try:
        return call()
    except Exception as error:
        if error_code(error) in codes:
            return None
        raise


def is_ours(tags: list[dict[str, str]], plan: Plan) -> bool:
    return any(tag.get("Key") == TAG and tag.get("Value") == plan.name for tag in tags)


def refuse_foreign(what: str) -> NoReturn:
    raise Wrong(f"{what} is there already, and this script has not made it (it has no tag {TAG}): choose another name")


def tag_list(plan: Plan) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in plan.tags.items()]


# --- prerequisites


def find_engine() -> str | None:
    return next((name for name in ENGINES if shutil.which(name)), None)


def find_weir() -> str | None:
    return os.environ.get("WEIR") or shutil.which("weir")


def ask_weir(weir: str, plan: Plan, *arguments: str) -> tuple[str, str]:
    """What a command of weir says of the config: standard output, and the rest."""
    with tempfile.TemporaryDirectory(prefix="weir-check-") as folder:
        write_files(Path(folder), documents.image_files(plan))
        command = [weir, *arguments, "-c", "weir.yaml"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean_environment())
        except OSError as error:
            raise Wrong(f"{weir}: {error.strerror}") from error
    if done.returncode == 2:
        raise Wrong(f"weir refuses the config:\n{done.stderr.strip()}\n{done.stdout.strip()}")
    return done.stdout, done.stderr


def check_weir(plan: Plan) -> None:
    """Has weir itself look at the config, if it is here."""
    weir = find_weir()
    if weir is None:
        say("weir is not on the PATH: its config is not checked here, but when it starts")
        return
    ask_weir(weir, plan, "check")


def rights_of_config(plan: Plan) -> list[dict[str, Any]]:
    """The statements that `weir policy-document` prints for a config of weir's own."""
    weir = find_weir()
    if weir is None:
        raise Wrong("--weir: weir itself says which rights its config needs; put it on the PATH, or its path into WEIR")
    printed, said = ask_weir(weir, plan, "policy-document", "--account", plan.account, "--region", plan.region)
    plan.notes += [line.removeprefix("! ") for line in said.splitlines() if line.strip()]
    try:
        return json.loads(printed)["Statement"]
    except (ValueError, KeyError) as error:
        raise Wrong(f"{weir}: policy-document says nothing that this script knows; it needs weir 0.1 or later\n{said.strip()}") from error


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files for everybody to read: an image keeps their permissions, and weir is not root in it."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
        target.chmod(0o644)
        for parent in list(target.relative_to(folder).parents)[:-1]:
            (folder / parent).chmod(0o755)
    folder.chmod(0o755)


def clean_environment() -> dict[str, str]:
    """The environment for other programs: without the secret."""
    return {key: value for key, value in os.environ.items() if key != SECRET}


def read_secret(args: argparse.Namespace) -> str | None:
    if args.client_secret_file:
        text = sys.stdin.read() if str(args.client_secret_file) == "-" else args.client_secret_file.read_text()
        return text.strip()
    return os.environ.get(SECRET)


# --- steps: each finds out what there is, and does what is missing


def ensure_secret(plan: Plan, aws: Aws, args: argparse.Namespace) -> None:
    if plan.secret is None:
        return
    step(f"secret {plan.secret}")
    manager, given = aws.client("secretsmanager"), read_secret(args)
    found = none_if(lambda: manager.describe_secret(SecretId=plan.secret), "ResourceNotFoundException")
    if found is not None:
        if not is_ours(found.get("Tags", []), plan):
            refuse_foreign(f"the secret {plan.secret}")
        if "DeletedDate" in found:
            manager.restore_secret(SecretId=plan.secret)
    if given is None and found is None and sys.stdin.isatty():
        given = getpass.getpass("client secret of Cognito: ")
    if given == "" or (given is None and found is None):
        raise Wrong(f"the client secret: set {SECRET}, or give --client-secret-file")
    if found is None:
        manager.create_secret(Name=plan.secret, SecretString=given, Tags=tag_list(plan), Description=plan.description)
        say("created")
    elif given is None:
        say("left as it is")
    elif none_if(lambda: manager.get_secret_value(SecretId=plan.secret)["SecretString"], "ResourceNotFoundException") != given:
        manager.put_secret_value(SecretId=plan.secret, SecretString=given)
        say("changed")
    else:
        say("is the same")


def ensure_role(plan: Plan, aws: Aws, image: str) -> None:
    step(f"role {plan.role_name}")
    iam, trust = aws.client("iam"), json.dumps(documents.trust_policy(plan))
    found = none_if(lambda: iam.get_role(RoleName=plan.role_name), "NoSuchEntity")
    if found is None:
        iam.create_role(RoleName=plan.role_name, AssumeRolePolicyDocument=trust, Description=plan.description, Tags=tag_list(plan))
        say("created")
    else:
        tags = iam.list_role_tags(RoleName=plan.role_name)["Tags"]
        if not is_ours(tags, plan):
            refuse_foreign(f"the role {plan.role_name}")
        iam.update_assume_role_policy(RoleName=plan.role_name, PolicyDocument=trust)
    policy = json.dumps(documents.role_policy(plan, image))
    iam.put_role_policy(RoleName=plan.role_name, PolicyName="weir", PolicyDocument=policy)
    say("its policy is what the config needs")


def ensure_repository(plan: Plan, aws: Aws) -> None:
    step(f"repository {plan.repository}")
    ecr = aws.client("ecr")
    found = none_if(lambda: ecr.describe_repositories(repositoryNames=[plan.repository]), "RepositoryNotFoundException")
    if found is None:
        scan = {"scanOnPush": True}
        ecr.create_repository(repositoryName=plan.repository, imageTagMutability="IMMUTABLE", imageScanningConfiguration=scan, tags=tag_list(plan))
        say("created")
        return
    arn = found["repositories"][0]["repositoryArn"]
    if not is_ours(ecr.list_tags_for_resource(resourceArn=arn)["tags"], plan):
        refuse_foreign(f"the repository {plan.repository}")
    say("is there")


def run(command: list[str], stdin: bytes | None = None, **more: Any) -> str:
    """Runs a command that is printed first. What goes to its standard input is not printed."""
    say(f"$ {shlex.join(command)}")
    done = subprocess.run(command, input=stdin if stdin is not None else b"", stdout=subprocess.PIPE, env=clean_environment(), **more)
    if done.returncode != 0:
        raise Wrong(f"{command[0]} {command[1]} failed with {done.returncode}")
    return done.stdout.decode(errors="replace").strip()


def base_image(args: argparse.Namespace) -> str:
    return args.base_image or "weir:linux-arm64"


def ensure_image(plan: Plan, aws: Aws, args: argparse.Namespace) -> str:
    """Returns the image with its digest: a tag says nothing of what is run."""
    step("image")
    engine = find_engine()
    if engine is None:
        raise Wrong(f"an image needs one of {', '.join(ENGINES)}; or push one elsewhere and give --image")
    base = base_image(args)
    if args.base_image is None:
        say("weir is built for linux/arm64: on a machine of another kind that takes an hour or more (--base-image)")
        run([engine, "build", "--platform", "linux/arm64", "-t", base, str(ROOT)])
    base_id = run([engine, "image", "inspect", "--format", "{{.Id}}", base])
    tag = documents.image_tag(plan, base, base_id)
    if (digest := find_digest(plan, aws, tag)) is None:
        target = f"{plan.registry}/{plan.repository}:{tag}"
        with tempfile.TemporaryDirectory(prefix="weir-image-") as folder:
            write_files(Path(folder) / "config", documents.image_files(plan))
            (Path(folder) / "Dockerfile").write_text(documents.dockerfile(base))
            run([engine, "build", "--platform", "linux/arm64", "-t", target, folder])
        token = aws.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        run([engine, "login", "--username", user, "--password-stdin", plan.registry], password.encode())
        run([engine, "push", target])
        digest = find_digest(plan, aws, tag)
    else:
        say(f"{tag} is pushed already")
    if digest is None:
        raise Wrong(f"{plan.repository}:{tag} is not in ECR, though it was pushed")
    return f"{plan.registry}/{plan.repository}@{digest}"


def find_digest(plan: Plan, aws: Aws, tag: str) -> str | None:
    ask = {"repositoryName": plan.repository, "imageIds": [{"imageTag": tag}]}
    found = none_if(lambda: aws.client("ecr").describe_images(**ask), "ImageNotFoundException", "RepositoryNotFoundException")
    return found["imageDetails"][0]["imageDigest"] if found and found["imageDetails"] else None


def runtimes(aws: Aws) -> Iterator[dict[str, Any]]:
    ask: dict[str, Any] = {"maxResults": 100}
    while True:
        page = aws.client("bedrock-agentcore-control").list_agent_runtimes(**ask)
        yield from page["agentRuntimes"]
        if not page.get("nextToken"):
            return
        ask["nextToken"] = page["nextToken"]


def find_runtime(plan: Plan, aws: Aws) -> dict[str, Any] | None:
    """The runtime of this name, with all that is said of it."""
    control = aws.client("bedrock-agentcore-control")
    for listed in runtimes(aws):
        if listed["agentRuntimeName"] == plan.name:
            ask = {"agentRuntimeId": listed["agentRuntimeId"]}
            if found := none_if(lambda: control.get_agent_runtime(**ask), "ResourceNotFoundException"):
                return found
    return None


def is_our_runtime(plan: Plan, aws: Aws, found: dict[str, Any]) -> bool:
    if found.get("description") == plan.description:
        return True
    tags = aws.client("bedrock-agentcore-control").list_tags_for_resource(resourceArn=found["agentRuntimeArn"])["tags"]
    return tags.get(TAG) == plan.name


def ensure_runtime(plan: Plan, aws: Aws, image: str) -> dict[str, Any]:
    step(f"runtime {plan.name}")
    control, found = aws.client("bedrock-agentcore-control"), find_runtime(plan, aws)
    if found is None:
        request = documents.create_request(plan, image)
        created = patiently(lambda: control.create_agent_runtime(**request), "ThrottlingException")
        say(f"created {created['agentRuntimeId']}")
        found = wait_ready(aws, created["agentRuntimeId"])
    elif found["status"] in ("CREATING", "UPDATING"):
        found = wait_ready(aws, found["agentRuntimeId"])
    update = documents.update_request(plan, image, found)
    if update is None:
        say("is as it should be")
        return found
    updated = patiently(lambda: control.update_agent_runtime(**update), "ThrottlingException", "ConflictException")
    say(f"updated to version {updated['agentRuntimeVersion']}")
    return wait_ready(aws, found["agentRuntimeId"])


def patiently(call: Callable[[], Any], *passing: str) -> Any:
    """Again, while AWS says one of these codes, or that it cannot use the role yet.

    IAM takes a moment to tell everybody of a new role; the control plane tries the role when it is given.
    """
    deadline = time.monotonic() + min(PATIENCE, 120)
    while True:
        try:
            return call()
        except Exception as error:
            young = "Role validation failed" in str(error) or "Access denied while validating ECR URI" in str(error)
            if not (young or error_code(error) in passing) or time.monotonic() > deadline:
                raise
            say("the role is not known everywhere yet" if young else f"{error_code(error)}; again in a moment")
            time.sleep(PAUSE)


def wait_ready(aws: Aws, identifier: str) -> dict[str, Any]:
    deadline, control = time.monotonic() + PATIENCE, aws.client("bedrock-agentcore-control")
    while True:
        found = control.get_agent_runtime(agentRuntimeId=identifier)
        status = found["status"]
        if status == "READY":
            say("READY")
            return found
        if status.endswith("FAILED"):
            raise Wrong(f"the runtime is {status}: {found.get('failureReason', 'no reason is given')}")
        if time.monotonic() > deadline:
            raise Wrong(f"the runtime is still {status} after {PATIENCE:.0f} s; run this again")
        time.sleep(PAUSE)


# --- as a client


def check(plan: Plan, aws: Aws, found: dict[str, Any] | None) -> None:
    step("tools/list, as a client")
    if found is None:
        raise Wrong(f"there is no runtime {plan.name}")
    if found.get("authorizerConfiguration"):
        say("the runtime takes tokens of its issuer, not signatures: not asked")
        return
    session: dict[str, str] = {}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "deploy.py", "version": "1"}}
    begun = invoke(aws, found, session, "initialize", hello)
    invoke(aws, found, session, "notifications/initialized", None)
    tools = invoke(aws, found, session, "tools/list", {})["tools"]
    say(f"{begun['serverInfo']['name']} {begun['serverInfo']['version']} has {len(tools)} tools" + ("" if tools else ": the gateway has none, or refuses the role"))
    for tool in tools:
        say(f"  {tool['name']}")


def invoke(aws: Aws, found: dict[str, Any], session: dict[str, str], method: str, params: dict[str, Any] | None) -> Any:
    """One message of MCP, signed; later ones carry the session that the first one is given."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message |= {"id": 1, "params": params}
    both = {"contentType": "application/json", "accept": "application/json, text/event-stream", "qualifier": "DEFAULT"}
    answer = aws.client("bedrock-agentcore").invoke_agent_runtime(
        agentRuntimeArn=found["agentRuntimeArn"], payload=json.dumps(message).encode(), **both, **session
    )
    if given := answer.get("mcpSessionId"):
        session |= {"mcpSessionId": given}
    if method == "initialize":
        session["mcpProtocolVersion"] = "2025-11-25"
    if params is None:
        return None
    said = read_answer(answer["response"].read().decode(), answer.get("contentType", ""))
    if "result" not in said:
        raise Wrong(f"{method}: {json.dumps(said.get('error', said))[:500]}")
    return said["result"]


def read_answer(text: str, kind: str) -> dict[str, Any]:
    """The response in a body: JSON, or the event that has an id."""
    if "event-stream" not in kind:
        return json.loads(text or "{}")
    events = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip()]
    return next((event for event in events if "id" in event and "method" not in event), {})


# --- the end


def destroy(plan: Plan, aws: Aws) -> None:
    """In the other direction, and only what is ours."""
    step("destroy")
    destroy_runtime(plan, aws)
    ecr, iam, manager = aws.client("ecr"), aws.client("iam"), aws.client("secretsmanager")
    found = none_if(lambda: ecr.describe_repositories(repositoryNames=[plan.repository]), "RepositoryNotFoundException")
    if found is not None:
        arn = found["repositories"][0]["repositoryArn"]
        if will_remove(f"repository {plan.repository}", is_ours(ecr.list_tags_for_resource(resourceArn=arn)["tags"], plan)):
            ecr.delete_repository(repositoryName=plan.repository, force=True)
    if none_if(lambda: iam.get_role(RoleName=plan.role_name), "NoSuchEntity") is not None:
        if will_remove(f"role {plan.role_name}", is_ours(iam.list_role_tags(RoleName=plan.role_name)["Tags"], plan)):
            none_if(lambda: iam.delete_role_policy(RoleName=plan.role_name, PolicyName="weir"), "NoSuchEntity")
            iam.delete_role(RoleName=plan.role_name)
    secret = documents.secret_id(plan.settings)
    kept = none_if(lambda: manager.describe_secret(SecretId=secret), "ResourceNotFoundException")
    if kept is not None and "DeletedDate" not in kept and will_remove(f"secret {secret}", is_ours(kept.get("Tags", []), plan)):
        manager.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
        say("it can be restored for 7 days")
    say("the log group of the runtime, which AWS has made, is left")


def will_remove(what: str, ours: bool) -> bool:
    say(f"{what}: removed" if ours else f"{what}: left, this script has not made it")
    return ours


def destroy_runtime(plan: Plan, aws: Aws) -> None:
    found = find_runtime(plan, aws)
    if found is None or not will_remove(f"runtime {plan.name}", is_our_runtime(plan, aws, found)):
        return
    control, deadline = aws.client("bedrock-agentcore-control"), time.monotonic() + PATIENCE
    ask = {"agentRuntimeId": found["agentRuntimeId"]}
    none_if(lambda: control.delete_agent_runtime(**ask), "ResourceNotFoundException")
    while still := none_if(lambda: control.get_agent_runtime(**ask), "ResourceNotFoundException"):
        if still["status"] == "DELETE_FAILED" or time.monotonic() > deadline:
            raise Wrong(f"the runtime is {still['status']}: {still.get('failureReason', 'run this again')}")
        time.sleep(PAUSE)


# --- all of it


def dry_run(plan: Plan, args: argparse.Namespace) -> None:
    engine, base = find_engine() or ENGINES[0], base_image(args)
    image = args.image or f"{plan.registry}/{plan.repository}:TAG"
    for path, text in documents.image_files(plan).items():
        show(f"in the image, /etc/weir/{path}", text.decode(errors="replace"))
    if plan.secret:
        show("secret in Secrets Manager", {"Name": plan.secret, "Tags": tag_list(plan)})
    show(f"role {plan.role_name}, who may take it", documents.trust_policy(plan))
    show(f"role {plan.role_name}, what it may do", documents.role_policy(plan, image))
    if not args.image:
        show("repository in ECR", {"repositoryName": plan.repository, "imageTagMutability": "IMMUTABLE", "tags": tag_list(plan)})
        show("Dockerfile", documents.dockerfile(base))
        commands = [] if args.base_image else [[engine, "build", "--platform", "linux/arm64", "-t", base, str(ROOT)]]
        commands += [[engine, "build", "--platform", "linux/arm64", "-t", image, "FOLDER"]]
        commands += [[engine, "login", "--username", "AWS", "--password-stdin", plan.registry], [engine, "push", image]]
        show("commands", "\n".join(shlex.join(command) for command in commands))
    show("CreateAgentRuntime", documents.create_request(plan, image))
    say("\nNothing was changed.")


def main(argv: list[str]) -> int:
    args = parse_options(argv)
    aws = Aws(str(load_settings(args)["region"]))
    try:
        account = aws.account()
    except Exception as error:
        if not args.dry_run:
            raise Wrong(f"AWS does not know who you are: {error}") from error
        account = "111122223333"
        say("AWS does not know who you are: account 111122223333 stands for yours")
    plan = make_plan(args, account)
    image = args.image or f"{plan.registry}/{plan.repository}"
    if args.command == "destroy":
        destroy(plan, aws)
        return 0
    if args.command == "check":
        check(plan, aws, find_runtime(plan, aws))
        return 0
    if args.weir:
        plan.used = rights_of_config(plan)
    documents.role_policy(plan, image)  # for its notes
    for note in dict.fromkeys(plan.notes):
        say(f"note: {note}")
    check_weir(plan)
    if args.dry_run:
        dry_run(plan, args)
        return 0
    if (there := find_runtime(plan, aws)) and not is_our_runtime(plan, aws, there):
        refuse_foreign(f"the runtime {plan.name}")
    ensure_secret(plan, aws, args)
    ensure_role(plan, aws, image)
    if not args.image:
        ensure_repository(plan, aws)
        image = ensure_image(plan, aws, args)
    found = ensure_runtime(plan, aws, image)
    check(plan, aws, found)
    say(f"\n{found['agentRuntimeArn']}")
    return 0


def guarded(argv: list[str]) -> int:
    """The exit code; what goes wrong is one line, and never a traceback with values in it."""
    try:
        return main(argv)
    except Wrong as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001: an error of AWS or of the network, by its text
        say(f"error: {type(error).__name__}: {' '.join(str(error).split())}")
        return 1


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("Python 3.11 or later is needed")
    sys.exit(guarded(sys.argv[1:]))
