"""policy: decisions and formats, without a disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.cleanup.past_limit import PastLimit
from camarchiver.domain.clip import Archived, Clip, Disposal, Fingerprint, Label, RemoteCopy, Tree
from camarchiver.domain.clocks import Clocks, is_doubtful, latest_time, parse_clock
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.memory import Failure, FolderFacts, Memory, Restored
from camarchiver.domain.motion import ClipMotion, MotionSpan
from camarchiver.domain.plan import Forecast
from camarchiver.domain.reason import MAY_REMOVE_LAST_COPY, Reason
from camarchiver.domain.steps import Archive, ArchiveStep, Keep, RemoveCopy, RemoveLeftover, RemoveSource
from camarchiver.naming.patterns import Names
from camarchiver.policy import (
    archive_rules,
    cleanup_rules,
    leftover_rules,
    ordering,
    room_rules,
    safety_brakes,
    size_goals,
)
from camarchiver.policy.archive_rules import ArchivePolicy, SignedRule
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy, Rank
from camarchiver.policy.leftover_rules import Leftover, LeftoverKind
from camarchiver.policy.safety_brakes import CameraTotals
from camarchiver.policy.size_goals import Freed, Goal, SizeGoalSolver
from tests.values import BERLIN, DAYS30, KEEPING, MONTH, NOW, ROOT, a_clip, an_entry


def decided(
    clip: Clip, policy: ArchivePolicy = MONTH, memory: Memory | None = None, **facts: object
) -> Archive | RemoveSource | Keep:
    known = FolderFacts(ROOT, clip.folder, (clip,), **facts)  # type: ignore[arg-type]  # by name
    (step,) = archive_rules.decide_archive(known, policy, memory or Memory(), NOW)
    return step


class TestPlan:
    """Every clip gets exactly one decision with a reason."""

    def test_an_old_clip_is_archived_below_its_date_folders(self) -> None:
        step = decided(a_clip())
        assert isinstance(step, Archive)
        assert (step.target, step.reason) == (
            "2026/03/01/REO_front_20260301081500.mp4",
            Reason.NOT_ARCHIVED,
        )

    @pytest.mark.parametrize(
        ("others", "any_camera", "reason"),
        [
            (("front",), False, Reason.PERHAPS_ARCHIVED),
            (("back", "front"), False, Reason.PERHAPS_ARCHIVED),
            (("back",), False, Reason.NOT_ARCHIVED),
            (("back",), True, Reason.PERHAPS_ARCHIVED),
            (("front later",), True, Reason.NOT_ARCHIVED),
            ((), True, Reason.NOT_ARCHIVED),
        ],
    )
    def test_an_archive_of_the_same_size_may_be_its_own(
        self, others: tuple[str, ...], any_camera: bool, reason: Reason
    ) -> None:
        clip = a_clip()
        policy = replace(MONTH, any_camera=any_camera)
        labels = tuple(
            Label(name.split()[0], clip.start.replace(tzinfo=None) + timedelta(seconds="later" in name))
            for name in others
        )
        step = decided(clip, policy, labels_of_same_size_and_time={clip.relative: labels} if labels else {})
        assert isinstance(step, Archive)
        assert (step.reason, step.any_camera) == (reason, any_camera)

    def test_a_flat_folder_gets_date_folders(self) -> None:
        step = decided(a_clip(folder="front"))
        assert isinstance(step, Archive)
        assert step.target == "front/2026/03/01/REO_front_20260301081500.mp4"

    @pytest.mark.parametrize(
        ("changed", "policy", "reason"),
        [
            ({"start": NOW - timedelta(days=29)}, MONTH, Reason.TOO_RECENT),
            ({"start": NOW + timedelta(days=2)}, MONTH, Reason.CLOCK_DOUBTFUL),
            ({"start": NOW + timedelta(days=2)}, ArchivePolicy(timedelta(0)), Reason.CLOCK_DOUBTFUL),
            ({}, replace(MONTH, cameras=frozenset({"yard"})), Reason.FILTERED),
            ({}, replace(MONTH, exclude=("2026/03/*",)), Reason.FILTERED),
            ({}, replace(MONTH, exclude=("REO_front*",)), Reason.FILTERED),
            ({}, replace(MONTH, min_size=1001), Reason.FILTERED),
            ({}, replace(MONTH, since=datetime(2026, 3, 2, tzinfo=UTC)), Reason.FILTERED),
            ({}, replace(MONTH, until=datetime(2026, 3, 1, 8, 15, tzinfo=UTC)), Reason.FILTERED),
        ],
    )
    def test_left_alone(self, changed: dict[str, object], policy: ArchivePolicy, reason: Reason) -> None:
        step = decided(a_clip(**changed), policy)
        assert isinstance(step, Keep)
        assert step.reason is reason

    @pytest.mark.parametrize(
        ("age_days", "still_seconds", "settled"),
        [(30, 59, False), (30, 61, True), (0, 599, False), (0, 601, True), (30, -61, True)],
    )
    def test_settled_means_a_minute_or_ten(self, age_days: int, still_seconds: int, settled: bool) -> None:
        written = int((NOW - timedelta(seconds=still_seconds)).timestamp() * 1e9)
        step = decided(
            a_clip(fingerprint=Fingerprint(1, 2, 1000, written)),
            ArchivePolicy(timedelta(days=age_days)),
        )
        assert isinstance(step, Archive) is settled
        assert settled or step.reason is Reason.NOT_SETTLED

    def test_archived_before_is_removed_without_encoding(self) -> None:
        clip = a_clip()
        known = {"archived": {clip.relative: (an_entry(clip),)}, "existing": frozenset({clip.relative})}
        step = decided(clip, **known)
        assert isinstance(step, RemoveSource)
        assert (step.disposal, step.reason) == (Disposal.TRASH, Reason.ALREADY_ARCHIVED)
        assert decided(clip, replace(MONTH, disposal=Disposal.KEEP), **known).reason is Reason.KEPT_SOURCE
        assert decided(clip, removable=False, **known).reason is Reason.KEPT_SOURCE

    def test_an_archive_that_does_not_stand_proves_nothing(self) -> None:
        clip = a_clip()
        assert decided(clip, archived={clip.relative: (an_entry(clip),)}).reason is Reason.NOT_ARCHIVED

    @pytest.mark.parametrize("other", [{"size": 999}, {"mtime_ns": 1}])
    def test_a_name_used_again_is_another_clip(self, other: dict[str, int]) -> None:
        clip = a_clip()
        step = decided(
            clip,
            archived={clip.relative: (an_entry(clip, **other),)},
            existing=frozenset({clip.relative}),
        )
        assert isinstance(step, Archive)

    def test_a_repeat_replaces_the_standing_archive_unless_it_is_a_remux(self) -> None:
        clip, repeat = a_clip(), replace(MONTH, repeat=True)
        entry = an_entry(clip)
        step = decided(clip, repeat, archived={clip.relative: (entry,)}, existing=frozenset({clip.relative}))
        assert isinstance(step, Archive)
        assert (step.reason, step.replaces) == (Reason.REPEAT_ASKED, entry)
        remux = {clip.relative: (an_entry(clip, remuxed=True),)}
        step = decided(clip, repeat, archived=remux, existing=frozenset({clip.relative}))
        assert step.reason is Reason.NOT_SMALLER

    @pytest.mark.parametrize(
        ("unencoded", "rule", "reason"),
        [
            ("picture-changes", SignedRule(), Reason.PICTURE_CHANGES),
            ("signed", SignedRule(), Reason.SIGNED),
            ("signed", SignedRule(reencode=True), Reason.REPEAT_ASKED),
            ("signed", SignedRule(cameras={"front": True}), Reason.REPEAT_ASKED),
            ("refused", SignedRule(), Reason.REPEAT_ASKED),
            ("of a later version", SignedRule(), Reason.NOT_SMALLER),
        ],
    )
    def test_a_repeat_of_a_lossless_copy(self, unencoded: str, rule: SignedRule, reason: Reason) -> None:
        clip, repeat = a_clip(), replace(MONTH, repeat=True, signed=rule)
        archived = {clip.relative: (an_entry(clip, remuxed=True, unencoded=unencoded),)}
        step = decided(clip, repeat, archived=archived, existing=frozenset({clip.relative}))
        assert step.reason is reason

    def test_a_held_clip_is_neither_encoded_nor_removed(self) -> None:
        clip = a_clip()
        hold = Hold("h1", clip.start + timedelta(minutes=59), clip.start + timedelta(hours=2))
        assert decided(clip, memory=Memory(holds=(hold,))).reason is Reason.HELD
        short = a_clip(duration=10.0)
        assert decided(short, memory=Memory(holds=(hold,))).reason is Reason.NOT_ARCHIVED
        other = replace(hold, camera="yard")
        assert decided(clip, memory=Memory(holds=(other,))).reason is Reason.NOT_ARCHIVED
        lapsed = replace(hold, until=NOW)
        assert decided(clip, memory=Memory(holds=(lapsed,))).reason is Reason.NOT_ARCHIVED

    @pytest.mark.parametrize(
        ("count", "hours", "waits"),
        [(1, 0.9, True), (1, 1.1, False), (2, 23, True), (3, 167, True), (4, 9999, True)],
    )
    def test_failures_wait_an_hour_a_day_a_week_for_ever(self, count: int, hours: float, waits: bool) -> None:
        clip = a_clip()
        failure = Failure(
            clip.fingerprint.size,
            clip.fingerprint.mtime_ns,
            count,
            NOW - timedelta(hours=hours),
            Reason.DAMAGED,
            "cut",
        )
        memory = Memory({clip.relative: failure})
        assert (decided(clip, memory=memory).reason is Reason.FAILED_BEFORE) is waits
        again = replace(MONTH, retry_failed=True)
        assert decided(clip, again, memory).reason is Reason.NOT_ARCHIVED
        changed = a_clip(fingerprint=Fingerprint(1, 2, 2000, clip.fingerprint.mtime_ns))
        assert decided(changed, memory=memory).reason is Reason.NOT_ARCHIVED

    @pytest.mark.parametrize(
        ("count", "hours", "waits"),
        [(1, 0.9, True), (1, 1.1, False), (2, 23, True), (3, 167, True), (3, 169, False), (9, 169, False)],
    )
    def test_a_removal_that_failed_waits_as_long_but_is_tried_each_week_for_ever(
        self, count: int, hours: float, waits: bool
    ) -> None:
        clip = a_clip()
        known = {"archived": {clip.relative: (an_entry(clip),)}, "existing": frozenset({clip.relative})}
        at = NOW - timedelta(hours=hours)
        failure = Failure(*clip.fingerprint.identity, count, at, Reason.KEPT_SOURCE, "sticky")
        memory = Memory({clip.relative: failure})
        step = decided(clip, memory=memory, **known)
        assert step.reason is (Reason.FAILED_BEFORE if waits else Reason.ALREADY_ARCHIVED)
        assert not isinstance(step, Keep) or step.detail.startswith("archived; sticky; next try ")
        again = decided(clip, replace(MONTH, retry_failed=True), memory, **known)
        assert isinstance(again, RemoveSource)
        assert decided(clip, memory=memory).reason is Reason.NOT_ARCHIVED, "its archive is gone"
        copy = Copy(clip, Tree.SOURCE, clip.relative, an_entry(clip), identity=clip.fingerprint.identity)
        policy = KEEPING
        answer = cleanup_rules.decide(copy, policy, memory, {}, clip.start + timedelta(days=400))
        assert isinstance(answer, RemoveCopy)
        answer = cleanup_rules.decide(copy, policy, memory, {}, NOW)
        assert isinstance(answer, cleanup_rules.Stay if waits else RemoveCopy)
        assert (cleanup_rules.rank(copy, policy, memory, {}, NOW) is None) is waits
        answer = cleanup_rules.decide_sidecar(copy, policy, memory, NOW, orphan=True)
        assert isinstance(answer, cleanup_rules.Stay if waits else RemoveCopy)

    def test_a_doubtful_clip_is_archived_and_keeps_its_source(self) -> None:
        uploaded = Fingerprint(1, 2, 1000, int((NOW - timedelta(days=40)).timestamp() * 1e9))
        clip = a_clip(start=datetime(2000, 1, 1, tzinfo=UTC), fingerprint=uploaded)
        step = decided(clip)
        assert isinstance(step, Archive)
        assert step.keeps_source
        known = {"archived": {clip.relative: (an_entry(clip),)}, "existing": frozenset({clip.relative})}
        assert decided(clip, **known).reason is Reason.CLOCK_DOUBTFUL
        right = Clocks({"front": parse_clock("mtime")}).applied(clip)
        assert isinstance(decided(right, **known), RemoveSource)
        lately = structs.replace(uploaded, mtime_ns=int((NOW.timestamp() - 7200) * 1e9))
        young = Clocks({"front": parse_clock("mtime")}).applied(structs.replace(clip, fingerprint=lately))
        assert decided(young).reason is Reason.TOO_RECENT

    def test_a_clock_that_is_ahead_is_archived_once_its_owner_says_so(self) -> None:
        uploaded = Fingerprint(1, 2, 1000, int((NOW - timedelta(days=40)).timestamp() * 1e9))
        clip = a_clip(start=NOW + timedelta(days=400), fingerprint=uploaded)
        assert decided(clip).reason is Reason.CLOCK_DOUBTFUL
        assert decided(Clocks(names_everywhere=True).applied(clip)).reason is Reason.CLOCK_DOUBTFUL
        for word in ("mtime", "-440d"):
            step = decided(Clocks({"front": parse_clock(word)}).applied(clip))
            assert isinstance(step, Archive)
            assert not step.keeps_source

    def test_what_was_observed_is_the_decision(self) -> None:
        clip = a_clip()
        seen = archive_rules.keep(clip, Reason.BUSY, "host vm")
        assert decided(clip, observed={clip.relative: seen}) is seen

    def test_the_oldest_clip_goes_first_whatever_its_folder_and_size(self) -> None:
        def step(folder: str, hour: int, size: int) -> Archive:
            start = datetime(2026, 3, 1, hour, tzinfo=UTC)
            print_of = Fingerprint(1, 2, size, 0)
            return Archive(a_clip(folder=folder, start=start, fingerprint=print_of), "x", Reason.NOT_ARCHIVED)

        steps = [step("yard", 1, 5), step("attic", 2, 9), step("yard", 3, 7), step("attic", 4, 1)]
        shuffled = [steps[2], steps[0], steps[3], steps[1]]
        assert sorted(shuffled, key=ordering.order_key) == steps

    def test_a_second_name_waits_for_everything_before(self) -> None:
        first = Archive(a_clip(), "a", Reason.NOT_ARCHIVED)
        second = Archive(a_clip(name="b"), "b", Reason.SAME_FILE)
        ordered = sorted([second, first], key=ordering.order_key)
        assert ordered == [first, second]

    def test_a_limit_counts_encodes_only(self) -> None:
        clip = a_clip()
        removal = RemoveSource(clip, Disposal.TRASH, Reason.ALREADY_ARCHIVED, an_entry(clip))
        encode = Archive(clip, "a", Reason.NOT_ARCHIVED)
        assert list(ordering.within_limit([removal, encode, encode], 1)) == [removal, encode]

    @given(
        st.lists(
            st.tuples(st.integers(0, 400), st.integers(0, 10_000), st.integers(1, 5000)),
            max_size=30,
        ),
        st.integers(0, 100),
    )
    def test_one_decision_each_and_the_same_facts_give_the_same_plan(
        self, seeds: list[tuple[int, int, int]], age: int
    ) -> None:
        clips = tuple(
            a_clip(
                name=f"REO_front_{index}.mp4",
                start=NOW - timedelta(days=days),
                fingerprint=Fingerprint(1, index, size, int((NOW.timestamp() - quiet) * 1e9)),
            )
            for index, (days, quiet, size) in enumerate(seeds)
        )
        facts = FolderFacts(ROOT, "2026/03/01", clips)
        policy = ArchivePolicy(timedelta(days=age))
        once = list(archive_rules.decide_archive(facts, policy, Memory(), NOW))
        assert once == list(archive_rules.decide_archive(facts, policy, Memory(), NOW))
        assert len(once) == len(clips)
        for clip, step in zip(clips, once, strict=True):
            if isinstance(step, Archive):
                assert clip.start <= NOW - policy.age
                assert NOW.timestamp() - clip.fingerprint.mtime_ns / 1e9 >= 59.9


A_TREE = st.sampled_from([Tree.SOURCE, Tree.ARCHIVE, Tree.TRASH])


def a_copy(
    tree: Tree = Tree.SOURCE,
    *,
    age: float = 40.0,
    camera: str = "front",
    archived: bool = True,
    mtime_off: float = 0.0,
    **more: Any,
) -> Copy:
    """A copy of a clip that was recorded so many days ago; its mtime is off by `mtime_off` days."""
    start = NOW - timedelta(days=age)
    mtime_ns = int((start + timedelta(days=mtime_off)).timestamp() * 1e9)
    name = f"REO_{camera}_{start:%Y%m%d%H%M%S}.mp4"
    size = more.pop("size", 1000)
    links = more.pop("links", 1)
    print_of = Fingerprint(1, more.pop("inode", int(age * 1000)), size, mtime_ns)
    clip = Clip(Path("/" + tree), "", name, camera, start, print_of, links)
    entry = Archived(name, 1000, mtime_ns, "d", name, 300, remuxed=False)
    fields: dict[str, Any] = {
        "archived": entry if archived or tree is Tree.ARCHIVE else None,
        "identity": (1000, mtime_ns),
        "since": NOW - timedelta(days=age - 1) if tree is Tree.TRASH else None,
        **more,
    }
    return Copy(clip, tree, name, **fields)


def told(copy: Copy, policy: CleanupPolicy = KEEPING, **known: Any) -> str:
    """Action and reason in short."""
    memory = Memory(holds=known.pop("holds", ()), restored=known.pop("restored", {}))
    step = cleanup_rules.decide(copy, policy, memory, known.pop("newest", {}), NOW)
    return in_short(step)


def in_short(step: RemoveCopy | cleanup_rules.Stay) -> str:
    """Action and reason."""
    return f"keep {step.reason}" if isinstance(step, cleanup_rules.Stay) else f"{step.disposal} {step.reason}"


def trusting_names(copy: Copy) -> Copy:
    """The copy, where the owner says that the times in the names are right."""
    return structs.replace(copy, clip=Clocks(names_everywhere=True).applied(copy.clip))


ARCHIVES_TOO = replace(KEEPING, clean_output=True)
OFFSITE = replace(
    KEEPING,
    offsite_counts=timedelta(days=30),
    limits=replace(KEEPING.limits, archive_age_offsite=timedelta(days=20)),
)


def an_offsite_copy(verified: float | None = 1.0) -> RemoteCopy:
    """An off-site copy that was verified so many days ago."""
    at = None if verified is None else NOW - timedelta(days=verified)
    return RemoteCopy("b2:cameras", "a.0123456789ab.mp4", "a.mp4", 300, "0123456789ab", at)


HARD = replace(KEEPING, limits=replace(KEEPING.limits, max_age_hard=timedelta(days=35)))


DAY_OLD = (LeftoverKind.STAGED, LeftoverKind.LOCK, LeftoverKind.FOLDER)
HOUR_OLD = (LeftoverKind.EMPTIED_FOLDER, LeftoverKind.STATE, LeftoverKind.SPOOLED)


def may_be_left(kind: LeftoverKind, hours: float, **known: Any) -> Leftover:
    """A file or folder that was last changed so many hours ago."""
    is_folder = kind is LeftoverKind.FOLDER
    fingerprint = None if is_folder else Fingerprint(1, 2, 30, 4)
    mtime = NOW.timestamp() - hours * 3600
    return Leftover(Path("/trees"), "2024/01/05", Tree.ARCHIVE, kind, mtime, fingerprint, **known)


class TestLeftovers:
    """Only what nobody can be about to fill or to finish is tidied away."""

    @pytest.mark.parametrize(
        ("kinds", "hours", "is_left"),
        [
            (DAY_OLD, 23.9, False),
            (DAY_OLD, 24.1, True),
            (HOUR_OLD, 0.9, False),
            (HOUR_OLD, 1.1, True),
            ((*DAY_OLD, *HOUR_OLD), 0, False),
            ((*DAY_OLD, *HOUR_OLD), -5, False),
        ],
    )
    def test_it_is_left_over_some_time_after_its_last_change(
        self, kinds: tuple[LeftoverKind, ...], hours: float, is_left: bool
    ) -> None:
        for kind in kinds:
            found = may_be_left(kind, hours)
            assert leftover_rules.is_leftover(kind, found.mtime, NOW) is is_left, kind

    @pytest.mark.parametrize("kind", HOUR_OLD)
    def test_an_hour_is_an_hour_in_the_night_when_clocks_go_forward(self, kind: LeftoverKind) -> None:
        now = datetime(2027, 3, 28, 3, 30, tzinfo=BERLIN)
        assert not leftover_rules.is_leftover(kind, now.timestamp() - 5, now)
        assert leftover_rules.is_leftover(kind, now.timestamp() - 3601, now)

    @pytest.mark.parametrize("kind", [LeftoverKind.STAGED, LeftoverKind.LOCK, LeftoverKind.SPOOLED])
    def test_a_file_goes_once_it_is_old_enough_and_nobody_uses_it(self, kind: LeftoverKind) -> None:
        found = may_be_left(kind, 25)
        step = RemoveLeftover(found.root, found.relative, Tree.ARCHIVE, Reason.LEFTOVER, found.fingerprint)
        assert leftover_rules.decide(found, NOW) == step
        assert leftover_rules.decide(may_be_left(kind, 25, in_use=True), NOW) is None
        assert leftover_rules.decide(may_be_left(kind, 0.5), NOW) is None

    def test_a_copy_of_a_recorder_that_is_dead_goes_at_any_time(self) -> None:
        for hours in (-5, 0, 400):
            assert leftover_rules.decide(may_be_left(LeftoverKind.COPIED, hours), NOW) is not None
            running = may_be_left(LeftoverKind.COPIED, hours, in_use=True)
            assert leftover_rules.decide(running, NOW) is None

    @pytest.mark.parametrize(
        ("days", "hours", "goes"), [(9, 25, True), (2, 25, True), (1, 25, False), (9, 23, False)]
    )
    def test_an_empty_folder_goes_if_its_day_is_over_and_it_was_untouched(
        self, days: int, hours: float, goes: bool
    ) -> None:
        found = may_be_left(LeftoverKind.FOLDER, hours, day=(NOW - timedelta(days)).date())
        step = RemoveLeftover(found.root, found.relative, Tree.ARCHIVE, Reason.EMPTY_FOLDER)
        assert leftover_rules.decide(found, NOW) == (step if goes else None)

    def test_an_empty_folder_without_a_day_stays(self) -> None:
        assert leftover_rules.decide(may_be_left(LeftoverKind.FOLDER, 9000), NOW) is None

    @pytest.mark.parametrize(("days", "is_over"), [(-1, False), (0, False), (1, False), (2, True), (9, True)])
    def test_the_folders_of_today_and_yesterday_may_be_filled(self, days: int, is_over: bool) -> None:
        assert leftover_rules.is_over((NOW - timedelta(days)).date(), NOW) is is_over
        assert not leftover_rules.is_over(None, NOW)


def shared(copy: Copy, *others: Copy) -> Copy:
    """An archive that is also that of other clips."""
    return structs.replace(copy, sharers=others)


QUIET = replace(KEEPING, limits=replace(KEEPING.limits, quiet_age=timedelta(days=14)))
QUIET_TOO = replace(QUIET, clean_output=True)


def with_motion(copy: Copy, motion: ClipMotion | None) -> Copy:
    """A copy whose archive was looked at."""
    assert copy.archived is not None
    return structs.replace(copy, archived=structs.replace(copy.archived, motion=motion))


class TestQuietAge:
    """Clips in which certainly nothing moves leave earlier."""

    @pytest.mark.parametrize(
        ("copy", "policy", "answer"),
        [
            (a_copy(age=15), QUIET, "trash quiet-age"),
            (a_copy(age=13), QUIET, "keep too-recent"),
            (a_copy(age=15), KEEPING, "keep too-recent"),
            (a_copy(age=31), QUIET, "trash age"),
            (a_copy(Tree.ARCHIVE, age=15), QUIET, "keep in-policy"),
            (a_copy(Tree.ARCHIVE, age=15), QUIET_TOO, "trash quiet-archive-age"),
            (a_copy(Tree.ARCHIVE, age=13), QUIET_TOO, "keep in-policy"),
            (a_copy(Tree.ARCHIVE, age=31), QUIET_TOO, "trash archive-age"),
            (a_copy(age=15, mtime_off=5), QUIET, "keep clock-doubtful"),
            (a_copy(Tree.ARCHIVE, age=15, damage="wrong-hash"), QUIET_TOO, "keep damaged"),
            (a_copy(Tree.ARCHIVE, age=15, made_by="r"), replace(QUIET_TOO, spared_run="r"), "keep in-policy"),
            (a_copy(Tree.TRASH, age=15), QUIET, "keep in-policy"),
        ],
    )
    def test_it_is_a_rule_like_those_by_age(self, copy: Copy, policy: CleanupPolicy, answer: str) -> None:
        assert told(with_motion(copy, ClipMotion()), policy) == answer

    @pytest.mark.parametrize(
        "motion",
        [
            None,
            ClipMotion(unsure=True),
            ClipMotion((MotionSpan(1, 2),)),
            ClipMotion((MotionSpan(1, 2),), unsure=True),
        ],
    )
    def test_what_moves_or_may_move_stays(self, motion: ClipMotion | None) -> None:
        assert told(with_motion(a_copy(age=15), motion), QUIET) == "keep too-recent"
        assert told(with_motion(a_copy(Tree.ARCHIVE, age=15), motion), QUIET_TOO) == "keep in-policy"

    def test_a_clip_without_an_archive_stays(self) -> None:
        policy = replace(QUIET, unarchived=True)
        assert told(a_copy(age=15, archived=False), policy) == "keep too-recent"

    def test_an_archive_that_clips_share_goes_only_if_it_is_time_for_each(self) -> None:
        old, young = (with_motion(a_copy(Tree.ARCHIVE, age=age), ClipMotion()) for age in (15, 13))
        assert told(shared(old, young), QUIET_TOO) == "keep in-policy"
        assert told(shared(old, old), QUIET_TOO) == "trash quiet-archive-age"

    def test_holds_restored_and_newest_clips_stay(self) -> None:
        copy = with_motion(a_copy(age=15), ClipMotion())
        hold = Hold("h", copy.clip.start, copy.clip.start + timedelta(minutes=1))
        back = {copy.source: Restored(*copy.identity, NOW - timedelta(days=6))}
        assert told(copy, QUIET, holds=(hold,)) == "keep held"
        assert told(copy, QUIET, restored=back) == "keep restored"
        assert told(copy, QUIET, newest={"front": copy.clip.start}) == "keep newest"

    def test_the_archive_of_a_trashed_source_is_still_needed(self) -> None:
        """A source goes to the trash by it only because its archive exists: no other copy is given up."""
        assert Reason.QUIET_AGE not in MAY_REMOVE_LAST_COPY
        assert Reason.QUIET_ARCHIVE_AGE in MAY_REMOVE_LAST_COPY


class TestRetention:
    """What goes, what stays, and why."""

    @pytest.mark.parametrize(
        ("copy", "policy", "answer"),
        [
            (a_copy(), KEEPING, "trash age"),
            (a_copy(), replace(KEEPING, delete=True), "delete age"),
            (a_copy(age=29), KEEPING, "keep too-recent"),
            (a_copy(mtime_off=15), KEEPING, "keep clock-doubtful"),
            (a_copy(mtime_off=-400), KEEPING, "keep clock-doubtful"),
            (a_copy(mtime_off=0.9), KEEPING, "trash age"),
            (a_copy(age=30.5, mtime_off=0.9), KEEPING, "keep too-recent"),
            (trusting_names(a_copy(mtime_off=15)), KEEPING, "trash age"),
            (a_copy(archived=False), KEEPING, "keep unarchived"),
            (a_copy(archived=False), replace(KEEPING, unarchived=True), "trash unarchived"),
            (
                a_copy(archived=False, mtime_off=-400),
                replace(KEEPING, unarchived=True),
                "keep clock-doubtful",
            ),
            (
                trusting_names(a_copy(archived=False, mtime_off=-400)),
                replace(KEEPING, unarchived=True),
                "trash unarchived",
            ),
            (a_copy(Tree.ARCHIVE), KEEPING, "keep in-policy"),
            (a_copy(Tree.ARCHIVE), ARCHIVES_TOO, "trash archive-age"),
            (a_copy(Tree.ARCHIVE, age=29), ARCHIVES_TOO, "keep in-policy"),
            (shared(a_copy(Tree.ARCHIVE), a_copy(Tree.ARCHIVE, age=29)), ARCHIVES_TOO, "keep in-policy"),
            (shared(a_copy(Tree.ARCHIVE, age=29), a_copy(Tree.ARCHIVE)), ARCHIVES_TOO, "keep in-policy"),
            (shared(a_copy(Tree.ARCHIVE), a_copy(Tree.ARCHIVE)), ARCHIVES_TOO, "trash archive-age"),
            (a_copy(Tree.ARCHIVE, made_by="r"), replace(ARCHIVES_TOO, spared_run="r"), "keep in-policy"),
            (a_copy(Tree.ARCHIVE, mtime_off=38), ARCHIVES_TOO, "keep clock-doubtful"),
            (a_copy(Tree.TRASH), KEEPING, "delete trash-age"),
            (a_copy(Tree.TRASH, age=21), KEEPING, "keep in-policy"),
            (a_copy(Tree.TRASH, archived=False), KEEPING, "keep last-copy"),
            (a_copy(Tree.ARCHIVE, damage="wrong-hash"), KEEPING, "keep damaged"),
            (a_copy(Tree.ARCHIVE, damage="wrong-hash"), ARCHIVES_TOO, "keep damaged"),
            (a_copy(Tree.ARCHIVE, age=36, damage="wrong-hash"), HARD, "delete max-age-hard"),
            (a_copy(Tree.TRASH, archived=False, given_up=True), KEEPING, "delete trash-age"),
            (a_copy(), replace(KEEPING, cameras=frozenset({"yard"})), "keep filtered"),
            (a_copy(), replace(KEEPING, exclude=("REO_front*",)), "keep filtered"),
            (a_copy(age=36, archived=False), HARD, "delete max-age-hard"),
            (a_copy(Tree.ARCHIVE, age=36), HARD, "delete max-age-hard"),
            (a_copy(Tree.TRASH, age=36, archived=False), HARD, "delete max-age-hard"),
            (a_copy(age=36, archived=False, mtime_off=10), HARD, "keep clock-doubtful"),
            (a_copy(age=60, mtime_off=10), HARD, "keep clock-doubtful"),
            (trusting_names(a_copy(age=36, mtime_off=10)), HARD, "delete max-age-hard"),
            (a_copy(age=34, archived=False), HARD, "keep unarchived"),
        ],
    )
    def test_by_age(self, copy: Copy, policy: CleanupPolicy, answer: str) -> None:
        assert told(copy, policy) == answer

    @pytest.mark.parametrize(
        ("copy", "policy", "answer"),
        [
            (a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy()), OFFSITE, "trash archive-age-offsite"),
            (a_copy(Tree.ARCHIVE, age=19, offsite=an_offsite_copy()), OFFSITE, "keep in-policy"),
            (
                a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(29.9)),
                OFFSITE,
                "trash archive-age-offsite",
            ),
            (a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(30)), OFFSITE, "keep in-policy"),
            (a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(-0.1)), OFFSITE, "keep in-policy"),
            (a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(None)), OFFSITE, "keep in-policy"),
            (a_copy(Tree.ARCHIVE, age=25), OFFSITE, "keep in-policy"),
            (
                a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy()),
                replace(OFFSITE, offsite_counts=None),
                "keep in-policy",
            ),
            (a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy()), KEEPING, "keep in-policy"),
            (
                a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(), is_sidecar=True),
                OFFSITE,
                "keep in-policy",
            ),
            (
                a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(), damage="wrong-hash"),
                OFFSITE,
                "keep damaged",
            ),
            (
                a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy(), made_by="r"),
                replace(OFFSITE, spared_run="r"),
                "keep in-policy",
            ),
            (
                a_copy(Tree.ARCHIVE, age=40, offsite=an_offsite_copy()),
                replace(OFFSITE, clean_output=True),
                "trash archive-age",
            ),
            (a_copy(Tree.TRASH, archived=False, offsite=an_offsite_copy()), OFFSITE, "delete trash-age"),
            (a_copy(Tree.TRASH, archived=False, offsite=an_offsite_copy(31)), OFFSITE, "keep last-copy"),
            (a_copy(Tree.TRASH, archived=False, offsite=an_offsite_copy()), KEEPING, "keep last-copy"),
            (a_copy(archived=False, offsite=an_offsite_copy()), OFFSITE, "keep unarchived"),
            (a_copy(Tree.OFFSITE, age=36, offsite=an_offsite_copy()), HARD, "delete max-age-hard"),
            (a_copy(Tree.OFFSITE, age=36, offsite=an_offsite_copy(None)), HARD, "delete max-age-hard"),
            (a_copy(Tree.OFFSITE, age=34, offsite=an_offsite_copy()), HARD, "keep in-policy"),
            (a_copy(Tree.OFFSITE, age=60, mtime_off=10), HARD, "keep clock-doubtful"),
        ],
    )
    def test_with_offsite_copies(self, copy: Copy, policy: CleanupPolicy, answer: str) -> None:
        assert told(copy, policy) == answer

    @pytest.mark.parametrize("tree", [Tree.ARCHIVE, Tree.TRASH])
    def test_a_last_local_copy_goes_only_with_the_copy_that_must_be_verified_again(self, tree: Tree) -> None:
        copy = a_copy(tree, archived=False, offsite=an_offsite_copy())
        step = cleanup_rules.decide(copy, OFFSITE, Memory(), {}, NOW)
        assert isinstance(step, RemoveCopy)
        assert (step.archived, step.offsite) == (None, copy.offsite)

    def test_a_copy_in_the_trash_whose_archive_is_here_needs_no_remote(self) -> None:
        step = cleanup_rules.decide(a_copy(Tree.TRASH, offsite=an_offsite_copy()), OFFSITE, Memory(), {}, NOW)
        assert isinstance(step, RemoveCopy)
        assert step.archived is not None
        assert step.offsite is None

    @pytest.mark.parametrize("order", [("front", "yard"), ("yard", "front")])
    def test_a_shared_archive_goes_as_the_strictest_of_its_clips_asks(self, order: tuple[str, str]) -> None:
        first, other = (a_copy(Tree.ARCHIVE, camera=each, offsite=an_offsite_copy()) for each in order)
        both = shared(first, other)
        only_offsite = replace(OFFSITE.limits, archive_age=timedelta(days=400))
        policy = replace(OFFSITE, clean_output=True, cameras_own={"yard": only_offsite})
        assert told(both, policy) == "trash archive-age-offsite"
        step = cleanup_rules.decide(both, policy, Memory(), {}, NOW)
        assert isinstance(step, RemoveCopy)
        assert step.offsite == first.offsite, "nothing proves that the copy is good"
        legal = replace(policy, cameras_own={"yard": replace(HARD.limits, max_age_hard=timedelta(days=35))})
        assert told(both, legal) == "delete max-age-hard"

    def test_a_held_copy_stays_in_the_remote(self) -> None:
        copy = a_copy(Tree.OFFSITE, age=36, offsite=an_offsite_copy())
        hold = Hold("h", copy.clip.start, copy.clip.start + timedelta(minutes=1))
        assert told(copy, HARD, holds=(hold,)) == "keep held"
        assert (
            told(
                a_copy(Tree.ARCHIVE, age=25, offsite=an_offsite_copy()),
                OFFSITE,
                holds=(Hold("h", NOW - timedelta(days=26), NOW),),
            )
            == "keep held"
        )

    def test_what_is_held_restored_or_newest_stays(self) -> None:
        copy = a_copy()
        hold = Hold("h", copy.clip.start, copy.clip.start + timedelta(minutes=1))
        back = {copy.source: Restored(*copy.identity, NOW - timedelta(days=6))}
        newest = {"front": copy.clip.start}
        assert told(copy, holds=(hold,)) == "keep held"
        assert told(copy, restored=back) == "keep restored"
        assert told(copy, newest=newest) == "keep newest"
        assert told(copy, HARD, holds=(hold,)) == "keep held"
        assert told(copy, HARD, restored=back, newest=newest) == "delete max-age-hard"
        long_ago = {copy.source: Restored(*copy.identity, NOW - timedelta(days=7))}
        assert told(copy, restored=long_ago) == "trash age"

    def test_a_cameras_own_limits(self) -> None:
        own = replace(KEEPING, cameras_own={"yard": replace(KEEPING.limits, age=timedelta(days=14))})
        assert told(a_copy(age=20, camera="yard"), own) == "trash age"
        assert told(a_copy(age=20, camera="front"), own) == "keep too-recent"

    def test_the_order_of_rules_by_size(self) -> None:
        everything = replace(ARCHIVES_TOO, unarchived=True)

        def rank(copy: Copy, policy: CleanupPolicy = everything) -> Rank | None:
            return cleanup_rules.rank(copy, policy, Memory(), {}, NOW)

        assert rank(a_copy(Tree.TRASH, age=0.1)) is Rank.TRASH
        assert rank(a_copy(age=0.1)) is Rank.SOURCE
        assert rank(a_copy(Tree.ARCHIVE, age=2)) is Rank.ARCHIVE
        assert rank(a_copy(archived=False, age=2)) is Rank.UNARCHIVED
        assert rank(a_copy(Tree.TRASH, archived=False, given_up=True)) is None
        assert rank(a_copy(Tree.ARCHIVE, age=0.9)) is None
        assert rank(a_copy(archived=False, age=0.9)) is None
        assert rank(a_copy(archived=False, mtime_off=-10)) is None
        assert rank(a_copy(Tree.ARCHIVE), KEEPING) is None
        assert rank(a_copy(Tree.ARCHIVE, damage="missing")) is None
        assert rank(a_copy(archived=False), KEEPING) is None
        assert rank(a_copy(mtime_off=-10)) is None
        assert rank(a_copy(Tree.TRASH, mtime_off=-10)) is None
        assert rank(trusting_names(a_copy(mtime_off=-10))) is Rank.SOURCE

    def test_a_file_with_two_names_comes_free_with_the_second(self) -> None:
        freed = Freed()
        assert [freed.by(a_copy(links=2, inode=7, size=50).clip) for _ in range(2)] == [0, 50]
        assert freed.on == {1: 50}

    @pytest.mark.parametrize(
        ("links", "trash", "on", "trashed"),
        [(1, 1, {}, {1: 50}), (1, 2, {1: 50, 2: -50}, {2: 50}), (2, 2, {}, {}), (2, 1, {}, {})],
    )
    def test_only_a_trash_on_another_disk_frees_bytes(
        self, links: int, trash: int, on: dict[int, int], trashed: dict[int, int]
    ) -> None:
        freed = Freed()
        freed.by_move(a_copy(links=links, size=50).clip, trash)
        assert (freed.on, freed.trashed) == (on, trashed)

    @pytest.mark.parametrize("delete", [False, True])
    def test_a_goal_takes_what_the_rules_by_age_do_not_delete(self, delete: bool) -> None:
        policy = replace(KEEPING, delete=delete)
        for copy, by_age, in_the_end in (
            (
                a_copy(age=40),
                "delete age" if delete else "trash age",
                "delete age" if delete else "delete max-size",
            ),
            (a_copy(age=3), "keep too-recent", "delete max-size"),
            (a_copy(age=40, archived=False), "keep unarchived", "keep unarchived"),
        ):
            step = cleanup_rules.decide(copy, policy, Memory(), {}, NOW)
            assert in_short(step) == by_age
            for excess, expected in ((1, in_the_end), (0, by_age)):
                solver = SizeGoalSolver([Goal(Reason.MAX_SIZE, excess, "")], Freed(), 1)
                answer = size_goals.decide_by_size(copy, step, solver, policy, Memory(), {}, NOW)
                assert in_short(answer) == expected

    @pytest.mark.parametrize(
        ("trash", "answer", "on", "trashed"),
        [(1, "delete free", {1: 2000}, {1: 0}), (2, "trash age", {1: 2000, 2: -2000}, {2: 2000})],
    )
    def test_what_a_move_to_another_disk_frees_is_not_counted_again(
        self, trash: int, answer: str, on: dict[int, int], trashed: dict[int, int]
    ) -> None:
        copy, freed = a_copy(size=2000), Freed()
        step = cleanup_rules.decide(copy, KEEPING, Memory(), {}, NOW)
        freed.by_move(copy.clip, trash)
        solver = SizeGoalSolver([Goal(Reason.FREE, 1000, "", device=1)], freed, trash)
        found = size_goals.decide_by_size(copy, step, solver, KEEPING, Memory(), {}, NOW)
        assert (in_short(found), freed.on, freed.trashed) == (answer, on, trashed)

    def test_a_limit_of_size_deletes_what_would_go_to_a_trash_on_another_disk(self) -> None:
        copy, freed = a_copy(size=2000), Freed()
        freed.by_move(copy.clip, 2)
        goals = [Goal(Reason.MAX_SIZE, 100, ""), Goal(Reason.FREE, 1000, "", device=1)]
        solver = SizeGoalSolver(goals, freed, 2)
        assert solver.take(copy.clip, moves=True) is Reason.MAX_SIZE
        assert (freed.on, freed.trashed, solver.unmet) == ({1: 2000, 2: 0}, {2: 0}, {goals[1]: 1000})

    def test_no_goal_takes_the_newest_clip_of_a_camera(self) -> None:
        copy = a_copy(age=3)
        newest = {"front": copy.clip.recorded}
        solver = SizeGoalSolver([Goal(Reason.MAX_SIZE, 1, "")], Freed(), 1)
        step = cleanup_rules.decide(copy, KEEPING, Memory(), newest, NOW)
        answer = size_goals.decide_by_size(copy, step, solver, KEEPING, Memory(), newest, NOW)
        assert in_short(answer) == "keep newest"

    def test_every_goal_counts_every_removal(self) -> None:
        goals = [
            Goal(Reason.MAX_SIZE, 1500, "", camera="yard"),
            Goal(Reason.MAX_SIZE, 3500, ""),
            Goal(Reason.MIN_FREE, 100, "", device=2),
        ]
        solver = SizeGoalSolver(goals, Freed(), 1)
        size = 1000 + size_goals.RECORD_BYTES
        taken = [
            solver.take(a_copy(age=age, camera=camera, size=size).clip)
            for age, camera in ((9, "front"), (8, "yard"), (7, "yard"), (6, "front"), (5, "yard"))
        ]
        assert taken == [Reason.MAX_SIZE] * 4 + [None]
        assert solver.unmet == {goals[2]: 100}

    def test_brakes(self) -> None:
        assert safety_brakes.brake({"front": CameraTotals(10, 100, 5, 50)}, KEEPING) == ""
        assert "6 of 10 clips of front" in safety_brakes.brake(
            {"front": CameraTotals(10, 100, 6, 50)}, KEEPING
        )
        assert "clips of front" in safety_brakes.brake({"front": CameraTotals(10, 100, 1, 51)}, KEEPING)
        assert (
            safety_brakes.brake({"front": CameraTotals(10, 100, 9, 90)}, replace(KEEPING, allow_large=True))
            == ""
        )
        many = {"front": CameraTotals(20_000, 100, 5001, 10)}
        assert "max_removals (5,000)" in safety_brakes.brake(many, KEEPING)
        assert safety_brakes.brake(many, replace(KEEPING, max_removals=5001)) == ""

    def test_a_damaged_archive_is_no_clip_that_could_be_lost(self) -> None:
        assert size_goals.loses(a_copy(Tree.ARCHIVE))
        assert not size_goals.loses(a_copy(Tree.ARCHIVE, damage="wrong-hash"))

    @pytest.mark.parametrize(("days", "far"), [(0, False), (365, False), (366, True), (-366, True)])
    def test_a_clock_that_is_far_off(self, days: int, far: bool) -> None:
        assert bool(safety_brakes.clock_is_far({"front": NOW - timedelta(days=days)}, NOW)) is far
        assert safety_brakes.clock_is_far({}, NOW) == ""

    @pytest.mark.parametrize(
        ("orphan", "age", "policy", "answer"),
        [
            (True, 2, KEEPING, "trash orphan-picture"),
            (True, 0.5, KEEPING, "keep too-recent"),
            (False, 2, KEEPING, "keep picture-only"),
            (True, 2, replace(KEEPING, keep_sidecars=True), "keep in-policy"),
            (False, 36, HARD, "delete max-age-hard"),
        ],
    )
    def test_pictures_without_a_clip(
        self, orphan: bool, age: float, policy: CleanupPolicy, answer: str
    ) -> None:
        step = cleanup_rules.decide_sidecar(
            a_copy(age=age, archived=False, is_sidecar=True), policy, Memory(), NOW, orphan=orphan
        )
        assert in_short(step) == answer

    @given(
        st.data(),
        st.lists(
            st.tuples(
                A_TREE,
                st.floats(0, 100),
                st.sampled_from(["front", "yard"]),
                st.booleans(),
                st.sampled_from([0.0, 0.5, -3.0, 3.0, 60.0]),
                st.sampled_from(["", "", "wrong-hash"]),
            ),
            max_size=30,
        ),
        st.booleans(),
        st.booleans(),
    )
    def test_whatever_there_is_nothing_protected_goes(
        self,
        data: st.DataObject,
        found: list[tuple[Tree, float, str, bool, float, str]],
        clean_output: bool,
        unarchived: bool,
    ) -> None:
        copies = [
            a_copy(
                tree,
                age=age,
                camera=camera,
                archived=archived and not flaw,
                mtime_off=off,
                damage=flaw if tree is Tree.ARCHIVE else "",
            )
            for tree, age, camera, archived, off, flaw in found
        ]
        policy = replace(KEEPING, clean_output=clean_output, unarchived=unarchived)
        held = data.draw(st.sampled_from([*copies, None]))
        holds = (Hold("h", held.clip.start, held.clip.start, held.clip.camera),) if held else ()
        newest: dict[str, datetime] = {}
        for copy in copies:
            if copy.tree is not Tree.TRASH:
                newest[copy.clip.camera] = max(newest.get(copy.clip.camera, copy.clip.start), copy.clip.start)
        memory = Memory(holds=holds)
        for copy in copies:
            step = cleanup_rules.decide(copy, policy, memory, newest, NOW)
            assert step == cleanup_rules.decide(copy, policy, memory, newest, NOW)
            goes = isinstance(step, RemoveCopy) or (
                cleanup_rules.rank(copy, policy, memory, newest, NOW) is not None
            )
            live = copy.tree is not Tree.TRASH
            if goes:
                assert not copy.damage
                assert not is_doubtful(copy.clip, NOW)
                assert not holds or not held_by(copy.clip, holds, NOW)
                assert not (live and copy.clip.start == newest[copy.clip.camera])
                if live and (copy.tree is Tree.ARCHIVE or copy.archived is None):
                    assert clean_output if copy.tree is Tree.ARCHIVE else unarchived
                    assert latest_time(copy.clip) <= NOW - timedelta(days=1)
                if not live:
                    assert copy.archived is not None or copy.given_up
            if isinstance(step, RemoveCopy) and live:
                assert latest_time(copy.clip) <= NOW - DAYS30

    @given(
        st.lists(
            st.tuples(
                A_TREE,
                st.integers(2, 90),
                st.integers(1001, 9999),
            ),
            max_size=40,
        ),
        st.integers(0, 100_000),
    )
    def test_a_cap_is_met_with_the_cheapest_and_no_more_than_it_takes(
        self, found: list[tuple[Tree, int, int]], cap: int
    ) -> None:
        copies = [
            a_copy(tree, age=age + number / 1000, size=size) for number, (tree, age, size) in enumerate(found)
        ]
        total = sum(copy.clip.fingerprint.size for copy in copies)
        ranks = {id(c): cleanup_rules.rank(c, ARCHIVES_TOO, Memory(), {}, NOW) for c in copies}
        ordered = sorted(copies, key=lambda copy: (ranks[id(copy)] or 0, copy.clip.start))
        solver = SizeGoalSolver([Goal(Reason.MAX_SIZE, total - cap, "")], Freed(), 1)
        taken = [copy for copy in ordered if solver.take(copy.clip)]
        written = len(taken) * size_goals.RECORD_BYTES
        after = total - sum(copy.clip.fingerprint.size for copy in taken) + written
        assert solver.unmet or after <= cap
        if taken and not solver.unmet:
            last = taken[-1].clip.fingerprint.size - size_goals.RECORD_BYTES
            assert after + last > cap
        assert taken == ordered[: len(taken)]


class TestOrder:
    """Several hosts on one tree begin at different places."""

    @staticmethod
    def steps(count: int) -> list[ArchiveStep]:
        clips = [a_clip(name=f"{number:03}.mp4") for number in range(count)]
        removed = RemoveSource(clips[0], Disposal.TRASH, Reason.ALREADY_ARCHIVED, an_entry(clips[0]))
        second = Archive(clips[0], "again", Reason.SAME_FILE)
        return [removed, *(Archive(clip, clip.name, Reason.NOT_ARCHIVED) for clip in clips), second]

    def test_a_lone_host_keeps_the_order(self) -> None:
        steps = self.steps(9)
        assert list(ordering.rotated_start(steps, ordering.place_among("a", []))) == steps
        assert list(ordering.rotated_start(steps, ordering.place_among("a", ["a"]))) == steps

    def test_each_host_begins_elsewhere_and_does_all(self) -> None:
        hosts, steps = ["archive@nas", "archive@attic", "watch@nas"], self.steps(9)
        plans = [list(ordering.rotated_start(steps, ordering.place_among(host, hosts))) for host in hosts]
        assert sorted(int(each[1].clip.name[:3]) for each in plans) == [0, 3, 6]
        for each in plans:
            assert sorted(step.relative for step in each) == sorted(step.relative for step in steps)
            assert (each[0], each[-1]) == (steps[0], steps[-1])

    @given(st.integers(0, 60), st.lists(st.text(max_size=4), min_size=1, max_size=6, unique=True))
    def test_hosts_that_go_on_at_one_speed_never_meet(self, count: int, hosts: list[str]) -> None:
        steps = self.steps(count) if count else []
        plans = [
            list(ordering.rotated_start(steps, ordering.place_among(host, hosts)))[1:-1] for host in hosts
        ]
        for at in range(count // len(hosts)):
            assert len({each[at].relative for each in plans}) == len(hosts)

    def test_what_a_scan_finds_is_gone_round_from_different_places(self) -> None:
        paths = [f"2026/03/01/{number}.mp4" for number in range(200)]
        orders = [
            sorted(paths, key=lambda path, place=place: ordering.turn(path, place))
            for place in (ordering.place_among(host, "ab") for host in "ab")
        ]
        assert all(0 <= ordering.turn(path, ordering.place_among("b", "ab")) < 1 for path in paths)
        assert not set(orders[0][:80]) & set(orders[1][:80])
        assert orders[1].index(orders[0][0]) > 80


class TestRoom:
    """What stays free on a disk, and what a plan does to its disks."""

    GB = 10**9

    @pytest.mark.parametrize(
        ("asked", "total", "nightly", "least"),
        [
            (None, 2000 * GB, None, 64_000_000),
            (None, 2000 * GB, 30 * GB, 30 * GB),
            (None, 2000 * GB, 300 * GB, 100 * GB),
            (None, 1_000_000, 30 * GB, 50_000),
            (None, 1_000_000, None, 10_000),
            (500 * GB, 2000 * GB, 30 * GB, 500 * GB),
            (1, 2000 * GB, 30 * GB, 64_000_000),
        ],
    )
    def test_what_stays_free(self, asked: int | None, total: int, nightly: int | None, least: int) -> None:
        assert room_rules.floor(asked, total, nightly) == least

    @pytest.mark.parametrize(
        ("disks", "disposal", "frees"),
        [
            ((1, 1, 1), Disposal.TRASH, False),
            ((1, 1, 1), Disposal.DELETE, True),
            ((1, 1, 2), Disposal.TRASH, True),
            ((1, 1, 2), Disposal.KEEP, False),
            ((1, 2, 1), Disposal.DELETE, False),
        ],
    )
    def test_whether_archiving_makes_room(
        self, disks: tuple[int, int, int], disposal: Disposal, *, frees: bool
    ) -> None:
        assert room_rules.TreeDisks(*disks).frees(disposal) is frees

    @pytest.mark.parametrize(
        ("disks", "disposal", "freed", "trashed"),
        [
            ((1, 1, 1), Disposal.TRASH, {1: -250}, {1: 2000}),
            ((1, 1, 1), Disposal.DELETE, {1: 1750}, {}),
            ((1, 2, 1), Disposal.TRASH, {2: -250}, {1: 2000}),
            ((1, 1, 2), Disposal.TRASH, {1: 1750, 2: -2000}, {2: 2000}),
            ((1, 1, 1), Disposal.KEEP, {1: -250}, {}),
        ],
    )
    def test_what_a_plan_does_to_its_disks(
        self, disks: tuple[int, int, int], disposal: Disposal, freed: dict[int, int], trashed: dict[int, int]
    ) -> None:
        """A clip to archive and one that is archived already, 1000 bytes each; an archive takes a quarter."""
        tally = room_rules.RoomTally(disposal, room_rules.TreeDisks(*disks), 0.25)
        clip = a_clip()
        tally.add(Archive(clip, "x.mp4", Reason.NOT_ARCHIVED))
        tally.add(RemoveSource(clip, disposal, Reason.ALREADY_ARCHIVED, an_entry(clip)))
        assert (tally.freed, tally.trashed, tally.largest) == (freed, trashed, 1000)

    @pytest.mark.parametrize(
        ("free", "freed", "is_short"),
        [
            (5000, -2800, False),
            (5000, -2900, True),
            (2199, 5000, True),
            (2200, 5000, False),
        ],
    )
    def test_a_disk_is_short_if_the_first_clip_or_the_last_one_finds_no_room(
        self, free: int, freed: int, is_short: bool
    ) -> None:
        assert Forecast(ROOT, free, freed, floor=1200, reserve=1000).is_short is is_short
        assert not Forecast(ROOT, free, freed, reserve=1000).is_short

    def test_a_disk_lacks_the_clip_and_the_floor(self) -> None:
        assert room_rules.lacking(100, 1100, 10_000, 1000) == ""
        assert "1,000 stay free" in room_rules.lacking(100, 1099, 10_000, 1000)


class TestPastLimit:
    @pytest.mark.parametrize("moment", [-(10**12), 10**12])
    def test_a_file_time_that_no_clock_shows_ends_no_plan(self, mocker: MockerFixture, moment: int) -> None:
        """As SMB clients set it, and Btrfs stores it."""
        status = SimpleNamespace(st_mtime=float(moment), st_mtime_ns=moment * 10**9)
        mocker.patch("pathlib.Path.lstat", return_value=status)
        past = PastLimit(HARD, Names(), NOW)
        past.is_left(Keep(ROOT, "front/notes.txt", Reason.FOREIGN))
        assert bool([*past.problems()]) == (moment < 0)
        past.is_left(Keep(ROOT, "front/REO_front_20260301081500.mkv", Reason.FOREIGN))
        assert [*past.problems()], "its name says when it was recorded"
