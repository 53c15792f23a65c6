"""Policy documents: one canonical form, and every mistake is reported with its pointer and rule."""

import json

import pytest
from thumbwheel import wire

from app.labels.policies.documents import document_of, read, sha256_of

SAYS = {"label": "desirable"}
UNDESIRABLE_ALONE = {
    "thumbs": {"up": None},
    "edit": {"unchanged": None, "cosmetic": None, "rewritten_text": None},
    "rating": {"high": None},
    "preference": {"preferred": None},
    "accept": None,
    "copy": None,
    "resolve": None,
}
DESIRABLE_ALONE = {
    "thumbs": {"down": None},
    "edit": {"rewrite": None},
    "rating": {"low": None},
    "preference": {"not_preferred": None},
    "flag": {},
    "reject": None,
    "regenerate": None,
    "escalate": None,
    "reopen": None,
}
INFLUENCE = {"share": 0.1, "rows": 10}


@pytest.mark.parametrize(
    ("policy", "pointer", "rule"),
    [
        ("up", "", "valid dictionary"),
        ({"signal": {}}, "/signal", "not permitted"),
        ({"name": ""}, "/name", "at least 1 character"),
        ({"name": "a\x00b"}, "/name", "NUL"),
        ({"signals": {"thumb": None}}, "/signals/thumb", "not permitted"),
        ({"signals": {"copy": {"label": "good"}}}, "/signals/copy/label", "'desirable' or 'undesirable'"),
        ({"signals": {"copy": {**SAYS, "weight": 0}}}, "/signals/copy/weight", "greater than 0"),
        ({"signals": {"copy": {**SAYS, "weight": 11}}}, "/signals/copy/weight", "less than or equal to 10"),
        ({"signals": {"copy": {**SAYS, "weight": 0.0001}}}, "/signals/copy/weight", "three decimals"),
        ({"signals": {"copy": {**SAYS, "within_hours": 2}}}, "/signals/copy", "without unless"),
        (
            {"signals": {"reopen": {"label": "undesirable", "unless": "reopen"}}},
            "/signals/reopen",
            "another reopen",
        ),
        ({"signals": {"copy": {**SAYS, "unless": "thumbs"}}}, "/signals/copy/unless", "'reopen'"),
        (
            {"signals": {"rating": {"thresholds": {"kind": "fixed", "desirable_from": 4}}}},
            "/signals/rating/thresholds/desirable_from",
            "outside of the scale",
        ),
        (
            {"signals": {"rating": {"thresholds": {"kind": "fixed", "desirable_from": 0.5, "undesirable_to": 0.5}}}},
            "/signals/rating/thresholds",
            "move them apart",
        ),
        ({"signals": {"rating": {"thresholds": {"kind": "mean"}}}}, "/signals/rating/thresholds", "'median'"),
        (
            {"signals": {"edit": {"cosmetic_from": 1.1}}},
            "/signals/edit/cosmetic_from",
            "less than or equal to 1",
        ),
        (
            {"signals": {"flag": {"a": {"flags": ["odd"], "says": None}, "b": {"flags": ["odd"], "says": None}}}},
            "/signals/flag",
            "leave it in one tier",
        ),
        ({"signals": {"flag": {"a": {"flags": [], "says": None}}}}, "/signals/flag/a/flags", "at least 1 item"),
        ({"signals": {"outcome": {"ok": {"yes": SAYS}}}}, "/signals/outcome/ok/yes", "not permitted"),
        ({"signals": UNDESIRABLE_ALONE}, "/signals", "nothing can become desirable"),
        ({"signals": DESIRABLE_ALONE}, "/signals", "nothing can become undesirable"),
        ({"precedence": ["thumbs"]}, "/precedence", "lacks edit"),
        ({"precedence": ["thumbs"] * 2}, "/precedence", "name each of"),
        ({"precedence": ["stars"]}, "/precedence/0", "'thumbs'"),
        (
            {"guards": {"influence": {"actor": {**INFLUENCE, "rows": 0.5}}}},
            "/guards/influence/actor/rows",
            "below one row",
        ),
        (
            {"guards": {"influence": {"prompt": {**INFLUENCE, "share": 0}}}},
            "/guards/influence/prompt/share",
            "greater than 0",
        ),
        (
            {"guards": {"influence": {"actor": {**INFLUENCE, "times_equal": 0.5}}}},
            "/guards/influence/actor/times_equal",
            "greater than or equal to 1",
        ),
        (
            {"guards": {"quarantine": {"burst": {"seconds": 0}}}},
            "/guards/quarantine/burst/seconds",
            "greater than 0",
        ),
        ({"guards": {"quarantine": {"one_way": {"share": 0.5}}}}, "/guards/quarantine/one_way/share", "0.5"),
        (
            {"guards": {"quarantine": {"ring": {"actors": 10**30}}}},
            "/guards/quarantine/ring/actors",
            "1000000000",
        ),
        (
            {"guards": {"duplicates": {"near": {"permutations": 1}}}},
            "/guards/duplicates/near/permutations",
            "16",
        ),
        ({"audit": {"minimum_precision": 1}}, "/audit/minimum_precision", "less than 1"),
    ],
)
def test_what_is_wrong_is_named_by_its_pointer_with_the_rule(policy, pointer, rule):
    faults = read(policy)

    assert isinstance(faults, list)
    found = {fault.pointer: fault.message for fault in faults}
    assert pointer in found, found
    assert rule in found[pointer]


def test_everything_that_is_wrong_is_named_at_once():
    faults = read({"name": "", "signals": {"copy": {"label": "good"}}, "precedence": [], "more": 1})

    assert isinstance(faults, list)
    assert [fault.pointer for fault in faults] == ["/name", "/signals/copy/label", "/precedence", "/more"]


def test_a_document_is_whole_and_read_again_it_is_the_same_policy():
    policy = read({"name": "support", "signals": {"copy": None}})

    assert isinstance(policy, wire.LabelPolicy)
    document = document_of(policy)
    assert document["signals"]["copy"] is None
    assert document["signals"]["accept"] == {"label": "desirable", "weight": 0.5, "unless": None, "within_hours": 24.0}
    assert read(json.loads(json.dumps(document))) == policy


def test_the_hash_is_that_of_the_meaning_not_of_how_it_is_written():
    written = read(
        {"precedence": list(wire.LabelPolicy().precedence), "signals": {"thumbs": {"up": {**SAYS, "weight": 1}}}}
    )
    other = read({"signals": {"thumbs": {"up": {**SAYS, "weight": 1.001}}}})

    assert isinstance(written, wire.LabelPolicy)
    assert isinstance(other, wire.LabelPolicy)
    assert sha256_of(written) == sha256_of(wire.LabelPolicy())
    assert sha256_of(other) != sha256_of(written)


def test_weights_are_kept_in_thousandths():
    policy = read({"signals": {"copy": {**SAYS, "weight": 0.1 + 0.2}}})

    assert isinstance(policy, wire.LabelPolicy)
    assert policy.signals.copy_ is not None
    assert policy.signals.copy_.weight == 0.3


def test_thresholds_are_fixed_unless_their_kind_is_said():
    policy = read({"signals": {"rating": {"thresholds": {"desirable_from": 0.75}}}})

    assert isinstance(policy, wire.LabelPolicy)
    assert policy.signals.rating.thresholds.model_dump() == {
        "kind": "fixed",
        "desirable_from": 0.75,
        "undesirable_to": 0.5,
    }
