"""`thumbwheel train` makes a checkpoint from files, without any service."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine, Done, in_own_process, in_this_process, on_a_terminal
from tests.trainer import tiny
from tests.trainer.asking import SMALL, written

THUMBWHEEL = [sys.executable, "-m", "app.cli.main"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")},
    "PYTHONIOENCODING": "utf-8", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
}  # fmt: skip


@pytest.fixture
def alone() -> CommandLine:
    """The command line in a separate process, without the address of any server."""
    return CommandLine(in_own_process, ENVIRONMENT)


@pytest.fixture
def with_own_trainer(capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line in this process, which starts the trainer as a separate one."""

    def run(arguments: list[str], environment: dict[str, str]) -> Done:
        done, trainer = in_this_process(arguments, environment), capfd.readouterr()
        return Done(done.code, done.out + trainer.out, done.err + trainer.err)

    return CommandLine(run, ENVIRONMENT)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.jsonl", tiny.text_rows(40))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(SMALL))
    return path


@pytest.fixture
def command(rows: Path, recipe: Path, tmp_path: Path) -> list[str]:
    """The arguments of a training that takes some seconds, so that a test can interrupt it."""
    base = tiny.save_model(tmp_path / "base")
    options = [
        "--data",
        rows,
        "--model",
        base,
        "--out",
        tmp_path / "out",
        "--recipe-file",
        recipe,
        "--epochs",
        "10",
        "--set",
        "save_every_steps=1000",
    ]
    return ["train", *map(str, options)]


@pytest.mark.trial
def test_ctrl_c_keeps_what_was_learnt_and_the_same_command_goes_on_to_the_end(alone, command, tmp_path):
    process = subprocess.Popen(
        [*THUMBWHEEL, *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT,
        start_new_session=True, text=True,
    )  # fmt: skip
    tiny.wait_for(lambda: len(tiny.whole_lines(tmp_path / "out" / "work" / "metrics.jsonl")) > 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate()

    assert (process.returncode, out) == (75, "")
    assert err == "stopped: run the same command to continue\n"
    assert list((tmp_path / "out" / "work" / "state").glob("step-*"))

    done = alone(*command)
    assert (done.code, done.err) == (0, "")
    assert done.document["steps"] == len(tiny.lines(tmp_path / "out" / "metrics.jsonl"))
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()

    again = alone(*command)
    assert again.document == {**done.document, "finished_before": True}
    assert again.err.endswith("out was finished before and is left as it is: --restart trains again\n")

    shown = on_a_terminal(command, ENVIRONMENT)
    assert shown.code == 0, shown
    assert "held-out AUROC" in shown.out
    assert '"steps"' not in shown.out
    assert '"steps"' in on_a_terminal([*command, "--json"], ENVIRONMENT).out


def test_what_is_refused_is_one_line_with_the_place_and_leaves_nothing(alone, command, rows, tmp_path):
    rows.write_text(rows.read_text() + '{"prompt": "a", "completion": "b", "label": "good"}\n')

    line = alone.refused(*command)

    assert line.startswith(f'{rows} line 41: label is "good", {rows} line 1 has true: write')
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_and_leaves_nothing_half_written(command, tmp_path):
    def nothing_larger() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [*THUMBWHEEL, *command], capture_output=True, text=True, env=ENVIRONMENT, preexec_fn=nothing_larger
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--out {tmp_path}/out: the disk is full: make room and run the same command to continue\n"
    assert not (tmp_path / "out").exists()


def test_set_lies_over_the_recipe_file_field_by_field(with_own_trainer, recipe, tmp_path):
    recipe.write_text(json.dumps({"lora": {"rank": 0}, "beta": -1}))
    arguments = ["train", "--data", "rows", "--model", "model", "--out", tmp_path / "out", "--recipe-file", recipe]

    assert "lora.rank is 0" in with_own_trainer.refused(*arguments, "--set", "lora.alpha=8", "--beta", "0.2")
    assert "beta is -1" in with_own_trainer.refused(*arguments, "--set", "lora.rank=8")
    assert "rows: there is no such file" in with_own_trainer.refused(
        *arguments, "--set", "lora.rank=8", "--beta", "0.2"
    )


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("{", [], "recipe.json is not JSON"),
        ("[]", [], "recipe.json is not a JSON object"),
        (None, [], "recipe.json cannot be read"),
        ("{}", ["--beta", "1", "--set", "beta=2"], "--set beta=… and --beta set the same field: leave one out"),
        ("{}", ["--set", "beta"], "--set: expected FIELD=VALUE, got 'beta'"),
    ],
)
def test_options_that_say_nothing_or_too_much_are_refused(recipe, tmp_path, content, options, sentence):
    recipe.write_text(content or "")
    if content is None:
        recipe.unlink()
    arguments: list[Any] = ["--data", "rows", "--model", "model", "--out", tmp_path / "out", "--recipe-file", recipe]

    assert sentence in CommandLine(in_this_process, {}).refused("train", *arguments, *options)
