"""cli: decisions and formats, without a disk."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from camarchiver import config
from camarchiver.cli import cli
from camarchiver.cli import types as option_types
from camarchiver.config import Config, Value
from camarchiver.errors import ConfigError, ExitCode, exit_codes, is_signal_code, signal_code


class TestParams:
    SIZE, DAYS, DURATION = option_types.Size(), option_types.DaysType(), option_types.Duration()
    WHEN, PERCENT = option_types.When(), option_types.Percent()

    @pytest.mark.parametrize(
        ("kind", "value", "result"),
        [
            (SIZE, "500GB", 500 * 1000**3),
            (SIZE, "500GiB", 500 * 1024**3),
            (SIZE, "1.5T", 1_500_000_000_000),
            (SIZE, " 20 mb ", 20_000_000),
            (SIZE, "0.1kB", 100),
            (SIZE, "0", 0),
            (SIZE, 4096, 4096),
            (DAYS, "30", timedelta(30)),
            (DAYS, "30d", timedelta(30)),
            (DAYS, "2 weeks", timedelta(14)),
            (DAYS, "1.5d", timedelta(1.5)),
            (DAYS, "36h", timedelta(1.5)),
            (DAYS, 30, timedelta(30)),
            (DAYS, 0.5, timedelta(0.5)),
            (DAYS, timedelta(3), timedelta(3)),
            (option_types.DaysType(zero=True), "0", timedelta(0)),
            (option_types.DaysType(zero=True), 0, timedelta(0)),
            (DURATION, "6h", timedelta(hours=6)),
            (DURATION, "1h30m", timedelta(minutes=90)),
            (DURATION, "90s", timedelta(seconds=90)),
            (DURATION, timedelta(3), timedelta(3)),
            (PERCENT, "10", 10.0),
            (PERCENT, "12.5 %", 12.5),
            (PERCENT, 0, 0.0),
            (PERCENT, 100, 100.0),
        ],
    )
    def test_values(self, kind, value, result):
        assert kind.convert(value, None, None) == result

    @pytest.mark.parametrize(
        ("value", "start", "end"),
        [
            ("2026-05-03", "2026-05-03", "2026-05-04"),
            ("2026-05-03 14:20", "2026-05-03 14:20", "2026-05-03 14:20:01"),
            ("2026-05-03T14:20:05", "2026-05-03 14:20:05", "2026-05-03 14:20:06"),
            (date(2026, 5, 3), "2026-05-03", "2026-05-04"),
            (datetime(2026, 5, 3, 14, 20), "2026-05-03 14:20", "2026-05-03 14:20:01"),
        ],
    )
    def test_moments(self, value, start, end):
        moment = self.WHEN.convert(value, None, None)
        assert (moment.start, moment.end) == (datetime.fromisoformat(start), datetime.fromisoformat(end))
        assert moment.whole_day == (moment.end - moment.start == timedelta(days=1))
        assert self.WHEN.convert(moment, None, None) is moment

    @pytest.mark.parametrize(
        ("kind", "value", "example"),
        [
            *(
                (option_types.Size(), value, "500GB")
                for value in ("5 bananas", "-5GB", "", "1e9", "10iB", "٣GB", -1, True)
            ),
            *(
                (option_types.DaysType(), value, "30")
                for value in ("0", 0, "-3d", -3, "1y", "1:30", "99999999d", True, "nan")
            ),
            *(
                (option_types.Duration(), value, "6h")
                for value in ("90", 90, "0s", "-3s", "6:00", "5 bananas", "", True)
            ),
            *((option_types.Duration(), value, "6h") for value in ("9999999999999999d", "1h 1e999s")),
            *(
                (option_types.When(), value, "2026-05-03")
                for value in ("", "today", "2026-13-01", "1969-12-31", "20260503")
            ),
            *(
                (option_types.When(), value, "2026-05-03")
                for value in ("2101-01-01", "2026-05-03 14", time(3), 3, True)
            ),
            (option_types.When(), datetime(2026, 5, 3, tzinfo=UTC), "2026-05-03"),
            *(
                (option_types.Percent(), value, "10")
                for value in ("101", "-1", "nan", "", "ten", "1e1", True)
            ),
        ],
    )
    def test_refusals_show_an_example(self, kind, value, example):
        with pytest.raises(
            click.BadParameter, match=rf"; write for example .*{example}|, for example {example}"
        ):
            kind.convert(value, None, None)

    @given(st.text(max_size=30) | st.from_regex(r"-?\d{1,30}(\.\d+)? ?[a-zA-Z%:]{0,6}", fullmatch=True))
    def test_any_text_is_a_value_or_a_refusal(self, text):
        for kind in (self.SIZE, self.DAYS, self.DURATION, self.WHEN, self.PERCENT):
            try:
                value = kind.convert(text, None, None)
            except click.BadParameter:
                continue
            assert kind.convert(value, None, None) == value or kind is self.SIZE

    @given(st.integers(0, 999), st.sampled_from(["", "k", "M", "G", "T", "P"]), st.booleans())
    def test_size_units(self, number, unit, binary):
        factor = (1024 if binary else 1000) ** " kMGTP".index(unit or " ")
        text = f"{number}{unit}{'i' if binary and unit else ''}B"
        assert self.SIZE.convert(text, None, None) == number * (factor if unit else 1)

    def test_names_for_the_help(self):
        command = click.Command("x", params=[click.Option(["--max-size"], type=self.SIZE)])
        assert re.search(r"--max-size\s+SIZE", command.get_help(click.Context(command)))


KEYS = {"": {"age", "codec"}, "archive": {"age", "codec"}}


class TestConfigFiles:
    @staticmethod
    def with_key(section: str, key: str) -> Config:
        return Config({section: {key: Value(1, Path("/etc/c.toml"))}}, (Path("/etc/c.toml"),))

    @pytest.mark.parametrize(
        ("section", "key", "message"),
        [
            ("archive", "agee", "/etc/c.toml: [archive] agee is not a key; did you mean age?"),
            ("", "codek", "/etc/c.toml: codek is not a key; did you mean codec?"),
            ("archiv", "age", "/etc/c.toml: [archiv] is not a section; did you mean archive?"),
            ("archive", "zzz", "/etc/c.toml: [archive] zzz is not a key"),
        ],
    )
    def test_an_unknown_key_is_named_with_the_nearest(self, section: str, key: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            config.check_keys(self.with_key(section, key), KEYS)
        assert caught.value.message == message
        assert caught.value.exit_code == 10

    def test_a_section_wins_over_the_common_part(self) -> None:
        common, own = Value(1, Path("a")), Value(2, Path("b"))
        files = Config({"": {"age": common, "codec": common}, "archive": {"age": own}})
        assert files.for_command("archive") == {"age": own, "codec": common}
        config.check_keys(files, KEYS)

    def test_a_camera_of_the_recorder_has_a_section_of_its_own(self, mocker: MockerFixture) -> None:
        parsed = {"record": {"pre": "1s", "yard": {"source": "x"}}, "camera": {"yard": {"age": 3}}}
        mocker.patch("camarchiver.config._parse", return_value=parsed)
        found = config.load(Path("c.toml"))
        assert {name: dict(values) for name, values in found.cameras("record").items()} == {
            "yard": {"source": config.Value("x", Path("c.toml"))}
        }
        assert set(found.for_command("record")) == {"pre"}
        config.check_keys(found, {"": {"pre"}, "record": {"pre", "source", "duration"}})
        parsed["record"]["yard"] = {"duration": "3s"}
        with pytest.raises(ConfigError, match=r"\[record.yard\] duration"):
            config.check_keys(
                config.load(Path("c.toml")), {"": set(), "record": {"pre", "source", "duration"}}
            )


class TestExitCodes:
    """The numbers are a contract: scripts and cron jobs compare them."""

    NUMBERS = (0, 1, 2, 3, 10, 11, 12, 13)

    def test_the_enum_is_the_contract(self) -> None:
        assert tuple(ExitCode) == self.NUMBERS
        assert (signal_code(15), is_signal_code(143), is_signal_code(13)) == (143, True, False)

    def test_help_is_made_of_it(self) -> None:
        sentence = exit_codes()
        assert sentence.startswith("Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 partly")
        assert re.findall(r"(?<![+\w])\d+(?= )", sentence) == [str(code) for code in self.NUMBERS]
        assert cli.epilog == sentence
