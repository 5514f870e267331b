"""Text in, encoded text out: the tools of ``rdrop corpus``."""
