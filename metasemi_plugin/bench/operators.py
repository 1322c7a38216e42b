"""The table of operators: in what a step by each method spends its time."""

from collections import Counter

from metasemi_plugin.bench.methods import training_step
from metasemi_plugin.bench.profiling import cpu_profile
from metasemi_plugin.bench.setting import Setting, build

COMPARED = ("plain", "forward", "unrolled")
LARGEST = 12


def measure(setting: Setting) -> list[dict]:
    """Self time on the CPU of one step's operators, the second step of each method in COMPARED.

    Returns:
        Rows with the keys operator and, for each method, its milliseconds. The LARGEST operators
        of any method, largest first, then "other" and "total".
    """
    setting.set_threads()
    model, batches = build(setting._replace(warmup_steps=0))
    times: dict[str, Counter[str]] = {}
    for name in COMPARED:
        training_step(setting, name, model, batches)
        with cpu_profile() as profiler:
            training_step(setting, name, model, batches)
        times[name] = Counter(
            {e.key.removeprefix("aten::"): e.self_cpu_time_total for e in profiler.key_averages()}
        )
    operators = sorted(
        set().union(*times.values()), key=lambda o: max(t[o] for t in times.values()), reverse=True
    )
    groups = {o: [o] for o in operators[:LARGEST]}
    groups |= {"other": operators[LARGEST:], "total": operators}
    return [
        {"operator": name, **{m: sum(t[o] for o in group) / 1e3 for m, t in times.items()}}
        for name, group in groups.items()
    ]
