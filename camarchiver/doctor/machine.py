"""Looks at the user, GPUs, cameras, kernel limits and the clock, for `doctor`."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from camarchiver.doctor.findings import Finding, fine, judge_watches, remark, trouble
from camarchiver.domain.clip import Trees
from camarchiver.errors import CamarchiverError, ConfigError, cause, user_name
from camarchiver.media import gpu
from camarchiver.runtime import clock
from camarchiver.state import run_history

_ANSWER_SECONDS = 5.0
_RTSP_PORT = 554
_AHEAD = timedelta(hours=1)
"""A record of our own that is this far in the future means that the clock is wrong."""
_ADJTIMEX_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised."""


def user() -> Iterator[Finding]:
    """The user that runs this: what it may do says nothing about another user."""
    groups = ", ".join(gpu.group_name(number) for number in sorted({os.getegid(), *os.getgroups()}))
    message = f"this is {user_name()}, groups {groups}"
    if os.geteuid() == 0:
        remedy = "to see it as a service does: sudo -u camarchiver camarchiver doctor"
        yield remark("user", f"{message}: root may do everything", remedy)
    else:
        yield fine("user", message)


def render_nodes(device: Path | None) -> Iterator[Finding]:
    """Each GPU with its driver and group, and whether this user may open it."""
    found = dict.fromkeys((*gpu.render_nodes(), *((device,) if device else ())))
    if not found:
        yield remark("render node", "there is no GPU here (/dev/dri is empty); encoding is done in software")
    for node in found:
        wrong, remedy = gpu.node_problem(node)
        message = f"{node}, {_described(node)}"
        if not wrong and (problem := _opening(node)):
            wrong, remedy = f"{node} can't be opened: {problem}", "see dmesg for what its driver says"
        if wrong:
            yield trouble("render node", f"{wrong} ({message})", remedy)
        else:
            yield fine("render node", f"{message}: this user may open it")


def inotify(folders: int) -> Iterator[Finding]:
    """Whether the kernel can watch that many folders."""
    # The second one applies to a container's user only, and is the lower one there.
    names = ("fs.inotify.max_user_watches", "user.max_inotify_watches")
    limits = {name: _setting(name) for name in names}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    name = min(known, key=lambda each: known[each], default=names[0])
    yield judge_watches(folders, known.get(name, 0), name)
    if not _setting("user.max_inotify_instances") or not _setting("fs.inotify.max_user_instances"):
        yield trouble(
            "inotify", "no inotify instance is allowed here", "sysctl -w fs.inotify.max_user_instances=512"
        )


def clocks(timezone: str, trees: Trees | None) -> Iterator[Finding]:
    """Whether the clock and the time zone can be trusted."""
    try:
        zone = clock.zone(timezone)
    except ConfigError as error:
        yield trouble("clock", error.message, error.hint)
        return
    now = clock.now(zone)
    message = f"{now:%Y-%m-%d %H:%M:%S}, {timezone or zone} ({now:%z})"
    newest = _newest_record(trees) if trees is not None else None
    if newest is not None and newest - now > _AHEAD:
        wrong = f"{message}, but the last run here ended {newest:%Y-%m-%d %H:%M:%S%z}"
        yield trouble("clock", wrong, "set the clock: timedatectl set-ntp true")
    elif not _is_kept_in_time():
        yield remark("clock", f"{message}; nothing keeps it in time", "timedatectl set-ntp true")
    else:
        yield fine("clock", f"{message}, kept in time")


def camera(source: str) -> Iterator[Finding]:
    """Whether the source that `record` is to read exists."""
    from camarchiver.record.capture import source as capture_source

    try:
        found = capture_source.camera(source)
        address = urlsplit(found.name) if source.startswith("rtsp") else None
        port = (address.port or _RTSP_PORT) if address else 0
    except CamarchiverError as error:
        yield trouble("camera", error.message, error.hint)
    except ValueError:
        yield trouble("camera", "source in [record] is no address", "write it as rtsp://HOST/PATH")
    else:
        if address is not None:
            yield _network(address.hostname or "", port)
        else:
            yield fine("camera", f"{found.name} is there")


def credentials(path: Path) -> Iterator[Finding]:
    """The file with a camera's user and password."""
    try:
        words, mode = path.read_text(encoding="utf-8").strip(), path.stat().st_mode
    except (OSError, ValueError) as error:
        wrong = cause(error) if isinstance(error, OSError) else "it is no text"
        yield trouble(
            "camera", f"{path} can't be read: {wrong}", f"chown it to the user that records: {path}"
        )
        return
    if ":" not in words or "\n" in words:
        yield trouble("camera", f"{path} does not hold USER:PASSWORD", "write both into its only line")
    elif mode & 0o077:
        yield remark("camera", f"{path} may be read by others", f"chmod 600 {path}")
    else:
        yield fine("camera", f"{path} holds a user and a password, for this user alone")


def devices(wanted: Collection[str]) -> Iterator[Finding]:
    """The other cameras of this machine."""
    known = {each.removeprefix("v4l2:").partition(",")[0] for each in wanted}
    for path in sorted(Path("/dev").glob("video*")):
        if str(path) not in known:
            found = _device(path)
            yield remark("camera", found.message, found.remedy)


def channels(metrics: Iterable[Path], commands: Iterable[tuple[str, ...]]) -> Iterator[Finding]:
    """Whether the files and commands to which runs report can be used."""
    for file in metrics:
        if not file.parent.is_dir():
            yield trouble("metrics", f"there is no folder {file.parent}", "make it, or correct metrics")
        elif not os.access(file.parent, os.W_OK | os.X_OK):
            remedy = f"setfacl -m u:USER:rwx {file.parent}, with the user that archives"
            yield trouble("metrics", f"this user can't write to {file.parent}", remedy)
        else:
            yield fine("metrics", f"{file} can be written")
    for command in commands:
        if shutil.which(command[0]) is None:
            yield trouble("notify", f"{command[0]} is no program that can be started", "correct notify")
        else:
            yield fine("notify", f"{command[0]} can be started")


def _device(path: Path) -> Finding:
    from camarchiver.record.capture.devices import v4l2

    try:
        found = v4l2.formats(path)
    except CamarchiverError as error:
        return trouble("camera", error.message, error.hint)
    return fine("camera", f"{path} delivers {', '.join(sorted(found))}")


def _network(host: str, port: int) -> Finding:
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_SECONDS):
            return fine("camera", f"{host} answers on port {port}")
    except OSError as error:
        message = f"{host} does not answer on port {port}: {cause(error)}"
        return trouble(
            "camera", message, "see that the camera is on, that its name is right, and RTSP enabled"
        )


def _described(node: Path) -> str:
    try:
        group = gpu.group_name(node.stat().st_gid)
    except OSError:
        group = "unknown"
    vendor = gpu.vendor(node)
    return f"driver {gpu.driver(node) or 'unknown'}{f', vendor {vendor}' if vendor else ''}, group {group}"


def _opening(node: Path) -> str:
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return cause(error)
    return ""


def _setting(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _newest_record(trees: Trees) -> datetime | None:
    with suppress(OSError):
        last = run_history.last(trees.state)
        return last.ended if last else None
    return None


def _is_kept_in_time() -> bool:
    """Whether the kernel's clock is disciplined (adjtimex(2), which every user may read)."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, zeroed: nothing is set
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return state not in (-1, _ADJTIMEX_ERROR)


def unseen(kind: str) -> Finding:
    """On a filesystem of this kind the kernel does not see every change."""
    return remark(
        "inotify", f"{kind} does not report changes by other hosts: watch reads the tree every --poll"
    )
