"""Metrics of all data, losses of several outputs."""

import warnings

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import Arrays, DataLoader, Dataset
from xpnet.train import (
    Callback,
    EarlyStopping,
    SeveralLosses,
    Trainer,
    accuracy,
    average_precision,
    evaluate,
    f1,
    mean_absolute_error,
    r2,
    roc_auc,
    sample_weighted,
    top_k_accuracy,
    whole,
)

RNG = np.random.default_rng(0)
N = 300
TWO = RNG.integers(0, 2, N)
SCORES = np.round(RNG.normal(size=(N, 1)) + TWO[:, None], 1).astype(np.float32)  # with ties
MANY = RNG.integers(0, 4, N)
LOGITS = (RNG.normal(size=(N, 4)) + 1.5 * np.eye(4)[MANY]).astype(np.float32)
AMOUNTS = RNG.normal(size=(N, 2)).astype(np.float32)
FOUND = (AMOUNTS + 0.5 * RNG.normal(size=(N, 2))).astype(np.float32)
LABELS = RNG.integers(0, 2, (N, 3))
LABELLED = (LABELS + RNG.normal(size=(N, 3))).astype(np.float32)


def softmax(z):
    e = np.exp(z.astype(np.float64))
    return e / e.sum(axis=1, keepdims=True)


def against_rest(measure):
    return lambda sk: np.mean([measure(sk)(k == MANY, softmax(LOGITS)[:, k]) for k in range(4)])


METRICS = {  # metric, outputs, targets, what scikit-learn says
    "roc_auc": (roc_auc, SCORES, TWO, lambda sk: sk.roc_auc_score(TWO, SCORES[:, 0])),
    "roc_auc of two scores": (
        roc_auc,
        np.concatenate([-SCORES, SCORES], axis=1),
        TWO,
        lambda sk: sk.roc_auc_score(TWO, SCORES[:, 0]),
    ),
    "roc_auc of four": (
        roc_auc,
        LOGITS,
        MANY,
        lambda sk: sk.roc_auc_score(MANY, softmax(LOGITS), multi_class="ovr"),
    ),
    "average_precision": (
        average_precision,
        SCORES,
        TWO,
        lambda sk: sk.average_precision_score(TWO, SCORES[:, 0]),
    ),
    "average_precision of four": (
        average_precision,
        LOGITS,
        MANY,
        against_rest(lambda sk: sk.average_precision_score),
    ),
    "roc_auc of several labels": (
        roc_auc,
        LABELLED,
        LABELS,
        lambda sk: sk.roc_auc_score(LABELS, LABELLED),
    ),
    "average_precision of several labels": (
        average_precision,
        LABELLED,
        LABELS.astype(np.float32),
        lambda sk: sk.average_precision_score(LABELS, LABELLED),
    ),
    "mae": (mean_absolute_error, FOUND, AMOUNTS, lambda sk: sk.mean_absolute_error(AMOUNTS, FOUND)),
    "r2": (r2, FOUND, AMOUNTS, lambda sk: sk.r2_score(AMOUNTS, FOUND)),
    "scikit-learn's of classes": (
        lambda: whole(pytest.importorskip("sklearn.metrics").matthews_corrcoef, of="classes"),
        LOGITS,
        MANY,
        lambda sk: sk.matthews_corrcoef(MANY, LOGITS.argmax(axis=1)),
    ),
    "scikit-learn's of probabilities": (
        lambda: whole(pytest.importorskip("sklearn.metrics").brier_score_loss, "brier", of="probabilities"),
        SCORES,
        TWO,
        lambda sk: sk.brier_score_loss(TWO, 1 / (1 + np.exp(-SCORES[:, 0].astype(np.float64)))),
    ),
}


