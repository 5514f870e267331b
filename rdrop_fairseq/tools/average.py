"""Average the parameters of fairseq checkpoints, in float64.

    rdrop average --output avg.pt a.pt b.pt c.pt
    rdrop average --output avg.pt --last 10 checkpoints/

The average has everything else (configuration, dictionary sizes) from the last one, but
no optimizer state: it is for generation and fine-tuning, not to resume from.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .command_line import command, output_file, parser, whole
from .files import writing

if TYPE_CHECKING:
    import torch


def last_checkpoints(folder: Path, count: int, until: int | None = None) -> list[Path]:
    """The last ``count`` checkpoints by epoch or, if there are fewer, by update.

    Args:
        until: of those by update those up to this one.

    Raises:
        UsageError: there are fewer of those, too.
    """
    most = 0
    by_epoch, by_update = r"checkpoint(\d+)\.pt", r"checkpoint_\d+_(\d+)\.pt"
    for pattern in (by_epoch, by_update) if until is None else (by_update,):
        found = {
            int(match[1]): path
            for path in folder.glob("*.pt")
            if (match := re.fullmatch(pattern, path.name))
            and (until is None or int(match[1]) <= until)
        }
        if len(found) >= count and until in (None, max(found)):
            return [found[number] for number in sorted(found)[-count:]]
        most = max(most, len(found))
    if until is not None:
        raise UsageError(
            f"{folder} has no {count} checkpoints by update with {until} as the last: "
            "train with a --save-interval-updates that divides it, and --keep-interval-updates -1"
        )
    raise UsageError(
        f"{folder} holds {most} checkpoints by epoch (checkpointN.pt) or by update "
        f"(checkpoint_E_N.pt), fewer than {count}: ask for fewer or for a single checkpoint, or "
        "train on (without --no-epoch-checkpoints, or with --save-interval-updates and "
        f"--keep-interval-updates {count})"
    )


def average(paths: list[Path]) -> dict:
    """The last checkpoint's state with the mean of all parameters, computed in float64.

    Parameters that are not floating point (counters) are taken from the last one. Tied ones,
    which share their memory in it, do so in the average: they are written once.

    Raises:
        UsageError: the checkpoints' parameters differ in name or shape.
    """
    from fairseq import checkpoint_utils
    from omegaconf import OmegaConf

    total: dict[str, torch.Tensor] = {}
    for path in paths:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        model = state["model"]
        shapes = {name: tuple(tensor.shape) for name, tensor in model.items()}
        if not total:
            total = {n: t.double() for n, t in model.items() if t.is_floating_point()}
            first_shapes = shapes
            continue
        for name in sorted(shapes.keys() | first_shapes.keys()):
            if shapes.get(name) != first_shapes.get(name):
                raise UsageError(
                    f"{name} is {first_shapes.get(name, 'missing')} in "
                    f"{paths[0]} but {shapes.get(name, 'missing')} in {path}: "
                    "average checkpoints of one training only"
                )
        for name in total:
            total[name] += model[name].double()
    means: dict[tuple, torch.Tensor] = {}  # by where the last checkpoint had the parameter
    for name, tensor in total.items():
        old = model[name]
        where = (old.data_ptr(), old.dtype, old.shape, old.stride()) if old.numel() else (name,)
        model[name] = means.setdefault(where, (tensor / len(paths)).to(old.dtype))
    # as fairseq writes it; loading has made it an omegaconf object
    cfg = state["cfg"] and OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    return {**state, "cfg": cfg, "last_optimizer_state": None}


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    import torch

    try:
        with writing(path) as (file,):
            torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a full disk
        raise UsageError(f"cannot write {path}: is the disk full? ({error})") from None


@command("rdrop average")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "rdrop average")
    cli.add_argument("inputs", type=Path, nargs="+", help="checkpoints, or a folder with --last")
    cli.add_argument("--output", type=output_file, required=True, help="where to write the average")
    cli.add_argument("--last", type=whole(1), metavar="N", help="average the folder's last N")
    args = cli.parse_args(argv)

    paths = args.inputs
    if args.last is not None:
        if len(paths) != 1 or not paths[0].is_dir():
            cli.error(f"--last takes one folder, got {' '.join(map(str, paths))}")
        paths = last_checkpoints(paths[0], args.last)
    for path in paths:
        if path.is_dir():
            cli.error(f"{path} is a folder: give --last N to average its last N checkpoints")
        if not path.is_file():
            cli.error(f"no such checkpoint: {path}")
    save(average(paths), args.output)
    print(f"average of {len(paths)} in {args.output}: {' '.join(path.name for path in paths)}")


if __name__ == "__main__":
    main()
