"""Write WikiText-103, as Hugging Face `datasets` serves it, as its original text files.

    python examples/wikitext103/export_dataset.py --out DIR

DIR gets wiki.{train,valid,test}.tokens. It is complete if it exists: it is written under
another name and renamed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import command_line, writing_folder  # scripts/corpus/text_files.py

NAME, CONFIGURATION = "Salesforce/wikitext", "wikitext-103-v1"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already: remove it first")

    from datasets import load_dataset  # takes seconds

    try:
        data = load_dataset(NAME, CONFIGURATION)
    except Exception as error:  # what it raises depends on what is wrong and on its version
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        sys.exit(
            f"export_dataset: cannot load {NAME} ({reason}): give RAW_DIR with "
            "wiki.{train,valid,test}.tokens, or a machine that reaches huggingface.co"
        )
    with writing_folder(args.out) as unfinished:
        for split, theirs in SPLITS.items():
            with (unfinished / f"wiki.{split}.tokens").open("w", encoding="utf-8") as lines:
                # a row is a line; its newline comes with it unless the line is empty
                lines.writelines(text.rstrip("\n") + "\n" for text in data[theirs]["text"])
            print(f"{split}: {len(data[theirs])} lines")


if __name__ == "__main__":
    command_line(main)
