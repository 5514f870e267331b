"""How trainings end, well or not."""

import re
import sys

from .conftest import run, train


def test_a_training_that_diverges(data, tmp_path) -> None:
    """One sentence names the update, whatever fairseq's NaN detector meets."""
    result = train(data, tmp_path, "--lr", "1e30", "--max-update", "5", check=False)
    assert result.returncode == 1
    message = r"the loss or its gradient is not finite \(NaN or Inf\) since update 2: .* Lower --lr"
    assert re.match(message, result.stderr.splitlines()[-1])
    assert "Traceback" not in result.stderr


def test_the_loading_thread_ends_before_python() -> None:
    program = """
import atexit
batches = []
atexit.register(lambda: print(batches[0]._consumer.is_alive()))
import rdrop_fairseq
from fairseq.data.iterators import BufferedIterator
batches.append(BufferedIterator(2, range(10**9)))
print(next(batches[0]))
"""
    result = run([sys.executable, "-W", "ignore", "-c", program], real=True)
    assert result.stdout == "0\nFalse\n"
