"""cli: decisions and formats, without a disk."""

from __future__ import annotations

import ast
import json
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from camarchiver import config
from camarchiver.cli import cli, run
from camarchiver.cli import types as option_types
from camarchiver.cli.commands.archive import archive as archive_command
from camarchiver.cli.conventions import own_patterns
from camarchiver.cli.help_page import HelpCommand, HelpGroup
from camarchiver.cli.retention_options import RetentionOptions
from camarchiver.cli.runs import template
from camarchiver.cli.runs.template import IncludedRun, Ready, RunOptions, RunResult, RunTask, run_task
from camarchiver.config import Config, Value
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Conclusion, Status
from camarchiver.domain.steps import Keep
from camarchiver.errors import (
    ConfigError,
    Declined,
    ExitCode,
    StorageError,
    UsageError,
    exit_codes,
    is_signal_code,
    signal_code,
)
from camarchiver.runtime.signals import Stop
from tests.values import NOW


class TestParams:
    SIZE, DAYS, DURATION = option_types.Size(), option_types.DaysType(), option_types.Duration()
    WHEN, PERCENT = option_types.TimeType(), option_types.Percent()

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
        ("value", "first", "last"),
        [
            ("2026-05-03", "2026-05-03T00:00:00", "2026-05-03T23:59:59.999999"),
            ("2026-05-03 14:20", "2026-05-03T14:20:00", "2026-05-03T14:20:59.999999"),
            ("2026-05-03 14:20:05", "2026-05-03T14:20:05", "2026-05-03T14:20:05.999999"),
            ("9:07", "2026-06-01T09:07:00", "2026-06-01T09:07:59.999999"),
            ("13:42", "2026-05-31T13:42:00", "2026-05-31T13:42:59.999999"),
            ("13:42:10", "2026-05-31T13:42:10", "2026-05-31T13:42:10.999999"),
        ],
    )
    def test_the_time_that_is_meant(self, value: str, first: str, last: str) -> None:
        """A clock time is the last time that it was that late."""
        found = option_types.TimeType(clock=True).convert(value, None, None).range(NOW)
        assert [each.replace(tzinfo=None).isoformat() for each in found] == [first, last]
        assert {each.tzinfo for each in found} == {NOW.tzinfo}

    @pytest.mark.parametrize("value", ["24:00", "1:2", "13.42", "3 pm"])
    def test_no_clock_time(self, value: str) -> None:
        with pytest.raises(click.BadParameter):
            option_types.TimeType(clock=True).convert(value, None, None)

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
                (option_types.TimeType(), value, "2026-05-03")
                for value in ("", "today", "2026-13-01", "1969-12-31", "20260503")
            ),
            *(
                (option_types.TimeType(), value, "2026-05-03")
                for value in ("2101-01-01", "2026-05-03 14", time(3), 3, True)
            ),
            (option_types.TimeType(), datetime(2026, 5, 3, tzinfo=UTC), "2026-05-03"),
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

    def test_an_empty_path_is_not_the_working_folder(self) -> None:
        kind = option_types.GivenPath(path_type=Path)
        assert kind.convert(".", None, None) == Path()
        with pytest.raises(click.BadParameter, match="an empty path can't be meant"):
            kind.convert("", None, None)

    @pytest.mark.parametrize("kind", [option_types.GivenText(), option_types.CameraNameType()])
    def test_an_empty_name_does_not_select_everything(self, kind: click.ParamType[str]) -> None:
        assert kind.convert("front", None, None) == "front"
        for empty in ("", " "):
            with pytest.raises(click.BadParameter, match="it is empty"):
                kind.convert(empty, None, None)

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
        (error,) = config.key_errors(self.with_key(section, key), KEYS)
        assert error.message == message
        assert error.exit_code == ExitCode.CONFIG

    def test_a_section_wins_over_the_common_part(self) -> None:
        common, own = Value(1, Path("a")), Value(2, Path("b"))
        files = Config({"": {"age": common, "codec": common}, "archive": {"age": own}})
        assert files.for_command("archive") == {"age": own, "codec": common}
        assert not [*config.key_errors(files, KEYS)]

    def test_a_camera_of_the_recorder_has_a_section_of_its_own(self, mocker: MockerFixture) -> None:
        parsed = {"record": {"pre": "1s", "yard": {"source": "x"}}, "camera": {"yard": {"age": 3}}}
        mocker.patch("camarchiver.config._parse", return_value=parsed)
        found = config.load(Path("c.toml"))
        assert {name: dict(values) for name, values in found.cameras("record").items()} == {
            "yard": {"source": config.Value("x", Path("c.toml"))}
        }
        assert set(found.for_command("record")) == {"pre"}
        assert not [*config.key_errors(found, {"": {"pre"}, "record": {"pre", "source", "duration"}})]
        parsed["record"]["yard"] = {"duration": "3s"}
        known = {"": set[str](), "record": {"pre", "source", "duration"}}
        (error,) = config.key_errors(config.load(Path("c.toml")), known)
        assert "[record.yard] duration" in error.message


