"""scripts: the installed command, as a user starts it."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from camarchiver.record.outbox import store as outbox_store
from tests import programs
from tests.commands import COMMAND, ONE, Manager, Put, frames, journal, media
from tests.processes import processes_with, wait_until
from tests.recordings import RecRun, rec_clips

INSTALL = Path(__file__).resolve().parents[2] / "scripts/install"


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """scripts/install below a folder of the test."""
    command = [sys.executable, INSTALL, "--root", root, *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="session")
def installed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation for a camera tree that lies elsewhere than usual."""
    root = tmp_path_factory.mktemp("machine")
    (root / "etc").mkdir()
    (root / "etc/camarchiver.toml").write_text(
        'directory = "/srv/my cameras"\noutput = "/mnt/50%/archive"\n[record]\noutbox = "/home/pi/outbox"\n'
        '[watch]\nping_url = "https://hc.example/x"\n'
    )
    done = install(root)
    if done.returncode and "pip" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip(f"pip reaches no package index here: {done.stderr[-300:]}")
    assert (done.returncode, done.stderr) == (0, "")
    return root


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    """Everything but the program's own Python."""
    found = [path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()]
    inside = [
        path for path in found if "opt/camarchiver/" not in str(path) or path.parent.name == "camarchiver"
    ]
    return {str(path.relative_to(root)): path.lstat()[6:9:2] for path in inside}


