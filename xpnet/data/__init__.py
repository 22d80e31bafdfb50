"""Data: data sets, loaders, splits and preprocessing."""

from xpnet.data.dataset import Dataset, load_digits
from xpnet.data.idx import load_mnist, read_idx
from xpnet.data.loader import DataLoader
from xpnet.data.preprocessing import Standardize
from xpnet.data.split import split

__all__ = ["DataLoader", "Dataset", "Standardize", "load_digits", "load_mnist", "read_idx", "split"]
