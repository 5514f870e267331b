"""A --user-dir: rdrop_fairseq, where fairseq's all_gather_list needs no GPU.

It sends what cannot be added up, such as lists of predictions, in CUDA tensors and pinned
memory, whatever the backend. Here they are plain tensors; nothing else is changed.
"""

import torch

import rdrop_fairseq  # noqa: F401  (registers the criteria)

torch.cuda.ByteTensor = torch.ByteTensor
torch.Tensor.pin_memory = lambda self: self