class TestOwnPatterns:
    def test_each_that_is_wrong_is_named_with_its_file(self) -> None:
        texts = {"a": ["x"], "b": "(", "c": "x", "d": r"(?P<time>\d{14})", "e": 5}
        values = {name: Value(text, Path("/etc/c.toml")) for name, text in texts.items()}
        with pytest.raises(ConfigError) as caught:
            own_patterns(Config({"patterns": values}))
        said = [error.message for error in caught.value.each]
        assert [words.partition(" is ")[0].partition(" has ")[0] for words in said] == [
            f"/etc/c.toml: pattern {name}" for name in "abce"
        ]


class TestUserWithoutAHome:
    """As in a container that runs as a number: no HOME, and no account that has one."""

    @pytest.fixture(autouse=True)
    def homeless(self, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        mocker.patch("camarchiver.config.Path.home", side_effect=RuntimeError("no home directory"))

    def test_only_the_systems_file_is_read(self) -> None:
        assert config.default_files() == (config.SYSTEM_FILE,)

    @pytest.mark.parametrize("words", [["config", "init"], ["completion", "bash", "--install"]])
    def test_what_needs_a_home_says_so(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert run(words) == ExitCode.CONFIG
        assert "has no home folder" in capsys.readouterr().err


class TestValuesOfAConfigFile:
    """Every key of every command against every type that TOML has."""

    WRONG = (True, -5, 3.7, float("nan"), [], ["a", 1], [[1]], {"a": 1}, "", date(2026, 3, 1))
    FLAG, PATH = click.Option(["--x"], is_flag=True), click.Option(["--x"], type=click.Path())
    COUNT, TEXT = click.Option(["--x"], type=click.IntRange(min=0)), click.Option(["--x"])
    MANY = click.Option(["--x"], multiple=True)

    @pytest.mark.parametrize(
        ("option", "value", "said"),
        [
            (FLAG, 3, "3 has the wrong type; write true or false."),
            (FLAG, "yes", "'yes' has the wrong type; write true or false."),
            (PATH, False, "false has the wrong type; write a path in quotes."),
            (PATH, "", "'' has the wrong type; write a path in quotes."),
            (COUNT, True, "true has the wrong type; write a whole number."),
            (COUNT, 3.7, "3.7 has the wrong type; write a whole number."),
            (TEXT, 5, "5 has the wrong type; write a text in quotes."),
            (MANY, "front", "'front' is not a list; write it in brackets."),
            (MANY, [["front"]], "['front'] has the wrong type; write a text in quotes."),
        ],
    )
    def test_a_wrong_type_is_refused_with_the_right_one(
        self, option: click.Option, value: object, said: str
    ) -> None:
        with pytest.raises(click.BadParameter) as caught:
            option_types.from_toml(value, option)
        assert caught.value.message == said

    def test_right_types_are_left_as_they_are(self) -> None:
        for option, value in ((self.FLAG, True), (self.PATH, "/x"), (self.COUNT, 3), (self.MANY, ["a", "b"])):
            assert option_types.from_toml(value, option) == value
        since = click.Option(["--since"], type=option_types.TimeType())
        assert option_types.from_toml(date(2026, 3, 1), since) == "2026-03-01"

    def test_no_key_of_any_command_takes_a_wrong_type_for_another(self) -> None:
        """A value passes as what it is, or is refused; a list never becomes a text, nor `true` a number."""
        root = click.Context(cli)
        commands = [each for name in cli.list_commands(root) if (each := cli.get_command(root, name))]
        commands += [
            inner for each in commands if isinstance(each, click.Group) for inner in each.commands.values()
        ]
        for command in commands:
            for parameter, value in product(command.params, self.WRONG):
                try:
                    read = option_types.from_toml(value, parameter)
                    parameter.type_cast_value(root, read)
                except click.BadParameter:
                    continue
                assert isinstance(value, list | str) or type(read) in (type(value), str), (
                    parameter.name,
                    value,
                )
                assert not isinstance(value, bool) or parameter.type.name == "boolean", parameter.name
                is_command = isinstance(parameter.type, option_types.CommandType)
                assert not isinstance(value, list) or parameter.multiple or is_command, (
                    parameter.name,
                    value,
                )


class TestExitCodes:
    """The numbers are a contract: scripts and cron jobs compare them."""

    def test_the_enum_is_the_contract(self) -> None:
        """Nowhere else do tests of commands write the numbers."""
        assert {code.name: code.value for code in ExitCode} == {
            "DONE": 0,
            "FAILED": 1,
            "USAGE": 2,
            "PARTIAL": 3,
            "CONFIG": 10,
            "ALREADY_RUNNING": 11,
            "ENCODER": 12,
            "STORAGE": 13,
        }
        assert (signal_code(15), is_signal_code(143), is_signal_code(13)) == (143, True, False)

    def test_help_is_made_of_it(self) -> None:
        sentence = exit_codes()
        assert sentence.startswith("Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 partly")
        assert re.findall(r"(?<![+\w])\d+(?= )", sentence) == [str(code.value) for code in ExitCode]
        assert " ".join(sentence.split()) in " ".join(cli.get_help(click.Context(cli)).split())


class TestHelpPages:
    """What `--help` prints for each command."""

    ROOT = click.Context(cli, info_name="camarchiver", default_map={})

    def pages(self) -> Iterator[tuple[str, HelpCommand, click.Context]]:
        """Every command and every command within one, with its words and its context."""
        for name in cli.list_commands(self.ROOT):
            command = cli.get_command(self.ROOT, name)
            assert isinstance(command, HelpCommand), name
            context = click.Context(command, parent=self.ROOT, info_name=name)
            yield name, command, context
            inner = command.commands if isinstance(command, HelpGroup) else {}
            for word, each in inner.items():
                assert isinstance(each, HelpCommand), word
                yield f"{name} {word}", each, click.Context(each, parent=context, info_name=word)

    def test_each_has_three_examples_and_the_exit_codes_that_it_may_have(self) -> None:
        for name, command, context in self.pages():
            page = command.get_help(context)
            assert len(command.examples) == 3, name
            assert all(line in page for line, _ in command.examples), name
            said = " ".join(page.split()).rpartition("Exit codes: ")[2]
            assert all(f"{code} {code.meaning}" in said for code in command.codes), name

    def test_each_example_is_a_command_line_that_is_accepted(self) -> None:
        lines = [line for _, command, _ in self.pages() for line, _ in command.examples]
        lines += [line for line, _ in cli.examples]
        for line in lines:
            words = shlex.split(line.rpartition("camarchiver camarchiver ")[2] or line)
            words = words[: words.index("&&")] if "&&" in words else words
            if words[0] == "sudo":
                del words[0]
            if words[0] != "camarchiver":
                continue
            command: click.Command = cli
            context, rest = self.ROOT, words[1:]
            while isinstance(command, HelpGroup):
                _, found, rest = command.resolve_command(context, rest)
                assert found is not None, line
                command, context = found, click.Context(found, parent=context)
            parser = command.make_parser(context)
            parser.parse_args(list(rest))

    def test_each_that_takes_a_directory_takes_it_as_an_option_too(self) -> None:
        seen = []
        for name, command, context in self.pages():
            if not any(
                each.name == "directory" and isinstance(each, click.Argument) for each in command.params
            ):
                continue
            seen.append(name)
            first = ["x:y" for each in command.params if isinstance(each, click.Argument) and each.required]
            for words in (["/a"], ["-C", "/a"], ["--directory", "/a"], ["/a", "-C", "/a"]):
                own = click.Context(command, parent=context.parent, info_name=name)
                command.parse_args(own, [*first, *words])
                assert own.params["directory"] == Path("/a"), (name, words)
            with pytest.raises(click.UsageError, match="DIRECTORY is given twice: /a and -C /b"):
                command.parse_args(click.Context(command, info_name=name), [*first, "/a", "-C", "/b"])
        assert {"archive", "status", "config names", "doctor", "verify"} <= set(seen)

    def test_an_option_that_commands_share_has_one_letter(self) -> None:
        letters: dict[str, set[str]] = {}
        for _, command, _ in self.pages():
            for each in command.params:
                for name in (name for name in each.opts if name.startswith("--")):
                    others = set(each.opts) - {name}
                    assert letters.setdefault(name, others) == others, (command.name, name)
        assert letters["--dry-run"] == {"-n"}

    def test_a_command_with_many_options_shows_the_common_ones_first(self) -> None:
        context = click.Context(archive_command, parent=self.ROOT, info_name="archive")
        page = archive_command.get_help(context)
        named = re.findall(r"^  (?:-\w, )?(--[\w-]+)", page, re.MULTILINE)
        assert len(set(named) - {"--help", "--help-all"}) == 12
        assert re.search(r"\d+ more options: camarchiver archive --help-all", page)
        for name, command, _ in self.pages():
            known = {each for option in command.params for each in option.opts}
            assert command.common <= known, name
            assert len(command.params) <= 20 or command.common, name


class FakeRun:
    """A run whose plan is made of numbers: it notes what it is taken through."""

    def __init__(self, command: str = "archive", exit_code: ExitCode = ExitCode.DONE, steps: int = 2) -> None:
        self.command, self.exit_code, self.steps = command, exit_code, steps
        self.seen: list[str] = []
        self.refused = self.is_always_shown = False
        self.trouble: Exception | None = None

    def finished(self, word: str) -> RunResult:
        self.seen.append(word)
        return RunResult(
            Conclusion(Status.DONE if self.exit_code is ExitCode.DONE else Status.FAILED, self.exit_code),
            lambda more: (json.dumps({"command": self.command, "exit_code": self.exit_code, **more}),),
            lambda *, already_printed: (f"{self.command} is over",),
            prints_unattended=True,
        )

    @contextmanager
    def planned(self, _: Stop) -> Iterator[Ready]:
        self.seen.append("plan")
        if self.trouble is not None:
            raise self.trouble
        yield Ready(
            [a_clip_to_keep()] * self.steps,
            lambda: (f"{self.command} would do {self.steps}",),
            lambda stop, shown, tell: self.finished("perform"),
            lambda: self.finished("preview"),
            is_refused=self.refused,
            is_always_shown=self.is_always_shown,
        )

    def task(self, **more: Any) -> RunTask:
        return RunTask(self.command, f"run-of-{self.command}", self.planned, **more)


def a_clip_to_keep() -> Keep:
    return Keep(Path("/camera"), "a.mp4", Reason.TOO_RECENT, 1000, "front")


def run_of(**changed: Any) -> RunOptions:
    return RunOptions(**{"dry_run": False, "no_confirm": True, "as_json": False, **changed})


class TestTemplate:
    """The sequence of a run: plan, show, ask, do, report."""

    def test_a_dry_run_plans_and_says_and_does_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        fake = FakeRun()
        forbidden = RunTask("archive", "r", fake.planned, consent="it", check=lambda: pytest.fail("checked"))
        assert run_task("archive", run_of(dry_run=True, no_confirm=False), lambda: forbidden) == 0
        assert (fake.seen, capsys.readouterr().out) == (["plan", "preview"], "archive would do 2\n")
        assert run_task("archive", run_of(dry_run=True, as_json=True), lambda: fake.task()) == 0
        assert json.loads(capsys.readouterr().out)["dry_run"] is True

    def test_what_needs_consent_is_refused_where_nobody_can_be_asked(self) -> None:
        fake = FakeRun()
        with pytest.raises(UsageError, match="--delete needs consent and there is no terminal"):
            run_task("archive", run_of(no_confirm=False), lambda: fake.task(consent="--delete"))
        assert fake.seen == []

    def test_a_run_is_checked_locked_swept_planned_and_done_in_this_order(self) -> None:
        fake = FakeRun()

        @contextmanager
        def lock() -> Iterator[None]:
            fake.seen.append("lock")
            yield
            fake.seen.append("unlock")

        task = fake.task(
            lock=lock, check=lambda: fake.seen.append("check"), sweep=lambda: fake.seen.append("sweep")
        )
        assert run_task("archive", run_of(quiet=True), lambda: task) == 0
        assert fake.seen == ["check", "lock", "sweep", "plan", "perform", "unlock"]

    def test_an_answer_of_no_ends_it_before_anything_is_done(self, mocker: MockerFixture) -> None:
        mocker.patch.object(template, "may_ask", return_value=True)
        agreed = mocker.patch.object(template, "agreed", return_value=False)
        fake = FakeRun()
        with pytest.raises(Declined) as caught:
            run_task("archive", run_of(no_confirm=False), fake.task)
        assert caught.value.exit_code is ExitCode.FAILED
        assert fake.seen == ["plan"]
        for quiet in (FakeRun(steps=0), FakeRun()):
            quiet.refused = quiet.steps > 0
            run_task("archive", run_of(no_confirm=False), quiet.task)
            assert quiet.seen == ["plan", "perform"]
        assert agreed.call_count == 1

    @pytest.mark.parametrize("dry_run", [True, False])
    @pytest.mark.parametrize(
        ("own", "after", "code"),
        [
            (ExitCode.DONE, ExitCode.DONE, ExitCode.DONE),
            (ExitCode.DONE, ExitCode.PARTIAL, ExitCode.PARTIAL),
            (ExitCode.STORAGE, ExitCode.PARTIAL, ExitCode.STORAGE),
        ],
    )
    def test_a_run_that_follows_is_part_of_the_first(
        self, capsys: pytest.CaptureFixture[str], dry_run: bool, own: ExitCode, after: ExitCode, code: int
    ) -> None:
        first, second = FakeRun(exit_code=own), FakeRun("cleanup", after)
        task = first.task(following=(IncludedRun("cleanup", second.task),))
        assert run_task("archive", run_of(dry_run=dry_run, as_json=True), lambda: task) == code
        found = json.loads(capsys.readouterr().out)
        assert (found["exit_code"], found["cleanup"]["exit_code"]) == (code, after)
        assert second.seen == ["plan", "preview" if dry_run else "perform"]

    @pytest.mark.parametrize("failing", ["archive", "cleanup", "page"])
    def test_document_and_exit_code_of_three_runs_agree(
        self, capsys: pytest.CaptureFixture[str], failing: str
    ) -> None:
        first, *others = (
            FakeRun(name, ExitCode.PARTIAL if name == failing else ExitCode.DONE)
            for name in ("archive", "cleanup", "page")
        )
        task = first.task(following=tuple(IncludedRun(other.command, other.task) for other in others))
        assert run_task("archive", run_of(as_json=True), lambda: task) == ExitCode.PARTIAL
        found = json.loads(capsys.readouterr().out)
        assert (found["status"], found["exit_code"]) == (Status.FAILED, ExitCode.PARTIAL)
        assert {name: found[name]["exit_code"] for name in ("cleanup", "page")} == {
            other.command: other.exit_code for other in others
        }

    @pytest.mark.parametrize(
        ("trouble", "code"),
        [(StorageError("the disk is away"), ExitCode.STORAGE), (OSError(5, "I/O error"), ExitCode.STORAGE)],
    )
    def test_the_failure_of_a_run_that_follows_spoils_nothing(
        self, capsys: pytest.CaptureFixture[str], trouble: Exception, code: int
    ) -> None:
        first, second = FakeRun(), FakeRun("cleanup")
        second.trouble = trouble
        task = first.task(following=(IncludedRun("cleanup", second.task),))
        assert run_task("archive", run_of(), lambda: task) == code
        shown = capsys.readouterr()
        assert "archive is over" in shown.out
        assert "camarchiver: cleanup: " in shown.err

    @pytest.mark.parametrize("steps", [0, 2])
    def test_a_plan_that_leaves_out_what_was_asked_for_is_always_shown_to_everyone_but_a_program(
        self, capsys: pytest.CaptureFixture[str], steps: int
    ) -> None:
        fake = FakeRun(steps=steps)
        for fake.is_always_shown in (False, True):
            run_task("archive", run_of(quiet=True), fake.task)
            assert ("would do" in capsys.readouterr().err) == fake.is_always_shown
        run_task("archive", run_of(as_json=True), fake.task)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_signal_ends_long_planning_cleanly(self, dry_run: bool) -> None:
        seen: list[int | None] = []

        @contextmanager
        def planned(stop: Stop) -> Iterator[Ready]:
            signal.raise_signal(signal.SIGTERM)
            seen.append(stop.signal)
            with FakeRun(steps=0).planned(stop) as ready:
                yield ready

        # Not the default, which would end the tests if the run did not handle the signal.
        before = signal.signal(signal.SIGTERM, lambda *_: seen.append(None))
        try:
            task = RunTask("verify", "r", planned, planning_heeds_stop=True)
            assert run_task("verify", run_of(dry_run=dry_run), lambda: task) == 0
        finally:
            signal.signal(signal.SIGTERM, before)
        assert seen == [signal.SIGTERM]

    def test_no_other_run_asks_or_reports_to_monitoring(self) -> None:
        """docs/architecture.md, section 6, says which runs have a sequence of their own, and why."""
        sequence = {"agreed", "may_ask", "require_consent", "open_run_events"}
        found = {
            path.stem: {
                alias.name
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            & sequence
            for path in Path(template.__file__).parent.glob("*.py")
        }
        own = {name for name, imported in found.items() if imported}
        assert own == {"template", "watch", "record"}


class TestRetention:
    def test_an_option_that_cleanup_gets_is_one_of_archive_with_cleanup_too(
        self, mocker: MockerFixture
    ) -> None:
        """As docs/architecture.md says how to add one."""

        class WithSundays(RetentionOptions, frozen=True):
            keep_sundays: bool

        sundays = click.Option(["--keep-sundays"], is_flag=True)
        mocker.patch.object(archive_command, "params", [*archive_command.params, sundays])
        mocker.patch("camarchiver.cli.retention_options.RetentionOptions", WithSundays)
        policy = mocker.patch.object(WithSundays, "policy", autospec=True)
        ran = mocker.patch("camarchiver.cli.runs.archive.run_archive", return_value=0)

        def archive(*words: str) -> None:
            cli.main(["archive", "/camera", *words], standalone_mode=False)

        archive("--cleanup", "--keep-sundays")
        ((retention, _), _) = policy.call_args
        assert retention.keep_sundays
        assert ran.call_args.args[0].cleanup is policy.return_value
        archive()
        assert ran.call_args.args[0].cleanup is None
        with pytest.raises(UsageError, match="--keep-sundays does nothing without --cleanup"):
            archive("--keep-sundays")