class TestInstall:
    """scripts/install into a folder of its own."""

    def test_a_dry_run_shows_every_step_and_changes_nothing(self, tmp_path: Path) -> None:
        for wanted in ("/usr/local/bin/camarchiver", "camarchiver-watch.service", "systemd-sysusers"):
            assert wanted in install(tmp_path, "--dry-run").stdout
        assert not any(tmp_path.iterdir())

    def test_the_command_its_pages_and_its_units_are_there(self, installed_root: Path) -> None:
        own = installed_root / "opt/camarchiver/bin/camarchiver"
        told = subprocess.run([own, "--help"], capture_output=True, text=True)
        assert told.returncode == 0
        commands = re.findall(r"^  ([a-z]+)  ", told.stdout, flags=re.MULTILINE)
        assert {"archive", "cleanup", "record", "verify", "watch"} <= set(commands)
        for name in commands:
            page = (installed_root / f"usr/local/share/man/man1/camarchiver-{name}.1").read_text()
            assert f".B camarchiver {name}" in page
            assert ".SH EXAMPLES" in page and ".SH EXIT STATUS" in page
        units = {path.name for path in (installed_root / "usr/local/lib/systemd/system").iterdir()}
        assert {"camarchiver-archive.timer", "camarchiver-record@.service"} <= units
        link = (installed_root / "usr/local/bin/camarchiver").readlink()
        assert link == Path("/opt/camarchiver/bin/camarchiver")
        hook = installed_root / "etc/camarchiver/on-failure"
        assert os.access(hook, os.X_OK)

    def test_watch_needs_no_extra(self, installed_root: Path, tree: Path, put: Put) -> None:
        put(f"{ONE}.mp4")
        own = installed_root / "opt/camarchiver/bin/camarchiver"
        watching = subprocess.Popen([own, "watch", tree, "--codec", "h264"], stdin=subprocess.DEVNULL)
        try:
            wait_until((tree / f"archived/{ONE}.mp4").exists, "the archive")
        finally:
            watching.terminate()
        assert watching.wait(30) == 128 + signal.SIGTERM

    def test_hints_name_commands_that_install_what_is_missing(
        self, installed_root: Path, tmp_path: Path
    ) -> None:
        """The hint is run as it is printed; pip only looks whether it could."""
        own = installed_root / "opt/camarchiver/bin/camarchiver"
        told = subprocess.run(
            [own, "record", "--source", "file:x.mp4"], cwd=tmp_path, capture_output=True, text=True
        )
        assert told.returncode == 12
        hint = told.stderr.splitlines()[-1].strip()
        assert hint.startswith(f"{own.parent}/python -m pip install ") and "opencv" in hint
        command = [*shlex.split(hint), "--dry-run", "--no-deps", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr

    def test_a_broken_installation_says_how_it_is_made_again(self, installed_root: Path) -> None:
        python = installed_root / "opt/camarchiver/bin/python"
        code = (
            "import sys; sys.modules['msgspec'] = None\n"
            "from camarchiver.cli import run; sys.exit(run(['status']))"
        )
        told = subprocess.run([python, "-c", code], capture_output=True, text=True)
        assert told.returncode == 1
        hint = told.stderr.splitlines()[-1].partition("install it again: ")[2]
        source = f"file://{INSTALL.parents[1]}"
        assert shlex.split(hint) == [str(python), "-m", "pip", "install", "--force-reinstall", source]

    def test_units_name_commands_and_options_that_exist(self, installed_root: Path) -> None:
        for unit in (installed_root / "usr/local/lib/systemd/system").glob("*.service"):
            started = re.search(
                r"^ExecStart=/opt/camarchiver/bin/(\S+) (.+)$", unit.read_text(), flags=re.MULTILINE
            )
            if unit.name == "camarchiver-failed@.service":
                continue
            assert started is not None, unit
            command = [installed_root / "opt/camarchiver/bin" / started[1], *started[2].split(), "--help"]
            assert subprocess.run(command, capture_output=True).returncode == 0, unit

    def test_the_cron_example_names_commands_and_options_that_exist(self) -> None:
        lines = (INSTALL.parents[1] / "docs/crontab").read_text().splitlines()
        # The line for a recorder is commented out, because only its owner knows the recorder's name.
        bare = [line.removeprefix("# ") for line in lines]
        jobs = [line.split() for line in bare if re.match(r"[\d*]", line)]
        assert len(jobs) == 4
        for job in jobs:
            assert all(re.fullmatch(r"[\d*/]+", field) for field in job[:5]) and job[5] == "camarchiver"
            program = {"camarchiver": str(COMMAND), "transfer-clips": str(TRANSFER)}[job[6]]
            command = [program, *job[7:], "--help"]
            assert subprocess.run(command, capture_output=True).returncode == 0, job

    def test_shells_complete_commands(self, installed_root: Path) -> None:
        share = installed_root / "usr/local/share"
        bin_folder = installed_root / "opt/camarchiver/bin"
        script = (
            f"source {share}/bash-completion/completions/camarchiver; COMP_WORDS=(camarchiver ver);"
            " COMP_CWORD=1; _camarchiver_completion camarchiver; echo ${COMPREPLY[@]}"
        )
        path = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        told = subprocess.run(["bash", "-c", script], env=path, capture_output=True, text=True)
        assert told.stdout == "verify\n", told.stderr
        for shell, file in (
            ("zsh", "zsh/site-functions/_camarchiver"),
            ("fish", "fish/vendor_completions.d/camarchiver.fish"),
        ):
            assert "camarchiver" in (share / file).read_text()
            if shutil.which(shell):
                assert subprocess.run([shell, "-n", share / file]).returncode == 0

    def test_units_may_write_what_the_configuration_names(self, installed_root: Path) -> None:
        units = installed_root / "usr/local/lib/systemd/system"
        assert (units / "camarchiver-archive.service.d/configured.conf").read_text().splitlines()[1:] == [
            "[Unit]",
            'RequiresMountsFor="/srv/my cameras"',
            "RequiresMountsFor=/mnt/50%%/archive",
            "",
            "[Service]",
            "ReadWritePaths=",
            'ReadWritePaths="-/srv/my cameras"',
            "ReadWritePaths=-/mnt/50%%/archive",
        ]
        verify = (units / "camarchiver-verify.service.d/configured.conf").read_text()
        assert verify.endswith("\nReadWritePaths=\nReadWritePaths=-/mnt/50%%/archive/.camarchiver\n")
        watch = (units / "camarchiver-watch.service.d/configured.conf").read_text()
        assert "PrivateNetwork=no\n" in watch and "PrivateNetwork" not in verify
        record = (units / "camarchiver-record@.service.d/configured.conf").read_text()
        assert "ProtectHome=tmpfs\nBindPaths=-/home/pi/outbox\n" in record

    def test_systemd_understands_the_drop_ins(self, installed_root: Path, tmp_path: Path) -> None:
        programs.needs("systemd-analyze")
        units = Path(shutil.copytree(installed_root / "usr/local/lib/systemd/system", tmp_path / "units"))
        for unit in units.glob("*.service"):
            text = unit.read_text().replace("=/opt/", f"={installed_root}/opt/")
            unit.write_text(text.replace("=/etc/camarchiver/on", f"={installed_root}/etc/camarchiver/on"))
        names = [f"./{path.name}" for path in units.glob("*.[st]*e*") if path.is_file()]
        command = ["systemd-analyze", "verify", "--man=no", *names]
        told = subprocess.run(command, cwd=units, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")

    def test_again_it_changes_nothing(self, installed_root: Path) -> None:
        before = files_of(installed_root)
        done = install(installed_root)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Next:" in done.stdout.splitlines()[:2], "at most a line about a user that can't be made here"
        after = files_of(installed_root)
        del before["opt/camarchiver/installed.json"], after["opt/camarchiver/installed.json"]
        assert after == before

    def test_the_owners_work_is_never_touched(self, installed_root: Path, tmp_path: Path) -> None:
        # Links instead of copies: what is written in place must be a file of its own.
        copied = shutil.copytree(installed_root, tmp_path / "machine", symlinks=True, copy_function=os.link)
        root = Path(copied)
        hook = root / "etc/camarchiver/on-failure"
        unit = root / "usr/local/lib/systemd/system/camarchiver-archive.service"
        for path, text in ((hook, "mine"), (unit, "[Service]\nExecStart=/bin/true\n")):
            path.unlink()
            path.write_text(text)
        done = install(root)
        assert "camarchiver-archive.service was changed by hand and stays as it is" in done.stdout
        assert (hook.read_text(), unit.read_text()) == ("mine", "[Service]\nExecStart=/bin/true\n")
        (root / "etc/camarchiver/record-yard.env").write_text("CAMARCHIVER_SOURCE=rtsp://yard/1\n")
        gone = install(root, "--uninstall")
        assert (gone.returncode, gone.stderr) == (0, "")
        assert set(files_of(root)) - {
            "etc/passwd",
            "etc/group",
            "etc/shadow",
            "etc/gshadow",
            "etc/.pwd.lock",
        } == {
            "etc/camarchiver.toml",
            "etc/camarchiver/on-failure",
            "etc/camarchiver/record-yard.env",
            "usr/local/lib/systemd/system/camarchiver-archive.service",
        }
        assert not (root / "opt/camarchiver").exists()
        assert "nothing is installed" in install(root, "--uninstall").stdout

    def test_somebody_elses_file_stops_it(self, tmp_path: Path) -> None:
        place = tmp_path / "opt/camarchiver"
        place.mkdir(parents=True)
        (place / "README").write_text("something else")
        done = install(tmp_path)
        assert (done.returncode, "holds something else" in done.stderr) == (1, True)
        assert [path.name for path in place.iterdir()] == ["README"]

    def test_cut_short_it_can_go_on_and_be_undone(self, tmp_path: Path) -> None:
        script = runpy.run_path(str(INSTALL))
        target = script["Target"](tmp_path, "/opt/camarchiver", False)
        (tmp_path / "opt/camarchiver").mkdir(parents=True)
        file = script["File"]
        old = {f"/etc/camarchiver/{name}": file(f"old {name}") for name in "abc"}
        script["place"](target, old, {}, {})
        new = {path: file(each.text.replace("old", "new")) for path, each in old.items()}
        (tmp_path / "etc/camarchiver/.b.new").mkdir()
        with pytest.raises(OSError, match=r"\.b\.new"):
            script["place"](target, new, script["read_manifest"](target), {})
        (tmp_path / "etc/camarchiver/.b.new").rmdir()
        texts = [(tmp_path / path.lstrip("/")).read_text() for path in old]
        assert texts == ["new a", "old b", "old c"]
        script["place"](target, new, script["read_manifest"](target), {})
        assert [(tmp_path / path.lstrip("/")).read_text() for path in old] == ["new a", "new b", "new c"]
        script["uninstall"](target)
        assert [path.name for path in (tmp_path / "etc").iterdir()] == []


TRANSFER = Path(__file__).resolve().parents[2] / "scripts/transfer-clips"


@dataclass(frozen=True)
class Pi:
    """A recorder's outbox behind an ssh server on this machine, and the tree that its clips are to reach."""

    home: Path
    rsh: str

    @property
    def outbox(self) -> Path:
        return self.home / "outbox"

    @property
    def tree(self) -> Path:
        return self.home / "camera"

    @property
    def stage(self) -> Path:
        """Where clips are between the two."""
        name = f"127.0.0.1:{self.outbox}".replace(":", "%3A").replace("/", "%2F")
        return self.tree / ".camarchiver/transfer" / name

    def put(self, name: str, content: bytes, mtime_ns: int = 1_772_352_900_123_456_789) -> Path:
        path = self.outbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def command(self, *options: str) -> list[str]:
        target = [f"127.0.0.1:{self.outbox}", str(self.tree)]
        return [sys.executable, str(TRANSFER), "--rsh", self.rsh, *options, *target]

    def transfer(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Again while an rsync that outlived its run is still at it."""
        while True:
            ran = subprocess.run(
                self.command(*options),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
            if ran.returncode != 11:
                return ran
            time.sleep(0.05)

    def wait_for_bytes(self, least: int) -> None:
        """Until so much of a clip was fetched."""
        folder = self.stage / "temporary"

        def fetched() -> int:
            with contextlib.suppress(FileNotFoundError):
                return sum(path.stat().st_size for path in folder.iterdir())
            return 0

        wait_until(lambda: fetched() > least, "the transfer", seconds=60)

    def seen(self, root: Path) -> dict[str, bytes]:
        """What a scan of a folder would find."""
        return {name: (root / name).read_bytes() for name in media(root)}

    def everywhere(self) -> set[bytes]:
        """The contents of all files, hidden ones too."""
        found = [path for root in (self.outbox, self.tree) for path in root.rglob("*")]
        return {path.read_bytes() for path in found if path.is_file()}


@pytest.fixture(scope="session")
def rsh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An ssh server of our own on a port of the loopback interface; the client's command."""
    programs.needs("ssh", "sshd", "rsync")
    home = tmp_path_factory.mktemp("ssh")
    home.chmod(0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = [f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {home}/host", f"PidFile {home}/pid"]
    lines += [f"AuthorizedKeysFile {home}/user.pub", "StrictModes no", "UsePAM no", "MaxStartups 100"]
    (home / "config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = home / "log"
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", home / "config", "-E", log])
    client = f"ssh -F none -p {port} -i {home}/user -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR"
    client += f" -o StrictHostKeyChecking=no -o UserKnownHostsFile={home}/known"
    # One connection for all: a machine that runs tests takes half a second for each.
    client += f" -o ControlMaster=auto -o ControlPath={home}/m -o ControlPersist=yes"
    try:
        for _ in range(100):
            if subprocess.run([*client.split(), "127.0.0.1", "true"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            pytest.skip(f"the ssh server lets nobody in here: {log.read_text()[-500:]}")
        yield client
    finally:
        subprocess.run([*client.split(), "-O", "exit", "127.0.0.1"], capture_output=True)
        server.terminate()
        server.wait()


@pytest.fixture
def pi(tmp_path: Path, rsh: str) -> Pi:
    made = Pi(tmp_path, rsh)
    made.outbox.mkdir()
    made.tree.mkdir()
    return made


def killing_rsync(folder: Path, after: int) -> dict[str, str]:
    """An environment in which the run that calls rsync is killed once the so-many-th call has ended."""
    script = folder / f"bin{after}" / "rsync"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho >> {script}.calls\n{shutil.which("rsync")} "$@"; code=$?\n'
        f"[ $(wc -l < {script}.calls) -ne {after} ] || kill -9 $PPID\nexit $code\n"
    )
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}"}


class TestTransfer:
    """scripts/transfer-clips, with a real ssh server and rsync."""

    def test_clips_and_pictures_move_and_keep_their_times(self, pi: Pi) -> None:
        name = "yard/motion_20260301_081500_10.0s.mp4"
        odd = "gate/motion_ö \\#012\n_1.0s.MP4"
        pi.put(name, b"clip")
        pi.put(name.replace(".mp4", ".jpg"), b"picture")
        pi.put(odd, b"odd")
        for unfinished in ("yard/.motion_x.mp4.Ab12Cd", "yard/notes.txt", ".camarchiver/journal.mp4"):
            pi.put(unfinished, b"not yet")
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout == f"3 files moved to {pi.tree}\n"
        assert pi.seen(pi.tree) == {name: b"clip", name.replace(".mp4", ".jpg"): b"picture", odd: b"odd"}
        assert (pi.tree / name).stat().st_mtime_ns == 1_772_352_900_123_456_789
        assert pi.seen(pi.outbox) == {"yard/notes.txt": b"not yet"}
        assert (pi.outbox / "yard/.motion_x.mp4.Ab12Cd").exists()
        again = pi.transfer()
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    def test_the_recorder_finds_a_list_of_what_arrived(self, pi: Pi) -> None:
        pi.put("yard/a b.mp4", b"clip")
        assert pi.transfer().returncode == 0
        listed = (pi.outbox / ".camarchiver/transferred").read_text()
        assert listed == "4 1772352900123456789 yard/a b.mp4\n"
        pi.put("yard/c d.mp4", b"clap")
        assert pi.transfer().returncode == 0
        listed = (pi.outbox / ".camarchiver/transferred").read_text()
        assert listed == "4 1772352900123456789 yard/c d.mp4\n"

    def test_a_taken_name_is_never_replaced(self, pi: Pi) -> None:
        for name, content in (("yard/longer.mp4", b"another"), ("yard/same size.mp4", b"clap")):
            pi.put(name, b"clip")
            (pi.tree / name).parent.mkdir(exist_ok=True)
            (pi.tree / name).write_bytes(content)
        pi.put("yard/new.mp4", b"new")
        ran = pi.transfer()
        assert ran.returncode == 3
        assert ran.stderr.splitlines() == [
            "transfer-clips: yard/longer.mp4 stays in the outbox: another file has its name",
            "transfer-clips: yard/same size.mp4 stays in the outbox: another file has its name",
        ]
        assert pi.seen(pi.tree) == {
            "yard/longer.mp4": b"another",
            "yard/new.mp4": b"new",
            "yard/same size.mp4": b"clap",
        }
        assert pi.seen(pi.outbox) == {"yard/longer.mp4": b"clip", "yard/same size.mp4": b"clip"}

    def test_the_very_same_clip_needs_no_second_copy(self, pi: Pi) -> None:
        pi.put("yard/a.mp4", b"clip")
        (pi.tree / "yard").mkdir()
        (pi.tree / "yard/a.mp4").write_bytes(b"clip")
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert (pi.seen(pi.outbox), pi.seen(pi.tree)) == ({}, {"yard/a.mp4": b"clip"})

    @pytest.mark.parametrize("after", [2, 3, 4, 5])
    def test_killed_between_its_stages_it_goes_on_from_there(
        self, pi: Pi, after: int, tmp_path: Path
    ) -> None:
        content = {f"yard/motion_20260301_08150{n}_1.0s.mp4": os.urandom(5000) for n in range(3)}
        for name, data in content.items():
            pi.put(name, data)
        killed = pi.transfer(**killing_rsync(tmp_path, after))
        assert killed.returncode == -signal.SIGKILL
        assert set(content.values()) <= pi.everywhere()
        assert pi.seen(pi.tree) == {}
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert pi.seen(pi.tree) == content
        assert pi.seen(pi.outbox) == {}

    @pytest.mark.parametrize("when", [2, 4])
    def test_killed_while_clips_appear_it_goes_on_from_there(self, pi: Pi, when: int) -> None:
        programs.needs("strace")
        content = {"yard/a.mp4": b"clip", "yard/a.png": b"picture"}
        for name, data in content.items():
            pi.put(name, data)
        inject = ["-e", "trace=renameat2", "-e", f"inject=renameat2:signal=KILL:when={when}"]
        strace = ["strace", "-qq", "-o", "/dev/null", *inject]
        killed = subprocess.run([*strace, *pi.command()], capture_output=True, text=True, timeout=120)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert set(content.values()) <= pi.everywhere()
        # The picture comes first: a clip never appears without it.
        assert list(pi.seen(pi.tree)) in ([], ["yard/a.png"])
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == (content, {})

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_stopped_in_the_middle_of_a_clip_it_keeps_what_it_has(self, pi: Pi, number: int) -> None:
        data = os.urandom(6_000_000)
        pi.put("yard/large.mp4", data)
        process = subprocess.Popen(pi.command("--bwlimit", "600k"), stderr=subprocess.PIPE, text=True)
        pi.wait_for_bytes(700_000)
        assert pi.seen(pi.tree) == {}
        busy = subprocess.run(pi.command(), capture_output=True, text=True)
        assert (busy.returncode, busy.stderr) == (
            11,
            "transfer-clips: a transfer from there into this folder is already running\n",
        )
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert process.returncode == 128 + number
            assert "transfer-clips: stopped by SIGTERM; the next run goes on from here" in said
            assert (pi.stage / "partial/large.mp4").stat().st_size > 500_000
        assert pi.seen(pi.outbox) == {"yard/large.mp4": data}
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/large.mp4": data}, {})
        assert not any((pi.stage / "partial").iterdir())

    def test_a_connection_that_breaks_passes_its_code_on(self, pi: Pi) -> None:
        pi.put("yard/large.mp4", data := os.urandom(6_000_000))
        process = subprocess.Popen(pi.command("--bwlimit", "4m"), stderr=subprocess.PIPE, text=True)
        pi.wait_for_bytes(1_000_000)
        (remote,) = [
            pid
            for pid in processes_with(f"{pi.outbox}/")
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"rsync\0--server")
        ]
        os.kill(remote, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (12, 255), said
        assert f"transfer-clips: rsync ended with {process.returncode}" in said
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({}, {"yard/large.mp4": data})
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/large.mp4": data}, {})

    def test_what_one_recorder_left_half_done_is_nothing_to_another(self, pi: Pi, tmp_path: Path) -> None:
        pi.put("yard/a.mp4", b"clip")
        assert pi.transfer(**killing_rsync(tmp_path, 3)).returncode == -signal.SIGKILL
        (tmp_path / "other").mkdir()
        other = Pi(tmp_path / "other", pi.rsh)
        (tmp_path / "other/camera").symlink_to(pi.tree)
        other.put("gate/b.mp4", b"clap")
        assert other.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"gate/b.mp4": b"clap"}, {"yard/a.mp4": b"clip"})
        days_ago = time.time() - 2 * 86400
        os.utime(pi.stage / "lock", (days_ago, days_ago))
        told = other.transfer()
        assert (told.returncode, f"1 files wait in {pi.tree}" in told.stderr) == (3, True)
        assert pi.transfer().returncode == 0
        assert pi.seen(pi.tree) == {"gate/b.mp4": b"clap", "yard/a.mp4": b"clip"}
        assert other.transfer().returncode == 0

    def test_a_full_disk_loses_nothing(self, pi: Pi, small_disk: Path) -> None:
        (small_disk / "camera").mkdir()
        pi.tree.rmdir()
        pi.tree.symlink_to(small_disk / "camera")
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        content = {f"yard/{n}.mp4": os.urandom(free * 2 // 5) for n in range(3)}
        for name, data in content.items():
            pi.put(name, data)
        ran = pi.transfer()
        assert (ran.returncode, "No space left" in ran.stderr) == (13, True), ran.stderr
        assert len(pi.seen(pi.tree)) == 2
        assert pi.seen(pi.tree) | pi.seen(pi.outbox) == content
        (pi.tree / "yard/0.mp4").unlink()
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert pi.seen(pi.tree) == {name: content[name] for name in ("yard/1.mp4", "yard/2.mp4")}

    def test_a_name_taken_at_the_last_moment_keeps_both(self, pi: Pi, tmp_path: Path) -> None:
        pi.put("yard/a.mp4", b"clip")
        assert pi.transfer(**killing_rsync(tmp_path, 4)).returncode == -signal.SIGKILL
        (pi.tree / "yard").mkdir()
        (pi.tree / "yard/a.mp4").write_bytes(b"another")
        ran = pi.transfer()
        assert (ran.returncode, "ready/yard/a.mp4 stays there: its name is taken" in ran.stderr) == (3, True)
        assert pi.seen(pi.tree) == {"yard/a.mp4": b"another"}
        (pi.tree / "yard/a.mp4").unlink()
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/a.mp4": b"clip"}, {})

    def test_nobody_there_passes_sshs_code_on(self, pi: Pi) -> None:
        ran = pi.transfer("--rsh", "ssh -F none -o BatchMode=yes -p 1")
        # Now and then rsync sees the silence before ssh's code.
        assert ran.returncode in (12, 255)
        assert f"transfer-clips: rsync ended with {ran.returncode}\n" in ran.stderr

    def test_an_outbox_that_lets_nothing_go_is_said_and_nothing_comes_twice(self, pi: Pi) -> None:
        name = "yard/a.mp4"
        path = pi.put(name, b"clip")
        programs.needs("chattr")
        frozen = subprocess.run(["chattr", "+i", path], capture_output=True)
        if frozen.returncode:
            pytest.skip("no file can be made immutable here")
        try:
            for _ in range(2):
                ran = pi.transfer()
                assert ran.returncode == 3
                assert f"{name} stays in the outbox: it can't be removed" in ran.stderr
                assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({}, {name: b"clip"})
        finally:
            subprocess.run(["chattr", "-i", path], check=True)
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({name: b"clip"}, {})

    def test_a_key_that_may_only_rsync_is_enough(self, pi: Pi, rsh: str) -> None:
        programs.needs("rrsync")
        guard = shutil.which("rrsync")
        key = Path(shlex.split(rsh)[shlex.split(rsh).index("-i") + 1]).with_name("user.pub")
        before = key.read_text()
        key.write_text(f'restrict,command="{guard} {pi.outbox}" {before}')
        try:
            pi.put("yard/a.mp4", b"clip")
            target = ["127.0.0.1:.", str(pi.tree)]
            alone = f"{rsh} -S none"
            ran = subprocess.run([sys.executable, TRANSFER, "--rsh", alone, *target], capture_output=True)
        finally:
            key.write_text(before)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/a.mp4": b"clip"}, {})

    def test_a_link_leads_nobody_out_of_the_tree(self, pi: Pi, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (pi.tree / "yard").symlink_to(tmp_path / "elsewhere")
        pi.put("yard/a.mp4", b"clip")
        ran = pi.transfer()
        assert (ran.returncode, "is a symbolic link; nothing was fetched" in ran.stderr) == (13, True)
        assert not any((tmp_path / "elsewhere").iterdir())
        assert pi.seen(pi.outbox) == {"yard/a.mp4": b"clip"}

    @pytest.mark.parametrize("outbox", ["/srv/outbox", "host", "host:", "host::module", "dir/x:y"])
    def test_what_is_no_host_is_refused(self, tmp_path: Path, outbox: str) -> None:
        ran = subprocess.run([sys.executable, TRANSFER, outbox, tmp_path], capture_output=True, text=True)
        assert (ran.returncode, "is not HOST:OUTBOX" in ran.stderr) == (2, True)

    def test_a_tree_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        programs.needs("rsync")
        command = [sys.executable, TRANSFER, "host:outbox", tmp_path / "gone"]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (
            13,
            f"transfer-clips: {tmp_path}/gone is not a folder\n",
        )
        assert not any(tmp_path.iterdir())


class TestFromTheCameraToTheArchive:
    """Recorder, transfer and watch together, each of them killed once at its work."""

    def test_every_clip_is_archived_once_and_leaves_the_outbox(
        self,
        pi: Pi,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        watch: Callable[..., Manager],
        tmp_path: Path,
    ) -> None:
        recorder = rec_start("--source", rec_twice, "--realtime", "--outbox", pi.outbox)
        spool = tmp_path / "temp_clips/yard"
        wait_until(lambda: any(path.stat().st_size for path in spool.glob("motion_*")), "a clip", 60)
        time.sleep(1)
        recorder.kill()
        recorder.wait()
        source = Path(shutil.copy(rec_twice, tmp_path / "REO_yard_20260503142001.mp4"))
        assert rec_run("--source", source, "--outbox", pi.outbox, "--snapshot").returncode == 0
        recorded = {path.name: frames(path) for path in rec_clips(pi.outbox / "yard")}
        assert len(recorded) == 3 and not any(spool.glob("motion_*"))
        everything = pi.seen(pi.outbox)

        assert pi.transfer(**killing_rsync(tmp_path, 3)).returncode == -signal.SIGKILL
        assert {f"yard/{name}" for name in recorded} <= {
            each.relative for each in outbox_store.transferred(pi.outbox)
        }
        assert (pi.seen(pi.outbox), pi.seen(pi.tree)) == (everything, {})
        assert pi.transfer(**killing_rsync(tmp_path, 4)).returncode == -signal.SIGKILL
        assert (pi.seen(pi.outbox), pi.seen(pi.tree)) == ({}, {})
        assert set(everything.values()) <= pi.everywhere()

        watcher = watch("--quiet-for", "1s")
        assert pi.transfer().returncode == 0
        wait_until(lambda: list(pi.tree.rglob("*.staged*")), "the encoding", 60)
        watcher.process.kill()
        watcher.process.communicate()
        watch("--quiet-for", "1s")
        wait_until(lambda: not list(pi.tree.glob("yard/*")), "the archives", 120)

        made = {path.name: frames(path) for path in (pi.tree / "archived/yard").rglob("motion_*.mp4")}
        assert made == recorded
        told = [(event["event"], Path(event["source"]).name) for event in journal(pi.tree)]
        for name in recorded:
            assert told.count(("archived", name)) == told.count(("trashed", name)) == 1
        assert (pi.seen(pi.outbox), pi.transfer().returncode) == ({}, 0)
        verified = [COMMAND, "verify", pi.tree, "--full"]
        assert subprocess.run(verified, capture_output=True, text=True).returncode == 0


class TestDocker:
    """The image and its services, as far as they can be tried without an engine."""

    FOLDER = INSTALL.parents[1] / "docker"

    def instructions(self) -> list[list[str]]:
        text = re.sub(r"\\\n", " ", (self.FOLDER / "Dockerfile").read_text())
        return [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]

    def services(self) -> dict[str, dict[str, Any]]:
        yaml = pytest.importorskip("yaml")
        found: dict[str, dict[str, Any]] = yaml.safe_load((self.FOLDER / "compose.yaml").read_text())[
            "services"
        ]
        return found

    def test_what_is_copied_is_all_that_the_installation_needs(self, tmp_path: Path) -> None:
        for name, *words in self.instructions():
            if name != "COPY":
                continue
            *sources, target = words
            place = tmp_path / target.lstrip("/")
            for source in (INSTALL.parents[1] / each for each in sources):
                if source.is_dir():
                    shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    inside = place / source.name if target.endswith("/") else place
                    inside.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, inside)
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
        subprocess.run([*pip, "-w", tmp_path, tmp_path / "usr/src/camarchiver"], check=True, timeout=240)
        (wheel,) = tmp_path.glob("camarchiver-*.whl")
        assert "camarchiver/__main__.py" in zipfile.ZipFile(wheel).namelist()
        assert os.access(tmp_path / "usr/local/bin/nightly", os.X_OK)

    def test_services_run_commands_that_exist(self) -> None:
        services = self.services()
        assert {"nightly", "watch", "cleanup"} == set(services)
        for service in services.values():
            words = service["command"]
            if words[0] == "nightly":
                assert re.fullmatch(r"\d\d:\d\d", words[1])
                words = words[2:]
            assert words[0] == "camarchiver" and "/camera" in words
            assert subprocess.run([COMMAND, *words[1:], "--help"], capture_output=True).returncode == 0
            assert service["volumes"] == ["${FOOTAGE:-/camera}:/camera"]
        # Without a profile only what removes nothing for good is started.
        assert [name for name, service in services.items() if "profiles" not in service] == ["nightly"]

    def test_nightly_waits_for_the_time_and_passes_a_signal_on(self, tmp_path: Path) -> None:
        note = tmp_path / "note"
        script = f"trap 'echo ended >>{note}; exit 3' TERM; echo begun >>{note}; while :; do sleep 0.1; done"
        moment = (datetime.now() + timedelta(seconds=3)).strftime("%H:%M:%S")
        waiting = subprocess.Popen([self.FOLDER / "nightly", moment, "sh", "-c", script])
        try:
            assert not note.exists()
            wait_until(note.exists, "the command")
        finally:
            waiting.terminate()
        assert waiting.wait(30) == 128 + signal.SIGTERM
        assert note.read_text() == "begun\nended\n"

    @pytest.mark.parametrize("words", [(), ("01:15",), ("noon o'clock", "true")])
    def test_nightly_refuses_what_is_no_time(self, words: tuple[str, ...]) -> None:
        done = subprocess.run([self.FOLDER / "nightly", *words], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr.partition(":")[0]) == (2, "usage")
