"""The tools of the command ``rdrop``: one module a tool, each with ``main(argv)``."""
