"""The GPUs' render nodes, and who may open them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

FIRST = Path("/dev/dri/renderD128")
_DRM = Path("/sys/class/drm")


def render_nodes() -> tuple[Path, ...]:
    """The GPUs that this machine shows."""
    return tuple(sorted(FIRST.parent.glob("renderD*")))


def node_problem(node: Path) -> tuple[str, str]:
    """What keeps us from using a render node, and the remedy; both empty where nothing does."""
    try:
        status = node.stat()
    except OSError:
        return f"{node} is not there", f"load the GPU's driver; in a container pass --device {node}"
    if not stat.S_ISCHR(status.st_mode):
        return f"{node} is no device", "name a render node with --device"
    if os.access(node, os.R_OK | os.W_OK):
        return "", ""
    remedy = f"usermod -aG {group_name(status.st_gid)} {user_name()}, then log in anew"
    return f"no permission for {node}", remedy


def vendor(node: Path) -> str:
    """The PCI number of the GPU's maker, as `0x8086`; empty where the kernel doesn't tell."""
    try:
        return (_DRM / node.name / "device/vendor").read_text().strip()
    except OSError:
        return ""


def driver(node: Path) -> str:
    """The kernel's driver, as `i915`; empty where the kernel doesn't tell."""
    try:
        return (_DRM / node.name / "device/driver").readlink().name
    except OSError:
        return ""


def group_name(number: int) -> str:
    """The name of a group, its number where it has none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def user_name() -> str:
    """Who runs this process."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
