"""rdrop evaluate on a real, if hardly trained, model."""

import json
import re
import shlex
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import score
from rdrop_fairseq.tools.evaluate import languages, main, post_process

from ..conftest import ARCHS, PAIR, USER_DIR, corpus_lines, run, train

SHORT = ["--max-len-b", "15", "--num-workers", "0"]


@pytest.fixture
def evaluate(capsys):
    """evaluate(DATA, CHECKPOINT, option..., more=[...]): what it prints."""

    def evaluate(*arguments: object, more: list[str] = SHORT) -> str:
        main([*map(str, arguments), "--beam", "2", "--", *more])
        return capsys.readouterr().out

    return evaluate


@pytest.fixture
def refused(capsys):
    """refused(...), of the same arguments: the sentence that it ends with."""

    def refused(*arguments: object, more: list[str] = SHORT) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments), "--", *more])
        code = stopped.value.code
        return capsys.readouterr().err.splitlines()[-1] if code == 2 else str(code)

    return refused


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_checkpoint_to_scores(data, trained, tmp_path, evaluate, capsys) -> None:
    checkpoint, out = trained[0] / "checkpoint_last.pt", tmp_path / "out"
    reference = data / "raw.test.en"
    command, *printed = evaluate(
        data / "bin", checkpoint, "--out", out, "--reference", reference
    ).splitlines()
    hypothesis = lines(out / "hyp.txt")
    assert len(hypothesis) == 40
    assert not any("▁" in line for line in hypothesis)  # text, not pieces
    assert (out / "ref.txt").read_text() == reference.read_text()
    # the order of the test set, not of the batches
    log = (out / "generate.log").read_text()
    assert hypothesis[7] == re.search(r"^H-7\t\S+\t(.*)$", log, re.M)[1]
    assert "'common_eval'" in log  # fairseq's messages, too
    scores = json.loads((out / "scores.json").read_text())
    assert scores.keys() == {"BLEU", "chrF2", "TER", "settings"}
    assert scores["settings"] == {
        **{"checkpoints": "1", "beam": "2", "lenpen": "1.0"},
        **{"generate_args": "--max-len-b 15 --num-workers 0"},
    }
    assert {path.name for path in out.iterdir()} == {
        *("generate.log", "hyp.txt", "ref.txt", "scores.json")
    }
    # the same files give the same scores when given to rdrop score by hand
    score.main(["--hypothesis", f"{out}/hyp.txt", "--reference", f"{out}/ref.txt"])
    assert capsys.readouterr().out.splitlines() == printed
    # and the command that is printed, the same translations
    words = shlex.split(command)
    assert words[0] == "fairseq-generate"
    assert "--cpu" in words or torch.cuda.is_available()
    again = run(words).stdout
    assert re.findall(r"^D-.*$", again, re.M) == re.findall(r"^D-.*$", log, re.M)


def test_average_and_baseline(data, trained, tmp_path, evaluate) -> None:
    baseline = tmp_path / "other.txt"
    baseline.write_text("And\n" * 40)
    command = [data / "bin", trained[0], "--average", "2", "--out", tmp_path]
    # what stands after -- wins, and is what is noted
    result = evaluate(*command, "--baseline", baseline, more=[*SHORT, "--beam", "1"])
    assert f"average of 2 in {tmp_path / 'average.pt'}: checkpoint_1_4.pt" in result
    assert "paired bootstrap: BLEU" in result
    assert json.loads((tmp_path / "scores.json").read_text())["settings"]["beam"] == "1"
    # without --reference: the binarised target, detokenised
    pairs = zip(lines(data / "raw.test.en"), lines(tmp_path / "ref.txt"), strict=True)
    same = [a == b for a, b in pairs if "<<unk>>" not in b]
    assert len(same) > 20
    assert all(same)


def test_sentences_that_are_left_out(data, trained, tmp_path, evaluate) -> None:
    """The references of the others are taken, whatever their numbers."""
    more = [*SHORT, "--distributed-world-size", "2", "--distributed-rank", "1", "--batch-size", "3"]
    command = [data / "bin", trained[0] / "checkpoint_last.pt", "--out", tmp_path]
    result = evaluate(*command, "--reference", data / "raw.test.en", more=more)
    ids = sorted(map(int, re.findall(r"^D-(\d+)", (tmp_path / "generate.log").read_text(), re.M)))
    assert 0 < len(ids) < 40
    assert f"note: {len(ids)} of 40 sentences were translated and are scored" in result
    assert lines(tmp_path / "ref.txt") == [lines(data / "raw.test.en")[i] for i in ids]


