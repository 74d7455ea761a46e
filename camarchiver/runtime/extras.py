"""The command that installs what this program lacks, for the Python that runs it."""

from __future__ import annotations

import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from camarchiver.domain.untrusted import decode

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "camarchiver"
_PIP = (sys.executable, "-m", "pip", "install")
_SOURCE = Path(__file__).resolve().parents[1]
"""The folder that the program was started from, if it was never installed."""


class _VersionControl(msgspec.Struct, frozen=True):
    vcs: str


class _Origin(msgspec.Struct, frozen=True):
    """Where a distribution was installed from: `direct_url.json` of PEP 610."""

    url: str
    vcs_info: _VersionControl | None = None


def install_extra(extra: str) -> str:
    """The command that installs the packages of an extra.

    It names the packages and not `camarchiver[extra]`: no registry has camarchiver, and the folder it was
    installed from may be gone.
    """
    wanted = tuple(each for each in requirements() if extra_of(each) == extra)
    return install(*wanted) if wanted else shlex.join([*_PIP, f"{_SOURCE}[{extra}]"])


def install(*wanted: Requirement) -> str:
    """The command that installs these packages beside the program."""
    return shlex.join([*_PIP, *(f"{each.name}{each.specifier}" for each in wanted)])


def reinstall() -> str:
    """The command that installs the program again from its origin, as PEP 610 records it."""
    origin = _origin()
    system = f"{origin.vcs_info.vcs}+" if origin.vcs_info else ""
    return shlex.join([*_PIP, "--force-reinstall", system + origin.url])


def _origin() -> _Origin:
    """The folder that the program runs from if it was not installed, or its record can't be understood."""
    try:
        recorded = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        return decode(recorded, _Origin) if recorded else _Origin(DISTRIBUTION)
    except (metadata.PackageNotFoundError, ValueError):
        return _Origin(str(_SOURCE))


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
