"""Reads and checks the job of a WORKDIR before anything heavy is imported."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from thumbwheel.wire.recipe import PAIRED, Recipe

from app.durable import sha256_of
from app.snapshots.prompts.split import Split
from worker.training.files import model_folders, sealed
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.machine.process import TrainingRefusal

Document = TypeVar("Document", bound=BaseModel)


class ReferenceModel(BaseModel):
    kind: Literal["base", "adapter"]
    path: str | None = None
    fingerprint: str | None = None


class JobFile(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    run_id: str
    base_model: str = Field(description="absolute folder")
    base_fingerprint: str | None = None
    reference: ReferenceModel
    reference_checkpoint_id: str | None = None
    ancestor: str | None = Field(None, description="folder of the very first base model, if base_model is another")


class Shard(BaseModel):
    path: str = Field(description="relative to the snapshot folder")
    split: Split = Field(description="the trainer reads train, the scorer holdout; later is not read")
    format: Literal["text", "chat"]
    rows: int
    sha256: str


class PairsFile(BaseModel):
    path: str = Field(description="relative to the snapshot folder: shards and rows of the chosen and the rejected")
    sha256: str
    shards: list[Shard] = Field([], description="rows without a label, which pairs alone need")


class Manifest(BaseModel):
    shards: list[Shard]
    pairs: PairsFile | None = None


@dataclass(frozen=True)
class Job:
    workdir: Path
    run_id: str
    base: Path
    base_fingerprint: str
    adapter: Path | None  # the shipped adapter; None if the base model is the reference
    adapter_fingerprint: str | None
    ancestor: Path
    recipe: Recipe
    shards: tuple[Shard, ...]
    pairs: PairsFile | None = None

    @property
    def output(self) -> Path:
        return self.workdir / "output"

    @property
    def identity(self) -> str:
        """The SHA-256 of everything that determines the result: recipe, snapshot, base, reference.

        It leaves out when to save, and how λ was found.
        """
        excluded: dict[str, Any] = dict.fromkeys(("save_every_steps", "save_every_minutes", "pairs", "weigh_up"), True)
        # A run has the identity that it had before these fields: samples decide nothing, nor does a field that is off.
        excluded["evaluation"] = {"temperature", "sample_minutes", "sample_tokens", "replay", "few_shots"}
        off: dict[str, Any] = {
            "max_tokens": None,
            "prompt_share": 1,
            "behaviour_correction": False,
            "edit_kept_weight": 1,
            "mislabelled_good": 0,
            "mislabelled_bad": 0,
        }
        excluded |= {name: True for name, value in off.items() if getattr(self.recipe, name) == value}
        parts: list[Any] = [
            self.recipe.model_dump(mode="json", exclude=excluded),
            self.base_fingerprint,
            self.adapter_fingerprint,
            [(shard.format, shard.sha256) for shard in self.shards_of("train")],
        ]
        if self.recipe.objective in PAIRED and self.pairs:
            parts.append(self.pairs.sha256)
            if self.pairs.shards or self.recipe.pairs != Recipe().pairs:
                parts.append([self.recipe.pairs, *(shard.sha256 for shard in self.trained_shards)])
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def shards_of(self, split: Split) -> list[Shard]:
        return [shard for shard in self.shards if shard.split == split]

    @property
    def trained_shards(self) -> list[Shard]:
        """The shards of train, and, for an objective of pairs, those of the train rows that only pairs need."""
        for_pairs = self.pairs.shards if self.pairs and self.recipe.objective in PAIRED else []
        return [*self.shards_of("train"), *(shard for shard in for_pairs if shard.split == "train")]


def read_job(workdir: Path) -> Job:
    """Reads and checks job.json, recipe.json and the manifest. Raises `TrainingRefusal`."""
    file = _document(workdir / "job.json", JobFile)
    recipe = _document(workdir / "recipe.json", Recipe)
    manifest = _document(workdir / "snapshot" / "manifest.json", Manifest)
    if not recipe.resolved:
        raise TrainingRefusal("recipe_unresolved", "recipe.json still holds auto: resolve it before it is staged")
    _verify_shards(workdir / "snapshot", manifest)
    base = Path(file.base_model)
    model_folders.require_config(base)
    model_folders.require_safetensors(base)
    fingerprint = weights_fingerprint(base)
    assert fingerprint is not None, "there are safetensors files"
    if file.base_fingerprint not in (None, fingerprint):
        raise TrainingRefusal(
            "base_fingerprint",
            f"base_fingerprint: the weights in {base} are {fingerprint[:12]}…, the job was made for "
            f"{str(file.base_fingerprint)[:12]}…: restore those weights, or start a run with the new base model",
        )
    adapter, adapter_fingerprint = _shipped_adapter(workdir, file.reference)
    if adapter is not None:
        _require_adapter_of(fingerprint, adapter)
    return Job(
        workdir=workdir,
        run_id=file.run_id,
        base=base,
        base_fingerprint=fingerprint,
        adapter=adapter,
        adapter_fingerprint=adapter_fingerprint,
        ancestor=Path(file.ancestor) if file.ancestor else base,
        recipe=recipe,
        shards=tuple(manifest.shards),
        pairs=manifest.pairs,
    )


def _shipped_adapter(workdir: Path, reference: ReferenceModel) -> tuple[Path | None, str | None]:
    if reference.kind == "base":
        return None, None
    folder = workdir / (reference.path or "reference")
    if not (folder / "adapter_config.json").is_file():
        raise TrainingRefusal(
            "reference_missing", f"reference: {folder} holds no adapter_config.json: stage the shipped adapter"
        )
    model_folders.require_adapter_weights(folder)
    try:
        sealed.verify(sealed.seal_of(folder))
    except sealed.DamagedFile as damage:
        raise TrainingRefusal("reference_damaged", f"reference: {damage}: stage the shipped checkpoint again") from None
    fingerprint = weights_fingerprint(folder)
    assert fingerprint is not None, "the adapter's weights are there"
    if reference.fingerprint not in (None, fingerprint):
        raise TrainingRefusal(
            "reference_fingerprint",
            f"reference: the adapter in {folder} is {fingerprint[:12]}…, the job was made for "
            f"{str(reference.fingerprint)[:12]}…: stage the shipped checkpoint again",
        )
    return folder, fingerprint


def _require_adapter_of(base_fingerprint: str, folder: Path) -> None:
    """Raises `TrainingRefusal` if the adapter was trained on another base model.

    Adapters from elsewhere do not record their base model and pass.
    """
    try:
        trained_on = json.loads((folder / "origin.json").read_bytes())["base_fingerprint"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise TrainingRefusal(
            "reference_missing", f"reference: {folder / 'origin.json'} is damaged: stage the shipped checkpoint again"
        ) from None
    if trained_on != base_fingerprint:
        raise TrainingRefusal(
            "adapter_of_another_base",
            f"reference: the adapter in {folder} was trained on the base model {str(trained_on)[:12]}…, base_model is "
            f"{base_fingerprint[:12]}…: name the base model that it was trained on, or start from the bare base model",
        )


def _verify_shards(folder: Path, manifest: Manifest) -> None:
    pairs = manifest.pairs
    listed_files: list[Shard | PairsFile] = [*manifest.shards]
    if pairs:
        listed_files += [pairs, *pairs.shards]
    for listed in listed_files:
        path = folder / listed.path
        if not path.is_file():
            raise TrainingRefusal(
                "shard_missing", f"snapshot: {listed.path} is in the manifest but not in the folder: stage it again"
            )
        if sha256_of(path) != listed.sha256:
            raise TrainingRefusal(
                "shard_hash", f"snapshot: {listed.path} has another sha256 than the manifest: stage it again"
            )


def _document(path: Path, model: type[Document]) -> Document:
    try:
        content: Any = json.loads(sealed.read(path))
    except FileNotFoundError:
        raise TrainingRefusal("job_incomplete", f"{path.name} is missing in WORKDIR: stage the job again") from None
    except sealed.DamagedFile as damage:
        raise TrainingRefusal(
            "job_damaged",
            f"{damage}: stage the job again; if you changed the file yourself, remove {path.name}{sealed.SUFFIX}",
        ) from None
    except ValueError as error:
        raise TrainingRefusal(
            "job_malformed", f"{path.name} is not valid JSON ({error}): stage the job again"
        ) from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        # Pydantic's name for the branch of a union, such as constrained-int, is not part of the field's name.
        field = ".".join(str(part) for part in fault["loc"] if isinstance(part, int) or part.isidentifier())
        reason = fault["msg"].removeprefix("Value error, ")
        value = "" if isinstance(fault["input"], dict) else f" (it is {fault['input']!r})"
        raise TrainingRefusal("job_malformed", f"{path.name}: {field + ': ' if field else ''}{reason}{value}") from None
