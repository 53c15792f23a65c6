"""Tiny random models, a tiny tokenizer and staged jobs for the tests of the trainer, created in milliseconds."""

import hashlib
import json
import multiprocessing
import os
import random
import resource
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from thumbwheel.wire.recipe import WITHOUT_LAMBDA, Recipe
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from app.snapshots.selection.pairs import pairs_of
from worker.children.warm_start import PRELOADED
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.machine.process import StopRequest, run
from worker.training.train import train

WORDS = ["refund", "order", "late", "please", "sorry", "thanks", "box", "card", "today", "wait", "help", "soon", "paid"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
RECIPE: Mapping[str, Any] = {
    "method": "full", "learning_rate": 1e-2, "lambda_desirable": 1.5, "lambda_undesirable": 1.0, "batch_size": 8,
    "micro_batch_size": 4, "epochs": 2, "max_length": 64, "save_every_steps": 2, "lora": {"rank": 4, "alpha": 8},
    "drift": {"checks": 0},
}  # fmt: skip


def tokenizer(*, chat: bool = False) -> Any:
    """Returns a byte-level tokenizer: 256 bytes and a few special tokens, without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={byte: index for index, byte in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>", "<|system|>"]})
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def config(family: str = "llama", **changes: Any) -> Any:
    grouped = {
        "vocab_size": 260, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": None,
    }  # fmt: skip
    capped = {"head_dim": 4, "final_logit_softcapping": 0.5, "sliding_window": 8}
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "llama": (transformers.LlamaConfig, grouped),
        "qwen2": (transformers.Qwen2Config, {**grouped, "tie_word_embeddings": True}),
        "qwen3": (transformers.Qwen3Config, {**grouped, "head_dim": 4}),
        # A cap this low changes even the small logits of a random model.
        "gemma2": (transformers.Gemma2Config, {**grouped, **capped}),
        "gpt2": (
            transformers.GPT2Config,
            {"vocab_size": 260, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 128, "resid_pdrop": 0.5},
        ),
    }
    kinds["gemma"] = (transformers.GemmaConfig, {**grouped, "head_dim": 4, "tie_word_embeddings": True})
    # This large coefficient makes the routers' loss a considerable share of the whole.
    kinds["mixtral"] = (
        transformers.MixtralConfig,
        {
            **grouped, "num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True,
            "router_aux_loss_coef": 0.5, "sliding_window": None,
        },
    )  # fmt: skip
    kinds["gpt_neox"] = (transformers.GPTNeoXConfig, {key: grouped[key] for key in grouped if "key_value" not in key})
    kind, values = kinds[family]
    return kind(**{**values, "bos_token_id": None, "eos_token_id": 256, **changes})


def model(family: str = "llama", *, seed: int = 0, **changes: Any) -> Any:
    """Returns a model with random weights, larger than usual so that predictions differ clearly between tokens."""
    torch.manual_seed(seed)
    random_model = transformers.AutoModelForCausalLM.from_config(config(family, **changes)).eval()
    with torch.no_grad():
        for weight in random_model.parameters():
            if weight.ndim >= 2:
                weight.mul_(5)
    return random_model


def save_model(folder: Path, family: str = "llama", *, chat: bool = False, seed: int = 0, **changes: Any) -> Path:
    model(family, seed=seed, **changes).save_pretrained(folder)
    tokenizer(chat=chat).save_pretrained(folder)
    return folder


def save_overflowing_model(folder: Path) -> Path:
    """A base model of finite weights that gives NaN for every text with an A in it."""
    overflowing = model("gpt_neox")
    with torch.no_grad():
        overflowing.get_input_embeddings().weight[65 - 33] = 3e38
    overflowing.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, *, rank: int = 4, alpha: int = 8, seed: int = 7, **kind: bool) -> Path:
    """A shipped adapter whose update is not zero. `kind`: use_rslora, use_dora."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    bare = transformers.AutoModelForCausalLM.from_pretrained(base)
    lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM", **kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(bare, lora)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def sentences(count: int, seed: int = 0, words: tuple[int, int] = (1, 5)) -> list[str]:
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(*words))) for _ in range(count)]


def text_rows(count: int = 22, seed: int = 0) -> list[dict[str, Any]]:
    """Returns rows of text, of which every third is desirable."""
    prompts, completions = sentences(count, seed), sentences(count, seed + 1)
    return [
        {"prompt": f"{number} {prompt}:", "completion": f" {completion}", "label": number % 3 == 0}
        for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
    ]


def paired_rows(prompts: int = 11, seed: int = 0) -> list[dict[str, Any]]:
    """Returns rows with a desirable and an undesirable completion for every prompt."""
    good, bad = sentences(prompts, seed + 2), sentences(prompts, seed + 3, words=(3, 7))
    return [
        {"prompt": f"{number} {prompt}:", "completion": f" {completion}", "label": label}
        for number, prompt in enumerate(sentences(prompts, seed))
        for completion, label in ((good[number], True), (bad[number], False))
    ]