@pytest.mark.parametrize(("make", "outputs", "targets", "reference"), METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("batch", [7, 300])
def test_a_metric_of_all_data_is_scikit_learns_whatever_the_batches(make, outputs, targets, reference, batch):
    sk = pytest.importorskip("sklearn.metrics")
    metric = make()
    data = DataLoader(Dataset(outputs, targets), batch, shuffle=False)
    loss = lambda output, target: F.mse_loss(output, output * 0)
    others = [accuracy, top_k_accuracy(1)] if targets.ndim == 1 else []
    found = evaluate(nn.Identity(), data, loss, [metric, *others])
    assert found[metric.__name__] == pytest.approx(reference(sk), rel=1e-6)
    if targets.ndim == 1:
        assert found["accuracy"] == pytest.approx(found["top_1"])


@pytest.mark.host
def test_what_has_no_area_is_no_number():
    assert np.isnan(roc_auc()(SCORES[:3], np.ones(3, np.int64)))
    assert np.isnan(average_precision()(SCORES[:3], np.zeros(3, np.int64)))
    labels = np.array([0, -100, 1, 1])
    assert roc_auc()(np.float32([0, 9, 1, 2]), labels) == 1.0  # a label of -100 counts for nothing
    with pytest.raises(ValueError, match="of must be one of outputs, classes, probabilities"):
        whole(len, of="scores")
    with pytest.raises(TypeError, match="expected a function"):
        whole("auc")
    with pytest.raises(TypeError, match="one output and one target"):
        roc_auc()((SCORES, SCORES), TWO)


@pytest.mark.host
@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "message"),
    [
        (roc_auc, [0.1, 0.4, 0.35, 0.8], [1, 1, 2, 2], "roc_auc: label 2 is out of range: expected 0 to 1"),
        (average_precision, [[0.1, 0.4, 0.2]], [3], "average_precision: label 3 .*expected 0 to 2"),
        (roc_auc, [0.1, 0.4], [0.0, 0.5], "roc_auc: label 0.5 is out of range"),
        (roc_auc, [[0.1, 0.4]], [[0, 2]], "roc_auc: label 2 is out of range: expected 0 to 1"),
        (roc_auc, [0.1, np.nan, 0.3], [0, 1, 1], "roc_auc: 1 of the scores are NaN"),
        (roc_auc, [[0.1, 0.4, 0.2]], [[0, 1]], r"roc_auc: expected .*scores \(1, 3\) and targets \(1, 2\)"),
        (mean_absolute_error, np.zeros((3, 2)), np.zeros((2, 3)), r"mae: .*targets \(2, 3\), got \(3, 2\)"),
        (r2, np.zeros(6), np.zeros((2, 3)), r"r2: .*targets \(2, 3\), got \(6,\)"),
    ],
)
def test_what_is_no_label_score_or_amount_is_refused(metric, outputs, targets, message):
    with pytest.raises(ValueError, match=message):
        metric()(np.asarray(outputs), np.asarray(targets))


@pytest.mark.host
def test_amounts_have_no_ignored_label_and_equal_ones_have_scikit_learns_r2():
    sk = pytest.importorskip("sklearn.metrics")
    assert mean_absolute_error()(np.zeros((2, 1)), np.array([-100, 50])) == 75
    y = np.array([-100, 50, 3])
    assert r2()(np.zeros(3), y) == pytest.approx(sk.r2_score(y, np.zeros(3)))
    y = np.float64([[2.0, 3.0, 1.0], [2.0, 3.0, 4.0]])
    for found in (y, y + np.float64([[0.0, 1.0, 0.5]])):
        assert r2()(found, y) == pytest.approx(sk.r2_score(y, found))


@pytest.mark.host
@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
def test_what_is_measured_of_nan_is_nan(y):
    """Also where the targets are equal, and 0 would say that the outputs are other numbers."""
    y, found = np.array(y), np.array([1.0, np.nan, 1.0])
    for metric in (r2(), mean_absolute_error()):
        assert np.isnan(metric(found, y))
        assert np.isnan(metric(y, found))
        assert np.isnan(metric(np.stack([y, found], 1), np.stack([y, y], 1)))  # of one target of two


@pytest.mark.host
def test_scores_of_nan_say_no_class():
    metric = whole(lambda y, classes: (y == classes).mean(), "right", of="classes")
    with pytest.raises(ValueError, match="whole: 1 of the scores are NaN, which say no class"):
        metric(np.float32([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 1]))


class Two(nn.Module):
    def __init__(self, by_name):
        self.kind, self.size, self.by_name = nn.Linear(4, 3), nn.Linear(4, 1), by_name

    def forward(self, x):
        outputs = {"kind": self.kind(x), "size": self.size(x)}
        return outputs if self.by_name else tuple(outputs.values())


def sample(n=60):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return x, {"kind": rng.integers(0, 3, n), "size": x[:, :1] * 2}


