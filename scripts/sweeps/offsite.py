"""Off-site copies whose client, rclone, server, connection or objects meet a fault at any byte.

After each trial every object that the journal calls verified must have the archive's bytes, read by plain
rclone; no archive may leave for a copy that has not; nothing but the archive's bytes may be restored; and a
run without the fault must finish the work.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Options, Sweep, Tally, Unable, camera, tallies
from sweeps.camera import LATELY, Program, Ran
from sweeps.cleanup import must
from tests import programs
from tests.dates import age, clip_of
from tests.offsite import servers
from tests.offsite.proxy import Proxy, ProxyFault, Trouble
from tests.offsite.servers import Kind, Rclone, Server

SOURCES = {"front": "testsrc2", "garden": "mandelbrot", "yard": "smptebars"}
NEXT = LATELY + timedelta(days=1)
NEWEST = tuple(clip_of(name, NEXT) for name in SOURCES)
"""No rule of the sweeps removes the newest clip of a camera."""
MET_SECONDS = 20.0
END_SECONDS = 90.0
ROOM = "48k"
"""Of a server's disk that is too small for all archives."""

KINDS = (
    servers.WEBDAV,
    servers.SSHD,
    servers.RCLONE_S3,
    servers.WSGIDAV,
    servers.MOTO,
    servers.SEAWEEDFS,
)
SLOW = servers.SEAWEEDFS
"""It starts once for all trials that do not kill it, and takes 20 s to come back after a kill."""
SLOW_BEHIND = 2
"""A sample has this many fewer trials of it than of each other kind, so a small sample (as in scripts/test)
has none.
"""

COMMANDS = ("sync", "verify", "cleanup", "restore", "restore-all")
NONE = "no fault"
KILLS = ("kill client", "kill rclone", "kill server")
WIRE = {
    "cut": Trouble.CUT,
    "flip": Trouble.FLIP,
    "stall": Trouble.STALL,
    "slow": Trouble.SLOW,
}
DAMAGE = ("changed", "truncated", "swapped", "deleted", "all deleted")
"""What somebody else, or a failing disk, does to objects after they were verified."""
CLOCKS = ("+800d", "-20d")
PLACES = (0.02, 0.3, 0.6, 0.95)
"""How far a transfer has come: a part of the bytes of all archives."""


@dataclass(frozen=True)
class Trial:
    """One fault while, or before, one command runs."""

    command: str
    """`sync`, `verify`, `cleanup`, `restore` or `restore-all`."""
    fault: str
    kind: Kind
    place: float = 0.0
    upward: bool = True
    is_encrypted: bool = False

    def __str__(self) -> str:
        way = f" at {self.place:.0%} {'sent' if self.upward else 'received'}" if self.place else ""
        return f"{self.fault}{way}, {self.kind.name}{', crypt' if self.is_encrypted else ''}"


@dataclass(frozen=True)
class Model:
    """A tree of archives that have no copies yet."""

    folder: Path
    archives: dict[str, str]
    """BLAKE2b by path below the archive root."""
    size: int
    """Bytes of all archives."""


class ServerHangs(Exception):
    """The server answers nobody, plain rclone included: the trial says nothing about our program."""


