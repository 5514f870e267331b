"""Scripts import what lies beside them: python sees to that when it runs one, runpy does not."""

import sys

from ..conftest import ROOT

sys.path[:0] = [str(ROOT / "scripts" / folder) for folder in ("", "corpus", "recipe")]
