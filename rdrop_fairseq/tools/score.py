"""Score translations with sacrebleu: BLEU, chrF2 and TER with their signatures.

    rdrop score --hypothesis HYP --reference REF --json scores.json
    rdrop score --hypothesis HYP --reference REF --baseline OTHER_HYP

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

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest, Result

from ..errors import UsageError
from .command_line import command, moses_language, output_file, parser, setting
from .files import write_json
from .text import whole_lines

SIDES = ("hypothesis", "reference")
Sides = tuple[list[str], list[str]]  #: their lines


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


def moses_tokens(lines: list[str], language: str, lowercase: bool) -> list[str]:
    """The lines as sacremoses tokenises them, without escapes.

    ``lowercase``: before, since case tells which periods and apostrophes are tokens.
    """
    import sacremoses  # of the extra "recipes"

    tokenise = sacremoses.MosesTokenizer(language).tokenize
    lines = [line.lower() for line in lines] if lowercase else lines
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

    Returns: for BLEU and chrF2 the two scores, their difference, the p-value, whether the two
        texts are identical, and the signature, which names the number of resamplings and the seed.
    """
    systems: list[tuple[str, Sequence[str]]] = [("baseline", baseline), ("hypothesis", hypothesis)]
    metrics = {
        "BLEU": BLEU(references=[reference], trg_lang=language, lowercase=lowercase),
        "chrF2": CHRF(references=[reference], lowercase=lowercase),
    }
    signatures, results = PairedTest(systems, metrics, None, "bs", n_samples=1000)()
    comparison = {}
    for name in metrics:
        before, after = cast(list[Result], results[name])
        difference = after.score - before.score
        comparison[name] = {
            "baseline": before.score,
            "hypothesis": after.score,
            "difference": difference,
            # sacrebleu counts what is strictly greater than the difference: of two equal systems,
            # or two of BLEU 0, no resampling is, and p would be the lowest there is
            "p_value": after.p_value if difference else 1.0,
            "identical": hypothesis == baseline,
            "signature": str(signatures[name]),
        }
    return comparison


def report(
    sides: Sides,
    *,
    language: str | None = None,
    lowercase: bool = False,
    tokens: Sides | None = None,
    tokenised: str | None = None,
    perfect: list[str] | None = None,
    baseline: list[str] | None = None,
) -> dict:
    """All scores that are asked for; arguments as those of the command line."""
    how: dict[str, Any] = {"language": language or "", "lowercase": lowercase}
    found: dict = score(*sides, **how)
    if perfect is not None:
        of_perfect = score(perfect, sides[1], **how)
        found["perfect"] = {name: values["score"] for name, values in of_perfect.items()}
    if tokens or tokenised:
        hypothesis, reference = tokens or sides
        if tokenised:
            hypothesis = moses_tokens(hypothesis, tokenised, lowercase)
            reference = moses_tokens(reference, tokenised, lowercase)
        found |= tokenised_bleu(hypothesis, reference, lowercase)
    if baseline is not None:
        found["paired_bootstrap"] = compare(sides[0], baseline, sides[1], **how)
    return found


def lines_of(found: dict) -> Iterator[str]:
    """What is printed of a `report`."""
    yield " ".join(f"{name} {found[name]['score']:.2f}" for name in ("BLEU", "chrF2", "TER"))
    for name in ("BLEU", "chrF2", "TER"):
        yield f"  {name}|{found[name]['signature']}"
    perfect = found.get("perfect", {})
    best = [f"{name} {perfect[name]:.2f}" for name in ("BLEU", "chrF2") if name in perfect]
    if any(not score.endswith(" 100.00") for score in best):
        yield (
            f"  a perfect translation would have {' and '.join(best)}: its text lost the rest "
            "before training"
        )
    for name in ("tokenised BLEU", "tokenised compound-split BLEU"):
        if name in found:
            yield f"{name} {found[name]['score']:.2f} (not sacreBLEU)"
            yield f"  {name}|{found[name]['signature']}"
    for name, values in found.get("paired_bootstrap", {}).items():
        difference = "identical" if values["identical"] else f"{values['difference']:+.2f}"
        yield (
            f"paired bootstrap: {name} {values['baseline']:.2f} -> {values['hypothesis']:.2f} "
            f"({difference}), p = {values['p_value']:.4f}"
        )
        yield f"  {name}|{values['signature']}"


