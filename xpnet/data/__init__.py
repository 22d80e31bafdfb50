"""Data: data sets and their readers, loaders, splits and preprocessing."""

from xpnet.data.cifar import load_cifar10
from xpnet.data.dataset import Dataset, ReuseWarning, load_digits
from xpnet.data.folder import ImageFolder
from xpnet.data.idx import load_mnist, read_idx
from xpnet.data.loader import DataLoader
from xpnet.data.pipeline import Pipeline
from xpnet.data.preprocessing import ChannelMean, MeanImage, MinMax, Standardize
from xpnet.data.split import split
from xpnet.data.table import load_csv, load_npz
from xpnet.data.whitening import ZCA, PCAWhiten

__all__ = [
    "ZCA",
    "ChannelMean",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "MeanImage",
    "MinMax",
    "PCAWhiten",
    "Pipeline",
    "ReuseWarning",
    "Standardize",
    "load_cifar10",
    "load_csv",
    "load_digits",
    "load_mnist",
    "load_npz",
    "read_idx",
    "split",
]
