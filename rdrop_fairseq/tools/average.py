"""Average the parameters of fairseq checkpoints, in float64.

    python scripts/average_checkpoints.py --output avg.pt a.pt b.pt c.pt
    python scripts/average_checkpoints.py --output avg.pt --last 10 checkpoints/

The average has everything else (configuration, dictionary sizes) from the last one, but
no optimizer state: it is for generation and fine-tuning, not to resume from.
"""

import re
import sys
from pathlib import Path

import torch
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

sys.path.insert(0, str(Path(__file__).parent / "corpus"))
from text_files import InputError, argument_parser, command_line, writing


def last_checkpoints(folder: Path, count: int) -> list[Path]:
    """The last ``count`` checkpoints by epoch or, if there are fewer, by update.

    Raises:
        InputError: there are fewer of those, too.
    """
    most = 0
    for pattern in (r"checkpoint(\d+)\.pt", r"checkpoint_\d+_(\d+)\.pt"):
        found = {
            int(match[1]): path
            for path in folder.glob("*.pt")
            if (match := re.fullmatch(pattern, path.name))
        }
        if len(found) >= count:
            return [found[number] for number in sorted(found)[-count:]]
        most = max(most, len(found))
    raise InputError(
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
        InputError: the checkpoints' parameters differ in name or shape.
    """
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
                raise InputError(
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


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("inputs", type=Path, nargs="+", help="checkpoints, or a folder with --last")
    parser.add_argument("--output", type=Path, required=True, help="where to write the average")
    parser.add_argument("--last", type=int, metavar="N", help="average the folder's last N")
    args = parser.parse_args()

    paths = args.inputs
    if args.last is not None:
        if args.last < 1:
            parser.error(f"--last must be at least 1, got {args.last}")
        if len(paths) != 1 or not paths[0].is_dir():
            parser.error(f"--last takes one folder, got {' '.join(map(str, paths))}")
        paths = last_checkpoints(paths[0], args.last)
    for path in paths:
        if path.is_dir():
            parser.error(f"{path} is a folder: give --last N to average its last N checkpoints")
        if not path.is_file():
            parser.error(f"no such checkpoint: {path}")
    if not args.output.parent.is_dir():
        parser.error(f"no such folder to write to: {args.output.parent}")

    state = average(paths)
    try:
        with writing(args.output) as (file,):
            torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a full disk
        raise InputError(f"cannot write {args.output}: is the disk full? ({error})") from None
    print(f"average of {len(paths)} in {args.output}: {' '.join(path.name for path in paths)}")


if __name__ == "__main__":
    command_line(main)
