"""Off-site copies against real servers on loopback, each with its own faults."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from camarchiver.doctor import offsite as offsite_checks
from camarchiver.doctor.findings import Finding
from camarchiver.domain.clip import Trees
from camarchiver.errors import ConfigError, ExitCode
from camarchiver.offsite import names
from camarchiver.offsite.rclone import daemon, errors
from camarchiver.offsite.rclone.errors import RemoteError
from camarchiver.offsite.rclone.remote import RcloneSettings, RemoteObject, opened
from tests.commands import COMMAND, journal
from tests.offsite import servers
from tests.offsite.proxy import Proxy, ProxyFault, Trouble
from tests.offsite.servers import Kind, Rclone, Server
from tests.processes import wait_until
from tests.values import line_of

pytestmark = pytest.mark.timeout(240)

Serve = Callable[[Kind], Server]
Proxied = Callable[[Server], Proxy]

DATA = bytes(range(256)) * 1000


class TestServers:
    """What the other tests and the sweep take for granted of the servers."""

    @pytest.mark.parametrize(
        "kind", [each for each in servers.EVERY if each.name != "seaweedfs"], ids=lambda kind: kind.name
    )
    def test_objects_come_and_go(self, serve: Serve, tmp_path: Path, kind: Kind) -> None:
        server = serve(kind)
        rclone = Rclone.of(tmp_path, {"r": server.settings()})
        rclone.write(server.path("r", "a/b.mp4"), DATA)
        assert rclone.objects(server.path("r")) == {"a/b.mp4": len(DATA)}
        assert not kind.is_plain or (server.data / "a/b.mp4").read_bytes() == DATA
        rclone.delete(server.path("r", "a/b.mp4"))
        assert rclone.objects(server.path("r")) == {}

    def test_the_honest_server_keeps_what_it_got(self, seaweedfs: Server, tmp_path: Path) -> None:
        rclone = Rclone.of(tmp_path, {"r": seaweedfs.settings()})
        rclone.write(seaweedfs.path("r", "own/b.mp4"), DATA)
        assert rclone.read(seaweedfs.path("r", "own/b.mp4")) == DATA

    def test_a_killed_server_comes_back_with_its_objects(self, serve: Serve, tmp_path: Path) -> None:
        server = serve(servers.WEBDAV)
        rclone = Rclone.of(tmp_path, {"r": server.settings()})
        rclone.write(server.path("r", "b.mp4"), DATA)
        server.kill()
        assert rclone.run(
            "cat", server.path("r", "b.mp4"), "--low-level-retries", "1", check=False
        ).returncode
        server.start()
        assert rclone.read(server.path("r", "b.mp4")) == DATA


class TestProxy:
    """A connection meets the fault that was asked for, at its byte."""

    def _through(self, proxy: Proxy, data: bytes, listener: socket.socket) -> bytes:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(5)
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                arrived = bytearray()
                while block := server.recv(65536):
                    arrived += block
                return bytes(arrived)

    def test_it_passes_on_what_it_gets(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            assert self._through(proxy, DATA, listener) == DATA

    def test_it_flips_one_bit_once(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.FLIP, 70000))
            arrived = self._through(proxy, DATA, listener)
            assert [
                place for place, pair in enumerate(zip(arrived, DATA, strict=True)) if pair[0] != pair[1]
            ] == [70000]
            assert self._through(proxy, DATA, listener) == DATA

    def test_it_cuts(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.CUT, 70000))
            with pytest.raises(OSError):
                self._through(proxy, DATA, listener)
            assert proxy.met == 1

    def test_it_stalls_until_the_fault_ends(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.STALL, 0))
            with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
                server, _ = listener.accept()
                with server:
                    server.settimeout(0.5)
                    client.sendall(b"x")
                    with pytest.raises(TimeoutError):
                        server.recv(1)
                    server.settimeout(5)
                    proxy.fail(None)
                    assert server.recv(1) == b"x"

    def test_it_slows_down(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.SLOW, 0, times=-1, rate=len(DATA) * 2))
            began = time.monotonic()
            assert self._through(proxy, DATA, listener) == DATA
            assert time.monotonic() - began > 0.4


CONTENT = os.urandom(300_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.mp4"
    path.write_bytes(CONTENT)
    return path


class TestAdapter:
    """One rclone for each run, and what it can do."""

    ODD = "a b/[c] %41 #?&;é.0123456789ab.mp4"

    def test_an_object_goes_there_and_comes_back(
        self, each_rclone: Path, elsewhere: Path, source: Path
    ) -> None:
        with opened(RcloneSettings(str(elsewhere), each_rclone)) as remote:
            assert remote.can_move
            with source.open("rb") as stream:
                remote.upload(stream, "staged")
                remote.move("staged", self.ODD)
                assert (elsewhere / self.ODD).read_bytes() == CONTENT
                # What differs under the name is replaced, also where size and time are the same.
                status = (elsewhere / self.ODD).stat()
                (elsewhere / self.ODD).write_bytes(bytes(len(CONTENT)))
                os.utime(elsewhere / self.ODD, ns=(status.st_atime_ns, status.st_mtime_ns))
                remote.upload(stream, "staged")
                remote.move("staged", self.ODD)
            proof = hashlib.blake2b()
            assert remote.read(self.ODD, proof.update) == len(CONTENT)
            assert proof.digest() == hashlib.blake2b(CONTENT).digest()
            sha256 = hashlib.sha256(CONTENT).hexdigest()
            assert remote.stat(self.ODD, "sha256") == RemoteObject(self.ODD, len(CONTENT), {"sha256": sha256})
            assert [each.name for each in remote.listing("a b")] == [self.ODD]
            space = remote.space()
            assert space is not None
            assert space.free
            remote.delete(self.ODD)
            assert not (elsewhere / self.ODD).exists()

    def test_what_is_not_there(self, each_rclone: Path, elsewhere: Path) -> None:
        with opened(RcloneSettings(str(elsewhere), each_rclone)) as remote:
            assert remote.stat("x/y.mp4") is None
            assert remote.listing("x") == ()
            remote.delete("x/y.mp4")
            with pytest.raises(RemoteError) as missing:
                remote.read("x/y.mp4", print)
            assert missing.value.kind is errors.RemoteErrorKind.MISSING

    def test_the_file_that_was_opened_is_sent_whatever_its_path_leads_to_now(
        self, rclone: Path, elsewhere: Path, source: Path
    ) -> None:
        with opened(RcloneSettings(str(elsewhere), rclone)) as remote, source.open("rb") as stream:
            source.unlink()
            source.symlink_to("/etc/hostname")
            remote.upload(stream, "x")
        assert (elsewhere / "x").read_bytes() == CONTENT

    def test_nothing_is_told_in_arguments_and_others_have_no_access(
        self, each_rclone: Path, elsewhere: Path
    ) -> None:
        with opened(RcloneSettings(str(elsewhere), each_rclone)) as remote:
            words = Path(f"/proc/{remote.pid}/cmdline").read_bytes().split(b"\0")
            assert words[1:] == [b"rcd", b""]
            variables = Path(f"/proc/{remote.pid}/environ").read_bytes().split(b"\0")
            address = next(each for each in variables if each.startswith(b"RCLONE_RC_ADDR=")).decode()
            if "unix://" in address:
                folder = Path(address.partition("unix://")[2]).parent
                assert folder.stat().st_mode & 0o777 == 0o700
            else:
                # Debian's: who comes without the password of this run is sent away.
                assert any(each.startswith(b"RCLONE_RC_PASS=") for each in variables)
                assert address.endswith("127.0.0.1:0")
            pid = remote.pid
        assert not Path(f"/proc/{pid}").exists()
        if "unix://" in address:
            assert not folder.exists()

    def test_it_ends_with_its_parent(self, rclone: Path, elsewhere: Path) -> None:
        program = f"""
