"""The folder OUT: its owner, the training begun there, and the results written there in the end.

    OUT/work/            WORKDIR of the trainer and the scorer, with request.json, the request of the training
    OUT/<the rest>       the checkpoint's own files, and `REPORTS`

work is created atomically, so a folder with work/request.json belongs to this command; a folder with any other content
belongs to somebody else.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thumbwheel.wire.recipe import Recipe

from app.durable import flush, folder_atomically, sha256_of
from worker.training.files import model_folders
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.files.sealed import DamagedFile, is_sound, read, seal_of, sums, write_seal, write_sealed
from worker.training.machine.process import TrainingRefusal, first_line
from worker.training.standalone.request import TrainingRequest

#: Files that are put next to the checkpoint's own; training.json comes last and marks them as complete.
REPORTS = ("metrics.jsonl", "warnings.jsonl", "dropped.jsonl", "curves.png", "scores.json", "training.json")
#: Files at least this large are hard links in OUT to the file in work, not copies.
LARGE_BYTES = 1_000_000
#: An adapter's own files.
ADAPTER_FILES = (model_folders.ADAPTER_CONFIG, model_folders.ADAPTER_WEIGHTS, "origin.json")


class Folder:
    def __init__(self, out: Path) -> None:
        self.out = out.absolute()
        self.work = self.out / "work"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Creates the folder and locks it in the block; removes it afterwards if it is new and still empty.

        Raises `TrainingRefusal` if it cannot be written, belongs to somebody else, or is in use by another training.
        """
        is_new = not self.out.exists()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.out, os.O_RDONLY)
        except OSError as error:
            message = f"--out {self.out} cannot be created ({error.strerror}): name another folder"
            raise TrainingRefusal("out", message) from None
        try:
            self._require_ours()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrainingRefusal(
                    "out", f"--out {self.out}: another training works there: wait for its end, or name another folder"
                ) from None
            yield
        finally:
            os.close(lock)
            if is_new:
                with suppress(OSError):  # it is not empty
                    self.out.rmdir()

    def _require_ours(self) -> None:
        if not os.access(self.out, os.W_OK | os.X_OK):
            raise TrainingRefusal("out", f"--out {self.out} cannot be written: name another folder")
        entries = {path.name for path in self.out.iterdir()} - {".work.part", ".work.old"}
        if entries and not (self.work / "request.json").is_file():
            raise TrainingRefusal(
                "out", f"--out {self.out} holds {min(entries)} and no training of this command: name an empty folder"
            )

    def begun_with(self, requested: Mapping[str, Any]) -> bool:
        """Returns whether the training in this folder was begun with exactly this request.

        It returns False also for another request, if nothing has been learnt yet. Raises `TrainingRefusal` if a
        training of another request would be lost, or if request.json is damaged.
        """
        try:
            before = json.loads(read(self.work / "request.json"))
            if not isinstance(before, dict):
                raise ValueError("it is not a JSON object")
        except FileNotFoundError:
            return False
        except (DamagedFile, ValueError) as error:
            fault = error.fault if isinstance(error, DamagedFile) else first_line(error)
            raise TrainingRefusal(
                "out",
                f"--out {self.out}: {self.work / 'request.json'} is damaged ({fault}): name another folder, or add "
                "--restart to train again",
            ) from None
        changed = differences(before, requested)
        if changed and ((self.work / "training.json").exists() or any(self.work.glob("state/step-*"))):
            raise TrainingRefusal(
                "out",
                f"--out {self.out} was begun with something else ({'; '.join(changed)}): name another folder, or add "
                "--restart to train again",
            )
        return not changed

    def stage(self, requested: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
        """Lets `fill` write a new WORKDIR; replaces an older one and removes its results from OUT."""
        with folder_atomically(self.work) as work:
            fill(work)
            write_sealed(work / "request.json", json.dumps(requested, indent=1, ensure_ascii=False).encode())
            self._remove_results()

    def _remove_results(self) -> None:
        for name in (*REPORTS, *(path.name for path in self.work.glob("output/*"))):
            (self.out / name).unlink(missing_ok=True)

    def put(self) -> None:
        """Puts the results in WORKDIR so far into OUT."""
        for source in (*sorted(self.work.glob("output/*")), *(self.work / name for name in REPORTS)):
            if source.is_file():
                _put(source, self.out / source.name)
        flush(self.out)

    def holds_all(self, *, scores: bool) -> bool:
        """Returns whether OUT holds a finished, undamaged training, including its scores if `scores` is set."""
        try:
            saved = sums(seal_of(self.work / "output")) or {}
        except DamagedFile:
            return False
        names = ["training.json", *(["scores.json"] * scores)]
        return (
            bool(saved)
            and (self.out / "metrics.jsonl").exists()
            and all(is_sound(self.work / name) and _same(self.work / name, self.out / name) for name in names)
            and all(_has(self.out / Path(name).name, digest) for name, digest in saved.items())
        )


def _put(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        if source.stat().st_size >= LARGE_BYTES:
            with suppress(OSError):  # a file system without hard links
                os.link(source, temporary)
        if not temporary.exists():
            shutil.copyfile(source, temporary)
            flush(temporary)
        temporary.replace(target)
    finally:
        # Also after a success: rename(2) leaves both names if they are links to the same file already.
        temporary.unlink(missing_ok=True)


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and other.is_file() and path.read_bytes() == other.read_bytes()


def _has(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path) == digest


def asked_for(request: TrainingRequest, recipe: Recipe) -> dict[str, Any]:
    """Returns the settings that decide training and scores, with files by their content. Raises `TrainingRefusal`."""
    return {
        "data": [{"name": path.name, "sha256": _sha256(path)} for path in request.data],
        "eval_data": [{"name": path.name, "sha256": _sha256(path)} for path in request.eval_data],
        "holdout": request.holdout_share,
        "recipe": recipe.model_dump(mode="json"),
        "model": _fingerprint("--model", request.model, "config.json", "the base model"),
        "reference": request.reference
        and _fingerprint("--reference", request.reference, "adapter_config.json", "an adapter, as peft saves it"),
    }


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise TrainingRefusal("data", f"{path}: there is no such file") from None
    except OSError as error:
        raise TrainingRefusal("data", f"{path} cannot be read: {error.strerror}") from None


def _fingerprint(option: str, folder: Path, config: str, what: str) -> str:
    if not folder.is_dir():
        raise TrainingRefusal("model", f"{option} {folder}: there is no such folder: name one on this machine")
    fingerprint = weights_fingerprint(folder)
    if fingerprint is None and (folder / config).is_file():
        if option == "--model":
            raise model_folders.without_weights(folder)
        model_folders.require_adapter_weights(folder)
    if not (folder / config).is_file() or fingerprint is None:
        lacks = "weights (*.safetensors)" if (folder / config).is_file() else config
        whole = option == "--reference" and (folder / "config.json").is_file()
        remedy = "give whole weights as --model" if whole else f"name the folder of {what}"
        raise TrainingRefusal("model", f"{option} {folder} holds no {lacks}: {remedy}")
    return fingerprint


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns, as text, the differences from the request with which the training was begun."""
    changes = []
    for key, option in (("data", "--data"), ("eval_data", "--eval-data")):
        old, new = ([file["sha256"] for file in request.get(key, ())] for request in (before, now))
        if len(old) != len(new):
            changes.append(f"{option} names {len(new)} files, not {len(old)}")
        else:
            changed = [now[key][i]["name"] for i in range(len(new)) if old[i] != new[i]]
            changes += [f"the content of {name}" for name in changed]
    if before.get("holdout") != now["holdout"]:
        changes.append(f"--holdout is {now['holdout']:g}, not {before.get('holdout'):g}")
    old_fields, new_fields = _flat(before.get("recipe", {})), _flat(now["recipe"])
    changes += [
        f"{name} is {new_fields.get(name)}, not {old_fields.get(name)}"
        for name in sorted(old_fields.keys() | new_fields.keys())
        if old_fields.get(name) != new_fields.get(name)
    ]
    changes += [f"the weights of --{key}" for key in ("model", "reference") if before.get(key) != now[key]]
    return changes


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested mapping as a flat one: ``{"lora": {"rank": 8}}`` → ``{"lora.rank": 8}``."""
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def copy_log_probs(outs: Sequence[Path], target: Path) -> None:
    """Copies the reference's log-probs of the trainings in `outs`; the trainer decides which fit.

    Raises `TrainingRefusal`.
    """
    target.mkdir()
    for number, out in enumerate(outs):
        source = out / "work" / "reference.safetensors"
        if not source.is_file():
            raise TrainingRefusal(
                "reuse",
                f"--reuse {out} holds no work/{source.name}: name the --out of an earlier training that has its work "
                "folder still and an objective with a reference",
            )
        try:
            write_sealed(target / f"{number}.safetensors", read(source))
        except DamagedFile as damage:
            raise TrainingRefusal("reuse", f"--reuse {out}: {damage}: leave this --reuse out") from None


def copy_adapter(source: Path, target: Path) -> None:
    """Copies the adapter's own files and its tokenizer from its folder.

    That folder may be the OUT of an earlier training, with many other files.
    """
    target.mkdir()
    for path in [*(source / name for name in ADAPTER_FILES), *model_folders.tokenizer_files(source)]:
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    write_seal(seal_of(target), [path for path in target.iterdir() if path.suffix != ".safetensors"])
