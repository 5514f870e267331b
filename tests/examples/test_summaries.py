"""The Python programs of examples/cnn_dm: ROUGE, sentences, corpora."""

import hashlib
import json
import lzma
import re
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT, corpus_lines, run

HERE = ROOT / "examples" / "cnn_dm"


def program(name: str, *arguments, check: bool = True, **kwargs):
    return run([sys.executable, HERE / f"{name}.py", *arguments], check=check, **kwargs)


def score(tmp_path: Path, hypothesis: str, reference: str, *arguments, check: bool = True):
    (tmp_path / "hyp").write_bytes(hypothesis.encode())
    (tmp_path / "ref").write_bytes(reference.encode())
    files = ["--hypothesis", tmp_path / "hyp", "--reference", tmp_path / "ref"]
    return program("score_rouge", *files, "--json", tmp_path / "json", *arguments, check=check)


def test_rouge_by_hand(tmp_path) -> None:
    """Two summaries worked out by hand; means, and the record of how it was done.

    The first: stemmed, the hypothesis "The dogs ran. A cat sat!" has the 6 unigrams the dog ran a
    cat sat, the reference "A cat sits. The dog ran?" a cat sit the dog ran: 5 in common, F 5/6.
    Bigrams: the-dog dog-ran ran-a a-cat cat-sat against a-cat cat-sit sit-the the-dog dog-ran:
    3 of 5. Lsum: by sentences, all 5 common words are found (a cat; the dog ran): 5/6, where
    the whole summaries' longest common subsequence has 3 words. The second hypothesis is empty.
    """
    result = score(tmp_path, "The dogs ran. A cat sat!\n\n", "A cat sits. The dog ran?\nWords.\n")
    report = json.loads((tmp_path / "json").read_text())
    assert report["ROUGE-1"]["f"] == pytest.approx(100 * 5 / 6 / 2)
    assert report["ROUGE-2"]["f"] == pytest.approx(100 * 3 / 5 / 2)
    assert report["ROUGE-Lsum"]["f"] == pytest.approx(100 * 5 / 6 / 2)
    # a sample of two is either summary twice, or both
    assert report["ROUGE-1"]["low"] == 0
    assert report["ROUGE-1"]["high"] == pytest.approx(100 * 5 / 6)
    how = report["how"]
    assert how["summaries"] == 2
    assert how["implementation"].startswith("rouge-score 0.1.2")
    assert (
        how["sha256"]["hypothesis"] == hashlib.sha256((tmp_path / "hyp").read_bytes()).hexdigest()
    )
    assert "ROUGE-1 41.67 [0.00, 83.33]" in result.stdout
    assert "a sentence ends at white space after . ! or ?" in result.stdout


def test_sentences_of_the_reference_are_kept(tmp_path) -> None:
    """A reference of two sentences is scored as that, not parted again at "U.S.".

    The reference: the u s army left (5 words), it won (2). The hypothesis has one sentence,
    army the u s left: 5 words, all of them in the reference, of which the longest subsequence
    common with the first reference sentence is the u s left: 4 words, so that recall is 4/7,
    precision 4/5, F 2/3. Parted at "U.S.", the first would be two: the u s (3 words in common)
    and army left (2): recall 5/7, precision 5/5, F 5/6.
    """
    reference, kept = "The U.S. army left. It won.", "The U.S. army left.\tIt won."
    (tmp_path / "kept").write_text(f"{kept}\n")
    arguments = ("army the U S left\n", f"{reference}\n")
    score(tmp_path, *arguments)
    report = json.loads((tmp_path / "json").read_text())
    assert report["ROUGE-Lsum"]["f"] == pytest.approx(100 * 5 / 6)
    result = score(tmp_path, *arguments, "--sentences", tmp_path / "kept")
    report = json.loads((tmp_path / "json").read_text())
    assert report["ROUGE-Lsum"]["f"] == pytest.approx(100 * 2 / 3)
    assert report["how"]["sentences"].endswith("; of references: a highlight")
    assert "of references: a highlight" in result.stdout
    assert set(report["perfect"].values()) == {100}
    assert "that equal the references" not in result.stdout
    # what is perfect has 100 here, and not where a part of a sentence is found at another place
    score(tmp_path, f"{reference}\n", f"{reference}\n", "--sentences", tmp_path / "kept")
    report = json.loads((tmp_path / "json").read_text())
    assert {report[name]["f"] for name in ("ROUGE-1", "ROUGE-2", "ROUGE-Lsum")} == {100}
    twice = "The U.S. says the U.S. economy grew."
    (tmp_path / "kept").write_text(f"{twice}\tIt fell.\n")
    result = score(tmp_path, "a\n", f"{twice} It fell.\n", "--sentences", tmp_path / "kept")
    perfect = json.loads((tmp_path / "json").read_text())["perfect"]
    assert (perfect["ROUGE-1"], perfect["ROUGE-2"]) == (100, 100)
    assert perfect["ROUGE-Lsum"] < 100
    assert f"would have ROUGE-1 100.00, ROUGE-2 100.00, ROUGE-Lsum {perfect['ROUGE-Lsum']:.2f}" in (
        result.stdout
    )


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ("A.\tC.\n", "kept, line 1 must be the reference with a tab between its sentences"),
        ("A.\tB.\nC.\n", "kept has 2 lines for 1 references"),
    ],
)
def test_sentences_of_other_references(tmp_path, kept, message) -> None:
    (tmp_path / "kept").write_text(kept)
    result = score(tmp_path, "A.\n", "A. B.\n", "--sentences", tmp_path / "kept", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"score_rouge: .*{message}", line)
    assert not (tmp_path / "json").exists()


