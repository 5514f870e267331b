"""--task sequence_tagging: a label for every word of a sentence (entities, parts of speech)."""

import logging
import os
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
from fairseq.data import (
    AppendTokenDataset,
    BaseWrapperDataset,
    FairseqDataset,
    IdDataset,
    NestedDictionaryDataset,
    NumelDataset,
    NumSamplesDataset,
    OffsetTokensDataset,
    PrependTokenDataset,
    RightPadDataset,
    SortDataset,
    data_utils,
)
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, build_model
from fairseq.tasks import register_task
from fairseq.tasks.sentence_prediction import SentencePredictionTask
from omegaconf import II, MISSING, DictConfig, open_dict
from torch import Tensor

from ..errors import UsageError
from ..labels import check_num_classes, label_names
from ..token_head import register_token_head

logger = logging.getLogger(__name__)


@dataclass
class SequenceTaggingConfig(FairseqDataclass):
    data: str = field(
        default=MISSING,
        metadata={
            "help": "folder with input0/ and label/, made by fairseq-preprocess --only-source: "
            "pieces of the encoder, and as many symbols a line: a word's label where the word "
            "begins, <pad> where it goes on"
        },
    )
    num_classes: int = field(
        default=-1,
        metadata={"help": "number of labels; default -1: those of label/dict.txt"},
    )
    init_token: Optional[int] = field(  # noqa: UP045  (fairseq's parser knows this form)
        default=None,
        metadata={
            "help": "index of a token to put before each sentence, 0 for RoBERTa's <s> and BERT's "
            "[CLS]; default: none"
        },
    )
    max_positions: int = field(
        default=512,
        metadata={
            "help": "tokens of the longest sentence, as many as the encoder has positions for; "
            "longer ones are cut after the last word that fits; default 512"
        },
    )
    classification_head_name: str = field(
        default="sequence_tagging_head",
        metadata={"help": "name of the model's head; default sequence_tagging_head"},
    )
    seed: int = II("common.seed")


