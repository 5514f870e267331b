"""The sentences and labels of a task, as the lines that fairseq-preprocess takes.

    python examples/glue/rows.py TASK --glue-dir DIR --out OUT    from GLUE's own tsv files
    python examples/glue/rows.py TASK --hf --out OUT              from Hugging Face (nyu-mll/glue)
    python examples/glue/rows.py NAME --tsv-dir DIR --out OUT     data of your own

OUT, which must be new, gets {train,valid,...}.input0, .input1 (for pairs), .label (where labels are
known) and, unless the labels are numbers to predict, labels.txt, fairseq's dictionary of them; the
training rows are sorted by length. MNLI has two dev and two test sets: valid, test (matched),
valid1, test1 (mismatched). Data of your own are DIR/NAME.{train,valid,test}.tsv (or .tsv.gz), no
header: a sentence, perhaps a second one, the label; labels with a fraction make it a regression.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glue_tasks import RATING_SCALE, TASKS, Task

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, new_folder, parser
from rdrop_fairseq.tools.corpus.hub import load_from_hub
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.tools.text import whole_lines

HF_DATASET = "nyu-mll/glue"


class Row(NamedTuple):
    sentences: tuple[str, ...]
    label: str | None  #: None where GLUE keeps it to itself
    where: str  #: file and line


Splits = dict[str, list[Row]]


@command("rows.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "rows.py")
    of.add_argument("task", help=f"one of {', '.join(TASKS)}, or the name of your own data")
    source = of.add_mutually_exclusive_group(required=True)
    source.add_argument("--glue-dir", type=Path, help="folder that holds RTE/train.tsv and so on")
    source.add_argument("--hf", action="store_true", help=f"load {HF_DATASET} with `datasets`")
    source.add_argument("--tsv-dir", type=Path, help="folder of NAME.{train,valid,test}.tsv[.gz]")
    of.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = of.parse_args(argv)
    skipped: Counter[str] = Counter()
    if args.tsv_dir is not None:
        splits = own_rows(args.task, args.tsv_dir)
        labels = labels_of(splits)
    elif args.task not in TASKS:
        raise UsageError(
            f"unknown task {args.task}: expected one of {', '.join(TASKS)}, or --tsv-dir (TSV_DIR "
            "for prepare.sh) with data of your own"
        )
    else:
        task = TASKS[args.task]
        labels = task.labels
        splits = hf_rows(task) if args.hf else glue_rows(args.task, args.glue_dir, skipped)
    write(splits, labels, args.out, args.task, skipped)


def glue_rows(name: str, folder: Path, skipped: Counter[str]) -> Splits:
    """The rows of GLUE's own files.

    Args:
        skipped: gets the number of broken lines of each file. QQP has some: a question holds
            a tab or a line break; fairseq and others leave these lines out, and so do we. No
            other task may have one, and no test set: predictions would shift.

    Raises:
        UsageError: a file or column is missing, a line is broken, a label is unknown.
    """
    matched = {"valid": "dev_matched", "valid1": "dev_mismatched"}
    matched |= {"test": "test_matched", "test1": "test_mismatched"}
    files = {"train": "train", **(matched if name == "MNLI" else {"valid": "dev", "test": "test"})}
    paths = {split: folder / name / f"{file}.tsv" for split, file in files.items()}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise UsageError(
            f"GLUE's files are missing: {', '.join(missing)}. Get them from "
            "https://gluebenchmark.com/tasks, or leave GLUE_DIR unset to load them with `datasets`"
        )
    return {split: list(_glue_file(name, split, path, skipped)) for split, path in paths.items()}


def _glue_file(name: str, split: str, path: Path, skipped: Counter[str]) -> Iterator[Row]:
    task, labelled = TASKS[name], not split.startswith("test")
    lines = enumerate(whole_lines(path), 1)
    if name == "CoLA" and labelled:
        columns = ["source", "label", "mark", "sentence"]  # its files have no header
    else:
        columns = next(lines, (1, ""))[1].rstrip("\r").split("\t")
    wanted = [*task.columns, *([task.label] if labelled else [])]
    absent = [column for column in wanted if column not in columns]
    if absent:
        raise UsageError(
            f"{path} lacks the column {absent[0]!r}; its header has {', '.join(columns)}. "
            f"Is it a file of {name} in GLUE's layout?"
        )
    index = [columns.index(column) for column in wanted]
    for number, line in lines:
        where = f"{path}, line {number}"
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(columns):
            if name == "QQP" and labelled:
                skipped[split] += 1
                continue
            raise UsageError(
                f"{where}: expected {len(columns)} columns as in its header, found {len(cells)}"
            )
        found = [cells[i] for i in index]
        label = _checked(found.pop(), task.labels, where) if labelled else None
        yield Row(tuple(found), label, where)


def hf_rows(task: Task) -> Splits:
    """The rows of Hugging Face's copy of GLUE, labels by their names in GLUE's files."""
    loaded = load_from_hub(HF_DATASET, task.hf_name, "give GLUE_DIR with GLUE's own files")
    names = {"train": "train", "validation": "valid", "test": "test"}
    names |= {"validation_matched": "valid", "validation_mismatched": "valid1"}
    names |= {"test_matched": "test", "test_mismatched": "test1"}
    splits = {}
    for hf_split, rows in loaded.items():
        split = names[hf_split]
        absent = {*task.hf_columns, "label"} - set(rows.column_names)
        if absent:
            raise UsageError(
                f"{HF_DATASET} {task.hf_name} lacks the column {min(absent)!r}, it has "
                f"{', '.join(rows.column_names)}: use GLUE_DIR with GLUE's own files"
            )
        is_test = split.startswith("test")
        splits[split] = []
        for row in sorted(rows, key=lambda row: row["idx"]) if is_test else rows:
            where = f"{HF_DATASET} {hf_split}, row {row['idx']}"
            label = None if is_test else _hf_label(row["label"], task, where)
            sentences = tuple(row[column] for column in task.hf_columns)
            splits[split].append(Row(sentences, label, where))
    return splits


def _hf_label(label: Any, task: Task, where: str) -> str:
    if task.labels is None:
        return _checked(str(label), None, where)
    if not 0 <= label < len(task.labels):
        raise UsageError(f"{where}: no label ({label})")
    return task.labels[label]


def own_rows(name: str, folder: Path) -> Splits:
    """The rows of NAME.{train,valid,test}.tsv, all with labels; test may be missing."""
    splits: Splits = {}
    width = None
    for split in ("train", "valid", "test"):
        paths = [folder / f"{name}.{split}.tsv", folder / f"{name}.{split}.tsv.gz"]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            if split == "test":
                continue
            raise UsageError(f"neither {paths[0]} nor {paths[1].name} exists; see --help")
        splits[split] = []
        for number, line in enumerate(whole_lines(path), 1):
            cells = line.split("\t")
            if width is None and len(cells) in (2, 3):
                width = len(cells)
            if len(cells) != width:
                raise UsageError(
                    f"{path}, line {number}: expected {width or '2 or 3'} columns (a sentence, "
                    f"perhaps a second one, the label), found {len(cells)}"
                )
            where = f"{path}, line {number}"
            splits[split].append(Row(tuple(cells[:-1]), cells[-1].strip(), where))
        if not splits[split]:
            raise UsageError(f"{path} is empty")
    return splits


def labels_of(splits: Splits) -> tuple[str, ...] | None:
    """The labels of the training rows of own data, or None for a regression.

    Raises:
        UsageError: a row has no label that could be; names its file and line.
    """
    train, rows = splits["train"], [row for rows in splits.values() for row in rows]
    if any("." in row.label for row in train):
        for row in rows:
            _number(row.label, row.where)
        return None
    for row in train:
        if len(row.label.split()) != 1:
            raise UsageError(f"{row.where}: the label {row.label!r} must be one word")
    first = train[0]
    if [row.label for row in rows].count(first.label) == 1:
        raise UsageError(
            f"{first.where}: the label {first.label!r} is nowhere else: is this line a header? "
            "Remove it then, the files have none"
        )
    known = tuple(sorted({row.label for row in train}))
    if len(known) < 2:
        raise UsageError(
            f"{first.where}: this and all other training rows have the label {known[0]!r}"
        )
    for row in rows:
        if row.label not in known:
            raise UsageError(
                f"{row.where}: label {row.label!r} is not among those of the training rows "
                f"({', '.join(known)})"
            )
    return known


def _checked(label: str, labels: tuple[str, ...] | None, where: str) -> str:
    """``label`` as it is trained on; a rating in [0, 5] is scaled to [0, 1]."""
    if labels is None:
        rating = _number(label, where)
        if not 0 <= rating <= RATING_SCALE:
            raise UsageError(f"{where}: the rating {label} is not in [0, {RATING_SCALE:g}]")
        return f"{rating / RATING_SCALE:.6g}"
    if label not in labels:
        raise UsageError(f"{where}: label {label!r} is not one of {', '.join(labels)}")
    return label


def _number(label: str, where: str) -> float:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{where}: {label!r} is not a number, and a rating must be one")
    return number


def write(
    splits: Splits, labels: Sequence[str] | None, out: Path, name: str, skipped: Counter[str]
) -> None:
    """Write the lines of all splits to ``out``, and say how many they are."""
    with writing_folder(out) as folder:
        for split, rows in splits.items():
            if not rows:
                raise UsageError(f"{name} {split} has no rows")
            if split == "train":  # with --no-shuffle a batch then has little padding
                rows = sorted(rows, key=_words)
            for number in range(len(rows[0].sentences)):
                # a line break inside a sentence would shift all labels after it
                lines = [" ".join(row.sentences[number].split()) for row in rows]
                write_lines(folder / f"{split}.input{number}", lines)
            if rows[0].label is not None:
                write_lines(folder / f"{split}.label", [str(row.label) for row in rows])
            left_out = f", {skipped[split]} broken lines left out" if skipped[split] else ""
            print(f"{name} {split}: {len(rows):,} rows{left_out}")
        if labels is not None:
            write_lines(folder / "labels.txt", [f"{label} 1" for label in labels])


def _words(row: Row) -> int:
    return sum(len(sentence.split()) for sentence in row.sentences)


if __name__ == "__main__":
    main()
