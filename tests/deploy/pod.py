"""Runs weir as a rendered pod says, without a cluster: the same volumes, user, rights and read-only root.

What a kubelet does with volumes is done here the same way: a ConfigMap or Secret is a folder of links to `..data`, which
leads to a folder that a change replaces; an emptyDir belongs to root and to the pod's group, and everybody may write in it.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shlex
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tools import Skip, output

from chart import CHART, Chart, one
from rig import Process, free_port, wait_until

GROUP = 10001
TOKEN = "admin-token-of-the-pod-0123456789abcdef"
# What the image has besides weir: libraries, roots of trust, names.
IMAGE = ["usr", "bin", "sbin", "lib", "lib64", "etc/ssl", "etc/resolv.conf", "etc/nsswitch.conf", "proc", "dev"]
NUMBERS = itertools.count()


class Volume:
    """A volume that is made of files, as a kubelet keeps it."""

    def __init__(self, folder: Path, files: dict[str, str], mode: int) -> None:
        self.folder, self.mode = folder, mode
        folder.mkdir(parents=True)
        os.chown(folder, 0, GROUP)
        folder.chmod(0o2777)
        self.replace(files)

    def replace(self, files: dict[str, str]) -> None:
        """All files at once, by one rename."""
        data = self.folder / f"..2026_11_29_{next(NUMBERS)}"
        for path, text in files.items():
            file = data / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(self.mode)
            os.chown(file, 0, GROUP)
        for name in {Path(path).parts[0] for path in files}:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        new = self.folder / "..data_tmp"
        new.symlink_to(data.name)
        new.rename(self.folder / "..data")


def items(source: dict[str, Any], data: dict[str, str]) -> dict[str, str]:
    """The files of a source of a volume: all keys, or those that it names, where it says."""
    if "items" not in source:
        return data
    return {item["path"]: data[item["key"]] for item in source["items"]}


class Pod:
    """The pod of a rendered Deployment, with the Secrets that it names."""

    def __init__(self, folder: Path, documents: list[dict[str, Any]], secrets: dict[str, dict[str, str]]) -> None:
        if os.geteuid() != 0:
            raise Skip("pods need root: mounts, and user 10001")
        for tool in ("unshare", "mount", "setpriv", "chroot"):
            if shutil.which(tool) is None:
                raise Skip(f"pods need {tool} (Debian: util-linux, coreutils)")
        self.folder, self.secrets = folder, secrets
        folder.mkdir()
        folder.chmod(0o755)
        # Other tests use ports too: the ones of the pod become free ones, the only thing that is changed.
        self.ports = {"8000": free_port(), "8001": free_port()}
        self.volumes: dict[str, Volume] = {}
        self.load(documents)
        for volume in self.spec["volumes"]:
            self.make(volume)

    def load(self, documents: list[dict[str, Any]]) -> None:
        self.spec = one(documents, "Deployment")["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]
        self.data = one(documents, "ConfigMap")["data"]
        for old, new in self.ports.items():
            self.data = {key: text.replace(f":{old}", f":{new}") for key, text in self.data.items()}

    def files_of(self, volume: dict[str, Any]) -> dict[str, str] | None:
        if source := volume.get("configMap"):
            return items(source, self.data)
        if source := volume.get("secret"):
            return items(source, self.secrets[source["secretName"]])
        if projected := volume.get("projected"):
            files: dict[str, str] = {}
            for part in projected["sources"]:
                files |= items(part["secret"], self.secrets[part["secret"]["name"]])
            return files
        return None

    def make(self, volume: dict[str, Any]) -> None:
        folder, files = self.folder / volume["name"], self.files_of(volume)
        if files is None:
            folder.mkdir()
            os.chown(folder, 0, GROUP)
            # An emptyDir is for everybody; a disk belongs to root and the group.
            folder.chmod(0o2777 if "emptyDir" in volume else 0o2775)
        else:
            self.volumes[volume["name"]] = Volume(folder, files, 0o644 if "configMap" in volume else 0o440)

    def update(self, documents: list[dict[str, Any]]) -> None:
        """What happens to a running pod when its ConfigMap changes."""
        self.load(documents)
        files = self.files_of(next(v for v in self.spec["volumes"] if v["name"] == "config"))
        assert files
        self.volumes["config"].replace(files)

    def command(self, binary: Path) -> list[str]:
        """Everything in a mount namespace of its own, which ends with weir."""
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        at = shlex.quote(str(root))
        lines = ["set -e", f"mount -t tmpfs -o mode=755 tmpfs {at}"]
        for name in IMAGE:
            found = Path("/") / name
            if found.is_symlink() and not name.startswith("etc"):
                lines.append(f"ln -s {shlex.quote(os.readlink(found))} {at}/{name}")
            elif found.exists():
                make = "mkdir -p" if found.is_dir() else f"mkdir -p {at}/etc; touch"
                lines += [f"{make} {at}/{name}", f"mount --rbind /{name} {at}/{name}"]
        lines += [f"touch {at}/weir", f"mount --bind {shlex.quote(str(binary))} {at}/weir"]
        # A folder of the image that belongs to weir, and where it starts (Dockerfile).
        lines.append(f"mkdir -p {at}/var/lib/weir; chown 10001:10001 {at}/var/lib/weir; chmod 700 {at}/var/lib/weir")
        for mount in self.container["volumeMounts"]:
            target = f"{at}{shlex.quote(mount['mountPath'])}"
            lines += [f"mkdir -p {target}", f"mount --bind {shlex.quote(str(self.folder / mount['name']))} {target}"]
            if mount.get("readOnly"):
                lines.append(f"mount -o remount,bind,ro {target}")
        if self.container["securityContext"]["readOnlyRootFilesystem"]:
            lines.append(f"mount -o remount,ro {at}")
        user = self.spec["securityContext"]
        privileges = f"--reuid {user['runAsUser']} --regid {user['runAsGroup']} --groups {user['fsGroup']} --no-new-privs"
        inner = f"cd /var/lib/weir && exec setpriv {privileges} --bounding-set=-all --inh-caps=-all /weir {shlex.join(self.container['args'])}"
        lines.append(f"exec chroot {at} /bin/sh -c {shlex.quote(inner)}")
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)]

    def environment(self) -> dict[str, str]:
        found = {}
        for entry in self.container.get("env", []):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            found[entry["name"]] = self.secrets[reference["name"]][reference["key"]] if reference else entry["value"]
        return found

    def start(self, binary: Path, cleanup: ExitStack) -> Process:
        process = Process("weir", self.command(binary), self.folder, self.environment())
        cleanup.callback(process.stop, signal.SIGKILL)
        return process

    def get(self, port: str, path: str, scheme: str = "http", token: str = "") -> tuple[int, str]:
        """Status and body; 0 where nobody answers. As a kubelet, it takes any certificate."""
        insecure = ssl.create_default_context()
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=insecure))
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{self.ports[port]}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with opener.open(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def probe(self, name: str) -> int:
        """What a probe of the container gets."""
        asked = self.container[name]["httpGet"]
        port = next(str(p["containerPort"]) for p in self.container["ports"] if p["name"] == asked["port"])
        return self.get(port, asked["path"], asked["scheme"].lower())[0]


class Door:
    """A server that refuses everybody, and remembers what they said of themselves."""

    def __init__(self, cleanup: ExitStack) -> None:
        self.heard = heard = set[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802: the name is the library's
                heard.add(self.headers.get("Authorization", ""))
                self.send_response(401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Not on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cleanup.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/mcp"


def check_pods(run: Any, chart: Chart, binary: Path, folder: Path) -> None:
    with ExitStack() as cleanup:
        check_least(run, chart, binary, folder, cleanup)
        check_replica(run, chart, binary, folder, cleanup)
        check_claim(run, chart, binary, folder, cleanup)


def is_ready(run: Any, what: str, pod: Pod, process: Process) -> bool:
    up = wait_until(lambda: pod.probe("readinessProbe") == 200 or not process.running, 40) and process.running
    log = process.log.read_text(errors="replace")
    run.check(f"{what} is ready", up, log)
    run.check(f"{what} is up", pod.probe("livenessProbe") == 200, log)
    return up


def check_least(run: Any, chart: Chart, binary: Path, folder: Path, cleanup: ExitStack) -> None:
    """One replica: rights, state, a change of its ConfigMap, its end."""
    values = CHART / "ci" / "one.yaml"
    documents = chart.render(values)
    pod = Pod(folder / "one", documents, {})
    process = pod.start(binary, cleanup)
    if not is_ready(run, "one replica", pod, process):
        return
    told = Path(f"/proc/{process.popen.pid}/status").read_text()
    status = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    run.check("as user and group 10001", status["Uid"].split()[0] == status["Gid"].split()[0] == "10001", status)
    rights = [status["CapEff"], status["CapBnd"], status["CapPrm"]]
    run.check("without any capability, nor a way to get one", set(rights) == {"0" * 16} and status["NoNewPrivs"] == "1", rights)
    state = (folder / "one" / "state" / "state").stat()
    run.check("its state is its own", (state.st_uid, state.st_mode & 0o777) == (10001, 0o700), oct(state.st_mode))
    upstreams = lambda: json.loads(pod.get("8001", "/upstreams")[1])["upstreams"]  # noqa: E731
    run.check("it has no upstream", upstreams() == [], upstreams())
    more = ["--set", f"config.upstreams.erp.url=http://127.0.0.1:{free_port()}/mcp"]
    changed = chart.render(values, *more)
    pod.update(changed)
    run.check("a change of the ConfigMap is taken over", wait_until(lambda: [u["name"] for u in upstreams()] == ["erp"], 20))
    stamp = lambda d: one(d, "Deployment")["spec"]["template"]["metadata"].get("annotations")  # noqa: E731
    run.check("without new pods", stamp(changed) == stamp(documents), stamp(changed))
    for fixed in ("config.listen.request_bytes=1MiB", "instance=b", "drainSeconds=11", "state.kind=none"):
        run.check(f"with new ones after {fixed}", stamp(chart.render(values, "--set", fixed)) != stamp(documents))
    run.check("SIGTERM ends it with 0", process.stop(signal.SIGTERM, 15) == 0, process.log.read_text()[-500:])
    # The trap that the chart avoids: the mount itself belongs to root.
    trap = Pod(folder / "trap", documents, {})
    trap.data = {key: text.replace("/var/lib/weir/state", "/var/lib/weir") for key, text in trap.data.items()}
    trap.volumes["config"].replace(trap.data)
    process = trap.start(binary, cleanup)
    wait_until(lambda: not process.running, 15)
    log = process.log.read_text()
    run.check("a state folder that belongs to root would be refused", "write a folder inside it" in log, log)


def check_replica(run: Any, chart: Chart, binary: Path, folder: Path, cleanup: ExitStack) -> None:
    """One of several, with Secrets, policies, and an admin listener with a token."""
    secrets = {
        "weir-sealing-2026": {"key": base64.b64encode(bytes(range(32))).decode()},
        "weir-sealing-2025": {"key": base64.b64encode(bytes(range(32, 64))).decode()},
        "weir-admin": {"token": TOKEN},
        "github": {"token": "token-of-github-planted"},
        "erp": {"password": "password-of-erp-planted"},
    }
    # Nobody outside of this machine is asked: github is a door that hears who knocks.
    door, away = Door(cleanup), f"http://127.0.0.1:{free_port()}/mcp"
    upstreams = f"upstreams:\n  erp: {{ url: '{away}', auth: {{ type: basic, username: weir, password: {{ env: ERP_PASSWORD }} }} }}\n"
    file = folder / "more.json"
    file.write_text(json.dumps({"files": {"upstreams.d/erp.yaml": upstreams}}))
    more = ["--set", f"config.upstreams.github.url={door.url},config.listen.auth.jwt[0].issuer=http://127.0.0.1:9", "--values", str(file)]
    documents = chart.render(CHART / "ci" / "replicas.yaml", *more)
    pod = Pod(folder / "replica", documents, secrets)
    process = pod.start(binary, cleanup)
    if not is_ready(run, "one of several", pod, process):
        return
    run.check("/metrics needs the token", pod.get("8001", "/metrics")[0] == 401)
    status, text = pod.get("8001", "/metrics", token=TOKEN)
    run.check("and has what the alerts are about", status == 200 and "weir_upstream_up{" in text and "weir_config_last_reload_successful" in text, text[:500])
    names = [u["name"] for u in json.loads(pod.get("8001", "/upstreams", token=TOKEN)[1])["upstreams"]]
    run.check("files in folders of the ConfigMap are read", names == ["github", "erp"], names)
    run.check("a Secret is sent where it belongs", wait_until(lambda: "Bearer token-of-github-planted" in door.heard, 10), door.heard)
    pod.secrets["github"] = {"token": "token-of-github-changed"}
    volume = next(v for v in pod.spec["volumes"] if v.get("secret", {}).get("secretName") == "github")
    pod.volumes[volume["name"]].replace(pod.files_of(volume) or {})
    # The one that failed is asked again within seconds.
    taken = wait_until(lambda: "Bearer token-of-github-changed" in door.heard, 40)
    run.check("a changed Secret is taken over", taken, door.heard)
    log = process.log.read_text()
    planted = [s for values in [*secrets.values(), {"": "token-of-github-planted"}] for s in values.values() if s in log]
    run.check("no secret is in the log", not planted, planted)
    run.check("SIGTERM ends it with 0", process.stop(signal.SIGTERM, 70) == 0, log[-500:])


def check_claim(run: Any, chart: Chart, binary: Path, folder: Path, cleanup: ExitStack) -> None:
    """A state that outlasts the pod, and TLS."""
    if shutil.which("openssl") is None:
        raise Skip("a certificate needs openssl")
    key, certificate = folder / "tls.key", folder / "tls.crt"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    code, said = output([*make, "-subj", "/CN=weir", "-keyout", str(key), "-out", str(certificate)], stdin=subprocess.DEVNULL)
    assert code == 0, said
    # Not the stdio upstream, whose program is in no image of ours, nor the disk of its data.
    more = ["--set", "config.upstreams=null", "--set", "extraVolumes=null,extraVolumeMounts=null"]
    documents = chart.render(CHART / "ci" / "claim.yaml", *more)
    secrets = {"edge-tls": {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}}
    pod = Pod(folder / "claim", documents, secrets)
    process = pod.start(binary, cleanup)
    if not is_ready(run, "one with TLS and a disk", pod, process):
        return
    instance = folder / "claim" / "state" / "state"
    before = sorted(path.name for path in instance.iterdir())
    process.stop(signal.SIGTERM, 20)
    process = pod.start(binary, cleanup)
    is_ready(run, "its next pod", pod, process)
    run.check("the sealing key is still there", "sealing.key" in before, before)
    process.stop(signal.SIGTERM, 20)
