"""offsite: decisions and formats, without a disk."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime, timedelta
from threading import Event
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from camarchiver.domain.hold import Hold
from camarchiver.domain.memory import Failure
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep, MakeCopy
from camarchiver.errors import ConfigError, ExitCode
from camarchiver.journal import event as journal_event
from camarchiver.journal.ledger import Ledger
from camarchiver.journal.store import Day
from camarchiver.offsite import manifest, manifest_writer, names, transfers
from camarchiver.offsite.manifest_writer import ManifestWriter
from camarchiver.offsite.rclone import backends, daemon, errors
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.offsite.remote_guard import RemoteGuard
from camarchiver.offsite.transfers import Retries, TransferProgress, Transfers
from camarchiver.policy import offsite_rules
from camarchiver.policy.offsite_rules import CopyState, KnownArchive, OffsitePolicy, WhatToCopy
from camarchiver.runtime.signals import Stop
from tests.values import NOW, a_clip, line_of

DIGEST = "0123456789abcdef" * 8
REMOTE = "b2:cameras"
ARCHIVE = "2026/03/01/x.mp4"
MADE: dict[str, Any] = {
    "archive": ARCHIVE,
    "archive_size": 7,
    "archive_blake2b": DIGEST,
    "source_blake2b": "s",
}
COPY: dict[str, Any] = {
    "archive": ARCHIVE,
    "archive_blake2b": DIGEST,
    "remote": REMOTE,
    "object": "2026/03/01/x.0123456789ab.mp4",
}


ALL = OffsitePolicy(REMOTE)


def ledger_of(*lines: tuple[str, dict[str, Any]]) -> Ledger:
    """What these lines of the journal add up to."""
    text = "".join(json.dumps(line_of(event, **fields)) + "\n" for event, fields in lines)
    events, torn = journal_event.read(text.encode())
    assert torn == 0
    return Day(tuple(events)).ledger


class TestNames:
    """Names of objects hold a part of their content's hash."""

    @pytest.mark.parametrize(
        ("archive", "name"),
        [
            ("2026/03/01/x.mp4", "2026/03/01/x.0123456789ab.mp4"),
            ("x.tar.mkv", "x.tar.0123456789ab.mkv"),
            ("a.b/noext", "a.b/noext.0123456789ab"),
            (".hidden", ".hidden.0123456789ab"),
            ("caf\udce9.mp4", "caf%E9.0123456789ab.mp4"),
        ],
    )
    def test_the_digits_come_before_the_suffix(self, archive: str, name: str) -> None:
        assert names.object_name(archive, DIGEST) == name

    @given(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1), min_size=1).map(
            "/".join
        )
    )
    def test_what_was_named_is_read_back(self, archive: str) -> None:
        read = names.read_object(names.object_name(archive, DIGEST))
        assert read is not None
        assert read == (archive, DIGEST[:12])

    def test_other_names_are_no_copies(self) -> None:
        day, text = date(2026, 3, 1), b"a\n"
        own = names.manifest_name(day, text)
        assert names.read_object("2026/03/01/x.mp4") is names.read_object(own) is None
        assert names.read_manifest(own) == (day, own.split(".")[-2])
        assert names.read_manifest("2026/03/01.0123456789ab.jsonl") is None
        assert names.read_manifest(f"{names.MANIFESTS}/2026/13/01.0123456789ab.jsonl") is None

    def test_only_what_a_dead_run_of_this_host_left_is_swept(self) -> None:
        staged = names.staged_name("me", "run-1", 3)
        assert names.is_left_over(staged, "me", "run-2")
        assert not names.is_left_over(staged, "me", "run-1")
        assert not names.is_left_over(staged, "other", "run-2")


