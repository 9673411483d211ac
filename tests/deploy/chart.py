"""The Helm chart: what it renders, what it refuses, and how it is linted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tools import HERE, Toolbox, output

PROJECT = HERE.parents[1]
CHART = PROJECT / "deploy" / "kubernetes" / "weir"
# The oldest that the chart says it runs on, and the newest that the validator knows.
VERSIONS = ["1.30", "1.34", "1.37"]
# Kinds of the Prometheus operator: Kubernetes has no schema of them.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
IMAGE = ["--set", "image.repository=registry.example.com/weir"]
NONE = [*IMAGE, "--set", "config.listen.auth=none"]
TWO = [*NONE, "--set", "replicas=2"]

# Values, and what has to be in the refusal.
REFUSED: dict[str, tuple[list[str], str]] = {
    "no listen.auth": (IMAGE, "config.listen.auth"),
    "no image": (["--set", "config.listen.auth=none"], "image.repository"),
    "an unknown value": ([*NONE, "--set", "replicaCount=2"], "replicaCount"),
    "a value of another type": ([*NONE, "--set-string", "replicas=two"], "replicas"),
    "replicas without a sealing key": (TWO, "sealingKeys"),
    "replicas and a claim of one": (
        [*TWO, "--set", "sealingKeys[0].secret=s,sealingKeys[0].key=k,state.kind=claim"],
        "ReadWriteMany",
    ),
    "pods that forward without a sealing key": ([*NONE, "--set", "peers.enabled=true"], "sealingKeys"),
    "peers that the chart writes": (
        [*NONE, "--set", "sealingKeys[0].secret=s,sealingKeys[0].key=k,peers.enabled=true", "--set", "config.replicas.peers[0]=http://a:8000"],
        "config.replicas.peers",
    ),
    "autoscaling without a sealing key": ([*NONE, "--set", "autoscaling.enabled=true"], "sealingKeys"),
    "metrics without a token": ([*NONE, "--set", "serviceMonitor.enabled=true"], "admin.existingSecret"),
    "an ingress without hosts": ([*NONE, "--set", "ingress.enabled=true"], "ingress.hosts"),
    "certificates that probes do not have": (
        [*IMAGE, "--set", "config.listen.auth.client_certificates.required=true"],
        "admin.existingSecret",
    ),
    "a key of the config that the chart writes": ([*NONE, "--set", "config.state.dir=/x"], "set the value `state`"),
    "an address that the chart writes": ([*NONE, "--set", "config.listen.address=1"], "set the value `bindAddress`"),
    "files of somebody else's ConfigMap": ([*NONE, "--set", "existingConfigMap=x"], "existingConfigMap"),
    "a file outside of the folder": ([*NONE, "--set-string", "files.\\.\\./x=y"], "../x"),
}


class Chart:
    """What helm makes of the chart."""

    def __init__(self, tools: Toolbox) -> None:
        self.tools = tools

    def helm(self, *arguments: str) -> tuple[int, str]:
        return output([str(self.tools.helm), *arguments])

    def render(self, values: Path, *more: str) -> list[dict[str, Any]]:
        """The documents for a file of values."""
        code, text = self.helm("template", "edge", str(CHART), "--namespace", "mcp", "--values", str(values), *more)
        if code != 0:
            raise AssertionError(text)
        return self.load(text)

    def load(self, text: str) -> list[dict[str, Any]]:
        """YAML is read by the venv, which has a parser; keys that are there twice are an error."""
        script = (
            "import sys, json, yaml\n"
            "class Loader(yaml.SafeLoader): pass\n"
            "def mapping(loader, node):\n"
            "    keys = [loader.construct_object(key) for key, _ in node.value]\n"
            "    assert len(keys) == len(set(keys)), f'twice: {keys}'\n"
            "    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)\n"
            "Loader.add_constructor('tag:yaml.org,2002:map', mapping)\n"
            "print(json.dumps([d for d in yaml.load_all(sys.stdin, Loader) if d]))\n"
        )
        code, said = output([str(self.tools.python), "-c", script], input=text)
        if code != 0:
            raise AssertionError(said)
        return json.loads(said)


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(document for document in documents if document["kind"] == kind)


def restricted(pod: dict[str, Any]) -> list[str]:
    """What the Pod Security Standard `restricted` has against a pod, and a bit more."""
    wrong = []
    context, container = pod["securityContext"], pod["containers"][0]
    own = container["securityContext"]
    if not (context["runAsNonRoot"] and context["runAsUser"] == 10001 and context["fsGroup"] == 10001):
        wrong.append("root")
    if context["seccompProfile"]["type"] != "RuntimeDefault":
        wrong.append("seccomp")
    if own["capabilities"] != {"drop": ["ALL"]} or own["allowPrivilegeEscalation"]:
        wrong.append("capabilities")
    allowed = {"name", "configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim"}
    wrong += [str(volume) for volume in pod["volumes"] if set(volume) - allowed]
    wrong += [str(mount) for mount in container["volumeMounts"] if "subPath" in mount]
    if pod["automountServiceAccountToken"]:
        wrong.append("a token of Kubernetes")
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        wrong.append("the host's namespaces")
    return wrong


def check_chart(run: Any, chart: Chart) -> None:
    """Everything that needs no weir."""
    version = re.search(r'^version = "(.+)"', (PROJECT / "Cargo.toml").read_text(), re.M)
    assert version
    code, text = chart.helm("show", "chart", str(CHART))
    run.check("the chart is of this version of weir", f"appVersion: {version[1]}" in text, text)
    files = sorted((CHART / "ci").glob("*.yaml"))
    asked = []
    for values in files:
        code, text = chart.helm("lint", "--strict", str(CHART), "--values", str(values))
        run.check(f"helm lint --strict: {values.name}", code == 0, text)
        documents = chart.render(values)
        native = [document for document in documents if document["kind"] not in FOREIGN]
        asked += [json.dumps({"document": d, "version": v}) for d in native for v in VERSIONS]
        pod = one(documents, "Deployment")["spec"]["template"]["spec"]
        wrong = restricted(pod)
        run.check(f"the pod is restricted: {values.name}", not wrong, wrong)
        grace, container = pod["terminationGracePeriodSeconds"], pod["containers"][0]
        prestop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        config = next((d["data"]["weir.yaml"] for d in documents if d["kind"] == "ConfigMap"), "drain: 10s")
        drain = re.search(r"drain: (\d+)s", config)
        assert drain
        run.check(f"it has time to stop: {values.name}", grace >= prestop + int(drain[1]) + 10, grace)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        run.check(f"every volume is mounted: {values.name}", mounted == {v["name"] for v in pod["volumes"]}, mounted)
    code, text = output([str(chart.tools.python), str(HERE / "validate.py")], input="\n".join(asked))
    verdicts = text.splitlines()
    wrong = [line for line in verdicts if not line.startswith("ok ")]
    run.check(f"{len(asked)} documents are valid in Kubernetes {', '.join(VERSIONS)}", not wrong and len(verdicts) == len(asked), wrong)
    broken = json.dumps({"document": {"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": {"prots": []}}, "version": VERSIONS[0]})
    _, text = output([str(chart.tools.python), str(HERE / "validate.py")], input=broken)
    run.check("a document with an unknown key is not", text.startswith("wrong "), text)
    for what, (arguments, message) in REFUSED.items():
        code, text = chart.helm("template", "edge", str(CHART), *arguments)
        run.check(f"refused: {what}", code != 0 and message in text, text)
    check_names(run, chart)


def check_names(run: Any, chart: Chart) -> None:
    """Names that Kubernetes takes, and selectors that meet."""
    long = "a" * 53
    code, text = chart.helm("template", long, str(CHART), *NONE, "--set", "admin.existingSecret=x,state.kind=claim")
    names = [document["metadata"]["name"] for document in chart.load(text)] if code == 0 else [text]
    run.check("names of a long release are at most 63 long", all(len(name) <= 63 for name in names), names)
    documents = chart.render(CHART / "ci" / "replicas.yaml")
    labels = one(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = {
        "Deployment": one(documents, "Deployment")["spec"]["selector"]["matchLabels"],
        "Service": one(documents, "Service")["spec"]["selector"],
        "PodDisruptionBudget": one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": one(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        run.check(f"the {kind} means the pods", selector.items() <= labels.items(), selector)
    admin = next(d for d in documents if d["kind"] == "Service" and d["metadata"]["name"].endswith("-admin"))
    wanted = one(documents, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    run.check("the ServiceMonitor means the admin Service", wanted.items() <= admin["metadata"]["labels"].items(), wanted)
    others = [d for d in documents if d["kind"] == "Service" and d is not admin]
    missed = [d for d in others if wanted.items() <= d["metadata"]["labels"].items()]
    run.check("and no other one", not missed, missed)
    check_peers(run, chart, documents, labels)


def check_peers(run: Any, chart: Chart, documents: list[dict[str, Any]], labels: dict[str, str]) -> None:
    """The Service by which pods find one another, and the config and the rules that go with it."""
    replicas = [d for d in documents if d["kind"] == "Service" and d["metadata"]["name"].endswith("-replicas")]
    spec = replicas[0]["spec"] if len(replicas) == 1 else {}
    headless = spec.get("clusterIP") == "None" and spec.get("publishNotReadyAddresses") is True
    run.check("one headless Service has the addresses of the pods, also of those that stop", headless, replicas)
    run.check("it means the pods", spec.get("selector", {"": ""}).items() <= labels.items(), spec)
    name, port = replicas[0]["metadata"]["name"], spec["ports"][0]
    config = chart.load(one(documents, "ConfigMap")["data"]["weir.yaml"])[0]
    wanted = {"peers": [f"http://{name}:{port['port']}"], "prefix": "edge:"}
    run.check("the config names it, and keeps what else it has of replicas", config["replicas"] == wanted, config["replicas"])
    run.check("weir listens on its port", config["listen"]["address"].endswith(f":{port['port']}") and port["targetPort"] == "mcp", port)
    policy = one(documents, "NetworkPolicy")["spec"]
    pods = {"podSelector": {"matchLabels": spec["selector"]}}
    within = [side for side, key in (("ingress", "from"), ("egress", "to")) for rule in policy[side] if pods in rule.get(key, [])]
    run.check("the NetworkPolicy lets pods reach one another, both ways", within == ["ingress", "egress"], policy)
    least = chart.render(CHART / "ci" / "one.yaml")
    run.check("without `peers` there is no such Service", not any(d["metadata"]["name"].endswith("-replicas") for d in least), least)
    keys = "sealingKeys[0].secret=s,sealingKeys[0].key=k,peers.enabled=true"
    tls = ["--set", "config.listen.tls.cert=c,config.listen.tls.key.file=k,config.replicas.peer_tls.ca=ca"]
    code, text = chart.helm("template", "edge", str(CHART), *NONE, "--set", keys, *tls)
    run.check("with `listen.tls` they are asked over TLS", code == 0 and "https://edge-weir-replicas:8000" in text, text)
    sums = [fixed(chart, keys), fixed(chart, keys, "--set", "config.replicas.prefix=x")]
    run.check("a change of `replicas` makes new pods", sums[0] != sums[1], sums)


def fixed(chart: Chart, *more: str) -> str:
    """The sum of what weir does not take over without a restart."""
    code, text = chart.helm("template", "edge", str(CHART), *NONE, "--set", *more)
    if code != 0:
        raise AssertionError(text)
    pod = one(chart.load(text), "Deployment")["spec"]["template"]
    return pod["metadata"]["annotations"]["checksum/fixed"]
