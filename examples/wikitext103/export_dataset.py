"""Write WikiText-103, as Hugging Face `datasets` serves it, as its original text files.

    python examples/wikitext103/export_dataset.py --out DIR

DIR gets wiki.{train,valid,test}.tokens. It is complete if it exists: it is written under
another name and renamed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, load_from_hub, new_folder, writing_folder

NAME, CONFIGURATION = "Salesforce/wikitext", "wikitext-103-v1"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()

    instead = "give RAW_DIR with wiki.{train,valid,test}.tokens"
    data = load_from_hub(NAME, CONFIGURATION, instead)
    with writing_folder(args.out) as unfinished:
        for split, theirs in SPLITS.items():
            with (unfinished / f"wiki.{split}.tokens").open("w", encoding="utf-8") as lines:
                # a row is a line; its newline comes with it unless the line is empty
                lines.writelines(text.rstrip("\n") + "\n" for text in data[theirs]["text"])
            print(f"{split}: {len(data[theirs])} lines")


if __name__ == "__main__":
    command_line(main)