class TestTrouble:
    """What rclone's messages mean; each text is one that rclone 1.60 or 1.75 gave."""

    @pytest.mark.parametrize(
        ("message", "kind", "code"),
        [
            ("didn't find section in config file", RemoteErrorKind.NOT_CONFIGURED, ExitCode.CONFIG),
            (
                "NewFs: couldn't connect SSH: ssh: handshake failed: knownhosts: key is unknown",
                RemoteErrorKind.HOST_KEY,
                ExitCode.CONFIG,
            ),
            (
                "NewFs: couldn't connect SSH: ssh: handshake failed: knownhosts: key mismatch",
                RemoteErrorKind.HOST_KEY,
                ExitCode.CONFIG,
            ),
            (
                "NewFs: couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate, attempted"
                " methods [none password], no supported methods remain",
                RemoteErrorKind.PASSWORD,
                ExitCode.CONFIG,
            ),
            (
                "read metadata failed: 401 Unauthorized: 401 Unauthorized",
                RemoteErrorKind.PASSWORD,
                ExitCode.CONFIG,
            ),
            (
                "operation error S3: HeadObject, https response error StatusCode: 403, RequestID: ,"
                " HostID: , api error Forbidden: Forbidden",
                RemoteErrorKind.PASSWORD,
                ExitCode.CONFIG,
            ),
            (
                "NewFs: couldn't connect SSH: dial tcp 127.0.0.1:7099: connect: connection refused",
                RemoteErrorKind.GONE,
                ExitCode.STORAGE,
            ),
            ("write /mnt/x: no space left on device", RemoteErrorKind.FULL, ExitCode.STORAGE),
            ("507 Insufficient Storage", RemoteErrorKind.FULL, ExitCode.STORAGE),
            ("read tcp 1.2.3.4:5->6.7.8.9:443: i/o timeout", RemoteErrorKind.SLOW, ExitCode.STORAGE),
            ("copy mkParentDir failed: Locked: 423 Locked", RemoteErrorKind.BUSY, ExitCode.FAILED),
            ("object not found", RemoteErrorKind.MISSING, ExitCode.FAILED),
            ("api error AccessDenied: Access Denied.", RemoteErrorKind.REFUSED, ExitCode.FAILED),
            ("open /x: file name too long", RemoteErrorKind.NAME, ExitCode.FAILED),
            ("something new", RemoteErrorKind.OTHER, ExitCode.FAILED),
        ],
    )
    def test_each_has_a_kind_and_an_exit_code(
        self, message: str, kind: RemoteErrorKind, code: ExitCode
    ) -> None:
        error = errors.remote_error("nas:", message)
        assert (error.kind, error.exit_code) == (kind, code)
        assert error.hint or kind in (RemoteErrorKind.MISSING, RemoteErrorKind.OTHER)
        assert "nas:" in error.message

    def test_a_page_of_a_server_becomes_one_short_line(self) -> None:
        assert len(errors.remote_error("nas:", "<html>\n" * 500).message) < 400


