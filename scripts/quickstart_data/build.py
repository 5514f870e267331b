"""Make the quickstart's corpus from the two Bibles that README.md names.

Needed only to see how the files beside this one were made, or to make them again:
    python build.py VERSE_IDS.gz ENGLISH.gz SPANISH.gz
each with one verse a line ("Genesis 1:1", its English, its Spanish). Writes
{train,valid,test}.{en,es}.gz here.
"""

import argparse
import gzip
from pathlib import Path

# Whole books, whose stories no other book tells again: not Kings (Chronicles), not Mark (Matthew).
BOOKS = {
    "test": {"Acts", "Ruth", "Jonah"},
    "valid": {"Daniel", "Ecclesiastes", "Esther"},
}
# Chapters in which the two count their verses differently, found by comparing the verses'
# lengths: in these, a verse's neighbour fits better.
SHIFTED = {"Jonah 2", "Numbers 30"}
# short verses, so that training and translation take minutes
WORDS = {"train": range(3, 41), "valid": range(3, 26), "test": range(3, 26)}


def read(path: str) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("verse_ids", "english", "spanish"):
        parser.add_argument(name, help=f"gzip file of {name}, one verse a line")
    args = parser.parse_args()

    split_of = {book: split for split, books in BOOKS.items() for book in books}
    corpus = {
        "test": {},
        "valid": {},
        "train": {},
    }  # English to Spanish: also drops repeated verses
    texts = map(read, (args.verse_ids, args.english, args.spanish))
    for verse_id, en, es in zip(*texts, strict=True):
        split = split_of.get(verse_id.rsplit(" ", 1)[0], "train")
        short = all(len(text.split()) in WORDS[split] for text in (en, es))
        if short and verse_id.rsplit(":", 1)[0] not in SHIFTED:
            corpus[split].setdefault(en, es)

    held_out = [corpus["test"], corpus["valid"]]
    seen_en = set().union(*held_out)
    seen_es = {es for split in held_out for es in split.values()}
    corpus["train"] = {
        en: es for en, es in corpus["train"].items() if en not in seen_en and es not in seen_es
    }
    for split, verses in corpus.items():
        for language, lines in (("en", verses.keys()), ("es", verses.values())):
            path = Path(__file__).with_name(f"{split}.{language}.gz")
            text = "".join(f"{line}\n" for line in lines).encode()
            path.write_bytes(gzip.compress(text, 9, mtime=0))
        print(f"{split}: {len(verses)} verses")


if __name__ == "__main__":
    main()
