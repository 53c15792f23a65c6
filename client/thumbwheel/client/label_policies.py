"""`LabelPolicies`: versions of the label policy, and which of them is adopted."""

from collections.abc import Iterator

from thumbwheel import wire
from thumbwheel.client.http import Http


class LabelPolicies:
    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, policy: wire.LabelPolicy, *, note: str = "") -> wire.StoredLabelPolicy:
        """Stores the policy as the next version, or returns the version that is equal to it."""
        new = wire.NewLabelPolicy(policy=policy, note=note)
        return self._http.call(wire.StoredLabelPolicy, "POST", "/v1/label-policies", new, safe=True)

    def list(self) -> Iterator[wire.StoredLabelPolicy]:
        """Yields the versions, newest first; the last one, 0, is the server's default."""
        return self._http.pages(wire.StoredLabelPolicy, "/v1/label-policies")

    def get(self, version: int) -> wire.StoredLabelPolicy:
        return self._http.get(wire.StoredLabelPolicy, f"/v1/label-policies/{version}")

    def adopted(self) -> wire.StoredLabelPolicy:
        """Returns the policy that assigns labels now."""
        return self._http.get(wire.StoredLabelPolicy, "/v1/label-policies/adopted")

    def adopt(self, version: int, *, reason: str = "") -> wire.LabelPolicyAdoption:
        """Makes this version assign labels from now on."""
        new = wire.NewAdoption(reason=reason)
        return self._http.call(wire.LabelPolicyAdoption, "POST", f"/v1/label-policies/{version}/adopt", new)

    def adoptions(self) -> Iterator[wire.LabelPolicyAdoption]:
        """Yields the ledger of adoptions, newest first."""
        return self._http.pages(wire.LabelPolicyAdoption, "/v1/label-policies/adoptions")

    def preview(self, new: wire.NewPreview) -> wire.Preview:
        """Returns what a policy would change. A large log takes longer than the default timeout."""
        return self._http.call(wire.Preview, "POST", "/v1/label-policies/preview", new, safe=True)