@register_task("sequence_tagging", dataclass=SequenceTaggingConfig)
class SequenceTaggingTask(SentencePredictionTask):
    """fairseq's sentence_prediction with a label for each word in place of one for each sentence.

    ``sample["target"]`` is int64 [B, T], T tokens as in ``sample["net_input"]["src_tokens"]``:
    the class of a word at its first piece, ``ignore_index`` everywhere else;
    ``sample["nwords"]`` is the number of words.
    """

    @classmethod
    def setup_task(cls, cfg: SequenceTaggingConfig, **kwargs: object) -> "SequenceTaggingTask":
        """Read the dictionaries.

        Raises:
            UsageError: one is missing, or --num-classes is not the number of labels.
        """
        dictionaries = []
        for name in ("input0", "label"):
            path = os.path.join(cfg.data, name, "dict.txt")
            if not os.path.isfile(path):
                raise UsageError(
                    f"{path} is not there: --task sequence_tagging needs a folder with input0/ and "
                    "label/, each made by fairseq-preprocess --only-source"
                )
            dictionaries.append(cls.load_dictionary(path))
            logger.info(f"[{name}] dictionary: {len(dictionaries[-1])} types")
        if cfg.num_classes == -1:
            cfg.num_classes = len(label_names(dictionaries[1]))
        check_num_classes(cfg.num_classes, dictionaries[1], cfg.data)
        return cls(cfg, *dictionaries)

    @property
    def ignore_index(self) -> int:
        """What targets are where no word begins: <pad> with the offset of the classes."""
        return self.label_dictionary.pad() - self.label_dictionary.nspecial

    def class_names(self) -> list[str]:
        """The label of each class."""
        return label_names(self.label_dictionary)

    def load_dataset(self, split: str, combine: bool = False, **kwargs: object) -> FairseqDataset:
        """Load a split.

        Raises:
            UsageError: it is not there, or a row's labels do not fit its pieces.
        """
        folders = {name: os.path.join(self.cfg.data, name, split) for name in ("input0", "label")}
        pieces, labels = (
            data_utils.load_indexed_dataset(path, dictionary, combine=combine)
            for path, dictionary in zip(
                folders.values(), (self.source_dictionary, self.label_dictionary), strict=True
            )
        )
        for name, lines in (("input0", pieces), ("label", labels)):
            if lines is None:
                raise UsageError(
                    f"{folders[name]}.bin is not there: prepare the data with fairseq-preprocess, "
                    "or name the splits that there are (--train-subset, --valid-subset)"
                )
        lengths = self._lengths(split, pieces, labels, folders)
        src_tokens = self._framed(pieces, lengths, self.cfg.init_token, self.dictionary.eos())
        defined = {
            "id": IdDataset(),
            "net_input": {
                "src_tokens": RightPadDataset(src_tokens, pad_idx=self.source_dictionary.pad()),
                "src_lengths": NumelDataset(src_tokens, reduce=False),
            },
            "nsentences": NumSamplesDataset(),
            "ntokens": NumelDataset(src_tokens, reduce=True),
        }
        ignored = self.label_dictionary.pad()
        init_token = None if self.cfg.init_token is None else ignored
        targets = self._framed(labels, lengths, init_token, ignored)
        classes = OffsetTokensDataset(targets, offset=-self.label_dictionary.nspecial)
        defined["target"] = RightPadDataset(classes, pad_idx=self.ignore_index)
        defined["nwords"] = NumelDataset(WithoutToken(targets, ignored), reduce=True)
        shuffle = np.random.default_rng(self.cfg.seed).permutation(len(src_tokens))
        # sentences of about the same length share a batch, as in translation
        self.datasets[split] = SortDataset(
            NestedDictionaryDataset(defined, sizes=[src_tokens.sizes]),
            sort_order=[shuffle, src_tokens.sizes],
        )
        return self.datasets[split]

    def _framed(
        self, dataset: FairseqDataset, lengths: np.ndarray, first: int | None, last: int
    ) -> FairseqDataset:
        return AppendTokenDataset(PrependTokenDataset(Shortened(dataset, lengths), first), last)

    def _lengths(
        self,
        split: str,
        pieces: FairseqDataset,
        labels: FairseqDataset,
        paths: dict[str, str],
    ) -> np.ndarray:
        """How many pieces of each row are kept: whole words, as many as fit."""
        most = self.cfg.max_positions - 1 - (self.cfg.init_token is not None)
        lengths = np.array(pieces.sizes) - 1  # without fairseq's </s>
        if not lengths.all():
            row = int(lengths.argmin()) + 1
            raise UsageError(f"{paths['input0']}: row {row} is empty: leave it out of both files")
        if len(labels) != len(pieces):
            raise UsageError(
                f"{paths['label']} has {len(labels)} rows, {paths['input0']} has {len(pieces)}: "
                "they must match row by row"
            )
        words_cut = rows_cut = 0
        for row, length in enumerate(lengths):
            begins = self._word_beginnings(
                labels[row][:-1], length, f"{paths['label']}: row {row + 1}"
            )
            if length > most:
                fits = begins[: most + 1].nonzero()[-1].item()
                if not fits:
                    raise UsageError(
                        f"{paths['input0']}: the first word of row {row + 1} has more than {most} "
                        "pieces: leave the row out, or give a larger --max-positions if the "
                        "encoder has them"
                    )
                lengths[row] = fits
                words_cut += int(begins[fits:].sum())
                rows_cut += 1
        if rows_cut:
            logger.info(
                f"{split}: {rows_cut} of {len(lengths)} sentences have more than "
                f"{self.cfg.max_positions} tokens (--max-positions): {words_cut} words at their "
                "ends are left out"
            )
        return lengths

    def _word_beginnings(self, labels: Tensor, length: int, where: str) -> Tensor:
        """Whether a word begins at a piece; ``labels`` are checked."""
        if len(labels) != length:
            raise UsageError(
                f"{where} has {len(labels)} labels for {length} pieces: expected one a piece, "
                "<pad> for the pieces that go on with a word"
            )
        begins = labels.ne(self.label_dictionary.pad())
        if not begins[0]:
            raise UsageError(f"{where} begins with <pad>: expected the label of the first word")
        unknown = begins & labels.lt(self.label_dictionary.nspecial)
        if unknown.any():
            place = int(unknown.nonzero()[0])
            word = int(begins[: place + 1].sum())
            raise UsageError(
                f"{where} has {self.label_dictionary[labels[place]]} for word {word} where one of "
                f"the labels {', '.join(self.class_names())} of dict.txt was expected (<unk>: a "
                "label that the training data do not have): prepare the data again without that row"
            )
        return begins

    def build_model(self, cfg: object, from_checkpoint: bool = False) -> BaseFairseqModel:
        """An encoder with a head for every token.

        Raises:
            UsageError: it is not RoBERTa or bert.
        """
        if isinstance(cfg, DictConfig):
            with open_dict(cfg):
                cfg.max_positions = self.cfg.max_positions
        else:
            cfg.max_positions = self.cfg.max_positions  # type: ignore[attr-defined]
        model = build_model(cfg, self, from_checkpoint)
        register_token_head(model, self.cfg.classification_head_name, self.cfg.num_classes)
        return model


class Shortened(BaseWrapperDataset):
    """The first ``sizes[i]`` tokens of the i-th item."""

    def __init__(self, dataset: FairseqDataset, sizes: np.ndarray) -> None:
        super().__init__(dataset)
        self._sizes = sizes

    def __getitem__(self, index: int) -> Tensor:
        return self.dataset[index][: self._sizes[index]]

    @property
    def sizes(self) -> np.ndarray:
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return self._sizes[index]

    def size(self, index: int) -> int:
        return self._sizes[index]


class WithoutToken(BaseWrapperDataset):
    """Each item without a token."""

    def __init__(self, dataset: FairseqDataset, token: int) -> None:
        super().__init__(dataset)
        self.token = token

    def __getitem__(self, index: int) -> Tensor:
        item = self.dataset[index]
        return item[item.ne(self.token)]
