"""A --user-dir for the tests of distributed training: --criterion rdrop_masks_of_batch.

It is --criterion rdrop, but for the random numbers: fairseq seeds them once an update, in
every process with the same number, so that a batch's dropout masks depend on whether it is
the first or the second of its process. Here they are seeded from the batch. The masks are
still torch's own, and those of R-Drop's passes differ from each other.

With KILL_RANK_1_AT=N in the environment, the process of rank 1 gets SIGKILL, as from the
kernel when memory runs out, when its N-th batch arrives.
"""

import os
import signal

import torch
from fairseq.criterions import register_criterion

from rdrop_fairseq.criterions.rdrop import RDropCriterion, RDropCriterionConfig


@register_criterion("rdrop_masks_of_batch", dataclass=RDropCriterionConfig)
class RDropMasksOfBatch(RDropCriterion):
    batches = 0

    def forward(self, model, sample, reduce=True):
        if model.training:
            self.batches += 1
            if os.environ.get("RANK") == "1" and os.environ.get("KILL_RANK_1_AT") == str(
                self.batches
            ):
                os.kill(os.getpid(), signal.SIGKILL)
            torch.manual_seed(sample["id"].sum().item())
        return super().forward(model, sample, reduce)
