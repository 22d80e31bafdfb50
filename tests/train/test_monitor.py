"""Whether less or more of a measure is better: the same answer in every callback, or a question."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import Dataset
from xpnet.train import EarlyStopping, History, LearningRate, ModelCheckpoint, MovingAverageStopping, Trainer
from xpnet.train.monitor import LESS, MORE, mode_of

LESS_IS_BETTER = (
    "loss val_loss train_loss val_mae val_mse val_rmse val_mean_absolute_error MeanSquaredError val_error "
    "val_top_5_error val_perplexity val_nll val_brier_score_loss train_penalty lr seconds val_loss_2 "
    "negative_log_likelihood val_error_rate hinge_loss val_my_cross_entropy"
)
MORE_IS_BETTER = (
    "accuracy val_accuracy val_acc val_top_5 val_f1 val_f1_weighted val_precision_0 recall val_auc val_r2 "
    "val_iou val_dice neg_mean_squared_error val_balanced_accuracy score val_R2 cohen_kappa"
)
NAMES = [(n, "min") for n in LESS_IS_BETTER.split()] + [(n, "max") for n in MORE_IS_BETTER.split()]
UNKNOWN = ["val_quality", "val_x", "mine"]

pytestmark = pytest.mark.host


def plateau(monitor, mode):
    schedule = optim.ReduceLROnPlateau(optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0), mode)
    return LearningRate(schedule, monitor=monitor).schedule.mode


def best(monitor, mode):
    history = History()
    for value in (1.0, 3.0, 2.0):
        history.append({monitor: value})
    return {0: "min", 1: "max"}[history.best(monitor, mode)]


ASKED = {
    "EarlyStopping": lambda name, mode: {1: "min", -1: "max"}[EarlyStopping(monitor=name, mode=mode).sign],
    "MovingAverageStopping": lambda name, mode: {1: "min", -1: "max"}[
        MovingAverageStopping(monitor=name, mode=mode).sign
    ],
    "LearningRate": plateau,
    "History.best": best,
    "ModelCheckpoint": lambda name, mode: mode_of(ModelCheckpoint("folder", name, mode).monitor, mode),
}


@pytest.mark.parametrize("who", ASKED)
def test_known_names_both_ways(who):
    for name, mode in NAMES:
        assert ASKED[who](name, None) == mode, name
        for given in ("min", "max"):
            assert ASKED[who](name, given) == given


@pytest.mark.parametrize("who", ASKED)
@pytest.mark.parametrize("name", UNKNOWN)
def test_others_are_asked_for(who, name):
    with pytest.raises(ValueError, match=rf"'{name}' is not a measure known here: pass mode="):
        ASKED[who](name, None)
    assert ASKED[who](name, "max") == "max"


def test_no_word_says_both():
    assert not set(LESS) & set(MORE)


def mae(z, y):
    return abs(xpnet.asarray(z.data if hasattr(z, "data") else z) - xpnet.asarray(y)).mean()


def test_a_run_keeps_its_best_epoch():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    data = Dataset(x, x[:, :1] * 2)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    stopping = EarlyStopping(3, monitor="val_mae")
    trainer = Trainer(model, F.mse_loss, optim.Adam(model, lr=0.02), [stopping], metrics=[mae])
    history = trainer.fit(data, data, epochs=12)
    assert stopping.best_epoch == history.best("val_mae") > 8


def test_a_plateau_of_accuracy_is_one_that_no_longer_rises():
    optimizer = optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    schedule = LearningRate(optim.ReduceLROnPlateau(optimizer, patience=0), monitor="val_accuracy").schedule
    for accuracy in (0.5, 0.6, 0.7):
        schedule.step(accuracy)
    assert optimizer.param_groups[0]["lr"] == 1.0
    schedule.step(0.7)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda o, p: EarlyStopping(),
        lambda o, p: MovingAverageStopping(monitor="val_accuracy"),
        lambda o, p: LearningRate(optim.ReduceLROnPlateau(o)),
        lambda o, p: ModelCheckpoint(p, "val_loss"),
    ],
)
def test_validation_data_are_asked_for_before_the_work(make, tmp_path):
    x = np.ones((8, 2), np.float32)
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model, lr=0.1)
    trainer = Trainer(model, F.cross_entropy, optimizer, [make(optimizer, tmp_path)])
    with pytest.raises(ValueError, match=r"val_\w+ needs validation data; pass fit\(train, validation\)"):
        trainer.fit(Dataset(x, np.zeros(8, int)), epochs=1)
    assert trainer.history.epochs == 0


@pytest.mark.parametrize(("monitor", "meant"), [("val_los", "val_loss"), ("val_acuracy", "val_accuracy")])
def test_a_slip_of_the_pen_is_found_before_the_first_epoch(monitor, meant):
    import numpy as np

    from xpnet import nn, optim
    from xpnet.functional import cross_entropy
    from xpnet.train import EarlyStopping, Trainer

    model = nn.Linear(2, 2)
    data = np.ones((4, 2), "float32"), np.zeros(4, int)
    trainer = Trainer(model, cross_entropy, optim.SGD(model), [EarlyStopping(3, monitor, mode="min")])
    with pytest.raises(
        ValueError, match=f"EarlyStopping: no measure is called '{monitor}'; did you mean '{meant}'"
    ):
        trainer.fit(data, data, epochs=2)
    assert trainer.history.epochs == 0
