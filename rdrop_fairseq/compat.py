"""What fairseq needs on a current Python stack, beside checkpoints (checkpoint.py)."""

import inspect
import os
import re
import types
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import fairseq
import numpy
import torch

from .errors import INSTALL_FAIRSEQ, UsageError
from .patch import in_place_of, is_ours


def prepare() -> None:
    """Apply every fix of this module. Calling it again changes nothing.

    Raises:
        UsageError: fairseq is older than 0.12.
    """
    require_fairseq_012(fairseq.__version__)
    serve_numpy1_names()
    keep_last_batch()
    refuse_separate_trainings()
    resume_with_same_batches()
    resume_within_a_pass()
    block_repeated_ngrams()
    correlate_any_number_of_sentences()
    translate_from_pretrained_bart()
    train_bart_with_all_keys()
    leave_the_fast_path()
    drop_copies_for_the_fast_path()
    refuse_the_optimizer_of_another_model()
    be_found_twice()
    from . import ending  # which an old fairseq could not import

    ending.prepare()


def require_fairseq_012(version: str) -> None:
    """Raise UsageError if ``version`` of fairseq lacks what the criteria extend.

    0.12 brought dataclass configs with report_accuracy and ignore_prefix_size. 1.0.0a0 was the name
    of main from two years before it to after it: there the transformer's classes tell.
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    too_old = numbers and (int(numbers[1]), int(numbers[2])) < (0, 12)
    if too_old or not hasattr(
        import_module("fairseq.modules.transformer_layer"), "TransformerEncoderLayerBase"
    ):
        raise UsageError(
            f"rdrop_fairseq needs fairseq 0.12 or newer, found {version}: {INSTALL_FAIRSEQ}"
        )


class _NumpyForFairseq(types.ModuleType):
    """numpy, and the names that numpy 2 dropped but fairseq 0.12.3 still uses."""

    compat = SimpleNamespace(long=int)
    int = int
    float = float

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy, name)

    @staticmethod
    def percentile(a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        if "interpolation" in kwargs:
            kwargs["method"] = kwargs.pop("interpolation")
        return numpy.percentile(a, q, *args, **kwargs)


def serve_numpy1_names() -> None:
    """Give four modules of fairseq the numpy names that they miss.

    Needed by --sample-break-mode eos and --num-batch-buckets with numpy >= 2, until
    fairseq stops using np.compat, np.int, np.float and percentile(interpolation=).
    Only these modules see them: numpy itself stays as it is.
    """
    proxy = _NumpyForFairseq("numpy")
    for name in (
        "fairseq.data.data_utils",
        "fairseq.data.language_pair_dataset",
        "fairseq.data.token_block_dataset",
        "fairseq.modules.dynamic_crf_layer",
    ):
        import_module(name).np = proxy  # type: ignore[attr-defined]


def keep_last_batch() -> None:
    """Stop fairseq from leaving out the last sentences of every data set.

    Since 2022 its main branch, hence ve-fairseq, drops the last batch if the number of its
    sentences is not a multiple of --required-batch-size-multiple (8 unless told): up to 7
    sentences, the longest ones, that are then missing from a test set's translations, and
    from validation. fairseq 0.12.2 keeps them. Needed until fairseq's data_utils does again.
    """
    from fairseq.data import data_utils

    if is_ours(data_utils.batch_by_size):
        return
    dropping = data_utils.batch_by_size

    @in_place_of(dropping)
    def batch_by_size(indices: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(indices, numpy.ndarray):
            indices = numpy.fromiter(indices, dtype=numpy.int64)
        if not len(indices):
            return []
        batches = list(dropping(indices, *args, **kwargs))
        if (args[5] if len(args) > 5 else kwargs.get("fixed_shapes")) is not None:
            return batches  # in another order; there nothing is dropped
        left_out = indices[sum(map(len, batches)) :]
        return [*batches, left_out] if len(left_out) else batches

    data_utils.batch_by_size = batch_by_size


def refuse_separate_trainings() -> None:
    """Stop where torchrun's processes would each train a model of their own.

    Under torchrun fairseq joins the processes only if it sees more than one GPU or is told
    --distributed-world-size; on machines with one GPU, and on the CPU, it trains as many
    models as there are processes, over one another's checkpoints, and exits with 0.
    Needed until fairseq heeds WORLD_SIZE there.
    """
    from fairseq.trainer import Trainer

    if is_ours(Trainer.__init__):
        return
    initialise = Trainer.__init__

    @in_place_of(initialise)
    def __init__(self: Trainer, *args: Any, **kwargs: Any) -> None:
        processes = os.environ.get("WORLD_SIZE", "1")
        if processes != "1" and not torch.distributed.is_initialized():
            raise UsageError(
                f"WORLD_SIZE is {processes}, but this process would train a model on its own: "
                f"give fairseq-train --distributed-world-size {processes} "
                "--distributed-init-method env:// --distributed-rank -1 --distributed-no-spawn (on "
                "a CPU also --cpu --distributed-backend gloo --ddp-backend legacy_ddp), or unset "
                "WORLD_SIZE"
            )
        initialise(self, *args, **kwargs)

    Trainer.__init__ = __init__


def resume_with_same_batches() -> None:
    """Let a training that is resumed in a later epoch have the batches of an undisturbed one.

    fairseq's main branch, hence ve-fairseq, seeds the order of the sentences by the epoch in
    which a process makes its batches, and then keeps them: those of a training resumed in
    epoch 3 differ from those that it began with, so that sentences of one length change
    places, and within the epoch some are seen twice and others not at all. fairseq 0.12.2
    leaves the epoch out of the seed. Needed until FairseqTask.get_batch_iterator does again.
    """
    from fairseq.tasks import FairseqTask

    by_epoch = FairseqTask.get_batch_iterator
    if is_ours(by_epoch):
        return
    signature = inspect.signature(by_epoch)

    @in_place_of(by_epoch)
    def get_batch_iterator(self: FairseqTask, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, dataset, *args, **kwargs)
        call.apply_defaults()
        asked = call.arguments
        made_every_epoch = (
            not self.can_reuse_epoch_itr(dataset)
            or asked["disable_iterator_cache"]
            or asked.get("update_epoch_batch_itr")
        )
        if made_every_epoch or dataset in self.dataset_to_epoch_iter:
            return by_epoch(*call.args, **call.kwargs)
        epoch, asked["epoch"] = max(asked["epoch"], 1), 1
        iterator = by_epoch(*call.args, **call.kwargs)
        iterator.epoch = epoch
        dataset.set_epoch(epoch)
        return iterator

    FairseqTask.get_batch_iterator = get_batch_iterator


def resume_within_a_pass() -> None:
    """The same for --virtual-epoch-size of translation_multi_simple_epoch.

    A pass through the data is then several epochs, and its order is drawn in the first of them: a
    training that is resumed in a later one draws another. Needed until fairseq's data set draws by
    the first epoch of a pass.
    """
    from fairseq.data.multilingual.sampled_multi_epoch_dataset import SampledMultiEpochDataset

    begin = SampledMultiEpochDataset._next_virtual_epoch
    if is_ours(begin):
        return

    @in_place_of(begin)
    def _next_virtual_epoch(self: SampledMultiEpochDataset, epoch: int) -> None:
        first = epoch - (epoch - 1) % self.num_virtual_epochs
        if self._random_global_indices is None and first != epoch:
            begin(self, first)
        begin(self, epoch)

    SampledMultiEpochDataset._next_virtual_epoch = _next_virtual_epoch


def block_repeated_ngrams() -> None:
    """Let --no-repeat-ngram-size work without fairseq's CUDA extension.

    No wheel has the extension. Without it fairseq compares what it looks for with the end of
    a buffer that has room for the longest hypothesis: with padding, so that it blocks nothing
    (fairseq issues 4709 and 5206). With size 1 it would block nothing either way. Needed until
    the search gives it only what there is so far.
    """
    from fairseq.ngram_repeat_block import NGramRepeatBlock

    NGramRepeatBlock._no_repeat_ngram = _no_repeat_ngram


def _no_repeat_ngram(self, tokens, lprobs, bsz: int, beam_size: int, step: int):  # type: ignore[no-untyped-def]
    """Set to -inf what would complete an n-gram that its hypothesis has already.

    Written for TorchScript, which compiles it with the generator. The symbol that every
    hypothesis begins with is not one that was generated: it may come again, as its end.

    Args:
        tokens: [bsz * beam_size, longest hypothesis], of which ``step`` + 1 are there so far
        lprobs: [bsz * beam_size, V], changed in place
    Returns: lprobs
    """
    size: int = self.no_repeat_ngram_size
    if step + 1 < size:
        return lprobs
    so_far = tokens[:, : step + 1]
    ngrams = so_far.unfold(1, size, 1)  # [bsz * beam_size, step + 2 - size, size]
    repeated = (ngrams[:, :, : size - 1] == so_far[:, step + 2 - size :].unsqueeze(1)).all(-1)
    if size == 1:
        repeated[:, 0] = False
    hypothesis, place = repeated.nonzero().unbind(1)
    lprobs[hypothesis, ngrams[hypothesis, place, size - 1]] = float("-inf")
    return lprobs


def correlate_any_number_of_sentences() -> None:
    """Let --report-pearson-and-spearman survive a batch of one sentence, and several processes.

    fairseq computes all that sentence_prediction reports after every validation batch, too,
    though only what the whole set gives is shown, and scipy refuses a single point. Its main
    branch leaves such a batch out, with the last sentences of the set (see `keep_last_batch`).
    For several processes it would add up lists of predictions. Needed until fairseq's criterion
    says that these cannot be summed, and computes at the end of the set only.
    """
    from fairseq.criterions import sentence_prediction

    if not hasattr(sentence_prediction, "pearson_and_spearman"):
        return  # fairseq 0.12.2 reports no correlations
    criterion = sentence_prediction.SentencePredictionCriterion
    criterion.logging_outputs_can_be_summed = _holds_no_predictions
    sentence_prediction.pearson_and_spearman = pearson_and_spearman


def _holds_no_predictions(self: Any) -> bool:
    return self.training or not self.keep_pred_and_targ


def pearson_and_spearman(preds: numpy.ndarray, labels: numpy.ndarray) -> dict[str, float]:
    """fairseq's, and 0 where a correlation is not defined: one point, or all of one value.

    As Matthews' correlation is in scikit-learn; a NaN would never again be beaten as the best.

    Args:
        preds, labels: [N]
    """
    from scipy.stats import pearsonr, spearmanr  # as late as fairseq does: not all need it

    if min(len(set(preds.tolist())), len(set(labels.tolist()))) < 2:
        return {"pearson": 0.0, "spearmanr": 0.0, "corr": 0.0}
    pearson, spearman = pearsonr(preds, labels)[0], spearmanr(preds, labels)[0]
    return {"pearson": pearson, "spearmanr": spearman, "corr": (pearson + spearman) / 2}


def translate_from_pretrained_bart() -> None:
    """Let --task translation_from_pretrained_bart (mBART) find its arguments.

    It looks for them where tasks had them before they were dataclasses, in ``args``, and stops
    with an AttributeError. Needed until fairseq's task reads ``cfg``, as TranslationTask does.
    """
    from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask

    initialise = TranslationFromPretrainedBARTTask.__init__
    if is_ours(initialise):
        return

    @in_place_of(initialise)
    def __init__(self: Any, args: Any, *dictionaries: Any, **kwargs: Any) -> None:
        self.args = args
        initialise(self, args, *dictionaries, **kwargs)

    TranslationFromPretrainedBARTTask.__init__ = __init__


def train_bart_with_all_keys() -> None:
    """Let BART and mBART be trained with --eval-bleu.

    A task that is to translate makes a generator with its model, and the generator sets BART's
    attention to the encoder up for a beam, in which each sentence stands --beam times in a row:
    the keys of the others are left out. The training that follows has no beam: it stops with a
    RuntimeError, or, where the batch size is a multiple of the beam, takes for each sentence the
    keys of the first of several. So does fairseq-validate, which never sets the model to
    training mode. Here a generator that is made with a model in training mode, as a task makes
    it, searches without that saving, and a model that is set to training mode has no beam any
    more; fairseq-generate and fairseq-interactive have it as before. Needed until fairseq sets
    it for the time of a search.
    """
    from fairseq.models.bart import BARTModel

    train, set_beam_size = BARTModel.train, getattr(BARTModel, "set_beam_size", None)
    if set_beam_size is None or is_ours(train):
        return

    @in_place_of(set_beam_size)
    def unless_training(self: BARTModel, beam: int) -> None:
        if not self.training:
            set_beam_size(self, beam)

    @in_place_of(train)
    def train_without_beam(self: BARTModel, mode: bool = True) -> BARTModel:
        if mode:
            set_beam_size(self, 1)
            vars(self.encoder).pop("reorder_encoder_out", None)  # which set_beam_size has replaced
        return train(self, mode)

    BARTModel.set_beam_size = unless_training
    BARTModel.train = train_without_beam


# what an encoder layer of fairseq 0.12.2 holds a second time, for torch's fast path
FAST_PATH_COPIES = (
    *("in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias"),
    *("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias"),
)


def leave_the_fast_path() -> None:
    """Let fairseq 0.12.2 translate with torch >= 1.13.

    Its encoder hands the layers of a model that was loaded to torch's fast path, without a type
    of the mask, which torch asks for since then: "Mask Type should be defined" (fairseq issues
    4858 and 4899). Its other path, the one of training, gives the same numbers. Its main branch
    has that one only. Needed as long as fairseq 0.12.2 is supported.
    """
    from fairseq.modules.transformer_layer import TransformerEncoderLayerBase as Layer

    initialise = Layer.__init__
    has_fast_path = "_transformer_encoder_layer_fwd" in Layer.forward.__code__.co_names
    if not has_fast_path or is_ours(initialise):
        return

    @in_place_of(initialise)
    def __init__(self: Layer, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.can_use_fastpath = False

    Layer.__init__ = __init__


def drop_copies_for_the_fast_path() -> None:
    """Let fairseq's main branch load the transformers of fairseq 0.12.2.

    Their checkpoints hold `FAST_PATH_COPIES` of every encoder layer: zeros, or copies of the
    weights as they were loaded. 0.12.2 makes them anew whenever it loads; its main branch refuses
    them as unexpected. Needed as long as there are such checkpoints.
    """
    from fairseq.modules.transformer_layer import TransformerEncoderLayerBase as Layer

    if "_load_from_state_dict" in vars(Layer):
        return  # 0.12.2, or done before

    def _load_from_state_dict(self: Layer, state: dict, prefix: str, *args: Any) -> None:
        for name in FAST_PATH_COPIES:
            if not hasattr(self, name):
                state.pop(prefix + name, None)  # of a copy that torch has made
        super(Layer, self)._load_from_state_dict(state, prefix, *args)

    Layer._load_from_state_dict = _load_from_state_dict


# what optimizers keep for each element of a parameter
ELEMENTWISE = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf"),
    *("momentum_buffer", "sum", "square_avg", "acc_delta", "grad_avg"),
}


def refuse_the_optimizer_of_another_model() -> None:
    """Say what to do where an optimizer's state does not fit the model's parameters.

    As where fairseq's main branch is to resume a training of 0.12.2, whose optimizer has
    `FAST_PATH_COPIES`, too. torch speaks of the size of a group; with --fp16, where all parameters
    are one, the first update fails. Needed until fairseq compares them.

    What of an optimizer's state has its parameter's shape goes by the names that torch and fairseq
    give it: others, as the factors of Adafactor, have shapes of their own.
    """
    from fairseq.optim import FairseqOptimizer

    load = FairseqOptimizer.load_state_dict
    if is_ours(load):
        return

    @in_place_of(load)
    def load_state_dict(self: FairseqOptimizer, *args: Any, **kwargs: Any) -> None:
        cause = None
        try:
            load(self, *args, **kwargs)
        except ValueError as error:
            cause = error
        fits = all(
            values[name].shape == parameter.shape
            for parameter, values in self.optimizer.state.items()
            for name in ELEMENTWISE & values.keys()
            if isinstance(values[name], torch.Tensor)
        )
        if cause or not fits:
            raise UsageError(
                "the checkpoint's optimizer has not the parameters of this model (a transformer of "
                "fairseq 0.12.2 has some that later versions have not): give --reset-optimizer to "
                "train on from the checkpoint's model alone"
            ) from cause

    FairseqOptimizer.load_state_dict = load_state_dict


def be_found_twice() -> None:
    """Let --user-dir rdrop_fairseq follow an ``import rdrop_fairseq``.

    fairseq refuses a --user-dir whose module is loaded from another path, and spells
    the path of a package installed beside it as .../fairseq/../rdrop_fairseq.
    """
    package_path = import_module(__package__).__path__
    spelled = os.path.join(os.path.dirname(fairseq.utils.__file__), "..", "rdrop_fairseq")
    is_this_package = os.path.realpath(spelled) in map(os.path.realpath, package_path)
    if spelled not in package_path and is_this_package:
        package_path.append(spelled)


prepare()  # whoever imports this has it applied
