"""The GPUs' render nodes, and whether this process may open them."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from camarchiver.errors import user_name

FIRST = Path("/dev/dri/renderD128")
_DRM = Path("/sys/class/drm")


def render_nodes() -> tuple[Path, ...]:
    """The render nodes of this machine."""
    return tuple(sorted(FIRST.parent.glob("renderD*")))


def node_problem(node: Path) -> tuple[str, str]:
    """Why a render node can't be used, and the remedy; both empty if it can."""
    try:
        status = node.stat()
    except OSError:
        return f"{node} is not there", f"load the GPU's driver; in a container pass --device {node}"
    if not stat.S_ISCHR(status.st_mode):
        return f"{node} is no device", "name a render node with --device"
    if os.access(node, os.R_OK | os.W_OK):
        return "", ""
    remedy = f"usermod -aG {group_name(status.st_gid)} {user_name()}, then log in again"
    return f"no permission for {node}", remedy


def vendor(node: Path) -> str:
    """The PCI number of the GPU's maker, such as `0x8086`; empty if the kernel doesn't say."""
    try:
        return (_DRM / node.name / "device/vendor").read_text().strip()
    except OSError:
        return ""


def driver(node: Path) -> str:
    """The kernel's driver, such as `i915`; empty if the kernel doesn't say."""
    try:
        return (_DRM / node.name / "device/driver").readlink().name
    except OSError:
        return ""


def group_name(number: int) -> str:
    """The name of a group, or its number if it has no name."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