def chat_rows(count: int = 12) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["completion"]}],
            "label": row["label"],
        }
        for row in text_rows(count)
    ]


def write_shard(path: Path, rows: Sequence[Mapping[str, Any]], start: int = 0) -> dict[str, Any]:
    """Writes a shard and returns its line of the manifest, without the split."""
    chat = bool(rows) and not isinstance(rows[0]["prompt"], str)
    complete = [
        {
            "weight": 1.0,
            "reason": "thumbs",
            "completion_id": f"c{number}",
            "checkpoint_id": None,
            "position": number,
            **row,
        }
        for number, row in enumerate(rows, start)
    ]
    pq.write_table(pa.Table.from_pylist(complete), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": path.name, "format": "chat" if chat else "text", "rows": len(rows), "sha256": digest}


def stage(
    workdir: Path,
    base: Path,
    train: Sequence[Mapping[str, Any]],
    holdout: Sequence[Mapping[str, Any]] = (),
    *,
    adapter: Path | None = None,
    job: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> Path:
    """Stages a WORKDIR like the service and returns it."""
    (workdir / "snapshot").mkdir(parents=True)
    shards = [{**write_shard(workdir / "snapshot" / "train-0.parquet", train), "split": "train"}]
    if holdout:
        held = write_shard(workdir / "snapshot" / "holdout-0.parquet", holdout, start=10_000)
        shards.append({**held, "split": "holdout"})
    manifest: dict[str, Any] = {"shards": shards, "counts": {}}
    if pairs := pairs_of((json.dumps(row["prompt"]), row["label"]) for row in train):
        path = workdir / "snapshot" / "pairs.parquet"
        listed = [{"shard": "train-0.parquet", "chosen": chosen, "rejected": rejected} for chosen, rejected in pairs]
        pq.write_table(pa.Table.from_pylist(listed), path)
        manifest["pairs"] = {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (workdir / "snapshot" / "manifest.json").write_text(json.dumps(manifest))
    reference: dict[str, Any] = {"kind": "base"}
    if adapter is not None:
        (workdir / "reference").symlink_to(adapter)
        reference = {"kind": "adapter", "path": "reference", "fingerprint": weights_fingerprint(adapter)}
    content = {"run_id": "r1", "base_model": str(base), "reference": reference, "reference_checkpoint_id": None}
    content["base_fingerprint"] = weights_fingerprint(base)
    (workdir / "job.json").write_text(json.dumps({**content, **(job or {})}))
    together = {**RECIPE, **recipe}
    if together.get("objective") in WITHOUT_LAMBDA:
        together |= {"lambda_desirable": 1.0, "lambda_undesirable": 1.0}
    (workdir / "recipe.json").write_text(Recipe.model_validate(together).model_dump_json())
    return workdir


#: Forks real processes with everything imported that a run needs, which start in milliseconds instead of seconds. The
#: files that start processes are one group of pytest-xdist, so that this is imported once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "transformers.models.llama.modeling_llama",
        "peft.utils.transformers_weight_conversion",
        *(module for module in PRELOADED if module.startswith("worker.training.") and not module.endswith("curves")),
    ]
)


def start(workdir: Path, **limits: int) -> Any:
    """The trainer as a process of its own; its stderr goes to WORKDIR/stderr.

    limits  data: bytes that it may take beside what it has when it begins; fsize: bytes of the largest file
    """
    return _start(workdir, {}, limits)


def start_ranks(workdir: Path, world: int) -> list[Any]:
    """Starts ranks like torchrun, on a free port; their stderr goes to WORKDIR/stderr and stderr-1, …"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(world)}
    return [_start(workdir, {**address, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(world)]


def _start(workdir: Path, environment: Mapping[str, str], limits: Mapping[str, int] | None = None) -> Any:
    process = PROCESSES.Process(target=_trainer, args=(str(workdir), dict(environment), dict(limits or {})))
    process.start()
    return process


def _trainer(workdir: str, environment: Mapping[str, str], limits: Mapping[str, int]) -> None:
    os.environ.update(environment, CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    rank = environment.get("RANK", "0")
    log = f"{workdir}/stderr" + ("" if rank == "0" else f"-{rank}")
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    for name, most in limits.items():
        has = _bytes_taken() if name == "data" else 0
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (has + most, has + most))
    sys.argv = ["train", workdir]
    sys.exit(run("worker.training.train", "", train))


def _bytes_taken() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:")]
    return 1024 * int(line.split()[1])


class StopAfter(StopRequest):
    """A source of stop requests that requests a stop at the n-th check of the trainer."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def requested(self) -> bool:
        self.looks -= 1
        return self.looks < 0


class StopAfterSteps(StopRequest):
    """A source of stop requests that requests a stop once the trainer has logged a number of steps."""

    def __init__(self, workdir: Path, steps: int) -> None:
        self.workdir, self.steps = workdir, steps

    @property
    def requested(self) -> bool:
        return len(lines(self.workdir / "metrics.jsonl")) >= self.steps


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.002)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def document(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
