"""Random search against a grid, and why learning rates are drawn in log space."""

import numpy as np

from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.search import GridSearch, RandomSearch, Space, loguniform, search, uniform

TRIALS, WIDTHS, REPEATS, RATES = 9, (0.05, 0.1, 0.2), 200, 1000


@experiment("S1, S2, S4", "random search instead of grid search; log-scale search")
def run() -> Result:
    # only the first parameter matters: a run is good if it falls into an interval of some width
    # core
    space = Space({"important": uniform(0, 1), "unimportant": uniform(0, 1)})
    grid = GridSearch(3).settings(space)
    draws = [[space.sample(seed, k) for k in range(TRIALS)] for seed in range(REPEATS)]
    starts = {width: (np.arange(REPEATS) + 0.5) / REPEATS * (1 - width) for width in WIDTHS}
    hits = lambda points, a, width: any(a <= p["important"] < a + width for p in points)
    by_random = [np.mean([hits(d, a, w) for d, a in zip(draws, starts[w], strict=True)]) for w in WIDTHS]
    by_grid = [np.mean([hits(grid, a, w) for a in starts[w]]) for w in WIDTHS]
    # end of core
    # the grid has its points at 0, 1/2 and 1, of which an interval of width w meets 1/2 for w of 1 - w starts
    exact_grid = [w / (1 - w) for w in WIDTHS]
    exact_random = [1 - (1 - w) ** TRIALS for w in WIDTHS]

    # one search each, on a score with a narrow peak in the parameter that matters
    score = lambda params, trial: float(np.exp(-(((params["important"] - 0.3) / 0.1) ** 2)))
    best = {
        name: search(score, space, s).best.score
        for name, s in (("grid", GridSearch(3)), ("random", RandomSearch(TRIALS)))
    }

    # 10^U(-6, -3): each decade gets a third; drawn evenly, nine tenths of the rates are above 1e-4
    rates = {
        "log": [Space({"lr": loguniform(1e-6, 1e-3)}).sample(0, k)["lr"] for k in range(RATES)],
        "even": [Space({"lr": uniform(1e-6, 1e-3)}).sample(0, k)["lr"] for k in range(RATES)],
    }
    decades = {name: np.histogram(np.log10(r), [-6, -5, -4, -3])[0] / RATES for name, r in rates.items()}

    def draw(figure):
        axes = figure.subplots(1, 3)
        for axis, (title, points) in zip(
            axes, (("grid layout", grid), ("random layout", draws[0])), strict=False
        ):
            a, b = ([p[name] for p in points] for name in ("important", "unimportant"))
            t = np.linspace(0, 1, 200)
            axis.fill_between(t, 0.25 * np.exp(-(((t - 0.3) / 0.1) ** 2)), alpha=0.3)
            axis.plot(a, b, "ko")
            axis.plot(a, np.zeros(len(a)), "r|", ms=15, clip_on=False)
            axis.set(
                title=title,
                xlabel="important parameter",
                ylabel="unimportant parameter",
                xlim=(-0.03, 1.03),
                ylim=(-0.03, 1.03),
            )
        for name, r in rates.items():
            axes[2].hist(np.log10(r), 30, alpha=0.6, label=name, histtype="stepfilled")
        axes[2].set(title=f"{RATES} learning rates", xlabel="log10")
        axes[2].legend()

    return Result(
        "Nine grid points try three values of the parameter that matters, nine random points nine: a good "
        "interval of a tenth of its range is found with probability 0.61 against 0.11. A learning rate acts "
        "by its factor, so it is drawn as 10^U(-6, -3): drawn evenly, nine of ten rates lie in the top "
        "decade.",
        [
            Check(
                "different values of the important parameter: grid, random",
                [len({p["important"] for p in points}) for points in (grid, draws[0])],
                deck="3 9",
                exact=[3, 9],
            ),
            Check(
                "random: finds an interval of width 0.05, 0.1, 0.2", by_random, exact=exact_random, atol=0.07
            ),
            Check("grid: finds it", by_grid, exact=exact_grid, atol=0.02),
            Check("score of the best: random - grid", best["random"] - best["grid"], at_least=0.2),
            Check("10^U(-6, -3): share of each decade", decades["log"], exact=np.full(3, 1 / 3), atol=0.03),
            Check(
                "evenly drawn: share of each decade",
                decades["even"],
                exact=np.array([9e-6, 9e-5, 9e-4]) / (1e-3 - 1e-6),
                atol=0.02,
            ),
        ],
        [
            Table(
                "Probability to find a good interval, 9 trials",
                ["width", "random", "theory", "grid", "theory"],
                [list(row) for row in zip(WIDTHS, by_random, exact_random, by_grid, exact_grid, strict=True)],
            )
        ],
        [Picture("Nine trials: what the important parameter sees (red); learning rates", draw, (10, 3.4))],
    )