@pytest.mark.parametrize("by_name", [True, False])
def test_several_outputs_have_losses_of_their_own(by_name):
    x, y = sample()
    targets = y if by_name else tuple(y.values())
    xpnet.manual_seed(0)
    model = Two(by_name)
    step = SeveralLosses({"kind": F.cross_entropy, "size": F.mse_loss}, {"size": 0.5})
    trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=step)
    before = model.state_dict()
    history = trainer.fit(DataLoader(Arrays((x, targets)), 60, shuffle=False), (x, targets), epochs=1)
    assert history["train_loss"][0] == pytest.approx(
        history["train_kind"][0] + 0.5 * history["train_size"][0], rel=1e-5
    )
    assert {"val_kind", "val_size", "val_loss"} <= set(history)
    w = xpnet.to_numpy(before["size.weight"]), xpnet.to_numpy(before["size.bias"])
    error = x @ w[0].T + w[1] - y["size"]
    assert history["train_size"][0] == pytest.approx((error**2).mean(), rel=1e-4)
    moved = xpnet.to_numpy(model.size.weight.data) - w[0]  # -lr weight d/dW
    np.testing.assert_allclose(moved, -0.1 * 0.5 * 2 * (error * x).mean(axis=0, keepdims=True), rtol=1e-4)


WEIGHT = np.float32([1, 10, 0.1])
SOME = np.where((np.arange(60) < 25) | (np.arange(60) % 3 == 0), -100, np.arange(60) % 7 % 3)
FACTORS = {"kind": 0.7, "size": 0.5}


def several():
    losses = {"kind": lambda z, y: F.cross_entropy(z, y, weight=WEIGHT), "size": F.mse_loss}
    return Two(True), SeveralLosses(losses, FACTORS)


def of_all_data(model, x, y):
    """PyTorch's losses of the whole data, and their sum, with its gradients."""
    torch = pytest.importorskip("torch")
    state = {n: torch.tensor(xpnet.to_numpy(a)).requires_grad_() for n, a in model.state_dict().items()}
    out = {n: torch.tensor(x) @ state[f"{n}.weight"].T + state[f"{n}.bias"] for n in ("kind", "size")}
    kind = torch.nn.functional.cross_entropy(out["kind"], torch.tensor(y["kind"]), torch.tensor(WEIGHT))
    size = torch.nn.functional.mse_loss(out["size"], torch.tensor(y["size"]))
    loss = FACTORS["kind"] * kind + FACTORS["size"] * size
    loss.backward()
    found = {"loss": loss.item(), "kind": kind.item(), "size": size.item()}
    return found, {name: a.grad.numpy() for name, a in state.items()}


@pytest.mark.parametrize("batch", [10, 17, 60])
@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"capture": True}], ids=str)
@pytest.mark.filterwarnings("ignore:accumulate", "ignore:Trainer. capture")
def test_each_loss_is_the_mean_over_all_data_by_its_own_weight(batch, options):
    """In training and in evaluation, also where all labels of a batch are ignored."""
    x, y = sample()
    data = x, y | {"kind": SOME}
    model, step = several()
    expected, _ = of_all_data(model, *data)
    loader = lambda: DataLoader(Arrays(data), batch, shuffle=False)
    trainer = Trainer(model, None, optim.SGD(model, lr=0.0), step=step, verbose=False, **options)
    history = trainer.fit(loader(), loader(), epochs=2)
    for part, value in expected.items():
        assert history[f"train_{part}"] == pytest.approx([value] * 2, rel=1e-5)
        assert history[f"val_{part}"] == pytest.approx([value] * 2, rel=1e-5)


