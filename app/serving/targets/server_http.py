"""HTTP with a serving target: every call ends in time, follows no redirect, and tells an absent server from one that
refuses. The key of the server is in one header, and in no message.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import httpx
from thumbwheel.wire.serving import RemoteSettings
from thumbwheel.wire.values import storable

from app.errors import brief
from app.serving.targets.target import TargetAway, TargetRefused
from app.suites.bounded_requests import AnswerTooLarge, BoundedRequests, RequestsClosed

CONNECT_SECONDS = 2.0
#: Of any request that neither loads nor computes.
ANSWER_SECONDS = 20.0
MOST_ANSWER_BYTES = 4 * 2**20
#: Answers of a proxy without its server, and of a server that is busy or starts.
NOT_READY = frozenset({408, 425, 429, 502, 503, 504})
LONGEST_NAME = 500


def is_model_name(value: Any) -> TypeGuard[str]:
    """Returns whether a server's answer is the name of a model, which Postgres can store."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        return False
    try:
        storable(value)
    except ValueError:
        return False
    return True


class ServerHttp:
    """Calls to one server; the path of its URL itself is "". Raises `TargetAway` and `TargetRefused`."""

    def __init__(self, settings: RemoteSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._url = settings.url
        self._key = ""
        if settings.key_env is not None:
            self._key = environment.get(settings.key_env, "")
            if not self._key:
                raise TargetRefused(f"the workers have no environment variable {settings.key_env}: set it and restart")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._load_seconds = settings.load_seconds
        self._requests = BoundedRequests(
            headers, seconds=ANSWER_SECONDS, most_bytes=MOST_ANSWER_BYTES, connect_seconds=CONNECT_SECONDS
        )

    def close(self) -> None:
        self._requests.close()

    def get(self, path: str) -> Any:
        """Returns the JSON at `path`."""
        return self._document(path, self._answer(path, lambda: self._requests.get(self._url + path)))

    def post(self, path: str, body: Mapping[str, Any], *, patient: bool = False) -> Any:
        """Returns the JSON that answers `body`.

        patient  the call may take as long as a load: the first one after it also compiles
        """
        seconds = self._load_seconds if patient else None
        return self._document(path, self._answer(path, lambda: self._requests.post(self._url + path, body, seconds)))

    def order(self, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        """Returns the status and the text that answer an order to load or unload, whatever the status is."""
        response = self._answer(
            path,
            lambda: self._requests.post(self._url + path, body, self._load_seconds),
            refused=lambda _: False,
        )
        return response.status_code, self.safe(response.text)

    def _answer(
        self,
        path: str,
        send: Callable[[], httpx.Response],
        refused: Callable[[httpx.Response], bool] = lambda response: not response.is_success,
    ) -> httpx.Response:
        what = path or "it"
        try:
            response = send()
        except AnswerTooLarge:
            raise TargetRefused(f"{what} answered more than {MOST_ANSWER_BYTES // 2**20} MiB") from None
        except (httpx.TimeoutException, TimeoutError):
            raise TargetAway(f"{what} did not answer in time") from None
        except RequestsClosed:
            raise TargetAway("the requests were ended") from None
        except httpx.HTTPError as error:
            raise TargetAway(f"{what} cannot be reached ({self.safe(str(error) or type(error).__name__)})") from None
        if response.status_code in NOT_READY:
            raise TargetAway(f"{what} answered {response.status_code}: {self.safe(response.text)}")
        if response.is_redirect:
            raise TargetRefused(f"{what} answered {response.status_code}, a redirect: set url to the server itself")
        if refused(response):
            raise TargetRefused(f"{what} answered {response.status_code}: {self.safe(response.text)}")
        return response

    def _document(self, path: str, response: httpx.Response) -> Any:
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError):
            raise TargetRefused(f"{path or 'it'} answered no JSON: is this the address of the server?") from None

    def safe(self, text: str) -> str:
        """Returns the beginning of a text of the server on one line, without our key."""
        line = " ".join(text.encode(errors="replace").decode().replace("\0", "").split())
        return brief(line.replace(self._key, "***") if self._key else line)
