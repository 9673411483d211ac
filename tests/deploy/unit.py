"""The systemd unit, judged by systemd itself. No unit is started."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from tools import HERE, Skip, output

UNITS = HERE.parents[1] / "deploy" / "systemd"
# The most exposure that systemd may find, of 10, in tenths; with each drop-in.
EXPOSURE = {None: 13, "node.conf": 15, "user.conf": 22}
LANDLOCK = ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"]


def check_unit(run: Any, binary: Path, folder: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        raise Skip("the unit needs systemd-analyze (Debian: systemd)")
    text = (UNITS / "weir.service").read_text()
    # It has to be where the unit says, or systemd complains.
    placed = text.replace("/usr/local/bin/weir", str(binary))
    run.check("the unit names the program", placed != text)
    for dropin, most in EXPOSURE.items():
        here = folder / f"unit-{dropin}"
        here.mkdir()
        unit = here / "weir.service"
        unit.write_text(placed)
        if dropin is not None:
            (here / "weir.service.d").mkdir()
            shutil.copy(UNITS / dropin, here / "weir.service.d")
        code, said = output(["systemd-analyze", "verify", "--man=no", str(unit)])
        ours = [line for line in said.splitlines() if "weir" in line]
        run.check(f"systemd-analyze verify, with {dropin}", code == 0 and not ours, said)
        code, said = output(["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={most}", str(unit)])
        told = re.search(r"exposure level for \S+ ([0-9.]+)", said)
        run.check(f"exposed by {told[1] if told else '?'} of 10, with {dropin}", code == 0 and told is not None, said[-1500:])
    mistake = folder / "unit-wrong"
    mistake.mkdir()
    (mistake / "weir.service").write_text(placed.replace("PrivateTmp=", "PrivateTemp="))
    _, said = output(["systemd-analyze", "verify", "--man=no", str(mistake / "weir.service")])
    run.check("a misspelt setting would be found", "PrivateTemp" in said, said)
    check_promises(run, text)


def check_promises(run: Any, text: str) -> None:
    """What weir and the unit have to agree about."""
    allowed = " ".join(re.findall(r"^SystemCallFilter=([^~].*)$", text, re.M)).split()
    missing = [call for call in LANDLOCK if call not in allowed]
    run.check("Landlock is allowed: it is in no set of old systemds", not missing, missing)
    stop = re.search(r"^TimeoutStopSec=(\d+)$", text, re.M)
    run.check("there is time for listen.drain (10 s)", stop is not None and int(stop[1]) >= 20)
    exits = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.M)
    run.check("a wrong config (exit 2) is not tried again", exits is not None and exits[1] == "2")