def test_difference_is_paired(tmp_path) -> None:
    """A system better by the same amount on every summary is better beyond doubt."""
    words = [f"{chr(97 + n)}{chr(98 + n)}{chr(99 + n)}" for n in range(20)]
    reference = [" ".join(words[n : n + 4]) for n in range(10)]
    better = [" ".join(line.split()[: 2 + n % 2]) for n, line in enumerate(reference)]
    worse = [" ".join(line.split()[: 1 + n % 2]) for n, line in enumerate(reference)]
    (tmp_path / "baseline").write_text("\n".join(worse) + "\n")
    hypothesis, expected = ("\n".join(lines) + "\n" for lines in (better, reference))
    score(tmp_path, hypothesis, expected, "--baseline", tmp_path / "baseline")
    report = json.loads((tmp_path / "json").read_text())
    values = report["difference_to_baseline"]["ROUGE-1"]
    # F: 2/3 - 2/5 where n is even, 6/7 - 2/3 where it is odd
    assert values["f"] == pytest.approx(100 * ((2 / 3 - 2 / 5) + (6 / 7 - 2 / 3)) / 2)
    assert 100 * (6 / 7 - 2 / 3) <= values["low"] < values["high"] <= 100 * (2 / 3 - 2 / 5)
    assert report["ROUGE-1"]["high"] - report["ROUGE-1"]["low"] > values["high"] - values["low"]


@pytest.mark.parametrize(
    ("hypothesis", "reference", "message"),
    [
        ("a\n", "a\nb\n", "has 2 lines but the hypothesis .* has 1"),
        ("", "", "the reference file .* is empty: nothing to score"),
    ],
)
def test_wrong_summaries(tmp_path, hypothesis, reference, message) -> None:
    result = score(tmp_path, hypothesis, reference, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"score_rouge: .*{message}", line)
    assert not (tmp_path / "json").exists()


def test_lead(tmp_path) -> None:
    documents = ["One. Two!  Three? Four.", "", "Only 3.5 of it", " A  b.\u2028C."]
    (tmp_path / "in").write_text("\n".join(documents) + "\n")
    program("sentences", "--lead", 2, tmp_path / "in", tmp_path / "out")
    leads = (tmp_path / "out").read_bytes().decode().split("\n")
    assert leads == ["One. Two!", "", "Only 3.5 of it", "A b. C.", ""]
    result = program("sentences", "--lead", 0, tmp_path / "in", tmp_path / "no", check=False)
    assert "--lead must be at least 1, got 0" in result.stderr
    assert not (tmp_path / "no").exists()


def test_packages_are_split_by_source(tmp_path) -> None:
    """3,000 packages of 1,500 sources of which two pairs have the same text."""
    verses = [verse for verse in corpus_lines("train", "en") if len(verse.split()) >= 20]
    packages, translation = tmp_path / "Packages.xz", tmp_path / "Translation-en"
    stanzas = [f"Package: p{n}\nSource: s{n // 2} (1.{n})\nVersion: 2\n" for n in range(3000)]
    packages.write_bytes(lzma.compress("\n".join(stanzas).encode()))
    stanzas = [
        f"Package: p{n}\nDescription-md5: {n}\nDescription-en: The short {n // 2 % 1498}\n"
        f" {verses[n // 2 % 1498]}\n .\n  * of package {n // 2 % 1498}\n"
        for n in range(3000)
    ]
    translation.write_text("\n".join(stanzas))
    out = tmp_path / "out"
    source = (HERE / "package_descriptions.py").read_text()
    (tmp_path / "small.py").write_text(source.replace("VAL = TEST = 1000", "VAL = TEST = 300"))
    command = [sys.executable, tmp_path / "small.py", "--out", out, packages, translation]
    environment = {"PYTHONPATH": str(ROOT / "scripts" / "corpus")}  # what lies beside the script
    run(command, env=environment)
    splits = {}
    for split in ("train", "val", "test"):
        sides = [
            (out / f"{split}.{side}").read_text().splitlines() for side in ("source", "target")
        ]
        splits[split] = list(zip(*sides, strict=True))
    assert len(splits["val"]) == len(splits["test"]) == 300
    assert len(splits["train"]) == 1498 - 600
    every = [pair for pairs in splits.values() for pair in pairs]
    assert every.count((f"{verses[5]} - of package 5", "The short 5")) == 1
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        for side in (0, 1):
            assert {row[side] for row in splits[one]}.isdisjoint(row[side] for row in splits[other])
    again = run(command, env=environment, check=False)
    assert "is there already: remove it first" in again.stderr
    command[3] = tmp_path / "new"
    for files, message in (
        ([translation, packages], "Translation-en holds no package with a Source: is it Debian's"),
        ([packages, packages], "Packages.xz holds no package with a Description-en: is it"),
    ):
        result = run([*command[:4], *files], env=environment, check=False)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert message in line
        assert not (tmp_path / "new").exists()


