"""Mistakes that type checkers find: each in the line that is marked."""

import xpnet
import xpnet.functional as F
from xpnet import nn, optim

x = xpnet.tensor([1.0, 2.0])
model = nn.Linear(2, 2)
F.relu(x, 1, 2, nonsense=3)  # error
F.sigmoid(x, nonsense=3)  # error
F.softmax(x, dimension=1)  # error
F.cross_entropy(x, [0], None, -100)  # error
nn.Linear("a", 3)  # error
nn.Linear(2)  # error
nn.Conv2d(1, 2, 3, paddding=1)  # error
nn.BatchNorm1d(3, 1e-5, 0.1, True, True, "float32")  # error
xpnet.relu(x)  # error
xpnet.nn.Linaer(2, 2)  # error
x.reshpae(2, 1)  # error
x.sum(axes=1)  # error
x.max(1)  # error
x.backward(retain=True)  # error
print(model.parameters().weight)  # error
model(x).relu6()  # error
model.load_state_dict(3)  # error
optim.SGD(model, learning_rate=0.1)  # error
optim.SGD(model, lr="fast")  # error
xpnet.set_backend(1)  # error
