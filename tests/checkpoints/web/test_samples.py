"""The samples of a checkpoint over HTTP."""

import pytest

from tests.desk import checkpoint, vote
from tests.sample_rows import held_out, of_suite, replayed, written

PROJECT = {"project": "acme"}


@pytest.fixture
def made(api, tmp_path):
    """A function: `made(rows)` registers a checkpoint with these samples and returns the URL of its samples."""
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")

    def make(rows=None):
        files = {"adapter_model.safetensors": tmp_path / "weights"}
        files["adapter_model.safetensors"].write_text("weights")
        if rows is not None:
            files["samples.parquet"] = written(tmp_path / "samples.parquet", rows)
        return f"/v1/checkpoints/{checkpoint(tmp_path, 'acme', files=files)}/samples"

    return make


def test_samples_are_shown_prompt_by_prompt_in_pages_and_can_be_filtered(api, made):
    # given more prompts than a row group holds
    chat = [{"role": "user", "content": "Hello?"}]
    rows = [*held_out(chat, ["a", "b", "c"]), *held_out(chat, ["d", "e", "f"], "sampled")]
    for number in range(400):
        rows += held_out(f"Question {number}", [f"candidate {number}", "shipped", "ancestor"])
    rows += of_suite("manners", 3, "Say please", ["please", "no", "what"])
    rows += replayed("Where is it?", "No idea.", ["Here.", "No idea.", "?"], completion_id="c7", split="train")
    url = made(rows)

    items, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = api.get(url, params={**PROJECT, "limit": 150, **({"cursor": cursor} if cursor else {})}).json()
        items, cursor, pages = items + page["items"], page["next_cursor"], pages + 1

    assert (len(items), pages) == (404, 3)
    assert items[1] == {
        "source": "holdout", "suite": None, "test": None, "prompt_label": None, "group": items[0]["group"],
        "decoding": "sampled", "prompt": chat,
        "candidate": {"completion": "d", "tokens": 2, "finished": True},
        "shipped": {"completion": "e", "tokens": 2, "finished": True},
        "ancestor": {"completion": "f", "tokens": 2, "finished": True},
        "lp_candidate": -3.5, "lp_shipped": -3.5, "lp_ancestor": -3.5,
        "completion_id": None, "answer": None, "split": None,
    }  # fmt: skip
    assert [item["candidate"]["completion"] for item in items[2:402]] == [f"candidate {n}" for n in range(400)]

    def filtered(**by):
        return [item["prompt"] for item in api.get(url, params={**PROJECT, **by}).json()["items"]]

    assert filtered(decoding="sampled") == [chat]
    assert filtered(source="suite") == filtered(suite="manners") == ["Say please"]
    assert filtered(suite="other") == []
    [item] = api.get(url, params={**PROJECT, "source": "disliked"}).json()["items"]
    assert (item["completion_id"], item["answer"], item["split"]) == ("c7", "No idea.", "train")
    assert item["candidate"]["completion"] == "Here."


def test_a_checkpoint_without_samples_says_why_there_are_none(api, made):
    base = api.get("/v1/checkpoints", params=PROJECT).json()["items"][0]["id"]

    for url, reason in (
        (made(), "it was registered before samples were kept"),
        (f"/v1/checkpoints/{base}/samples", "it is a base model"),
    ):
        answer = api.get(url, params=PROJECT)
        assert (answer.status_code, answer.json()["code"]) == (404, "samples_missing")
        assert reason in answer.json()["detail"]


def test_bad_parameters_are_named(api, made, key):
    url = made(held_out("Q", ["a", "b", "c"]))

    for given in ({"decoding": "beam"}, {"source": "train"}, {"cursor": "nonsense!"}, {"limit": 0}):
        answer = api.get(url, params={**PROJECT, **given})
        assert answer.status_code == 422, answer.text
        assert next(iter(given)) in answer.text
    assert api.get(url, headers=key("feedback:write", project="acme")).status_code == 403
