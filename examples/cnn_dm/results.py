"""Collect the scores of the runs that study.sh has scored so far, and compare them in pairs.

    python examples/cnn_dm/results.py --runs runs/summaries_study/runs --main alpha0.7 \
        --out runs/summaries_study

Writes to the folder --out

- results.tsv: a row for each run (SETTING.SEED): CPU seconds of its training, validation
  perplexity of the checkpoint that is scored (the one with the lowest loss; the plain criterion,
  one pass without dropout), ROUGE with 95% intervals;
- differences.tsv: which setting is how much above which, at equal updates or at equal time, with
  95% intervals by bootstrap over the summaries, pair by pair; for each seed, and for all seeds that
  both have, taken together;
- results.md: both as tables in Markdown.

The intervals tell what other documents would change, not what other seeds would.
"""

import json
import re
import sys
from pathlib import Path

import numpy
from rouge_score.scoring import Score
from score_rouge import METRICS, bootstrap, differences, score_each
from sentences import kept_sentences, split_sentences

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, whole_lines, write_lines

VALID = re.compile(r"valid on 'valid' subset \| loss (\S+) \| .*?ppl (\S+) \|")
Scores = list[dict[str, Score]]


def valid_ppl(log: Path) -> str:
    """The perplexity of the validation with the lowest loss, as fairseq-train prints it.

    Of losses that it prints alike that of the last: fairseq keeps the last of equal ones.
    """
    found = VALID.findall(log.read_text(encoding="utf-8"))
    if not found:
        raise InputError(f"{log} holds no validation")
    return min(reversed(found), key=lambda pair: (pair[0] == "nan", float(pair[0])))[1]


def seconds(run: Path) -> str:
    lines = (run / "cpu_seconds").read_text().split()
    return "" if "unknown" in lines else f"{sum(map(float, lines)):.0f}"


def pairs(main: str) -> list[tuple[str, str, str]]:
    """What is compared: (setting, the other one, what of them is equal)."""
    return [
        (main, "baseline", "updates"),
        (f"{main}-once", "baseline", "updates"),
        (f"{main}-once", main, "updates"),
        (main, "baseline-time", "time"),
        (f"{main}-once-time", "baseline-time", "time"),
        (f"{main}-once-time", main, "time"),
    ]


def scores_of(run: Path) -> Scores:
    """The ROUGE of each of a run's summaries, as evaluate.sh scores them."""
    folder = run / "test"
    references = whole_lines(folder / "ref.txt", "reference")
    kept = run.parents[1] / "raw" / "test.sentences"
    sentences = (
        kept_sentences(kept, references) if kept.is_file() else map(split_sentences, references)
    )
    return score_each(whole_lines(folder / "hyp.txt", "hypothesis"), list(sentences))


def together(parts: list[Scores]) -> Scores:
    """The mean over the seeds of each summary's scores."""
    return [
        {key: Score(*numpy.mean([scores[key] for scores in each], axis=0)) for key in METRICS}
        for each in zip(*parts, strict=True)
    ]


def compared(scores: dict[tuple[str, str], Scores], main: str) -> list[list[str]]:
    """The rows of differences.tsv."""
    rows = []
    for setting, other, equal in pairs(main):
        seeds = sorted(seed for name, seed in scores if name == setting and (other, seed) in scores)
        of_seed = {
            seed: list(differences(scores[setting, seed], scores[other, seed])) for seed in seeds
        }
        if len(seeds) > 1:
            of_seed["all"] = together(list(of_seed.values()))
        for seed, values in of_seed.items():
            cells = [setting, other, equal, seed]
            for value in bootstrap(values).values():
                cells += [f"{value[name]:+.2f}" for name in ("f", "low", "high")]
            rows.append(cells)
    return rows


def markdown(head: list[str], rows: list[list[str]], first: int) -> list[str]:
    """A table in which each three cells from ``first`` on are a value and its interval."""
    lines = [head, ["---"] * len(head)]
    for row in rows:
        threes = [row[i : i + 3] for i in range(first, len(row), 3)]
        lines.append(row[:first] + [f"{value} [{low}, {high}]" for value, low, high in threes])
    return [f"| {' | '.join(cells)} |" for cells in lines]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--main", required=True, help="the setting whose time the others have")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    rows, scores = [], {}
    for path in sorted(args.runs.glob("*/test/rouge.json")):
        run = path.parents[1]
        setting, _, seed = run.name.rpartition(".")
        report = json.loads(path.read_text())
        scores[setting, seed] = scores_of(run)
        updates = (run / "updates").read_text().strip()
        row = [setting, seed, updates, seconds(run), valid_ppl(run / "train.log")]
        for name in METRICS.values():
            row += [f"{report[name][value]:.2f}" for value in ("f", "low", "high")]
        rows.append(row)
    if not rows:
        raise InputError(f"{args.runs} holds no scored run (SETTING.SEED/test/rouge.json)")
    rows.sort(key=lambda row: (not row[0].startswith("baseline"), row[:2]))
    against = compared(scores, args.main)

    names = list(METRICS.values())
    columns = [f"{name}{end}" for name in names for end in ("", " low", " high")]
    head = ["setting", "seed", "updates", "cpu_seconds", "valid_ppl"]
    lines = ["\t".join(cells) for cells in [[*head, *columns], *rows]]
    write_lines(args.out / "results.tsv", lines)
    head_of_pairs = ["setting", "minus", "equal", "seed"]
    lines = ["\t".join(cells) for cells in [[*head_of_pairs, *columns], *against]]
    write_lines(args.out / "differences.tsv", lines)
    shown = markdown(["setting", "seed", "updates", "CPU s", "valid ppl", *names], rows, len(head))
    if against:
        shown += ["", *markdown([*head_of_pairs, *names], against, len(head_of_pairs))]
    write_lines(args.out / "results.md", shown)


if __name__ == "__main__":
    command_line(main)
