"""The names that `xpnet.core.tensor`, `op`, `node` and `backward` define."""

from xpnet.core.backward import on_complete as on_complete
from xpnet.core.gradcheck import gradcheck as gradcheck
from xpnet.core.node import LENT as LENT
from xpnet.core.node import Pullback as Pullback
from xpnet.core.op import Op as Op
from xpnet.core.op import differentiable as differentiable
from xpnet.core.op import no_grad as no_grad
from xpnet.core.tensor import Tensor as Tensor
from xpnet.core.tensor import array_of as array_of
from xpnet.core.tensor import tensor as tensor
