"""A run's samples are compared by the configured judge, within its budget; nothing that it does can fail the run."""

import json
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app import settings
from app.checkpoints.card import card
from app.errors import StaleLease
from tests.checkpoints.rules.test_card import MANIFEST
from tests.desk import claim, execute, make_project, request, vote
from tests.sample_rows import held_out, replayed, written
from tests.saved_models import saved_model
from tests.suites.model_server import Reply, chat, model_server
from tests.suites.rules.test_graded_samples import suite_of
from tests.suites.sampled import workdir_with
from tests.suites.test_judge import preferring
from worker.children.heartbeat import Heartbeat
from worker.children.processes import Cancelled, Left
from worker.evaluation.suites import grade_suites
from worker.judging import JUDGE_SCORES, SAMPLES, judge_of_suites, judge_samples
from worker.staging.attempt_folders import run_folder
from worker.staging.inherit_state import continue_attempt
from worker.training.files.sealed import read, write_sealed

KEY = "sk-run-secret-0123456789"


@pytest.fixture
def lease(database, tmp_path):
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    return claim(request().id).lease


@pytest.fixture
def workdir(lease):
    folder = run_folder(lease.run_id) / "epoch-1"
    folder.mkdir(parents=True)
    return folder


def write_samples(workdir, outputs):
    """Writes samples of both models, with rows of other kinds among them that no judge compares."""
    rows = []
    for number, (candidate, shipped) in enumerate(outputs):
        for model, completion in (("candidate", candidate), ("shipped", shipped), ("ancestor", "old")):
            for source, decoding in (("holdout", "greedy"), ("holdout", "sampled"), ("suite", "greedy")):
                rows.append(
                    {
                        "source": source, "decoding": decoding, "model": model, "group": f"{number:04x}",
                        "prompt": json.dumps(f"question {number}"),
                        "completion": completion if (source, decoding) == ("holdout", "greedy") else "noise",
                    }
                )  # fmt: skip
    path = workdir / "part.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    write_sealed(workdir / SAMPLES, path.read_bytes())


@contextmanager
def judge_configured(monkeypatch, answer, **more):
    with model_server(answer) as server, monkeypatch.context() as patch:
        values = {"JUDGE_URL": server.url, "JUDGE_MODEL": "judge", "JUDGE_KEY": KEY, "JUDGE_TIMEOUT": "20", **more}
        for name, value in values.items():
            patch.setenv(f"THUMBWHEEL_{name}", value)
        settings.current.cache_clear()
        yield server
    settings.current.cache_clear()


def scores_in(workdir):
    return json.loads(read(workdir / JUDGE_SCORES))


def judged(workdir, lease, stopping=lambda: False):
    with Heartbeat(lease, stopping) as heart:
        judge_samples(workdir, heart)


def test_greedy_samples_for_held_out_prompts_are_compared_in_both_orders(workdir, lease, monkeypatch, caplog):
    write_samples(workdir, [("good", "bad"), ("good", "bad"), ("bad", "good"), ("same", "same")])
    with judge_configured(monkeypatch, preferring("good")) as server:
        judged(workdir, lease)

    scores = scores_in(workdir)
    assert (scores["model"], scores["pairs"], scores["missing"], scores["unchanged"]) == ("judge", 4, 0, 1)
    assert scores["win_share"]["value"] == pytest.approx(2.5 / 4)
    assert scores["position_consistency"]["value"] == 1
    assert (scores["requests"], scores["from_cache"], scores["budget_spent"]) == (6, 0, False)
    assert len(server.requests) == 6
    assert all("noise" not in str(request) for request in server.requests)
    text = card({**MANIFEST, "scores": {**MANIFEST["scores"], "judge": scores}})
    assert "The judge judge compared 4 outputs for held-out prompts with those of the shipped checkpoint" in text
    everything = "".join(path.read_text("latin-1") for path in workdir.rglob("*") if path.is_file())
    assert f"Bearer {KEY}" in server.keys
    assert KEY not in everything + text + caplog.text


