"""Attention and transformers in operators of opset 18."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper

from xpnet import nn
from xpnet.core.convert import to_numpy
from xpnet.io.onnx.graph import Graph, Value, translates
from xpnet.io.onnx.sequences import affine


def _numbers(graph: Graph, mask: Any, dtype: np.dtype) -> str:
    """What a mask adds to scores: -infinity where it is True."""
    if not isinstance(mask, Value):
        values = to_numpy(mask)
        return graph.constant(np.where(values, -np.inf, 0) if values.dtype == bool else values, dtype)
    if mask.dtype != bool:
        return mask.name
    return graph.add("Where", mask.name, *(graph.constant(x, dtype) for x in (-np.inf, 0)))


def _later(graph: Graph, q: str, k: str, dtype: np.dtype) -> str:
    """-infinity above the diagonal of (L, S)."""
    lengths = (graph.add("Shape", x, start=2, end=3) for x in (q, k))
    shape = graph.add("Concat", *lengths, axis=0)
    like = numpy_helper.from_array(np.full(1, -np.inf, dtype))
    return graph.add("Trilu", graph.add("ConstantOfShape", shape, value=like), graph.constant(1, np.int64))


def _heads(graph: Graph, layer: nn.MultiheadAttention, part: int, x: Value) -> str:
    """The affine map of queries, keys or values: (N, heads, length, E / heads)."""
    e, heads = layer.embed_dim, layer.num_heads
    rows = slice(part * e, (part + 1) * e)
    if layer.kdim == layer.vdim == e:
        weight = layer.in_proj_weight.numpy()[rows]
    else:
        weight = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)[part].numpy()
    y = graph.add("MatMul", x.name, graph.constant(weight.T, x.dtype))
    if layer.in_proj_bias is not None:
        y = graph.add("Add", y, graph.constant(layer.in_proj_bias.numpy()[rows], x.dtype))
    if len(x.shape) == 2:
        y = graph.add("Unsqueeze", y, graph.axes(0))
    order = [0, 2, 1, 3] if layer.batch_first or len(x.shape) == 2 else [1, 2, 0, 3]
    return graph.add("Transpose", graph.reshape(y, [0, 0, heads, e // heads]), perm=order)


def _with_row(graph: Graph, layer: nn.MultiheadAttention, x: str, row: Any, dtype: np.dtype) -> str:
    """One more row of E numbers for each sample, split into heads."""
    split = graph.constant(np.reshape(row, (1, layer.num_heads, 1, -1)), dtype)
    shape = graph.add("Concat", graph.add("Shape", x, start=0, end=1), graph.axes(1, 1, 1), axis=0)
    return graph.add("Concat", x, graph.add("Expand", split, shape), axis=2)


def _masks(graph: Graph, q: str, k: str, x: Value, attn_mask: Any, padding: Any, causal: bool) -> list[str]:
    """Each broadcasts to (N, heads, L, S)."""
    masks = []
    if attn_mask is not None:
        if len(attn_mask.shape) != 2:
            raise TypeError(
                "ONNX: attn_mask (N heads, L, S) is of one batch: give (L, S) and key_padding_mask"
            )
        masks.append(_numbers(graph, attn_mask, x.dtype))
    if padding is not None:
        if not isinstance(padding, Value):
            raise TypeError(
                'ONNX: key_padding_mask is of one batch: make it an onnx.Input("N", S, dtype="bool")'
            )
        places = graph.axes(*range(len(padding.shape) - 1, 3))
        masks.append(graph.add("Unsqueeze", _numbers(graph, padding, x.dtype), places))
    if causal and attn_mask is None:
        masks.append(_later(graph, q, k, x.dtype))
    return masks


@translates(nn.MultiheadAttention)
def attention(
    graph: Graph,
    layer: nn.MultiheadAttention,
    query: Value,
    key: Value,
    value: Value,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> dict[str, str]:
    """softmax(q k^T / sqrt(d) + mask) v; axes of samples and of places may both be of any length."""
    dtype, e = query.dtype, layer.embed_dim
    q, k, v = (_heads(graph, layer, i, x) for i, x in enumerate((query, key, value)))
    masks = _masks(graph, q, k, query, attn_mask, key_padding_mask, is_causal)
    rows = []
    if layer.bias_k is not None and layer.bias_v is not None:
        rows.append((layer.bias_k.numpy(), layer.bias_v.numpy()))
    if layer.add_zero_attn:
        rows.append((np.zeros(e), np.zeros(e)))
    for row in rows:
        k, v = (_with_row(graph, layer, x, part, dtype) for x, part in zip((k, v), row, strict=True))
    scaled = graph.add("Mul", q, graph.constant((e // layer.num_heads) ** -0.5, dtype))
    scores = graph.add("MatMul", scaled, graph.add("Transpose", k, perm=[0, 1, 3, 2]))
    for mask in masks:
        if rows:  # everybody may look at what was added
            mask = graph.add("Pad", mask, graph.axes(0, len(rows)), graph.constant(0, dtype), graph.axes(-1))
        scores = graph.add("Add", scores, mask)
    weights = graph.add("Softmax", scores, axis=-1)
    if masks:  # who may look nowhere gets 0
        best = graph.add("ReduceMax", scores, graph.axes(-1))
        nowhere = graph.add("Equal", best, graph.constant(-np.inf, dtype))
        weights = graph.add("Where", nowhere, graph.constant(0, dtype), weights)
    alone = len(query.shape) == 2
    back = [0, 2, 1, 3] if layer.batch_first or alone else [2, 0, 1, 3]
    y = graph.reshape(graph.add("Transpose", graph.add("MatMul", weights, v), perm=back), [0, 0, e])
    found = {"output": affine(graph, layer.out_proj, y, dtype)}
    if need_weights:
        mean = graph.add("ReduceMean", weights, graph.axes(1), keepdims=0)
        found["weights"] = mean if average_attn_weights else weights
    return {k: graph.add("Squeeze", y, graph.axes(0)) for k, y in found.items()} if alone else found


def _around(graph: Graph, layer: Any, x: Value, branch: Any, norm: Any) -> Value:
    """x + branch(x), with the norm before the branch or after the sum."""
    if layer.norm_first:
        return Value(graph.add("Add", x.name, branch(graph.apply(norm, x, "norm"))), x.example)
    return graph.apply(norm, Value(graph.add("Add", x.name, branch(x)), x.example), "norm")


def _feed_forward(graph: Graph, layer: Any, x: Value) -> str:
    """W2 activation(W1 x)."""
    wide = Value(affine(graph, layer.linear1, x.name, x.dtype), layer.linear1(x.example).data)
    kinds: dict[str, Any] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
    activated = graph.apply(kinds[layer.activation](), wide, "activation")
    return affine(graph, layer.linear2, activated.name, x.dtype)


@translates(nn.TransformerEncoderLayer)
def encoder_layer(
    graph: Graph,
    layer: nn.TransformerEncoderLayer,
    src: Value,
    src_mask: Any = None,
    src_key_padding_mask: Any = None,
    is_causal: bool = False,
) -> str:
    """Two branches, each added to its input."""
    masks = (src_key_padding_mask, False, src_mask, True, is_causal)
    own = lambda z: attention(graph, layer.self_attn, z, z, z, *masks)["output"]
    x = _around(graph, layer, src, own, layer.norm1)
    return _around(graph, layer, x, lambda z: _feed_forward(graph, layer, z), layer.norm2).name


@translates(nn.TransformerDecoderLayer)
def decoder_layer(
    graph: Graph,
    layer: nn.TransformerDecoderLayer,
    tgt: Value,
    memory: Value,
    tgt_mask: Any = None,
    memory_mask: Any = None,
    tgt_key_padding_mask: Any = None,
    memory_key_padding_mask: Any = None,
    tgt_is_causal: bool = False,
    memory_is_causal: bool = False,
) -> str:
    """Three branches: of itself, of the memory, and the affine maps."""
    own_masks = (tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal)
    masks = (memory_key_padding_mask, False, memory_mask, True, memory_is_causal)
    own = lambda z: attention(graph, layer.self_attn, z, z, z, *own_masks)["output"]
    other = lambda z: attention(graph, layer.multihead_attn, z, memory, memory, *masks)["output"]
    x = _around(graph, layer, tgt, own, layer.norm1)
    x = _around(graph, layer, x, other, layer.norm2)
    return _around(graph, layer, x, lambda z: _feed_forward(graph, layer, z), layer.norm3).name


def _through(graph: Graph, layer: Any, x: Value, **given: Any) -> str:
    """One layer after the other, each with the same arguments."""
    said = {name: value for name, value in given.items() if value is not None and value is not False}
    for i, child in enumerate(layer.layers):
        x = graph.apply(child, x, f"layers.{i}", **said)
    return x.name if layer.norm is None else graph.apply(layer.norm, x, "norm").name


@translates(nn.TransformerEncoder)
def encoder(
    graph: Graph,
    layer: nn.TransformerEncoder,
    src: Value,
    mask: Any = None,
    src_key_padding_mask: Any = None,
    is_causal: bool | None = None,
) -> str:
    """A stack."""
    masks = {"src_mask": mask, "src_key_padding_mask": src_key_padding_mask, "is_causal": bool(is_causal)}
    return _through(graph, layer, src, **masks)


@translates(nn.TransformerDecoder)
def decoder(
    graph: Graph,
    layer: nn.TransformerDecoder,
    tgt: Value,
    memory: Value,
    tgt_mask: Any = None,
    memory_mask: Any = None,
    tgt_key_padding_mask: Any = None,
    memory_key_padding_mask: Any = None,
    tgt_is_causal: bool | None = None,
    memory_is_causal: bool = False,
) -> str:
    """A stack, of which each layer looks at the memory."""
    return _through(
        graph,
        layer,
        tgt,
        memory=memory,
        tgt_mask=tgt_mask,
        memory_mask=memory_mask,
        tgt_key_padding_mask=tgt_key_padding_mask,
        memory_key_padding_mask=memory_key_padding_mask,
        tgt_is_causal=bool(tgt_is_causal),
        memory_is_causal=memory_is_causal,
    )


@translates(nn.GPT)
def gpt(graph: Graph, layer: nn.GPT, x: Value) -> str:
    """Tokens and places, the layers, and products with the table of tokens."""
    length, weight = x.shape[1], layer.token.weight.numpy()
    dtype = weight.dtype
    table = graph.constant(weight, dtype)
    places = graph.constant(layer.place.weight.numpy()[:length], dtype)
    name = graph.add("Add", graph.add("Gather", table, x.name), places)
    y = Value(name, layer.token(x.example).data)
    for block in layer.blocks:
        y = Value(encoder_layer(graph, block, y, is_causal=True), y.example)
    y = graph.apply(layer.norm, y, "norm")
    return graph.add("MatMul", y.name, graph.constant(weight.T, dtype))
