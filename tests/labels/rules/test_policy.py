"""The default label policy."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.wire import LabelPolicy

from app.labels import policy
from app.labels.policy import Resolution, Signal
from app.labels.verdicts import Context

TEXT = "It arrives tomorrow."
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

UP = {"kind": "thumbs", "value": "up"}
DOWN = {"kind": "thumbs", "value": "down"}
REWRITE = {"kind": "edit", "text": "It is lost, we send another one."}
COSMETIC = {"kind": "edit", "text": "it arrives tomorrow!"}
COPY, ACCEPT, REJECT, REGENERATE = ({"kind": kind} for kind in ("copy", "accept", "reject", "regenerate"))
PREFERRED, NOT_PREFERRED = {"kind": "preference", "rejected": "No."}, {"kind": "not_preferred"}


LATER = Context(as_of=NOON + timedelta(days=9))


def resolve(text: str | None, signals: list[Signal], context: Context = LATER, **changes) -> Resolution:
    return policy.resolve(LabelPolicy(**changes), text, signals, context)


def rating(value: float, minimum: float = 1, maximum: float = 5) -> dict:
    return {"kind": "rating", "value": value, "minimum": minimum, "maximum": maximum}


def resolution_of(*signals: tuple[str, dict], text: str | None = TEXT) -> Resolution:
    """Resolves a completion from its (actor, signal) pairs, sent a minute apart."""
    return resolve(
        text,
        [Signal(number, NOON + timedelta(minutes=number), actor, body) for number, (actor, body) in enumerate(signals)],
    )


@pytest.mark.parametrize(
    ("signal", "label", "weight", "reason"),
    [
        (UP, True, 1, "thumbs_up"),
        (DOWN, False, 1, "thumbs_down"),
        (REWRITE, False, 1, "edit_rewritten"),
        (COSMETIC, True, 1, "edit_cosmetic"),
        ({"kind": "edit", "text": TEXT}, True, 0.5, "edit_unchanged"),
        (rating(5), True, 1, "rating_high"),
        (rating(4), None, 0, "no_verdict"),
        (rating(3), False, 1, "rating_low"),
        (rating(9, 0, 10), True, 1, "rating_high"),
        (rating(8, 0, 10), None, 0, "no_verdict"),
        (rating(0, 0, 1), False, 1, "rating_low"),
        (PREFERRED, True, 1, "preferred"),
        (NOT_PREFERRED, False, 1, "not_preferred"),
        (ACCEPT, True, 0.5, "accept"),
        (COPY, True, 0.5, "copy"),
        (REJECT, False, 0.5, "reject"),
        (REGENERATE, False, 0.25, "regenerate"),
    ],
)
def test_one_signal_gives_its_label_weight_and_reason(signal, label, weight, reason):
    resolution = resolution_of(("ann", signal))

    assert (resolution.label, resolution.weight, resolution.reasons) == (label, weight, (reason,))


def test_who_changes_their_mind_counts_with_the_last_verdict():
    assert resolution_of(("ann", UP), ("ann", DOWN)).label is False
    assert resolution_of(("ann", UP), ("ann", DOWN), ("ann", UP)).label is True


def test_time_decides_what_is_last_not_the_place_in_the_log():
    late, early = Signal(1, NOON + timedelta(hours=1), "ann", DOWN), Signal(2, NOON, "ann", UP)

    assert resolve(TEXT, [late, early]).label is False


def test_the_place_in_the_log_decides_at_equal_times():
    assert resolve(TEXT, [Signal(2, NOON, "ann", UP), Signal(1, NOON, "ann", DOWN)]).label is True


@pytest.mark.parametrize(
    ("stronger", "weaker"), [(UP, REWRITE), (COSMETIC, rating(1)), (rating(5), NOT_PREFERRED), (PREFERRED, REJECT)]
)
def test_the_more_explicit_kind_of_an_actor_counts_whichever_came_first(stronger, weaker):
    assert resolution_of(("ann", stronger), ("ann", weaker)).label is True
    assert resolution_of(("ann", weaker), ("ann", stronger)).label is True


def test_a_signal_without_a_verdict_hides_no_other():
    assert resolution_of(("ann", rating(4)), ("ann", COPY)).reasons == ("copy",)


def test_the_majority_of_the_actors_decides():
    resolution = resolution_of(("ann", UP), ("bob", DOWN), ("eve", DOWN))

    assert (resolution.label, resolution.reasons) == (False, ("thumbs_down",))


def test_one_actor_has_one_voice_however_often_they_speak():
    assert resolution_of(("ann", UP), ("bob", DOWN), ("bob", UP), ("bob", DOWN)).label is None


def test_equal_sides_give_nothing():
    assert resolution_of(("ann", UP), ("bob", DOWN)).reasons == ("tie",)
    assert resolution_of(("ann", COPY), ("bob", REGENERATE), ("eve", REGENERATE)).label is None


def test_a_thumb_outweighs_what_was_done_without_judging():
    resolution = resolution_of(("ann", COPY), ("bob", DOWN))

    assert (resolution.label, resolution.weight) == (False, 1)


def test_the_reasons_begin_with_the_heaviest():
    resolution = resolution_of(("ann", COPY), ("bob", UP), ("eve", REJECT))

    assert (resolution.weight, resolution.reasons) == (1, ("thumbs_up", "copy"))


def test_a_rewrite_is_a_desirable_text_of_its_own():
    [rewrite] = resolution_of(("ann", REWRITE)).rewrites

    assert (rewrite.text, rewrite.weight, rewrite.position) == (REWRITE["text"], 1, 0)


def test_the_last_edit_of_an_actor_counts_and_equal_texts_are_one():
    other = {"kind": "edit", "text": "Nobody knows where it is, sorry."}
    resolution = resolution_of(("ann", other), ("ann", REWRITE), ("bob", REWRITE))

    assert [(rewrite.text, rewrite.position) for rewrite in resolution.rewrites] == [(REWRITE["text"], 1)]


def test_a_cosmetic_edit_gives_no_second_row():
    assert resolution_of(("ann", COSMETIC)).rewrites == ()


def test_an_edit_of_an_unknown_text_says_nothing():
    resolution = resolution_of(("ann", REWRITE), text=None)

    assert (resolution.label, resolution.rewrites) == (None, ())


ALL = [UP, DOWN, REWRITE, COSMETIC, COPY, REJECT, REGENERATE, PREFERRED, NOT_PREFERRED, rating(4), rating(1)]
_signals = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(ALL),
        st.integers(0, 3),
    ),
    max_size=8,
)  # fmt: skip


@given(_signals, st.randoms())
def test_the_order_in_which_signals_are_read_does_not_matter(drawn, random):
    signals = [
        Signal(number, NOON + timedelta(minutes=minute), actor, body)
        for number, (actor, body, minute) in enumerate(drawn)
    ]
    shuffled = list(signals)
    random.shuffle(shuffled)

    assert resolve(TEXT, shuffled) == resolve(TEXT, signals)


@given(_signals)
def test_a_label_has_a_weight_and_a_reason(drawn):
    resolution = resolution_of(*((actor, body) for actor, body, _ in drawn))

    assert (resolution.weight > 0) == (resolution.label is not None)
    assert resolution.reasons
