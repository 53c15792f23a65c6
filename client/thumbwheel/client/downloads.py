"""Downloads checkpoint and snapshot files: a file is complete and verified, or does not exist."""

from pathlib import Path

from thumbwheel.client.http import Http
from thumbwheel.client.partial_file import PartialFile, Progress, sha256_of, worth_repeating
from thumbwheel.errors import Unreachable


def download(http: Http, path: str, target: Path, sha256: str, progress: Progress = lambda _done, _total: None) -> None:
    """Downloads `path` of the API to `target`. An existing complete file is not downloaded again.

    The content is hashed while it arrives, in a file next to the target that is renamed only if the hash is `sha256`. A
    broken connection is resumed if the server supports `Range`, and started from the beginning if it does not. The
    limits of the client's retries count from the last byte gained.

    Raises `Damaged` if the content has another hash, `Unreachable`, `ApiError`.
    """
    if target.is_file() and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with PartialFile(target, sha256) as partial:

        def fetch() -> None:
            response = http.open(http.request("GET", path, headers=partial.headers()))
            try:
                if not response.is_success:
                    response.read()
                partial.begin(response)
                for chunk in response.iter_bytes():
                    partial.append(chunk, progress)
                partial.end()
            finally:
                response.close()

        while True:
            most = partial.most
            try:
                http.retries.call(http.url, fetch, worth_repeating)
                break
            except Unreachable:
                if partial.most == most:
                    raise
        partial.finish()
