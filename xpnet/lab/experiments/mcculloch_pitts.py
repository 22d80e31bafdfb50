"""McCulloch-Pitts units: a bird that eats blueberries, logic gates, and what one unit cannot do."""

import itertools

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.classic import AND, NOT, OR, XOR, mcculloch_pitts
from xpnet.lab import Check, Picture, Result, Table, experiment

OBJECTS = {"blueberry": (1, 1), "golf ball": (0, 1), "violet": (1, 0), "hot dog": (0, 0)}  # purple, round
PAIRS = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
TABLES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}


@experiment("S2", "McCulloch-Pitts units: blueberry table, AND, OR, NOT; XOR needs two levels")
def run() -> Result:
    purple_round = asarray(np.array(list(OBJECTS.values()), dtype=np.float64))
    eat = to_numpy(mcculloch_pitts(purple_round, weights=[1, 1], threshold=2))

    a, b = asarray(PAIRS[:, 0]), asarray(PAIRS[:, 1])
    other_form = OR(AND(a, NOT(b)), AND(NOT(a), b))

    # every unit on a grid of weights and thresholds: which truth tables come out?
    grid = np.arange(-3, 3.01, 0.5)
    units = [
        tuple(to_numpy(mcculloch_pitts(asarray(PAIRS), [u, v], threshold)).tolist())
        for u, v, threshold in itertools.product(grid, repeat=3)
    ]
    made = {name: units.count(tuple(table)) for name, table in TABLES.items()}

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
            Check("blueberry, golf ball, violet, hot dog: eat", eat, deck=[1, 0, 0, 0]),
            Check("AND", AND(a, b), deck=TABLES["AND"]),
            Check("OR", OR(a, b), deck=TABLES["OR"]),
            Check("NOT of 0, 1", NOT(asarray([0.0, 1.0])), deck=[1, 0]),
            Check("XOR as (x1 + x2)(not x1 + not x2)", XOR(a, b), deck=TABLES["XOR"]),
            Check("XOR as x1 not x2 + not x1 x2", other_form, deck=TABLES["XOR"]),
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
