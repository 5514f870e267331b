"""scripts/evaluate.sh on a real, if hardly trained, model."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from ..conftest import ARCHS, PAIR, ROOT, USER_DIR, corpus_lines, run, train

EVALUATE = ["bash", ROOT / "scripts" / "evaluate.sh"]
SHORT = {"GENERATE_ARGS": "--cpu --max-len-b 15", "BEAM": "2"}


def test_checkpoint_to_scores(data, trained, tmp_path) -> None:
    checkpoint = trained[0] / "checkpoint_last.pt"
    reference = data / "raw.test.en"
    command = [*EVALUATE, data / "bin", checkpoint, "--out", tmp_path, "--reference", reference]
    result = run(command, env=SHORT)
    hypothesis = (tmp_path / "hyp.txt").read_text().splitlines()
    assert len(hypothesis) == 40
    assert not any("▁" in line for line in hypothesis)  # text, not pieces
    assert (tmp_path / "ref.txt").read_text() == reference.read_text()
    # the order of the test set, not of the batches
    log = (tmp_path / "generate.log").read_text()
    assert hypothesis[7] == re.search(r"^H-7\t\S+\t(.*)$", log, re.M)[1]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores.keys() == {"BLEU", "chrF2", "TER", "settings"}
    assert result.stdout.splitlines()[0] == " ".join(
        f"{name} {values['score']:.2f}" for name, values in scores.items() if name != "settings"
    )
    assert scores["settings"] == {
        **{
            "checkpoints": "1",
            "beam": "2",
            "lenpen": "1.0",
            "generate_args": SHORT["GENERATE_ARGS"],
        }
    }
    assert not list(tmp_path.glob("*.tmp"))
    # the same files give the same scores when given to score.py by hand
    score = [sys.executable, ROOT / "scripts" / "score.py"]
    score += ["--hypothesis", tmp_path / "hyp.txt", "--reference", tmp_path / "ref.txt"]
    assert run(score).stdout == result.stdout


def test_average_and_baseline(data, trained, tmp_path) -> None:
    baseline = tmp_path / "other.txt"
    baseline.write_text("And\n" * 40)
    command = [*EVALUATE, data / "bin", trained[0], "--average", "2", "--out", tmp_path]
    result = run([*command, "--baseline", baseline], env=SHORT)
    assert "average of 2 in" in result.stdout
    assert "paired bootstrap: BLEU" in result.stdout
    # without --reference: the binarised target, detokenised
    expected = (data / "raw.test.en").read_text().splitlines()
    found = (tmp_path / "ref.txt").read_text().splitlines()
    same = [a == b for a, b in zip(expected, found, strict=True) if "<<unk>>" not in b]
    assert len(same) > 20
    assert all(same)


def binarised(folder: Path, codes: bool) -> list[str]:
    """A folder's bin/: words, or subword-nmt's codes, and another pair's. Gives the test's text."""
    from subword_nmt.apply_bpe import BPE
    from subword_nmt.learn_bpe import learn_bpe

    text = {language: corpus_lines("train", language)[:200] for language in ("es", "en")}
    encoded = text
    if codes:
        with (folder / "codes").open("w+") as file:
            learn_bpe(text["es"] + text["en"], file, 100)
            file.seek(0)
            bpe = BPE(file)
        encoded = {side: [bpe.process_line(line) for line in text[side]] for side in text}
    for language, lines in encoded.items():
        (folder / f"all.{language}").write_text("".join(f"{line}\n" for line in lines))
        (folder / f"some.{language}").write_text("".join(f"{line}\n" for line in lines[:20]))
    preprocess = ["fairseq-preprocess", *PAIR, "--joined-dictionary", "--destdir", folder / "bin"]
    preprocess += ["--trainpref", folder / "all", "--validpref", folder / "some"]
    run([*preprocess, "--testpref", folder / "some"])
    # of another pair, which comes first where names are listed
    for name in ("dict.aa.txt", "dict.zz.txt", "test.aa-zz.aa.bin", "test.aa-zz.zz.bin"):
        (folder / "bin" / name).write_text("das 3\n")
    return text["en"][:20]


@pytest.mark.parametrize("codes", [True, False])
def test_words_and_codes_become_text(tmp_path, codes) -> None:
    """The reference is the text: neither pieces of words nor words without spaces."""
    text = binarised(tmp_path, codes)
    train(tmp_path, tmp_path, "--max-update", "1")
    command = [*EVALUATE, tmp_path / "bin", tmp_path / "checkpoint_last.pt"]
    env = {**SHORT, "GENERATE_ARGS": "--cpu --max-len-b 15 --min-len 15"}
    for setting in [{}] if codes else [{}, {"POST_PROCESS": ""}]:
        run(command, env={**env, **setting})
        assert (tmp_path / "ref.txt").read_text().splitlines() == text
        assert "@@ " not in (tmp_path / "hyp.txt").read_text()
    # before anything is generated
    (tmp_path / "generate.log").unlink()
    for setting, message in (
        ({"POST_PROCESS": "sentencepiece"}, "subword_nmt, or leave" if codes else "join all words"),
        ({"GENERATE_ARGS": "--remove-bpe sentencepiece"}, "set POST_PROCESS instead"),
        ({"GENERATE_ARGS": "--bpe subword_nmt", "POST_PROCESS": "subword_nmt"}, "holds --bpe, wh"),
        ({"SUBSET": "test.aa-zz"}, "holds no test.aa-zz set of es and en"),
    ):
        result = run(command, env={**env, **setting}, check=False)
        (line,) = result.stderr.splitlines()
        assert message in line
        assert not (tmp_path / "generate.log").exists()


def test_decoded_by_fairseq(data, trained, tmp_path) -> None:
    """With --bpe fairseq decodes the target; the translation is decoded as well."""
    command = [*EVALUATE, data / "bin", trained[0] / "checkpoint_last.pt", "--out"]
    run([*command, tmp_path / "a"], env=SHORT)
    bpe = f"{SHORT['GENERATE_ARGS']} --bpe sentencepiece --sentencepiece-model {data}/spm.model"
    run([*command, tmp_path / "b"], env={**SHORT, "GENERATE_ARGS": bpe})
    for name in ("hyp.txt", "ref.txt"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


def test_tags_of_languages(data, tmp_path) -> None:
    """A task that adds symbols to the dictionary, so that the model has more rows."""
    multilingual = ["--task", "translation_multi_simple_epoch", "--lang-pairs", "es-en"]
    multilingual += ["--encoder-langtok", "tgt", "--decoder-langtok"]
    command = ["fairseq-train", data / "bin", *USER_DIR, *multilingual, "--cpu", "--max-update"]
    command += ["1", "--arch", "transformer", *ARCHS["transformer"].split()]
    command += ["--criterion", "rdrop", "--optimizer", "adam", "--max-tokens", "1500"]
    run([*command, "--num-workers", "0", "--save-dir", tmp_path])
    arguments = f"{SHORT['GENERATE_ARGS']} {' '.join(multilingual)} -s es -t en"
    command = [*EVALUATE, data / "bin", tmp_path / "checkpoint_last.pt"]
    run(command, env={**SHORT, "GENERATE_ARGS": arguments})
    assert len((tmp_path / "hyp.txt").read_text().splitlines()) == 40


def test_target_side_is_needed_before_translating(data, trained, tmp_path) -> None:
    shutil.copytree(data / "bin", tmp_path / "bin")
    (tmp_path / "bin" / "test.es-en.en.bin").unlink()
    command = [*EVALUATE, tmp_path / "bin", trained[0] / "checkpoint_last.pt", "--out", tmp_path]
    result = run(command, env=SHORT, check=False)
    assert "holds no target side for test: give --reference" in result.stderr
    assert not (tmp_path / "generate.log").exists()


def test_wrong_input(data, trained, tmp_path) -> None:
    checkpoint = trained[0] / "checkpoint_last.pt"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "test.es-en.es.bin").touch()
    short = tmp_path / "short.txt"
    short.write_text("one line\n")
    broken = tmp_path / "broken.pt"
    broken.write_text("nothing")
    for arguments, message in (
        ([], "expected DATA and CHECKPOINT, got 0 arguments"),
        ([data / "none", checkpoint], "no such data folder: .*none"),
        ([data / "bin", "none.pt"], "no such checkpoint: none.pt"),
        ([data / "bin", trained[0]], "is a folder: name a checkpoint in it, or give --average"),
        ([data / "bin", checkpoint, "--average", "2"], "--average takes a folder"),
        ([data / "bin", trained[0], "--average", "x"], "whole number above 0, got x"),
        ([data / "bin", checkpoint, "--reference", "none"], "no such file: none"),
        ([data / "bin", checkpoint, "--baseline", "none"], "no such file: none"),
        ([data / "bin", checkpoint, "--beam", "4"], "unknown option --beam"),
        ([empty, checkpoint], "the test set in .*empty is empty"),
        ([trained[0], checkpoint], r"holds no test set \(test\.\*\.bin\)"),
        ([data / "bin", broken], r"fairseq-generate failed; see .*generate\.log\.err"),
        *(
            ([data / "bin", checkpoint, flag, short], "short.txt has 1 lines, but the test set")
            for flag in ("--reference", "--pieces", "--baseline")
        ),
    ):
        out = tmp_path / "out"
        options = ["--out", out] if arguments else []
        result = run([*EVALUATE, *arguments, *options], env=SHORT, check=False)
        assert result.returncode == 1, arguments
        assert re.search(message, result.stderr.splitlines()[-1]), (message, result.stderr)
        assert not (out / "scores.json").exists()
        assert not (out / "generate.log").exists()  # before it has translated


def test_help() -> None:
    text = run([*EVALUATE, "--help"]).stdout
    for word in ("--average N", "--baseline HYP", "BEAM", "default: 5"):
        assert word in text
