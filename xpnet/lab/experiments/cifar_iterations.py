"""S1's outputs during training: rate 0.05 ends in nan, and the next run goes down to 1.50."""

from itertools import islice

import numpy as np

from xpnet import manual_seed
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.cifar import Pictures, accuracy, descend, first_loss, network

NAN = [2.303033, *[np.nan] * 9]
DOWN = [2.302811, 1.987349, 1.809840, 1.734420, 1.615647, 1.596564, 1.730853, 1.515625, 1.427454, 1.501289]
SLIDE = {(5e-2, 0.6): NAN, (1e-3, 0.3): DOWN}  # rate and penalty; the slide does not print the second's


@experiment(
    "S1", "printouts: rate 0.05 with penalty 0.6, nan; the next, 2.302811 to 1.501289", on_cifar10=True
)
def run(data: Pictures) -> Result:
    losses, scores = {}, {}
    # core
    for rate, penalty in SLIDE:
        manual_seed(0)
        model = network()
        with np.errstate(all="ignore"):
            updates = descend(model, data.training, rate, penalty, decay=0.95, batch=200)
            losses[rate, penalty] = [loss.item() for loss, _, _ in islice(updates, 1000)]
            scores[rate, penalty] = accuracy(model, data.validation)
    # end of core
    far, good = SLIDE
    shown = {key: np.array(values[::100]) for key, values in losses.items()}
    finite = int(np.isfinite(losses[far]).sum())
    implied = (SLIDE[good][0] - np.log(10)) / (first_loss(1.0) - np.log(10))

    def draw(figure):
        axis = figure.subplots()
        axis.plot(losses[good], lw=0.5, c="C1", label="ours, every update")
        axis.plot(range(0, 1000, 100), SLIDE[good], "o--", c="C0", label="S1")
        axis.set(xlabel="iteration", ylabel="loss")
        axis.legend()

    return Result(
        "The first loss is ln 10 + lambda/2 times the squares of the weights, and S1's two first losses "
        "tell what the slide does not print: weights of deviation 1e-4, and for the second run lambda = "
        f"{implied:.2f}, the grid's next trial after 0.05 and 0.6, rate 1e-3 and 0.3. With these both "
        f"printouts come out: at rate 0.05 the loss is finite for {finite} updates, nan from then on.",
        [
            Check(
                "first loss, lambda 0.6",
                shown[far][0],
                deck="2.303033",
                exact=first_loss(0.6),
                rtol=1e-5,
                noise=1e-5,
            ),
            Check(
                "first loss, lambda 0.3",
                shown[good][0],
                deck="2.302811",
                exact=first_loss(0.3),
                rtol=1e-5,
                noise=1e-5,
            ),
            Check("rate 0.05: lines that are nan", np.isnan(shown[far]), exact=np.isnan(SLIDE[far])),
            Check(
                "rate 1e-3: mean distance to S1's lines",
                np.abs(shown[good] - SLIDE[good]).mean(),
                at_most=0.15,
            ),
            Check(
                "rate 1e-3: mean of lines 600 to 900 (S1: 1.544)",
                shown[good][6:].mean(),
                at_least=1.4,
                at_most=1.7,
            ),
            Check("rate 1e-3: validation accuracy", scores[good], at_least=0.44),
        ],
        [
            Table(
                f"Rate {rate:g}, penalty {penalty:g}; validation accuracy {scores[rate, penalty]:.3f}",
                ("iteration", "loss: S1", "ours"),
                [
                    [k, f"{a:.6f}", f"{b:.6f}"]
                    for k, a, b in zip(range(0, 1000, 100), lines, shown[rate, penalty], strict=True)
                ],
            )
            for (rate, penalty), lines in SLIDE.items()
        ],
        [Picture("Rate 1e-3, penalty 0.3: S1's lines on our losses", draw, (8, 3.5))],
    )
