"""The command that installs what this program lacks, for the Python that runs it."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "camarchiver"
_PIP = (sys.executable, "-m", "pip", "install")
_SOURCE = Path(__file__).resolve().parents[1]
"""The folder that the program was started from, if it was never installed."""


def install_extra(extra: str) -> str:
    """The command that installs the packages of an extra.

    It names the packages and not `camarchiver[NAME]`: no registry has camarchiver, and the folder it was
    installed from may be gone.
    """
    wanted = tuple(each for each in requirements() if extra_of(each) == extra)
    return install(*wanted) if wanted else shlex.join([*_PIP, f"{_SOURCE}[{extra}]"])


def install_package(name: str) -> str:
    """The command that installs a package that the program always needs."""
    from packaging.utils import canonicalize_name

    same = canonicalize_name(name)
    wanted = tuple(each for each in requirements() if canonicalize_name(each.name) == same)
    return install(*wanted) if wanted else reinstall()


def install(*wanted: Requirement) -> str:
    """The command that installs these packages beside the program."""
    return shlex.join([*_PIP, *(f"{each.name}{each.specifier}" for each in wanted)])


def reinstall() -> str:
    """The command that installs the program again from its origin, as PEP 610 records it."""
    return shlex.join([*_PIP, "--force-reinstall", _origin()])


def _origin() -> str:
    """The folder that the program runs from if it was not installed, or its record can't be understood.

    The record is read by the standard library alone: this is asked where the installation is broken.
    """
    try:
        recorded = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        if not recorded:
            return DISTRIBUTION
        origin = json.loads(recorded)
        system = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
        return f"{system}{origin['url']}"
    except (metadata.PackageNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return str(_SOURCE)


def requirements() -> tuple[Requirement, ...]:
    """The requirements of the installed package and its extras; empty if it is not installed."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ()
    return tuple(map(Requirement, lines or ()))


def extra_of(wanted: Requirement) -> str:
    """The extra that requires a package; empty if the program always needs it."""
    marker = wanted.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return ""
    offered = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ()
    return next((str(extra) for extra in offered if marker.evaluate({"extra": extra})), "")
