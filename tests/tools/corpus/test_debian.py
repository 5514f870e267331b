"""Debian's index files, packed in each way."""

import bz2
import gzip
import lzma

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.corpus.debian import descriptions

INDEX = """\ufeffPackage: a
Description-md5: 12
Description-de:  Ein   Titel
 Ein Absatz
 .
  * ein Punkt

Package: b
Description-md5: 34
Description-en: A title
"""
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACK)
def test_descriptions(tmp_path, suffix) -> None:
    path = tmp_path / f"Translation-de{suffix}"
    content = PACK[suffix](INDEX.encode())
    path.write_bytes(content)
    expected = {("a", "12"): ["Ein Titel", " Ein Absatz", " .", "  * ein Punkt"]}
    assert descriptions(path, "de") == expected
    with pytest.raises(UsageError, match="holds no package with a Description-fr: is it Debian's"):
        descriptions(path, "fr")
    if suffix:
        for damaged in (content[:-9], INDEX.encode()):
            path.write_bytes(damaged)
            with pytest.raises(UsageError, match=rf"the index file .* or no \{suffix} file"):
                descriptions(path, "de")
    path.write_bytes(PACK[suffix](INDEX.encode("utf-16")))
    with pytest.raises(UsageError, match="line 1: byte 0xff at position 1 is not UTF-8"):
        descriptions(path, "de")
