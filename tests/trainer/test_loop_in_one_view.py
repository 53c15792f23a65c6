"""A whole optimizer step of the trainer is in one function, without very long calls."""

import ast
import inspect

import pytest

from worker.training import train

MODULE = ast.parse(inspect.getsource(train))
LOOP = next(node for node in ast.walk(MODULE) if isinstance(node, ast.FunctionDef) and node.name == "_take_steps")
#: The parts of a step in their order, and the calls of each.
STEP = {
    "forward": "reading.forward",
    "loss": "objective.loss",
    "backward": "loss.backward",
    "clip": "torch.nn.utils.clip_grad_norm_",
    "step": "optimizer.step",
    "measure": "_measure",
    "save": "saver.save_if_due",
}
MOST_LINES, MOST_ARGUMENTS = 90, 6


def calls(node: ast.AST) -> list[ast.Call]:
    """Returns the calls in `node`, from top to bottom."""
    all_calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    return sorted(all_calls, key=lambda call: (call.lineno, call.col_offset))


def test_a_step_stands_in_one_function_in_the_order_in_which_it_happens() -> None:
    names = [ast.unparse(call.func) for call in calls(LOOP)]

    assert [name for name in names if name in STEP.values()] == list(STEP.values())
    assert 0 < (LOOP.end_lineno or 0) - LOOP.lineno < MOST_LINES


def test_no_call_of_the_trainer_has_more_than_six_arguments() -> None:
    long_calls = [ast.unparse(call) for call in calls(MODULE) if len(call.args) + len(call.keywords) > MOST_ARGUMENTS]

    assert long_calls == []


@pytest.mark.parametrize("section", ["Supports:", "Assumes:", "Raises:"])
def test_the_trainer_says_what_it_supports_assumes_and_raises(section: str) -> None:
    assert section in (ast.get_docstring(MODULE) or "").splitlines()
