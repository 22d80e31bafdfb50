"""Hebb's rule: it learns AND from bipolar pairs, nothing from zeros, and fails on three inputs."""

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.classic import hebb, mistakes, with_bias
from xpnet.lab import Check, Picture, Result, Table, experiment

BINARY = np.array([[1.0, 1], [1, 0], [0, 1], [0, 0]])
BIPOLAR = 2 * BINARY - 1
THREE = np.array([[1.0, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
ONLY_FIRST = np.array([1.0, -1, -1, -1])


@experiment("S2", "Hebb's rule: AND in binary and bipolar form, and the failure case")
def run() -> Result:
    # core
    def learn(x, target):
        return to_numpy(hebb(with_bias(asarray(x)), asarray(target)))

    binary = learn(BINARY, np.array([1.0, 0, 0, 0]))
    bipolar = learn(BIPOLAR, ONLY_FIRST)
    three = learn(THREE, ONLY_FIRST)
    # end of core
    as_printed = learn(THREE, np.array([-1.0, -1, -1, -1]))
    printed_row = learn(np.array([[1.0, -1]]), np.array([-1.0]))[0]
    half = learn(BINARY, ONLY_FIRST)  # binary inputs, bipolar targets
    lines = np.array([[-w1 / w2, -b / w2] for w1, w2, b in bipolar])  # x2 = slope x1 + offset

    def wrong(x, weights):
        return int(mistakes(with_bias(asarray(x)), asarray(ONLY_FIRST), asarray(weights)))

    def draw(figure):
        for k, axis in enumerate(figure.subplots(1, 4)):
            w1, w2, bias = bipolar[k]
            x = np.array([-2.0, 2.0])
            axis.plot(x, -(w1 * x + bias) / w2)
            axis.scatter(*BIPOLAR.T, c=ONLY_FIRST, cmap="coolwarm", s=80, edgecolors="k", zorder=2)
            axis.scatter(*BIPOLAR[k], s=250, facecolors="none", edgecolors="k")
            axis.set(title=f"after pair {k + 1}", xlim=(-2, 2), ylim=(-2, 2), xlabel="x1", ylabel="x2")

    return Result(
        "Hebb's rule adds target times input: a target 0 teaches nothing, so AND needs -1 and +1, and it "
        "only sums correlations: it misses a separable set of three inputs. Binary inputs with bipolar "
        "targets are not enough, either. Some rows of the tables are damaged in our text of the slides.",
        [
            Check("AND, binary: weights after the last pair", binary[-1], deck="1 1 1", exact=[1, 1, 1]),
            Check("AND, binary: mistakes left", wrong(BINARY, binary[-1]), exact=3),
            Check("binary inputs, bipolar targets: weights in the end", half[-1], exact=[0, 0, -2]),
            Check("binary inputs, bipolar targets: mistakes left", wrong(BINARY, half[-1]), exact=1),
            Check(
                "AND, bipolar: changes by the first row as printed, (1, -1) with target -1",
                printed_row,
                deck="1 1 1",
                exact=[-1, 1, -1],
                kind="text",
                slip="the changes (1, 1, 1) belong to the pair (1, 1) with target 1",
            ),
            Check("AND, bipolar: weights after pair 1", bipolar[0], deck="1 1 1", exact=[1, 1, 1]),
            Check("AND, bipolar: weights after pair 2", bipolar[1], deck="0 2 0", exact=[0, 2, 0]),
            Check(
                "AND, bipolar: line after pair 1, slope and offset", lines[0], deck="-1 -1", exact=[-1, -1]
            ),
            Check("AND, bipolar: line after pair 2, slope and offset", lines[1], deck="0 0", exact=[0, 0]),
            Check("AND, bipolar: line after pair 3, slope and offset", lines[2], deck="-1 1", exact=[-1, 1]),
            Check("AND, bipolar: line after pair 4, slope and offset", lines[3], deck="-1 1", exact=[-1, 1]),
            Check(
                "AND, bipolar: weights after pair 3",
                bipolar[2],
                deck="0 2 0",
                exact=[1, 1, -1],
                kind="text",
                slip="the weights before the update; the line x2 = -x1 + 1 is that of (1, 1, -1)",
            ),
            Check(
                "AND, bipolar: weights after pair 4",
                bipolar[3],
                deck="1 1 -1",
                exact=[2, 2, -2],
                kind="text",
                slip="the weights before the update",
            ),
            Check("AND, bipolar: mistakes left", wrong(BIPOLAR, bipolar[-1]), exact=0),
            Check(
                "three inputs: weights after pair 1",
                three[0],
                deck="0 0 0 0",
                exact=[1, 1, 1, 1],
                kind="text",
                slip="target -1 and weights 0 are printed; the changes (1, 1, 1) belong to target 1",
            ),
            Check("three inputs: weights after pair 2", three[1], deck="0 0 2 0", exact=[0, 0, 2, 0]),
            Check("three inputs: weights after pair 3", three[2], deck="-1 1 1 -1", exact=[-1, 1, 1, -1]),
            Check("three inputs: weights after pair 4", three[-1], deck="0 0 0 -2", exact=[0, 0, 0, -2]),
            Check(
                "three inputs: weights after pair 4 with the printed targets",
                as_printed[-1],
                exact=[-2, -2, -2, -4],
            ),
            Check("three inputs: mistakes left", wrong(THREE, three[-1]), exact=1),
        ],
        [
            Table(
                "AND, bipolar",
                ("x1", "x2", "target", "w1", "w2", "b"),
                [[*x, t, *w] for x, t, w in zip(BIPOLAR, ONLY_FIRST, bipolar, strict=True)],
            ),
            Table(
                "Three inputs",
                ("x1", "x2", "x3", "target", "w1", "w2", "w3", "b"),
                [[*x, t, *w] for x, t, w in zip(THREE, ONLY_FIRST, three, strict=True)],
            ),
        ],
        [Picture("Decision boundary of AND after each pair (circled)", draw, (10, 2.8))],
    )
