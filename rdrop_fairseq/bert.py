"""--arch bert: fairseq's RoBERTa with the LayerNorm eps of BERT (--layer-norm-eps).

fairseq fixes eps at 1e-5, as RoBERTa was trained; BERT and its like have 1e-12. With the
wrong one the hidden states of MiniLM-L6 are off by up to 4e-3, with the right one by 7e-6.
``scripts/convert_roberta.py`` makes checkpoints for it.
"""

from argparse import ArgumentParser, Namespace

from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import base_architecture
from fairseq.tasks import FairseqTask
from torch import nn

BERT_EPS = 1e-12


@register_model("bert")
class BertModel(RobertaModel):
    """RoBERTa (post-norm transformer encoder, classification heads) with another eps."""

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        RobertaModel.add_args(parser)
        parser.add_argument(
            "--layer-norm-eps",
            type=float,
            help=f"eps of every LayerNorm; default {BERT_EPS:g}, that of BERT",
        )

    @classmethod
    def build_model(cls, args: Namespace, task: FairseqTask) -> "BertModel":
        model = super().build_model(args, task)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm) or type(module).__name__ == "FusedLayerNorm":
                module.eps = args.layer_norm_eps
        return model


@register_model_architecture("bert", "bert")
def bert_architecture(args: Namespace) -> None:
    args.layer_norm_eps = getattr(args, "layer_norm_eps", None) or BERT_EPS
    base_architecture(args)
