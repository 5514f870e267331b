"""Print what R-Drop's entity F1 has more than the baseline's, with a bootstrap over sentences.

    python examples/ner/compare.py RUNS

RUNS is OUT/TASK/ENCODER and holds SETTING/seedN/SPLIT.conll, which score.py writes. For each
setting and the seeds that the baseline has, too: the difference of the mean F1 over these seeds,
and its 95% interval by scipy's bootstrap (percentiles of 1,000 resamples of the sentences, the
same for both sides). It says what other sentences would change, not what other seeds would.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from rdrop_fairseq.criterions.sequence_tagging import count_entities

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, whole_lines

HEAD = ["set", "setting", "seeds", "F1 - baseline's", "95% interval"]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of a task and an encoder")
    runs = parser.parse_args().runs
    lines = [HEAD, ["---"] * len(HEAD)]
    settings = {path.parent.parent.name for path in runs.glob("rdrop-*/seed*/scores.json")}
    for split in ("valid", "test"):
        for setting in sorted(settings, key=lambda name: float(name.removeprefix("rdrop-"))):
            pairs = [
                (runs / "baseline" / path.parent.name / path.name, path)
                for path in sorted((runs / setting).glob(f"seed*/{split}.conll"))
            ]
            pairs = [pair for pair in pairs if pair[0].is_file()]
            if pairs:
                counts = [[counts_of(path) for path in pair] for pair in pairs]
                if len({len(sentences) for pair in counts for sentences in pair}) > 1:
                    raise InputError(
                        f"the runs in {runs} were scored on different sets of sentences ({split}): "
                        "remove their scores.json and score them again"
                    )
                found, low, high = difference(np.array(counts))
                interval = f"[{low:+.2f}, {high:+.2f}]"
                lines.append([split, setting, str(len(pairs)), f"{found:+.2f}", interval])
    if len(lines) > 2:
        print("\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def counts_of(path: Path) -> list[tuple[int, int, int]]:
    """True, predicted and correct entities of each sentence of a file of score.py."""
    sentences = "\n".join(whole_lines(path, "scored")).strip("\n").split("\n\n")
    return [
        count_entities(
            *([[line.split(" ")[column] for line in text.split("\n")]] for column in (1, 2))
        )
        for text in sentences
    ]


def mean_f1(counts: np.ndarray) -> np.ndarray:
    """Of counts [seeds, 2, ..., 3], summed over sentences: percent, [2, ...]."""
    true, predicted, correct = np.moveaxis(counts, -1, 0)
    return (200 * correct / np.maximum(true + predicted, 1)).mean(0)


def difference(counts: np.ndarray, resamples: int = 1000) -> tuple[float, float, float]:
    """The difference of the mean F1, and the ends of its interval.

    Args:
        counts: [seeds, 2 (baseline and R-Drop), sentences, 3]
    """

    def statistic(rows: np.ndarray, axis: int) -> np.ndarray:
        # how often each sentence was drawn; scipy draws numbers of sentences, [..., sentences]
        sentences = counts.shape[2]
        flat = rows.reshape(-1, sentences).astype(int)
        drawn = np.stack([np.bincount(row, minlength=sentences) for row in flat])
        sums = np.einsum("spnc,rn->sprc", counts, drawn)
        baseline, rdrop = mean_f1(sums)
        return (rdrop - baseline).reshape(rows.shape[:-1])

    numbers = np.arange(counts.shape[2])
    interval = bootstrap(
        (numbers,),
        statistic,
        n_resamples=resamples,
        method="percentile",
        batch=100,
        rng=np.random.default_rng(1),
    ).confidence_interval
    return float(statistic(numbers[None], -1)[0]), float(interval.low), float(interval.high)


if __name__ == "__main__":
    command_line(main)
