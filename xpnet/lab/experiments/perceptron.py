"""The perceptron: it learns whatever a plane separates, within (R / gamma)^2 mistakes, and never XOR."""

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.classic import mistake_bound, mistakes, perceptron, with_bias
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.experiments.hebb import BIPOLAR, ONLY_FIRST, THREE

# by hand, no mistakes; and (R / gamma)^2 = R^2 |w|^2 / min (t w.x)^2
SEPARATORS = {"AND": ([1.0, 1, -1], 3 * 3 / 1), "Hebb's failure": ([1.0, 1, 1, -2], 4 * 7 / 1)}
TASKS = {
    "AND": (BIPOLAR, ONLY_FIRST),
    "Hebb's failure": (THREE, ONLY_FIRST),
    "XOR": (BIPOLAR, np.array([-1.0, 1, 1, -1])),
}


@experiment("S2", "perceptron: AND, Hebb's failure set, XOR; mistakes at most (R/gamma)^2; error surface")
def run() -> Result:
    checks, rows, traces = [], [], {}
    # core
    for name, (x, target) in TASKS.items():
        x, target = with_bias(asarray(x)), asarray(target)
        runs = [perceptron(x, target, max_updates=30) for _ in range(50)]  # another random order each
        traces[name] = to_numpy(runs[0].weights)
        most = max(run.updates for run in runs)
        converged = np.mean([run.converged for run in runs])
        fewest = min(to_numpy(mistakes(x, target, run.weights)).min() for run in runs)
        # end of core
        checks.append(Check(f"{name}: share of 50 runs that converge", converged, exact=float(name != "XOR")))
        checks.append(Check(f"{name}: fewest mistakes of any weights", fewest, exact=int(name == "XOR")))
        if name in SEPARATORS:
            separator, bound = SEPARATORS[name]
            found = mistake_bound(x, target, asarray(np.array(separator)))
            checks.append(Check(f"{name}: (R / gamma)^2", found, exact=bound, rtol=1e-6))
            # from w = 0 every sample is a mistake
            first = {tuple(to_numpy(run.weights)[:2][-1]) for run in runs}
            samples = to_numpy(x) * to_numpy(target)[:, None]
            what = f"{name}: different first corrections in 50 runs, all t x"
            checks.append(Check(what, sorted(first), exact=sorted(map(tuple, samples))))
            checks.append(Check(f"{name}: most updates in 50 runs", most, at_most=bound))
            rows.append([name, most, bound])

    x, target = with_bias(asarray(BIPOLAR)), asarray(ONLY_FIRST)
    side = np.linspace(-3, 3, 61)
    w1, w2 = np.meshgrid(side, side)
    planes = np.stack([w1.ravel(), w2.ravel(), -np.ones(w1.size)], axis=1)  # bias -1
    surface = to_numpy(mistakes(x, target, asarray(planes))).reshape(w1.shape)
    # AND with bias -1: right for w1 + w2 >= 1 and w1 - w2 < 1 and w2 - w1 < 1 and w1 + w2 > -1
    solved = (w1 + w2 >= 1) & (abs(w1 - w2) < 1)
    checks.append(
        Check("AND, bias -1: weights of the grid without a mistake", (surface == 0).sum(), exact=solved.sum())
    )

    def draw_surface(figure):
        axis = figure.add_subplot(projection="3d")
        axis.plot_surface(w1, w2, surface, cmap="viridis", rcount=31, ccount=31)
        axis.set(xlabel="w1", ylabel="w2", zlabel="mistakes")

    def draw_learning(figure):
        axis = figure.subplots()
        for name, trace in traces.items():
            data, wanted = TASKS[name]
            margins = wanted[:, None] * (to_numpy(with_bias(asarray(data))) @ trace.T)
            axis.plot((margins <= 0).sum(axis=0), label=name)  # as the rule counts: w.x = 0 is a mistake
        axis.set(xlabel="update", ylabel="mistakes, with w.x = 0")
        axis.legend()

    return Result(
        "The perceptron corrects one random mistake at a time; if a plane separates the classes it is done "
        "after at most (R / gamma)^2 corrections, on Hebb's failure set too; on XOR it never "
        "ends. Two conventions meet: the slide's answer for w.x = 0 is the positive class, and its "
        "algorithm counts w.x = 0 as a mistake for both; the surface has the first, the curves of learning "
        "the second. The error surface is made of flat steps: it has no gradient to follow.",
        checks,
        [Table("Updates", ("task", "most in 50 runs", "(R/gamma)^2"), rows)],
        [
            Picture("Mistakes on AND over the weights, bias -1", draw_surface, (6, 4)),
            Picture("Mistakes while learning", draw_learning, (6, 3)),
        ],
    )
