"""Write a table of validation loss and BLEU over updates, of what curves.sh scored.

    python examples/low_resource/curves.py --runs runs/low_resource/runs --out curves.tsv \\
        baseline.1 alpha1.1

A row for each validation: setting, seed, update, valid_loss (bits), valid_ppl, and BLEU of the
average of the last five checkpoints where it was scored.
"""

import json
import sys
from pathlib import Path

from results import validations

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, writing


def rows(run: Path) -> list[str]:
    """The table's rows of one run."""
    setting, _, seed = run.name.rpartition(".")
    found = []
    for update, values in sorted(validations(run / "train.log").items()):
        scores = run / "curve" / str(update) / "scores.json"
        bleu = f"{json.loads(scores.read_text())['BLEU']['score']:.2f}" if scores.exists() else ""
        cells = (setting, seed, update, values["loss"], values["ppl"], bleu)
        found.append("\t".join(map(str, cells)))
    return found


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("names", nargs="+", help="runs, SETTING.SEED")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, required=True, help="the tsv file to write")
    args = parser.parse_args()
    lines = ["\t".join(("setting", "seed", "update", "valid_loss", "valid_ppl", "BLEU"))]
    for name in args.names:
        lines += rows(args.runs / name)
    with writing(args.out) as (file,):
        file.write("\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    command_line(main)
