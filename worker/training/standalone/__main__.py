"""Runs one training without any service: `python -m worker.training.standalone REQUEST`.

REQUEST is a JSON document (`worker.training.standalone.request.TrainingRequest`), which `thumbwheel train` makes from
its options. The summary is printed on stdout: a table on a terminal, otherwise one JSON object. Exit codes: 0 done, 2
refused with one line on stderr, 71 memory ran out, 75 stopped after the state was saved; any other is a crash.
"""

import gc
import json
import sys

from pydantic import ValidationError

from worker.training.machine.out_of_memory import is_disk_full
from worker.training.machine.process import (
    DONE,
    OUT_OF_MEMORY,
    REFUSED,
    STOPPED,
    OutOfMemory,
    Stopped,
    StopRequest,
    TrainingRefusal,
    prepare_environment,
)


def main(document: str) -> int:
    stop = StopRequest()
    stop.listen()
    prepare_environment()
    gc.disable()  # until the trainer has loaded its libraries

    from worker.training.standalone.request import TrainingRequest
    from worker.training.standalone.summary import show
    from worker.training.standalone.training import train_alone

    try:
        request = TrainingRequest.model_validate_json(document)
        summary = train_alone(request, stop)
    except ValidationError as error:
        fault = error.errors()[0]
        return _refused(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
    except TrainingRefusal as refusal:
        return _refused(refusal.message)
    except OutOfMemory as shortage:
        _say(" ".join(shortage.message.split()))
        return OUT_OF_MEMORY
    except Stopped:
        _say("stopped: run the same command to continue")
        return STOPPED
    except Exception as error:
        if not is_disk_full(error):
            raise
        return _refused(f"--out {request.out}: the disk is full: make room and run the same command to continue")
    if summary["finished_before"]:
        _say(f"{request.out} was finished before and is left as it is: --restart trains again")
    if sys.stdout.isatty() and not request.as_json:
        show(summary)
    else:
        sys.stdout.write(json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    return DONE


def _refused(line: str) -> int:
    _say(" ".join(line.split()))
    return REFUSED


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
