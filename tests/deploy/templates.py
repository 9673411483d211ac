"""The CloudFormation template and the Terraform module, beside the script."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import documents
import hcl2
import yaml

FOLDER = Path(documents.__file__).resolve().parent
Check = Callable[..., None]


class Loader(yaml.SafeLoader):
    """`!Ref` and the like as mappings: what is looked at here has none of them."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: {f"!{suffix}": str(node.value)})


def lint(file: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--regions", "us-east-1", "eu-west-1", "--template", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def platform() -> dict[str, list[str]]:
    """What the script gives every role: actions by the statement's name."""
    plan = documents.Plan(documents.DEFAULTS, "123456789012", {}, {})
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/weir/x:1"
    return {s["Sid"]: s["Action"] for s in documents.platform_statements(plan, image)}


def check_templates(check: Check) -> None:
    check_cloudformation(check)
    check_terraform(check)


def check_cloudformation(check: Check) -> None:
    file = FOLDER / "cloudformation.yaml"
    code, said = lint(file)
    check("cfn-lint has nothing to say", code == 0 and not said.strip(), said)
    text = file.read_text()
    wrong = FOLDER.parents[1] / "target" / "wrong.yaml"
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_text(text.replace("ProtocolConfiguration: MCP", "ProtocolConfiguration: { ServerProtocol: MCP }"))
    code, said = lint(wrong)
    wrong.unlink()
    check("and finds the API's form of a property", code != 0 and "ServerProtocol" in said, said)
    template = yaml.load(text, Loader)  # noqa: S506: a SafeLoader
    written = template["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    actions = {s["Sid"]: sorted([s["Action"]] if isinstance(s["Action"], str) else s["Action"]) for s in written if "Sid" in s}
    check("CloudFormation's role is that of the script", actions == platform(), actions)


def bare(value: Any) -> Any:
    """hcl2 keeps the quotes of texts."""
    if isinstance(value, dict):
        return {bare(key): bare(inner) for key, inner in value.items() if key != "__comments__"}
    if isinstance(value, list):
        return [bare(inner) for inner in value]
    return value[1:-1] if isinstance(value, str) and value[:1] == value[-1:] == '"' else value


def check_terraform(check: Check) -> None:
    files = sorted((FOLDER / "terraform").glob("*.tf"))
    loaded = {file.name: bare(hcl2.loads(file.read_text())) for file in files}
    check("Terraform's files are parsed", len(loaded) == 3, list(loaded))
    text = "".join(re.sub(r"(?m)^\s*#.*$", "", file.read_text()) for file in files)
    declared = {name for block in loaded["variables.tf"]["variable"] for name in block}
    used = set(re.findall(r"\bvar\.(\w+)", text))
    check("every variable is declared, and used", used == declared, used ^ declared)
    resources = {f"{kind}.{name}" for block in loaded["main.tf"]["resource"] for kind, named in block.items() if kind != "__is_block__" for name in named if name != "__is_block__"}
    named = set(re.findall(r"\b(aws_\w+\.\w+)\.\w+", re.sub(r"data\.\w+\.\w+", "", text)))
    check("every resource that is named is there", named <= resources, (named, resources))
    policies = next(block["aws_iam_policy_document"]["weir"] for block in loaded["main.tf"]["data"] if "weir" in block.get("aws_iam_policy_document", {}))
    actions = {s["sid"]: sorted(s["actions"]) for s in policies["statement"]}
    check("Terraform's role is that of the script", actions == platform(), json.dumps(actions))