class Stage:
    """A copy of the tree, a server with a proxy before it, and the program."""

    def __init__(
        self,
        options: Options,
        folder: Path,
        model: Model,
        trial: Trial,
        shared: Server | None,
        open_: ExitStack,
    ) -> None:
        """`shared` is a running server of which the trial gets a folder; None for a server of its own."""
        self.folder = folder
        self.trial = trial
        self.model = model
        self.met = True
        """Whether the fault happened."""
        self.root = folder / "camera"
        shutil.copytree(model.folder, self.root, symlinks=True)
        self.archive = self.root / "archived"
        store = folder / "store"
        if trial.fault == "full":
            _small_disk(store / "data", open_)
        own = shared.part_of(folder.name) if shared else None
        self.server: Server = own or open_.enter_context(servers.running(trial.kind, store))
        self.proxy = open_.enter_context(Proxy(self.server.port))
        self.remote = "secret:" if trial.is_encrypted else self.server.path("store")
        self.direct = self._rclone("direct", self.server.port)
        configured = self._rclone("proxied", self.proxy.port)
        verify = "auto" if trial.upward else "read-back"
        (folder / "config.toml").write_text(f'[offsite]\nremote = "{self.remote}"\nverify = "{verify}"\n')
        settings = {
            "RCLONE_CONFIG": str(configured.config),
            "CAMARCHIVER_CONFIG": str(folder / "config.toml"),
        }
        # Without a fault nothing may fail, however slow a busy machine makes the server.
        self.program = Program(options.package, folder, settings | _times_out_after("30s"))
        self.faulty = Program(options.package, folder, settings | _times_out_after("2s"))
        """The program as it runs into the fault, which it must notice within the time of a trial."""

    def _rclone(self, name: str, port: int) -> Rclone:
        place = self.folder / name
        place.mkdir()
        secret = {
            "type": "crypt",
            "remote": self.server.path("store"),
            "password": servers.obscured("only a test"),
        }
        return Rclone.of(place, {"store": self.server.settings(port), "secret": secret})

    # --- the program -------------------------------------------------------------------------------

    def words(self, command: str) -> tuple[str, ...]:
        """The command line of a command."""
        config = ("--config", str(self.folder / "config.toml"))
        match command:
            case "sync":
                return ("offsite", "sync", str(self.root), "-y", *config)
            case "verify":
                return ("offsite", "verify", str(self.root), "--sample", "100", *config)
            case "cleanup":
                rules = ("--archive-age-offsite", age(1), "--offsite-counts", "30", "--delete")
                return ("cleanup", str(self.root), "-y", *rules, "--allow-large", *config)
            case "restore":
                return ("restore", "--from-offsite", "-C", str(self.root), "-y", str(self.archive), *config)
            case "restore-all":
                return ("offsite", "restore-all", self.remote, str(self.folder / "empty"), "-y", *config)
        raise ValueError(command)

    def run(self, command: str) -> Ran:
        """Run a command to its end. Raises ServerHangs if it is not our run that hangs."""
        ran = self.program.run(*self.words(command), seconds=END_SECONDS)
        if ran.code is None:
            self._require_server()
        return ran

    def _require_server(self) -> None:
        """Raises ServerHangs if plain rclone gets no answer either."""
        try:
            self.direct.run("lsf", self.server.path("store"), check=False, seconds=MET_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServerHangs from None

    def run_into(self, fault: ProxyFault, command: str) -> Iterator[str]:
        """Run a command into the trial's fault; what no run may do."""
        self.proxy.fail(fault)
        self.met = False
        with tempfile.TemporaryFile() as said:
            process = self.faulty.start(*self.words(command), output=said)
            try:
                if self.trial.fault in KILLS and self.proxy.await_met(MET_SECONDS):
                    self.met = True
                    yield from self._kill(process)
                code: int | None = process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                rclones = _children(process.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.met = self.met or bool(self.proxy.met)
                self.proxy.fail(None)
            if left := [pid for pid in rclones if not _is_gone(pid)]:
                yield f"rclone outlived its run: {left}"
            said.seek(0)
            yield from Ran(code, said.read().decode(errors="replace")).problems()
        if self.server.process is None:
            self.server.start()
        elif code is None:
            self._require_server()

    def _kill(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        """Kill what the trial says, while the connection waits."""
        rclones = _children(process.pid)
        match self.trial.fault:
            case "kill client":
                process.kill()
            case "kill rclone":
                for pid in rclones:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            case _:
                self.server.kill()
        if self.trial.fault == "kill client" and (left := [pid for pid in rclones if not _is_gone(pid)]):
            yield f"rclone outlived its killed parent: {left}"
        self.proxy.fail(None)

    # --- what must hold ----------------------------------------------------------------------------

    def verified(self) -> dict[str, str]:
        """The copies that the journal calls verified: the BLAKE2b by the object's name."""
        found: dict[str, str] = {}
        for event in camera.events(self.archive):
            match event["event"]:
                case "copy-verified":
                    found[event["object"]] = event["archive_blake2b"]
                case "copied" | "copy-lost":
                    found.pop(event["object"], None)
        return found

    def is_good(self, name: str, digest: str) -> bool:
        """Whether plain rclone reads these bytes."""
        place = f"{self.remote}{'' if self.remote.endswith(':') else '/'}{name}"
        try:
            ran = self.direct.run("cat", place, check=False)
        except subprocess.TimeoutExpired:
            raise ServerHangs from None
        return ran.returncode == 0 and camera.blake2b(ran.stdout) == digest

    def wrong(self) -> Iterator[str]:
        """What the journal calls verified and is not."""
        for name, digest in self.verified().items():
            if not self.is_good(name, digest):
                yield f"{name} counts as verified, and its bytes are others or gone"

    def lost(self) -> Iterator[str]:
        """Archives that are neither here nor in the remote, and files of other bytes under their names."""
        for relative, digest in self.model.archives.items():
            path = self.archive / relative
            if path.exists():
                if not camera.is_whole(path, digest):
                    yield f"{relative} is not what it was"
            elif digest not in self.verified().values():
                yield f"{relative} left, and no verified copy is known"
            elif not any(
                each == digest and self.is_good(name, each) for name, each in self.verified().items()
            ):
                yield f"{relative} left, and its copy is not good"

    def unfinished(self) -> Iterator[str]:
        """What a sync without a fault has not done."""
        proved = {digest for name, digest in self.verified().items() if self.is_good(name, digest)}
        for relative, digest in self.model.archives.items():
            if digest not in proved:
                yield f"{relative} has no verified copy at the end"
        # A staged upload may be left: a run that has nothing to copy does not ask the remote for any.
        yield from camera.litter(self.root)

    # --- damage --------------------------------------------------------------------------------------

    def damage(self, dice: random.Random) -> list[str]:
        """Do to the remote what the trial says; the names of the objects that are bad now."""
        below = list(self.direct.objects(self.server.path("store")))
        footage = sorted(name for name in below if self._is_footage(name))
        first, second = dice.sample(footage, 2)
        match self.trial.fault:
            case "changed":
                data = bytearray(self._read(first))
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
                self._write(first, bytes(data))
                return [first]
            case "truncated":
                self._write(first, self._read(first)[:-1])
                return [first]
            case "swapped":
                one, other = self._read(first), self._read(second)
                self._write(first, other)
                self._write(second, one)
                return [first, second]
            case "deleted":
                self.direct.delete(self.server.path("store", first))
                return [first]
            case "all deleted":
                for name in below:
                    self.direct.delete(self.server.path("store", name))
                return footage
        raise ValueError(self.trial.fault)

    def _is_footage(self, name: str) -> bool:
        size = self.direct.objects(self.server.path("store"))[name]
        return "manifest" not in name and size > 5000

    def _read(self, name: str) -> bytes:
        return self.direct.read(self.server.path("store", name))

    def _write(self, name: str, data: bytes) -> None:
        """Other content under the same name and, where the server keeps files, with the same times."""
        path = self.server.data / name
        if not self.trial.kind.is_plain:
            self.direct.write(self.server.path("store", name), data)
            return
        times = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if self.trial.kind is servers.RCLONE_S3:
            # For some minutes it answers with the hash that it made of the former bytes.
            self.server.kill()
            self.server.start()


def _times_out_after(limit: str) -> dict[str, str]:
    """rclone's variables that give up a server that is silent for so long."""
    return {"RCLONE_TIMEOUT": limit, "RCLONE_CONTIMEOUT": limit}


def attempt(
    options: Options, where: Path, model: Model, missed: set[Trial], shared: Server | None, trial: Trial
) -> list[str]:
    """One trial: the fault, what must hold, a run without it, what must hold then."""
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=where))
    dice = random.Random(f"{options.seed} {trial}")
    with ExitStack() as open_:
        stage = Stage(options, folder, model, trial, shared if _may_share(trial) else None, open_)
        found: list[str] = []
        try:
            found += _tried(stage, dice)
        except ServerHangs:
            print(f"{trial.command}, {trial}: the server hangs, for plain rclone, too", flush=True)
            stage.met = False
        if not stage.met:
            missed.add(trial)
        if found and options.keep:
            kept = Path(tempfile.mkdtemp(prefix="camarchiver-violation-"))
            shutil.copytree(folder, kept, dirs_exist_ok=True, symlinks=True)
            found.append(f"kept in {kept}")
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _tried(stage: Stage, dice: random.Random) -> Iterator[str]:
    trial = stage.trial
    if trial.command != "sync":
        yield from _must_end(stage.run("sync"), "a sync before the fault")
    if trial.command in ("restore", "restore-all"):
        for relative in stage.model.archives:
            if trial.command == "restore":
                (stage.archive / relative).unlink()
    if trial.fault == NONE:
        yield from _must_end(stage.run(trial.command), "the run")
        yield from _holds(stage, trial.command)
        yield from _finished(stage, trial.command)
    elif trial.fault in DAMAGE:
        yield from _after_damage(stage, stage.damage(dice))
    elif trial.fault in CLOCKS:
        yield from _with_clock(stage)
    elif trial.fault == "full":
        yield from stage.run("sync").problems()
        yield from stage.wrong()
    else:
        yield from _in_transit(stage)


def _in_transit(stage: Stage) -> Iterator[str]:
    """A fault on the wire, or of a process, while the command runs; then the same command again."""
    command, trial = stage.trial.command, stage.trial
    # The newest clip of each camera stays, so that cleanup reads half of the copies.
    after = round(trial.place * stage.model.size * (0.5 if command == "cleanup" else 1))
    trouble = WIRE.get(trial.fault, Trouble.STALL)
    yield from stage.run_into(ProxyFault(trouble, after, upward=trial.upward, rate=100_000), command)
    yield from _holds(stage, command)
    if command == "cleanup":
        # A copy that could not be read as it is counts as lost, until it is copied again.
        yield from _must_end(stage.run("sync"), "the sync after the fault")
    again = stage.run(command)
    # A restore fails where there is nothing left to bring back.
    if command != "restore" or again.code != ExitCode.FAILED:
        yield from _must_end(again, "the run after the fault")
    yield from _holds(stage, command)
    yield from _finished(stage, command)


def _holds(stage: Stage, command: str) -> Iterator[str]:
    """What must hold at any moment."""
    yield from stage.wrong()
    if command in ("sync", "verify", "cleanup"):
        yield from stage.lost()
        return
    root = stage.folder / "empty/archived" if command == "restore-all" else stage.archive
    for path in camera.final(root) if root.exists() else ():
        digest = stage.model.archives.get(path.relative_to(root).as_posix())
        if path.suffix == ".mp4" and not camera.is_whole(path, digest or ""):
            yield f"restored with other bytes: {path}"


def _finished(stage: Stage, command: str) -> Iterator[str]:
    """What must be so at the end, without a fault."""
    match command:
        case "sync" | "verify":
            yield from stage.unfinished()
        case "cleanup":
            for relative in stage.model.archives:
                # The newest clip of each camera stays.
                if (stage.archive / relative).exists() and not relative.startswith(NEWEST):
                    yield f"{relative} did not leave"
        case _:
            root = stage.folder / "empty/archived" if command == "restore-all" else stage.archive
            for relative, digest in stage.model.archives.items():
                if not camera.is_whole(root / relative, digest):
                    yield f"{relative} did not come back"
            yield from camera.litter(root)


def _after_damage(stage: Stage, bad: Sequence[str]) -> Iterator[str]:
    """Objects are bad; no command may take them for good."""
    ran = stage.run(stage.trial.command)
    yield from ran.problems()
    if stage.trial.fault == "all deleted" and stage.trial.command == "verify":
        yield from _after_all_deleted(stage, ran)
        return
    if stage.trial.command != "restore-all" and ran.code == 0 and stage.trial.command != "cleanup":
        yield f"{len(bad)} objects are bad, and {stage.trial.command} ends with 0: {ran.tail}"
    if stage.trial.command == "verify":
        yield from stage.wrong()
    if stage.trial.command == "cleanup":
        yield from stage.lost()
    else:
        yield from (each for each in _holds(stage, stage.trial.command) if "counts as verified" not in each)
    if stage.trial.command == "verify":
        yield from _must_end(stage.run("sync"), "the sync that copies again")
        yield from stage.unfinished()


def _after_all_deleted(stage: Stage, ran: Ran) -> Iterator[str]:
    """Nothing is there that the journal knows: it may be the wrong place, and no copy is lost for that."""
    if ran.code != ExitCode.CONFIG:
        yield f"nothing is there, and verify ends with {ran.code}: {ran.tail}"
    if any(event["event"] == "copy-lost" for event in camera.events(stage.archive)):
        yield "a copy counts as lost, and the place may be the wrong one"
    again = stage.run("sync")
    yield from again.problems()
    if again.code not in (ExitCode.DONE, ExitCode.CONFIG):
        yield f"nothing is there, and sync ends with {again.code}: {again.tail}"


def _with_clock(stage: Stage) -> Iterator[str]:
    """Copies are verified while the clock is wrong; later nothing counts that was not verified lately."""
    before = ("faketime", "-f", stage.trial.fault)
    ran = stage.program.run(*stage.words("sync"), before=before, seconds=END_SECONDS)
    yield from ran.problems()
    yield from stage.wrong()
    yield from stage.run("cleanup").problems()
    yield from stage.lost()
    is_future = stage.trial.fault.startswith("+")
    if is_future and any(not (stage.archive / each).exists() for each in stage.model.archives):
        yield "an archive left for a copy that is verified in the future"
    yield from _must_end(stage.run("sync"), "a sync with the right clock")


def _must_end(ran: Ran, what: str) -> Iterator[str]:
    yield from ran.problems()
    if ran.code != 0:
        yield f"{what} ends with {ran.code}: {ran.tail}"


def every_trial() -> Iterator[Trial]:
    """All there are."""
    for kind in KINDS:
        for command in COMMANDS:
            yield Trial(command, NONE, kind)
            for fault in (*KILLS, *WIRE):
                # moto keeps its objects in memory: if it is killed, all of them are lost.
                if fault == "kill server" and kind is servers.MOTO:
                    continue
                for place in PLACES:
                    for upward in (True, False) if command == "sync" else (False,):
                        yield Trial(command, fault, kind, place, upward, is_encrypted=place == PLACES[1])
            if command != "sync":
                yield from (Trial(command, damage, kind) for damage in DAMAGE)
        yield from (Trial("sync", clock, kind) for clock in CLOCKS)
        if kind.is_plain:
            yield Trial("sync", "full", kind)


def chosen(options: Options) -> list[Trial]:
    """All trials that can be made here, or a sample that takes commands, faults and servers in turn."""
    dice = random.Random(options.seed)
    possible = [trial for trial in every_trial() if not _why_not(trial)]
    dice.shuffle(possible)
    if options.sample is None:
        return possible
    taken: list[Trial] = []
    seen: Counter[str] = Counter({SLOW.name: SLOW_BEHIND})
    while possible and len(taken) < options.sample:
        rarest = min(possible, key=lambda each: seen[each.command] + seen[each.fault] + seen[each.kind.name])
        possible.remove(rarest)
        taken.append(rarest)
        seen.update((rarest.command, rarest.fault, rarest.kind.name))
    return taken


def _may_share(trial: Trial) -> bool:
    """Whether a trial may use the one server that runs for all of its kind."""
    return trial.kind is SLOW and trial.fault != "kill server"


def _why_not(trial: Trial) -> str:
    """Why a trial can't be made here; empty if it can."""
    if trial.fault == "full" and os.geteuid():
        return "only root may mount"
    return trial.kind.why_not or (programs.why_not("faketime") if trial.fault in CLOCKS else "")


def make_model(options: Options, folder: Path) -> None:
    """Two archives of each camera, whose sources are gone."""
    for at in (LATELY, NEXT):
        for name, source in SOURCES.items():
            camera.make_clip(folder / f"{clip_of(name, at)}.mp4", source=source, at=at.timestamp())
    program = Program(options.package, folder.parent)
    must(program.run("archive", folder, "--delete", "-y", "--codec", "h264", "--ffmpeg", camera.FFMPEG))
    (folder / "archiver.log").unlink(missing_ok=True)


def _small_disk(folder: Path, open_: ExitStack) -> None:
    folder.mkdir(parents=True)
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    subprocess.run(mounted, check=True)
    open_.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)


