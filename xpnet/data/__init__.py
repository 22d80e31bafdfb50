"""Data: data sets and their readers, loaders, splits, preprocessing, augmentation and features."""

from xpnet.data.arrays import Arrays
from xpnet.data.augment import (
    Augmentation,
    ColorPCA,
    Compose,
    Cutout,
    Draw,
    Mixup,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomZoom,
)
from xpnet.data.cifar import load_cifar10
from xpnet.data.columns import Columns
from xpnet.data.dataset import Dataset, ReuseWarning, load_digits
from xpnet.data.features import hog
from xpnet.data.folder import ImageFolder
from xpnet.data.frame import Frame, as_frame, read_frame
from xpnet.data.idx import read_idx
from xpnet.data.loader import DataLoader
from xpnet.data.mnist import load_mnist
from xpnet.data.pipeline import Pipeline
from xpnet.data.preprocessing import ChannelMean, MeanImage, MinMax, Standardize
from xpnet.data.resample import resize, resize_shorter
from xpnet.data.samplers import ClassBalanced, Curriculum, HardExamples, Interleaved
from xpnet.data.shards import Shards, ShardShuffle
from xpnet.data.split import k_fold, split
from xpnet.data.stream import Stream, StreamLoader
from xpnet.data.stream_workers import worker_info
from xpnet.data.table import load_csv, load_npz
from xpnet.data.views import five_crop, flips, multi_scale, predict_views, ten_crop
from xpnet.data.vocabulary import Vocabulary
from xpnet.data.whitening import ZCA, PCAWhiten, patch_whitening

__all__ = [
    "ZCA",
    "Arrays",
    "Augmentation",
    "ChannelMean",
    "ClassBalanced",
    "ColorPCA",
    "Columns",
    "Compose",
    "Curriculum",
    "Cutout",
    "DataLoader",
    "Dataset",
    "Draw",
    "Frame",
    "HardExamples",
    "ImageFolder",
    "Interleaved",
    "MeanImage",
    "MinMax",
    "Mixup",
    "PCAWhiten",
    "Pipeline",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomResizedCrop",
    "RandomZoom",
    "ReuseWarning",
    "ShardShuffle",
    "Shards",
    "Standardize",
    "Stream",
    "StreamLoader",
    "Vocabulary",
    "as_frame",
    "five_crop",
    "flips",
    "hog",
    "k_fold",
    "load_cifar10",
    "load_csv",
    "load_digits",
    "load_mnist",
    "load_npz",
    "multi_scale",
    "patch_whitening",
    "predict_views",
    "read_frame",
    "read_idx",
    "resize",
    "resize_shorter",
    "split",
    "ten_crop",
    "worker_info",
]
