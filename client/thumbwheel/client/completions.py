"""`Completions`: prompts and the completions of a model."""

from urllib.parse import quote

from thumbwheel import wire
from thumbwheel.client.http import Http


class Completions:
    def __init__(self, http: Http) -> None:
        self._http = http

    def register(self, completion_id: str, completion: wire.Completion) -> wire.CompletionReceipt:
        """Stores a prompt and its completion, so that events can refer to them by the id alone."""
        return self._http.call(wire.CompletionReceipt, "PUT", _path(completion_id), completion, safe=True)

    def get(self, completion_id: str) -> wire.StoredCompletion:
        """Returns a registered completion."""
        return self._http.get(wire.StoredCompletion, _path(completion_id))

    def explain_label(self, completion_id: str) -> wire.LabelExplanation:
        """Returns the label of one completion under the adopted policy, signal by signal."""
        return self._http.get(wire.LabelExplanation, f"{_path(completion_id)}/label")


def _path(completion_id: str) -> str:
    return f"/v1/completions/{quote(completion_id, safe='')}"
