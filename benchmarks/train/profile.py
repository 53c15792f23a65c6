"""Where the time of our step goes, by torch's profiler."""

from torch.profiler import ProfilerActivity, profile

from benchmarks.train.lane import Lane

WARM_UP, STEPS, ROWS = 3, 3, 30


def profiled(lane: Lane) -> str:
    """A table of the dearest operations of a few steps; the lane is done with."""
    lane.until("loaded")
    for _ in range(WARM_UP):
        lane.until("step")
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities, record_shapes=True) as found:
        for _ in range(STEPS):
            lane.until("step")
    lane.close()
    on_gpu = any(event.device_time_total > 0 for event in found.key_averages())
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    plain = found.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=44)
    shapes = found.key_averages(group_by_input_shape=True).table(
        sort_by=order, row_limit=ROWS // 2, max_name_column_width=32, max_shapes_column_width=72
    )
    return f"{plain}\n{shapes}"
