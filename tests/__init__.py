"""Scripts import what lies beside them: python sees to that when it runs one, tests do not."""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path[:0] = [str(SCRIPTS / folder) for folder in ("", "corpus", "recipe")]
