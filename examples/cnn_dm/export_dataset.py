"""Write CNN/DailyMail or XSum, as Hugging Face `datasets` serves it, as plain text.

    python examples/cnn_dm/export_dataset.py --dataset cnn_dm --out DIR

DIR gets {train,val,test}.{source,target}: one document or summary a line, runs of white
space (the newlines between CNN/DailyMail's highlights too) made one space. DIR is complete if
it exists: it is written under another name and renamed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, load_from_hub, new_folder, writing_folder

# name, configuration, column of the document, column of the summary
DATASETS = {
    "cnn_dm": ("abisee/cnn_dailymail", "3.0.0", "article", "highlights"),
    "xsum": ("EdinburghNLP/xsum", None, "document", "summary"),
}
SPLITS = {"train": "train", "val": "validation", "test": "test"}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", choices=DATASETS, required=True, help="which of the two")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()

    name, configuration, document, summary = DATASETS[args.dataset]
    instead = "give RAW_DIR with {train,val,test}.{source,target}"
    data = load_from_hub(name, configuration, instead)
    with writing_folder(args.out) as unfinished:
        for split, theirs in SPLITS.items():
            for side, column in (("source", document), ("target", summary)):
                with (unfinished / f"{split}.{side}").open("w", encoding="utf-8") as lines:
                    lines.writelines(" ".join(text.split()) + "\n" for text in data[theirs][column])
            print(f"{split}: {len(data[theirs])} pairs")


if __name__ == "__main__":
    command_line(main)