def test_replies_to_replayed_prompts_are_compared_with_the_answers_that_users_judged(workdir, lease, monkeypatch):
    # given answers with the replies of candidate and shipped checkpoint, and one reply that was cut off
    outputs = {
        "d1": ("bad", "good 1", "bad"), "d2": ("bad", "worse", "good 2"), "d3": ("bad", "good 3", "good 3"),
        "l1": ("good", "bad 1", "good"), "l2": ("good", "good 5", "bad 2"), "l3": ("good", "bad 3", "bad 4"),
    }  # fmt: skip
    rows = held_out("held out", ["good", "bad", "old"])
    for name, (answer, candidate, shipped) in outputs.items():
        written_for = [candidate, shipped, "old"]
        rows += replayed(f"prompt of {name}", answer, written_for, completion_id=name, liked=name.startswith("l"))
    cut_off = [row for row in rows if (row.get("completion_id"), row["model"]) == ("l3", "shipped")]
    cut_off[0]["finished"] = False
    path = written(workdir / "part.parquet", rows)
    write_sealed(workdir / SAMPLES, path.read_bytes())

    with judge_configured(monkeypatch, preferring("good")) as server:
        judged(workdir, lease)

    scores = scores_in(workdir)
    assert (scores["pairs"], scores["win_share"]["value"]) == (1, 1)
    replay = scores["replay"]
    values = {
        name: [replay[name][model]["value"] for model in ("candidate", "shipped", "difference")]
        for name in ("mended", "broken")
    }
    assert values["mended"] == [pytest.approx(2 / 3), pytest.approx(2 / 3), 0]
    assert values["broken"] == [pytest.approx(2 / 3), 1 / 2, 0]
    assert replay["missing"] == {"candidate": 0, "shipped": 1}
    assert list(replay["missing_reasons"]) == ["the reply was cut off: raise evaluation.kl_max_new_tokens"]
    # equal texts need no question, and equal replies to a prompt share theirs: 8 pairs and the held-out one, twice
    assert len(server.requests) == 2 * (8 + 1)


def test_a_budget_that_ends_in_the_replay_judges_the_held_out_pairs_first(workdir, lease, monkeypatch):
    rows = []
    for number in range(4):
        rows += held_out(f"held out {number}", [f"good {number}", "bad", "old"])
        rows += replayed(f"prompt {number}", "bad", ["good", "bad", "old"], completion_id=f"d{number}")
    path = written(workdir / "part.parquet", rows)
    write_sealed(workdir / SAMPLES, path.read_bytes())

    with judge_configured(monkeypatch, preferring("good"), JUDGE_BUDGET="8"):
        judged(workdir, lease)

    scores = scores_in(workdir)
    assert (scores["missing"], scores["win_share"]["value"], scores["budget_spent"]) == (0, 1, True)
    assert scores["replay"]["missing"] == {"candidate": 4, "shipped": 0}
    assert (scores["replay"]["mended"]["candidate"]["value"], scores["replay"]["mended"]["shipped"]["value"]) == (
        None,
        0,
    )


def test_without_a_judge_or_without_samples_nothing_is_done(workdir, lease, monkeypatch):
    write_samples(workdir, [("good", "bad")])
    judged(workdir, lease)
    (workdir / SAMPLES).unlink()
    with judge_configured(monkeypatch, preferring("good")) as server:
        judged(workdir, lease)

    assert not (workdir / JUDGE_SCORES).exists()
    assert server.requests == []


def test_the_budget_of_a_run_holds_over_its_attempts_and_the_rest_is_missing(workdir, lease, monkeypatch):
    write_samples(workdir, [(f"good {number}", "bad") for number in range(20)])
    with judge_configured(monkeypatch, preferring("good"), JUDGE_BUDGET="12") as server:
        judged(workdir, lease)
        first = scores_in(workdir)
        judged(workdir, lease)
        again = scores_in(workdir)

    assert (first["requests"], first["budget_spent"]) == (12, True)
    assert 4 <= 20 - first["missing"] <= 6  # both orders of a pair
    assert (again["requests"], again["from_cache"]) == (0, 12)
    assert len(server.requests) == 12
    assert set(again["missing_reasons"]) == {"the judge's budget of 12 requests is spent"}


