"""Translate a test set with a checkpoint, or with the average of the last N, and score it.

    rdrop evaluate data-bin checkpoints --average 10 --reference text/test.en
    rdrop evaluate data-bin checkpoints/checkpoint_best.pt --beam 4 -- --max-len-b 100 --fp16

DATA is a folder made by fairseq-preprocess; of several pairs of languages, the checkpoint's is
taken. CHECKPOINT is a file or, with --average, the folder of them. What stands after -- goes to
fairseq-generate, whose command line is printed; without a GPU it gets --cpu, too.

Writes hyp.txt, ref.txt, scores.json and generate.log to --out, with --average the average.pt that
was used, and with --pieces hyp.tok.txt and ref.tok.txt, the text before it is detokenised. Prints
BLEU, chrF2 and TER of the detokenised text with sacrebleu's signatures.
"""

import argparse
import ast
import json
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import average
from .command_line import (
    command,
    existing_file,
    existing_folder,
    explained,
    moses_language,
    number,
    parser,
    whole,
)
from .files import writing
from .score import add_scoring, lines_of, other_settings, report
from .text import whole_lines

if TYPE_CHECKING:
    from fairseq.data import Dictionary

POST_PROCESS = (
    *("none", "sentencepiece", "subword_nmt"),
    *("wordpiece", "letter", "_EOW", "silence"),
)
# a word of the text may look like a piece once in a while: of all tokens
LEAST = 0.001


def parsed(words: list[str], model: str, subset: str) -> argparse.Namespace:
    """What fairseq-generate makes of its arguments.

    Raises:
        UsageError: it refuses them, or would not print one translation of each sentence.
    """
    from fairseq import options

    def refuse(message: str) -> None:
        raise UsageError(f"fairseq-generate, to which goes what stands after --: {message}")

    of_generate = options.get_generation_parser()
    of_generate.error = refuse
    given = options.parse_args_and_arch(of_generate, words)
    expected = {"path": model, "gen_subset": subset, "nbest": 1, "quiet": False}
    expected |= {"results_path": None, "score_reference": False}
    for name, value in expected.items():
        if (got := getattr(given, name)) != value:
            raise UsageError(
                f"--{name.replace('_', '-')} is {got} for fairseq-generate and must be {value}, "
                "so that its output holds one translation of each sentence: leave it out after --"
            )
    return given


def languages(given: argparse.Namespace, trained: Any, data: Path) -> tuple[str, str]:
    """From and into which language is translated.

    Args:
        given: to fairseq-generate.
        trained: the configuration of the task that the checkpoint was trained with.

    Raises:
        UsageError: there are several, and nothing says which.
    """
    source = getattr(given, "source_lang", None) or getattr(trained, "source_lang", None)
    target = getattr(given, "target_lang", None) or getattr(trained, "target_lang", None)
    if source and target:
        return source, target
    pairs = getattr(trained, "lang_pairs", None) or []  # of a multilingual task
    if isinstance(pairs, str):
        pairs = pairs.split(",")
    # SPLIT.SOURCE-TARGET.LANGUAGE.bin
    pairs = pairs or {path.name.split(".")[-3] for path in data.glob("*.*-*.*.bin")}
    pairs = sorted({tuple(pair.split("-")) for pair in pairs if pair.count("-") == 1})
    if len(pairs) != 1:
        known = ", ".join("-".join(pair) for pair in pairs) or "no pair that its files name"
        raise UsageError(
            f"from and into which language? It may be {known}: name them after --, such as "
            "'-- -s de -t en'"
        )
    return source or pairs[0][0], target or pairs[0][1]


def load(given: argparse.Namespace, trained: Any) -> tuple[Any, Any, Any]:
    """The configuration of fairseq-generate, its task and the test set.

    Raises:
        UsageError: the folder does not hold what they need, or there is no sentence.
    """
    from fairseq import tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    pair = "-".join(str(getattr(given, f"{side}_lang", "?")) for side in ("source", "target"))
    with explained(
        f"{given.data} holds no {given.gen_subset} set of {pair}: --subset takes another one, "
        "and '-- -s de -t en' other languages"
    ):
        cfg = convert_namespace_to_omegaconf(given)
        task = tasks.setup_task(cfg.task)
        task.load_dataset(given.gen_subset, task_cfg=trained)
        test_set = task.dataset(given.gen_subset)
    if not len(test_set):
        raise UsageError(f"the {given.gen_subset} set in {given.data} is empty")
    return cfg, task, test_set


