"""What R-Drop costs: time and peak memory of a training step, beside fairseq's criteria.

    rdrop benchmark                                   the base transformer, V = 32k
    rdrop benchmark --arch transformer_iwslt_de_en --vocab 10000
    rdrop benchmark --loss                            the loss alone, over N and V
    rdrop benchmark --floor                           the loss and the least it can cost
    rdrop benchmark --adaptive --batch 2 --tokens 64  an adaptive softmax, V = 268k
    rdrop benchmark --encoder                         the encoder twice or once
    rdrop benchmark --all --device cuda --dtype float16 --batch 128 --csv gpu.csv

Every measurement is a process of its own, and the variants take turns, so that what slows
the machine for a while slows them all. A step is forward and backward on one batch of random
tokens, in which every sentence has between 60% and 100% of --tokens. With --adaptive every
one has --tokens, drawn by the law of Zipf and Mandelbrot: what a tail costs depends on how
rare its symbols are. Time is the median of all steps; with --floor on a CPU it is CPU time.
Memory is the median over the processes of the high-water mark: of the resident set on a CPU
(that of a compiled variant holds the compiler, too), of torch.cuda.max_memory_allocated on a GPU.
Without a compiler the compiled variants are left out.
"""

import argparse
import copy
import csv
import json
import logging
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .command_line import command, output_file, parser, whole

STEP_VARIANTS = {
    "plain CE, batch": "fairseq's label_smoothed_cross_entropy on the batch",
    "plain CE, doubled": "the same on the batch twice: what two passes must cost",
    "fairseq R-Drop": "fairseq's label_smoothed_cross_entropy_with_rdrop",
    "ours, eager": "--rdrop-impl eager",
    "ours, logits": "--rdrop-impl logits",
    "ours, logits, compiled": "--rdrop-impl logits --rdrop-compile",
    "ours, linear": "--rdrop-impl linear",
    "ours, linear, compiled": "--rdrop-impl linear --rdrop-compile",
    "body only": "the doubled batch through all but the output projection, no loss",
}
LOSS_VARIANTS = {
    "fairseq R-Drop": "fairseq's criterion on logits",
    "ours, eager": "rdrop_loss(impl='eager')",
    "ours, logits": "rdrop_loss(impl='fused')",
    "ours, logits, compiled": "rdrop_loss(impl='fused', compile=True)",
    "projection + fairseq": "F.linear and fairseq's criterion",
    "projection + ours": "linear_rdrop_loss",
    "projection + ours, compiled": "linear_rdrop_loss(compile=True)",
}
FLOOR_VARIANTS = {
    "projection alone": "F.linear and its two gradients, of the doubled batch: three products",
    "projection + cross_entropy": "F.linear and F.cross_entropy of the doubled batch, no KL",
    "ours, logits": "rdrop_loss(impl='fused'), no projection",
    "ours, logits, compiled": "rdrop_loss(impl='fused', compile=True), no projection",
    "projection + ours": "linear_rdrop_loss",
    "projection + ours, compiled": "linear_rdrop_loss(compile=True)",
}
ADAPTIVE_VARIANTS = {
    "adaptive_loss, batch": "fairseq's adaptive_loss on the batch",
    "adaptive_loss, doubled": "the same on the batch twice: what two passes must cost",
    "ours, target": "--rdrop-adaptive-kl target",
    "ours, exact": "--rdrop-adaptive-kl exact",
    "ours, exact eager": "--rdrop-adaptive-kl exact --rdrop-impl eager",
    "body only": "the doubled batch through all but head and tails, no loss",
}
ENCODER_VARIANTS = {
    "plain": "fairseq's label_smoothed_cross_entropy",
    "fairseq R-Drop": "fairseq's label_smoothed_cross_entropy_with_rdrop",
    "ours, twice": "--criterion rdrop",
    "ours, once": "--rdrop-encoder once",
    "ours, once, 3 passes": "--rdrop-encoder once --rdrop-passes 3",
    "ours, once, 4 passes": "--rdrop-encoder once --rdrop-passes 4",
}


class Shape(NamedTuple):
    """A model and its batch, for --encoder."""

    name: str
    arch: str
    vocab: int
    layers: list[str]  # flags
    batch: int
    source_tokens: int
    tokens: int