@pytest.mark.parametrize("reply", [Reply(status=500), Reply(status=None), chat("no idea"), Reply(b"x" * 5_000_000)])
def test_a_judge_that_says_nothing_usable_leaves_every_pair_missing(workdir, lease, monkeypatch, reply):
    write_samples(workdir, [(f"good {number}", "bad") for number in range(3)])
    with judge_configured(monkeypatch, lambda *_: reply, JUDGE_BUDGET="6"):
        judged(workdir, lease)

    scores = scores_in(workdir)
    assert (scores["pairs"], scores["missing"], scores["win_share"]["value"]) == (3, 3, None)


def test_samples_that_cannot_be_read_do_not_fail_the_run(workdir, lease, monkeypatch, caplog):
    write_sealed(workdir / SAMPLES, b"no parquet")
    with judge_configured(monkeypatch, preferring("good")):
        judged(workdir, lease)

    assert not (workdir / JUDGE_SCORES).exists()
    assert "its samples were not judged" in caplog.text


@pytest.mark.parametrize(
    ("change", "stopping", "ending"),
    [
        ("UPDATE runs SET state = 'cancelling'", False, Cancelled),
        ("UPDATE runs SET lease_epoch = lease_epoch + 1", False, StaleLease),
        (None, True, Left),
    ],
)
def test_a_request_to_end_the_run_is_heeded_while_the_judge_is_silent(
    workdir, lease, monkeypatch, change, stopping, ending
):
    write_samples(workdir, [("good", "bad")])

    def silent(*_):
        if change:
            execute(change)
        return Reply(drip="headers")

    with judge_configured(monkeypatch, silent, JUDGE_TIMEOUT="3600"), pytest.raises(ending):
        judged(workdir, lease, lambda: stopping)

    assert not (workdir / JUDGE_SCORES).exists()


def test_the_next_attempt_continues_from_the_answers_of_this_one(workdir, lease, monkeypatch):
    outputs = [(f"good {number}", "bad") for number in range(3)]
    write_samples(workdir, outputs)
    for name in ("job.json", "recipe.json"):
        (workdir / name).write_text("{}")
    following = workdir.with_name("epoch-2")
    following.mkdir()
    with judge_configured(monkeypatch, preferring("good")) as server:
        judged(workdir, lease)
        continue_attempt(following)
        write_samples(following, outputs)
        judged(following, lease)

    assert (scores_in(following)["from_cache"], len(server.requests)) == (6, 6)
    assert scores_in(following)["win_share"] == scores_in(workdir)["win_share"]


def test_a_rubric_of_the_runs_suites_is_decided_by_the_judge(workdir, lease, monkeypatch):
    suite = suite_of({"vars": {"word": "hello"}, "assert": [{"type": "llm-rubric", "value": "is polite"}]})
    workdir_with(workdir, [suite], {"candidate": lambda _: "please", "shipped": lambda _: "go away"})

    def polite(_number, body):
        verdict = "please" in body["messages"][1]["content"]
        return chat(json.dumps({"reason": "because", "pass": verdict, "score": float(verdict)}))

    with (
        judge_configured(monkeypatch, polite),
        Heartbeat(lease, lambda: False) as heart,
        judge_of_suites(workdir, heart) as evidence_of,
    ):
        grade_suites(workdir, lambda: None, evidence_of)

    figures = json.loads(read(workdir / "suite_scores.json"))[suite.name]
    assert (figures["candidate"]["passed"], figures["shipped"]["failed"]) == (1, 1)
    assert figures["undecided_reason"] is None
