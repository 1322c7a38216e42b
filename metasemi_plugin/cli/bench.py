"""The command line: ``python -m metasemi_plugin bench step|standard|gpu|startup|predict``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.bench import (
    gpu,
    operators,
    predict,
    processes,
    report,
    startup,
    step,
    train_steps,
)
from metasemi_plugin.bench.methods import METHODS
from metasemi_plugin.bench.setting import DTYPES, Setting
from metasemi_plugin.cli.words import at_least_1
from metasemi_plugin.run_folder import files


class Part(NamedTuple):
    """What is measured of one setting: see `step.measure`, `train_steps` and `operators`."""

    setting: Setting
    rounds: int
    algorithms: Sequence[str] = ()
    methods: Sequence[str] = tuple(METHODS)
    reference: bool = True
    memory: bool = True
    operators: bool = False
    nproc: int = 0  # of how many processes, see `processes`


_OURS = ("plain", "unrolled", "forward_ad", "forward", "finite_difference")
# Few rounds of the wide net, a step of which takes half a minute.
STANDARD = [
    Part(Setting("cnn13", width=128, warmup_steps=5), 2, methods=_OURS),
    Part(Setting("cnn13", width=128, dtype="bf16", warmup_steps=5), 5, methods=_OURS),
    Part(Setting("cnn13_slim", warmup_steps=20), 7, train_steps.ALGORITHMS, operators=True),
    Part(Setting("cnn13_slim", dtype="bf16", warmup_steps=20), 7, train_steps.ALGORITHMS),
    Part(Setting("wrn_28_2", warmup_steps=10), 3, operators=True),
    Part(Setting("timm/resnet18", warmup_steps=5), 3, methods=_OURS, memory=False),
    Part(Setting("timm/convnext_atto", warmup_steps=5), 5, methods=_OURS, memory=False),
    Part(Setting("timm/vit_tiny_patch16_224", warmup_steps=5), 5, methods=_OURS, memory=False),
    Part(
        Setting("vit_tiny_patch2_32", batch_size=5, ulb_batch_size=15, warmup_steps=2),
        2,
        methods=_OURS,
        memory=False,
    ),
]
NO_BF16 = "bf16 was not timed: this CPU has no bf16 units (amx_bf16, avx512_bf16)."


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status.

    Raises:
        UserError: an option that does not fit.
    """
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)
    return 0


def one(arguments: argparse.Namespace) -> None:
    """``bench step``: one setting, printed, and written if asked to."""
    setting = Setting(**{field: getattr(arguments, field) for field in Setting._fields})
    rest = {field: getattr(arguments, field) for field in Part._fields if field != "setting"}
    if arguments.nproc:
        rest |= {"methods": (), "algorithms": ()}
    measured = measure(Part(setting, **rest))
    if arguments.json:
        report.write_json(measured, arguments.json)
    print(report.markdown([measured]), end="")


def standard(arguments: argparse.Namespace) -> None:
    """``bench standard``: all of STANDARD that this CPU is made for, into a folder."""
    wanted = (
        STANDARD
        if report.cpu_has_bf16()
        else [part for part in STANDARD if part.setting.dtype != "bf16"]
    )
    files.expect_ours(arguments.folder, "step.json", "README.md", "step.png")
    records = []
    for part in wanted:
        print(f"{part.setting} ...", flush=True)
        records.append(measure(part))
        # After each, so that an interruption loses one setting only.
        write(records, arguments.folder, () if len(wanted) == len(STANDARD) else (NO_BF16,))
    print((arguments.folder / "README.md").read_text(encoding="utf-8"), end="")


def measure(part: Part) -> dict:
    """All tables of one setting, as a record."""
    setting, rounds = part.setting, part.rounds
    rows = steps = profiled = shared = []
    if part.methods:
        rows = step.measure(setting, part.methods, rounds, part.reference, part.memory)
    if part.algorithms:
        steps = train_steps.measure(setting, part.algorithms, rounds)
    if part.operators:
        profiled = operators.measure(setting)
    if part.nproc:
        shared = processes.measure(setting, part.nproc, rounds)
    return report.record(setting, rounds, rows, steps, profiled, shared)


