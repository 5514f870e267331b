"""Collect the results of the study's runs that are scored so far.

    python examples/low_resource/results.py --runs runs/low_resource/runs --main alpha5 \
        --out results.tsv

Writes a row per run and checkpoint (best: lowest valid loss; last; average of the last five), and
prints those of the best checkpoints and of the averages as tables in Markdown, with means over the
seeds. The validation loss of an average is not known. p-values are sacrebleu's paired
bootstrap against the baseline of the same seed with the same updates (vs_baseline; for -long
that is baseline-long) and with the same CPU time (vs_baseline_time), both with the same choice of
checkpoint; the second is given for the main setting only, whose time it is. Comparisons are kept
beside the scores, as comparison.SETTING.json, and not made again.
"""

import json
import math
import re
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from score import compare  # scripts/score.py
from text_files import argument_parser, command_line, whole_lines, write_json, write_lines

BASELINES = ("baseline", "baseline-time")
COLUMNS = [
    *("setting", "seed", "updates", "cpu_seconds", "checkpoint", "at_update"),
    *("valid_loss", "valid_ppl", "BLEU", "chrF2"),
    *(
        f"{metric}_{what}_vs_{baseline.replace('-', '_')}"
        for baseline in BASELINES
        for metric in ("BLEU", "chrF2")
        for what in ("difference", "p")
    ),
    *("BLEU_signature", "chrF2_signature", "bootstrap_signature"),
]


def validations(log: Path) -> dict[int, dict[str, float]]:
    """Of each validation in a json log of fairseq-train: update -> loss (bits) and ppl."""
    found = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        match = re.search(r"\| valid \| (\{.*\})$", line)
        if match:
            values = json.loads(match[1])
            found[int(values["valid_num_updates"])] = {
                "loss": float(values["valid_loss"]),
                "ppl": float(values["valid_ppl"]),
            }
    return found


def comparison(system: Path, baseline: Path, name: str) -> dict | None:
    """The paired bootstrap of one scored folder against another, or None if it is not scored."""
    if not (baseline / "scores.json").is_file():
        return None
    kept = system / f"comparison.{name}.json"
    times = [(folder / "scores.json").stat().st_mtime for folder in (system, baseline)]
    if not kept.is_file() or kept.stat().st_mtime < max(times):
        texts = (
            whole_lines(path, "hypothesis") for path in (system / "hyp.txt", baseline / "hyp.txt")
        )
        result = compare(*texts, whole_lines(system / "ref.txt", "reference"))
        write_json(kept, result, shared=True)  # by several studies
    return json.loads(kept.read_text())


def rows(runs: Path, main: str) -> list[dict[str, str]]:
    """One row per scored run and checkpoint, by setting and seed."""
    found = []
    scored = [(path.parts[-3].rsplit(".", 1), path) for path in runs.glob("*/*/scores.json")]
    scored.sort(key=lambda item: (not item[0][0].startswith("baseline"), item))
    for _, scores_path in scored:
        folder, run = scores_path.parent, scores_path.parent.parent
        setting, _, seed = run.name.rpartition(".")
        scores = json.loads(scores_path.read_text())
        losses = validations(run / "train.log")
        updates = int((run / "updates").read_text())
        # of equal losses fairseq keeps the last as checkpoint_best.pt; these are rounded
        best = {(math.isnan(values["loss"]), values["loss"], -n) for n, values in losses.items()}
        at = -min(best)[-1] if folder.name == "best" else updates
        valid = {} if folder.name == "average" else losses[at]
        seconds = (run / "cpu_seconds").read_text().split()
        spent = "" if "unknown" in seconds else f"{sum(map(float, seconds)):.0f}"
        row = {
            **{"setting": setting, "seed": seed, "updates": updates},
            **{"cpu_seconds": spent, "checkpoint": folder.name, "at_update": at},
        }
        if valid:
            row |= {"valid_loss": f"{valid['loss']:.3f}", "valid_ppl": valid["ppl"]}
        for metric in ("BLEU", "chrF2"):
            row[metric] = f"{scores[metric]['score']:.2f}"
            row[f"{metric}_signature"] = scores[metric]["signature"]
        for name in BASELINES:
            other = name
            if setting.endswith("-long") and name == "baseline":
                other = "baseline-long"
            if setting.startswith("baseline") or (name == "baseline-time" and setting != main):
                continue
            result = comparison(folder, runs / f"{other}.{seed}" / folder.name, name)
            for metric, values in (result or {}).items():
                column = f"vs_{name.replace('-', '_')}"
                row[f"{metric}_difference_{column}"] = f"{values['difference']:+.2f}"
                row[f"{metric}_p_{column}"] = f"{values['p_value']:.4f}"
                if metric == "BLEU":
                    row["bootstrap_signature"] = values["signature"]
        found.append({column: str(row.get(column, "")) for column in COLUMNS})
    return found


def difference(row: dict[str, str], metric: str, baseline: str) -> str:
    """A cell: the difference from a baseline with its p-value, if there is one."""
    value, p = (row[f"{metric}_{what}_vs_{baseline}"] for what in ("difference", "p"))
    return f"{value} ({p})" if value else ""


def markdown(table: list[dict[str, str]], checkpoint: str) -> str:
    """The rows of a choice of checkpoint, and the mean of each setting with several seeds."""
    names = [
        "setting",
        "seed",
        "updates",
        "cpu_seconds",
        "at_update",
        "valid_loss",
        "BLEU",
        "chrF2",
    ]
    head = ["setting", "seed", "updates", "CPU s", "at", "valid loss", "BLEU", "chrF2"]
    head += ["BLEU - baseline (p)", "chrF2 - baseline (p)"]
    head += ["BLEU - baseline-time (p)", "chrF2 - baseline-time (p)"]
    lines = [head, ["---"] * len(head)]
    of_setting: dict[str, list[dict[str, str]]] = {}
    for row in table:
        if row["checkpoint"] == checkpoint:
            of_setting.setdefault(row["setting"], []).append(row)
    for setting, found in of_setting.items():
        for row in found:
            cells = [row[name] for name in names]
            for baseline in ("baseline", "baseline_time"):
                cells += [difference(row, metric, baseline) for metric in ("BLEU", "chrF2")]
            lines.append(cells)
        if len(found) > 1:
            means = {
                name: statistics.fmean(float(row[name]) for row in found)
                for name in names[2:]
                if all(row[name] for row in found)
            }
            cells = [setting, "mean", f"{means['updates']:.0f}"]
            cells.append(f"{means['cpu_seconds']:.0f}" if "cpu_seconds" in means else "")
            cells.append(f"{means['at_update']:.0f}")
            cells.append(f"{means['valid_loss']:.3f}" if "valid_loss" in means else "")
            cells += [f"{means['BLEU']:.2f}", f"{means['chrF2']:.2f}"]
            lines.append(cells + [""] * (len(head) - len(cells)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--main", required=True, help="the setting whose time baseline-time has")
    parser.add_argument("--out", type=Path, required=True, help="the tsv file to write")
    args = parser.parse_args()
    table = rows(args.runs, args.main)
    if not table:
        sys.exit(f"results: {args.runs} holds no scored run (SETTING.SEED/best/scores.json)")
    lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in table)]
    write_lines(args.out, lines, shared=True)
    print(f"Best checkpoints\n\n{markdown(table, 'best')}")
    if any(row["checkpoint"] == "average" for row in table):
        print(f"\nAverages of the last five checkpoints\n\n{markdown(table, 'average')}")


if __name__ == "__main__":
    command_line(main)
