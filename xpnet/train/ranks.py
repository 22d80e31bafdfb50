"""Whether ranks that train together train the same: asked once, before they begin."""

from __future__ import annotations

from typing import Any

from xpnet.parallel.batch_norm import synchronized
from xpnet.parallel.leaving import RanksDifferError
from xpnet.train.callbacks import Callback
from xpnet.train.identity import differences
from xpnet.train.run import Run


def check_ranks(run: Run, epochs: int, resumed: int) -> None:
    """Compare what every rank was given; each rank calls it.

    Args:
        run: with its data.
        epochs: asked for.
        resumed: updates that a checkpoint has already.

    Raises:
        RanksDifferError: naming what differs between which ranks.
    """
    found = run.communicator.gather_object(_shared(run, epochs, resumed), "to begin training")
    ranks: dict[Any, list[int]] = {}
    for rank, description in enumerate(found):
        if description != found[0]:
            for difference in differences(found[0], description):
                if not difference.rounding:  # the ranks' machines may be of several kinds
                    ranks.setdefault(difference, []).append(rank)
    if ranks:
        said = [d.text("on rank 0", f"on rank {', '.join(map(str, of))}") for d, of in ranks.items()]
        more = f"; and {len(said) - 4} more" if len(said) > 4 else ""
        raise RanksDifferError(f"the ranks do not train the same: {'; '.join(said[:4])}{more}")


def _shared(run: Run, epochs: int, resumed: int) -> dict[str, Any]:
    """The identity of a run without what rank 0 alone does, and with what a checkpoint would say."""
    identity = run.identity()
    identity["callbacks"] = [  # those with settings; others look on, and may do so on one rank
        {"name": type(c).__name__, **c.settings(), **c.shared()}
        for c in run.callbacks
        if not c.main_only and (type(c).settings is not Callback.settings or c.shared())
    ]
    own = {k: v for k, v in identity["training"].items() if k not in ("validation", "metrics")}
    identity["training"] = {
        **own,
        "epochs": epochs,
        "resumed updates": resumed,
        "backend": identity["environment"]["backend"],
        "learning rate": [group["lr"] for group in run.optimizer.param_groups],
        "synchronized batch norms": synchronized(run.model),
        "seed": getattr(run.data, "seed", None),
    }
    identity["meaning"] = {k: v for k, v in identity["meaning"].items() if k != "validation data"}
    return {k: v for k, v in identity.items() if k not in ("environment", "stateful")}