def write(records: Sequence[dict], folder: Path, notes: Sequence[str]) -> None:
    """step.json, README.md and step.png."""
    report.write_json(records, folder / "step.json")
    shown = "![Time of a step by each method](step.png)"
    again = (
        "Made by `make bench`; the numbers behind it are in `step.json`. What they say, and what "
        "was aimed at: [notes.md](notes.md)."
    )
    page = report.markdown(records, [again, *notes, shown])
    files.replace(folder / "README.md", page.encode())
    files.replace(folder / "step.png", report.picture(records))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m metasemi_plugin bench")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shows_defaults = argparse.ArgumentDefaultsHelpFormatter

    p = commands.add_parser("step", help="time one setting", formatter_class=shows_defaults)
    p.set_defaults(run=one)
    s = Setting()
    p.add_argument("--net", default=s.net, help="backbone, as in a run")
    p.add_argument("--width", type=at_least_1, default=s.width, help="of cnn13 and cnn13_slim")
    p.add_argument("--dtype", choices=DTYPES, default=s.dtype, help="bf16: by autocast")
    p.add_argument("--img_size", type=at_least_1, default=s.img_size, help="pixels")
    p.add_argument("--batch_size", type=at_least_1, default=s.batch_size, help="B")
    p.add_argument("--ulb_batch_size", type=at_least_1, default=s.ulb_batch_size, help="U")
    p.add_argument("--threads", type=at_least_1, default=s.threads, help="of the CPU")
    p.add_argument("--device", default=s.device, help="auto, cpu, cuda, cuda:N")
    p.add_argument(
        "--warmup_steps",
        type=int,
        default=s.warmup_steps,
        help="training steps before, so that the net is not at its initialization",
    )
    p.add_argument("--rounds", type=at_least_1, default=7, help="how many to time")
    p.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), metavar="NAME",
                   help="rows of the table of methods; none leaves the table out")  # fmt: skip
    p.add_argument("--algorithms", nargs="*", choices=train_steps.ALGORITHMS, metavar="NAME",
                   default=list(train_steps.ALGORITHMS),
                   help="rows of the table of whole train_steps; none leaves it out")  # fmt: skip
    p.add_argument("--no_reference", dest="reference", action="store_false",
                   help="leave out the comparison with float64, the slowest part")  # fmt: skip
    p.add_argument("--no_memory", dest="memory", action="store_false",
                   help="leave out the peak memory, a process for each row")  # fmt: skip
    p.add_argument("--operators", action="store_true",
                   help="add the table of operators, by torch's profiler")  # fmt: skip
    p.add_argument("--nproc", type=at_least_1, default=0, metavar="N",
                   help="time what N processes share instead, and their messages")  # fmt: skip
    p.add_argument("--json", type=Path, metavar="FILE", help="write the record there")

    p = commands.add_parser("standard", help="time the standard settings; takes 20 minutes",
                            formatter_class=shows_defaults)  # fmt: skip
    p.set_defaults(run=standard)
    p.add_argument("--folder", type=Path, default=Path("benchmark_results/step"),
                   help="gets step.json, README.md and step.png")  # fmt: skip

    p = commands.add_parser("gpu", help="eager and captured steps and iterations on a CUDA GPU; "
                            "goes on where it was cut off",
                            formatter_class=shows_defaults)  # fmt: skip
    p.set_defaults(run=lambda arguments: gpu.main(arguments.folder, arguments.only))
    p.add_argument("--only", default="", metavar="NAME",
                   help="tables whose names begin so, e.g. 'step: cnn13' or iteration")  # fmt: skip
    p.add_argument("--folder", type=Path, default=Path("benchmark_results/gpu"),
                   help="gets gpu.json and README.md")  # fmt: skip

    p = commands.add_parser("startup", help="CPU seconds of commands before they do anything",
                            formatter_class=shows_defaults)  # fmt: skip
    p.set_defaults(run=lambda arguments: print(startup.measure(arguments.rounds)))
    p.add_argument("--rounds", type=at_least_1, default=3, help="how many to time")

    p = commands.add_parser("predict", help="what reading images adds to the passes of a net",
                            formatter_class=shows_defaults)  # fmt: skip
    p.set_defaults(run=lambda a: print(predict.measure(a.model, a.images, a.rounds, a.batch_size)))
    p.add_argument("model", type=Path, help="a run folder, or a model folder")
    p.add_argument("images", type=Path, help="a folder of images")
    p.add_argument("--batch_size", type=at_least_1, default=128, help="images a pass")
    p.add_argument("--rounds", type=at_least_1, default=3, help="how many to time")
    return parser
