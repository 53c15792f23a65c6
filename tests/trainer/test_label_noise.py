"""The correction of KTO's loss for labels that are wrong."""

import pytest
import torch
from pydantic import ValidationError
from thumbwheel.wire.recipe import Recipe

from app.labels.audits.mislabelled import mislabelled_shares
from tests.trainer import tiny
from tests.trainer.judged import Completion, Judged, log_probs, recipe_for
from worker.training.job import read_job
from worker.training.objectives import OBJECTIVES
from worker.training.train import train

kto = OBJECTIVES["kto"].loss
PLAIN = recipe_for("kto", lambda_desirable=2.0)
CORRECTED = recipe_for("kto", lambda_desirable=2.0, mislabelled_good=0.1, mislabelled_bad=0.3)


def judged(labels: list[bool]) -> list[Judged]:
    def completion(r: float) -> Completion:
        return Completion(policy=(r - 50.0,), reference=(-50.0,), token_weights=(1.0,))

    return [
        Judged(completion(3.0 * number - 4), completion(1.0), desirable, labels=(1.0, 1.0))
        for number, desirable in enumerate(labels)
    ]


def test_the_corrected_loss_is_on_average_that_of_the_true_labels() -> None:
    true = [True, False, True, False]
    expected = kto(log_probs(judged(true)), PLAIN).loss_B
    as_labelled = kto(log_probs(judged(true)), CORRECTED).loss_B
    as_flipped = kto(log_probs(judged([not label for label in true])), CORRECTED).loss_B

    flipped_B = torch.tensor([0.1 if label else 0.3 for label in true], dtype=torch.float64)
    average = (1 - flipped_B) * as_labelled + flipped_B * as_flipped

    assert average.tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_shares_follow_from_the_precision_of_both_classes() -> None:
    # 100 labels say good, 90 rightly; 50 say bad, 45 rightly
    assert mislabelled_shares(100, 50, 0.1, 0.1) == pytest.approx((5 / 95, 10 / 55))
    assert mislabelled_shares(100, 50, 0, 0) == (0, 0)


def test_a_corrected_training_passes_its_checks_and_learns_something_else(tmp_path) -> None:
    base = tiny.save_model(tmp_path / "base")
    digests, identities = set(), set()
    for number, shares in enumerate(({}, {"mislabelled_good": 0.05, "mislabelled_bad": 0.25})):
        workdir = tiny.stage(tmp_path / str(number), base, tiny.text_rows(), max_steps=2, **shares)
        train(workdir)
        digests.add(tiny.document(workdir / "training.json")["weights_sha256"])
        identities.add(read_job(workdir).identity)

    assert len(digests) == len(identities) == 2


def test_the_identity_of_a_run_without_a_correction_is_what_it_was(tmp_path) -> None:
    workdir = tiny.stage(tmp_path / "w", tiny.save_model(tmp_path / "base"), tiny.text_rows())
    before = read_job(workdir)
    fields = {"mislabelled_good", "mislabelled_bad"}
    (workdir / "recipe.json").write_text(before.recipe.model_dump_json(exclude=fields))

    assert read_job(workdir).identity == before.identity


@pytest.mark.parametrize("objective", ["tkto", "bco", "dpo", "sft"])
def test_only_kto_is_corrected(objective) -> None:
    with pytest.raises(ValidationError, match=r"mislabelled_bad corrects kto's loss alone.*set it to 0"):
        Recipe.model_validate({"objective": objective, "mislabelled_bad": 0.1})
