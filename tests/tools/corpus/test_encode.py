"""rdrop corpus encode: the same by one process or two, and back to the text; what is wrong."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece

from rdrop_fairseq.tools.corpus.encode import MOST_PIECES, main, sample

from ...conftest import corpus_lines, full_disk, run

SPLITS = ("train", "valid", "test")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split in SPLITS:
        for language in ("es", "en"):
            lines = corpus_lines(split, language)[:60]
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    return folder


def encode(corpus: Path, out: Path, *flags: object) -> dict[str, bytes]:
    """What the tool writes."""
    words = ["--corpus", corpus, "--languages", "es", "en", "--out", out, *flags]
    main([str(word) for word in words])
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("bpe", ["sentencepiece", "moses"])
def test_workers_change_nothing(corpus, tmp_path, bpe) -> None:
    made = [
        encode(corpus, tmp_path / f"by {n}", "--bpe", bpe, "--vocab-size", 200, "--workers", n)
        for n in (1, 2)
    ]
    assert made[0] == made[1]
    model = "spm.model" if bpe == "sentencepiece" else "codes"
    pieces = {f"{split}.pieces.{language}" for split in SPLITS for language in ("es", "en")}
    assert made[0].keys() == {model, *pieces}
    encoded = made[0]["test.pieces.en"].decode().splitlines()
    text = (corpus / "test.en").read_text().splitlines()
    if bpe == "sentencepiece":
        model = sentencepiece.SentencePieceProcessor(model_proto=made[0]["spm.model"])
        unknown = [model.unk_id() in model.encode(line) for line in text]
        decoded = [model.decode(line.split()) for line in encoded]
        assert [a for a, u in zip(decoded, unknown, strict=True) if not u] == [
            a for a, u in zip(text, unknown, strict=True) if not u
        ]
    else:
        words = [line.replace("@@ ", "").replace(" ", "") for line in encoded]
        plain = [line.replace("\u2019", "&apos;").replace(" ", "") for line in text]
        assert sum(a == b for a, b in zip(words, plain, strict=True)) > 20


def test_files_by_name_packed_and_with_a_mark(corpus, tmp_path) -> None:
    """Nothing of it changes a piece; as a program, once."""
    made = encode(corpus, tmp_path / "out", "--vocab-size", 200)
    for path in corpus.iterdir():
        content = b"\xef\xbb\xbf" + path.read_bytes()
        if path.stem == "train":
            (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / f"my {path.name}").write_bytes(content)
    command = [sys.executable, "-m", "rdrop_fairseq.tools.corpus.encode", "--languages", "es", "en"]
    command += ["--train", tmp_path / "train", "--valid", tmp_path / "my valid"]
    command += ["--test", tmp_path / "my test", "--vocab-size", "200", "--out", tmp_path / "2"]
    run(command, real=True)
    again = {path.name: path.read_bytes() for path in (tmp_path / "2").iterdir()}
    plain = {name: again.pop(name) for name in ("train.es", "train.en")}
    assert plain == {name: (corpus / name).read_bytes() for name in plain}
    assert again == made


def test_mark_is_no_token_of_moses(corpus, tmp_path) -> None:
    made = encode(corpus, tmp_path / "out", "--vocab-size", 100, "--bpe", "moses")
    for path in corpus.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert encode(corpus, tmp_path / "2", "--vocab-size", 100, "--bpe", "moses") == made


@pytest.mark.parametrize(
    ("most", "expected"), [(None, "abcdefg"), (7, "abcdefg"), (6, "aceg"), (3, "adg"), (1, "a")]
)
def test_sample_is_the_same_every_time(most, expected) -> None:
    """Of what is too much, evenly spaced lines."""
    assert list(sample(iter("abcdefg"), 7, most)) == list(expected)


def test_punctuation_is_normalised_only_if_asked(corpus, tmp_path) -> None:
    """As in the data of WMT's papers, but not in those of IWSLT's."""
    for path in corpus.glob("test.*"):
        path.write_text("\u201eJa\u201c \u2013 nein\u2026\n")
    moses = ["--bpe", "moses", "--vocab-size", "100"]
    raw = encode(corpus, tmp_path / "raw", *moses)["test.pieces.en"].decode()
    normal = encode(corpus, tmp_path / "normal", *moses, "--normalise")["test.pieces.en"].decode()
    assert {"\u201e", "\u2013"} <= set(raw)
    assert not {"\u201e", "\u2013"} & set(normal)


def test_longer_than_a_model_takes(corpus, tmp_path, capsys) -> None:
    """A piece a letter: with </s>, 1,024 positions are full with 1,023 pieces."""
    for lines, message in ((1, ""), (2, "1 lines of valid.pieces.es have more than 1023 pieces")):
        for language, word in (("es", "ñ"), ("en", "w")):
            # a word of one letter, which begins with a piece of its own
            text = [word * (MOST_PIECES - 1), "ñ" * MOST_PIECES if language == "es" else "w"]
            content = "".join(f"{line}\n" for line in text[:lines])
            (corpus / f"valid.{language}").write_text(content)
        made = encode(corpus, tmp_path / f"{lines} lines", "--vocab-size", 100)
        found = made["valid.pieces.es"].decode().splitlines()
        assert [len(line.split()) for line in found] == [MOST_PIECES, MOST_PIECES + 1][:lines]
        assert message in capsys.readouterr().err


def test_wrong_arguments(refused, corpus, tmp_path) -> None:
    (corpus / "one").mkdir()
    for flags, message in (
        (["--normalise"], "--lowercase and --normalise go with --bpe moses only"),
        (["--lowercase"], "--lowercase and --normalise go with --bpe moses only"),
        (["--bpe", "moses", "--sample", "9"], "go with --bpe sentencepiece only"),
        (["--sample", "-1"], "--sample: must be a whole number of at least 1, got -1"),
        (["--workers", "0"], "--workers: must be a whole number of at least 1, got 0"),
        (["--vocab-size", "0"], "--vocab-size: must be a whole number of at least 1, got 0"),
        (["--character-coverage", "2"], "coverage: must be a number from 0.98 to 1, got 2"),
        (["--languages", "en", "en"], "--languages must be two languages, got en twice"),
        (["--bpe", "moses", "--languages", "en", "xx"], "no rules for xx, but for as, bn, ca"),
        (["--bpe", "moses", "--languages", "en", "zh"], "no rules for zh, .*--bpe sentencepiece"),
        (["--out", corpus], "corpus is there already: remove it first"),
        (["--languages", "en", "fr"], "no such text: .*train.fr, .*test.fr, nor the same with .gz"),
        (["--valid", "none"], "no such text: none.es, none.en, nor the same with .gz"),
        (["--vocab-size", "90000"], r"cannot make 90000 pieces .*<= \d+.*: change --vocab-size"),
        (["--vocab-size", "9"], r"cannot make 9 pieces .*required_chars.*: change --vocab-size"),
    ):
        command = ["--corpus", corpus, "--languages", "es", "en", "--vocab-size", "100"]
        sentence = refused(main, *command, "--out", tmp_path / "out", *flags)
        assert re.search(message, sentence), sentence
        assert not (tmp_path / "out").exists()
    assert "give --corpus, or --train" in refused(main, *command[2:], "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.es", b"", "train.es has 0 lines but .*train.en has 60"),
        ("valid.en", b"a\n" * 59 + b"caf\xe9\n", "valid.en, line 60: byte 0xe9 at position 4 is n"),
        ("test.en", b"a\n" * 59, "test.es has 60 lines but .*test.en has 59"),
        (
            "test.en.gz",
            gzip.compress(b"a\n" * 60, mtime=0)[:-9],
            "test.en.gz is cut off or no .gz file",
        ),
        ("test.en.gz", b"a\n" * 60, "test.en.gz is cut off or no .gz file"),
    ],
)
@pytest.mark.parametrize("bpe", ["sentencepiece", "moses"])
def test_bad_text(refused, corpus, tmp_path, bpe, name, content, message) -> None:
    """The true cause, before anything is learnt."""
    (corpus / name.removesuffix(".gz")).unlink()
    (corpus / name).write_bytes(content)
    command = ["--corpus", corpus, "--languages", "es", "en", "--vocab-size", "100", "--bpe", bpe]
    sentence = refused(main, *command, "--out", tmp_path / "out")
    assert re.search(message, sentence), sentence
    assert "--vocab-size" not in sentence
    assert not (tmp_path / "out").exists()


def test_text_that_nothing_can_be_learnt_from(refused, corpus, tmp_path) -> None:
    command = ["--corpus", corpus, "--languages", "es", "en", "--vocab-size", "20"]
    command += ["--out", tmp_path / "out"]
    for line, bpe, message in (
        ("ab " * 1398, "sentencepiece", "have more than 4,192 bytes, the most that sentencep"),
        ("", "sentencepiece", "are empty or have more"),
        ("", "moses", "no two characters stand side by side twice"),
        ("a b c", "moses", "no two characters stand side by side twice"),
    ):
        for language in ("es", "en"):
            (corpus / f"train.{language}").write_text(f"{line.strip()}\n" * 2)
        assert message in refused(main, *command, "--bpe", bpe)
    # one line that is short enough will do
    for language in ("es", "en"):
        (corpus / f"train.{language}").write_text(f"{'ab ' * 1398}\nacd bd ac da\n")
    main([*map(str, command), "--vocab-size", "9"])


def test_two_runs_into_one_folder(refused, corpus, tmp_path) -> None:
    """The second one is told, and the first one goes on to its end."""
    program = "import sys, pathlib; from rdrop_fairseq.tools.files import writing_folder\n"
    program += "with writing_folder(pathlib.Path(sys.argv[1])) as folder:\n"
    program += "    print('ready', flush=True); sys.stdin.read(); (folder / 'x').touch()\n"
    command = [sys.executable, "-c", program, tmp_path / "out"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        words = ["--corpus", corpus, "--languages", "es", "en", "--vocab-size", "200"]
        with pytest.raises(SystemExit, match=r"another process is writing .*out now: wait for its"):
            main([str(word) for word in [*words, "--out", tmp_path / "out"]])
        other.stdin.close()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]
    assert not list(tmp_path.glob("*.tmp"))


def test_full_disk(refused, corpus, tmp_path) -> None:
    command = ["--corpus", corpus, "--languages", "es", "en", "--vocab-size", "200"]
    with full_disk():
        sentence = refused(main, *command, "--out", tmp_path / "out")
    assert sentence.endswith("File too large; nothing was left half-written")
    assert not (tmp_path / "out").exists()
