"""Pictures: subtract the mean image (AlexNet) or the mean of each channel (VGG)."""

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.data import ChannelMean, MeanImage, Standardize, load_digits
from xpnet.lab import Check, Picture, Result, Table, experiment


def coloured_digits():
    """The digits in three channels: paper of one colour, ink of another, (1797, 3, 8, 8) from 0 to 1."""
    ink = load_digits(flatten=False).x / 16
    paper_colour, ink_colour = (np.reshape(c, (1, 3, 1, 1)) for c in ([0.9, 0.8, 0.5], [0.1, 0.2, 0.6]))
    return (paper_colour + ink * (ink_colour - paper_colour)).astype(np.float32)


@experiment("S1, S5", "image data: the mean image and the mean of each channel")
def run() -> Result:
    host = coloured_digits()
    # core
    train, test = asarray(host[:1500]), asarray(host[1500:])
    image, channels = MeanImage().fit(train), ChannelMean(scale=False).fit(train)
    each = Standardize().fit(train)
    by_image, by_channel = (to_numpy(p.transform(train)) for p in (image, channels))
    # end of core
    rare = np.abs(to_numpy(each.transform(test))).max()  # pixels that are hardly ever inked
    scaled = to_numpy(ChannelMean().fit(train).transform(train))

    def draw(figure):
        axes = figure.subplots(1, 5)
        pictures = [host[0], image.mean, np.broadcast_to(channels.mean[:, None, None], (3, 8, 8))]
        pictures += [by_image[0] / 2 + 0.5, by_channel[0] / 2 + 0.5]
        titles = ["picture", "mean image", "channel means", "minus mean image", "minus channel means"]
        for axis, picture, title in zip(axes, pictures, titles, strict=True):
            axis.imshow(np.clip(picture.transpose(1, 2, 0), 0, 1))
            axis.set_title(title, fontsize="small")
            axis.axis("off")

    mean = host[:1500].astype(np.float64)
    return Result(
        "The mean image has one number a pixel and channel, the channel mean one a channel; both come from "
        "the training set and leave it with mean 0. Dividing each pixel by its own deviation instead blows "
        "up pixels that are nearly constant, such as the corners of the digits.",
        [
            Check("numbers stored: mean image", image.mean.size, exact=3 * 8 * 8),
            Check("numbers stored: channel means", channels.mean.size, deck="3", exact=3),
            Check("mean image", image.mean, exact=mean.mean(axis=0), atol=1e-6),
            Check("channel means", channels.mean, exact=mean.mean(axis=(0, 2, 3)), atol=1e-6),
            Check(
                "largest mean of a pixel after subtracting the mean image",
                np.abs(by_image.mean(axis=0)).max(),
                exact=0.0,
                atol=1e-5,
            ),
            Check(
                "largest mean of a channel after subtracting the channel means",
                np.abs(by_channel.mean(axis=(0, 2, 3))).max(),
                exact=0.0,
                atol=1e-5,
            ),
            Check(
                "variance of the channels after scaling",
                scaled.var(axis=(0, 2, 3)),
                exact=np.ones(3),
                atol=1e-4,
            ),
            Check("pixel by pixel: largest value of the test pictures, in deviations", rare, at_least=10.0),
        ],
        [
            Table(
                "Stored from the training set",
                ["", "shape"],
                [
                    ["mean image", str(image.mean.shape)],
                    ["channel means", str(channels.mean.shape)],
                    ["CIFAR-10's mean image", "(3, 32, 32)"],
                ],
            )
        ],
        [Picture("A digit printed on paper", draw, (9, 2.2))],
    )
