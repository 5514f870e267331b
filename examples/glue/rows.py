"""The sentences and labels of a task, as the lines that fairseq-preprocess takes.

    python examples/glue/rows.py TASK --glue-dir DIR --out OUT    from GLUE's own tsv files
    python examples/glue/rows.py TASK --hf --out OUT              from Hugging Face (nyu-mll/glue)
    python examples/glue/rows.py NAME --tsv-dir DIR --out OUT     data of your own

OUT gets {train,valid,...}.input0, .input1 (for pairs), .label (where labels are known) and
info.json; the training rows are sorted by length. MNLI has two dev and two test sets: valid,
test (matched), valid1, test1 (mismatched). Data of your own are DIR/NAME.{train,valid,test}.tsv
(or .tsv.gz) without a header: a sentence, perhaps a second one, the label; labels with a fraction
make it a regression. OUT is complete if it exists: it is written under another name and renamed.
"""

import gzip
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from glue_tasks import RATING_SCALE, TASKS, Task

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import (
    argument_parser,
    command_line,
    load_from_hub,
    new_folder,
    write_json,
    write_lines,
    writing_folder,
)

HF_DATASET = "nyu-mll/glue"


class Row(NamedTuple):
    sentences: tuple[str, ...]
    label: str | None  #: None where GLUE keeps it to itself


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("task", help=f"one of {', '.join(TASKS)}, or the name of your own data")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--glue-dir", type=Path, help="folder that holds RTE/train.tsv and so on")
    source.add_argument("--hf", action="store_true", help=f"load {HF_DATASET} with `datasets`")
    source.add_argument("--tsv-dir", type=Path, help="folder of NAME.{train,valid,test}.tsv[.gz]")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()
    if args.tsv_dir is None and args.task not in TASKS:
        raise SystemExit(f"unknown task {args.task}: expected one of {', '.join(TASKS)}")

    skipped: Counter[str] = Counter()
    if args.tsv_dir is not None:
        splits = own_rows(args.task, args.tsv_dir)
        labels = _labels_of(args.task, splits)
    else:
        task = TASKS[args.task]
        labels = task.labels
        splits = hf_rows(task) if args.hf else glue_rows(args.task, args.glue_dir, skipped)
    write(splits, labels, args.out, args.task, skipped)


def glue_rows(name: str, folder: Path, skipped: Counter[str]) -> dict[str, list[Row]]:
    """The rows of GLUE's own files.

    Args:
        skipped: gets the number of broken lines of each file. QQP has some: a question holds
            a tab or a line break; fairseq and others leave these lines out, and so do we. No
            other task may have one, and no test set: predictions would shift.

    Raises:
        SystemExit: a file or column is missing, a line is broken, a label is unknown.
    """
    matched = {"valid": "dev_matched", "valid1": "dev_mismatched"}
    matched |= {"test": "test_matched", "test1": "test_mismatched"}
    files = {"train": "train", **(matched if name == "MNLI" else {"valid": "dev", "test": "test"})}
    paths = {split: folder / name / f"{file}.tsv" for split, file in files.items()}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise SystemExit(
            f"GLUE's files are missing: {', '.join(missing)}. Get them from "
            "https://gluebenchmark.com/tasks, or leave GLUE_DIR unset to load them with `datasets`"
        )
    return {split: list(_glue_file(name, split, path, skipped)) for split, path in paths.items()}


def _glue_file(name: str, split: str, path: Path, skipped: Counter[str]) -> Iterator[Row]:
    task, labelled = TASKS[name], not split.startswith("test")
    with open(path, encoding="utf-8-sig", newline="\n") as lines:
        if name == "CoLA" and labelled:
            columns = ["source", "label", "mark", "sentence"]  # its files have no header
            first = 1
        else:
            columns = lines.readline().rstrip("\r\n").split("\t")
            first = 2
        wanted = [*task.columns, *([task.label] if labelled else [])]
        absent = [column for column in wanted if column not in columns]
        if absent:
            raise SystemExit(
                f"{path} lacks the column {absent[0]!r}; its header has {', '.join(columns)}. "
                f"Is it a file of {name} in GLUE's layout?"
            )
        index = [columns.index(column) for column in wanted]
        for number, line in enumerate(lines, first):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != len(columns):
                if name == "QQP" and labelled:
                    skipped[split] += 1
                    continue
                raise SystemExit(
                    f"{path}, line {number}: expected {len(columns)} columns as in its header, "
                    f"found {len(cells)}"
                )
            found = [cells[i] for i in index]
            label = found.pop() if labelled else None
            if labelled:
                label = _checked(label, task.labels, f"{path}, line {number}")
            yield Row(tuple(found), label)


def hf_rows(task: Task) -> dict[str, list[Row]]:
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
            raise SystemExit(
                f"{HF_DATASET} {task.hf_name} lacks the column {min(absent)!r}, it has "
                f"{', '.join(rows.column_names)}: use GLUE_DIR with GLUE's own files"
            )
        order = sorted(rows, key=lambda row: row["idx"]) if split.startswith("test") else rows
        splits[split] = [
            Row(
                tuple(row[column] for column in task.hf_columns),
                None if split.startswith("test") else _hf_label(task, row, hf_split),
            )
            for row in order
        ]
    return splits


