"""Stands for docker: writes down what it was told, and what is pushed is in ECR."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import urllib.request
from pathlib import Path

KIND = "application/vnd.oci.image.manifest.v1+json"
# moto tells services apart by the signature, and does not check it.
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ecr/aws4_request, SignedHeaders=host, Signature=0"

arguments = sys.argv[1:]
context, unreadable = {}, []
if arguments[0] == "build" and not Path(arguments[-1], "Cargo.toml").exists():
    folder = Path(arguments[-1])
    context = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    # COPY keeps permissions, and weir is not root in the image.
    unreadable = [path.name for path in (folder / "config").rglob("*") if path.stat().st_mode & 0o004 == 0]
told = {"arguments": arguments, "stdin": sys.stdin.read(), "environment": dict(os.environ), "context": context, "unreadable": unreadable}
with open(os.environ["ENGINE_LOG"], "a") as log:
    print(json.dumps(told), file=log)
if arguments[0] == os.environ.get("ENGINE_FAILS"):
    sys.exit(7)
if arguments[:2] == ["image", "inspect"]:
    print("sha256:" + "ba5e" * 16)
if arguments[0] == "push":
    _, _, path = arguments[1].partition("/")
    repository, _, tag = path.partition(":")
    content = "sha256:" + hashlib.sha256(tag.encode()).hexdigest()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": {"digest": content}, "layers": []})
    image = {"repositoryName": repository, "imageTag": tag, "imageManifest": manifest, "imageDigest": content}
    headers = {
        "Authorization": SIGNED,
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.PutImage",
    }
    # Past the front: what an engine does is no request of the script.
    urllib.request.urlopen(urllib.request.Request(os.environ["ENGINE_ECR"], json.dumps(image).encode(), headers)).read()