class TestBackends:
    """What rclone's config says of a remote."""

    CONFIG: ClassVar[dict[str, dict[str, str]]] = {
        "secret": {"type": "crypt", "remote": "nas:enc", "password": "x"},
        "nas": {"type": "sftp", "host": "h"},
        "keyed": {"type": "sftp", "host": "h", "known_hosts_file": "/k"},
        "unchecked": {"type": "sftp", "host": "h", "known_hosts_file": "none"},
        "b": {"type": "s3"},
        "short": {"type": "alias", "remote": "b:bucket/x"},
        "two": {"type": "union", "upstreams": "nas:a keyed:b"},
        "loop": {"type": "alias", "remote": "loop:"},
    }

    def kinds(self, remote: str, **environment: str) -> list[str]:
        return [each.kind for each in backends.backends(remote, self.CONFIG, environment)]

    def test_it_is_followed_down_to_the_storage(self) -> None:
        assert self.kinds("secret:") == ["crypt", "sftp"]
        assert self.kinds("short:") == ["alias", "s3"]
        assert self.kinds("two:") == ["union", "sftp", "sftp"]
        assert self.kinds("/mnt/disk") == ["local"]
        assert self.kinds(':sftp,host="a:b":x') == ["sftp"]
        assert self.kinds("env:", RCLONE_CONFIG_ENV_TYPE="webdav") == ["webdav"]
        assert len(self.kinds("loop:")) < 20

    @pytest.mark.parametrize(
        ("remote", "hashes"),
        [("b:x", ("md5",)), ("short:", ("md5",)), ("secret:", ()), ("two:", ()), ("nothing:", ())],
    )
    def test_only_a_hash_that_the_server_made_of_the_whole_proves_anything(
        self, remote: str, hashes: tuple[str, ...]
    ) -> None:
        assert backends.own_hashes(backends.backends(remote, self.CONFIG, {})) == hashes

    def test_a_hash_of_parts_proves_nothing(self) -> None:
        found = backends.backends("b:x", self.CONFIG, {})
        assert backends.is_in_parts(found, backends.ONE_PART + 1)
        assert not backends.is_in_parts(found, backends.ONE_PART)
        assert not backends.is_in_parts(backends.backends("nas:", self.CONFIG, {}), 1 << 40)

    @pytest.mark.parametrize(
        ("settings", "hides"),
        [({"type": "b2"}, True), ({"type": "b2", "hard_delete": "true"}, False), ({"type": "s3"}, False)],
    )
    def test_b2_hides_what_is_deleted_unless_it_is_told_otherwise(
        self, settings: dict[str, str], *, hides: bool
    ) -> None:
        config = {"b": settings, "secret": {"type": "crypt", "remote": "b:x"}}
        for remote in ("b:x", "secret:"):
            assert backends.hides_deleted(backends.backends(remote, config, {})) is hides

    @pytest.mark.parametrize(
        ("remote", "environment", "unchecked"),
        [
            ("nas:", {}, ["RCLONE_CONFIG_NAS_KNOWN_HOSTS_FILE"]),
            ("secret:", {}, ["RCLONE_CONFIG_NAS_KNOWN_HOSTS_FILE"]),
            ("unchecked:", {}, ["RCLONE_CONFIG_UNCHECKED_KNOWN_HOSTS_FILE"]),
            ("two:", {}, ["RCLONE_CONFIG_NAS_KNOWN_HOSTS_FILE"]),
            (":sftp,host=h:x", {}, ["RCLONE_SFTP_KNOWN_HOSTS_FILE"]),
            ("keyed:", {}, []),
            ("nas:", {"RCLONE_SFTP_KNOWN_HOSTS_FILE": "/k"}, []),
            ("nas:", {"RCLONE_CONFIG_NAS_KNOWN_HOSTS_FILE": "/k"}, []),
            ("b:x", {}, []),
        ],
    )
    def test_an_sftp_server_whose_key_nobody_checks_is_found(
        self, remote: str, environment: dict[str, str], unchecked: list[str]
    ) -> None:
        found = backends.unchecked_hosts(backends.backends(remote, self.CONFIG, environment))
        assert [backends.variable(each, "known_hosts_file") for each in found] == unchecked

    @pytest.mark.parametrize(
        "remote",
        [
            "",
            "relative/path",
            "relative/path,pass=abc",
            ":sftp,host=h,pass=abc:x",
            ":sftp,host='h:22',pass=abc:x",
            "nas,pass=abc:x",
            ":s3,secret_access_key=k:b",
            ':webdav,url="https://u:abc@h/":x',
            ":webdav,url='https://u:abc@h/':x",
            ":http,url=https://u:abc@h/:x",
            ":storj,access_grant=abc:x",
            ":gcs,service_account_credentials=abc:x",
            ':azurefiles,connection_string="a;AccountKey=abc":x',
            ":filen,master_keys=abc:x",
            ":internxt,mnemonic=abc:x",
            ":iclouddrive,cookies=abc:x",
            ":mega,session_id=abc:x",
            ":s3,sse_customer_key_base64=abc:x",
            ':webdav,url=h,headers="Cookie,abc":x',
        ],
    )
    def test_a_remote_without_sense_or_with_a_secret_is_refused(self, remote: str) -> None:
        with pytest.raises(ConfigError) as refused:
            backends.check(remote)
        assert "abc" not in refused.value.message + refused.value.hint

    @pytest.mark.parametrize(
        "remote",
        [
            "nas:",
            "b2:cameras/front",
            "/mnt/disk",
            "/mnt/disk@home",
            ":sftp,host=h,user=u:x",
            ":s3,env_auth=true:b",
            ':webdav,url="https://h/dav":x@y',
        ],
    )
    def test_others_are_taken(self, remote: str) -> None:
        backends.check(remote)


