"""``python -m rdrop_fairseq.tools.dropout``."""

from . import main

main()
