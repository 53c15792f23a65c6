"""Documents of people are read within limits, and by YAML 1.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounded_yaml import MOST_BYTES, decoded, dump, load


def layers(first: str, layer: str) -> str:
    """Returns ten anchors, each of which repeats the one before it ten times."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {layer.format(','.join([f'*a{n - 1}'] * 10))}" for n in range(1, 10)]
    return "\n".join(lines)


BEYOND = {
    "aliases of aliases": (layers("[x, x]", "[{}]"), "more than 200,000 values"),
    "merges of merges": (layers("{x: 1}", "{{<<: [{}]}}"), "more than 200,000 values"),
    "an alias in its anchor": ("a: &a [*a]", "an alias within its own anchor"),
    "deep YAML": ("[" * 100_000, "nested more deeply than 50 levels"),
    "deep blocks of YAML": ("\n".join("  " * level + "a:" for level in range(60)), "nested more deeply than 50 levels"),
    "deep JSON": ('{"a":' * 100_000, "nested more deeply than 50 levels"),
    "many values of JSON": ("[" + "1," * 200_000 + "1]", "more than 200,000 values"),
    "many values of YAML": ("- 1\n" * 200_001, "more than 200,000 values"),
    "an open bracket": ("name: [", "line 1"),
    "a repeated key": ("name: a\nname: b", "line 2: name is there twice"),
    "an unknown alias": ("a: *unknown", "undefined alias"),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_a_document_beyond_the_limits_is_refused_with_the_rule(kind):
    text, rule = BEYOND[kind]

    with pytest.raises(ValueError, match=rule):
        load(text)


def test_a_file_that_is_too_large_or_no_text_is_refused():
    with pytest.raises(ValueError, match="larger than 4 MiB"):
        decoded(b"x" * (MOST_BYTES + 1))
    with pytest.raises(ValueError, match="not UTF-8"):
        decoded(b"\xff")


def test_aliases_and_merges_within_the_limits_are_read():
    assert load("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}


def test_numbers_and_booleans_are_those_of_yaml_1_2():
    text = "a: 12:30\nb: 010\nc: 1e3\nd: no\ne: 2024-01-01\nf: .5\ng: true"

    assert load(text) == {"a": "12:30", "b": 10, "c": 1000.0, "d": "no", "e": "2024-01-01", "f": 0.5, "g": True}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**12), 10**12)
        | st.text(st.characters(codec="utf-8"))
        | st.sampled_from(["1e3", "010", "no", "1:20", "~", ".5", "\x85", "a\u2028b"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), inner, max_size=3)
        ),
        max_leaves=5,
    )
)
def test_what_is_written_is_read_again(document):
    assert load(dump(document)) == document
