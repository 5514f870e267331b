"""Train a joint sentencepiece model on a parallel corpus and encode the corpus with it.

    python scripts/encode_corpus.py --corpus DIR --languages es en --vocab-size 4000 --out OUT

DIR holds {train,valid,test}.LANGUAGE.gz. OUT gets spm.model, the plain text
({train,...}.LANGUAGE) and its pieces ({train,...}.pieces.LANGUAGE). OUT is complete if it
exists: it is written under another name and renamed.
"""

import argparse
import gzip
import os
import shutil
from pathlib import Path

import sentencepiece

SPLITS = ("train", "valid", "test")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--languages", nargs=2, required=True, help="source and target")
    parser.add_argument("--vocab-size", type=int, required=True, help="number of pieces")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()

    if args.out.exists():
        parser.error(f"{args.out} is there already: remove it first")
    missing = [
        str(packed)
        for split in SPLITS
        for language in args.languages
        if not (packed := args.corpus / f"{split}.{language}.gz").is_file()
    ]
    if missing:
        parser.error(f"the corpus lacks {', '.join(missing)}")
    unfinished = args.out.with_name(args.out.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for split in SPLITS:
        for language in args.languages:
            packed = args.corpus / f"{split}.{language}.gz"
            (unfinished / f"{split}.{language}").write_bytes(gzip.decompress(packed.read_bytes()))
    sentencepiece.SentencePieceTrainer.train(
        input=[str(unfinished / f"train.{language}") for language in args.languages],
        model_prefix=str(unfinished / "spm"),
        vocab_size=args.vocab_size,
        character_coverage=1.0,
        minloglevel=1,
    )
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(unfinished / "spm.model"))
    for split in SPLITS:
        for language in args.languages:
            text = (unfinished / f"{split}.{language}").read_text(encoding="utf-8")
            lines = text.removesuffix("\n").split("\n")
            pieces = (" ".join(line) + "\n" for line in encoder.encode(lines, out_type=str))
            path = unfinished / f"{split}.pieces.{language}"
            path.write_text("".join(pieces), encoding="utf-8")
    os.rename(unfinished, args.out)


if __name__ == "__main__":
    main()
