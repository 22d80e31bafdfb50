"""Update rules. Each is the formula of its paper in the form of torch.optim, and gives the same numbers.

Each rule is a file: its formula, which updates one span in place and is the reference for the fused kernels,
and the class that declares its hyperparameters and moments.
"""

from xpnet.optim.adadelta import Adadelta, adadelta_step
from xpnet.optim.adagrad import Adagrad, adagrad_step
from xpnet.optim.adam import Adam, AdamW, adam_step
from xpnet.optim.rmsprop import RMSprop, rmsprop_step
from xpnet.optim.sgd import SGD, sgd_step

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "RMSprop",
    "adadelta_step",
    "adagrad_step",
    "adam_step",
    "rmsprop_step",
    "sgd_step",
]
