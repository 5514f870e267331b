"""What a file can do with the names that it may use: nothing but hold values."""

import io
import itertools
import pickle
import random
import sys
from typing import Any

import fairseq  # noqa: F401  (after which the list is there)
import numpy as np
import pytest
import torch

from rdrop_fairseq import allowed

from .conftest import run

if not hasattr(torch.serialization, "safe_globals"):
    pytest.skip("this torch has no list", allow_module_level=True)


def global_of(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return b"c%b\n%b\n" % (module.encode(), attribute.encode())


def reduced(name: str, *arguments: bytes) -> bytes:
    return global_of(name) + b"(" + b"".join(arguments) + b"tR"


def pickled(value: Any) -> bytes:
    """The opcodes that make ``value``."""
    return pickle.dumps(value, 2)[2:-1]


def file_of(opcodes: bytes) -> io.BytesIO:
    """What torch.save writes, with another pickle in it."""

    class Pickler:
        def __init__(self, file: Any, protocol: int) -> None:
            self.file = file

        def dump(self, _: Any) -> None:
            self.file.write(b"\x80\x02" + opcodes + b".")

    module = type(sys)("pickle_of_opcodes")
    module.Pickler = Pickler
    file = io.BytesIO()
    torch.save(None, file, pickle_module=module)
    file.seek(0)
    return file


F8, U8 = (reduced("numpy.dtype", pickled(name)) for name in ("f8", "u8"))
# numpy's state of a dtype of Python objects: a version, no byte order, the flags that it has
OBJECTS = pickled((3, "|", None, None, None, -1, -1, 63))


@pytest.mark.parametrize(
    "opcodes",
    [
        reduced("numpy.ndarray", pickled((1,)), pickled("O"), pickled(b"AAAAAAAA")),
        reduced("numpy.ndarray", pickled((10**9,))),
        global_of("numpy.ndarray") + pickled(((10**9,),)) + b"\x81",
        reduced("numpy.dtype", pickled("O")),
        reduced("numpy.dtype", pickled([("a", "O")])),
        reduced("numpy.dtype", pickled("V1000000000")),
        reduced("numpy.dtypes.ObjectDType"),
        reduced("numpy.core.multiarray._reconstruct", global_of("builtins.list"), pickled((0,))),
        reduced("numpy.core.multiarray.scalar", pickled("f8"), pickled(b"AAAAAAAA")),
        reduced("collections.defaultdict", global_of("numpy.dtype")),
        reduced("argparse.Namespace", pickled(1)),
        reduced("omegaconf.dictconfig.DictConfig", pickled({"a": [[1, 2]]})),
        reduced("fairseq.data.dictionary.Dictionary", pickled("a")),
        reduced("fairseq.logging.meters.TimeMeter", pickled(1)),
        *map(global_of, (".ndarray", ".Namespace", "numpy.float64", "numpy._core.ndarray")),
    ],
)
def test_refused(opcodes: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        torch.load(file_of(opcodes))


@pytest.mark.parametrize("element", ["b1", "u1", "i8", "f2", "f8"])
def test_a_type_of_numbers_stays_one(element: str) -> None:
    """Though the file gives it the state of a type of objects."""
    state = pickled((3, "|", None, ("a",), {"a": (0, 0)}, 8, 8, 63))
    for hostile in (OBJECTS, state):
        dtype = torch.load(file_of(reduced("numpy.dtype", pickled(element)) + hostile + b"b"))
        assert dtype == np.dtype(element)
        assert (dtype.flags, dtype.hasobject, dtype.names) == (0, False, None)


def test_with_another_librarys_list() -> None:
    """Hugging Face's Trainer allows numpy's own for a while: whichever of the two is found."""
    ours = {name: value for value, name in allowed.SAFE_GLOBALS}
    of_arrays, of_numbers = np.ones(1).__reduce__()[0], np.float64(1).__reduce__()[0]
    theirs = {
        f"{of_arrays.__module__}._reconstruct": of_arrays,
        f"{of_numbers.__module__}.scalar": of_numbers,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
    }
    for choice in itertools.product((ours, theirs), repeat=4):
        found = {name: of[name] for name, of in zip(theirs, choice, strict=True)}

        class Unpickler(pickle.Unpickler):
            def find_class(self, module: str, name: str, found: dict = found) -> Any:
                return found.get(f"{module}.{name}") or super().find_class(module, name)

        for value in (np.array([[1.5, 2]]), np.int64(3)):
            loaded = Unpickler(io.BytesIO(pickle.dumps(value, 2))).load()
            assert isinstance(loaded, type(value))
            assert np.array_equal(loaded, value)
    with torch.serialization.safe_globals([np.ndarray, np.dtype]):
        pass
    assert set(allowed.SAFE_GLOBALS) <= set(torch.serialization.get_safe_globals())


SHAPES = [*[(1,)] * 5, (0,), 10**9, (10**9,), (-1, -8), (2**40, 2**40, 0)]
TYPES = ["f8", *["O"] * 5, "|O", "V1000000000", [("a", "O")], {"_metadata": 1}]
NUMBERS = [*[b"A" * 8] * 9, b"", None, True, 0, -1, 2**62, 1.5, "", "a"]
KEYS = ["_metadata", "_content", "_parent", "__class__", "__dict__", "__setstate__", "a", "sum"]


def random_pickle(generator: random.Random) -> bytes:
    """The list's own names, called and given states by nested, hostile values."""
    names = [name for _, name in allowed.SAFE_GLOBALS if "." in name]
    of_numpy = [name for name in names if name.startswith("numpy")]

    def value(depth: int) -> bytes:
        kind = generator.randrange(10 if depth else 3)
        if kind == 0:
            return global_of(generator.choice(names))
        if kind <= 2:
            return pickled(generator.choice([*SHAPES, *TYPES, *NUMBERS]))
        if kind == 3:
            return b"(" + several(depth) + b"t"
        if kind == 4:
            return b"](" + several(depth) + b"e"
        if kind == 5:
            items = [pickled(key) + value(depth - 1) for key in generator.sample(KEYS, 3)]
            return b"}(" + b"".join(items) + b"u"
        if kind == 6:
            return F8 + (OBJECTS if generator.random() < 0.5 else value(depth - 1)) + b"b"
        make = global_of(generator.choice(names)) + b"(" + several(depth) + b"t"
        make += generator.choice([b"R", b"\x81"])
        return make if kind == 7 else make + value(depth - 1) + b"b"

    def several(depth: int) -> bytes:
        return b"".join(value(depth - 1) for _ in range(generator.randrange(6)))

    shape, name, numbers = (pickled(generator.choice(few)) for few in (SHAPES, TYPES, NUMBERS))
    dtype = generator.choice([F8, U8, F8 + OBJECTS + b"b", name, name])
    kind = generator.randrange(10)
    if kind < 2:  # what numpy's functions take
        arguments = generator.choice([(shape, dtype, numbers), (dtype, numbers), (shape,)])
        return reduced(generator.choice(of_numpy), *arguments)
    if kind < 4:  # what an array is pickled as
        of_bytes = global_of("numpy.ndarray"), pickled((0,)), pickled(b"b")
        state = b"(" + pickled(1) + shape + dtype + pickled(False) + numbers + b"tb"
        return reduced("numpy.core.multiarray._reconstruct", *of_bytes) + state
    return value(4)


# what must not happen, whatever is loaded; it says how many files were loaded, and refused
PROGRAM = """
import random, resource, sys
import numpy, torch
from tests.test_allowed import file_of, pickled, random_pickle

torch.load(file_of(pickled([numpy.ones(2)])))  # imports what it needs
is_loading = False
def watch(event, arguments):
    if is_loading and event in CODE:
        sys.exit(f"the file has run {event} {arguments}")
CODE = {"exec", "import", "open", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
sys.addaudithook(watch)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, resource.RLIM_INFINITY))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def look(value, depth=0):
    if isinstance(value, numpy.ndarray):
        str(value.tolist())
    elif depth < 5:
        for part in (list(vars(value).values()) if hasattr(value, "__dict__") else
                     list(value.values()) if type(value) is dict else
                     value if type(value) in (list, tuple) else []):
            look(part, depth + 1)

generator, loaded, refused = random.Random(SEED), 0, 0
for _ in range(COUNT):
    file = file_of(random_pickle(generator))
    try:
        is_loading = True
        value = torch.load(file)
        loaded += 1
    except Exception:
        refused += 1
        value = None
    finally:
        is_loading = False
    look(value)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 2**20, f"{grown} KiB"
print(loaded, refused)
"""


def test_random_files_of_the_lists_own_names() -> None:
    """Loaded or refused: no crash, no code, no GiB of memory."""
    count = 4000
    program = PROGRAM.replace("SEED", "1").replace("COUNT", str(count))
    result = run([sys.executable, "-W", "ignore", "-c", program])
    loaded, refused = map(int, result.stdout.splitlines()[-1].split())
    assert loaded + refused == count
    assert min(loaded, refused) > count // 10  # both are tried
