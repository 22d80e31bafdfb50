"""Ready models against PyTorch's, written out here: names, counts, outputs, gradients, a training."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from tests.oracle.test_layers import randomised, state_of  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn, optim  # noqa: E402
from xpnet.nn.autoencoder import _noise  # noqa: E402

t = torch.nn


def conv(inputs, outputs, kernel, stride=1):
    return t.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(t.Module):
    def __init__(self, inputs, width, stride, deep):
        super().__init__()
        outputs = 4 * width if deep else width
        sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        for i, row in enumerate(sizes if deep else [(inputs, width, 3, stride), (width, width, 3, 1)]):
            setattr(self, f"conv{i + 1}", conv(*row))
            setattr(self, f"bn{i + 1}", t.BatchNorm2d(row[1]))
        self.deep, self.downsample = deep, None
        if stride != 1 or inputs != outputs:
            self.downsample = t.Sequential(conv(inputs, outputs, 1, stride), t.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.deep:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(t.Module):
    def __init__(self, deep, layers, classes):
        super().__init__()
        self.conv1, self.bn1, self.maxpool = conv(3, 64, 7, 2), t.BatchNorm2d(64), t.MaxPool2d(3, 2, 1)
        inputs = 64
        for i, count in enumerate(layers):
            stage = []
            for k in range(count):
                stage.append(Block(inputs, 64 << i, 2 if i and not k else 1, deep))
                inputs = (64 << i) * (4 if deep else 1)
            setattr(self, f"layer{i + 1}", t.Sequential(*stage))
        self.fc = t.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


RESNETS = {
    "resnet18": (nn.resnet18, False, (2, 2, 2, 2), 11689512),
    "resnet34": (nn.resnet34, False, (3, 4, 6, 3), 21797672),
    "resnet50": (nn.resnet50, True, (3, 4, 6, 3), 25557032),  # as torchvision documents them
}


@pytest.mark.host
@pytest.mark.parametrize(("make", "deep", "layers", "count"), RESNETS.values(), ids=RESNETS)
def test_resnets(make, deep, layers, count):
    torch.manual_seed(0)
    theirs, ours = ResNet(deep, layers, 1000), make()
    assert sum(p.size for p in ours.parameters()) == count
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    with torch.no_grad():
        for name, b in theirs.named_buffers():
            if name.endswith(("mean", "var")):
                b.copy_(torch.rand(b.shape) * 0.5 + 0.5)
    result = ours.load_state_dict(state_of(theirs))
    assert not result.missing_keys
    assert not result.unexpected_keys
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 48)).astype(np.float32)
    y, z = ours.eval()(x), theirs.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(xpnet.to_numpy(y), z, rtol=1e-5, atol=1e-5 * np.abs(z).max())


@pytest.mark.host
def test_a_resnet_trains_as_pytorchs():
    theirs, ours = (
        ResNet(True, (1, 1, 1, 1), 4).double(),
        nn.ResNet("bottleneck", (1, 1, 1, 1), 4, dtype="float64"),
    )
    ours.load_state_dict(state_of(theirs))
    x, y = np.random.default_rng(0).normal(size=(4, 3, 33, 40)), np.arange(4)
    F.cross_entropy(ours(xpnet.asarray(x)), y).backward()
    t.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y)).backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        scale = q.grad.abs().max().item() + 1e-12
        np.testing.assert_allclose(xpnet.to_numpy(p.grad), q.grad.numpy(), rtol=1e-7, atol=1e-9 * scale)


class GPT(t.Module):
    def __init__(self, vocab, context, layers, heads, width):
        super().__init__()
        self.token, self.place = t.Embedding(vocab, width), t.Embedding(context, width)
        block = lambda: t.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks, self.norm = t.ModuleList([block() for _ in range(layers)]), t.LayerNorm(width)

    def forward(self, x):
        n = x.shape[1]
        later = torch.ones(n, n, dtype=torch.bool).triu(1)
        y = self.token(x) + self.place.weight[:n]
        for block in self.blocks:
            y = block(y, later)
        return self.norm(y) @ self.token.weight.T


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gpt(dtype):
    theirs = randomised(GPT(11, 8, 2, 2, 6), dtype)
    ours = nn.GPT(11, 8, 2, 2, 6, dtype=dtype)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict(state_of(theirs))
    x = np.random.default_rng(0).integers(0, 11, (3, 8))
    y, z = ours(xpnet.asarray(x[:, :-1])), theirs(torch.tensor(x[:, :-1]))
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    F.cross_entropy(y.reshape(-1, 11), xpnet.asarray(x[:, 1:].reshape(-1))).backward()
    t.functional.cross_entropy(z.reshape(-1, 11), torch.tensor(x[:, 1:].reshape(-1))).backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        scale = q.grad.abs().max().item()
        np.testing.assert_allclose(
            xpnet.to_numpy(p.grad), q.grad.numpy(), rtol=1e-3, atol=tolerance * max(scale, 1)
        )


@pytest.mark.host
def test_gpt_learns_to_count_and_goes_on():
    xpnet.manual_seed(0)
    model = nn.GPT(5, context=8, depth=2, heads=2, width=16)
    rule = optim.AdamW(model, lr=1e-2)
    for step in range(60):
        x = (np.arange(9)[None, :] + np.arange(8)[:, None] + step) % 5
        rule.zero_grad()
        loss = F.cross_entropy(model(x[:, :-1]).reshape(-1, 5), x[:, 1:].reshape(-1))
        loss.backward()
        rule.step()
    assert float(loss.item()) < 0.05
    text = model.generate([[3, 4]], 12, temperature=0)
    assert text.tolist() == [[(3 + i) % 5 for i in range(14)]]
    assert model.generate([[3, 4], [1, 2]], 3, top_k=2).shape == (2, 5)
    with pytest.raises(ValueError, match=r"GPT: expected numbers \(N, L\), L at most 8"):
        model(np.zeros((1, 9), int))


class LSTM(t.Module):
    def __init__(self, vocab, width, depth):
        super().__init__()
        self.token, self.head = t.Embedding(vocab, width), t.Linear(width, vocab)
        self.lstm = t.LSTM(width, width, depth, batch_first=True)

    def forward(self, x):
        return self.head(self.lstm(self.token(x))[0])


def test_an_lstm_of_text():
    theirs, ours = randomised(LSTM(11, 6, 2), "float64"), nn.LSTMLanguageModel(11, 6, 2, dtype="float64")
    ours.load_state_dict(state_of(theirs))
    x = np.random.default_rng(0).integers(0, 11, (3, 8))
    y, z = ours(xpnet.asarray(x[:, :-1])), theirs(torch.tensor(x[:, :-1]))
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-10)
    F.cross_entropy(y.reshape(-1, 11), xpnet.asarray(x[:, 1:].reshape(-1))).backward()
    t.functional.cross_entropy(z.reshape(-1, 11), torch.tensor(x[:, 1:].reshape(-1))).backward()
    for (_, p), (_, q) in zip(
        sorted(ours.named_parameters()), sorted(theirs.named_parameters()), strict=True
    ):
        np.testing.assert_allclose(xpnet.to_numpy(p.grad), q.grad.numpy(), rtol=1e-9, atol=1e-10)
    with torch.no_grad():  # what goes on from the state is what goes on from the whole text
        text = x
        for _ in range(5):
            text = np.concatenate([text, theirs(torch.tensor(text))[:, -1:].argmax(-1).numpy()], axis=1)
    assert np.array_equal(ours.generate(x, 5, temperature=0), text)
    state = ours._run(xpnet.asarray(x[:, :-1]), None)[1]
    last = ours._next(x, state)[0].numpy()
    assert last.shape == (3, 1, 11)
    np.testing.assert_allclose(last, ours(xpnet.asarray(x)).numpy()[:, -1:], rtol=1e-10)


# ---- pictures ----

rng = np.random.default_rng(3)


def vgg(batch_norm):
    layers, inputs = [], 3
    for stage, count in enumerate((1, 2, 1)):
        for _ in range(count):
            layers += [t.Conv2d(inputs, 4 << stage, 3, padding=1)]
            layers += [t.BatchNorm2d(4 << stage)] * batch_norm + [t.ReLU()]
            inputs = 4 << stage
        layers.append(t.MaxPool2d(2, 2))
    model = t.Module()
    model.features, model.avgpool = t.Sequential(*layers), t.AdaptiveAvgPool2d((7, 7))
    model.classifier = t.Sequential(
        *(t.Linear(16 * 49, 6), t.ReLU(), t.Dropout(0.0), t.Linear(6, 6), t.ReLU(), t.Dropout(0.0)),
        t.Linear(6, 5),
    )
    model.forward = lambda x: model.classifier(model.avgpool(model.features(x)).flatten(1))
    return model


class Double(t.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.double_conv = t.Sequential(
            *(t.Conv2d(inputs, outputs, 3, padding=1, bias=False), t.BatchNorm2d(outputs), t.ReLU()),
            *(t.Conv2d(outputs, outputs, 3, padding=1, bias=False), t.BatchNorm2d(outputs), t.ReLU()),
        )

    def forward(self, x):
        return self.double_conv(x)


class UNet(t.Module):
    def __init__(self, channels, classes, width, depth):
        super().__init__()
        self.inc, self.depth = Double(channels, width), depth
        for i in range(depth):
            down = t.Module()
            down.maxpool_conv = t.Sequential(t.MaxPool2d(2), Double(width << i, width << (i + 1)))
            self.add_module(f"down{i + 1}", down)
        for i in range(depth):
            up, inputs = t.Module(), width << (depth - i)
            up.up, up.conv = t.ConvTranspose2d(inputs, inputs // 2, 2, 2), Double(inputs, inputs // 2)
            self.add_module(f"up{i + 1}", up)
        self.outc = t.Module()
        self.outc.conv = t.Conv2d(width, classes, 1)

    def forward(self, x):
        x, levels = self.inc(x), []
        for i in range(self.depth):
            levels.append(x)
            x = getattr(self, f"down{i + 1}").maxpool_conv(x)
        for i in range(self.depth):
            part, beside = getattr(self, f"up{i + 1}"), levels.pop()
            x = part.up(x)
            h, w = beside.shape[2] - x.shape[2], beside.shape[3] - x.shape[3]
            x = t.functional.pad(x, [w // 2, w - w // 2, h // 2, h - h // 2])
            x = part.conv(torch.cat([beside, x], 1))
        return self.outc.conv(x)


class ViT(t.Module):
    def __init__(self, image, patch, layers, heads, width, hidden, classes, channels):
        super().__init__()
        self.conv_proj = t.Conv2d(channels, width, patch, patch)
        self.class_token = t.Parameter(torch.zeros(1, 1, width))
        self.encoder = t.Module()
        self.encoder.pos_embedding = t.Parameter(torch.empty(1, (image // patch) ** 2 + 1, width))
        self.encoder.layers, self.encoder.ln = t.Sequential(), t.LayerNorm(width, 1e-6)
        for i in range(layers):
            block = t.Module()
            block.ln_1, block.ln_2 = t.LayerNorm(width, 1e-6), t.LayerNorm(width, 1e-6)
            block.self_attention = t.MultiheadAttention(width, heads, batch_first=True)
            block.mlp = t.Sequential(
                *(t.Linear(width, hidden), t.GELU(), t.Dropout(0.0), t.Linear(hidden, width), t.Dropout(0.0))
            )
            self.encoder.layers.add_module(f"encoder_layer_{i}", block)
        self.heads = t.Sequential()
        self.heads.add_module("head", t.Linear(width, classes))

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        for block in self.encoder.layers:
            y = block.ln_1(x)
            x = x + block.self_attention(y, y, y)[0]
            x = x + block.mlp(block.ln_2(x))
        return self.heads(self.encoder.ln(x)[:, 0])


class Perceptron(t.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.fc1, self.fc2 = t.Linear(features, hidden), t.Linear(hidden, features)

    def forward(self, x):
        return self.fc2(t.functional.gelu(self.fc1(x)))


class Mixer(t.Module):
    def __init__(self, image, patch, depth, width, tokens, features, classes, channels):
        super().__init__()
        self.stem, self.blocks = t.Module(), t.ModuleList()
        self.stem.proj = t.Conv2d(channels, width, patch, patch)
        for _ in range(depth):
            block = t.Module()
            block.norm1, block.norm2 = t.LayerNorm(width, 1e-6), t.LayerNorm(width, 1e-6)
            block.mlp_tokens = Perceptron((image // patch) ** 2, tokens)
            block.mlp_channels = Perceptron(width, features)
            self.blocks.append(block)
        self.norm, self.head = t.LayerNorm(width, 1e-6), t.Linear(width, classes)

    def forward(self, x):
        x = self.stem.proj(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = x + block.mlp_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2)
            x = x + block.mlp_channels(block.norm2(x))
        return self.head(self.norm(x).mean(1))


def autoencoder():
    model = t.Module()
    model.encoder = t.Sequential(t.Linear(12, 7), t.Tanh(), t.Linear(7, 5), t.Tanh(), t.Linear(5, 2))
    model.decoder = t.Sequential(t.Linear(2, 5), t.Tanh(), t.Linear(5, 7), t.Tanh(), t.Linear(7, 12))
    model.forward = lambda x: model.decoder(model.encoder(x.flatten(1))).reshape(x.shape)
    return model


def small_vgg(batch_norm, d):
    return nn.VGG((1, 2, 1), 5, width=4, hidden=6, dropout=0.0, batch_norm=batch_norm, dtype=d)


PICTURES = {  # ours, theirs, a batch
    "VGG": (lambda d: small_vgg(False, d), lambda: vgg(False), (2, 3, 60, 64)),
    "VGG with batch norm": (lambda d: small_vgg(True, d), lambda: vgg(True), (2, 3, 57, 56)),
    "UNet": (lambda d: nn.UNet(2, 3, 4, 2, dtype=d), lambda: UNet(2, 3, 4, 2), (2, 2, 13, 10)),
    "ViT": (
        lambda d: nn.ViT(8, 4, 2, 2, 6, 10, num_classes=3, channels=2, dtype=d),
        lambda: ViT(8, 4, 2, 2, 6, 10, 3, 2),
        (3, 2, 8, 8),
    ),
    "MLPMixer": (
        lambda d: nn.MLPMixer(6, 2, 2, 6, 5, 7, 3, 2, dtype=d),
        lambda: Mixer(6, 2, 2, 6, 5, 7, 3, 2),
        (3, 2, 6, 6),
    ),
    "Autoencoder": (lambda d: nn.Autoencoder(12, (7, 5), 2, "tanh", dtype=d), autoencoder, (4, 3, 2, 2)),
}


@pytest.mark.parametrize(("make", "reference", "shape"), PICTURES.values(), ids=PICTURES)
def test_models_of_pictures(make, reference, shape):
    theirs, ours = reference().double(), make("float64")
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(size=p.shape) * 0.5 + 0.1))
    keys = ours.load_state_dict(state_of(theirs))
    assert keys == ([], [])
    x = rng.normal(size=shape)
    y, z = ours(xpnet.asarray(x)), theirs(torch.tensor(x))
    scale = z.abs().max().item()
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-10 * scale)
    w = rng.normal(size=tuple(z.shape))
    (y * xpnet.asarray(w)).sum().backward()
    (z * torch.tensor(w)).sum().backward()
    grads = dict(ours.named_parameters())
    largest = max(q.grad.abs().max().item() for q in theirs.parameters())
    for name, q in theirs.named_parameters():
        np.testing.assert_allclose(
            xpnet.to_numpy(grads[name].grad), q.grad.numpy(), rtol=1e-10, atol=1e-10 * largest
        )


COUNTS = {  # as torchvision, timm and milesial's repository document them
    "vgg11": (lambda: nn.vgg11(), 132863336),
    "vgg16 with batch norm, narrow": (
        lambda: nn.vgg16(hidden=1, batch_norm=True),
        138365992 - 25088 * 4095 - 4095 - (4096 * 4096 + 4096) + 2 - 4095 * 1000,
    ),
    "UNet": (lambda: nn.UNet(3, 1), 31037633),
    "ViT-Ti/16": (lambda: nn.vit_tiny(), 5717416),
    "ViT-B/16": (lambda: nn.ViT(num_heads=12, hidden_dim=768, mlp_dim=3072), 86567656),
    "Mixer-S/16": (lambda: nn.MLPMixer(), 18528264),
    "VAE of PyTorch's example": (lambda: nn.VAE(784, (400,), 20), 652824),
}


@pytest.mark.host
@pytest.mark.parametrize(("make", "count"), COUNTS.values(), ids=COUNTS)
def test_counts(make, count):
    with xpnet.init.to_be_loaded(10**9):
        assert sum(p.size for p in make().parameters()) == count


def test_vae():
    d = torch.distributions
    ours = nn.VAE(12, (7, 5), 2, "tanh", dtype="float64")
    x = rng.uniform(size=(6, 12))
    state = {name: torch.tensor(xpnet.to_numpy(a)) for name, a in ours.state_dict().items()}
    state = {name: a.requires_grad_() for name, a in state.items()}
    affine = lambda name, h: t.functional.linear(h, state[f"{name}.weight"], state[f"{name}.bias"])
    h = torch.tanh(affine("encoder.2", torch.tanh(affine("encoder.0", torch.tensor(x)))))
    m, v = affine("mean", h), affine("log_variance", h)
    xpnet.manual_seed(7)
    out = ours(xpnet.asarray(x))
    xpnet.manual_seed(7)
    like = xpnet.asarray(np.zeros((6, 2)))
    noise = torch.tensor(xpnet.to_numpy(_noise(like)))  # float32 numbers, of which there are few
    assert 0.3 < noise.std() < 2
    z = m + torch.exp(v / 2) * noise
    made = affine("decoder.4", torch.tanh(affine("decoder.2", torch.tanh(affine("decoder.0", z)))))
    for a, b in zip(out, (made, m, v), strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)
    kl = d.kl_divergence(d.Normal(m, torch.exp(v / 2)), d.Normal(0.0, 1.0)).sum(1).mean()
    likelihoods = {
        "bernoulli": d.Bernoulli(logits=made).log_prob(torch.tensor(x > 0.5).double()).sum(1).mean(),
        "gaussian": -((made - torch.tensor(x)) ** 2).sum(1).mean() / 2,
    }
    for name, beta in (("bernoulli", 1.0), ("gaussian", 0.3)):
        target = x if name == "gaussian" else (x > 0.5).astype(float)
        loss, reference = F.elbo_loss(out, target, name, beta=beta), beta * kl - likelihoods[name]
        np.testing.assert_allclose(float(loss.item()), reference.item(), rtol=1e-12)
        ours.zero_grad()
        loss.backward(retain_graph=True)
        found = torch.autograd.grad(reference, list(state.values()), retain_graph=True)
        grads = dict(ours.named_parameters())
        for key, g in zip(state, found, strict=True):
            np.testing.assert_allclose(xpnet.to_numpy(grads[key].grad), g.numpy(), rtol=1e-10, atol=1e-12)
    ours.eval()
    assert np.array_equal(ours(xpnet.asarray(x))[0].numpy(), ours(xpnet.asarray(x))[0].numpy())
    with pytest.raises(ValueError, match="elbo_loss: likelihood must be"):
        F.elbo_loss(out, x, "poisson")