class TestLocalFolders:
    """Which folder of this machine a remote leads to."""

    CONFIG: ClassVar[dict[str, dict[str, str]]] = {
        "disk": {"type": "local"},
        "link": {"type": "alias", "remote": "disk:/mnt/usb"},
        "secret": {"type": "crypt", "remote": "link:safe"},
        "plain": {"type": "crypt", "remote": "link:safe", "filename_encryption": "off"},
        "both": {"type": "union", "upstreams": 'link:a:ro "/mnt/b c:nc" s3:x'},
        "many": {"type": "combine", "upstreams": "one=link:x two=/mnt/y"},
        "round": {"type": "alias", "remote": "round:"},
        "s3": {"type": "s3"},
    }

    @pytest.mark.parametrize(
        ("remote", "folders"),
        [
            ("/mnt/x", [("/mnt/x", True)]),
            (":local:/mnt/x", [("/mnt/x", True)]),
            ("disk:/mnt/x", [("/mnt/x", True)]),
            (":alias,remote=/mnt/x:y", [("/mnt/x/y", True)]),
            (":alias,remote='/mnt/x':y", [("/mnt/x/y", True)]),
            (":alias,description='a:b, ''c',remote=\"/mnt/x\":y", [("/mnt/x/y", True)]),
            ("disk:", [(".", True)]),
            ("link:x/y", [("/mnt/usb/x/y", True)]),
            ("link,copy_links:x", [("/mnt/usb/x", True)]),
            ("secret:", [("/mnt/usb/safe", True)]),
            ("secret:x", [("/mnt/usb/safe", False)]),
            ("plain:x", [("/mnt/usb/safe/x", True)]),
            ("both:x", [("/mnt/usb/a/x", True), ("/mnt/b c/x", True)]),
            ("many:", [("/mnt/usb/x", True), ("/mnt/y", True)]),
            ("many:two/z", [("/mnt/y/z", True)]),
            ("round:", []),
            ("s3:x", []),
            ("nosuch:x", []),
        ],
    )
    def test_it_is_followed_through_other_remotes(self, remote: str, folders: list[tuple[str, bool]]) -> None:
        found = backends.backends(remote, self.CONFIG, {})
        assert [(each.folder, each.is_exact) for each in found if each.kind == "local"] == folders

    def test_the_environment_describes_remotes_too(self) -> None:
        environment = {"RCLONE_CONFIG_MY_DISK_TYPE": "alias", "RCLONE_CONFIG_MY_DISK_REMOTE": "/mnt/x"}
        (link, local) = backends.backends("my-disk:y", {}, environment)
        assert (link.kind, local.folder) == ("alias", "/mnt/x/y")
        assert backends.unknown_name("my-disk:y", {}, environment) is None
        assert backends.unknown_name("my-disk:y", {}, {}) == "my-disk"


class TestJournal:
    """What the journal's lines about copies add up to."""

    def test_a_copy_counts_only_when_it_is_verified(self) -> None:
        made = ledger_of(("archived", MADE), ("copied", COPY)).copy(REMOTE, ARCHIVE)
        assert made is not None
        assert not made.is_proved
        proved = ledger_of(("archived", MADE), ("copied", COPY), ("copy-verified", COPY))
        found = proved.copy(REMOTE, ARCHIVE)
        assert found is not None
        assert found.is_proved
        assert found.name == COPY["object"]
        assert proved.copy("other:", ARCHIVE) is None

    @pytest.mark.parametrize(
        "later",
        [
            ("copy-lost", {**COPY, "reason": "missing"}),
            ("archived", {**MADE, "archive_blake2b": "f" * 128}),
        ],
    )
    def test_a_lost_copy_or_one_of_former_bytes_is_none(self, later: tuple[str, dict[str, Any]]) -> None:
        ledger = ledger_of(("archived", MADE), ("copied", COPY), ("copy-verified", COPY), later)
        assert ledger.copy(REMOTE, ARCHIVE) is None
        assert len(ledger.copies) == 1

    def test_it_outlasts_its_archive(self) -> None:
        removed = {"archive": ARCHIVE, "tree": "archive", "reason": "archive-age"}
        ledger = ledger_of(("archived", MADE), ("copy-verified", COPY), ("deleted", removed))
        assert ledger.archives == {}
        assert ledger.copy(REMOTE, ARCHIVE) is not None

    @pytest.mark.parametrize("spoilt", [{"object": "../x"}, {"object": "/etc/x"}, {"remote": ""}])
    def test_a_line_that_leads_elsewhere_is_not_believed(self, spoilt: dict[str, str]) -> None:
        line = json.dumps(line_of("copy-verified", **COPY | spoilt)).encode()
        assert journal_event.read(line) == ([], 1)

    def test_a_manifest_has_what_restores_a_copy(self) -> None:
        day = date(2026, 3, 1)
        lost = {**COPY, "archive": "2026/03/01/y.mp4", "object": "y"}
        ledger = ledger_of(
            ("archived", MADE),
            ("archived", {**MADE, "archive": "2026/03/01/y.mp4"}),
            ("copied", COPY),
            ("copied", lost),
            ("copy-verified", COPY),
            ("copy-lost", lost),
        )
        text = manifest.of_day(day, ledger, REMOTE)
        assert text is not None
        digits = names.manifest_name(day, text).split(".")[-2]
        found = manifest.parse(text, digits)
        assert [(each.event, each.archive) for each in found.lines] == [
            ("archived", ARCHIVE),
            ("copy-verified", ARCHIVE),
        ]
        assert [copy.copied.archive for copy in manifest.copies_of(found)] == [ARCHIVE]
        assert manifest.of_day(day, ledger, "other:") is None
        assert text.startswith(b'{"kind": "camarchiver off-site copies", "format": 1, "day": "2026-03-01"}\n')
        # It is read as the journal is: what a later line takes back does not count.
        more = text + json.dumps(line_of("copy-lost", **COPY)).encode() + b"\n"
        digits = names.manifest_name(day, more).split(".")[-2]
        assert not list(manifest.copies_of(manifest.parse(more, digits)))
        with pytest.raises(ValueError, match="its name"):
            manifest.parse(text + b"\n", digits)

    @pytest.mark.parametrize(
        ("head", "words"),
        [
            ({"format": 2}, "its format is 2, and this version reads 1"),
            ({"format": True}, "not a manifest"),
            ({"kind": "x"}, "not a manifest"),
            ({"day": "yesterday"}, "not a manifest"),
        ],
    )
    def test_a_manifest_begins_with_a_line_about_itself(self, head: dict[str, object], words: str) -> None:
        own = {"kind": "camarchiver off-site copies", "format": 1, "day": "2026-03-01"}
        text = json.dumps(own | head).encode() + b"\n"
        digits = names.manifest_name(date(2026, 3, 1), text).split(".")[-2]
        with pytest.raises(ValueError, match=words):
            manifest.parse(text, digits)