def compare_dictionaries(data: Path, checkpoint: Path, pair: Sequence[str]) -> None:
    """Compare the dictionaries of a data folder with those kept beside a checkpoint, if any.

    Another one of the same size would go unnoticed: fairseq compares the sizes alone.

    Raises:
        UsageError: their symbols differ.
    """
    from fairseq.data import Dictionary

    for language in pair:
        ours, kept = (folder / f"dict.{language}.txt" for folder in (data, checkpoint.parent))
        if not (ours.is_file() and kept.is_file()):
            continue
        symbols, theirs = (Dictionary.load(str(path)).symbols for path in (ours, kept))
        if symbols != theirs:
            same = [a == b for a, b in zip(symbols, theirs, strict=False)]
            line = [*same, False].index(False) + 1 - Dictionary().nspecial
            raise UsageError(
                f"{ours} is not the dictionary that {checkpoint} was trained with, {kept}: they "
                f"differ from line {line} on; prepare the data with the dictionary of the training "
                "(fairseq-preprocess --srcdict --tgtdict)"
            )


def post_process(dictionary: "Dictionary", chosen: str | None) -> str:
    """How symbols become text, fairseq's --post-process: as chosen or, if that is None, what the
    symbols show: sentencepiece by its U+2581, subword_nmt by its @@, none for whole words.

    Raises:
        UsageError: the chosen value contradicts the symbols; or they are numbers, whose text only
            --bpe knows, and nothing was chosen.
    """
    from fairseq.data import data_utils

    counted = zip(dictionary.symbols, dictionary.count, strict=True)
    tokens = {symbol: max(1, count) for symbol, count in list(counted)[dictionary.nspecial :]}

    def share(shows: Callable[[str], bool]) -> float:
        return sum(tokens[symbol] for symbol in tokens if shows(symbol)) / sum(tokens.values())

    # madeupword0000: how fairseq-preprocess fills a dictionary up to a multiple of 8
    numbers = share(lambda symbol: symbol.isdecimal() or symbol.startswith("madeupword"))
    if chosen is None and numbers > 1 - LEAST:
        raise UsageError(
            "the dictionary's symbols are numbers, as of GPT-2's byte-pair codes: have them "
            "decoded by '-- --bpe gpt2 --gpt2-encoder-json FILE --gpt2-vocab-bpe FILE', or give "
            "--post-process none to score the numbers"
        )
    shares = {
        "sentencepiece": share(lambda symbol: "\u2581" in symbol),
        "subword_nmt": share(lambda symbol: symbol.endswith("@@")),
    }
    shown = max(shares, key=lambda name: shares[name])
    if shares[shown] < LEAST:
        shown = "none"
    if chosen in (None, shown):
        return shown
    joins = " " not in data_utils.post_process(" ".join(tokens), chosen)
    if shown != "none" or joins:
        wrong = "would join all words" if joins else "would leave pieces of words"
        raise UsageError(
            f"--post-process {chosen} {wrong}, for the dictionary's symbols show {shown}: leave it "
            "out"
        )
    return chosen