def test_which_descriptions_are_taken(tmp_path) -> None:
    """Not the short ones, not those that were there; a package without Source is its own."""
    words = [f"word{n}" for n in range(10)]
    long = " ".join(words * 2)
    stanzas = {  # in the order of the Translation file, which is not that of names
        "b": ("A short one", f" {long}"),
        "a": ("Of the same source", f" {long} a"),
        "c": ("The same text", f" {' '.join(words)}\n {' '.join(words)}"),
        "d": ("Two words", f" {long} d"),
        "e": ("Nineteen words only", f" {' '.join((words * 2)[:19])}"),
        "f": ("Of another architecture", f" {long}\n .\n  * f\n .\n  o  g"),
        "g": ("No long description", ""),
    }
    (tmp_path / "Packages").write_text(
        "Package: a\nSource: b\n\nPackage: b\n\n" + "\n\n".join(f"Package: {n}" for n in "cde")
    )
    text = "".join(
        f"Package: {name}\nDescription-md5: 0{name}\nDescription-en: {short}\n{lines}\n\n"
        for name, (short, lines) in stanzas.items()
    )
    (tmp_path / "Translation-en").write_text(text)
    files = (tmp_path / "Packages", tmp_path / "Translation-en")
    program("package_descriptions", "--out", tmp_path / "out", *files)
    assert sorted((tmp_path / "out" / "test.source").read_text().splitlines()) == [
        *(long, f"{long} - f - g"),
    ]
    assert sorted((tmp_path / "out" / "test.target").read_text().splitlines()) == [
        *("A short one", "Of another architecture"),
    ]


FAKE_DATASETS = """
def load_dataset(name, configuration=None):
    if (name, configuration) == ("abisee/cnn_dailymail", "3.0.0"):
        columns = {
            "article": [
                "(CNN) -- The U.S. left . Photo: AP . It said so.  'Well' .",
                "New York (CNN)A (CNN) host . . . paused . 5 . ",
                "",
            ],
            "highlights": ["The U.S. left .\\nIt said so.\\n", "Why? .", "No stop"],
        }
    elif (name, configuration) == ("EdinburghNLP/xsum", None):
        columns = {"document": ["A  b.\\nC."], "summary": ["One .\\nTwo ."]}
    elif (name, configuration) == ("Salesforce/wikitext", "wikitext-103-v1"):
        columns = {"text": ["", " = A = \\n", " word \\n"]}
    return {split: Rows(columns) for split in ("train", "validation", "test")}

class Rows:
    def __init__(self, columns):
        self.columns = columns
    def __len__(self):
        return len(next(iter(self.columns.values())))
    def __getitem__(self, name):
        return self.columns[name]
"""


@pytest.mark.parametrize("dataset", ["cnn_dm", "xsum", "wikitext103"])
def test_export(tmp_path, dataset) -> None:
    """What is written of the rows that `datasets` gives, and of which data set; or why not."""
    (tmp_path / "datasets.py").write_text(FAKE_DATASETS)
    out = tmp_path / "out"
    folder = ROOT / "examples" / ("wikitext103" if dataset == "wikitext103" else "cnn_dm")
    command = [sys.executable, folder / "export_dataset.py", "--out", out]
    if dataset != "wikitext103":
        command += ["--dataset", dataset]
    run(command, env={"PYTHONPATH": str(tmp_path)})
    found = {path.name: path.read_text() for path in out.iterdir()}
    if dataset == "wikitext103":
        names = [f"wiki.{split}.tokens" for split in ("train", "valid", "test")]
        assert found == dict.fromkeys(names, "\n = A = \n word \n")
    else:
        sides = {"source": "A b. C.\n", "target": "One . Two .\n"}
        if dataset == "cnn_dm":
            # a stop after ' or ? or . is not the loader's, which adds none there
            sides = {
                "source": "The U.S. left. Photo: AP. It said so. 'Well' .\n"
                "New York (CNN)A (CNN) host . . . paused. 5.\n\n",
                "target": "The U.S. left. It said so.\nWhy? .\nNo stop\n",
            }
            assert found.pop("test.sentences") == ("The U.S. left.\tIt said so.\nWhy? .\nNo stop\n")
        splits = ("train", "val", "test")
        assert found == {f"{a}.{b}": text for a in splits for b, text in sides.items()}

    (tmp_path / "datasets.py").write_text("def load_dataset(*name):\n    raise OSError('offline')")
    command[command.index(out)] = tmp_path / "none"
    result = run(command, env={"PYTHONPATH": str(tmp_path)}, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(r"export_dataset: cannot load .* \(offline\): give RAW_DIR with", line)
    assert not (tmp_path / "none").exists()
