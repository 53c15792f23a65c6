"""Profiles our step with torch's profiler."""

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.train.lane import Lane
from benchmarks.train.tables import aligned

WARM_UP, STEPS, ROWS = 3, 3, 25


def profiled(lane: Lane) -> str:
    """Returns tables of the most expensive operations of a few steps, by name and by input shapes. Closes the lane.

    Times are those of the operation itself, without the operations that it calls.
    """
    lane.until("loaded")
    for _ in range(WARM_UP):
        lane.until("step")
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, record_shapes=True) as profiler:
        for _ in range(STEPS):
            lane.until("step")
    lane.close()
    tables = []
    for shapes in (False, True):
        # Times are in microseconds.
        events = [
            (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event)
            for event in profiler.key_averages(group_by_input_shape=shapes)
        ]
        total = sum(time for time, _ in events)
        rows = [["operation", "share", "ms per step", "calls per step", *(["inputs"] if shapes else [])]]
        for time, event in sorted(events, key=lambda pair: -pair[0])[:ROWS]:
            cells = [f"{time / total:.1%}", f"{time / 1e3 / STEPS:.1f}", f"{event.count / STEPS:.0f}"]
            inputs = [" ".join(str(shape) for shape in event.input_shapes if shape)[:60]] if shapes else []
            rows.append([event.key[:52], *cells, *inputs])
        tables.append(aligned(rows))
    return "\n\n".join(tables)