import time
from pathlib import Path
from camarchiver.offsite.rclone.remote import RcloneSettings, opened
with opened(RcloneSettings({str(elsewhere)!r}, Path({str(rclone)!r}))) as remote:
    print(remote.pid, flush=True)
    time.sleep(60)
"""
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            child = Path("/proc") / parent.stdout.readline().strip()
            assert child.exists()
            parent.kill()
        deadline = time.monotonic() + 10
        while child.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not child.exists() or "State:\tZ" in (child / "status").read_text()

    @pytest.mark.parametrize(
        ("remote", "kind"),
        [
            ("nosuch:x", errors.RemoteErrorKind.NOT_CONFIGURED),
            ("/nonexistent/folder", errors.RemoteErrorKind.NO_BUCKET),
        ],
    )
    def test_a_remote_that_is_not_there_is_refused_with_a_remedy(
        self, each_rclone: Path, remote: str, kind: errors.RemoteErrorKind
    ) -> None:
        with pytest.raises(RemoteError) as refused, opened(RcloneSettings(remote, each_rclone)):
            pass
        assert refused.value.kind is kind
        assert refused.value.exit_code is ExitCode.CONFIG
        assert refused.value.hint

    def test_an_sftp_server_whose_key_can_t_be_checked_is_refused(
        self, rclone: Path, tmp_path: Path, own_rclone_config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        own_rclone_config.write_text("[nas]\ntype = sftp\nhost = 127.0.0.1\nport = 1\nuser = u\n")
        with (
            pytest.raises(ConfigError, match="can't be checked") as refused,
            opened(RcloneSettings("nas:", rclone)),
        ):
            pass
        assert "ssh-keyscan" in refused.value.hint

    def test_a_program_that_is_none_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RemoteError, match="not a program"):
            daemon.find(tmp_path / "rclone")
        broken = tmp_path / "broken"
        broken.write_text("#!/bin/sh\necho no >&2; exit 1\n")
        broken.chmod(0o755)
        with (
            pytest.raises(RemoteError, match="could not be started: no"),
            opened(RcloneSettings("/tmp", broken)),
        ):
            pass


class TestBrokenLine:
    """A line that breaks while an object is read."""

    def test_it_is_no_proof_that_the_object_is_gone(
        self, serve: Serve, proxied: Proxied, tmp_path: Path
    ) -> None:
        server = serve(servers.SSHD)
        proxy = proxied(server)
        password = servers.obscured("only a test")
        secret = {"type": "crypt", "remote": server.path("store"), "password": password}
        rclone = Rclone.of(tmp_path, {"store": server.settings(proxy.port), "secret": secret})
        rclone.write("secret:a.mp4", DATA)
        said, arrived = set(), bytearray()
        with opened(RcloneSettings("secret:")) as remote:
            for after in (0, 20, 100, 200, 400, 1000, 2000, 20000):
                proxy.fail(ProxyFault(Trouble.FLIP, after, upward=False))
                try:
                    remote.read("a.mp4", lambda block: None)
                except RemoteError as error:
                    said.add(error.kind)
                proxy.fail(None)
            remote.read("a.mp4", arrived.extend)
            with pytest.raises(RemoteError) as missing:
                remote.read("b.mp4", lambda block: None)
        assert errors.RemoteErrorKind.MISSING not in said
        assert missing.value.kind is errors.RemoteErrorKind.MISSING
        assert arrived == DATA


class TestTroubles:
    """Each kind of server, and what is said when it can't be used."""

    def configured(self, config: Path, settings: dict[str, str], **changed: str) -> None:
        """Write the remote `r`; an empty value leaves a setting out."""
        lines = [f"{key} = {value}" for key, value in (settings | changed).items() if value]
        config.write_text("\n".join(["[r]", *lines, ""]))

    def refused(self, remote: str) -> errors.RemoteError:
        with pytest.raises(RemoteError) as refused, opened(RcloneSettings(remote)):
            pass
        assert refused.value.hint
        return refused.value

    @pytest.fixture(autouse=True)
    def patient_for_seconds(self, rclone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RCLONE_LOW_LEVEL_RETRIES", "1")
        monkeypatch.setenv("RCLONE_CONTIMEOUT", "3s")
        monkeypatch.setenv("RCLONE_TIMEOUT", "3s")
        # An old AWS SDK in rclone 1.60 refuses to start with it; here nothing is encrypted.
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)

    @pytest.mark.parametrize(
        "kind", [servers.RCLONE_S3, servers.WEBDAV, servers.SSHD], ids=lambda kind: kind.name
    )
    def test_a_copy_is_made_and_read_back_and_what_is_wrong_is_said(
        self, serve: Serve, own_rclone_config: Path, source: Path, kind: Kind
    ) -> None:
        server = serve(kind)
        settings = server.settings()
        self.configured(own_rclone_config, settings)
        with opened(RcloneSettings(server.path("r"))) as remote, source.open("rb") as stream:
            assert remote.can_move == (not kind.bucket)
            remote.upload(stream, "a b/[x] é.0123456789ab.mp4")
            proof = hashlib.blake2b()
            remote.read("a b/[x] é.0123456789ab.mp4", proof.update)
            assert proof.digest() == hashlib.blake2b(CONTENT).digest()
            if remote.own_hash:
                found = remote.stat("a b/[x] é.0123456789ab.mp4", remote.own_hash)
                assert found is not None
                assert found.hashes[remote.own_hash] == hashlib.new(remote.own_hash, CONTENT).hexdigest()
        missing = server.path("r", "no/such") if not kind.bucket else "r:nobucket"
        assert self.refused(missing).kind is errors.RemoteErrorKind.NO_BUCKET
        wrong = {"secret_access_key": "x"} if kind.bucket else {"pass": servers.obscured("x"), "key_file": ""}
        self.configured(own_rclone_config, settings, **wrong)
        error = self.refused(server.path("r"))
        assert (error.kind, error.exit_code) == (errors.RemoteErrorKind.PASSWORD, ExitCode.CONFIG)
        self.configured(own_rclone_config, settings)
        server.kill()
        error = self.refused(server.path("r"))
        assert (error.kind, error.exit_code) == (errors.RemoteErrorKind.GONE, ExitCode.STORAGE)

    def test_a_host_key_is_checked_also_where_rclone_was_not_told_to(
        self, serve: Serve, own_rclone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(servers.SSHD)
        settings = server.settings()
        monkeypatch.setenv("HOME", str(tmp_path))
        known = tmp_path / ".ssh/known_hosts"
        known.parent.mkdir()
        known.touch()
        self.configured(own_rclone_config, settings, known_hosts_file="")
        error = self.refused(server.path("r"))
        assert (error.kind, error.exit_code) == (errors.RemoteErrorKind.HOST_KEY, ExitCode.CONFIG)
        assert "ssh-keyscan" in error.hint
        known.write_text(Path(settings["known_hosts_file"]).read_text())
        with opened(RcloneSettings(server.path("r"))) as remote:
            assert remote.listing("") == ()

    def test_a_server_that_stalls_is_given_up(
        self, serve: Serve, proxied: Proxied, own_rclone_config: Path
    ) -> None:
        server = serve(servers.WEBDAV)
        proxy = proxied(server)
        self.configured(own_rclone_config, server.settings(proxy.port))
        proxy.fail(ProxyFault(Trouble.STALL, 0, times=-1))
        error = self.refused(server.path("r"))
        assert (error.kind, error.exit_code) == (errors.RemoteErrorKind.SLOW, ExitCode.STORAGE)

    @pytest.mark.parametrize("upward", [True, False], ids=["sent", "received"])
    def test_a_call_that_gets_no_answer_is_given_up_also_where_rclone_waits_for_ever(
        self,
        serve: Serve,
        proxied: Proxied,
        own_rclone_config: Path,
        source: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        upward: bool,
    ) -> None:
        monkeypatch.setenv("RCLONE_TIMEOUT", "0")
        monkeypatch.setattr(daemon, "STALL_SECONDS", 0.5)
        server = serve(servers.WEBDAV)
        proxy = proxied(server)
        self.configured(own_rclone_config, server.settings(proxy.port))
        with opened(RcloneSettings(server.path("r"))) as remote, source.open("rb") as stream:
            remote.upload(stream, "a.mp4")
            proxy.fail(ProxyFault(Trouble.STALL, 0, times=-1, upward=upward))
            for act in (
                lambda: remote.upload(stream, "b.mp4"),
                lambda: remote.read("a.mp4", lambda block: None),
                lambda: remote.stat("a.mp4"),
            ):
                with pytest.raises(RemoteError, match="no byte was transferred") as slow:
                    act()
                assert slow.value.exit_code is ExitCode.STORAGE
                assert slow.value.hint


class TestInterrupted:
    """A run that is stopped or killed while an archive is on the way."""

    SIZE = 2_000_000

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_nothing_half_has_a_final_name_and_the_next_run_goes_on(
        self, tree: Path, elsewhere: Path, rclone: Path, number: signal.Signals
    ) -> None:
        archive = known_archive(tree, os.urandom(self.SIZE))
        command = [COMMAND, "offsite", "sync", tree, "--remote", elsewhere]
        process = subprocess.Popen([*command, "--bandwidth", "200K"], stdin=subprocess.DEVNULL)
        wait_until(lambda: any((elsewhere / names.STAGED).glob("*")), "an upload")
        process.send_signal(number)
        assert process.wait(20) == (128 + number if number == signal.SIGTERM else -number)
        assert not list(elsewhere.glob("20*"))
        runs = subprocess.run([COMMAND, "runs", tree], capture_output=True, text=True).stdout
        assert ("offsite   unfinished" in runs) == (number == signal.SIGKILL), runs
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        (copy,) = elsewhere.glob("20*/**/*.mp4")
        assert copy.read_bytes() == archive.read_bytes()
        assert not list((elsewhere / names.STAGED).glob("*"))

    def test_a_check_that_is_killed_is_listed_as_unfinished(
        self, tree: Path, elsewhere: Path, rclone: Path
    ) -> None:
        known_archive(tree, os.urandom(self.SIZE))
        where = [tree, "--remote", elsewhere, "--verify", "read-back"]
        subprocess.run([COMMAND, "offsite", "sync", *where], check=True, capture_output=True)
        command = [COMMAND, "offsite", "verify", *where, "--bandwidth", "200K"]
        records = tree / "archived/.camarchiver/runs"
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(lambda: len(list(records.glob("[!.]*.json"))) == 2, "the record of the check")
        process.kill()
        process.wait(20)
        runs = subprocess.run([COMMAND, "runs", tree], capture_output=True, text=True).stdout
        assert runs.count("offsite   unfinished") == 1, runs

    def test_bytes_that_were_spoilt_on_the_way_are_sent_again(
        self, tree: Path, serve: Serve, proxied: Proxied, own_rclone_config: Path, rclone: Path
    ) -> None:
        archive = known_archive(tree, os.urandom(self.SIZE))
        server = serve(servers.WEBDAV)
        proxy = proxied(server)
        settings = server.settings(proxy.port)
        own_rclone_config.write_text("\n".join(["[r]", *(f"{k} = {v}" for k, v in settings.items()), ""]))
        proxy.fail(ProxyFault(Trouble.FLIP, self.SIZE // 2))
        command = [COMMAND, "offsite", "sync", tree, "--remote", "r:", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        assert proxy.met == 1
        (copy,) = server.data.glob("20*/**/*.mp4")
        assert copy.read_bytes() == archive.read_bytes()
        kinds = [each["event"] for each in journal(tree)]
        assert kinds == ["archived", "copied", "copy-lost", "copied", "copy-verified"]


class TestWorm:
    """A bucket with object lock, which keeps what is deleted."""

    def test_doctor_says_what_is_locked_and_that_old_versions_stay(
        self,
        tree: Path,
        serve: Serve,
        own_rclone_config: Path,
        rclone: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server = serve(servers.MOTO)
        settings = server.settings()
        own_rclone_config.write_text("\n".join(["[r]", *(f"{k} = {v}" for k, v in settings.items()), ""]))
        made = [rclone, "mkdir", "r:locked", "--s3-bucket-object-lock-enabled"]
        subprocess.run(made, check=True, timeout=30)
        trees = Trees(tree, tree / "archived", tree / ".deleted")
        (plain,) = (each.message for each in doctor(trees, "r:cameras") if "lock" in each.message)
        assert "anyone with its login can delete every copy" in plain
        known_archive(tree, CONTENT)
        monkeypatch.setenv("RCLONE_S3_OBJECT_LOCK_MODE", "COMPLIANCE")
        monkeypatch.setenv("RCLONE_S3_OBJECT_LOCK_RETAIN_UNTIL_DATE", "1d")
        command = [COMMAND, "offsite", "sync", tree, "--remote", "r:locked"]
        assert subprocess.run(command, timeout=60).returncode == 0
        said = [each.message for each in doctor(trees, "r:locked")]
        assert any("objects are locked (COMPLIANCE until " in message for message in said)
        assert any("keeps old versions" in message for message in said)

    @pytest.mark.parametrize("bucket", ["locked", "cameras"])
    def test_a_legal_maximum_says_where_the_bytes_stay_as_old_versions(
        self, tree: Path, serve: Serve, own_rclone_config: Path, rclone: Path, bucket: str
    ) -> None:
        settings = serve(servers.MOTO).settings()
        own_rclone_config.write_text("\n".join(["[r]", *(f"{k} = {v}" for k, v in settings.items()), ""]))
        made = [rclone, "mkdir", "r:locked", "--s3-bucket-object-lock-enabled"]
        subprocess.run(made, check=True, timeout=30)
        known_archive(tree, CONTENT)
        sync = [COMMAND, "offsite", "sync", tree, "--remote", f"r:{bucket}"]
        assert subprocess.run(sync, timeout=60).returncode == 0
        limit = ("--max-age-hard", "30", "--allow-large", "--trust-names", "-y", "--json")
        done = subprocess.run([COMMAND, "cleanup", tree, *limit], capture_output=True, text=True, timeout=60)
        document = json.loads(done.stdout)
        results = [(each["path"].partition(":")[0], each["result"]) for each in document["outcomes"]]
        assert ("r", "done") in results, done.stdout
        said = [each["message"] for each in document["errors"] if each["code"] == "past-limit"]
        assert any(f"r:{bucket} keeps old versions" in each for each in said) == (bucket == "locked")
        assert done.returncode == (ExitCode.PARTIAL if said else ExitCode.DONE)


def doctor(trees: Trees, remote: str) -> list[Finding]:
    return list(offsite_checks.remote(RcloneSettings(remote), trees))


def known_archive(tree: Path, content: bytes) -> Path:
    """An archive of these bytes that the journal knows, without a source."""
    start = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
    archive = f"{start:%Y/%m/%d}/REO_front_{start:%Y%m%d%H%M%S}.mp4"
    path = tree / "archived" / archive
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    digest = hashlib.blake2b(content).hexdigest()
    line = line_of(
        "archived",
        source=archive,
        start=start.isoformat(),
        archive=archive,
        archive_size=len(content),
        archive_blake2b=digest,
        source_blake2b=digest,
    )
    day = tree / "archived/.camarchiver/journal" / f"{start:%Y/%m/%d}.jsonl"
    day.parent.mkdir(parents=True)
    day.write_text(json.dumps(line) + "\n")
    return path