SHAPES = [
    Shape("translation, 6 + 6 layers", "transformer_wmt_en_de", 32000, [], 24, 32, 32),
    Shape(
        "translation, 12 + 2 layers",
        "transformer_wmt_en_de",
        32000,
        ["--encoder-layers", "12", "--decoder-layers", "2"],
        *(24, 32, 32),
    ),
    Shape("summaries, BART base", "bart_base", 51201, [], 4, 512, 64),
]
FLOOR_SIZE = (1024, 32000)
# what --all measures, each with the settings of rdrop_fairseq/loss/README.md
TABLES = [
    [],
    ["--arch", "transformer_iwslt_de_en", "--vocab", "10000"],
    ["--loss", "--processes", "1", "--steps", "3"],
    ["--floor", "--processes", "2", "--steps", "3"],
    ["--adaptive", "--batch", "2", "--tokens", "64", "--processes", "1", "--steps", "3"],
    ["--encoder"],
]
LOSS_SIZES = [(256, 32000), (1024, 32000), (2048, 32000), (1024, 10000)]
CSV_COLUMNS = (
    *("date", "machine", "threads", "dtype", "torch", "fairseq", "python"),
    *("table", "arch", "rows", "vocabulary", "variant", "seconds", "peak_mib"),
)
THIS = [sys.executable, "-m", "rdrop_fairseq.tools.benchmark"]
WIDTH = 512  # of the features, for the loss alone


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    cli = parser(__doc__, "rdrop benchmark")
    add = cli.add_argument
    add("--loss", action="store_true", help="measure the loss alone, over N and V")
    add("--floor", action="store_true", help="measure the loss beside what it cannot do without")
    add("--adaptive", action="store_true", help="measure a language model's adaptive softmax")
    add(
        "--encoder",
        action="store_true",
        help="measure --rdrop-encoder for three models, each with its batch",
    )
    add("--all", action="store_true", help="all tables, one after the other, with the other flags")
    add(
        "--arch",
        help="an architecture of fairseq: for translation, default transformer_wmt_en_de, or with "
        "--adaptive a language model, default transformer_lm_wiki103",
    )
    add(
        "--vocab",
        type=whole(1),
        help="symbols; default 32000, with --adaptive 267744 (WikiText-103)",
    )
    add("--batch", type=whole(1), default=24, help="sentences in the batch")
    add("--tokens", type=whole(1), default=32, help="tokens of the longest sentence")
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    add("--device", default="cpu", help="cpu or cuda")
    add("--threads", type=whole(1), help="threads on a CPU; default 2, with --floor 1")
    add("--processes", type=whole(1), default=3, help="processes for each variant")
    add("--steps", type=whole(1), default=2, help="timed steps in a process, after one that is not")
    add("--csv", type=output_file, help="append the results to this file")
    add("--measure", help=argparse.SUPPRESS)  # one variant, in this process
    add("--size", type=int, nargs=2, default=(0, 0), help=argparse.SUPPRESS)  # N and V of it
    args = cli.parse_args(argv)
    arch, vocab = "transformer_wmt_en_de", 32000
    if args.adaptive:
        arch, vocab = "transformer_lm_wiki103", 267744
    args.arch, args.vocab = args.arch or arch, args.vocab or vocab
    args.threads = args.threads or (1 if args.floor else 2)
    args.layers, args.source_tokens = [], args.tokens
    if args.encoder:
        vars(args).update(SHAPES[args.size[0]]._asdict())
    return args


def task_and_model(args: argparse.Namespace, name: str, *flags: str) -> tuple:
    """fairseq's task ``name`` and a model of ``args.arch`` in training mode."""
    import torch
    from fairseq import options, tasks
    from fairseq.data import Dictionary
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    dictionary = Dictionary()
    for number in range(args.vocab - len(dictionary)):
        dictionary.add_symbol(f"w{number}")
    parser = options.get_training_parser(name)
    parsed = options.parse_args_and_arch(parser, ["data", "--arch", args.arch, *flags])
    cfg = convert_namespace_to_omegaconf(parsed)
    dictionaries = [dictionary] * (2 if name == "translation" else 1)
    task = tasks.TASK_REGISTRY[name](cfg.task, *dictionaries)
    torch.manual_seed(1)
    model = task.build_model(cfg.model).to(args.device, getattr(torch, args.dtype))
    return task, model.train()


