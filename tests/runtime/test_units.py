"""runtime: decisions and formats, without a disk."""

from __future__ import annotations

import os
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from pytest_mock import MockerFixture

from camarchiver.errors import ConfigError
from camarchiver.runtime import clock, extras, systemd
from camarchiver.runtime.processes import BoundedLines, signal_name
from camarchiver.runtime.signals import Stop


class TestMissingPackages:
    @pytest.mark.parametrize("name", ["inotify_simple", "inotify-simple"])
    def test_a_package_is_installed_in_a_version_that_fits(self, mocker: MockerFixture, name: str) -> None:
        mocker.patch.object(
            extras.metadata, "requires", return_value=["click>=8", "inotify-simple<3,>=1.3.5"]
        )
        command = f"{shlex.quote(sys.executable)} -m pip install 'inotify-simple<3,>=1.3.5'"
        assert extras.install_package(name) == command

    def test_a_program_that_was_never_installed_is(self, mocker: MockerFixture) -> None:
        mocker.patch.object(extras.metadata, "requires", side_effect=extras.metadata.PackageNotFoundError)
        assert extras.install_package("inotify_simple") == extras.reinstall()


class TestBoundedLines:
    HEAD = "[hevc @ 0x5e{0:x}] Could not find ref with POC {0}\n[hevc @ 0x5e0] Error constructing the RPS\n"

    def test_what_only_repeats_the_first_lines_does_not_hide_what_it_said(self) -> None:
        lines = BoundedLines(once_each=True)
        lines.keep("".join(map(self.HEAD.format, range(1000))).encode())
        assert lines.lines() == tuple("".join(map(self.HEAD.format, range(100))).splitlines())

    def test_any_other_line_is_kept(self) -> None:
        lines = BoundedLines(once_each=True)
        lines.keep("".join(map(self.HEAD.format, range(1000))).encode() + b"error while decoding MB 3 7\n")
        assert lines.lines()[200:] == ("error while decoding MB 3 7",)

    def test_otherwise_the_last_lines_are_kept(self) -> None:
        lines = BoundedLines()
        lines.keep(b"again\n" * 1000)
        assert lines.lines() == (*["again"] * 200, "(700 more lines)", *["again"] * 100)


@pytest.mark.parametrize(("returncode", "name"), [(-9, "signal SIGKILL"), (-40, "signal 40")])
def test_any_signal_that_ends_a_program_can_be_named(returncode: int, name: str) -> None:
    assert signal_name(returncode) == name


class TestService:
    @pytest.mark.parametrize(
        ("span", "whom", "seconds"),
        [
            ("20000000", "", 10.0),
            ("1000000", "own", 0.5),
            ("20000000", "1", None),
            ("20000000", "nobody", None),
            ("0", "", None),
            ("-5", "", None),
            ("soon", "", None),
            ("", "", None),
        ],
    )
    def test_beats_come_twice_as_often_as_the_watchdog_bites(
        self, span: str, whom: str, seconds: float | None
    ) -> None:
        pid = str(os.getpid()) if whom == "own" else whom
        found = systemd.Service({"WATCHDOG_USEC": span, "WATCHDOG_PID": pid})
        assert found.beat_seconds == seconds

    def test_the_watchdog_of_whoever_has_no_pid_set_is_ours(self) -> None:
        assert systemd.Service({"WATCHDOG_USEC": "2000000"}).beat_seconds == 1.0

    def test_nobody_is_told_where_there_is_no_manager(self, caplog: pytest.LogCaptureFixture) -> None:
        for address in ("", "@", "vsock:2:1234", "relative"):
            speaker = systemd.Service({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
            speaker.ready("up")
            speaker.status("busy")
            speaker.reloading()
            speaker.beat()
            speaker.stopping()
        assert not caplog.records

    def test_without_its_variables_no_manager_is_assumed(self) -> None:
        assert not systemd.is_managed({})


class TestZone:
    @pytest.mark.parametrize("name", ["Mars/Olympus", "Europe", "../UTC", "a" * 300])
    def test_what_is_no_zone_is_wrong_configuration(self, name: str) -> None:
        with pytest.raises(ConfigError, match="is not known"):
            clock.zone(name)


class TestStop:
    """What a user learns at the first Ctrl-C."""

    def test_it_names_what_is_waited_for(self) -> None:
        stop = Stop()
        assert stop.words() == "stopping"
        with stop.busy("a.mp4"):
            words = "stopping: waits until what was begun is finished or put back"
            assert stop.words() == f"{words}: a.mp4"
            with ThreadPoolExecutor(4) as pool:
                ready, leave = Barrier(5), Event()

                def work(name: str) -> None:
                    with stop.busy(name):
                        ready.wait(10)
                        leave.wait(10)

                for name in ("b.mp4", "c.mp4", "d.mp4", "e.mp4"):
                    pool.submit(work, name)
                ready.wait(10)
                assert stop.words() == f"{words}: a.mp4, b.mp4, c.mp4 and 2 more"
                leave.set()
        assert stop.words() == "stopping"

    def test_only_the_first_signal_is_answered_and_only_on_a_terminal(self, mocker: MockerFixture) -> None:
        written = mocker.patch("camarchiver.runtime.signals.os.write")
        stderr = mocker.patch("camarchiver.runtime.signals.sys.stderr")
        stderr.isatty.return_value = False
        Stop().ask(2)
        assert written.call_count == 0
        stderr.isatty.return_value = True
        stop = Stop()
        stop.ask(2)
        stop.ask(2)
        written.assert_called_once_with(2, b"\r\nstopping\r\n")
