"""The border of prompt and completion in tokens, the end of a completion, and the cut of rows that are too long."""

import numpy as np
import pytest
from thumbwheel.row_checks import RowFault
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.trainer import tiny
from worker.training.data.tokens import Tokens, common_prefix, fit
from worker.training.machine.process import TrainingRefusal

END = 256


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def of_text(text: str) -> list[int]:
    return tiny.tokenizer()(text)["input_ids"]


def test_a_text_completion_ends_with_exactly_one_end_token() -> None:
    tokens = Tokens(tiny.tokenizer(), None)

    (plain, ended, doubled) = tokens.encode_text(["Q:"] * 3, [" yes", " yes<|end|>", " yes<|end|><|end|>"])

    for prompt, completion, _ in (plain, ended, doubled):
        assert prompt.tolist() == of_text("Q:")
        assert completion.tolist() == [*of_text(" yes"), END]


def test_a_completion_with_an_end_token_in_it_is_no_token_ids_but_a_fault() -> None:
    tokens = Tokens(tiny.tokenizer(), None)

    assert tokens.encode_text(["Q:"], ["a<|end|>b"]) == [RowFault("control_tokens_in_answer", "<|end|>")]


def test_the_boundary_is_the_common_prefix_where_tokens_merge_across_it() -> None:
    # given a vocabulary in which "b" and "c" merge
    raw = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "c": 2, "bc": 3, "<e>": 4}, merges=[("b", "c")]))
    raw.pre_tokenizer = pre_tokenizers.Sequence([])
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<e>"), None)

    # when prompt "ab" meets completion "ca"
    [(prompt, completion, _)] = tokens.encode_text(["ab"], ["ca"])

    # then the merged token belongs to the completion, and nothing is lost
    assert prompt.tolist() == [0]
    assert completion.tolist() == [3, 0, 4]


def test_an_empty_prompt_leaves_one_token_to_predict_from() -> None:
    tokens = Tokens(tiny.tokenizer(), None)

    [(prompt, completion, _)] = tokens.encode_text([""], ["a"])

    assert prompt.tolist() == [END]
    assert completion.tolist() == [*of_text("a"), END]


def test_a_chat_turn_keeps_the_templates_own_end_and_not_the_newline_behind_it() -> None:
    tokens = Tokens(tiny.tokenizer(chat=True), None)

    [(prompt, completion, _)] = tokens.encode_chat(
        [[{"role": "user", "content": "hi"}]], [[{"role": "assistant", "content": "yo"}]]
    )

    assert tokens.tokenizer.decode(prompt) == "<|user|>hi<|end|>\n<|assistant|>"
    assert completion.tolist() == [*of_text("yo"), END]


def test_a_chat_row_on_a_model_without_a_chat_template_is_a_fault() -> None:
    prompt, completion = [{"role": "user", "content": "hi"}], [{"role": "assistant", "content": "yo"}]

    assert Tokens(tiny.tokenizer(), None).encode_chat([prompt], [completion]) == [RowFault("no_chat_template")]


def test_the_end_is_the_tokenizers_else_the_first_of_the_models_list() -> None:
    own = tiny.tokenizer()
    bare = tiny.tokenizer()
    bare.eos_token = None

    assert Tokens(own, [7, END]).ends == (END, 7)
    assert Tokens(bare, [9999, 7, 8]).end == 7
    with pytest.raises(TrainingRefusal, match="eos"):
        Tokens(bare, None)


def test_truncation_takes_the_prompts_beginning_first() -> None:
    fitted = fit(ids(1, 2, 3, 4, 5), ids(6, 7, END), 5)

    assert fitted is not None
    assert (fitted.prompt.tolist(), fitted.completion.tolist(), fitted.tokens_cut) == ([4, 5], [6, 7, END], 3)


def test_truncation_takes_the_completions_tail_next_and_keeps_its_end() -> None:
    fitted = fit(ids(1, 2, 3), ids(4, 5, 6, 7, END), 4)

    assert fitted is not None
    assert (fitted.prompt.tolist(), fitted.completion.tolist(), fitted.tokens_cut) == ([3], [4, 5, END], 4)


def test_what_fits_is_left_alone() -> None:
    fitted = fit(ids(1, 2), ids(3, END), 4)

    assert fitted is not None
    assert (fitted.prompt.tolist(), fitted.completion.tolist(), fitted.tokens_cut) == ([1, 2], [3, END], 0)


@pytest.mark.parametrize(("completion", "room"), [(ids(END), 8), (ids(), 8), (ids(5, 6, END), 2)])
def test_a_completion_of_which_only_the_end_would_stay_is_dropped(completion: np.ndarray, room: int) -> None:
    assert fit(ids(1, 2), completion, room) is None


def test_the_common_prefix_ends_at_the_first_difference() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1, 2], [1, 2, 3]) == 2
    assert common_prefix([], [1]) == 0
