"""Write WikiText-103, as Hugging Face `datasets` serves it, as its original text files.

    python examples/wikitext103/export_dataset.py --out DIR

DIR gets wiki.{train,valid,test}.tokens. It is complete if it exists: it is written under
another name and renamed.
"""

from collections.abc import Sequence

from rdrop_fairseq.tools.command_line import command, new_folder, parser
from rdrop_fairseq.tools.corpus.hub import load_from_hub
from rdrop_fairseq.tools.files import write_lines, writing_folder

NAME, CONFIGURATION = "Salesforce/wikitext", "wikitext-103-v1"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


@command("export_dataset")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "export_dataset.py")
    options.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = options.parse_args(argv)

    instead = "give RAW_DIR with wiki.{train,valid,test}.tokens"
    data = load_from_hub(NAME, CONFIGURATION, instead)
    with writing_folder(args.out) as unfinished:
        for split, theirs in SPLITS.items():
            # a row is a line; its newline comes with it unless the line is empty
            lines = (text.rstrip("\n") for text in data[theirs]["text"])
            write_lines(unfinished / f"wiki.{split}.tokens", lines)
            print(f"{split}: {len(data[theirs])} lines")


if __name__ == "__main__":
    main()