def generate(cfg: Any, log: Path) -> None:
    """Run fairseq-generate in this process, and keep what it prints in ``log``.

    Raises:
        UsageError: it fails; what it printed is in LOG.err.
    """
    from fairseq_cli import generate

    unfinished = log.with_name(f"{log.name}.err")
    root = logging.getLogger()
    level = root.level
    with (
        unfinished.open("w", encoding="utf-8") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        handler = logging.StreamHandler(file)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            generate.main(cfg)
        except Exception as error:  # whatever a model or a task may raise
            traceback.print_exc()
            reason = " ".join(str(error).split())[:300]
            raise UsageError(
                f"fairseq-generate failed, see {unfinished} [{type(error).__name__}: {reason}]"
            ) from error
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
    os.replace(unfinished, log)


def printed(log: Path, kind: str) -> dict[int, str]:
    """The lines of a ``kind`` in fairseq-generate's output, by the number of their sentence.

    They come batch by batch, as D-12<tab>score<tab>text (translation) or T-12<tab>text (target).
    """
    found = {}
    for line in whole_lines(log):
        if line.startswith(f"{kind}-"):
            name, text = line.split("\t", 1)
            found[int(name[2:])] = text.split("\t", 1)[1] if kind == "D" else text
    return found


def detokenised(lines: list[str], language: str | None) -> list[str]:
    """The lines as text, of Moses' tokens of a language; None: they are text already."""
    if language is None:
        return lines
    from sacremoses import MosesDetokenizer

    detokenise = MosesDetokenizer(language).detokenize
    return [detokenise(line.split()) for line in lines]


def arguments(argv: list[str]) -> argparse.Namespace:
    cli = parser(__doc__, "rdrop evaluate")
    cli.usage = "rdrop evaluate DATA CHECKPOINT [option ...] [-- fairseq-generate's ...]"
    add = cli.add_argument
    add("data", type=existing_folder, metavar="DATA", help="folder made by fairseq-preprocess")
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="a file; with --average a folder")
    add("--average", type=whole(1), metavar="N", help="average the folder's last N checkpoints")
    add("--until", type=whole(1), metavar="N", help="average the last ones up to update N")
    add("--out", type=Path, metavar="DIR", help="folder to write; default: the checkpoint's")
    add(
        "--reference",
        type=existing_file,
        help="the test set's target side as plain text, a sentence a line; default: what DATA "
        "holds, detokenised (unknown words then count as wrong)",
    )
    add(
        "--pieces",
        type=existing_file,
        help="the test set's target side as fairseq-preprocess got it, which is what a perfect "
        "model would write: adds tokenised BLEU against it (give --tokenised, too, if it is not "
        "tokenised text), and what a perfect translation would score",
    )
    add_scoring(cli)
    add("--beam", type=whole(1), default=5, help="beam size; default 5")
    add("--lenpen", type=number(0), default=1.0, help="length penalty; default 1.0")
    add("--max-tokens", type=whole(1), default=4000, help="tokens in a batch; default 4000")
    add("--subset", default="test", help="which part of DATA; default test")
    add(
        "--post-process",
        choices=POST_PROCESS,
        help="how symbols become text; default: what those of DATA's dictionary show",
    )
    add(
        "--detokenise",
        type=moses_language,
        metavar="LANGUAGE",
        help="undo Moses' tokenisation after that; default: do not",
    )
    args = cli.parse_args(argv)
    if args.average and not args.checkpoint.is_dir():
        cli.error(f"--average takes a folder of checkpoints, got {args.checkpoint}")
    if not args.average and args.checkpoint.is_dir():
        cli.error(f"{args.checkpoint} is a folder: name a checkpoint in it, or give --average N")
    if args.until and not args.average:
        cli.error("--until is for --average")
    if not args.checkpoint.exists():
        cli.error(f"no such checkpoint: {args.checkpoint}")
    args.out = args.out or (args.checkpoint if args.average else args.checkpoint.parent)
    return args


def checked(
    args: argparse.Namespace, more: list[str], model: Path, trained_in: Path, texts: dict
) -> tuple[list[str], Any, int]:
    """The arguments for fairseq-generate, what it makes of them, and how many sentences.

    Args:
        more: the user's own ones.
        model: what it is to translate with.
        trained_in: the checkpoint that this is, or the last one of the average that it will be.
        texts: lines of the files that must match the test set, by the name of their option.

    Raises:
        UsageError: data, checkpoint, files and options do not fit each other.
    """
    import torch
    from fairseq import checkpoint_utils

    words = [str(args.data), "--user-dir", str(Path(__file__).parents[1]), "--path", str(model)]
    words += ["--gen-subset", args.subset, "--max-tokens", str(args.max_tokens)]
    words += ["--beam", str(args.beam), "--lenpen", str(args.lenpen), "--log-format", "none"]
    if not torch.cuda.is_available():
        words.append("--cpu")
    given = parsed([*words, *more], str(model), args.subset)
    if given.post_process is not None:
        raise UsageError("--post-process and --remove-bpe cannot stand after --: give it before")
    with explained("--model-overrides must be a dictionary, as Python writes it"):
        overrides = ast.literal_eval(given.model_overrides)
    state = checkpoint_utils.load_checkpoint_to_cpu(str(trained_in), overrides)
    trained = state["cfg"]["task"]
    pair = languages(given, trained, args.data)
    if hasattr(given, "source_lang"):
        words += ["--source-lang", pair[0], "--target-lang", pair[1]]
        given = parsed([*words, *more], str(model), args.subset)
    cfg, task, test_set = load(given, trained)
    for name, lines in texts.items():
        if len(lines) != len(test_set):
            raise UsageError(
                f"{getattr(args, name)} has {len(lines)} lines, but the {args.subset} set in "
                f"{args.data} has {len(test_set)} sentences: give the --{name} of that set"
            )
    if "reference" not in texts and getattr(test_set, "tgt", test_set) is None:
        raise UsageError(f"{args.data} holds no target side for {args.subset}: give --reference")
    compare_dictionaries(args.data, trained_in, pair)
    hint = f"{trained_in} does not fit {args.data}: was this made with the training's dictionary?"
    with explained(hint):
        checkpoint_utils.load_model_ensemble([str(trained_in)], task=task, state=state)
    value = args.post_process
    if given.bpe is None:
        value = post_process(task.target_dictionary, value)
    elif value not in (None, "none"):
        raise UsageError(
            f"--post-process {value} and --bpe {given.bpe}, which decodes by itself: leave one out"
        )
    cfg.common_eval.post_process = value or "none"
    words += ["--post-process", cfg.common_eval.post_process, *more]
    return words, cfg, len(test_set)


