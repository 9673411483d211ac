"""Reads documents as JSON lines, each with a version of Kubernetes, and judges them by its schema, strictly."""

from __future__ import annotations

import json
import sys

import kubernetes_validate

for line in sys.stdin:
    asked = json.loads(line)
    where = f"{asked['document']['kind']} in Kubernetes {asked['version']}"
    try:
        kubernetes_validate.validate(asked["document"], asked["version"], strict=True)
        print(f"ok {where}")
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.absolute_path)
        print(f"wrong {where}: {path}: {error.message}")
    except Exception as error:  # noqa: BLE001: the version or the kind is unknown
        print(f"wrong {where}: {error}")