def texts_to_score(paths: dict[str, Path | None]) -> dict[str, list[str]]:
    """The lines of "reference", "hypothesis" and others that are given.

    Raises:
        UsageError: as `whole_lines`; or the reference is empty, or another has not as many lines.
    """
    texts = {what: whole_lines(path, what) for what, path in paths.items() if path is not None}
    expected = len(texts["reference"])
    if not expected:
        raise UsageError(f"the reference file {paths['reference']} is empty: nothing to score")
    for what, lines in texts.items():
        if len(lines) != expected:
            raise UsageError(
                f"{paths['reference']} has {expected} lines but the {what} {paths[what]} has "
                f"{len(lines)}: they must match line by line"
            )
    return texts


def other_settings(settings: dict[str, str], baseline: Path | None) -> list[str]:
    """A note if a baseline was made otherwise, by the scores.json beside it, if there is one."""
    if baseline is None:
        return []
    try:
        theirs = json.loads((baseline.parent / "scores.json").read_text())["settings"]
    except (FileNotFoundError, KeyError, ValueError):
        return []
    others = [
        f"{name} {theirs[name]!r}, here {value!r}"
        for name, value in settings.items()
        if name in theirs and theirs[name] != value
    ]
    return [f"note: the baseline was made with {'; '.join(others)}"] if others else []


def sacrebleu_language(text: str) -> str:
    """The type of --language."""
    if text not in ("zh", "ja", "ko"):
        raise argparse.ArgumentTypeError(
            f"must be zh, ja or ko, which sacrebleu tokenises in another way, got {text}: leave it "
            "out for other languages"
        )
    try:
        BLEU(trg_lang=text)
    except RuntimeError as error:  # a package is missing
        raise argparse.ArgumentTypeError(" ".join(str(error).split())) from None
    return text


def add_scoring(cli: argparse.ArgumentParser) -> None:
    """The options that `rdrop evaluate` has, too."""
    add = cli.add_argument
    add("--baseline", type=Path, help="another system's, for a paired bootstrap")
    add("--language", type=sacrebleu_language, help="of the text, if zh, ja or ko")
    add("--lowercase", action="store_true", help="ignore case in BLEU and chrF2")
    add(
        "--tokenised",
        type=moses_language,
        metavar="LANGUAGE",
        help="add BLEU on Moses tokens of this language, plain and compound-split",
    )


@command("rdrop score")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "rdrop score")
    add = cli.add_argument
    add("--hypothesis", type=Path, required=True, help="translations to score")
    add("--reference", type=Path, required=True, help="reference translations")
    add_scoring(cli)
    add(
        "--tokens",
        type=Path,
        nargs=2,
        metavar=("HYP", "REF"),
        help="add BLEU on tokens of these two files; with --tokenised on Moses tokens of them",
    )
    add("--perfect", type=Path, help="the best that the system could write: what would it score?")
    add(
        "--setting",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how the hypothesis was made: kept in the json, compared with the baseline's",
    )
    add("--json", type=output_file, help="where to write the scores; default: nowhere")
    args = cli.parse_args(argv)

    names = ("reference", "hypothesis", "baseline", "perfect")
    paths = {name: getattr(args, name) for name in names}
    if args.tokens:
        paths |= {f"{side} of tokens": path for side, path in zip(SIDES, args.tokens, strict=True)}
    texts = texts_to_score(paths)
    tokens = None
    if args.tokens:
        tokens = texts["hypothesis of tokens"], texts["reference of tokens"]
    found = report(
        (texts["hypothesis"], texts["reference"]),
        language=args.language,
        lowercase=args.lowercase,
        tokens=tokens,
        tokenised=args.tokenised,
        perfect=texts.get("perfect"),
        baseline=texts.get("baseline"),
    )
    settings = dict(args.setting)
    if settings:
        found["settings"] = settings
    print(*lines_of(found), *other_settings(settings, args.baseline), sep="\n")
    if args.json:
        write_json(args.json, found)


if __name__ == "__main__":
    main()