def test_codes_become_text(tmp_path, evaluate, refused) -> None:
    """The reference is the text, not pieces of words; and the checkpoint's languages are taken."""
    from subword_nmt.apply_bpe import BPE
    from subword_nmt.learn_bpe import learn_bpe

    text = {language: corpus_lines("train", language)[:100] for language in ("es", "en")}
    with (tmp_path / "codes").open("w+") as file:
        learn_bpe(text["es"] + text["en"], file, 100)
        file.seek(0)
        bpe = BPE(file)
    for language, verses in text.items():
        encoded = [bpe.process_line(line) for line in verses]
        (tmp_path / f"all.{language}").write_text("".join(f"{line}\n" for line in encoded))
        (tmp_path / f"some.{language}").write_text("".join(f"{line}\n" for line in encoded[:10]))
    preprocess = ["fairseq-preprocess", *PAIR, "--joined-dictionary", "--destdir", tmp_path / "bin"]
    preprocess += ["--trainpref", tmp_path / "all", "--validpref", tmp_path / "some"]
    run([*preprocess, "--testpref", tmp_path / "some"])
    # of another pair, which comes first where names are listed
    for name in ("dict.aa.txt", "dict.zz.txt", "test.aa-zz.aa.bin", "test.aa-zz.zz.bin"):
        (tmp_path / "bin" / name).write_text("das 3\n")
    train(tmp_path, tmp_path, "--max-update", "1")
    command = [tmp_path / "bin", tmp_path / "checkpoint_last.pt"]
    evaluate(*command, more=[*SHORT, "--min-len", "15"])
    assert lines(tmp_path / "ref.txt") == text["en"][:10]
    assert "@@ " not in (tmp_path / "hyp.txt").read_text()
    # before anything is generated
    (tmp_path / "generate.log").unlink()
    for flags, more, message in (
        (["--post-process", "sentencepiece"], [], "symbols show subword_nmt: leave it out"),
        ([], ["--remove-bpe", "sentencepiece"], "cannot stand after --: give it before"),
        (["--post-process", "subword_nmt"], ["--bpe", "subword_nmt"], "and --bpe subword_nmt, wh"),
        (["--subset", "test.aa-zz"], [], "holds no test.aa-zz set of es-en: --subset takes"),
    ):
        assert message in refused(*command, *flags, more=more)
        assert not (tmp_path / "generate.log").exists()


