"""The groups of a project's prompts: placed once, in the order of the log, and kept."""

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.labels.service import LogTexts
from app.snapshots.groups import Groups
from app.snapshots.prompts import store
from app.snapshots.split import group_of, key_of

#: Prompts that are placed at a time.
AT_ONCE = 20_000


def place(session: Session, project: str, watermark: int) -> int:
    """Place the prompts up to `watermark` that were not placed yet; how many were looked at.

    Where a prompt belongs follows from the log up to itself, and from nothing else: however often, and in how many
    parts, this is called. Other calls for the project wait.
    """
    if store.placed(session, project) >= watermark:
        return 0
    placed = store.lock_placed(session, project)
    texts = LogTexts(session, project, watermark)
    prompts = texts.prompts_after(placed, AT_ONCE)
    looked_at = len(prompts)
    if looked_at:
        groups = Groups()
        groups.load(store.leaders(session, project))
    placed_now: set[bytes] = set()  # and wherever they come again
    while len(prompts):
        said: dict[bytes, str] = {}
        for sent in dict.fromkeys(prompts["prompt"].to_pylist()):
            group = _group_of(sent)
            if group is not None and (key := key_of(group)) not in placed_now:
                said[key] = group
        placed_now.update(said)
        keys = list(said)
        before = len(groups)
        leaders = groups.add(list(said.values()), keys)
        store.add_leaders(session, project, groups.rows(), before)
        store.add_led(session, project, {key: one for key, one in zip(keys, leaders, strict=True) if one != key})
        placed = prompts["position"][-1].as_py()
        prompts = texts.prompts_after(placed, AT_ONCE)
        looked_at += len(prompts)
    store.place_up_to(session, project, watermark)
    return looked_at


def leaders_of(session: Session, project: str, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(P, 2) keys of the prompts that lead the groups of these (P, 2): themselves, but for those that are led."""
    led, leader = (np.frombuffer(said, dtype=np.uint64).reshape(-1, 2) for said in store.led(session, project))
    found = keys.copy()
    if len(led):
        places = {one.tobytes(): place for place, one in enumerate(led)}
        for number, key in enumerate(keys):
            place_of = places.get(key.tobytes())
            if place_of is not None:
                found[number] = leader[place_of]
    return found


def _group_of(sent: str) -> str | None:
    """None for prompts that no snapshot has: see `candidates`."""
    prompt = msgspec.json.decode(sent)
    if isinstance(prompt, list) and any(message.keys() != {"role", "content"} for message in prompt):
        return None
    return group_of(prompt)
