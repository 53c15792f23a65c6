"""Snapshots with what users' edits kept of undesirable completions, and without it."""

import pyarrow.parquet as pq
import pytest
from thumbwheel import wire

from app.database import transaction
from app.feedback import service as feedback
from app.projects.tables import Project
from app.snapshots import service as snapshots
from app.snapshots.redactions.rewrite import without
from tests.bare_project import CONFIGURATION
from tests.logged import store

P = "desk"
RULES = wire.SnapshotRules(minimum_per_class=5, holdout_share=0.2)
ORIGINAL = "We deliver within two days. Bye."


@pytest.fixture(autouse=True)
def _project(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))


def event(number: int, signal: dict, actor: str = "ann", **more) -> dict:
    prompt = f"Question {number}?"
    text = {"prompt": prompt, "completion": ORIGINAL if number >= 100 else f"Answer {number}.", **more}
    return {"completion_id": f"c{number:03}", "actor": f"{actor} {number}", "signal": signal, **text}


def edit(number: int, text: str, actor: str = "ann", **more) -> dict:
    return event(number, {"kind": "edit", "text": text}, actor, **more)


def build(folder, **how) -> snapshots.Built:
    with transaction() as session:
        watermark = feedback.watermark(session, P)
        return snapshots.build(
            session, P, RULES, "tkto", watermark=watermark, seed=1, shipped_checkpoint_id=None, folder=folder, **how
        )


def rows_of(folder) -> dict[str, dict]:
    rows = [row for path in folder.glob("*-*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["completion_id"]: row for row in rows}


def say() -> None:
    thumbs = [event(n, {"kind": "thumbs", "value": "up" if n % 2 else "down"}) for n in range(60)]
    chat = [{"role": "user", "content": "When?"}]
    store(
        P,
        [
            *thumbs,
            edit(100, "We deliver within three weeks. Bye."),
            # Two actors changed different parts.
            edit(101, "We deliver within three weeks. Bye."),
            edit(101, "We send it within two days. See you soon.", "bob"),
            # A thumb is the reason of the label, and the edit shows where the fault is.
            edit(102, "We deliver within 3 days. Bye. Thanks for asking."),
            event(102, {"kind": "thumbs", "value": "down"}),
            edit(103, "We deliver within three weeks. Bye.", prompt=chat),
            # The edit of a reply that most people like
            edit(104, "We deliver within three weeks. Bye."),
            *(event(104, {"kind": "thumbs", "value": "up"}, actor) for actor in ("bob", "eve")),
        ],
    )


def kept_in(row: dict, text: str = ORIGINAL) -> tuple[str, bool]:
    """Returns the kept parts of the row's completion, and whether its end was kept."""
    parts = [text[span["start"] : span["end"]] for span in row["kept"]["spans"]]
    return "|".join(parts), row["kept"]["ending"]


def test_undesirable_rows_have_what_all_of_their_edits_kept(tmp_path):
    say()

    built = build(tmp_path / "snapshot", kept_spans=True)

    rows = rows_of(tmp_path / "snapshot")
    kept = {name: kept_in(row) for name, row in rows.items() if row["kept"] is not None}
    assert kept == {
        "c100": ("We deliver within|. Bye.", True),
        "c101": ("We| within|.", False),
        "c102": ("We deliver within| days. Bye.", False),
        "c103": ("We deliver within|. Bye.", True),
    }
    assert not any(rows[name]["label"] for name in kept)
    edits = built.manifest["edits"]
    assert sum(part["rows"] for part in edits.values()) == 4
    assert sum(part["characters"] for part in edits.values()) == 4 * len(ORIGINAL)
    assert sum(part["kept_characters"] for part in edits.values()) == sum(
        len(text.replace("|", "")) for text, _ in kept.values()
    )
    assert "## Edits" in (tmp_path / "snapshot" / "card.md").read_text()


def test_rows_that_stay_after_an_erasure_keep_their_column(tmp_path):
    say()
    built = build(tmp_path / "snapshot", kept_spans=True)
    (tmp_path / "rest").mkdir()

    rest = without(built.manifest, tmp_path / "snapshot", ["c101", "c103"], tmp_path / "rest")

    before, after = rows_of(tmp_path / "snapshot"), rows_of(tmp_path / "rest")
    assert {name: row["kept"] for name, row in after.items()} == {name: before[name]["kept"] for name in after}
    assert sum(part["rows"] for part in rest.parts["edits"].values()) == 2


def test_a_snapshot_whose_recipe_does_not_weigh_them_has_neither_column_nor_entry(tmp_path):
    say()

    plain, again, other = build(tmp_path / "a"), build(tmp_path / "b"), build(tmp_path / "c", kept_spans=True)

    assert plain.id == again.id != other.id
    assert "edits" not in plain.manifest
    for path in (tmp_path / "a").glob("*-*.parquet"):
        names = pq.read_schema(path).names
        assert "kept" not in names
        assert pq.read_table(tmp_path / "c" / path.name, columns=names) == pq.read_table(path)
