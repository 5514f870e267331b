"""Score translations with sacrebleu: BLEU, chrF2 and TER with their signatures.

    python scripts/score.py --hypothesis HYP --reference REF --json scores.json
    python scripts/score.py --hypothesis HYP --reference REF --baseline OTHER_HYP

All files hold one detokenised sentence a line. With --baseline, sacrebleu's paired
bootstrap says whether the difference between the two could be chance.

Papers often report BLEU on tokens of their own making. --tokens adds it, of two files of tokens:
the model's own, and the reference after exactly the steps that made the model's training text
(normalised, tokenised, lower-cased), so that a perfect translation scores 100. Of text that is
not tokenised, such as a sentencepiece model writes, --tokenised makes Moses' tokens (sacremoses).
Two numbers come out: BLEU of the tokens, as multi-bleu.perl and fairseq-generate count it, and
compound-split BLEU, of words with a hyphen taken apart, as those papers do that follow Vaswani et
al. (2017). They compare with their like only, not with BLEU as sacrebleu computes it.
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

SIDES = ("hypothesis", "reference")


def score(
    hypothesis: list[str], reference: list[str], language: str = "", lowercase: bool = False
) -> dict[str, dict[str, float | str]]:
    """BLEU, chrF2 and TER of the corpus: each with its score and signature.

    ``language`` is that of the text: sacrebleu tokenises Chinese and others in another way.
    """
    scores = {}
    bleu = BLEU(trg_lang=language, lowercase=lowercase)
    by_character = language in ("zh", "ja")  # TER would take a sentence for one word
    ter = TER(normalized=by_character, asian_support=by_character)
    for metric in (bleu, CHRF(lowercase=lowercase), ter):
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


def moses_tokens(lines: list[str], language: str) -> list[str]:
    """The lines as sacremoses tokenises them, without escapes."""
    import sacremoses  # of the extra "recipes"

    tokenise = sacremoses.MosesTokenizer(language).tokenize
    return [tokenise(line, return_str=True, escape=False) for line in lines]


def tokenised_bleu(
    hypothesis: list[str], reference: list[str], lowercase: bool
) -> dict[str, dict[str, float | str]]:
    """BLEU on the tokens as they are, as multi-bleu.perl and fairseq-score count it, plain and
    with compounds split."""
    metric = BLEU(tokenize="none", lowercase=lowercase, force=True)
    scores = {}
    for name, change in (
        ("tokenised BLEU", str),
        ("tokenised compound-split BLEU", split_compounds),
    ):
        sides = ([change(line) for line in lines] for lines in (hypothesis, reference))
        result = metric.corpus_score(next(sides), [next(sides)])
        scores[name] = {"score": result.score, "signature": str(metric.get_signature())}
    return scores


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
        "--tokens",
        type=Path,
        nargs=2,
        metavar=("HYP", "REF"),
        help="add BLEU on tokens, plain and compound-split, of these two files",
    )
    parser.add_argument(
        "--tokenised",
        metavar="LANGUAGE",
        help="the same on Moses tokens of this language; without --tokens, of the texts above",
    )
    parser.add_argument(
        "--perfect", type=Path, help="the best that the system could write: what would it score?"
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
    paths = {"reference": args.reference, "hypothesis": args.hypothesis, "baseline": args.baseline}
    paths["perfect"] = args.perfect
    if args.tokens:
        paths |= {f"{side} of tokens": path for side, path in zip(SIDES, args.tokens, strict=True)}
    texts = texts_to_score(paths)
    case = {"lowercase": args.lowercase}
    report: dict = score(texts["hypothesis"], texts["reference"], args.language, **case)
    print(" ".join(f"{name} {values['score']:.2f}" for name, values in report.items()))
    for name, values in report.items():
        print(f"  {name}|{values['signature']}")
    if args.perfect:
        perfect = score(texts["perfect"], texts["reference"], args.language, **case)
        report["perfect"] = {name: values["score"] for name, values in perfect.items()}
        if any(f"{report['perfect'][name]:.2f}" != "100.00" for name in ("BLEU", "chrF2")):
            best = " and ".join(f"{n} {report['perfect'][n]:.2f}" for n in ("BLEU", "chrF2"))
            print(
                f"  a perfect translation would have {best}: its text lost the rest before training"
            )
    if args.tokens or args.tokenised:
        sides = [texts[f"{side} of tokens" if args.tokens else side] for side in SIDES]
        if args.tokenised:
            sides = [moses_tokens(lines, args.tokenised) for lines in sides]
        for name, values in tokenised_bleu(*sides, args.lowercase).items():
            report[name] = values
            print(f"{name} {values['score']:.2f} (not sacreBLEU)\n  {name}|{values['signature']}")
    settings = dict(args.setting)
    if settings:
        report["settings"] = settings
    if "baseline" in texts:
        if differences := other_settings(settings, args.baseline):
            print(f"note: the baseline was made with {'; '.join(differences)}")
        sides = (texts[name] for name in ("hypothesis", "baseline", "reference"))
        report["paired_bootstrap"] = compare(*sides, language=args.language, **case)
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
