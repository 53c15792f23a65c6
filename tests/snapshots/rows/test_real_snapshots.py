"""Real feedback becomes a snapshot, or an error states what is missing."""

from itertools import islice
from pathlib import Path
from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import transaction
from app.errors import Refused
from app.feedback import importing
from app.feedback import service as feedback
from app.projects.tables import Project
from app.snapshots import service as snapshots
from tests.bare_project import CONFIGURATION
from tests.logged import store

P = "real"
LINES = 500
RULES = wire.SnapshotRules(minimum_per_class=5, allow_imbalance=True)
#: A file without negative signals: it records only copied answers.
ONE_CLASS = "realhumaneval_chat"


@pytest.mark.parametrize(
    "name",
    ["crowdrag_votes", "halie_summary_edits", "hh_harmless", "mlqe_post_edits", ONE_CLASS, "topical_chat_ratings",
     "xstest_refusals"],
)  # fmt: skip
def test_each_file_of_real_feedback_becomes_a_snapshot_with_a_card(database, shared_data, tmp_path, name):
    events = [
        item.event
        for item in islice(importing.read(shared_data / "events" / f"{name}.jsonl.gz"), LINES)
        if isinstance(item, importing.Imported)
    ]
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))
    store(P, events)

    if name == ONE_CLASS:
        with pytest.raises(Refused, match="collect undesirable labels"):
            build(tmp_path / "snapshot")
        return
    built = build(tmp_path / "snapshot")

    card = (tmp_path / "snapshot" / "card.md").read_text()
    counts = built.manifest["counts"]
    assert counts["train"]["desirable"] >= RULES.minimum_per_class <= counts["train"]["undesirable"]
    assert str(counts["train"]["desirable"]) in card
    for heading in ("## Reasons for the labels", "## Left out", "## Overlap of the sides"):
        assert heading in card
    assert built.manifest["leakage"]["groups_on_both_sides"] == 0


def build(folder: Path) -> snapshots.Built:
    with transaction() as session:
        watermark = feedback.watermark(session, P)
        return snapshots.build(
            session, P, RULES, "kto", watermark=watermark, seed=1, shipped_checkpoint_id=UUID(int=1), folder=folder
        )
