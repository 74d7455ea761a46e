"""runtime: decisions and formats, without a disk."""

from __future__ import annotations

import os

import pytest

from camarchiver.runtime import systemd


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
