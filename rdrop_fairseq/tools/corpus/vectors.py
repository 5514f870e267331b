"""Vectors of the words, or pieces, of two languages in one space, learnt from a parallel corpus.

    rdrop corpus vectors --text pieces/train.pieces --languages es en \\
        --dim 128 --out OUT

Words that stand in the same sentence pairs get vectors of the same direction: so a word and its
translation. That is latent semantic analysis across languages (Dumais et al. 1997): a truncated
singular value decomposition of the matrix that says which word stands in which pair, scaled as
correspondence analysis does. It takes seconds, and saves a small translation model the updates
in which it would learn which word is which. OUT gets {es,en}.vec, for fairseq-train's
--encoder-embed-path and --decoder-embed-path, unless they are there and were made with the same.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer

from ...errors import UsageError
from ..command_line import add_languages, command, parser, whole
from ..files import write_lines
from ..made import RECORD, is_made, made_with, making_folder
from ..text import read_pairs


def vectors(sides: Sequence[Sequence[str]], dim: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The words of each side and their vectors: float [words, dim], of length 1.

    Args:
        sides: sentences of each language, words apart by spaces; line i of all is one pair.

    Raises:
        UsageError: there are too few words or sentences for ``dim`` dimensions.
    """
    words, counts = [], []
    for lines in sides:
        counter = CountVectorizer(analyzer=str.split, binary=True, dtype=np.float64)
        counts.append(counter.fit_transform(lines).T)
        words.append(counter.get_feature_names_out())
    matrix = scipy.sparse.vstack(counts, format="csr")
    if dim >= min(matrix.shape):
        raise UsageError(
            f"{matrix.shape[0]} words in {matrix.shape[1]} pairs are too few for --dim {dim}"
        )
    pairs_of_word, words_of_pair = (np.asarray(matrix.sum(axis)).ravel() for axis in (1, 0))
    words_of_pair[words_of_pair == 0] = 1  # both sides empty
    scaled = (
        scipy.sparse.diags_array(pairs_of_word**-0.5)
        @ matrix
        @ scipy.sparse.diags_array(words_of_pair**-0.5)
    )
    svd = TruncatedSVD(dim + 1, random_state=0)
    # the first dimension only tells how frequent a word is
    found = (svd.fit_transform(scaled) * svd.singular_values_**-0.5)[:, 1:]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return list(zip(words, np.split(found, [len(words[0])]), strict=True))


@command("rdrop corpus vectors")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus vectors")
    options.add_argument("--text", type=Path, required=True, help="files' name without .LANGUAGE")
    add_languages(options)
    options.add_argument("--dim", type=whole(1), required=True, help="length of a vector")
    options.add_argument("--out", type=Path, required=True, help="folder to write")
    args = options.parse_args(argv)

    paths = [Path(f"{args.text}.{language}") for language in args.languages]
    made = made_with(args, paths)
    if is_made(made, args.out / RECORD, args.out):
        return
    found = vectors(list(zip(*read_pairs(paths), strict=True)), args.dim)
    with making_folder(args.out, made) as unfinished:
        for language, (words, rows) in zip(args.languages, found, strict=True):
            numbers = (" ".join(f"{number:.4f}" for number in row) for row in rows)
            lines = map(" ".join, zip(words, numbers, strict=True))
            write_lines(unfinished / f"{language}.vec", [f"{len(words)} {args.dim}", *lines])


if __name__ == "__main__":
    main()
