"""McCulloch-Pitts units: a bird that eats blueberries, logic gates, and what one unit cannot do."""

import itertools

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.classic import AND, NOT, OR, XOR, mcculloch_pitts
from xpnet.lab import Check, Picture, Result, Table, experiment

OBJECTS = {"blueberry": (1, 1), "golf ball": (0, 1), "violet": (1, 0), "hot dog": (0, 0)}  # purple, round
PAIRS = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
TABLES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}


def is_xor(inputs, weights, threshold):
    return to_numpy(mcculloch_pitts(asarray(inputs), weights, threshold)).tolist() == TABLES["XOR"]


@experiment("S2", "McCulloch-Pitts units: blueberry table, AND, OR, NOT; XOR needs two levels")
def run() -> Result:
    # core
    purple_round = asarray(np.array(list(OBJECTS.values()), dtype=np.float64))
    eat = to_numpy(mcculloch_pitts(purple_round, weights=[1, 1], threshold=2))

    a, b = asarray(PAIRS[:, 0]), asarray(PAIRS[:, 1])
    other_form = OR(AND(a, NOT(b)), AND(NOT(a), b))

    # the second unit takes x1 + x2 - 2 AND(x1, x2)
    both = AND(a, b)
    triple = asarray(np.stack([PAIRS[:, 0], PAIRS[:, 1], to_numpy(both)], axis=1))
    two_units = mcculloch_pitts(triple, [1, 1, -2], 1)
    # end of core

    # every unit on a grid of weights and thresholds: which truth tables come out?
    grid = np.arange(-3, 3.01, 0.5)
    units = [
        tuple(to_numpy(mcculloch_pitts(asarray(PAIRS), [u, v], threshold)).tolist())
        for u, v, threshold in itertools.product(grid, repeat=3)
    ]
    made = {name: units.count(tuple(table)) for name, table in TABLES.items()}

    # level by level: the output unit sees only hidden units, as many truth tables as there are on the grid
    hidden = [np.array(table) for table in sorted(set(units))]
    fewest = 1 + next(
        n
        for n in (1, 2)
        if any(
            is_xor(np.stack(chosen, axis=1), weights, threshold)
            for chosen in itertools.combinations(hidden, n)
            for weights in itertools.product((-1, 1), repeat=n)
            for threshold in (-1, 0, 1, 2)
        )
    )

    def draw(figure):
        for axis, (name, table) in zip(figure.subplots(1, 3), TABLES.items(), strict=True):
            axis.scatter(*PAIRS.T, c=table, cmap="coolwarm", s=120, edgecolors="k", zorder=2)
            for offset in {"AND": [1.5], "OR": [0.5], "XOR": [0.5, 1.5]}[name]:
                axis.plot([-0.5, 1.5], [offset + 0.5, offset - 1.5], "k--")  # in1 + in2 = offset
            axis.set(title=name, xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xlabel="in1", ylabel="in2")

    return Result(
        "A McCulloch-Pitts unit draws one line between the inputs it answers with 1 and the others; many "
        "weights and thresholds draw the same one. XOR needs two lines, so two levels of units.",
        [
            Check("blueberry, golf ball, violet, hot dog: eat", eat, deck="1 0 0 0", exact=[1, 0, 0, 0]),
            Check("AND", AND(a, b), deck="0 0 0 1", exact=TABLES["AND"]),
            Check("OR", OR(a, b), deck="0 1 1 1", exact=TABLES["OR"]),
            Check("NOT of 0, 1", NOT(asarray([0.0, 1.0])), deck="1 0", exact=[1, 0]),
            Check("XOR as (x1 + x2)(not x1 + not x2)", XOR(a, b), deck="0 1 1 0", exact=TABLES["XOR"]),
            Check("XOR as x1 not x2 + not x1 x2", other_form, exact=TABLES["XOR"]),
            Check(
                "XOR with two units, the second of which sees the inputs, too", two_units, exact=TABLES["XOR"]
            ),
            Check(
                "units for XOR if each sees one level only",
                fewest,
                deck="2",
                exact=3,
                kind="reading",
                slip="two are enough if the second also sees the inputs: weights 1, 1, -2 and threshold 1",
            ),
            Check("single units on the grid that compute XOR", made["XOR"], exact=0),
            Check("single units on the grid that compute AND", made["AND"], at_least=1),
            Check("single units on the grid that compute OR", made["OR"], at_least=1),
        ],
        [
            Table(
                "Should the bird eat it?",
                ("object", "purple", "round", "eat"),
                [[n, *f, e] for (n, f), e in zip(OBJECTS.items(), eat, strict=True)],
            ),
            Table(f"Single units out of {len(units)} on the grid", ("gate", "units"), list(made.items())),
        ],
        [Picture("One line separates AND and OR, XOR needs two", draw, (8, 3))],
    )
