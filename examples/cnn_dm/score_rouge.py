"""Score summaries with rouge-score: ROUGE-1, ROUGE-2, ROUGE-Lsum, with 95% intervals.

    python examples/cnn_dm/score_rouge.py --hypothesis HYP --reference REF --json scores.json

All files hold one summary a line, untokenised. F-measures x 100, Porter stemmer on; for Lsum
the summaries are parted into sentences by the rule of sentences.py, but the references as
--sentences says, if it is given: REF with a tab between sentences. The intervals are
rouge-score's bootstrap over the summaries. With --sentences, what the references themselves would
have is said if that is not 100: their sentences are known, a summary's are not. ROUGE varies by
implementation: the JSON says how it was computed. --examples gets the scores of each summary, for
rdrop compare.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import nltk
import numpy
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator, Score
from sentences import RULE, kept_sentences, split_sentences
from tqdm import tqdm

from rdrop_fairseq.tools.command_line import command, parser
from rdrop_fairseq.tools.files import write_json, write_lines
from rdrop_fairseq.tools.score import texts_to_score

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum"}
SAMPLES, SEED = 1000, 12345  # of the bootstrap


def score_each(hypotheses: list[str], references: list[list[str]]) -> list[dict[str, Score]]:
    """The scores of each summary against the sentences of its reference; an empty one has 0."""
    scorer = RougeScorer(list(METRICS), use_stemmer=True)
    pairs = zip(references, hypotheses, strict=True)
    return [
        scorer.score("\n".join(ref), "\n".join(split_sentences(hyp)))
        for ref, hyp in tqdm(pairs, total=len(references), unit=" summaries", disable=None)
    ]


def bootstrap(scores: list[dict[str, Score]]) -> dict[str, dict[str, float]]:
    """The mean F-measure x 100 of each metric, and its 95% interval."""
    aggregator = BootstrapAggregator(confidence_interval=0.95, n_samples=SAMPLES)
    for each in scores:
        aggregator.add_scores(each)
    numpy.random.seed(SEED)  # noqa: NPY002  (rouge-score draws from numpy's global generator)
    intervals = aggregator.aggregate()
    return {
        # the mean itself: what the aggregator calls mid is the median of its resampled means
        name: {
            "score": 100 * float(numpy.mean([each[key].fmeasure for each in scores])),
            "low": 100 * float(intervals[key].low.fmeasure),
            "high": 100 * float(intervals[key].high.fmeasure),
        }
        for key, name in METRICS.items()
    }


@command("score_rouge")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "score_rouge.py")
    add = options.add_argument
    add("--hypothesis", type=Path, required=True, help="summaries to score")
    add("--reference", type=Path, required=True, help="reference summaries")
    add("--sentences", type=Path, help="references with a tab between sentences")
    add("--json", type=Path, help="where to write the scores; default: nowhere")
    add("--examples", type=Path, help="where to write those of each summary; default: nowhere")
    args = options.parse_args(argv)

    texts = texts_to_score({"reference": args.reference, "hypothesis": args.hypothesis})
    if args.sentences:
        references = kept_sentences(args.sentences, texts["reference"])
        rule = f"{RULE}; of references: a highlight"
    else:
        references = [split_sentences(text) for text in texts["reference"]]
        rule = RULE
    scores = score_each(texts["hypothesis"], references)
    how = {
        "implementation": f"rouge-score {version('rouge-score')}, nltk {nltk.__version__}",
        "measure": "F-measure x 100, mean over summaries",
        "stemmer": "Porter (use_stemmer=True)",
        "tokenisation": "rouge-score's: lower case, runs of a-z and 0-9",
        "sentences": rule,
        "interval": f"95%, bootstrap over summaries, {SAMPLES} samples, seed {SEED}",
        "summaries": len(texts["reference"]),
        "sha256": {
            what: hashlib.sha256(getattr(args, what).read_bytes()).hexdigest() for what in texts
        },
    }
    report: dict = {**bootstrap(scores), "how": how}
    for name in METRICS.values():
        print("{} {score:.2f} [{low:.2f}, {high:.2f}]".format(name, **report[name]))
    if args.sentences:
        perfect = bootstrap(score_each(texts["reference"], references))
        report["perfect"] = {name: values["score"] for name, values in perfect.items()}
        if any(f"{value:.2f}" != "100.00" for value in report["perfect"].values()):
            best = ", ".join(f"{name} {value:.2f}" for name, value in report["perfect"].items())
            print(f"  summaries that equal the references would have {best}")
    print(f"  {how['implementation']}; stemmer on; {how['sentences']}; {how['interval']}")
    if args.examples:
        rows = [[f"{100 * each[key].fmeasure:.4f}" for key in METRICS] for each in scores]
        lines = [[str(number), *row] for number, row in enumerate(rows, 1)]
        write_lines(args.examples, map("\t".join, [["summary", *METRICS.values()], *lines]))
    if args.json:
        write_json(args.json, report)


if __name__ == "__main__":
    main()
