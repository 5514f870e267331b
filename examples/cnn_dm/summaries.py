"""Write the texts to score: a model's summaries, the references, the documents' first sentences.

    python examples/cnn_dm/summaries.py --generated LOG --pieces PIECES --lead 3 --out DIR

PIECES is made by encode_pairs.py, LOG by fairseq-generate from its test set. DIR gets hyp.txt,
ref.txt and lead.txt, a text a line, in the order of the test set. lead.txt has the first three
sentences of each document: a baseline that needs no model.
"""

from collections.abc import Sequence
from pathlib import Path

from sentences import split_sentences

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_file, existing_folder, parser, whole
from rdrop_fairseq.tools.corpus.gpt2_bpe import decode, find_bpe
from rdrop_fairseq.tools.files import write_lines
from rdrop_fairseq.tools.text import whole_lines


def pieces_of(generated: Path, documents: int) -> list[str]:
    """What was written of each document, in the order of the set.

    fairseq-generate prints it batch by batch, in lines of the form H-12<tab>score<tab>pieces.

    Raises:
        UsageError: there is not one summary for each of the documents.
    """
    lines = [line.split("\t") for line in whole_lines(generated) if line.startswith("H-")]
    found = {int(name.removeprefix("H-")): pieces for name, _, pieces in lines}
    if sorted(found) != list(range(documents)):
        raise UsageError(
            f"{generated} has summaries of {len(found)} documents, the test set has {documents}: "
            "remove its folder, and summarise again"
        )
    return [found[number] for number in range(documents)]


@command("summaries")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "summaries.py")
    add = options.add_argument
    add("--generated", type=existing_file, required=True, help="by fairseq-generate")
    add("--pieces", type=existing_folder, required=True, help="made by encode_pairs.py")
    add("--lead", type=whole(1), required=True, metavar="N", help="first sentences of a document")
    add("--out", type=existing_folder, required=True, metavar="DIR", help="where to write")
    args = options.parse_args(argv)

    documents = whole_lines(args.pieces / "test.source.txt")
    summaries = pieces_of(args.generated, len(documents))
    encoding = find_bpe(args.pieces / "gpt2_bpe")
    write_lines(args.out / "hyp.txt", (decode(pieces, encoding) for pieces in summaries))
    write_lines(args.out / "ref.txt", whole_lines(args.pieces / "test.target.txt"))
    leads = (" ".join(split_sentences(text)[: args.lead]) for text in documents)
    write_lines(args.out / "lead.txt", (" ".join(lead.split()) for lead in leads))


if __name__ == "__main__":
    main()
