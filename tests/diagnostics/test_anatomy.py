"""The summary of a model: counts by closed forms and by PyTorch's own counter, and the drawing."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import xpnet
from tests.every_layer import LAYERS, sample
from xpnet import nn, optim
from xpnet.diagnostics import summary


def test_a_chain(backend):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    )
    nn.freeze(model, "0")
    found = summary(model, (2, 3, 8, 8))
    assert [row.kind for row in found.rows] == [
        "Sequential",
        "Conv2d",
        "ReLU",
        "MaxPool2d",
        "Flatten",
        "Linear",
    ]
    assert [row.output for row in found.rows[1:]] == [(2, 4, 8, 8)] * 2 + [(2, 4, 4, 4), (2, 64), (2, 5)]
    assert found.operations == 2 * (2 * 4 * 8 * 8) * 27 + 2 * 2 * 64 * 5
    assert (found.parameters, found.trainable) == (4 * 27 + 4 + 64 * 5 + 5, 64 * 5 + 5)
    assert found.bytes == 4 * (2 * 256 + 2 * 256 + 128 + 128 + 10)
    assert [row.feeds for row in found.rows[1:]] == [[-1], [1], [2], [3], [4]]
    assert "112 of them frozen" in str(found)
    assert found._repr_html_().startswith("<")


@pytest.mark.host
def test_who_feeds_whom():
    class Net(nn.Module):
        def __init__(self):
            self.a, self.b, self.c = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

        def forward(self, x):
            y = self.a(x)
            return self.c(self.b(y) + y * 2) + x

    rows = summary(Net(), (1, 3)).rows
    assert {row.name: row.feeds for row in rows if row.leaf} == {"a": [-1], "b": [1], "c": [1, 2]}


MODELS = {
    "resnet": (lambda n: nn.ResNet("basic", (1, 1, 1, 1), 5), (2, 3, 32, 32)),
    "mlp": (lambda n: nn.mlp(7, [5, 4], 3), (6, 7)),
    "cnn": (lambda n: nn.small_cnn(3, width=4), (2, 3, 9, 8)),
    "unet": (lambda n: nn.UNet(1, 2, 4, 2), (1, 1, 16, 12)),
}


@pytest.mark.host
@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_operations_are_those_that_pytorch_counts(make, shape):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    found = summary(make(nn), shape)
    total = 0
    with FlopCounterMode(display=False) as counter:
        for row in found.rows:
            if row.kind in ("Linear", "Conv2d", "ConvTranspose2d"):
                module = make(nn).get_submodule(row.name)
                names = {"Linear": ("in_features", "out_features")}
                first = [getattr(module, n) for n in names.get(row.kind, ("in_channels", "out_channels"))]
                more = (
                    {"kernel_size": module.kernel_size, "stride": module.stride}
                    if row.kind != "Linear"
                    else {}
                )
                more |= {"padding": module.padding} if row.kind != "Linear" else {}
                theirs = getattr(torch.nn, row.kind)(*first, bias=False, **more)
                with torch.no_grad():
                    theirs(torch.zeros(row.input))
        total = counter.get_total_flops()
    assert found.operations == total


LAYERS_OF_PRODUCTS = {
    "decoder's layer": (lambda t: t.TransformerDecoderLayer(4, 2, 8), [(5, 1, 4), (50, 1, 4)]),
    "decoder": (
        lambda t: t.TransformerDecoder(t.TransformerDecoderLayer(4, 2, 8, batch_first=True), 2),
        [(2, 5, 4), (2, 7, 4)],
    ),
    "encoder's layer": (lambda t: t.TransformerEncoderLayer(4, 2, 8), [(5, 3, 4)]),
    "attention": (
        lambda t: t.MultiheadAttention(8, 2, kdim=12, vdim=20),
        [(5, 2, 8), (13, 2, 12), (13, 2, 20)],
    ),
    "attention of one sequence": (lambda t: t.MultiheadAttention(8, 2), [(5, 8), (13, 8), (13, 8)]),
    "attention with more keys": (
        lambda t: t.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True),
        [(2, 5, 8), (2, 13, 8), (2, 13, 8)],
    ),
    "LSTM": (lambda t: t.LSTM(3, 4, 2, bidirectional=True, batch_first=True), [(2, 5, 3)]),
    "GRU": (lambda t: t.GRU(3, 4, 2), [(5, 2, 3)]),
    "RNN": (lambda t: t.RNN(3, 4, bidirectional=True), [(5, 3)]),
    "LSTMCell": (lambda t: t.LSTMCell(3, 4), [(2, 3)]),
    "GRUCell": (lambda t: t.GRUCell(3, 4), [(2, 3)]),
    "RNNCell": (lambda t: t.RNNCell(3, 4), [(3,)]),
    "ConvTranspose1d": (lambda t: t.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2), [(2, 4, 5)]),
    "ConvTranspose2d": (lambda t: t.ConvTranspose2d(4, 6, 3, 2), [(2, 4, 5, 3)]),
    "ConvTranspose3d": (lambda t: t.ConvTranspose3d(4, 6, 3, 2), [(2, 4, 2, 5, 3)]),
    "Conv1d": (lambda t: t.Conv1d(4, 6, 3, 2, 1, 2, 2), [(2, 4, 9)]),
    "Conv3d": (lambda t: t.Conv3d(2, 4, 2, groups=2), [(2, 2, 4, 5, 3)]),
}


@pytest.mark.host
@pytest.mark.parametrize(("make", "shapes"), LAYERS_OF_PRODUCTS.values(), ids=LAYERS_OF_PRODUCTS)
def test_operations_of_a_layer_are_those_that_pytorch_counts(make, shapes):
    torch = pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    inputs = [np.zeros(shape, np.float32) for shape in shapes]
    # PyTorch counts products: not operators in which a whole layer is one
    counter, onednn = FlopCounterMode(display=False), torch.backends.mkldnn.flags(enabled=False)
    with counter, onednn, sdpa_kernel(SDPBackend.MATH):
        make(torch.nn).eval()(*(torch.tensor(x, requires_grad=True) for x in inputs))
    assert summary(make(nn), *inputs).operations == counter.get_total_flops() > 0


@pytest.mark.host
@pytest.mark.parametrize(("make", "shapes"), LAYERS_OF_PRODUCTS.values(), ids=LAYERS_OF_PRODUCTS)
@pytest.mark.parametrize("kind", [tuple, list, "mixed"])
def test_each_input_may_be_a_shape(make, shapes, kind):
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    given = (
        [a if i % 2 else list(a.shape) for i, a in enumerate(arrays)]
        if kind == "mixed"
        else map(kind, shapes)
    )
    rows, expected = summary(make(nn), *given).rows, summary(make(nn), *arrays).rows
    assert [vars(row) for row in rows] == [vars(row) for row in expected]


@pytest.mark.host
def test_rows_of_two_tables_may_be_shapes_and_other_arguments_are_passed_on():
    class Match(nn.Module):
        def __init__(self):
            self.user, self.item, self.lstm = nn.Embedding(5, 4), nn.Embedding(7, 4), nn.LSTM(4, 4)

        def forward(self, users, items, state=None, scale=1.0):
            return self.lstm(self.user(users) * self.item(items) * scale, state)[0]

    state = np.zeros((1, 2, 4), np.float32)
    for more in ((), (None, 2.0), ((state, state),)):
        assert summary(Match(), (3, 2), [3, 2], *more).rows[0].output == (3, 2, 4)


@pytest.mark.host
def test_arguments_are_those_of_their_names():
    class Net(nn.Module):
        def __init__(self):
            self.attention = nn.MultiheadAttention(8, 2, kdim=12, vdim=20)

        def forward(self, x, keys, values):
            return self.attention(value=values, key=keys, query=x)[0]

    shapes = [(5, 2, 8), (13, 2, 12), (13, 2, 20)]
    inputs = [np.zeros(shape, np.float32) for shape in shapes]
    expected = summary(nn.MultiheadAttention(8, 2, kdim=12, vdim=20), *inputs).operations
    assert summary(Net(), *inputs).operations == expected


@pytest.mark.host
def test_a_bilinear_layer():
    found = summary(nn.Bilinear(3, 4, 5), *(np.zeros((2, n), np.float32) for n in (3, 4)))
    assert found.operations == 2 * 2 * 5 * (3 * 4 + 4)


@pytest.mark.host
def test_a_gpt():
    model = nn.GPT(11, context=8, depth=2, heads=2, width=6)
    found = summary(model, (3, 8))
    affine = 4 * 6 * 6 + 2 * 6 * 24  # of a layer, for each place
    scores = 2 * 8 * 6
    assert found.operations == 2 * 3 * 8 * (2 * (affine + scores) + 6 * 11)
    assert found.rows[0].output == (3, 8, 11)


@pytest.mark.host
def test_nothing_is_left_behind():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    before, streams = model.state_dict(), xpnet.random.generator_state()
    summary(model, (4, 3))
    assert model.training
    assert all("forward" not in vars(m) for m in model.modules())
    assert all(np.array_equal(v, model.state_dict()[k]) for k, v in before.items())
    assert xpnet.random.generator_state() == streams
    for wrong, message in (
        (lambda: summary(model), "expected an input"),
        (lambda: summary(3, (1,)), "a Module"),
        (
            lambda: summary(model, ((2, 3), (2, 4))),
            r"input 0 is \(\(2, 3\), \(2, 4\)\), .* several arguments",
        ),
        (
            lambda: summary(nn.Bilinear(3, 4, 5), (2, 3), [[2, 4]]),
            "input 1 is .* expected an array, or a shape",
        ),
        (lambda: summary(model, (4, 3.0)), r"input 0 is \(4, 3.0\), expected an array, or a shape of whole"),
    ):
        with pytest.raises(TypeError, match=message):
            wrong()
    with pytest.raises(ValueError, match=r"input 1 is the shape \[-1, 4\], whose sizes must not be negative"):
        summary(nn.Bilinear(3, 4, 5), (2, 3), [-1, 4])


@pytest.mark.host
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_summed_up_and_drawn(name):
    make, shape = LAYERS[name]
    model = make()
    found = summary(model, xpnet.asarray(sample(model, shape)))
    assert (
        found.parameters == sum(p.size for p in model.parameters()) == sum(r.parameters for r in found.rows)
    )
    root = ElementTree.fromstring(found.svg())
    boxes = root.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == 1 + sum(row.leaf for row in found.rows)


@pytest.mark.host
def test_a_drawing_is_a_file(tmp_path):
    found = summary(nn.small_resnet(3, width=4, blocks=1), (1, 3, 8, 8))
    found.save(tmp_path / "net.svg")
    text = (tmp_path / "net.svg").read_text()
    assert text.startswith("<svg ")
    assert len(re.findall(r"<path d=\"M[^\"]* L[^\"]* L", text)) >= 3  # ways around


# ---- groups and freezing ----


@pytest.mark.host
def test_groups_by_pattern_are_pytorchs_way_of_groups():
    model = nn.Sequential({"body": nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), "head": nn.Linear(3, 2)})
    options = {"*.bias": {"weight_decay": 0.0}, "head": {"lr": 0.5}, "body.1.*": {"weight_decay": 0.1}}
    groups = optim.groups_by_pattern(model, options)
    names = {id(p): name for name, p in model.named_parameters()}
    assert [[names[id(p)] for p in g["params"]] for g in groups] == [
        ["body.0.bias", "body.1.bias", "head.bias"], ["head.weight"], ["body.1.weight"], ["body.0.weight"]
    ]  # fmt: skip
    rule = optim.AdamW(groups, lr=0.1, weight_decay=0.3)
    assert [(g["lr"], g["weight_decay"]) for g in rule.param_groups] == [
        (0.1, 0),
        (0.5, 0.3),
        (0.1, 0.1),
        (0.1, 0.3),
    ]
    with pytest.raises(ValueError, match=r"no parameter fits 'bdoy.\*'"):
        optim.groups_by_pattern(model, {"bdoy.*": {}})
    with pytest.raises(ValueError, match=r"did you mean 'head\.weight'"):
        nn.freeze(model, "head.wieght")
    with pytest.raises(TypeError, match="a pattern is a text"):
        nn.freeze(model, 3)


@pytest.mark.host
def test_rates_fall_from_the_last_layer_to_the_first():
    model = nn.GPT(5, context=4, depth=3, heads=1, width=4)
    groups = optim.layerwise_groups(model, 1.0, 0.5, weight_decay=0.2)
    assert sum(len(g["params"]) for g in groups) == len(model.parameters())
    assert [g["lr"] for g in groups] == [0.5**k for k in range(len(groups) - 1, -1, -1)]
    assert {g["weight_decay"] for g in groups} == {0.2}
    by_id = {id(p): g["lr"] for g in groups for p in g["params"]}
    blocks = [{by_id[id(p)] for p in block.parameters()} for block in model.blocks]
    assert all(len(rates) == 1 for rates in blocks)
    assert max(blocks[0]) < max(blocks[1]) < max(blocks[2])
    with pytest.raises(ValueError, match="decay must be above 0"):
        optim.layerwise_groups(model, 1.0, 2.0)
    twice = nn.Linear(2, 2)  # a part that stands in two places is of the first
    groups = optim.layerwise_groups(nn.Sequential(twice, nn.Linear(2, 2), twice), 1.0, 0.5)
    assert [(len(g["params"]), g["lr"]) for g in groups] == [(2, 0.5), (2, 1.0)]


@pytest.mark.host
def test_a_name_is_that_of_its_module_alone():
    model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(11)))
    assert nn.freeze(model, "1") == ["1.weight"]  # not 10.weight


def test_what_is_frozen_stays(backend):
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    assert nn.freeze(model, "0.*") == ["0.weight", "0.bias"]
    assert nn.freeze(model, "0") == []
    rule, before = optim.SGD(model, lr=0.1), model.state_dict()
    xpnet.functional.cross_entropy(model(xpnet.asarray([[1.0, 2.0]])), np.array([1])).backward()
    rule.step()
    after = model.state_dict()
    same = {k: np.array_equal(xpnet.to_numpy(v), xpnet.to_numpy(after[k])) for k, v in before.items()}
    assert same == {"0.weight": True, "0.bias": True, "2.weight": False, "2.bias": False}
    assert nn.unfreeze(model) == ["0.weight", "0.bias"]
