"""`python -m worker.kto.standalone REQUEST`: one training without any service. REQUEST is a JSON document
(`worker.kto.standalone.request.Request`); `thumbwheel train` makes it of its options and calls this.

The summary goes to stdout: a table on a terminal, else one JSON object. Exit codes: 0 done, 2 refused with one line on
stderr, 75 stopped after the state was saved, anything else is a crash.
"""

import errno
import json
import sys

from pydantic import ValidationError

from worker.kto.process import DONE, REFUSED, STOPPED, Refusal, Stopped, StopRequest, prepare_environment

#: The disk, a quota, or the largest size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: How safetensors and pyarrow tell it.
FULL_IN_WORDS = ("No space left on device", "StorageFull", "File too large", "Disk quota exceeded")


def main(document: str) -> int:
    stop = StopRequest()
    stop.listen()
    prepare_environment()

    from worker.kto.standalone.request import Request
    from worker.kto.standalone.summary import show
    from worker.kto.standalone.training import train_alone

    try:
        request = Request.model_validate_json(document)
        summary = train_alone(request, stop)
    except ValidationError as error:
        fault = error.errors()[0]
        return _refused(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
    except Refusal as refusal:
        return _refused(refusal.message)
    except Stopped:
        _say("stopped: run the same command to continue")
        return STOPPED
    except Exception as error:
        if not _disk_is_full(error):
            raise
        return _refused(f"--out {request.out}: the disk is full: make room and run the same command to continue")
    if summary["finished_before"]:
        _say(f"{request.out} was finished before and is left as it is: --restart trains anew")
    if sys.stdout.isatty() and not request.as_json:
        show(summary)
    else:
        sys.stdout.write(json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    return DONE


def _disk_is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in FULL or any(sign in str(error) for sign in FULL_IN_WORDS)


def _refused(line: str) -> int:
    _say(" ".join(line.split()))
    return REFUSED


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
