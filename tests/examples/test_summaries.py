"""The Python programs of examples/cnn_dm: ROUGE, sentences, corpora."""

import hashlib
import json
import lzma
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from rdrop_fairseq.errors import UsageError

from ..conftest import ROOT, corpus_lines
from ..gpt2_bpe import small_bpe

SCRIPTS = ROOT / "examples" / "cnn_dm"


@pytest.fixture
def score(modules, tmp_path, capsys) -> Callable[..., tuple[dict, str]]:
    """score(hypothesis, reference, ...): what score_rouge.py writes, and what it prints."""

    def score(hypothesis: str, reference: str, *arguments: str) -> tuple[dict, str]:
        (tmp_path / "hyp").write_bytes(hypothesis.encode())
        (tmp_path / "ref").write_bytes(reference.encode())
        files = ["--hypothesis", f"{tmp_path}/hyp", "--reference", f"{tmp_path}/ref"]
        modules("score_rouge").main([*files, "--json", f"{tmp_path}/json", *arguments])
        return json.loads((tmp_path / "json").read_text()), capsys.readouterr().out

    return score


def test_rouge_by_hand(score, tmp_path) -> None:
    """Two summaries worked out by hand; means, and the record of how it was done.

    The first: stemmed, the hypothesis "The dogs ran. A cat sat!" has the 6 unigrams the dog ran a
    cat sat, the reference "A cat sits. The dog ran?" a cat sit the dog ran: 5 in common, F 5/6.
    Bigrams: the-dog dog-ran ran-a a-cat cat-sat against a-cat cat-sit sit-the the-dog dog-ran:
    3 of 5. Lsum: by sentences, all 5 common words are found (a cat; the dog ran): 5/6, where
    the whole summaries' longest common subsequence has 3 words. The second hypothesis is empty.
    """
    texts = "The dogs ran. A cat sat!\n\n", "A cat sits. The dog ran?\nWords.\n"
    report, printed = score(*texts, "--examples", f"{tmp_path}/examples.tsv")
    assert (tmp_path / "examples.tsv").read_text() == (
        "summary\tROUGE-1\tROUGE-2\tROUGE-Lsum\n1\t83.3333\t60.0000\t83.3333\n"
        "2\t0.0000\t0.0000\t0.0000\n"
    )
    assert report["ROUGE-1"]["score"] == pytest.approx(100 * 5 / 6 / 2)
    assert report["ROUGE-2"]["score"] == pytest.approx(100 * 3 / 5 / 2)
    assert report["ROUGE-Lsum"]["score"] == pytest.approx(100 * 5 / 6 / 2)
    # a sample of two is either summary twice, or both
    assert report["ROUGE-1"]["low"] == 0
    assert report["ROUGE-1"]["high"] == pytest.approx(100 * 5 / 6)
    how = report["how"]
    assert how["summaries"] == 2
    assert how["implementation"].startswith("rouge-score 0.1.2")
    assert (
        how["sha256"]["hypothesis"] == hashlib.sha256((tmp_path / "hyp").read_bytes()).hexdigest()
    )
    assert "ROUGE-1 41.67 [0.00, 83.33]" in printed
    assert "a sentence ends at white space after . ! or ?" in printed


def test_sentences_of_the_reference_are_kept(score, tmp_path) -> None:
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
    sentences = ("--sentences", f"{tmp_path}/kept")
    report, _ = score(*arguments)
    assert report["ROUGE-Lsum"]["score"] == pytest.approx(100 * 5 / 6)
    report, printed = score(*arguments, *sentences)
    assert report["ROUGE-Lsum"]["score"] == pytest.approx(100 * 2 / 3)
    assert report["how"]["sentences"].endswith("; of references: a highlight")
    assert "of references: a highlight" in printed
    assert set(report["perfect"].values()) == {100}
    assert "that equal the references" not in printed
    # what is perfect has 100 here, and not where a part of a sentence is found at another place
    report, _ = score(f"{reference}\n", f"{reference}\n", *sentences)
    assert {report[name]["score"] for name in ("ROUGE-1", "ROUGE-2", "ROUGE-Lsum")} == {100}
    twice = "The U.S. says the U.S. economy grew."
    (tmp_path / "kept").write_text(f"{twice}\tIt fell.\n")
    report, printed = score("a\n", f"{twice} It fell.\n", *sentences)
    perfect = report["perfect"]
    assert (perfect["ROUGE-1"], perfect["ROUGE-2"]) == (100, 100)
    assert perfect["ROUGE-Lsum"] < 100
    best = f"would have ROUGE-1 100.00, ROUGE-2 100.00, ROUGE-Lsum {perfect['ROUGE-Lsum']:.2f}"
    assert best in printed


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ("A.\tC.\n", "kept, line 1 must be the reference with a tab between its sentences"),
        ("A.\tB.\nC.\n", "kept has 2 lines for 1 references"),
    ],
)
def test_sentences_of_other_references(score, tmp_path, kept, message) -> None:
    (tmp_path / "kept").write_text(kept)
    with pytest.raises(UsageError, match=f"^score_rouge: .*{message}"):
        score("A.\n", "A. B.\n", "--sentences", f"{tmp_path}/kept")
    assert not (tmp_path / "json").exists()


