"""Examples before a prompt: which training rows they are, and how they are written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.trainer import tiny
from worker.evaluation.examples import FewShotExample, chosen_examples, with_examples
from worker.evaluation.few_shot_prompts import FewShotLimits, FewShotPrompts
from worker.training.data.rows import read_rows
from worker.training.job import read_job
from worker.training.models import policy


def row(prompt: Any, completion: Any, *, label: bool = True, weight: float = 1.0) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, "label": label, "weight": weight}


def chat(question: str, answer: str, *before: Mapping[str, str]) -> dict[str, Any]:
    return row([*before, {"role": "user", "content": question}], [{"role": "assistant", "content": answer}])


ROWS = [
    *(row(f"Question {number}?", f" answer {number}") for number in range(12)),
    row("Question 3?", " the same prompt"),
    row("bad?", " no", label=False),
    row("worthless?", " no", weight=0.0),
    row("long?", " answer" * 20),
]


def chosen(folder: Path, base: Path, rows: Sequence[Mapping[str, Any]], kind: Any = "text", **recipe: Any) -> list[str]:
    """The prompts of the examples, as texts."""
    job = read_job(tiny.stage(folder, base, rows, **recipe))
    found = chosen_examples(
        job, policy.load_tokens(base), kind, count=job.recipe.evaluation.few_shots, most_tokens=32, max_length=64,
        vocabulary=260,
    )  # fmt: skip
    return [each.turns[0]["content"] for each in found]


def test_examples_are_desirable_rows_of_different_prompts_whatever_their_order_and_the_same_ones_each_time(
    tmp_path: Path, base: Path
) -> None:
    def with_seed(name: str, rows: Sequence[Mapping[str, Any]], count: int, seed: int = 1) -> list[str]:
        return chosen(tmp_path / name, base, rows, seed=seed, evaluation={"few_shots": count})

    four = with_seed("four", ROWS, 4)

    assert with_seed("turned", ROWS[::-1], 4) == four
    assert len(set(four)) == 4
    assert with_seed("two", ROWS, 2) == four[:2]
    assert with_seed("other", ROWS, 4, seed=2) != four
    assert sorted(with_seed("all", ROWS, 16)) == sorted(f"Question {number}?" for number in range(12))


def test_an_arm_with_a_budget_has_examples_of_its_share_of_the_prompts_alone(tmp_path: Path, base: Path) -> None:
    half = chosen(tmp_path / "half", base, ROWS, evaluation={"few_shots": 16}, prompt_share=0.5)
    more = chosen(tmp_path / "more", base, ROWS, evaluation={"few_shots": 16}, prompt_share=0.8)

    assert 0 < len(half) < len(more) < 12
    assert set(half) < set(more)


def test_examples_are_turns_after_the_system_turn_of_a_chat_and_lines_before_a_text() -> None:
    system = {"role": "system", "content": "Be kind."}
    of_chat = chat("One?", "1", {"role": "system", "content": "Be rude."})
    asked = [system, {"role": "user", "content": "Three?"}]

    examples = [
        FewShotExample(("a", 0), of_chat["prompt"], of_chat["completion"]),
        FewShotExample(("a", 1), "Two?", " 2"),
    ]

    assert [(turn["role"], turn["content"]) for turn in with_examples(asked, examples)] == [
        ("system", "Be kind."), ("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2"),
        ("user", "Three?"),
    ]  # fmt: skip
    assert with_examples("Three?", examples[1:]) == "Two? 2\n\nThree?"


def test_held_out_chats_are_read_after_examples_of_chats_and_long_rows_are_left_out(tmp_path: Path, base: Path) -> None:
    train = [chat(f"{number}?", "yes") for number in range(6)] + [
        chat("Was it?", "no", {"role": "tool", "content": "x"})
    ]
    held_out = [chat(f"held out {number}?", "ok") for number in range(20)] + [chat("long " * 8, "ok")]
    job = read_job(tiny.stage(tmp_path / "w", base, train, held_out, evaluation={"few_shots": 1}))
    tokens = policy.load_tokens(base)
    read = read_rows(job.workdir / "snapshot", job.shards_of("holdout"), tokens, 64)

    prompts = FewShotPrompts(job, tokens, read, read.rows, [], FewShotLimits(50, 64, 8, 260))

    assert prompts.reason is None
    assert prompts.rows == list(range(20))  # the last one does not fit into the context of 50 tokens
    [example] = prompts.examples["chat"]
    before = tokens.tokenizer.decode(prompts.pairs[0][0])
    assert before.startswith(
        f"<|user|>{example.turns[0]['content']}<|end|>\n<|assistant|>yes<|end|>\n<|user|>held out 0?"
    )
    for place, (prompt, completion) in zip(prompts.rows, prompts.pairs, strict=True):
        assert completion.tolist() == read.rows[place].completion.tolist()
        assert prompt[-len(read.rows[place].prompt) :].tolist() == read.rows[place].prompt.tolist()