class TestRules:
    """Which archives are due, and in which order."""

    def known(self, state: CopyState = CopyState.NONE, **changed: Any) -> KnownArchive:
        clip = a_clip(**changed)
        return KnownArchive(clip, clip.relative, (1000, 5), DIGEST, "n", state)

    def decide(
        self,
        known: KnownArchive,
        policy: OffsitePolicy = ALL,
        holds: tuple[Hold, ...] = (),
        failure: Failure | None = None,
        *,
        valid: bool = True,
    ) -> MakeCopy | Keep:
        return offsite_rules.decide(known, policy, holds, failure, lambda: valid, NOW)

    HOLD = Hold("h", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (CopyState.NONE, Reason.NOT_COPIED),
            (CopyState.UNPROVED, Reason.COPY_UNPROVED),
            (CopyState.LOST, Reason.COPY_LOST),
        ],
    )
    def test_what_has_no_verified_copy_is_copied(self, state: CopyState, reason: Reason) -> None:
        decided = self.decide(self.known(state))
        assert isinstance(decided, MakeCopy)
        assert decided.reason is reason

    def test_what_is_left_alone(self) -> None:
        held_only = OffsitePolicy(REMOTE, WhatToCopy.HELD)
        later = OffsitePolicy(REMOTE, since=datetime(2026, 3, 2, tzinfo=UTC))
        failed = Failure(1000, a_clip().fingerprint.mtime_ns, 1, NOW, Reason.FAILED, "name too long")
        for decided, reason in (
            (self.decide(self.known(CopyState.PROVED)), Reason.ALREADY_COPIED),
            (self.decide(self.known(), held_only), Reason.FILTERED),
            (self.decide(self.known(), later), Reason.FILTERED),
            (self.decide(self.known(), OffsitePolicy(REMOTE, cameras=frozenset({"x"}))), Reason.FILTERED),
            (self.decide(self.known(), OffsitePolicy(REMOTE, exclude=("*front*",))), Reason.FILTERED),
            (self.decide(self.known(), valid=False), Reason.DAMAGED),
            (self.decide(self.known()._replace(digest="")), Reason.DAMAGED),
            (self.decide(self.known(), failure=failed), Reason.FAILED_BEFORE),
        ):
            assert isinstance(decided, Keep)
            assert decided.reason is reason

    def test_a_camera_may_differ(self) -> None:
        own = OffsitePolicy(REMOTE, WhatToCopy.HELD, {"front": WhatToCopy.ARCHIVES, "yard": WhatToCopy.NONE})
        assert isinstance(self.decide(self.known(), own), MakeCopy)
        assert isinstance(self.decide(self.known(camera="yard"), own, (self.HOLD,)), Keep)
        assert isinstance(self.decide(self.known(camera="other"), own, (self.HOLD,)), MakeCopy)

    def test_a_failure_is_tried_again_when_its_time_has_come(self) -> None:
        at = NOW - timedelta(hours=2)
        failed = Failure(1000, a_clip().fingerprint.mtime_ns, 1, at, Reason.FAILED, "name too long")
        assert isinstance(self.decide(self.known(), failure=failed), MakeCopy)

    def test_held_clips_go_first_then_the_newest(self) -> None:
        starts = [datetime(2026, 3, day, 8, 15, tzinfo=UTC) for day in (1, 5, 3)]
        steps = [
            self.decide(self.known(start=start, name=f"{start.day}.mp4"), holds=(self.HOLD,))
            for start in starts
        ]
        copies = sorted((each for each in steps if isinstance(each, MakeCopy)), key=offsite_rules.order_key)
        assert [each.start.day for each in copies] == [1, 5, 3]
        assert copies[0].reason is Reason.HELD


