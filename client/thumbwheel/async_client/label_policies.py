# Written by tools/async_client.py from ../client/label_policies.py: change that file, then run `make async-client`.
"""`AsyncLabelPolicies`: versions of the label policy, and which of them is adopted."""

from collections.abc import AsyncIterator

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncLabelPolicies:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, policy: wire.LabelPolicy, *, note: str = "") -> wire.StoredLabelPolicy:
        """Stores the policy as the next version, or returns the version that is equal to it."""
        new = wire.NewLabelPolicy(policy=policy, note=note)
        return await self._http.call(wire.StoredLabelPolicy, "POST", "/v1/label-policies", new, safe=True)

    def list(self) -> AsyncIterator[wire.StoredLabelPolicy]:
        """Yields the versions, newest first; the last one, 0, is the server's default."""
        return self._http.pages(wire.StoredLabelPolicy, "/v1/label-policies")

    async def get(self, version: int) -> wire.StoredLabelPolicy:
        return await self._http.get(wire.StoredLabelPolicy, f"/v1/label-policies/{version}")

    async def adopted(self) -> wire.StoredLabelPolicy:
        """Returns the policy that assigns labels now."""
        return await self._http.get(wire.StoredLabelPolicy, "/v1/label-policies/adopted")

    async def adopt(self, version: int, *, reason: str = "") -> wire.LabelPolicyAdoption:
        """Makes this version assign labels from now on."""
        new = wire.NewAdoption(reason=reason)
        return await self._http.call(wire.LabelPolicyAdoption, "POST", f"/v1/label-policies/{version}/adopt", new)

    def adoptions(self) -> AsyncIterator[wire.LabelPolicyAdoption]:
        """Yields the ledger of adoptions, newest first."""
        return self._http.pages(wire.LabelPolicyAdoption, "/v1/label-policies/adoptions")

    async def preview(self, new: wire.NewPreview) -> wire.Preview:
        """Returns what a policy would change. A large log takes longer than the default timeout."""
        return await self._http.call(wire.Preview, "POST", "/v1/label-policies/preview", new, safe=True)