def test_a_batch_without_labels_of_one_output_trains_the_others():
    x, y = sample(10)
    data = x, y | {"kind": np.full(10, -100)}
    model, step = several()
    before = {name: xpnet.to_numpy(a).copy() for name, a in model.state_dict().items()}
    error = x @ before["size.weight"].T + before["size.bias"] - y["size"]
    trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=step, verbose=False)
    history = trainer.fit(DataLoader(Arrays(data), 10), epochs=1)
    assert np.isnan(history["train_kind"][0])
    assert history["train_loss"][0] == pytest.approx(0.5 * (error**2).mean(), rel=1e-5)
    gradient = FACTORS["size"] * 2 * (error * x).mean(axis=0)
    moved = xpnet.to_numpy(model.size.weight.data) - before["size.weight"]
    np.testing.assert_allclose(moved[0], -0.1 * gradient, rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(xpnet.to_numpy(model.kind.weight.data), before["kind.weight"])


def test_a_run_of_several_losses_resumes_within_an_epoch_with_their_means(tmp_path):
    x, y = sample()
    path = tmp_path / "run.safetensors"

    class LeaveError(Exception):
        pass

    class Leave(Callback):
        def on_batch_end(self, run):
            if run.step == 4:  # the last of the epoch
                run.save_checkpoint(path)
                raise LeaveError

    def trained(callbacks, **fit):
        xpnet.manual_seed(0)
        model, step = several()
        trainer = Trainer(model, None, optim.Adam(model), callbacks, step=step, verbose=False)
        history = trainer.fit(DataLoader(Arrays((x, y | {"kind": SOME})), 15, shuffle=False), epochs=1, **fit)
        return {name: values for name, values in history.items() if name != "seconds"}

    whole_ = trained([])
    with pytest.raises(LeaveError):
        trained([Leave()])
    assert trained([], resume=path) == whole_


@pytest.mark.host
def test_accumulation_of_losses_that_weigh_differently_is_said():
    x, y = sample()
    for labels, said in ((y["kind"], 0), (SOME, 1)):
        model = Two(True)
        step = SeveralLosses({"kind": F.cross_entropy, "size": F.mse_loss})
        trainer = Trainer(model, None, optim.SGD(model), step=step, accumulate=2, verbose=False)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("default")
            trainer.fit(DataLoader(Arrays((x, y | {"kind": labels})), 10, shuffle=False), epochs=1)
        assert ["'kind' are ignored" in str(w.message) for w in found] == [True] * said


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_several_outputs_are_scikit_learns_with_each_kind_of_loss(by_name, weighted):
    sk = pytest.importorskip("sklearn.metrics")
    x, y = sample()
    y["kind"] = np.where(np.arange(60) % 4 == 0, -100, y["kind"])
    model = Two(by_name)
    out = [xpnet.to_numpy(part(xpnet.asarray(x))) for part in (model.kind, model.size)]
    there = y["kind"] != -100
    labels, scores = y["kind"][there], softmax(out[0][there])
    expected = {
        "kind_accuracy": sk.accuracy_score(labels, scores.argmax(axis=1)),
        "kind_f1": sk.f1_score(labels, scores.argmax(axis=1), average="macro"),
        "kind_roc_auc": sk.roc_auc_score(labels, scores, multi_class="ovr"),
        "size_r2": sk.r2_score(y["size"], out[1]),
        "size_mae": sk.mean_absolute_error(y["size"], out[1]),
    }
    metrics = {"kind": [accuracy, f1(), roc_auc()], "size": [r2(), mean_absolute_error()]}
    kind = sample_weighted(F.cross_entropy) if weighted else F.cross_entropy
    y["kind"] = (y["kind"], np.linspace(0, 2, 60)) if weighted else y["kind"]
    targets = y if by_name else tuple(y.values())
    data = lambda: DataLoader(Arrays((x, targets)), 17, shuffle=False)
    step = SeveralLosses({"kind": kind, "size": F.mse_loss})
    trainer = Trainer(model, None, optim.SGD(model, lr=0.0), metrics=metrics, step=step, verbose=False)
    history = trainer.fit(data(), data(), epochs=1)
    for name, value in expected.items():
        assert history[f"val_{name}"] == pytest.approx([value], rel=1e-5)
    assert {"val_loss", "val_kind", "val_size"} <= set(history)
    again = trainer.evaluate(data(), {"size": [r2()], "kind": []} if by_name else metrics)
    assert set(again) - {"loss", "kind", "size"} == ({"size_r2"} if by_name else set(expected))
    if not weighted:
        part = lambda values, name: values[name] if by_name else values[("kind", "size").index(name)]
        loss = lambda z, t: F.mse_loss(part(z, "size"), part(t, "size"))
        found = evaluate(model, data(), loss, metrics)
        assert found == pytest.approx(expected | {"loss": trainer.evaluate(data())["size"]}, rel=1e-5)


def test_a_step_that_leaves_its_output_has_metrics_of_the_parts():
    def step(run, batch):
        x, y = batch
        run.output = run.model(x)
        return F.mse_loss(run.output["size"], y["size"])

    x, y = sample()
    model = Two(True)
    trainer = Trainer(model, None, optim.SGD(model), metrics={"size": [r2()]}, step=step, verbose=False)
    assert set(trainer.evaluate((x, y))) == {"loss", "size_r2"}
    silent = lambda run, batch: F.mse_loss(run.model(batch[0])["size"], batch[1]["size"])
    trainer = Trainer(model, None, optim.SGD(model), metrics={"size": [r2()]}, step=silent, verbose=False)
    with pytest.raises(TypeError, match=r"sets run.output, of which they name a part"):
        trainer.evaluate((x, y))


@pytest.mark.host
def test_mistakes_of_metrics_of_several_outputs_are_named():
    x, y = sample()
    model = Two(True)
    size = lambda z, t: F.mse_loss(z["size"], t["size"])
    for metrics, message in (
        ([accuracy], 'accuracy is of one output and one target, .* as in metrics={"kind": '),
        ([f1()], "is of one output and one target"),
        ([roc_auc()], "a metric of the whole data is of one output and one target, got several; name the"),
        (accuracy, "expected a list"),
        ({"kind": accuracy}, "expected a list"),
        ({0: [accuracy]}, "expected lists by names of outputs"),
        ({"kind": None}, "expected lists by names of outputs, got None of 'kind'"),
    ):
        with pytest.raises(TypeError, match=message):
            evaluate(model, (x, y), size, metrics)
    for metrics, message in (
        ({"kinds": [accuracy]}, "metrics: the outputs have no 'kinds', but kind, size"),
        ({"kind": [accuracy, accuracy]}, "two are called 'accuracy'"),
        ({"kind": [whole(len, "b_c")], "kind_b": [whole(len, "c")]}, "two are called 'kind_b_c'"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(model, (x, y), size, metrics)
    with pytest.raises(ValueError, match="metrics: 1 names, and 2 outputs"):
        evaluate(Two(False), (x, tuple(y.values())), lambda z, t: z[1].sum(), {"kind": [accuracy]})
    step = SeveralLosses({"kind": F.cross_entropy, "size": F.mse_loss})
    with pytest.raises(TypeError, match=r"metrics need a loss; .* of which they name a part"):
        Trainer(model, None, optim.SGD(model), metrics=[accuracy], step=step)
    with pytest.raises(TypeError, match=r"metrics need a loss; .* of which they name a part"):
        Trainer(model, None, optim.SGD(model), step=step).evaluate((x, y), [accuracy])
    callbacks = [EarlyStopping(monitor="val_kind_acuracy", mode="max")]
    trainer = Trainer(model, size, optim.SGD(model), callbacks, {"kind": [accuracy]})
    with pytest.raises(ValueError, match=r"val_kind_acuracy.*did you mean 'val_kind_accuracy'"):
        trainer.fit((x, y), (x, y), epochs=1)


@pytest.mark.host
def test_mistakes_of_several_losses_are_named():
    x, y = sample()
    with pytest.raises(ValueError, match="there is no loss 'kin'"):
        SeveralLosses({"kind": F.cross_entropy}, {"kin": 1})
    with pytest.raises(TypeError, match="kind is 'mse'"):
        SeveralLosses({"kind": "mse"})
    for by_name, step, message in (
        (False, SeveralLosses({"kind": F.cross_entropy}), "1 losses, and 2 outputs"),
        (
            True,
            SeveralLosses({"kinds": F.cross_entropy, "size": F.mse_loss}),
            "outputs have no 'kinds', but kind, size",
        ),
    ):
        model = Two(by_name)
        trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=step)
        with pytest.raises(ValueError, match=message):
            trainer.fit((x, y), epochs=1)
    model = Two(True)
    trainer = Trainer(model, None, optim.SGD(model), step=SeveralLosses({"kind": F.cross_entropy}))
    with pytest.raises(ValueError, match="output and target 'size' have no loss"):
        trainer.fit((x, y), epochs=1)
    trainer.fit((x, {"kind": y["kind"]}), epochs=1)  # an output that nobody has a target of


def test_it_is_no_loss():
    """It looks at the run: Trainer says where it belongs."""
    model = nn.Linear(2, 1)
    several = SeveralLosses({"a": F.mse_loss})
    with pytest.raises(TypeError, match="Trainer: SeveralLosses is a step: pass it as step="):
        Trainer(model, several, optim.SGD(model))
