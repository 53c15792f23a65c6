"""A model in a folder as what suites run against. A process of its own loads it, since torch is never imported here."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from app import services
from app.errors import Invalid, Unavailable
from app.suites.endpoint import Missing, Sampling, WrittenText
from app.suites.running import Writers
from app.suites.samples import SuiteSample

#: Packages that are installed only with the extra `worker`.
NEEDED = ("torch", "transformers", "peft")
MODULE = "worker.suite_outputs"


class LocalModel:
    """The model in `folder`, with the adapter in `adapter` if there is one."""

    def __init__(self, folder: Path, adapter: Path | None, sampling: Sampling) -> None:
        for name in NEEDED:
            if find_spec(name) is None:
                raise Unavailable(
                    f"--folder needs {name}, which is not installed: pip install 'thumbwheel-server[worker]'.",
                    code="worker_missing",
                )
        for option, path in (("--folder", folder), ("--adapter", adapter)):
            if path is not None and not path.is_dir():
                raise Invalid(f"{option} {path} is not a folder.", code="invalid_option")
        if (folder / "adapter_config.json").is_file():
            raise Invalid(
                f"--folder {folder} holds an adapter: name its base model by --folder, and it by --adapter.",
                code="invalid_option",
            )
        self._request = {
            "folder": str(folder), "adapter": None if adapter is None else str(adapter), **vars(sampling),
        }  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None

    def writers(self, samples: Sequence[SuiteSample]) -> Writers:
        """Returns for each sample the call that waits for its output. Raises `Invalid` if the model cannot be used."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has ended
        self._process = subprocess.Popen(
            services.tethered([sys.executable, "-m", MODULE]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8",
        )  # fmt: skip
        outputs: list[Future[WrittenText]] = [Future() for _ in samples]
        request = json.dumps({**self._request, "prompts": [sample.content() for sample in samples]})
        self._send(request)
        if self._line() is None:
            raise Invalid(f"The model cannot be used: {self._end()}.", code="model_unusable")
        threading.Thread(target=self._receive, args=(outputs,), name="outputs", daemon=True).start()
        return [partial(output.result) for output in outputs]

    def close(self) -> None:
        """Ends the process; outputs that it has not written are missing."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()

    def _send(self, request: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and its output says why

    def _line(self) -> Any:
        """Returns the next JSON document of the process; None at its end."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None

    def _receive(self, outputs: Sequence[Future[WrittenText]]) -> None:
        while (answer := self._line()) is not None:
            output = outputs[answer["index"]]
            if "missing" in answer:
                output.set_exception(Missing(answer["missing"]))
            else:
                output.set_result(WrittenText(answer["text"], answer["cut_off"]))
        missing = [output for output in outputs if not output.done()]
        reason = self._end()
        for output in missing:
            output.set_exception(Missing(reason))

    def _end(self) -> str:
        """Returns how the process ended, as a clause."""
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        if code < 0:
            memory = ", often because memory ran out" if code == -signal.SIGKILL else ""
            return f"its process was ended by {signal.Signals(-code).name}{memory}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return (lines[-1] if lines else f"its process ended with exit code {code}").rstrip(".")
