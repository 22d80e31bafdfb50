"""What PyTorch has under `torch.nn.utils`: sequences of several lengths, in `xpnet.nn.utils.rnn`."""

from xpnet.nn.utils import rnn

__all__ = ["rnn"]
