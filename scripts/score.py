"""Score translations with sacrebleu: BLEU, chrF2 and TER with their signatures.

    python scripts/score.py --hypothesis HYP --reference REF --json scores.json
    python scripts/score.py --hypothesis HYP --reference REF --baseline OTHER_HYP

All files hold one detokenised sentence a line. With --baseline, sacrebleu's paired
bootstrap says whether the difference between the two could be chance.

Papers often report BLEU on tokens of their own making. --tokenised adds it, on the tokens of
Moses (sacremoses); --compound-split also takes words with a hyphen apart, as those papers do
that follow Vaswani et al. (2017) on English-German. These numbers compare with one another
only, not with BLEU as sacrebleu computes it.
"""

import json
import re
import sys
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

sys.path.insert(0, str(Path(__file__).parent / "corpus"))
from text_files import (
    InputError,
    argument_parser,
    command_line,
    setting,
    texts_to_score,
    write_json,
)


def score(
    hypothesis: list[str], reference: list[str], language: str = "", lowercase: bool = False
) -> dict[str, dict[str, float | str]]:
    """BLEU, chrF2 and TER of the corpus: each with its score and signature.

    ``language`` is that of the text: sacrebleu tokenises Chinese and others in another way.
    """
    scores = {}
    bleu = BLEU(trg_lang=language, lowercase=lowercase)
    for metric in (bleu, CHRF(lowercase=lowercase), TER()):
        result = metric.corpus_score(hypothesis, [reference])
        signature = str(metric.get_signature())
        scores[result.name] = {"score": result.score, "signature": signature}
    return scores


def split_compounds(tokens: str) -> str:
    """ "rich-text format" as "rich ##AT##-##AT## text format".

    A character joins two hyphens only once, as in the Perl one-liner of the papers: in
    "a-b-c" the second hyphen stays.
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", tokens)


def tokenised_bleu(
    hypothesis: list[str], reference: list[str], language: str, lowercase: bool, split: bool
) -> dict[str, float | str]:
    """BLEU on Moses tokens, as multi-bleu.perl and fairseq-score count it."""
    import sacremoses  # of the extra "recipes"

    tokeniser = sacremoses.MosesTokenizer(language)
    sides = []
    for lines in (hypothesis, reference):
        tokens = [tokeniser.tokenize(line, return_str=True, escape=False) for line in lines]
        sides.append([split_compounds(line) for line in tokens] if split else tokens)
    metric = BLEU(tokenize="none", lowercase=lowercase, force=True)
    result = metric.corpus_score(sides[0], [sides[1]])
    return {"score": result.score, "signature": str(metric.get_signature())}


def compare(
    hypothesis: list[str],
    baseline: list[str],
    reference: list[str],
    language: str = "",
    lowercase: bool = False,
) -> dict:
    """sacrebleu's paired bootstrap of a hypothesis against a baseline.

    Returns: for BLEU and chrF2 the two scores, their difference, the p-value and the
        signature, which names the number of resamplings and the seed.
    """
    systems = [("baseline", baseline), ("hypothesis", hypothesis)]
    metrics = {
        "BLEU": BLEU(references=[reference], trg_lang=language, lowercase=lowercase),
        "chrF2": CHRF(references=[reference], lowercase=lowercase),
    }
    signatures, results = PairedTest(systems, metrics, None, "bs", n_samples=1000)()
    comparison = {}
    for name in metrics:
        before, after = results[name]
        comparison[name] = {
            "baseline": before.score,
            "hypothesis": after.score,
            "difference": after.score - before.score,
            "p_value": after.p_value,
            "signature": str(signatures[name]),
        }
    return comparison


def other_settings(settings: dict[str, str], baseline: Path) -> list[str]:
    """In what a baseline was made otherwise, by the scores.json beside it, if there is one."""
    try:
        theirs = json.loads((baseline.parent / "scores.json").read_text())["settings"]
    except (FileNotFoundError, KeyError, ValueError):
        return []
    return [
        f"{name} {theirs[name]!r}, here {value!r}"
        for name, value in settings.items()
        if name in theirs and theirs[name] != value
    ]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--hypothesis", type=Path, required=True, help="translations to score")
    parser.add_argument("--reference", type=Path, required=True, help="reference translations")
    parser.add_argument("--baseline", type=Path, help="another system's, for a paired bootstrap")
    parser.add_argument(
        "--language", default="", help="of the text, where it changes how sacrebleu tokenises: zh"
    )
    parser.add_argument("--lowercase", action="store_true", help="ignore case in BLEU and chrF2")
    parser.add_argument(
        "--tokenised", metavar="LANGUAGE", help="add BLEU on Moses tokens of this language"
    )
    parser.add_argument(
        "--compound-split", metavar="LANGUAGE", help="add the same with hyphens taken apart"
    )
    parser.add_argument(
        "--setting",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how the hypothesis was made: kept in the json, compared with the baseline's",
    )
    parser.add_argument("--json", type=Path, help="where to write the scores; default: nowhere")
    args = parser.parse_args()

    if args.json and not args.json.parent.is_dir():
        raise InputError(f"no such folder to write {args.json.name} to: {args.json.parent}")
    texts = texts_to_score(
        {"reference": args.reference, "hypothesis": args.hypothesis, "baseline": args.baseline}
    )
    case = {"lowercase": args.lowercase}
    report: dict = score(texts["hypothesis"], texts["reference"], args.language, **case)
    print(" ".join(f"{name} {values['score']:.2f}" for name, values in report.items()))
    for name, values in report.items():
        print(f"  {name}|{values['signature']}")
    for name, language, split in (
        ("tokenised BLEU", args.tokenised, False),
        ("tokenised compound-split BLEU", args.compound_split, True),
    ):
        if language is not None:
            values = tokenised_bleu(
                texts["hypothesis"], texts["reference"], language, args.lowercase, split
            )
            report[name] = values
            print(f"{name} {values['score']:.2f} (not sacreBLEU)\n  {name}|{values['signature']}")
    settings = dict(args.setting)
    if settings:
        report["settings"] = settings
    if "baseline" in texts:
        if differences := other_settings(settings, args.baseline):
            print(f"note: the baseline was made with {'; '.join(differences)}")
        report["paired_bootstrap"] = compare(**texts, language=args.language, **case)
        for name, values in report["paired_bootstrap"].items():
            print(
                f"paired bootstrap: {name} {values['baseline']:.2f} -> {values['hypothesis']:.2f} "
                f"({values['difference']:+.2f}), p = {values['p_value']:.4f}"
            )
            print(f"  {name}|{values['signature']}")
    if args.json:
        write_json(args.json, report)


if __name__ == "__main__":
    command_line(main)