def _hf_label(task: Task, row: dict, split: str) -> str:
    if task.labels is None:
        return _checked(str(row["label"]), None, f"{HF_DATASET} {split}, row {row['idx']}")
    if not 0 <= row["label"] < len(task.labels):
        raise SystemExit(f"{HF_DATASET} {split}, row {row['idx']}: no label ({row['label']})")
    return task.labels[row["label"]]


def own_rows(name: str, folder: Path) -> dict[str, list[Row]]:
    """The rows of NAME.{train,valid,test}.tsv, all with labels; test may be missing."""
    splits: dict[str, list[Row]] = {}
    for split in ("train", "valid", "test"):
        paths = [folder / f"{name}.{split}.tsv", folder / f"{name}.{split}.tsv.gz"]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            if split == "test":
                continue
            raise SystemExit(f"neither {paths[0]} nor {paths[1].name} exists; see --help")
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        try:
            lines = text.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            number = text.count(b"\n", 0, error.start) + 1
            raise SystemExit(f"{path}, line {number}: not UTF-8, convert it (iconv)") from None
        rows = [line.split("\t") for line in lines]
        width = len(splits["train"][0].sentences) + 1 if split != "train" else len(rows[0])
        for number, row in enumerate(rows, 1):
            if len(row) != width or width not in (2, 3):
                raise SystemExit(
                    f"{path}, line {number}: expected {width if width in (2, 3) else '2 or 3'} "
                    f"columns (a sentence, perhaps a second one, the label), found {len(row)}"
                )
        splits[split] = [Row(tuple(sentences), label) for *sentences, label in rows]
    return splits


def _labels_of(name: str, splits: dict[str, list[Row]]) -> tuple[str, ...] | None:
    """The labels of the training rows, or None for a regression."""
    labels = {row.label for row in splits["train"]}
    if any("." in label for label in labels):
        for split, rows in splits.items():
            for number, row in enumerate(rows, 1):
                _number(row.label, f"{name}.{split}, line {number}")
        return None
    spaced = [label for label in labels if len(label.split()) != 1]
    if spaced:
        raise SystemExit(f"{name}: the label {spaced[0]!r} must be one word")
    known = tuple(sorted(labels))
    if len(known) < 2:
        raise SystemExit(f"{name}: all training rows have the label {known[0]!r}")
    for split, rows in splits.items():
        for number, row in enumerate(rows, 1):
            if row.label not in known:
                raise SystemExit(
                    f"{name}.{split}, line {number}: label {row.label!r} is not among those of "
                    f"the training rows ({', '.join(known)})"
                )
    return known


def _checked(label: str, labels: tuple[str, ...] | None, where: str) -> str:
    """``label`` as it is trained on; a rating in [0, 5] is scaled to [0, 1]."""
    if labels is None:
        rating = _number(label, where)
        if not 0 <= rating <= RATING_SCALE:
            raise SystemExit(f"{where}: the rating {label} is not in [0, {RATING_SCALE:g}]")
        return f"{rating / RATING_SCALE:.6g}"
    if label not in labels:
        raise SystemExit(f"{where}: label {label!r} is not one of {', '.join(labels)}")
    return label


def _number(label: str, where: str) -> float:
    try:
        return float(label)
    except ValueError:
        raise SystemExit(f"{where}: {label!r} is not a number") from None


def write(
    splits: dict[str, list[Row]],
    labels: tuple[str, ...] | None,
    out: Path,
    name: str,
    skipped: Counter[str],
) -> None:
    """Write the lines of all splits and info.json to ``out``, and say how many they are."""
    with writing_folder(out) as unfinished:
        for split, rows in splits.items():
            if not rows:
                raise SystemExit(f"{name} {split} has no rows")
            if split == "train":  # with --no-shuffle a batch then has little padding
                rows = sorted(rows, key=_words)
            for number in range(len(rows[0].sentences)):
                # a line break inside a sentence would shift all labels after it
                lines = [" ".join(row.sentences[number].split()) for row in rows]
                write_lines(unfinished / f"{split}.input{number}", lines)
            if rows[0].label is not None:
                write_lines(unfinished / f"{split}.label", [row.label for row in rows])
            left_out = f", {skipped[split]} broken lines left out" if skipped[split] else ""
            print(f"{name} {split}: {len(rows):,} rows{left_out}")
        info = {
            "task": name,
            "labels": labels,
            "sentences": len(splits["train"][0].sentences),
            "rows": {split: len(rows) for split, rows in splits.items()},
            "broken_lines_left_out": dict(skipped),
        }
        write_json(unfinished / "info.json", info)


def _words(row: Row) -> int:
    return sum(len(sentence.split()) for sentence in row.sentences)


if __name__ == "__main__":
    command_line(main)
