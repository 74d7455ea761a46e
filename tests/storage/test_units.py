"""storage: decisions and formats, without a disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.domain.clip import Disposal, Fingerprint, Tree
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome
from camarchiver.domain.steps import Archive, ArchiveStep, RemoveSource
from camarchiver.errors import (
    AlreadyRunning,
    CamarchiverError,
    ClipBusy,
    NotRemovable,
    StorageError,
    cause,
    described,
    user_name,
)
from camarchiver.record.outbox.spool import Unfit
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.storage import anchored, atomic, filesystems, removal
from camarchiver.storage.anchored import Stale
from camarchiver.storage.owner import Owner, is_alive
from tests.values import NOW, a_clip, an_entry

some_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=300
).filter(lambda name: name not in {".", ".."} and not name.isspace())


class TestAtomic:
    @given(some_names)
    def test_a_staged_name_fits_hides_and_tells_its_stem(self, name: str) -> None:
        staged = atomic._staged_name(name)
        assert len(os.fsencode(staged)) <= 255
        assert staged.startswith(".")
        stem = atomic.staged_stem(staged)
        assert stem is not None
        assert name.startswith(stem)
        assert atomic.is_staged_for(staged, name)
        assert not atomic.is_staged_for(staged, f"y{name[:100]}")

    @pytest.mark.parametrize(
        "name",
        ["x.mp4", ".hidden.mp4", ".x.0123456789abcdef.mp4", "x.0123456789abcdef.staged.mp4", ".staged"],
    )
    def test_other_names_are_not_staged_ones(self, name: str) -> None:
        assert atomic.staged_stem(name) is None

    def test_a_staged_name_keeps_the_suffix_that_ffmpeg_goes_by(self) -> None:
        assert atomic._staged_name("x" * 251 + ".mkv").endswith(".staged.mkv")

    @pytest.mark.parametrize("code", [errno.ESTALE, errno.ETIMEDOUT, errno.EINTR])
    def test_transient_errors_are_tried_three_times(self, mocker: MockerFixture, code: int) -> None:
        pauses = mocker.patch("time.sleep")
        call = mocker.Mock(side_effect=[OSError(code, "x"), OSError(code, "x"), "done"])
        assert atomic.retry_transient(call) == "done"
        assert pauses.call_count == 2
        call = mocker.Mock(side_effect=OSError(code, "x"))
        with pytest.raises(OSError):
            atomic.retry_transient(call)
        assert call.call_count == 3

    @pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EEXIST])
    def test_other_errors_are_final(self, mocker: MockerFixture, code: int) -> None:
        call = mocker.Mock(side_effect=OSError(code, "x"))
        with pytest.raises(OSError):
            atomic.retry_transient(call)
        assert call.call_count == 1


class TestOwner:
    """Whether the process that wrote a lock or a note is alive."""

    def test_a_forced_host_is_another_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CAMARCHIVER_HOST_ID", "attic")
        attic = Owner.this()
        monkeypatch.setenv("CAMARCHIVER_HOST_ID", "cellar")
        cellar = Owner.this()
        assert (attic.host, cellar.host) == ("attic", "cellar")
        assert attic.boot != cellar.boot
        assert attic.nonce != cellar.nonce

    @pytest.mark.parametrize("locked", [True, False, None])
    @pytest.mark.parametrize("boot", ["boot of here", "boot of there", ""])
    @pytest.mark.parametrize("age", [-601, -600, 0, 600, 601])
    def test_the_kernels_lock_decides_and_then_the_age(
        self, monkeypatch: pytest.MonkeyPatch, locked: bool | None, boot: str, age: int
    ) -> None:
        monkeypatch.setenv("CAMARCHIVER_HOST_ID", "here")
        found = Owner("host", boot, 1, "nonce", "since")
        dead_here = locked is True and boot == "boot of here"
        expected = locked is False or (not dead_here and abs(age) <= 600)
        assert is_alive(found, lambda: age, locked=locked) is expected

    def test_without_a_lock_the_process_itself_decides(self) -> None:
        this = Owner.this()
        assert is_alive(this, lambda: 601) and this.is_this_process
        reused = replace(this, started=this.started + 1)
        assert not is_alive(reused, lambda: 0) and not reused.is_this_process
        elsewhere = replace(this, namespace="pid:[1]", pid=2**22)
        assert is_alive(elsewhere, lambda: 600) and not is_alive(elsewhere, lambda: 601)
        assert not elsewhere.is_this_process
        assert is_alive(replace(this, started=0), lambda: 601)

    def test_a_process_that_ended_and_was_not_waited_for_is_dead(self) -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert not is_alive(replace(Owner.this(), pid=child, started=0), lambda: 0)
        os.waitpid(child, 0)
        assert not is_alive(replace(Owner.this(), pid=child, started=0), lambda: 0)


class TestTrash:
    @pytest.mark.parametrize("relative", ["", "/etc/x.mp4", "../x.mp4", "a/../../x.mp4"])
    def test_paths_out_of_the_root_are_refused(self, relative: str) -> None:
        nobody = Fingerprint(0, 0, 0, 0)
        with pytest.raises(ValueError, match="not a path below its root"):
            anchored.delete(Path("/nowhere"), relative, nobody)
        with pytest.raises(ValueError, match="not a path below its root"):
            anchored.move(Path("/nowhere"), "x", nobody, trash_root=Path("/no"), trash_relative=relative)


class TestErrors:
    """One way from an error to a sentence."""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (OSError(28, "No space left", "/a"), "/a: No space left"),
            (StorageError("the disk is gone", hint="mount it"), "the disk is gone; mount it"),
            (TimeoutError("no data for 8 s"), "no data for 8 s"),
            (KeyError("clip"), "KeyError: 'clip'"),
            (ZeroDivisionError(), "ZeroDivisionError"),
        ],
    )
    def test_an_error_nobody_expected_is_told_with_its_type(self, error: Exception, words: str) -> None:
        assert described(error) == words


class TestRemoval:
    """What an error makes of a step, and how it is told."""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (FileNotFoundError(2, "No such file", "/a"), "stale stale it is gone"),
            (Stale("changed"), "stale stale changed"),
            (ClipBusy("somebody works on it", hint="wait"), "busy busy somebody works on it"),
            (AlreadyRunning("record runs here already"), "busy busy record runs here already"),
            (removal.Held(Hold("h1", NOW, NOW)), "held held hold h1"),
            (OSError(28, "No space left", "/a", None, "/b"), "failed no-space /a -> /b: No space left"),
            (OSError(5, "Input/output error", "/a"), "failed failed /a: Input/output error"),
            (OSError("its picture stays"), "failed failed its picture stays"),
            (Unfit("holds 3 frames of 4"), "failed damaged holds 3 frames of 4"),
            (
                NotRemovable("a can't be removed", hint="chattr -i a"),
                "failed failed a can't be removed; chattr -i a",
            ),
            (StorageError("no safe way"), "failed failed no safe way"),
        ],
    )
    def test_an_error_is_an_outcome(self, error: OSError | CamarchiverError, words: str) -> None:
        def act() -> Outcome:
            raise error

        step = Archive(a_clip(), "a", Reason.NOT_ARCHIVED)
        outcome = removal.attempted(step, act)
        assert f"{outcome.result} {outcome.reason} {outcome.detail}" == words
        assert (outcome.step, outcome.target, outcome.freed) == (step, "", 0)

    def test_what_is_a_fault_of_the_program_is_raised(self) -> None:
        def act() -> Outcome:
            raise KeyError("x")

        with pytest.raises(KeyError):
            removal.attempted(Archive(a_clip(), "a", Reason.NOT_ARCHIVED), act)

    def test_where_a_file_goes(self) -> None:
        trash = Path("/trash")
        assert removal.in_trash(trash, Tree.SOURCE, "a/b.mp4").path == Path("/trash/input/a/b.mp4")
        assert removal.in_trash(trash, Tree.ARCHIVE, "a/b.mp4").path == Path("/trash/output/a/b.mp4")
        assert removal.place_of(Disposal.DELETE, trash, Tree.SOURCE, "a/b.mp4") is None

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (OSError(2, "No such file or directory", "/a"), "No such file or directory"),
            (OSError(13, "Permission denied", "/a"), f"Permission denied for user {user_name()}"),
            (OSError("by hand"), "by hand"),
            (ValueError(), "ValueError"),
            (StorageError("it is full", hint="buy one"), "it is full"),
            ("a reason of urllib's", "a reason of urllib's"),
        ],
    )
    def test_a_cause_has_no_number_and_no_name(self, error: object, words: str) -> None:
        assert cause(error) == words


class TestSealed:
    def test_a_long_sequence_is_sorted_and_walked_again_and_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("camarchiver.runtime.external_sort.IN_MEMORY", 10)
        numbers = [(index * 37) % 101 for index in range(101)]
        sealed = SealedSequence(numbers, key=lambda number: number)
        assert len(sealed) == 101
        assert list(sealed) == list(sealed) == sorted(numbers)
        first, second = iter(sealed), iter(sealed)
        assert [next(first), next(first), next(second), next(first)] == [0, 1, 0, 2]

    def test_steps_of_every_kind_come_back_as_they_were(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("camarchiver.runtime.external_sort.IN_MEMORY", 10)
        clips = [a_clip(name=f"{number:02}.mp4", sidecars=("a.jpg",) * (number % 2)) for number in range(25)]
        steps: list[ArchiveStep] = [
            Archive(clip, clip.name, Reason.NOT_ARCHIVED)
            if number % 7
            else RemoveSource(clip, Disposal.TRASH, Reason.ALREADY_ARCHIVED, an_entry(clip))
            for number, clip in enumerate(clips)
        ]
        found = list(SealedSequence(steps, key=lambda step: step.relative))
        assert found == steps
        assert list(map(type, found)) == list(map(type, steps))
        assert all(isinstance(step.clip.fingerprint, Fingerprint) for step in found)

    def test_what_comes_in_order_is_not_merged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("camarchiver.runtime.external_sort.IN_MEMORY", 10)
        sealed = SealedSequence([*range(100), *range(50, 101)], key=lambda number: number)
        assert len(sealed._runs) == 2
        assert list(sealed) == sorted([*range(100), *range(50, 101)])

    def test_a_walk_of_many_runs_takes_no_descriptors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("camarchiver.runtime.external_sort.IN_MEMORY", 10)
        numbers = [index - 20 * (index // 10) for index in range(10_000)]
        sealed = SealedSequence(numbers, key=lambda number: number)
        assert len(sealed._runs) == 1000
        walk, before = iter(sealed), len([*Path("/proc/self/fd").iterdir()])
        assert next(walk) == min(numbers)
        assert len([*Path("/proc/self/fd").iterdir()]) <= before
        assert [min(numbers), *walk] == list(sealed) == sorted(numbers)

    @pytest.mark.parametrize("room", [0, 700])
    def test_a_full_disk_keeps_no_plan_from_being_made(
        self, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, room: int
    ) -> None:
        real = os.pwrite

        def pwrite(descriptor: int, content: bytes, at: int) -> int:
            if "camarchiver" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                return real(descriptor, content, at)  # in memory
            if at >= room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, content[: room - at], at)

        monkeypatch.setattr("camarchiver.runtime.external_sort.IN_MEMORY", 10)
        mocker.patch("camarchiver.runtime.scratch_file.os.pwrite", pwrite)
        disk = mocker.patch("camarchiver.runtime.scratch_file.tempfile.TemporaryFile")
        nowhere = FileNotFoundError(errno.ENOENT, "No usable temporary directory found")
        disk.side_effect = (lambda **_: FileIO(os.memfd_create("disk"), "r+")) if room else nowhere
        numbers = [(index * 37) % 1009 for index in range(1009)]
        sealed = SealedSequence(numbers, key=lambda number: number)
        assert list(sealed) == list(sealed) == sorted(numbers)
        assert disk.call_count == 1
        assert list(SealedSequence([2, 1], key=lambda number: number)) == [1, 2]
        assert disk.call_count == 1, "a short plan is in memory"

    def test_each_walk_is_arranged(self) -> None:
        def doubled(items: Iterator[int]) -> Iterator[int]:
            return (2 * item for item in items)

        assert list(SealedSequence([2, 1], key=lambda number: number, arrange=doubled)) == [2, 4]


class TestMounts:
    TABLE = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "31 22 0:40 / /mnt/nas rw - nfs4 nas:/export rw\n"
        "32 22 8:17 / /mnt/nas\\040two\\303\\251 rw master:4 propagate_from:2 - xfs /dev/sdb1 rw\n"
        "33 31 0:41 / /mnt/nas/cam/archived rw - fuse.sshfs me@there:/ rw\n"
        "a line that says nothing\n"
    )

    def test_the_table_is_read_with_its_escapes(self) -> None:
        places = [mount.place for mount in filesystems.parse(self.TABLE)]
        assert places == ["/", "/mnt/nas", "/mnt/nas twoé", "/mnt/nas/cam/archived"]

    @pytest.mark.parametrize(
        ("root", "pruned", "kinds"),
        [
            ("/camera", (), ["ext4"]),
            ("/mnt/nas two", (), ["ext4"]),
            ("/mnt/nas twoé/x", (), ["xfs"]),
            ("/mnt/nas/cam", (), ["nfs4", "fuse.sshfs"]),
            ("/mnt/nas/cam", ("/mnt/nas/cam/archived",), ["nfs4"]),
            ("/mnt/nas", (), ["nfs4", "fuse.sshfs"]),
        ],
    )
    def test_only_mounts_on_the_way_to_a_clip_matter(
        self, root: str, pruned: tuple[str, ...], kinds: list[str]
    ) -> None:
        found = filesystems.relevant_mounts(filesystems.parse(self.TABLE), root, pruned)
        assert [mount.kind for mount in found] == kinds

    def test_the_last_of_two_mounts_at_one_place_counts(self) -> None:
        table = [
            filesystems.Mount("/", "ext4"),
            filesystems.Mount("/cam", "ext4"),
            filesystems.Mount("/cam", "cifs"),
        ]
        assert [mount.kind for mount in filesystems.relevant_mounts(table, "/cam")] == ["cifs"]

    @pytest.mark.parametrize(
        ("kind", "tells"),
        [
            *((kind, True) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "vfat", "exfat")),
            *((kind, False) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse", "fuseblk", "fuse.sshfs")),
            *((kind, False) for kind in ("fuse.bindfs", "9p", "virtiofs", "ceph", "afs", "ocfs2")),
        ],
    )
    def test_who_else_may_change_it_decides(self, kind: str, *, tells: bool) -> None:
        assert filesystems.Mount("/x", kind).reports_changes is tells