class TestGuard:
    """Whether a copy or the whole remote is at fault."""

    @pytest.fixture
    def remote(self, mocker: MockerFixture) -> Any:
        """A remote that refuses every read and has no manifest."""
        remote = mocker.Mock(label=REMOTE)
        remote.read.side_effect = RemoteError(RemoteErrorKind.REFUSED, f"{REMOTE}: 403")
        remote.listing.return_value = ()
        return remote

    def guard(self, remote: Any, mocker: MockerFixture, *lines: tuple[str, dict[str, Any]]) -> RemoteGuard:
        journal = mocker.Mock()
        journal.days.return_value = [date(2026, 3, 1)]
        journal.day.return_value.ledger = ledger_of(*lines)
        return RemoteGuard(remote, journal)

    def test_where_nothing_can_be_read_it_is_the_remote(self, remote: Any, mocker: MockerFixture) -> None:
        guard = self.guard(remote, mocker, ("archived", MADE), ("copied", COPY))
        found = guard.of_reading(RemoteError(RemoteErrorKind.REFUSED, "x: 403"))
        assert found.kind is RemoteErrorKind.UNKNOWN_PLACE
        assert found.exit_code is ExitCode.CONFIG
        assert found.message == f"{REMOTE}: no copy that the journal knows can be read there: 403"

    def test_where_another_copy_can_be_read_it_is_the_copy(self, remote: Any, mocker: MockerFixture) -> None:
        guard = self.guard(remote, mocker, ("archived", MADE), ("copied", COPY))
        remote.read.side_effect = None
        remote.read.return_value = 1
        error = RemoteError(RemoteErrorKind.REFUSED, "x: 403")
        assert guard.of_reading(error) is error

    def test_where_the_journal_knows_no_copy_nothing_can_be_said(
        self, remote: Any, mocker: MockerFixture
    ) -> None:
        self.guard(remote, mocker).require_known()
        lost = (("archived", MADE), ("copied", COPY), ("copy-lost", COPY))
        self.guard(remote, mocker, *lost).require_known()

    def test_a_remote_that_is_gone_is_told_as_that(self, remote: Any, mocker: MockerFixture) -> None:
        guard = self.guard(remote, mocker, ("archived", MADE), ("copied", COPY))
        remote.read.side_effect = RemoteError(RemoteErrorKind.GONE, "x")
        with pytest.raises(RemoteError) as gone:
            guard.require_known()
        assert gone.value.kind is RemoteErrorKind.GONE


