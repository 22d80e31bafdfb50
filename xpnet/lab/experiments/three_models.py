"""Three models that differ in optimizer, objective and weights, and the mean of their results."""

import numpy as np

from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, load_digits, split
from xpnet.ensemble import Ensemble
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer, evaluate, predict

MODELS = {  # optimizer, objective
    "SGD, cross-entropy": (lambda m: optim.SGD(m, lr=0.05), F.cross_entropy),
    "Adam, cross-entropy": (lambda m: optim.Adam(m, lr=0.005), F.cross_entropy),
    "Adam, hinge": (lambda m: optim.Adam(m, lr=0.005), F.multi_margin_loss),
}


@experiment("S5", "ensembles: train three models and average their results; another optimizer or objective")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.1, 0.9))
    # core
    models, accuracy = [], {}
    for name, (optimizer, loss) in MODELS.items():
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        Trainer(model, loss, optimizer(model)).fit(DataLoader(train, 16), epochs=15)
        models.append(model)
        accuracy[name] = evaluate(model, validation, F.cross_entropy)["accuracy"]
    together = Ensemble(models)
    accuracy["mean of the three"] = evaluate(together, validation, F.cross_entropy)["accuracy"]
    # end of core
    few = validation.x[:20]
    scores = [to_numpy(predict(m, few)).astype(np.float64) for m in models]
    softmax = [np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in scores]
    alone = list(accuracy.values())[:3]

    def draw(figure):
        axis = figure.subplots()
        axis.barh(range(4), list(accuracy.values()))
        axis.set(yticks=range(4), yticklabels=list(accuracy), xlim=(0.7, 1), xlabel="validation accuracy")

    return Result(
        "Trained on 180 digits with other weights, another optimizer and another objective, three "
        "networks make "
        "different mistakes; the mean of their probabilities is better than each network is on average.",
        [
            Check(
                "probabilities of the ensemble: the mean",
                together.predict_proba(few),
                exact=np.mean(softmax, axis=0),
                atol=1e-5,
            ),
            Check(
                "accuracy: ensemble - mean of the three",
                accuracy["mean of the three"] - np.mean(alone),
                at_least=0.01,
            ),
            Check("accuracy of the ensemble", accuracy["mean of the three"], at_least=0.85),
        ],
        [Table("Validation accuracy", ("model", "accuracy"), list(accuracy.items()))],
        [Picture("Three models and their mean", draw, (7, 2.5))],
    )