def _children(pid: int) -> list[int]:
    """The rclones that a process started, whatever thread did."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(each) for each in path.read_text().split() if _name_of(int(each)) == "rclone"]
    return found


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _is_gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends within that time."""
    deadline = time.monotonic() + seconds
    while _name_of(pid) == "rclone" and not _is_zombie(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def model_in(options: Options, where: Path) -> Model:
    """A new model in a folder of its own."""
    folder = where / "model" / "camera"
    folder.mkdir(parents=True)
    make_model(options, folder)
    archive = folder / "archived"
    archives = {str(path.relative_to(archive)): camera.digest(path) for path in camera.final(archive)}
    return Model(folder, archives, sum((archive / each).stat().st_size for each in archives))


def sweep(options: Options) -> Iterator[Tally]:
    """Every fault at every kind of server, or a sample."""
    trials = chosen(options)
    skipped = sorted({why for trial in every_trial() if (why := _why_not(trial))})
    if not trials:
        raise Unable(skipped[0])
    with options.folder("offsite") as where, ExitStack() as open_:
        model = model_in(options, where)
        shared = None
        if any(map(_may_share, trials)):
            shared = open_.enter_context(servers.running(SLOW, where / SLOW.name))
        missed: set[Trial] = set()

        def note(done: Sequence[Trial]) -> str:
            none = sum(trial in missed for trial in done)
            return f"{none} met no fault" if none else ""

        made = tallies(
            trials,
            lambda trial: attempt(options, where, model, missed, shared, trial),
            options,
            lambda trial: f"offsite {trial.command}",
            note,
        )
        for number, line in enumerate(made):
            yield replace(line, skipped=tuple(skipped) if not number else ())


SWEEPS = (Sweep("offsite", sweep, share=3, seconds=10.0),)
