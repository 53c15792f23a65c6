"""Where the time of our step goes, by torch's profiler."""

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.train.lane import Lane
from benchmarks.train.tables import aligned

WARM_UP, STEPS, ROWS = 3, 3, 25


def profiled(lane: Lane) -> str:
    """Tables of the dearest operations of a few steps, by name and by shapes of what they take; the lane is done with.

    Times are of the operation itself, without those that it calls.
    """
    lane.until("loaded")
    for _ in range(WARM_UP):
        lane.until("step")
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, record_shapes=True) as found:
        for _ in range(STEPS):
            lane.until("step")
    lane.close()
    tables = []
    for shapes in (False, True):
        # Times are in microseconds.
        events = [
            (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event)
            for event in found.key_averages(group_by_input_shape=shapes)
        ]
        total = sum(time for time, _ in events)
        rows = [["operation", "share", "ms a step", "calls a step", *(["takes"] if shapes else [])]]
        for time, event in sorted(events, key=lambda one: -one[0])[:ROWS]:
            told = [f"{time / total:.1%}", f"{time / 1e3 / STEPS:.1f}", f"{event.count / STEPS:.0f}"]
            taken = [" ".join(str(shape) for shape in event.input_shapes if shape)[:60]] if shapes else []
            rows.append([event.key[:52], *told, *taken])
        tables.append(aligned(rows))
    return "\n\n".join(tables)