def model_step(args: argparse.Namespace, variant: str) -> Callable[[], None]:
    """A function that makes one training step of a translation model."""
    import torch
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.data import Dictionary

    flags = ["--share-all-embeddings", "--dropout", "0.3", *args.layers]
    task, model = task_and_model(args, "translation", *flags)

    def random_tokens(most: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [batch, most] and lengths [batch], from 60% of ``most``."""
        tokens = torch.randint(len(Dictionary()), args.vocab, (args.batch, most))
        lengths = torch.randint(most * 6 // 10, most + 1, (args.batch,))
        lengths[0] = most
        tokens[torch.arange(most) >= lengths.unsqueeze(-1)] = task.target_dictionary.pad()
        return tokens.to(args.device), lengths.to(args.device)

    source, source_lengths = random_tokens(args.source_tokens)
    target, target_lengths = random_tokens(args.tokens)
    net_input = {
        "src_tokens": source,
        "src_lengths": source_lengths,
        "prev_output_tokens": target.roll(1, 1),
    }
    sample = {
        "net_input": net_input,
        "target": target,
        "ntokens": int(target_lengths.sum()),
        "nsentences": args.batch,
    }
    twice = {
        **sample,
        "net_input": {key: torch.cat([value, value]) for key, value in net_input.items()},
        "target": torch.cat([target, target]),
        "ntokens": 2 * sample["ntokens"],
    }

    def criterion(name: str, **settings: object) -> torch.nn.Module:
        return CRITERION_REGISTRY[name](task, False, label_smoothing=0.1, **settings)

    if variant == "body only":

        def loss() -> torch.Tensor:
            return model(**twice["net_input"], features_only=True)[0].float().sum()

    else:
        if variant.startswith("plain"):
            measured = criterion("label_smoothed_cross_entropy")
        elif variant == "fairseq R-Drop":
            measured = criterion("label_smoothed_cross_entropy_with_rdrop", rdrop_alpha=5)
        elif args.encoder:
            _, encoder, *passes = variant.split(", ")
            settings = {"rdrop_passes": int(passes[0].split()[0])} if passes else {}
            measured = criterion("rdrop", rdrop_alpha=5, rdrop_encoder=encoder, **settings)
        else:
            _, impl, *compiled = variant.split(", ")
            measured = criterion(
                "rdrop", rdrop_alpha=5, rdrop_impl=impl, rdrop_compile=bool(compiled)
            )
        batch = twice if variant == "plain CE, doubled" else sample

        def loss() -> torch.Tensor:
            # fairseq's criterion changes the batch that it is given
            given = {**batch, "net_input": copy.copy(batch["net_input"])}
            return measured(model, given)[0]

    def step() -> None:
        model.zero_grad()
        loss().backward()

    return step


def adaptive_step(args: argparse.Namespace, variant: str) -> Callable[[], None]:
    """A function that makes one training step of a language model with an adaptive softmax."""
    import torch
    from fairseq.criterions import CRITERION_REGISTRY

    flags = ["--tokens-per-sample", str(args.tokens)]
    task, model = task_and_model(args, "language_modeling", *flags)
    special = task.target_dictionary.nspecial
    frequency = 1 / (torch.arange(args.vocab - special) + 2.7)  # the law of Zipf and Mandelbrot
    tokens = torch.multinomial(frequency, args.batch * (args.tokens + 1), replacement=True)
    tokens = (tokens + special).view(args.batch, -1).to(args.device)
    sample = {
        "net_input": {
            "src_tokens": tokens[:, :-1],
            "src_lengths": torch.full((args.batch,), args.tokens, device=args.device),
        },
        "target": tokens[:, 1:].contiguous(),
        "ntokens": args.batch * args.tokens,
        "nsentences": args.batch,
    }
    if variant in ("adaptive_loss, doubled", "body only"):
        twice = {key: torch.cat([value, value]) for key, value in sample["net_input"].items()}
        sample |= {"net_input": twice, "target": torch.cat([sample["target"]] * 2)}

    def criterion(name: str, **settings: object) -> torch.nn.Module:
        return CRITERION_REGISTRY[name](task, False, **settings)

    measured: Callable[..., Any]
    if variant.startswith("adaptive_loss"):
        measured = criterion("adaptive_loss")
    elif variant.startswith("ours"):
        kl, impl = f"{variant.removeprefix('ours, ')} auto".split()[:2]
        measured = criterion("rdrop_adaptive_loss", rdrop_adaptive_kl=kl, rdrop_impl=impl)
    else:

        def of_body(model: torch.nn.Module, sample: dict) -> tuple[torch.Tensor]:
            return (model(**sample["net_input"])[0].float().sum(),)

        measured = of_body

    def step() -> None:
        model.zero_grad()
        measured(model, sample)[0].backward()

    return step


def loss_step(args: argparse.Namespace, variant: str) -> Callable[[], None]:
    """A function that computes the loss of N targets over V symbols, and its gradient."""
    import torch
    from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
    from fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import compute_kl_loss
    from torch.nn.functional import cross_entropy, linear, log_softmax, softmax

    from ..loss import linear_rdrop_loss, rdrop_loss

    rows, vocabulary = args.size
    dtype = getattr(torch, args.dtype)
    torch.manual_seed(1)

    class Model:  # what fairseq's functions ask of one
        @staticmethod
        def get_normalized_probs(net_output: tuple, log_probs: bool) -> torch.Tensor:
            normalize = log_softmax if log_probs else softmax
            return normalize(net_output[0], dim=-1, dtype=torch.float32)

    def fairseq(logits: torch.Tensor) -> torch.Tensor:
        lprobs = Model.get_normalized_probs((logits,), log_probs=True)
        both = torch.cat([target, target])
        loss, _ = label_smoothed_nll_loss(lprobs, both, 0.1, ignore_index=1)
        return loss + 5 * compute_kl_loss(Model, (logits,), target.unsqueeze(-1).eq(1))

    target = torch.randint(4, vocabulary, (rows,), device=args.device)
    settings: dict[str, Any] = {"alpha": 5.0, "label_smoothing": 0.1, "ignore_index": 1}
    settings["compile"] = variant.endswith("compiled")
    first = torch.randn(rows, WIDTH, device=args.device)
    features = torch.cat([first, first + 0.1 * torch.randn_like(first)]).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, WIDTH, device=args.device).mul_(WIDTH**-0.5)
    weight = weight.to(dtype).requires_grad_()
    if variant == "projection alone":
        gradient = torch.randn(2 * rows, vocabulary, device=args.device).to(dtype)
    elif "projection" not in variant:
        with torch.no_grad():
            logits = linear(features, weight)
        logits.requires_grad_()

    def step() -> None:
        for tensor in (features, weight):
            tensor.grad = None
        if variant == "projection + fairseq":
            fairseq(linear(features, weight)).backward()
        elif variant == "projection alone":
            linear(features, weight).backward(gradient)
        elif variant == "projection + cross_entropy":
            both = torch.cat([target, target])
            cross_entropy(
                linear(features, weight), both, label_smoothing=0.1, reduction="sum"
            ).backward()
        elif variant.startswith("projection + ours"):
            linear_rdrop_loss(features, weight, target, **settings).objective.backward()
        else:
            scores = logits.detach().requires_grad_()
            if variant == "fairseq R-Drop":
                fairseq(scores).backward()
            else:
                impl = "eager" if variant.endswith("eager") else "fused"
                # not inplace: here the logits serve for every step
                rdrop_loss(scores, target, impl=impl, **settings).objective.backward()

    return step


def measure(args: argparse.Namespace) -> None:
    """Print the times of the steps and the peak memory of one variant as JSON."""
    import torch

    torch.set_num_threads(args.threads)
    on_gpu = args.device.startswith("cuda")
    loss_alone = args.loss or args.floor
    make = loss_step if loss_alone else adaptive_step if args.adaptive else model_step
    clock = time.process_time if args.floor and not on_gpu else time.perf_counter
    step = make(args, args.measure)
    times = []
    for _ in range(args.steps + 1):
        start = clock()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(clock() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({"times": times[1:], "peak": peak}))


def measured_in_turns(
    argv: list[str], processes: int, cases: list[tuple[str, tuple[int, int]]]
) -> dict[tuple[str, tuple[int, int]], tuple[float, float]]:
    """Median seconds and MiB of each (variant, size)."""
    times: dict = {case: [] for case in cases}
    peaks: dict = {case: [] for case in cases}
    for turn in range(processes):
        for case in cases:
            variant, size = case
            print(f"\r{turn + 1}/{processes} {variant} {size}".ljust(60), end="", file=sys.stderr)
            command = [*THIS, *argv, "--measure", variant]
            command += ["--size", *map(str, size)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            result = json.loads(output.splitlines()[-1])
            times[case] += result["times"]
            peaks[case].append(result["peak"])
    print("\r".ljust(61), end="\r", file=sys.stderr)
    return {c: (statistics.median(times[c]), statistics.median(peaks[c])) for c in cases}


def machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


@command("rdrop benchmark")
def main(argv: Sequence[str] | None = None) -> None:
    argv = list(sys.argv[1:] if argv is None else argv)
    args = arguments(argv)
    logging.disable(logging.INFO)  # fairseq lets other packages say all that they do
    warnings.simplefilter("ignore")  # of how it uses hydra and torch
    if args.measure:
        return measure(args)
    import torch

    if args.device != "cpu" and not torch.cuda.is_available():
        raise UsageError(
            f"--device {args.device}: PyTorch {torch.__version__} sees no GPU; leave it out"
        )
    if args.all:
        others = [argument for argument in argv if argument != "--all"]
        failed = False
        for flags in TABLES:  # last: they set what differs from table to table
            failed |= subprocess.run([*THIS, *others, *flags]).returncode != 0
            print(flush=True)
        sys.exit(failed)
    from fairseq.version import __version__ as fairseq_version

    from ..loss.compiled import missing_compiler

    device = machine() if args.device == "cpu" else torch.cuda.get_device_name()
    setting = f"{device}, {args.threads} threads, {args.dtype}, torch {torch.__version__}"
    print(f"{date.today()}, {setting}, fairseq {fairseq_version}\n")
    missing = missing_compiler(torch.device(args.device))
    if missing is not None:
        print(f"compiled variants are left out: {missing}\n")

    def measured(variants: Iterable[str], sizes: list[tuple[int, int]]) -> dict:
        kept = [v for v in variants if missing is None or not v.endswith("compiled")]
        return measured_in_turns(
            argv, args.processes, [(variant, size) for size in sizes for variant in kept]
        )

    if args.floor:
        results = measured(FLOOR_VARIANTS, [FLOOR_SIZE])
        print("N = {}, V = {}, D = {}\n".format(*FLOOR_SIZE, WIDTH))
        others = ["projection alone", "projection + cross_entropy"]
        print(f"| variant | seconds | of {' | of '.join(others)} | peak MiB |")
        print("| --- | --- | --- | --- | --- |")
        for (variant, size), (seconds, peak) in results.items():
            ratios = [f"{seconds / results[other, size][0]:.2f}" for other in others]
            print(f"| {' | '.join([variant, f'{seconds:.3f}', *ratios, f'{peak:.0f}'])} |")
    elif args.encoder:
        results = measured(ENCODER_VARIANTS, [(number, 0) for number in range(len(SHAPES))])
        print("| model | batch | variant | s/step | of plain | peak MiB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for (variant, size), (seconds, peak) in results.items():
            shape = SHAPES[size[0]]
            ratio = seconds / results["plain", size][0]
            batch = f"{shape.batch} x {shape.source_tokens} to {shape.tokens}"
            cells = [shape.name, batch, variant, f"{seconds:.2f}", f"{ratio:.2f}", f"{peak:.0f}"]
            print(f"| {' | '.join(cells)} |")
    elif args.loss:
        results = measured(LOSS_VARIANTS, LOSS_SIZES)
        print("| N | V | variant | seconds | of fairseq's | peak MiB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for (variant, size), (seconds, peak) in results.items():
            theirs = "projection + fairseq" if "projection" in variant else "fairseq R-Drop"
            ratio = seconds / results[theirs, size][0]
            cells = [*size, variant, f"{seconds:.3f}", f"{ratio:.3f}", f"{peak:.0f}"]
            print(f"| {' | '.join(map(str, cells))} |")
    else:
        size = (args.batch * args.tokens, args.vocab)
        variants, others = STEP_VARIANTS, ["fairseq R-Drop", "plain CE, doubled"]
        if args.adaptive:
            variants, others = ADAPTIVE_VARIANTS, ["adaptive_loss, doubled"]
        results = measured(variants, [size])
        print(f"{args.arch}, V = {args.vocab}, batch {args.batch} x {args.tokens}\n")
        print(f"| variant | s/step | of {' | of '.join(others)} | peak MiB | above the body |")
        print("| --- " * (4 + len(others)) + "|")
        body = results["body only", size][1]
        for (variant, _), (seconds, peak) in results.items():
            ratios = [f"{seconds / results[other, size][0]:.2f}" for other in others]
            cells = [variant, f"{seconds:.2f}", *ratios, f"{peak:.0f}", f"{peak - body:.0f}"]
            print(f"| {' | '.join(cells)} |")
        if not args.adaptive:
            above = [results[v, size][1] - body for v in ("ours, linear", "fairseq R-Drop")]
            ratio = above[0] / above[1]
            print(f"\nmemory above the body's: linear is {ratio:.3f} of fairseq's R-Drop")

    if args.csv:
        new = not args.csv.exists()
        with args.csv.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(CSV_COLUMNS)
            versions = [torch.__version__, fairseq_version, platform.python_version()]
            table = ["floor" if args.floor else "loss", ""]
            if not (args.floor or args.loss):
                table = ["step", args.arch]
            for (variant, size), (seconds, peak) in results.items():
                if args.encoder:
                    shape = SHAPES[size[0]]
                    table = ["encoder", shape.name]
                    size = (shape.batch * shape.tokens, shape.vocab)
                row = [date.today(), device, args.threads, args.dtype, *versions, *table, *size]
                writer.writerow([*row, variant, f"{seconds:.4f}", f"{peak:.0f}"])


if __name__ == "__main__":
    main()
