"""Vectors of the words, or pieces, of two languages in one space, learnt from a parallel corpus.

    python scripts/corpus/bilingual_vectors.py --text pieces/train.pieces --languages es en \\
        --dim 128 --out OUT

Words that stand in the same sentence pairs get vectors of the same direction: so a word and its
translation. That is latent semantic analysis across languages (Dumais et al. 1997): a truncated
singular value decomposition of the matrix that says which word stands in which pair, scaled as
correspondence analysis does. It takes seconds, and saves a small translation model the updates
in which it would learn which word is which. OUT gets {es,en}.vec, for fairseq-train's
--encoder-embed-path and --decoder-embed-path. It is complete if it exists: it is written under
another name and renamed.
"""

from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from text_files import (
    InputError,
    argument_parser,
    command_line,
    new_folder,
    whole_lines,
    write_lines,
    writing_folder,
)


def vectors(sides: list[list[str]], dim: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The words of each side and their vectors: float [words, dim], of length 1.

    Args:
        sides: sentences of each language, words apart by spaces; line i of all is one pair.

    Raises:
        InputError: there are too few words or sentences for ``dim`` dimensions.
    """
    words, counts = [], []
    for lines in sides:
        counter = CountVectorizer(analyzer=str.split, binary=True, dtype=np.float64)
        counts.append(counter.fit_transform(lines).T)
        words.append(counter.get_feature_names_out())
    matrix = scipy.sparse.vstack(counts, format="csr")
    if dim >= min(matrix.shape):
        raise InputError(
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


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--text", type=Path, required=True, help="files' name without .LANGUAGE")
    parser.add_argument("--languages", nargs=2, required=True, help="source and target")
    parser.add_argument("--dim", type=int, required=True, help="length of a vector")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()
    if args.dim < 1:
        parser.error(f"--dim must be at least 1, got {args.dim}")

    paths = [args.text.with_name(f"{args.text.name}.{language}") for language in args.languages]
    sides = [whole_lines(path, "text") for path in paths]
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            f"{paths[0]} has {len(sides[0])} lines, {paths[1]} has {len(sides[1])}: "
            "line for line, they must translate each other"
        )
    with writing_folder(args.out) as unfinished:
        found = zip(args.languages, vectors(sides, args.dim), strict=True)
        for language, (words, rows) in found:
            numbers = (" ".join(f"{number:.4f}" for number in row) for row in rows)
            lines = map(" ".join, zip(words, numbers, strict=True))
            write_lines(unfinished / f"{language}.vec", [f"{len(words)} {args.dim}", *lines])


if __name__ == "__main__":
    command_line(main)
