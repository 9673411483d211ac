"""Programs of another architecture, by qemu, while the tests run."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from engine import Skip

FOLDER = Path("/proc/sys/fs/binfmt_misc")
QEMU = {"arm64": "qemu-aarch64-static"}
# The head of an ELF file of the architecture, and which of its bits count (binfmt_misc.rst of the kernel).
# `F`: the kernel opens qemu now, and it need not be in the image. `C`: with the rights of the program.
RULES = {
    "arm64": r":weir-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{}:FC"
}


def emulate(arch: str, cleanup: ExitStack) -> None:
    """Has the kernel start qemu for programs of `arch`, until the end of the tests."""
    qemu = shutil.which(QEMU.get(arch, ""))
    if qemu is None:
        raise Skip(f"programs for {arch} need {QEMU.get(arch)} (Debian: qemu-user-static)")
    if not (FOLDER / "register").exists():
        done = subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(FOLDER)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(f"the kernel has no binfmt_misc: {done.stderr.strip()}")
        cleanup.callback(subprocess.run, ["umount", str(FOLDER)], capture_output=True)
    if any("aarch64" in path.name or path.name == "weir-arm64" for path in FOLDER.iterdir()):
        return
    (FOLDER / "register").write_text(RULES[arch].format(qemu))
    cleanup.callback((FOLDER / "weir-arm64").write_text, "-1")
