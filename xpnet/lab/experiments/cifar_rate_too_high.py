"""S2's runs at 1e6 and 3e-3: nan and inf."""

from itertools import islice

import numpy as np

from xpnet import manual_seed, to_numpy
from xpnet.lab import Check, Result, Table, experiment
from xpnet.lab.cifar import Pictures, descend, network, train
from xpnet.lab.printouts import beside, curves

NAN = np.array([[np.nan, 0.091, 0.087], [np.nan, 0.095, 0.087], [np.nan, 0.100, 0.087]])
INF = np.array(
    [
        [2.186654, 0.308, 0.306],
        [2.176230, 0.330, 0.350],
        [1.942257, 0.376, 0.352],
        [1.827868, 0.329, 0.310],
        [np.inf, 0.128, 0.128],
        [np.inf, 0.144, 0.147],
    ]
)


@experiment("S2", "printouts: rate 1e6, cost nan; rate 3e-3, cost inf", on_cifar10=True)
def run(data: Pictures) -> Result:
    # core
    manual_seed(0)
    far = train(network(), data, len(NAN), rate=1e6, penalty=1e-6)
    manual_seed(0)
    high = train(network(), data, len(INF), rate=3e-3, penalty=1e-6)
    # end of core
    manual_seed(0)
    with np.errstate(all="ignore"):
        first = [loss.item() for loss, _, _ in islice(descend(network(), data.training, 1e6, 1e-6), 6)]
    good = train(network(), data, 2, rate=1e-3, penalty=1e-6)

    _, by_slide, _, values = np.array(high).T
    exploded = ~np.isfinite(by_slide)
    start = int(np.argmax(exploded))
    airplanes = float(np.mean(to_numpy(data.validation.y) == 0))
    return Result(
        "At 1e6 the weights overflow within a few updates and every score is nan. numpy's argmax of ten nan "
        "is the first, class 0, so the validation accuracy is the share of airplanes: a constant like the "
        "slide's 0.087 is a sign of it. At 3e-3 the network first learns, better than at 1e-6, and then "
        f"explodes, ours in epoch {start + 1}, the slide's in epoch 5. inf is the slide's formula: the "
        "softmax of the right class rounds to 0 and its log is -inf; computed from the scores the cost is "
        "large, and still a number.",
        [
            Check("rate 1e6: epochs whose cost is nan", np.isnan([line.cost for line in far]).sum(), exact=3),
            Check(
                "rate 1e6: validation accuracy, the share of class 0 in ours (S2: 0.087 in its own)",
                [line.validation for line in far],
                exact=[airplanes] * 3,
            ),
            Check("rate 1e6: finite costs among the first six updates", np.isfinite(first).sum(), at_most=4),
            Check(
                "rate 3e-3: best validation accuracy before (S2: 0.352)",
                np.max(values[:start]),
                at_least=0.25,
            ),
            Check("rate 3e-3: epoch whose cost is not finite (S2: 5)", start + 1, at_least=2, at_most=6),
            Check("rate 3e-3: validation accuracy of epoch 6 (S2: 0.147)", values[-1], at_most=0.2),
            Check("rate 1e-3: cost of epoch 2, for comparison", good[-1].cost, at_most=2.1),
        ],
        [
            beside("S2's printout at 1e6", NAN, far),
            beside("S2's printout at 3e-3", INF, high),
            Table("Rate 1e6: cost of the first updates", ("update", "cost"), list(enumerate(first, 1))),
        ],
        [curves("Rate 3e-3 (what is not finite is not drawn)", INF, high)],
    )
