"""The suites of a run: from the request to WORKDIR, and from the samples to manifest, card and files."""

import json

import pytest
from thumbwheel import wire

from app.checkpoints.card import card
from app.database import transaction
from app.suites.outcomes_file import OUTCOMES
from app.suites.versions import service as suites
from tests.desk import DESK, claim, execute, expire, make_project, request, shown, vote
from tests.saved_models import saved_model
from tests.suites.sampled import samples
from worker import registration
from worker.children.processes import Failed
from worker.staging.attempt_folders import workdir_of
from worker.staging.workdir import stage
from worker.training.files.sealed import seal_of, verify, write_seal, write_sealed

SUITE = wire.Suite.model_validate(
    {
        "name": "greeting",
        "prompts": ["Say {{word}}"],
        "tests": [
            {"vars": {"word": word}, "description": f"say *{word}*", "assert": [{"type": "icontains", "value": word}]}
            for word in ("hello", "bye")
        ],
    }
)


@pytest.fixture
def run_id(database, tmp_path):
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    with transaction() as session:
        suites.create(session, DESK, wire.NewSuite(suite=SUITE), "key test")
        for name, version in (("greeting", 1), ("refusal", 0)):
            suites.decide(session, DESK, wire.NewSuiteAdoption(name=name, version=version), "key test")
    return request().id


def staged(run_id, owner="worker 1"):
    claimed = claim(run_id, owner)
    workdir = workdir_of(claimed.lease)
    stage(claimed, workdir)
    return claimed, workdir


def test_the_suites_of_the_request_are_staged_sealed_and_taken_over_by_the_next_attempt(run_id):
    with transaction() as session:
        suites.decide(session, DESK, wire.NewSuiteAdoption(name="greeting", drop=True), "key test")
    _, first = staged(run_id)
    content = (first / "suites.json").read_bytes()
    expire(run_id)
    _, second = staged(run_id, "next")

    assert [(item["name"], item["version"]) for item in json.loads(content)["suites"]] == [
        ("greeting", 1), ("refusal", 0),
    ]  # fmt: skip
    assert wire.Suite.model_validate(json.loads(content)["suites"][0]["document"]) == SUITE
    assert second != first
    assert (second / "suites.json").read_bytes() == content
    assert verify(seal_of(second / "suites.json"))


def test_an_attempt_whose_suites_are_damaged_is_staged_again_from_what_the_service_keeps(run_id):
    _, first = staged(run_id)
    content = (first / "suites.json").read_bytes()
    (first / "suites.json").write_bytes(content[:-9])
    expire(run_id)

    _, second = staged(run_id, "next")

    assert (second / "suites.json").read_bytes() == content


def test_a_suite_of_the_server_that_has_changed_since_the_request_is_noted_in_the_history(run_id):
    old = [{"name": "refusal", "version": 0, "sha256": "0" * 64}]
    execute("UPDATE runs SET suites = CAST(:suites AS jsonb) WHERE id = :id", suites=json.dumps(old), id=run_id)

    _, workdir = staged(run_id)

    assert json.loads((workdir / "suites.json").read_bytes())["suites"][0]["sha256"] != "0" * 64
    notes = [transition.reason for transition in shown(run_id).transitions if transition.kind == "noted"]
    assert notes == ["the suite refusal of this server has changed since the run was requested"]


def evaluated(run_id, **models):
    """Returns a claimed run and its WORKDIR after the scorer."""
    claimed, workdir = staged(run_id)
    training = {"kind": "adapter", "weights_sha256": "ab" * 32, "steps": 3}
    write_sealed(workdir / "training.json", json.dumps(training).encode())
    write_sealed(workdir / "scores.json", json.dumps({"rows": 4}).encode())
    (workdir / "output").mkdir()
    (workdir / "output" / "adapter_model.safetensors").write_text("weights")
    write_seal(seal_of(workdir / "output"), [workdir / "output" / "adapter_model.safetensors"])
    items = json.loads((workdir / "suites.json").read_bytes())["suites"]
    samples(workdir, [wire.Suite.model_validate(item["document"]) for item in items], models)
    return claimed, workdir


def test_the_figures_go_into_the_scores_and_the_card_shows_what_got_worse(run_id):
    claimed, workdir = evaluated(run_id, candidate=lambda _: "I say | bye", shipped=lambda _: "# Hello!\nand bye")

    registration.grade_suites(workdir, lambda: None)
    manifest = registration.manifest_of(claimed, run_id, workdir)
    files = registration.store(manifest, workdir)

    figures = manifest["scores"]["suites"]
    assert list(figures) == ["greeting", "refusal"]
    assert figures["greeting"]["difference_to_shipped"]["value"] == -0.5
    assert [(item["suite"], item["test"]) for item in manifest["suite_regressions"]] == [("greeting", 0)]
    assert set(files) == {"adapter_model.safetensors", "manifest.json", "README.md", "samples.parquet", OUTCOMES}
    text = card(manifest)
    assert "| greeting | 1 | 2 | 50.0% | 100.0% | -50.0 points | -100.0 … +0.0 | 0 |" in text
    assert r"**greeting, test 0** (say \*hello\*), prompt 1: icontains: the output lacks 'hello'" in text
    assert "shipped:\n\n    # Hello!\n    and bye\n" in text


def test_a_run_without_suites_has_neither_figures_nor_a_section(run_id):
    execute("UPDATE runs SET suites = '[]' WHERE id = :id", id=run_id)
    claimed = claim(run_id)
    workdir = workdir_of(claimed.lease)
    stage(claimed, workdir)

    registration.grade_suites(workdir, lambda: None)

    assert not (workdir / "suites.json").exists()
    assert not (workdir / OUTCOMES).exists()


def test_damaged_samples_fail_the_run_with_the_remedy(run_id):
    _, workdir = evaluated(run_id, candidate=lambda _: "bye", shipped=lambda _: "bye")
    (workdir / "samples.parquet").write_bytes(b"")

    with pytest.raises(Failed, match=r"samples\.parquet is damaged .*: retry the run"):
        registration.grade_suites(workdir, lambda: None)
