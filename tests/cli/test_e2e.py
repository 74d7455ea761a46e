"""cli: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import ExitCode
from tests.commands import (
    COMMAND,
    DAY,
    KEYS,
    NAME,
    ONE,
    SOUND,
    Command,
    Put,
    archive,
    command,
    frames,
    installed,
    journal,
    media,
    on_a_terminal,
    on_screen,
    put_recent,
    snapshot,
    state_of,
    whole,
)
from tests.recordings import RecRun, rec_document


class TestTerminal:
    """What an operator sees; and cron, who has nothing."""

    def test_no_leaves_everything_and_yes_goes_on(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        said = on_a_terminal(b"n\n", "archive", tree)
        assert b"Go on? [y/N]" in said
        assert b"nothing was changed" in said
        assert source.exists()
        said = on_a_terminal(b"y\n", "archive", tree)
        assert b"archived: 1 clip" in said
        assert not source.exists()

    def test_an_empty_environment_is_enough(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        command = Path(sys.executable).with_name("camarchiver")
        done = subprocess.run(
            ["/usr/bin/env", "-i", str(command), "archive", str(tree)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, b"")

    def test_help_names_every_exit_code(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "camarchiver", "--help"], capture_output=True, text=True, timeout=60
        )
        page = (Path(__file__).parents[2] / "docs/interface.md").read_text(encoding="utf-8")
        codes = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
        assert codes == [str(code) for code in ExitCode]
        assert all(re.search(rf"[ ,]\s*{code}\s+{code.meaning[:4]}", done.stdout) for code in ExitCode)


class TestHelp:
    """The first things that a new user types."""

    @pytest.mark.parametrize("words", [(), ("hold",), ("config",)])
    def test_a_command_that_needs_another_word_prints_its_help(self, words: tuple[str, ...]) -> None:
        alone, asked = installed(*words), installed(*words, "--help")
        assert (alone.returncode, alone.stderr) == (ExitCode.USAGE, "")
        assert alone.stdout == asked.stdout
        assert alone.stdout.count("\n") > 15

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("archiv",), "Did you mean 'archive'?"),
            (("hold", "lst"), "Did you mean 'list'?"),
            (("help", "stats"), "Did you mean 'status'?"),
            (("archive", "--camra", "x"), "Did you mean"),
        ],
    )
    def test_the_nearest_word_is_named(self, words: tuple[str, ...], said: str) -> None:
        told = installed(*words)
        assert (told.returncode, told.stdout) == (ExitCode.USAGE, "")
        assert said in told.stderr
        assert re.search(r"see camarchiver[ \w]* --help", told.stderr)

    def test_help_and_version_in_every_spelling(self) -> None:
        assert installed("help", "hold", "add").stdout == installed("hold", "add", "-h").stdout
        assert installed("help").stdout == installed("--help").stdout
        assert installed("-V").stdout == installed("--version").stdout != ""
        every = installed("archive", "--help-all").stdout
        assert "--min-saving" in every and "--min-saving" not in installed("archive", "--help").stdout


class TestColor:
    """Colours are for terminals."""

    def test_by_terminal_variable_and_option(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4", b"x")
        words = ("archive", tree, "--camera", "frnt")
        assert "\x1b[33mnothing to do\x1b[0m" in on_screen(*words).screen
        assert "\x1b[33m" not in on_screen(*words, "--color", "never").screen
        assert "\x1b[33mnothing to do\x1b[0m" in installed(*words, "--color", "always").stdout
        assert "\x1b" not in installed(*words).stdout
        assert "\x1b[33m" in installed(*words, CAMARCHIVER_COLOR="always").stdout
        assert json.loads(installed(*words, "--color", "always", "--json").stdout)

    def test_quiet_prints_what_failed_and_nothing_else(self, put: Put, tree: Path) -> None:
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        put(f"{ONE}.mp4")
        told = installed("archive", tree, "-q")
        assert (told.returncode, told.stdout) == (ExitCode.PARTIAL, "")
        (line,) = told.stderr.splitlines()
        assert line.startswith(f"{DAY}/REO_bad_20260301081500.mp4: failed (damaged)")
        assert " ERROR " in (tree / "archiver.log").read_text()


class TestConfig:
    """`config check`, `show` and `init`."""

    def test_every_error_is_reported_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "own.toml"
        file.write_text(
            "agee = 3\n[archive]\nage = 'ages'\ncodec = 'vp9'\n[clenup]\nage = 1\n"
            "[cleanup]\nmax_size = 'big'\n"
            "[camera.front]\nage = 'x'\nagee = 3\n[patterns]\na = '('\nb = 'x'\n"
        )
        told = installed("config", "check", "--config", file, CAMARCHIVER_QUALTY="3", CAMARCHIVER_JOBS="many")
        assert (told.returncode, told.stdout) == (ExitCode.CONFIG, "")
        for said in (
            *("agee is not a key", "age: 'ages'", "codec: 'vp9'", "[clenup] is not a section", "'big'"),
            *("[camera.front] age", "[camera.front] agee", "pattern a ", "pattern b "),
            *("CAMARCHIVER_JOBS: 'many'", "CAMARCHIVER_QUALTY is a variable that no option reads"),
            "did you mean CAMARCHIVER_QUALITY?",
        ):
            assert said in told.stderr, said
        several = installed("archive", tmp_path, "--config", file, "--json")
        assert several.returncode == ExitCode.CONFIG
        messages = [error["message"] for error in json.loads(several.stdout)["errors"]]
        assert len(messages) == 4 and len(set(messages)) == 4

    def test_each_wrong_type_is_reported_once_with_its_section(self, tmp_path: Path) -> None:
        file = tmp_path / "own.toml"
        file.write_text(
            "timezone = 'Europe/Berlim'\n[archive]\nclean_output = 3\ndevice = 1.5\nlimit = true\n"
            "[camera.front]\nclock = 'soon'\nage = []\n[record]\nsensitivity = 'much'\n"
            "[record.source]\na = 1\n[record.yard]\nsource = 3\nschedules = ['']\n"
        )
        told = installed("config", "check", "--config", file)
        assert told.returncode == ExitCode.CONFIG
        assert "Traceback" not in told.stderr
        for said in (
            *(
                "timezone: timezone 'Europe/Berlim' is not known",
                "[archive] clean_output: 3 has the wrong type",
            ),
            *(
                "[archive] device: 1.5 has",
                "[archive] limit: true has",
                "[camera.front] clock",
                "[record.source] a",
            ),
            *(
                "[camera.front] age",
                "[record] sensitivity",
                "[record.yard] source",
                "[record.yard] schedules",
            ),
        ):
            assert told.stderr.count(said) == 1, (said, told.stderr)
        assert installed("archive", tmp_path, "--config", file).returncode == ExitCode.CONFIG

    def test_a_sound_file_and_known_variables_pass(self, tmp_path: Path) -> None:
        file = tmp_path / "own.toml"
        file.write_text("[archive]\nage = 3\n")
        known = {"CAMARCHIVER_JOBS": "2", "CAMARCHIVER_ARCHIVE_AGE": "9", "CAMARCHIVER_HOST_ID": "x"}
        told = installed("config", "check", "--config", file, **known)
        assert (told.returncode, told.stdout) == (0, f"{file}: sound\n"), told.stderr

    @pytest.mark.parametrize("command", ["archive", "cleanup", "watch", "record", "status"])
    def test_what_is_shown_can_be_written_into_a_file(self, tmp_path: Path, command: str) -> None:
        shown = installed("config", "show", command).stdout
        values = tomllib.loads(shown)
        assert values
        file = tmp_path / "own.toml"
        file.write_text(f"[{command}]\n{shown}")
        assert installed("config", "check", "--config", file).returncode == 0
        again = installed("config", "show", command, "--config", file).stdout
        assert tomllib.loads(again) == values
        if command == "archive":
            assert (values["age"], values["min_size"], values["encoder"]) == (30, 0, "auto")

    def test_the_file_to_start_with_is_valid_with_every_line_in_use(self, tmp_path: Path) -> None:
        file = tmp_path / "own.toml"
        assert installed("config", "init", file).returncode == 0
        assert installed("config", "check", "--config", file).returncode == 0
        text = re.sub(r"(?m)^# (?=\w+ = |\[)", "", file.read_text())
        for key in ("encoder", "quality", "jobs", "trash_root", "trash_age", "to"):
            assert re.search(rf"(?m)^{key} = ", text), key
        assert "camarchiver cleanup /camera -y" in text
        file.write_text(text)
        told = installed("config", "check", "--config", file)
        assert told.returncode == 0, told.stderr


class TestCompletion:
    """What shells ask the command for."""

    def completed(self, *words: object) -> list[str]:
        """The values for the last word, as bash is given them."""
        asked = " ".join(map(str, ("camarchiver", *words)))
        environment = {"COMP_WORDS": asked, "COMP_CWORD": str(len(words))}
        done = subprocess.run(
            [sys.executable, "-m", "camarchiver"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment, "_CAMARCHIVER_COMPLETE": "bash_complete"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [line.partition(",")[2] for line in done.stdout.splitlines() if line]

    def test_commands_and_cameras(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4", b"front")
        put(ONE.replace("front", "yard") + ".mp4", b"yard")
        assert self.completed("compl") == ["completion"]
        assert self.completed("archive", tree, "--camera", "") == ["front", "yard"]
        assert self.completed("why", "-C", tree, "--camera", "y") == ["yard"]
        assert self.completed("archive", tree / "missing", "--camera", "") == []
        for name in (b"REO_k\xfcche_20260301081500.mp4", b"REO_a\nb_20260301081500.mp4"):
            put(name, b"no shell can complete it")
        assert self.completed("archive", tree, "--camera", "") == ["front", "yard"]

    def test_ids_of_holds_and_runs(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        assert self.completed("restore", "-C", tree, "--run", "") == []
        document = json.loads(command("archive", tree, "--json"))
        assert self.completed("restore", "-C", tree, "--run", "") == [document["run"]]
        days = ("--from", "2026-03-01", "--to", "2026-03-01")
        name = command("hold", "add", "-C", tree, *days, "--reason", "x").split()[0]
        for action in ("remove", "export"):
            assert self.completed("hold", action, "-C", tree, name[:3]) == [name]

    @pytest.mark.parametrize(
        ("shell", "place"),
        [
            ("bash", "data/bash-completion/completions/camarchiver"),
            ("zsh", "data/zsh/site-functions/_camarchiver"),
            ("fish", "config/fish/completions/camarchiver.fish"),
        ],
    )
    def test_it_is_printed_or_installed(self, told: Command, tmp_path: Path, shell: str, place: str) -> None:
        homes = {"XDG_DATA_HOME": f"{tmp_path}/data", "XDG_CONFIG_HOME": f"{tmp_path}/config"}
        printed = told("completion", shell)
        assert (printed.returncode, printed.stderr) == (0, "")
        done = told("completion", shell, "--install", **homes)
        assert f"installed: {tmp_path}/{place}" in done.stdout
        assert (tmp_path / place).read_text() == printed.stdout
        (tmp_path / "file").touch()
        failed = told(
            "completion",
            shell,
            "--install",
            XDG_DATA_HOME=f"{tmp_path}/file",
            XDG_CONFIG_HOME=f"{tmp_path}/file",
        )
        assert (failed.returncode, "can't be written" in failed.stderr) == (ExitCode.STORAGE, True)


class TestLinksThatLeadToEachOther:
    def test_nothing_is_there(self, told: Command, tmp_path: Path, tree: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "other")
        (tmp_path / "other").symlink_to(link)
        tree.mkdir()
        for words, code in (
            (("status", link / "below"), ExitCode.STORAGE),
            (("archive", tree, "-o", link), ExitCode.STORAGE),
            (("page", tree, "--to", link / "pages"), ExitCode.USAGE),
        ):
            said = told(*words)
            assert (said.returncode, str(link) in said.stderr) == (code, True), (words, said)
            assert "Traceback" not in said.stderr


class TestNothingToDo:
    """What is printed if nothing is done."""

    @pytest.mark.parametrize("command", ["archive", "cleanup"])
    def test_a_wrong_folder_is_named_and_nothing_is_created_there(self, tmp_path: Path, command: str) -> None:
        wrong = tmp_path / "wrong"
        wrong.mkdir()
        (wrong / "letter.txt").write_text("x")
        told = installed(command, wrong, "-y")
        assert (told.returncode, told.stderr) == (0, "")
        assert f"there is no clip below {wrong}: name the cameras' folder as DIRECTORY" in told.stdout
        assert json.loads(installed(command, wrong, "-y", "--json").stdout)["status"] == "nothing"
        assert "name the cameras' folder" in installed(command, wrong, "--dry-run").stdout
        assert [path.name for path in wrong.iterdir()] == ["letter.txt"]

    def test_what_is_left_alone_is_counted_with_the_option_that_would_change_it(
        self, put: Put, tree: Path
    ) -> None:
        put(f"{ONE}.mp4", b"x")
        put(f"{DAY}/holiday.mp4", b"x")
        shown = on_screen("archive", tree, "--age", "9000")
        assert re.search(r"1  day folder too recent to be read; a smaller --age", shown.screen)
        shown = on_screen("archive", tree, "--camera", "frnt", piped=True)
        assert "1  no time in the name (no-timestamp), 1 B; [patterns]" in shown.stdout
        assert "1  not selected (filtered), 1 B; by --camera" in shown.stdout
        assert "did you mean front?" in shown.stdout
        assert "did you mean front?" in installed("archive", tree, "--camera", "frnt").stdout
        found = json.loads(installed("archive", tree, "--camera", "frnt", "--json").stdout)
        assert found["left_alone"]["filtered"]["clips"] == 1
        assert any("did you mean front?" in line for line in found["nothing"])

    def test_a_run_that_leaves_all_alone_for_good_reason_is_silent_under_cron(
        self, put: Put, tree: Path
    ) -> None:
        put(f"{ONE}.mp4", b"x")
        put(f"{DAY}/REO_yard_20260301081500.mp4")
        assert archive(tree, "--camera", "yard").returncode == 0
        for options in (("--age", "9000"), ("--camera", "yard"), ("--camera", "front", "--age", "9000")):
            told = installed("archive", tree, *options)
            assert (told.returncode, told.stdout, told.stderr) == (0, "", ""), options

    def test_an_empty_list_says_so(self, tmp_path: Path) -> None:
        assert "there are no holds" in installed("hold", "list", "-C", tmp_path).stderr
        assert "there is no clip in any tree" in installed("status", tmp_path).stdout


class TestJsonLog:
    """`--log-format json`, by option and by config file."""

    def test_every_line_names_run_and_clip(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        config, log = tmp_path / "config.toml", tmp_path / "json.log"
        config.write_text(f'log_format = "json"\nlog_file = "{log}"\n')
        done = archive(tree, "--json", "--config", config)
        assert done.returncode == ExitCode.PARTIAL
        assert archive(tree, "--log-format", "json", "--log-file", log, "-v").returncode == 0
        put_recent(put)
        removed = installed("cleanup", tree, "-y", "--trash-age", 0, "--config", config)
        assert removed.returncode == 0, removed.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        run = json.loads(done.stdout)["run"]
        told = {line["clip"]: line["message"] for line in lines if line["run"] == run}
        assert set(told) == {f"{ONE}.mp4", f"{DAY}/REO_bad_20260301081500.mp4"}
        assert "damaged" in told[f"{DAY}/REO_bad_20260301081500.mp4"]
        levels = {line["clip"]: line["level"] for line in lines if line["run"] == run}
        assert levels == {f"{ONE}.mp4": "info", f"{DAY}/REO_bad_20260301081500.mp4": "error"}
        gone = [line for line in lines if "trash-age" in line["message"]]
        assert [line["clip"] for line in gone] == [f"{ONE}.mp4"]

    def test_a_recorders_line_names_its_clip(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        ran = rec_run("--source", rec_twice, "--log-format", "json", "--duration", "14s")
        assert ran.returncode == 0, ran.stderr
        (line,) = (json.loads(each) for each in (tmp_path / "temp_clips/recorder.log").open())
        assert (line["run"], line["level"]) == (rec_document(ran)["run"], "info")
        assert line["clip"].startswith("motion_")


class TestRefusals:
    """What ends a run before it begins: the exit code, one document, and nothing changed."""

    @staticmethod
    def refused(tree: Path, code: int, *options: object, **environment: str) -> dict[str, Any]:
        """The one error of a run that was refused with this code, told in both ways."""
        before = whole(tree) if tree.is_dir() else {}
        told = installed("archive", tree, *options, **environment)
        assert (told.returncode, told.stdout) == (code, ""), told.stderr
        assert "Traceback" not in told.stderr
        machine = installed("archive", tree, *options, "--json", **environment)
        assert (machine.returncode, machine.stderr) == (code, "")
        found = json.loads(machine.stdout)
        assert set(found) == KEYS
        assert (found["format"], found["command"]) == (1, "archive")
        assert (found["status"], found["exit_code"]) == ("failed", code)
        (error,) = found["errors"]
        assert set(error) == {"code", "message", "hint"}
        assert error["message"] in told.stderr
        after = whole(tree) if tree.is_dir() else {}
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        own = ("archiver.log", "archived", f"archived/{STATE_FOLDER}", ".")
        assert {name for name in changed if not name.startswith(own)} == set()
        assert all(after.get(name) == value for name, value in before.items() if name.endswith(".mp4"))
        return dict(error)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--age", "5 bananas"), "age"),
            (("--min-size", "big"), "size"),
            (("--since", "yesterdayish"), "since"),
            (("--max-runtime", "soon"), "runtime"),
            (("--jobs", "0"), "jobs"),
            (("--limit", "0"), "limit"),
            (("--sidecar", "burn"), "sidecar"),
            (("--codec", "vp9"), "codec"),
            (("--nonsense",), "nonsense"),
            (("--delete",), "consent"),
            (("--delete", "--keep-source", "-y"), "exclude each other"),
            (("--delete", "--age", "0.5", "-y"), "age"),
        ],
    )
    def test_usage(self, put: Put, tree: Path, options: tuple[str, ...], said: str) -> None:
        put(f"{ONE}.mp4")
        assert said in self.refused(tree, 2, *options)["message"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("agee = 3\n", "did you mean age?"),
            ("[archive]\nkeep-source = true\n", "did you mean keep_source?"),
            ("[archve]\nage = 3\n", "did you mean archive?"),
            ("[archive]\nage = 'ages'\n", "age"),
            ("[archive]\ncodec = 'vp9'\n", "codec"),
            ("age = \n", "TOML"),
            ("[patterns]\nmine = '(?P<camera>.*)'\n", "mine"),
        ],
    )
    def test_config(self, put: Put, tree: Path, tmp_path: Path, text: str, said: str) -> None:
        put(f"{ONE}.mp4")
        file = tmp_path / "own.toml"
        file.write_text(text)
        message = self.refused(tree, 10, "--config", file)["message"]
        assert said in message
        if "[patterns]" not in text:
            assert str(file) in message

    def test_a_config_file_that_is_not_there(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        assert "no such config file" in self.refused(tree, 10, "--config", tmp_path / "no.toml")["message"]

    def test_the_users_own_config_file_is_found_and_named(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        file = tmp_path / "home/.config/camarchiver/config.toml"
        file.parent.mkdir(parents=True)
        file.write_text("[archive]\ncodecs = 'h264'\n")
        home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": ""}
        assert str(file) in self.refused(tree, 10, **home)["message"]

    @pytest.mark.parametrize(
        "options", [("--ffmpeg", "/nonexistent/ffmpeg"), ("--encoder", "nvenc"), ("--ffmpeg", "/bin/false")]
    )
    def test_no_encoder(self, put: Put, tree: Path, options: tuple[str, ...]) -> None:
        put(f"{ONE}.mp4")
        error = self.refused(tree, 12, *options)
        assert error["hint"]

    def test_the_marker_of_the_archive_is_gone(self, put: Put, tree: Path) -> None:
        """Where a disk is not mounted, its mount point is an empty folder."""
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0
        put(f"{DAY}/REO_back_20260301081500.mp4")
        (state_of(tree) / "volume").unlink()
        error = self.refused(tree, 13)
        assert "accept-volume" in error["hint"]
        (state_of(tree) / "volume").write_text("0" * 32 + "\n")
        assert "another source tree" in self.refused(tree, 13)["message"]

    def test_roots(self, put: Put, tree: Path, tmp_path: Path) -> None:
        file = put(f"{ONE}.mp4")
        assert "does not exist" in self.refused(tmp_path / "none", 13)["message"]
        assert "not a folder" in self.refused(file, 13)["message"]
        assert "inside its archive" in self.refused(tree, 2, "-o", tree)["message"]
        assert "inside its archive" in self.refused(tree, 2, "-o", tmp_path)["message"]
        assert "inside its trash" in self.refused(tree, 2, "--trash-root", tmp_path)["message"]
        assert "not a folder" in self.refused(tree, 13, "-o", file)["message"]
        assert not (tmp_path / "none").exists()

    def test_the_same_command_runs_already(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        code = (
            "import sys, pathlib\n"
            "from camarchiver.storage import run_lock\n"
            "from camarchiver.domain.clip import Trees\n"
            "root = pathlib.Path(sys.argv[1])\n"
            "trees = Trees(root, root / 'archived', root / '.deleted')\n"
            "with run_lock.exclusive(run_lock.file_of(trees, 'archive'), what='archive'):\n"
            "    print('locked', flush=True); sys.stdin.read()"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(tree)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        try:
            self.refused(tree, 11)
            assert installed("archive", tree, "--dry-run").returncode == 0
        finally:
            other.communicate()
        assert installed("archive", tree).returncode == 0


class TestCron:
    def test_an_empty_environment_archives_for_good(self, put: Put, tree: Path) -> None:
        """No HOME, no PATH, no locale; twice, as the second night follows the first."""
        put(f"{ONE}.mp4", SOUND)
        put(DAY.encode() + b"/REO_caf\xc3\xa9_20260301081500.mp4")
        command = ["/usr/bin/env", "-i", str(COMMAND), "archive", str(tree)]
        nights = [
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", timeout=120)
            for _ in range(2)
        ]
        assert [(night.returncode, night.stderr) for night in nights] == [(0, b""), (0, b"")]
        assert nights[0].stdout.count(b"archived ") == 2
        assert nights[1].stdout == b""
        assert len(list((tree / "archived" / DAY).glob("*.mp4"))) == 2

    def test_a_reader_that_goes_away_loses_nothing(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_back_20260301081500.mp4")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [str(COMMAND), "archive", str(tree)],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        os.close(writer)
        assert b"Traceback" not in done.stderr
        for name in ("front", "back"):
            relative = f"{DAY}/REO_{name}_20260301081500.mp4"
            source, made = tree / relative, tree / "archived" / relative
            assert source.exists() or frames(made) == 20

    def test_a_reader_that_goes_away_changes_no_exit_code(self, tree: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        for words in (("archive", tree / "none"), ("archive", tree / "none", "--json")):
            ran = subprocess.run([str(COMMAND), *words], timeout=60, stdout=writer, stderr=writer)
            assert ran.returncode == ExitCode.STORAGE
        os.close(writer)

    def test_without_any_standard_stream_no_file_gets_our_words(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        content = source.read_bytes()
        shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(COMMAND), "archive", str(tree)]
        assert subprocess.run(shell, timeout=120).returncode == 0
        assert frames(tree / "archived" / source.relative_to(tree)) == 20
        assert (tree / ".deleted/input" / source.relative_to(tree)).read_bytes() == content
        assert [line["event"] for line in journal(tree)] == ["archived", "trashed"]

    @pytest.mark.parametrize("name", ["Nowhere/Bad", "CET-1CEST,M3.5.0,M10.5.0/3", "/etc/passwd"])
    def test_a_time_zone_that_nobody_knows_is_told(self, put: Put, tree: Path, name: str) -> None:
        source = put(f"{ONE}.mp4")
        done = archive(tree, TZ=name)
        assert (done.returncode, done.stdout, source.exists()) == (ExitCode.CONFIG, "", True)
        assert repr(name) in done.stderr and "Traceback" not in done.stderr
        assert archive(tree, "--timezone", "UTC", TZ=name).returncode == 0


class TestScreen:
    """What an operator at a terminal sees and answers."""

    @pytest.mark.parametrize("answers", [b"n\n", b"\n", b"\x04", b"what\nn\n"])
    def test_anything_but_yes_leaves_everything(self, put: Put, tree: Path, answers: bytes) -> None:
        put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        before = snapshot(tree / "2026")
        shown = on_screen("archive", tree, "--delete", answers=answers)
        assert (shown.code, "nothing was changed" in shown.screen) == (ExitCode.FAILED, True), shown.screen
        assert snapshot(tree / "2026") == before
        assert media(tree / "archived") == []
        assert not (tree / ".deleted").exists()

    def test_ctrl_c_at_the_question_ends_the_run(self, put: Put, tree: Path) -> None:
        """At once, without a line to follow; and nothing has happened."""
        put(f"{ONE}.mp4")
        before = snapshot(tree / "2026")
        shown = on_screen("archive", tree, "--json", answers=b"\x03", piped=True)
        found = json.loads(shown.stdout)
        assert (shown.code, found["status"], found["exit_code"]) == (130, "stopped", 130), shown.screen
        assert snapshot(tree / "2026") == before
        assert media(tree / "archived") == []

    def test_yes_shows_plan_bars_and_report(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, answers=b"y\n")
        assert shown.code == 0
        plan, _, rest = shown.screen.partition("Go on?")
        assert "front" in plan
        assert "sources go to" in plan
        assert "run:" in rest
        assert "100%" in rest
        assert "\x1b[32marchived\x1b[0m: 1 clip" in rest

    def test_minus_y_does_not_ask(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "-y", "--delete")
        assert (shown.code, "Go on?" in shown.screen) == (0, False)
        assert "sources are deleted" in shown.screen
        assert not source.exists()

    def test_nothing_to_do_does_not_ask(self, put: Put, tree: Path) -> None:
        put(f"{DAY}/holiday.mp4")
        shown = on_screen("archive", tree)
        assert (shown.code, "Go on?" in shown.screen) == (0, False)

    def test_bars_and_questions_stay_out_of_a_pipe(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, answers=b"y\n", piped=True)
        assert shown.code == 0
        assert "run:" in shown.screen
        assert "archived: 1 clip" in shown.stdout
        assert not re.search(r"Go on|run:|[\r\x1b]|%\|", shown.stdout), shown.stdout

    def test_json_is_one_document_beside_the_question(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "--json", answers=b"y\n", piped=True)
        assert "Go on?" in shown.screen
        assert json.loads(shown.stdout)["exit_code"] == shown.code == 0

    def test_json_is_one_document_also_after_no(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "--json", answers=b"n\n", piped=True)
        found = json.loads(shown.stdout)
        assert set(found) >= KEYS
        assert (found["status"], found["exit_code"]) == ("failed", ExitCode.FAILED)
        assert shown.code == ExitCode.FAILED
        assert source.exists()

    def test_json_shows_the_plan_it_asks_about(self, put: Put, tree: Path) -> None:
        """On a terminal a changing command shows the plan and asks (docs/architecture.md, section 6)."""
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "--json", answers=b"n\n", piped=True)
        assert "front" in shown.screen.partition("Go on?")[0]

    def test_help_and_a_dry_run_never_ask(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        for words in (("archive", "--help"), ("archive", tree, "--dry-run")):
            shown = on_screen(*words)
            assert (shown.code, "Go on?" in shown.screen) == (0, False)


class TestConfigCommand:
    def test_each_value_and_where_it_comes_from(self, tmp_path: Path, told: Command) -> None:
        file = tmp_path / "c.toml"
        file.write_text('timezone = "UTC"\n[archive]\nage = 14\ncodec = "h264"\n')
        shown = told("config", "show", "--config", file, CAMARCHIVER_CODEC="av1").stdout
        lines = {line.split("=")[0].strip(): line for line in shown.splitlines()}
        assert lines["age"].split("= ")[1].startswith("14 ")
        assert lines["age"].endswith(f"# {file}")
        assert lines["codec"].split()[2:] == ['"av1"', "#", "environment"]
        assert lines["nice"].split()[2:] == ["19", "#", "default"]

    def test_a_cameras_password_is_not_shown(self, tmp_path: Path, told: Command) -> None:
        file = tmp_path / "c.toml"
        file.write_text('[record]\ndetect_source = "rtsp://admin:geheim/@10.0.0.7/x"\n')
        address = "rtsp://admin:gehe@im@10.0.0.7/x"
        shown = told("config", "show", "record", "--config", file, CAMARCHIVER_SOURCE=address).stdout
        assert shown.count("rtsp://***@10.0.0.7/x") == 2
        assert "gehe" not in shown
        address = "rtsp://10.0.0.7/user=admin&password=geheim?authbasic=geheim"
        shown = told("config", "show", "record", CAMARCHIVER_SOURCE=address).stdout
        assert "rtsp://10.0.0.7/user=admin&password=***?authbasic=***" in shown

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("[archive]\nagee = 1\n", "[archive] agee is not a key; did you mean age?"),
            ("[archive]\nage = 'many'\n", "age: 'many' is not an age"),
            ("[archive\n", "is not valid TOML"),
            ("[patterns]\nyard = '(?P<camera>x'\n", "yard"),
        ],
    )
    def test_a_wrong_file_is_named(self, tmp_path: Path, told: Command, text: str, complaint: str) -> None:
        file = tmp_path / "c.toml"
        file.write_text(text)
        checked = told("config", "check", "--config", file)
        assert checked.returncode == ExitCode.CONFIG
        assert complaint in checked.stderr

    def test_a_first_file_is_written_once_and_is_sound(self, tmp_path: Path, told: Command) -> None:
        file = tmp_path / "deep" / "c.toml"
        assert told("config", "init", file).returncode == 0
        assert told("config", "check", "--config", file).returncode == 0
        assert told("config", "init", file).returncode == ExitCode.CONFIG

    def test_a_pattern_of_the_owners_own_is_read(
        self, camera_tree: Path, told: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "c.toml"
        file.write_text("[patterns]\nyard = '(?P<camera>yard) (?P<time>\\d{8}-\\d{6})'\n")
        (camera_tree / f"2026/03/01/{NAME}.mp4").rename(camera_tree / "yard 20260301-081500.mp4")
        without = json.loads(told("archive", camera_tree, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in without["steps"]] == ["no-timestamp"]
        plan = json.loads(told("archive", camera_tree, "--dry-run", "--json", "--config", file).stdout)
        assert [(step["action"], step["camera"]) for step in plan["steps"]] == [("archive", "yard")]

    def test_how_each_name_of_a_tree_is_read(self, camera_tree: Path, told: Command, tmp_path: Path) -> None:
        file = tmp_path / "c.toml"
        unread = camera_tree / "yard" / "cam1 03.01.2026 8h15.mp4"
        unread.parent.mkdir()
        unread.touch()
        moment = datetime(2026, 1, 3, 8, 16, tzinfo=UTC).timestamp()
        os.utime(unread, (moment, moment))
        (camera_tree / "archived").mkdir()
        (camera_tree / "archived" / "holiday.mp4").touch()
        (camera_tree / "yard" / "hiv00001.mp4").touch()
        before = sorted(camera_tree.rglob("*"))
        asked = told("config", "names", camera_tree, "--timezone", "UTC")
        assert asked.returncode == 0
        reolink = r"1  Reolink, prefix REO +2026/03/01/\S+\n +-> camera \w+, 2026-03-01 08:15:00"
        assert re.search(reolink, asked.stdout)
        assert "Hikvision SD card and NAS: " in asked.stdout
        assert "camera cam1, 2026-01-03 08:15:00\n" in asked.stdout
        assert "holiday" not in asked.stdout
        assert sorted(camera_tree.rglob("*")) == before
        proposal = re.search(r"name1 = .*", asked.stdout)
        assert proposal
        file.write_text(f"[patterns]\n{proposal[0]}\n")
        again = told("config", "names", camera_tree, "--timezone", "UTC", "--config", file).stdout
        assert re.search(r"1  name1 +yard/cam1 ", again)
        assert "not read: 1 clip" in again

    def test_a_folder_without_clips_has_no_names(self, told: Command, tmp_path: Path) -> None:
        asked = told("config", "names", tmp_path)
        assert (asked.returncode, asked.stdout) == (0, f"{tmp_path}: no clips\n")
        assert told("config", "names", tmp_path / "gone").returncode == ExitCode.STORAGE

    def test_a_moved_archive_is_accepted_by_one_command(
        self, camera_tree: Path, told: Command, tmp_path: Path
    ) -> None:
        assert told("archive", camera_tree).returncode == 0
        (camera_tree / "archived").rename(tmp_path / "moved")
        stopped = told("archive", camera_tree)
        assert stopped.returncode == ExitCode.STORAGE
        assert "config accept-volume" in stopped.stderr
        assert told("config", "accept-volume", camera_tree, "-o", tmp_path / "new").returncode == 0
        assert told("archive", camera_tree, "-o", tmp_path / "new").returncode == 0
