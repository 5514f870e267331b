"""Write CNN/DailyMail or XSum, as Hugging Face `datasets` serves it, as plain text.

    python examples/cnn_dm/export_dataset.py --dataset cnn_dm --out DIR

DIR gets {train,val,test}.{source,target}: one document or summary a line, runs of white space
made one space. For CNN/DailyMail also test.sentences: the summaries with a tab between their
sentences, the highlights. Its text is mended as README.md says: no mark "(CNN)" before the
first word, no space before the full stops that the data set's loader adds.
DIR is complete if it exists: it is written under another name and renamed.
"""

import re
from collections.abc import Sequence

from rdrop_fairseq.tools.command_line import command, new_folder, parser
from rdrop_fairseq.tools.corpus.hub import load_from_hub
from rdrop_fairseq.tools.files import write_lines, writing_folder

# name, configuration, column of the document, column of the summary
DATASETS = {
    "cnn_dm": ("abisee/cnn_dailymail", "3.0.0", "article", "highlights"),
    "xsum": ("EdinburghNLP/xsum", None, "document", "summary"),
}
SPLITS = {"train": "train", "val": "validation", "test": "test"}

# the loader ends a line of the story with " ." unless it ends with one of . ! ? ' ` " ) or a
# closing quotation mark (huggingface/datasets, cnn_dailymail.py, fix_missing_period); the
# lines of a document are then joined by spaces
_ADDED_STOP = re.compile(r"(?<=[^\s.!?'`\")\u2019\u201d]) \.(?=\s+[^\s.]|\s*$)")
_CNN = re.compile(r"\s*\(CNN\)\s*(--)?\s*")


def without_added_stops(text: str) -> str:
    """``text`` with each full stop that the loader added joined to the word before it."""
    return _ADDED_STOP.sub(".", text)


def one_line(text: str) -> str:
    """``text`` with runs of white space made one space."""
    return " ".join(text.split())


def document_of(article: str) -> str:
    """An article of CNN/DailyMail, mended."""
    mark = _CNN.match(article)
    return one_line(without_added_stops(article[mark.end() :] if mark else article))


def sentences_of(highlights: str) -> list[str]:
    """The highlights, one a line in the data set, as the sentences of a summary."""
    return [one_line(without_added_stops(line)) for line in highlights.split("\n") if line.strip()]


@command("export_dataset")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "export_dataset.py")
    options.add_argument("--dataset", choices=DATASETS, required=True, help="which of the two")
    options.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = options.parse_args(argv)

    name, configuration, document, summary = DATASETS[args.dataset]
    instead = "give RAW_DIR with {train,val,test}.{source,target}"
    data = load_from_hub(name, configuration, instead)
    news = args.dataset == "cnn_dm"
    with writing_folder(args.out) as unfinished:
        for split, theirs in SPLITS.items():
            texts, summaries = data[theirs][document], data[theirs][summary]
            write_lines(
                unfinished / f"{split}.source", map(document_of if news else one_line, texts)
            )
            parted = [sentences_of(text) if news else [one_line(text)] for text in summaries]
            write_lines(unfinished / f"{split}.target", map(" ".join, parted))
            if news and split == "test":
                write_lines(unfinished / "test.sentences", map("\t".join, parted))
            print(f"{split}: {len(texts)} pairs")


if __name__ == "__main__":
    main()
