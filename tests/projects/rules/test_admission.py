"""Admissions that are remembered for a moment."""

import asyncio
from typing import Any

from app.projects.admission import Admission, Admitted


class Lane:
    async def run(self, _: Any) -> Admitted:
        return Admitted("desk", None)


def remembered(query: bytes) -> Admitted | None:
    async def admitted_before() -> Admitted | None:
        admission = Admission("feedback:write", Lane())  # type: ignore[arg-type]
        await admission.admit(b"Bearer twb_1", query)
        return admission.remembered(b"Bearer twb_1", query)

    return asyncio.run(admitted_before())


def test_long_queries_do_not_fill_the_memory() -> None:
    assert remembered(b"project=desk") == Admitted("desk", None)
    assert remembered(b"project=desk&x=" + b"x" * 2000) is None