@pytest.mark.parametrize(
    ("hypothesis", "reference", "message"),
    [
        ("a\n", "a\nb\n", "has 2 lines but the hypothesis .* has 1"),
        ("", "", "the reference file .* is empty: nothing to score"),
    ],
)
def test_wrong_summaries(score, tmp_path, hypothesis, reference, message) -> None:
    with pytest.raises(UsageError, match=f"^score_rouge: .*{message}"):
        score(hypothesis, reference)
    assert not (tmp_path / "json").exists()


def test_texts_to_score(modules, tmp_path) -> None:
    """In the order of the test set: what was written, in text, and the first two sentences."""
    documents = ["One. Two!  Three? Four.", "", "Only 3.5 of it", " A  b.\u2028C."]
    (tmp_path / "test.source.txt").write_text("\n".join(documents) + "\n")
    (tmp_path / "test.target.txt").write_text("A.\nB.\n\nD")
    small_bpe(tmp_path / "gpt2_bpe", ["all of it"], 256)
    encoder = json.loads((tmp_path / "gpt2_bpe" / "encoder.json").read_text())
    a, end = encoder["a"], encoder["\u010a"]  # of a newline
    lines = [f"H-{n}\t-0.5\t{' '.join([str(a)] * n)} {end} <unk> madeupword0" for n in (2, 0, 3, 1)]
    (tmp_path / "log").write_text("\n".join(["S-0\t7", *lines, "D-0\t-0.5\t7"]) + "\n")
    files = ["--generated", f"{tmp_path}/log", "--pieces", str(tmp_path), "--out", str(tmp_path)]
    modules("summaries").main([*files, "--lead", "2"])
    for name, expected in (
        ("hyp", ["", "a", "aa", "aaa"]),
        ("ref", ["A.", "B.", "", "D"]),
        ("lead", ["One. Two!", "", "Only 3.5 of it", "A b. C."]),
    ):
        assert (tmp_path / f"{name}.txt").read_bytes().decode().split("\n") == [*expected, ""]


def test_packages_are_split_by_source(modules, tmp_path) -> None:
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
    module = modules("package_descriptions")
    splits = module.split(module.read_pairs(packages, translation), held_out=300)
    assert len(splits["val"]) == len(splits["test"]) == 300
    assert len(splits["train"]) == 1498 - 600
    every = [pair for pairs in splits.values() for pair in pairs]
    assert every.count((f"{verses[5]} - of package 5", "The short 5")) == 1
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        for side in (0, 1):
            assert {row[side] for row in splits[one]}.isdisjoint(row[side] for row in splits[other])
    for files, message in (
        ([translation, packages], "Translation-en holds no package with a Source: is it Debian's"),
        ([packages, packages], "Packages.xz holds no package with a Description-en: is it"),
    ):
        with pytest.raises(UsageError, match=message):
            module.main(["--out", f"{tmp_path}/new", *map(str, files)])
        assert not list(tmp_path.glob("new*"))


def test_which_descriptions_are_taken(modules, tmp_path) -> None:
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
    files = [f"{tmp_path}/Packages", f"{tmp_path}/Translation-en"]
    modules("package_descriptions").main(["--out", f"{tmp_path}/out", *files])
    assert sorted((tmp_path / "out" / "test.source").read_text().splitlines()) == [
        *(long, f"{long} - f - g"),
    ]
    assert sorted((tmp_path / "out" / "test.target").read_text().splitlines()) == [
        *("A short one", "Of another architecture"),
    ]


NEWS = {
    "article": [
        "(CNN) -- The U.S. left . Photo: AP . It said so.  'Well' .",
        "New York (CNN)A (CNN) host . . . paused . 5 . ",
        "",
    ],
    "highlights": ["The U.S. left .\nIt said so.\n", "Why? .", "No stop"],
}
XSUM = {"document": ["A  b.\nC."], "summary": ["One .\nTwo ."]}


@pytest.mark.parametrize(
    ("dataset", "name", "columns", "expected"),
    [
        (
            *("cnn_dm", ("abisee/cnn_dailymail", "3.0.0"), NEWS),
            {  # a stop after ' or ? or . is not the loader's, which adds none there
                "source": "The U.S. left. Photo: AP. It said so. 'Well' .\n"
                "New York (CNN)A (CNN) host . . . paused. 5.\n\n",
                "target": "The U.S. left. It said so.\nWhy? .\nNo stop\n",
            },
        ),
        (
            *("xsum", ("EdinburghNLP/xsum", None), XSUM),
            {"source": "A b. C.\n", "target": "One . Two .\n"},
        ),
    ],
)
def test_export(tmp_path, monkeypatch, modules, dataset, name, columns, expected) -> None:
    """What is written of the rows that `datasets` gives, and of which data set; or why not."""
    arguments = ["--dataset", dataset]
    export = modules("export_dataset").main
    asked = []

    def load_dataset(*what: str | None) -> dict[str, dict[str, list[str]]]:
        asked.append(what)
        return dict.fromkeys(("train", "validation", "test"), columns)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    export([*arguments, "--out", f"{tmp_path}/out"])
    assert asked == [name]
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    if dataset == "cnn_dm":
        assert found.pop("test.sentences") == "The U.S. left.\tIt said so.\nWhy? .\nNo stop\n"
    assert found == {
        f"{a}.{b}": text for a in ("train", "val", "test") for b, text in expected.items()
    }

    def refuse(*what: str | None) -> None:
        raise OSError("offline")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=refuse))
    with pytest.raises(UsageError, match=r"cannot load .* \(offline\): give RAW_DIR with"):
        export([*arguments, "--out", f"{tmp_path}/none"])
    assert not list(tmp_path.glob("none*"))
