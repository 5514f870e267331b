"""R-Drop's loss for any PyTorch code: knows nothing of fairseq."""

from .functions import (
    adaptive_rdrop_loss,
    linear_rdrop_loss,
    rdrop_binary_loss,
    rdrop_loss,
    rdrop_mse_loss,
)
from .reference import RDropLoss, reference_rdrop_loss

__all__ = [
    "RDropLoss",
    "adaptive_rdrop_loss",
    "linear_rdrop_loss",
    "rdrop_binary_loss",
    "rdrop_loss",
    "rdrop_mse_loss",
    "reference_rdrop_loss",
]