class TestRetries:
    """What is tried again."""

    def tries(self, kinds: list[RemoteErrorKind], retries: Retries) -> int:
        """How often it is tried if these errors come, one after the other."""
        errors = iter(kinds)
        count = 0

        def act() -> None:
            nonlocal count
            count += 1
            if (kind := next(errors, None)) is not None:
                raise RemoteError(kind, "x")

        with contextlib.suppress(RemoteError):
            retries.tried(act)
        return count

    @pytest.mark.parametrize(
        ("kinds", "count"),
        [
            ([], 1),
            ([RemoteErrorKind.GONE], 2),
            ([RemoteErrorKind.CUT, RemoteErrorKind.SLOW], 3),
            ([RemoteErrorKind.CUT] * 5, 3),
            ([RemoteErrorKind.UNREADABLE], 2),
            ([RemoteErrorKind.BUSY] * 2, 3),
            ([RemoteErrorKind.REFUSED], 1),
            ([RemoteErrorKind.FULL], 1),
        ],
    )
    def test_only_what_may_pass_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, kinds: list[RemoteErrorKind], count: int
    ) -> None:
        monkeypatch.setattr(transfers, "PAUSES", (0.0, 0.0))
        assert self.tries(kinds, Retries(Event())) == count

    def test_a_remote_that_is_gone_for_all_transfers_is_given_up(
        self, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
    ) -> None:
        monkeypatch.setattr(transfers, "PAUSES", (0.0, 0.0))
        now = iter([0.0, 15.0, 30.0, 50.0])
        mocker.patch.object(transfers, "time").monotonic = lambda: next(now)
        retries = Retries(Event())
        assert self.tries([RemoteErrorKind.GONE] * 3, retries) == 3
        assert self.tries([RemoteErrorKind.GONE] * 3, retries) == 1
        assert self.tries([], retries) == 1
        assert self.tries([RemoteErrorKind.GONE], retries) == 2, "it came back meanwhile"


class TestTransfers:
    """When transfers end."""

    def test_none_begins_after_the_longest_time_of_a_run(self, mocker: MockerFixture) -> None:
        performed = mocker.Mock()
        ended = Transfers(mocker.Mock(), Stop(), mocker.Mock(), max_runtime=timedelta(microseconds=1))
        assert list(ended.run([mocker.Mock(size=1)], performed)) == []
        assert not performed.called
        endless = Transfers(mocker.Mock(), Stop(), mocker.Mock())
        assert performed.return_value in list(endless.run([mocker.Mock(size=1)], performed))


class TestVersion:
    """Which rclone serves."""

    @pytest.mark.parametrize("version", ["v1.59.2", "v0.99", ""])
    def test_one_that_is_too_old_is_refused(self, mocker: MockerFixture, version: str) -> None:
        running = mocker.Mock()
        running.call.return_value = 200, {"version": version}
        with pytest.raises(ConfigError, match=r"is too old: 1\.60 or newer is needed") as refused:
            daemon.check_version(running)
        assert "rclone" in refused.value.hint or "offsite" in refused.value.hint
        running.call.return_value = 200, {"version": "v1.60.1-DEV"}
        assert daemon.check_version(running) == "1.60.1-DEV"


class TestManifestWriter:
    """What the writer of manifests does when the remote fails."""

    def test_what_may_pass_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
    ) -> None:
        monkeypatch.setattr(transfers, "PAUSES", (0.0, 0.0))
        monkeypatch.setattr(manifest, "of_day", lambda *_: b"lines\n")
        state = mocker.patch.object(manifest_writer, "offsite_state")
        state.due_manifests.return_value = [date(2026, 3, 1)]
        remote, uploads = mocker.Mock(label=REMOTE), mocker.Mock()
        uploads.upload.side_effect = [RemoteError(RemoteErrorKind.BUSY, "x"), None, None]
        arrive = iter([b"lin\0s\n", b"lines\n"])
        remote.read.side_effect = lambda _, take: take(next(arrive))
        ManifestWriter(mocker.MagicMock(), remote, uploads, Retries(Event())).write()
        assert uploads.upload.call_count == 3
        state.change_due.assert_called_once_with(mocker.ANY, REMOTE, remove={date(2026, 3, 1)})


class TestProgress:
    """What a display gets adds up to the sizes of what was copied, whatever rclone moved."""

    @pytest.mark.parametrize("moved", [(30, 90, 200), (0, 0, 0), (1000, 2000, 3000)])
    def test_bytes_are_shown_once(self, mocker: MockerFixture, moved: tuple[int, ...]) -> None:
        shown = list[int]()
        remote, transfers = mocker.Mock(), mocker.Mock(on_the_way=100)
        remote.transferred.side_effect = moved
        progress = TransferProgress(remote, transfers, mocker.Mock(done=shown.append))
        for _ in moved:
            progress.look()
            assert sum(shown) <= 100
        progress.done(60)
        progress.done(40)
        assert sum(shown) == 100