def test_decoded_by_fairseq(data, trained, tmp_path, evaluate) -> None:
    """With --bpe fairseq decodes the target; the translation is decoded as well."""
    command = [data / "bin", trained[0] / "checkpoint_last.pt", "--out"]
    evaluate(*command, tmp_path / "a")
    bpe = ["--bpe", "sentencepiece", "--sentencepiece-model", f"{data}/spm.model"]
    evaluate(*command, tmp_path / "b", more=[*SHORT, *bpe])
    for name in ("hyp.txt", "ref.txt"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


def test_tags_of_languages(data, tmp_path, evaluate) -> None:
    """A task that adds symbols to the dictionary, so that the model has more rows."""
    multilingual = ["--task", "translation_multi_simple_epoch", "--lang-pairs", "es-en"]
    multilingual += ["--encoder-langtok", "tgt", "--decoder-langtok"]
    command = ["fairseq-train", data / "bin", *USER_DIR, *multilingual, "--cpu", "--max-update"]
    command += ["1", "--arch", "transformer", *ARCHS["transformer"].split()]
    command += ["--criterion", "rdrop", "--optimizer", "adam", "--max-tokens", "1500"]
    run([*command, "--num-workers", "0", "--save-dir", tmp_path])
    more = [*SHORT, *multilingual, *PAIR]
    evaluate(data / "bin", tmp_path / "checkpoint_last.pt", more=more)
    assert len(lines(tmp_path / "hyp.txt")) == 40


def test_target_side_is_needed_before_translating(data, trained, tmp_path, refused) -> None:
    shutil.copytree(data / "bin", tmp_path / "bin")
    (tmp_path / "bin" / "test.es-en.en.bin").unlink()
    (tmp_path / "bin" / "test.es-en.en.idx").unlink()
    checkpoint = trained[0] / "checkpoint_last.pt"
    message = refused(tmp_path / "bin", checkpoint, "--out", tmp_path / "out")
    assert "holds no target side for test: give --reference" in message
    assert not (tmp_path / "out").exists()


def test_dictionary_of_another_training(data, trained, tmp_path, refused) -> None:
    made, folder, out = tmp_path / "bin", tmp_path / "run", tmp_path / "out"
    shutil.copytree(data / "bin", made)
    folder.mkdir()
    checkpoint = shutil.copy(trained[0] / "checkpoint_last.pt", folder)
    for name in ("dict.es.txt", "dict.en.txt"):
        shutil.copy(made / name, folder)
    rows = lines(made / "dict.en.txt")
    rows[4], rows[5] = rows[5], rows[4]
    (folder / "dict.en.txt").write_text("\n".join(rows) + "\n")
    message = refused(made, checkpoint, "--out", out)
    assert f"{made / 'dict.en.txt'} is not the dictionary that {checkpoint} was trained" in message
    assert "they differ from line 5 on" in message
    assert not out.exists()  # before anything is written, averaged or translated
    # of another size
    (folder / "dict.en.txt").unlink()
    for name in ("dict.es.txt", "dict.en.txt"):
        with (made / name).open("a") as file:
            file.write("neu 1\n")
        (folder / name).unlink(missing_ok=True)
        message = refused(made, checkpoint, "--out", out)
        assert (
            f"{checkpoint} does not fit {made}: was this made with the training's dict" in message
        )
        assert not out.exists()
    assert "size mismatch for encoder.embed_tokens.weight" in message


def test_wrong_input(data, trained, tmp_path, refused) -> None:
    checkpoint, made = trained[0] / "checkpoint_last.pt", data / "bin"
    (tmp_path / "short.txt").write_text("one line\n")
    (tmp_path / "long.txt").write_text("a line\n" * 41)
    (tmp_path / "broken.pt").write_text("nothing")
    out = tmp_path / "out"
    for arguments, more, message in (
        ([made], [], "the following arguments are required: CHECKPOINT"),
        ([data / "none", checkpoint], [], "no such folder: .*none"),
        ([made, "none.pt"], [], "no such checkpoint: none.pt"),
        ([made, trained[0]], [], "is a folder: name a checkpoint in it, or give --average"),
        ([made, checkpoint, "--average", "2"], [], "--average takes a folder"),
        ([made, trained[0], "--average", "x"], [], "whole number of at least 1, got x"),
        ([made, trained[0], "--average", "9"], [], "fewer than 9: ask for fewer"),
        ([made, checkpoint, "--reference", "none"], [], "no such file: none"),
        ([made, checkpoint, "--beam", "0"], [], "whole number of at least 1, got 0"),
        ([made, checkpoint, "--fp16"], [], "unrecognized arguments: --fp16"),
        ([made, checkpoint, "--language", "xx"], [], "must be zh, ja or ko, which sacrebleu .* xx"),
        (
            [made, checkpoint, "--tokenised", "zz"],
            [],
            "has no rules for zz, but for as, .*en,",
        ),
        ([made, checkpoint, "--detokenise", "zz"], [], "tokenisation has no rules for zz"),
        ([made, checkpoint], ["--nbest", "3"], "--nbest is 3 .* must be 1, .* leave it out after"),
        ([made, checkpoint], ["--quiet"], "--quiet is True"),
        ([made, checkpoint], ["--gen-subset", "valid"], "--gen-subset is valid .* must be test"),
        (
            [made, checkpoint],
            ["--beem", "3"],
            "fairseq-generate, .*: unrecognized .*--beem",
        ),
        ([made, checkpoint], ["--beam", "x"], "fairseq-generate, .*invalid int value: 'x'"),
        ([made, checkpoint, "--subset", "dev"], [], "holds no dev set of es-en: --subset takes an"),
        ([made, checkpoint], ["-t", "de"], r"holds no test set of es-de: .*dict\.de\.txt"),
        ([made, tmp_path / "broken.pt"], [], "cannot read .*broken.pt .7 bytes.: it is truncated"),
        *(
            ([made, checkpoint, f"--{flag}", tmp_path / "short.txt"], [], message)
            for flag, message in (
                ("reference", "has 1 lines, but the test set .* 40 .*give the --reference of that"),
                ("pieces", "has 1 lines, .*: give the --pieces"),
                ("baseline", "has 1 lines, .*: give the --baseline"),
            )
        ),
        ([made, checkpoint, "--reference", tmp_path / "long.txt"], [], "has 41 lines, but the"),
    ):
        found = refused(*arguments, "--out", out, more=more)
        assert re.search(message, found), (message, found)
        assert "\n" not in found
        assert not out.exists()  # before it has translated, or averaged


def test_which_languages(tmp_path) -> None:
    given, trained = Namespace(source_lang=None, target_lang=None), Namespace(lang_pairs=None)
    for pair, side in (("es-en", "es"), ("es-en", "en"), ("de-fr", "de")):
        (tmp_path / f"test.{pair}.{side}.bin").touch()
    one = Namespace(source_lang="es", target_lang="en")
    assert languages(given, one, tmp_path) == ("es", "en")  # the checkpoint's
    other = Namespace(source_lang="en", target_lang="es")
    assert languages(other, one, tmp_path) == ("en", "es")  # unless told otherwise
    with pytest.raises(UsageError, match="language\\? It may be de-fr, es-en: name them after --"):
        languages(given, trained, tmp_path)
    trained.lang_pairs = "es-en,en-es"
    with pytest.raises(UsageError, match="It may be en-es, es-en: name"):
        languages(given, trained, tmp_path)
    trained.lang_pairs = ["en-es"]
    assert languages(given, trained, tmp_path) == ("en", "es")
    trained.lang_pairs = None
    (tmp_path / "test.de-fr.de.bin").unlink()
    assert languages(given, trained, tmp_path) == ("es", "en")  # the only ones in the folder
    with pytest.raises(UsageError, match="It may be no pair that its files name: name them"):
        languages(given, trained, tmp_path / "empty")


KINDS = {
    "pieces": "▁the 900\ns 400\n▁ 30\n,@@ 1\n",
    "codes": "the 900\nth@@ 400\n, 300\n▁ 1\n",
    "characters": "▁ 700\nt 500\nh 400\n",
    # some look like marks, once in a thousand and less
    "words": "the 9000\n, 8000\n▁ 3\n@@ 4\na_b 1\nO'Neil|Smith 1\n",
    "plain": "the 900\ndog 80\n",
    "numbers": "13 900\n262 400\n50256 3\nmadeupword0000 0\n",
    "letters": "t 900\n| 400\nh 300\n",
}


@pytest.mark.parametrize(
    ("kind", "chosen", "expected"),
    [
        ("pieces", None, "sentencepiece"),
        ("characters", None, "sentencepiece"),
        ("codes", None, "subword_nmt"),
        ("words", None, "none"),
        ("plain", None, "none"),
        ("letters", None, "none"),
        ("pieces", "sentencepiece", "sentencepiece"),
        ("words", "none", "none"),
        ("words", "subword_nmt", "subword_nmt"),  # changes nothing
        ("words", "silence", "silence"),
        ("letters", "letter", "letter"),
        ("numbers", "none", "none"),
        ("pieces", "none", "would leave pieces of words, for .* show sentencepiece: leave it out"),
        ("pieces", "subword_nmt", "would leave pieces of words"),
        ("codes", "sentencepiece", "show subword_nmt: leave it out"),
        ("codes", "none", "--post-process none would leave pieces of words, .* show subword_nmt"),
        ("letters", "sentencepiece", "sentencepiece would join all words, for .* show none"),
        ("letters", "wordpiece", "would join all words"),
        ("plain", "_EOW", "would join all words"),
        ("numbers", None, "are numbers, as of GPT-2's .*--bpe gpt2 .*--post-process none"),
    ],
)
def test_how_symbols_become_text(tmp_path, kind, chosen, expected) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(KINDS[kind])
    dictionary = Dictionary.load(str(path))
    if " " not in expected:
        assert post_process(dictionary, chosen) == expected
        return
    with pytest.raises(UsageError, match=expected):
        post_process(dictionary, chosen)
