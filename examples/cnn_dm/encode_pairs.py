"""Check a summarization corpus, and encode it with a byte-pair encoding of GPT-2's form.

    python examples/cnn_dm/encode_pairs.py --corpus DIR --bpe-dir BPE --out OUT
    python examples/cnn_dm/encode_pairs.py --corpus DIR --learn 4000 --out OUT

DIR must hold {train,val,test}.{source,target} in UTF-8, as many documents as summaries, and no
empty summary. A document may be empty: there are such, and test sets must stay whole. A
test.sentences, if there is one, must be test.target with a tab between sentences.

OUT gets the same files in pieces, cut to the longest; the encoding, in gpt2_bpe/; the text of the
test set, as test.source.txt, test.target.txt and test.sentences.txt; and the test set once more as
bos.source and bos.target, each document behind a <s> and of each summary a <s>, to force it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from sentences import kept_sentences

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_file, existing_folder, parser, whole
from rdrop_fairseq.tools.corpus import gpt2_bpe, learn_bpe
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.tools.text import whole_lines

SPLITS, SIDES = ("train", "val", "test"), ("source", "target")
FILES = [f"{split}.{side}" for split in SPLITS for side in SIDES]


def check(folder: Path) -> None:
    """Print the size of each split.

    Raises:
        UsageError: the corpus is not as it must be.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise UsageError(f"{folder} lacks {', '.join(missing)}: one text a line is expected")
    for split in SPLITS:
        source, target = (folder / f"{split}.{side}" for side in SIDES)
        documents, summaries = whole_lines(source, "source"), whole_lines(target, "target")
        if len(documents) != len(summaries):
            raise UsageError(
                f"{source} has {len(documents)} lines but {target} has "
                f"{len(summaries)}: line n must be the summary of document n"
            )
        if not documents:
            raise UsageError(f"{source} is empty: at least one pair is expected")
        empty = [number for number, line in enumerate(summaries, 1) if not line.strip()]
        if empty:
            raise UsageError(
                f"{target} has {len(empty)} empty summaries, the first in line "
                f"{empty[0]}: remove these lines from it and from {source.name}"
            )
        if split == "test" and (folder / "test.sentences").exists():
            kept_sentences(folder / "test.sentences", summaries)
        without = sum(not line.strip() for line in documents)
        print(f"{split}: {len(documents)} pairs" + (f", {without} empty documents" * bool(without)))


def cut(path: Path, longest: int) -> None:
    """Shorten the lines of pieces, so that none has more with the </s> that fairseq adds."""
    lines = [line.split() for line in whole_lines(path)]
    longer = sum(len(pieces) >= longest for pieces in lines)
    if longer:
        print(f"{path.name}: {longer} longer than {longest} tokens, cut to that")
    write_lines(path, (" ".join(pieces[: longest - 1]) for pieces in lines))


def check_dictionary(dictionary: Path, pieces: Path) -> None:
    """Raise UsageError if the dictionary has not all pieces, but for a few that it never saw."""
    known = {line.split(" ")[0] for line in whole_lines(dictionary, "dictionary")}
    found = [piece for line in whole_lines(pieces) for piece in line.split()]
    unknown = sum(piece not in known for piece in found)
    if unknown > 0.01 * len(found):
        raise UsageError(
            f"{dictionary} lacks {unknown} of {len(found)} pieces of {pieces.name}: it is not "
            "BART's dictionary"
        )


@command("encode_pairs")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "encode_pairs.py")
    add = options.add_argument
    add("--corpus", type=existing_folder, required=True, metavar="DIR", help="the text")
    bpe = options.add_mutually_exclusive_group(required=True)
    bpe.add_argument("--bpe-dir", type=existing_folder, help="folder of GPT-2's published encoding")
    bpe.add_argument("--learn", type=whole(256), metavar="N", help="learn one of N pieces")
    add("--dictionary", type=existing_file, help="of the published model: it must have all pieces")
    add("--longest", type=whole(2), default=1024, help="tokens of a text; default 1024")
    add("--positions", type=whole(2), default=1024, help="of the model; default 1024")
    add("--workers", type=whole(1), default=1, help="processes; default 1")
    add("--out", type=Path, required=True, help="folder to write")
    args = options.parse_args(argv)
    if args.longest > args.positions:
        raise UsageError(
            f"LONGEST must be from 2 to {args.positions}, the model's positions, got {args.longest}"
        )

    check(args.corpus)
    with writing_folder(args.out) as unfinished:
        encoding = unfinished / "gpt2_bpe"
        if args.learn:
            text = [str(args.corpus / f"train.{side}") for side in SIDES]
            learn_bpe.main(["--size", str(args.learn), "--out", str(encoding), *text])
        else:
            shutil.copytree(args.bpe_dir, encoding)
        how = ["--bpe-dir", str(encoding), "--workers", str(args.workers)]
        how += [] if args.learn else ["--published"]
        pairs = [str(folder / name) for name in FILES for folder in (args.corpus, unfinished)]
        gpt2_bpe.main([*how, *pairs])
        if args.dictionary:
            check_dictionary(args.dictionary, unfinished / "val.source")
        for name in FILES:
            cut(unfinished / name, args.longest)
        for path in args.corpus.glob("test.*"):
            shutil.copyfile(path, unfinished / f"{path.name}.txt")
        documents = whole_lines(unfinished / "test.source")
        write_lines(unfinished / "bos.source", (f"<s> {line}" for line in documents))
        write_lines(unfinished / "bos.target", ["<s>"] * len(documents))


if __name__ == "__main__":
    main()