def scored(
    args: argparse.Namespace, hypothesis: list[str], texts: dict[str, list[str]], value: str
) -> tuple[dict[str, list[str]], dict]:
    """The lines of the files to write, and the scores.

    Args:
        hypothesis: as fairseq-generate prints it.
        texts: lines of --pieces and --baseline, if they are given; of --reference or "target",
            which is as fairseq-generate prints it.
        value: of fairseq-generate's --post-process.
    """
    from fairseq.data import data_utils

    reference = texts.get("reference") or detokenised(texts["target"], args.detokenise)
    contents = {"hyp.txt": detokenised(hypothesis, args.detokenise), "ref.txt": reference}
    tokens = perfect = None
    if "pieces" in texts:
        joined = [data_utils.post_process(line, value) for line in texts["pieces"]]
        contents |= {"hyp.tok.txt": hypothesis, "ref.tok.txt": joined}
        tokens, perfect = (hypothesis, joined), detokenised(joined, args.detokenise)
    return contents, report(
        (contents["hyp.txt"], reference),
        language=args.language,
        lowercase=args.lowercase,
        tokens=tokens,
        tokenised=args.tokenised,
        perfect=perfect,
        baseline=texts.get("baseline"),
    )


@command("rdrop evaluate")
def main(argv: Sequence[str] | None = None) -> None:
    argv = list(sys.argv[1:] if argv is None else argv)
    end = argv.index("--") if "--" in argv else len(argv)
    args, more = arguments(argv[:end]), argv[end + 1 :]
    paths, model = [args.checkpoint], args.checkpoint
    if args.average:
        paths = average.last_checkpoints(args.checkpoint, args.average, args.until)
        model = args.out / "average.pt"
    texts = {
        name: whole_lines(path, name)
        for name in ("reference", "pieces", "baseline")
        if (path := getattr(args, name)) is not None
    }
    warnings.simplefilter("ignore")  # of how fairseq uses hydra and torch
    words, cfg, sentences = checked(args, more, model, paths[-1], texts)

    args.out.mkdir(parents=True, exist_ok=True)
    if args.average:
        average.save(average.average(paths), model)
        print(f"average of {args.average} in {model}: {' '.join(path.name for path in paths)}")
    print(shlex.join(["fairseq-generate", *words]), flush=True)
    log = args.out / "generate.log"
    generate(cfg, log)
    translations = printed(log, "D")
    if not translations:
        raise UsageError(f"fairseq-generate printed no translations (D- lines); see {log}")
    if len(translations) < sentences:  # --skip-invalid-size-inputs-valid-test, or one part of many
        print(f"note: {len(translations)} of {sentences} sentences were translated and are scored")

    numbers = sorted(translations)
    texts = {name: [lines[n] for n in numbers] for name, lines in texts.items()}
    if "reference" not in texts:
        target = printed(log, "T")
        texts["target"] = [target[n] for n in numbers]
    hypothesis = [translations[n] for n in numbers]
    contents, found = scored(args, hypothesis, texts, cfg.common_eval.post_process)
    found["settings"] = {
        **{"checkpoints": str(args.average or 1), "beam": str(cfg.generation.beam)},
        **{"lenpen": str(cfg.generation.lenpen), "generate_args": shlex.join(more)},
    }
    contents["scores.json"] = [json.dumps(found, indent=2)]
    with writing(*(args.out / name for name in contents)) as files:
        for file, lines in zip(files, contents.values(), strict=True):
            file.writelines(f"{line}\n".encode() for line in lines)
    print(*lines_of(found), *other_settings(found["settings"], args.baseline), sep="\n")


if __name__ == "__main__":
    main()
