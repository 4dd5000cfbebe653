"""The operations between matrix products: those of the `mingru` layer, and of the softmax of pairs of texts.

Each is given twice: `…_reference` says what it computes, in a few lines of torch that run on any device; the
operation itself is the same in one compiled pass on a CPU (`charrnn.network.kernels`), outputs and gradients. On
other devices it is the reference, but for `gated_mix`, whose loop over the times becomes a scan over all at once.
Inputs of matrix products may be bfloat16; states, norms and sums are float32.

Shapes: T time, B batch, D width, F width of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charrnn.network import kernels
from charrnn.network.config import CONV_WIDTH

# As numbers that torch.compile can take for constants:
EPSILON, LEXICON_FLOOR = float(kernels.EPSILON), float(kernels.LEXICON_FLOOR)


def norm_conv_reference(
    x: Tensor, weight: Tensor, conv: Tensor, tail: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """RMS norm, then a causal convolution over the last four inputs, each unit on its own.

    x (T, B, D), weight (D,), conv (4, D) oldest first, tail (3, B, D) the normed inputs before x →
    outputs (T, B, D) in `dtype`, and the next tail.
    """
    normed = norm_reference(x, weight, x.dtype)
    padded = torch.cat([tail, normed])
    outputs = sum(padded[k : k + len(x)] * conv[k] for k in range(CONV_WIDTH))
    return cast(Tensor, outputs).to(dtype), padded[len(x) :]


def gated_mix_reference(gates: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
    """h_t = (1 − σ(z_t))·h_{t−1} + σ(z_t)·c_t;  y_t = h_t·silu(g_t).

    gates (T, B, 3·D) hold z, c, g; h0 (B, D) float32 → y (T, B, D) of the gates' type, and the last h (B, D).
    """
    z, c, g = gates.float().chunk(3, dim=-1)
    h, outputs = h0, []
    for z_t, c_t, g_t in zip(torch.sigmoid(z), c, F.silu(g), strict=True):
        h = (1 - z_t) * h + z_t * c_t
        outputs.append(h * g_t)
    return torch.stack(outputs).to(gates.dtype), h


def gated_mix_parallel(gates: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
    """`gated_mix_reference` without its loop, for devices on which every small operation costs a launch."""
    z, c, g = gates.float().chunk(3, dim=-1)
    states = cast(Tensor, _Scan.apply(torch.sigmoid(-z), torch.sigmoid(z) * c, h0))  # type: ignore[no-untyped-call]
    return (states * F.silu(g)).to(gates.dtype), states[-1].clone()


def add_norm_reference(
    x: Tensor, branch: Tensor, mask: Tensor, weight: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """x + branch·mask (T, B, D), and its RMS norm in `dtype`; mask (B, D) is a dropout mask, one for all times."""
    total = x + branch.float() * mask
    return total, norm_reference(total, weight, dtype)


def masked_add_reference(x: Tensor, branch: Tensor, mask: Tensor) -> Tensor:
    """x + branch·mask (T, B, D), mask (B, D)."""
    return x + branch.float() * mask


def swiglu_reference(pair: Tensor) -> Tensor:
    """silu(first half)·(second half) (Shazeer 2020): (T, B, 2·F) → (T, B, F) of the same type."""
    a, b = pair.float().chunk(2, dim=-1)
    return (F.silu(a) * b).to(pair.dtype)


def norm_reference(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """RMS norm (Zhang & Sennrich 2019) of x (T, B, D) in `dtype`, weight (D,)."""
    return F.rms_norm(x, (x.shape[-1],), weight, EPSILON).to(dtype)


def add_lexicon_reference(
    logits: Tensor, attention: Tensor, ids: Tensor, probabilities: Tensor, gate: Tensor
) -> Tensor:
    """logits (T, N, V) + gate·log(1 + p / LEXICON_FLOOR), p (T, N, V) the sum of what is likely where one attends to.

    attention (T, N, S); entries of the softmax, ids, and their probabilities (B, S, K) for each entry of a source;
    gate (T, N). The N / B lanes of a source are side by side.
    """
    lanes = logits.shape[1] // len(ids)
    p = (attention[..., None] * probabilities.repeat_interleave(lanes, 0)).flatten(2)
    places = ids.repeat_interleave(lanes, 0).flatten(1).expand_as(p)
    dense = torch.zeros_like(logits).scatter_add(-1, places, p)
    return logits + gate[..., None] * (dense / LEXICON_FLOOR).log1p()


def log_softmax_at_reference(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-softmax of logits (T, B, V) at targets (T, B), and its mean over all entries: (T, B) each, float32."""
    log_softmax = logits.float().log_softmax(-1)
    return log_softmax.gather(-1, targets[..., None]).squeeze(-1), log_softmax.mean(-1)


def norm_conv(x: Tensor, weight: Tensor, conv: Tensor, tail: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """See `norm_conv_reference`."""
    if x.device.type != "cpu":
        return norm_conv_reference(x, weight, conv, tail, dtype)
    return cast(tuple[Tensor, Tensor], _NormConv.apply(x, weight, conv, tail, dtype))  # type: ignore[no-untyped-call]


def gated_mix(gates: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
    """See `gated_mix_reference`."""
    if gates.device.type != "cpu":
        return gated_mix_parallel(gates, h0)
    return cast(tuple[Tensor, Tensor], _GatedMix.apply(gates, h0))  # type: ignore[no-untyped-call]


def add_norm(x: Tensor, branch: Tensor, mask: Tensor, weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """See `add_norm_reference`."""
    if x.device.type != "cpu":
        return add_norm_reference(x, branch, mask, weight, dtype)
    return cast(tuple[Tensor, Tensor], _AddNorm.apply(x, branch, mask, weight, dtype))  # type: ignore[no-untyped-call]


def masked_add(x: Tensor, branch: Tensor, mask: Tensor) -> Tensor:
    """See `masked_add_reference`."""
    if x.device.type != "cpu":
        return masked_add_reference(x, branch, mask)
    return cast(Tensor, _MaskedAdd.apply(x, branch, mask))  # type: ignore[no-untyped-call]


def swiglu(pair: Tensor) -> Tensor:
    """See `swiglu_reference`."""
    if pair.device.type != "cpu":
        return swiglu_reference(pair)
    return cast(Tensor, _SwiGLU.apply(pair))  # type: ignore[no-untyped-call]


def norm(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """See `norm_reference`."""
    if x.device.type != "cpu":
        return norm_reference(x, weight, dtype)
    return cast(Tensor, _Norm.apply(x, weight, dtype))  # type: ignore[no-untyped-call]


def add_lexicon(logits: Tensor, attention: Tensor, ids: Tensor, probabilities: Tensor, gate: Tensor) -> Tensor:
    """See `add_lexicon_reference`."""
    if logits.device.type != "cpu":
        return add_lexicon_reference(logits, attention, ids, probabilities, gate)
    return cast(Tensor, _AddLexicon.apply(logits, attention, ids, probabilities, gate))  # type: ignore[no-untyped-call]


def log_softmax_at(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """See `log_softmax_at_reference`."""
    if logits.device.type != "cpu":
        return log_softmax_at_reference(logits, targets)
    return cast(tuple[Tensor, Tensor], _LogSoftmaxAt.apply(logits, targets))  # type: ignore[no-untyped-call]


def _scan(decay: Tensor, x: Tensor) -> Tensor:
    """h_0 = x_0, h_t = decay_t·h_{t−1} + x_t, by doubling (Hillis & Steele 1986): decay (T − 1, …), x (T, …) → (T, …).

    After k of log₂ T rounds, x_t holds the sum of what the last 2^k times give to h_t, and decay_t the product over
    them. Nothing is divided, so that decays near zero do no harm.
    """
    reach = 1
    while reach < len(x):
        x = torch.cat([x[:reach], torch.addcmul(x[reach:], decay, x[:-reach])])
        decay = decay[reach:] * decay[:-reach]
        reach *= 2
    return x


class _Scan(torch.autograd.Function):
    """h_t = decay_t·h_{t−1} + x_t: decay, x (T, B, D), h0 (B, D) → h (T, B, D). Its gradient is a scan backwards."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, x: Tensor, h0: Tensor) -> Tensor:
        h = _scan(decay[1:], torch.cat([decay[:1] * h0 + x[:1], x[1:]]))
        ctx.save_for_backward(decay, h, h0)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, h, h0 = ctx.saved_tensors
        dx = _scan(decay[1:].flip(0), grads[0].flip(0)).flip(0)
        return dx * torch.cat([h0[None], h[:-1]]), dx, decay[0] * dx[0]


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor's memory as an array; bfloat16 as its 16 bits."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def _new(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for a result: contiguous, whatever the layout of `like`, since a kernel writes to it in place."""
    return torch.empty(like.shape, dtype=dtype or like.dtype)


def _run(kernel: Callable[..., None], *tensors: Tensor) -> None:
    """Call a kernel with as many of torch's threads as the first tensor (T, B, …) has lanes."""
    limit = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    threads = torch.get_num_threads()
    numba.set_num_threads(min(tensors[0].shape[1], threads, limit))
    kernel(*map(_array, tensors))
    if torch.get_num_threads() != threads:  # the first kernel of a process sets OpenMP's number to numba's
        torch.set_num_threads(threads)


class _NormConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, conv: Tensor, tail: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        outputs, next_tail = _new(x, dtype), _new(tail)
        scale = x.new_empty(x.shape[:2])
        _run(kernels.norm_conv_forward, x, weight, conv, tail, outputs, next_tail, scale)
        ctx.save_for_backward(x, weight, conv, tail, scale)
        return outputs, next_tail

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, conv, tail, scale = ctx.saved_tensors
        lanes = x.shape[1]
        dx, dtail = _new(x), _new(tail)
        dweight, dconv = weight.new_empty(lanes, *weight.shape), conv.new_empty(lanes, *conv.shape)
        _run(kernels.norm_conv_backward, x, weight, conv, tail, scale, *grads, dx, dweight, dconv, dtail)
        return dx, dweight.sum(0), dconv.sum(0), dtail, None


class _GatedMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
        outputs = gates.new_empty(*gates.shape[:2], h0.shape[-1])
        states = _new(outputs, torch.float32)
        _run(kernels.gated_mix_forward, gates, h0, outputs, states)
        ctx.save_for_backward(gates, h0, states)
        return outputs, states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gates, h0, states = ctx.saved_tensors
        dgates, dh0 = _new(gates), _new(h0)
        _run(kernels.gated_mix_backward, gates, h0, states, *grads, dgates, dh0)
        return dgates, dh0


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, branch: Tensor, mask: Tensor, weight: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        total, normed = _new(x), _new(x, dtype)
        scale = x.new_empty(x.shape[:2])
        _run(kernels.add_norm_forward, x, branch, mask, weight, total, normed, scale)
        ctx.save_for_backward(total, mask, weight, scale)
        ctx.branch_dtype = branch.dtype
        return total, normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        total, mask, weight, scale = ctx.saved_tensors
        dx, dbranch = _new(total), _new(total, ctx.branch_dtype)
        dweight = weight.new_empty(total.shape[1], *weight.shape)
        _run(kernels.add_norm_backward, total, mask, weight, scale, *grads, dx, dbranch, dweight)
        return dx, dbranch, None, dweight.sum(0), None


class _MaskedAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, mask: Tensor) -> Tensor:
        total = _new(x)
        _run(kernels.masked_add_forward, x, branch, mask, total)
        ctx.save_for_backward(mask)
        ctx.branch_dtype = branch.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (mask,) = ctx.saved_tensors
        dbranch = _new(grads[0], ctx.branch_dtype)
        _run(kernels.masked_add_backward, grads[0], mask, dbranch)
        return grads[0], dbranch, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pair: Tensor) -> Tensor:
        outputs = pair.new_empty(*pair.shape[:2], pair.shape[-1] // 2)
        _run(kernels.swiglu_forward, pair, outputs)
        ctx.save_for_backward(pair)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (pair,) = ctx.saved_tensors
        dpair = _new(pair)
        _run(kernels.swiglu_backward, pair, grads[0], dpair)
        return dpair


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        outputs = _new(x, dtype)
        scale = x.new_empty(x.shape[:2])
        _run(kernels.norm_forward, x, weight, outputs, scale)
        ctx.save_for_backward(x, weight, scale)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        dx = _new(x)
        dweight = weight.new_empty(x.shape[1], *weight.shape)
        _run(kernels.norm_backward, x, weight, scale, grads[0], dx, dweight)
        return dx, dweight.sum(0), None


class _LogSoftmaxAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        rows, flat = logits.reshape(1, -1, logits.shape[-1]), targets.reshape(1, -1)
        chosen, mean, log_total = (torch.empty(flat.shape) for _ in range(3))
        _run(kernels.log_softmax_at_forward, rows, flat, chosen, mean, log_total)
        ctx.save_for_backward(rows, flat, log_total)
        return chosen.view_as(targets), mean.view_as(targets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows, flat, log_total = ctx.saved_tensors
        dchosen, dmean = (grad.reshape(flat.shape) for grad in grads)
        drows = _new(rows)
        _run(kernels.log_softmax_at_backward, rows, flat, log_total, dchosen, dmean, drows)
        return drows.view(*grads[0].shape, -1), None


class _AddLexicon(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, attention: Tensor, ids: Tensor, probabilities: Tensor, gate: Tensor
    ) -> Tensor:
        sums = attention.new_empty(*attention.shape, ids.shape[-1])
        total = logits.detach().clone(memory_format=torch.contiguous_format)
        _run(kernels.add_lexicon_forward, total, attention, ids, probabilities, gate, sums)
        ctx.save_for_backward(ids, probabilities, gate, sums)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ids, probabilities, gate, sums = ctx.saved_tensors
        dattention, dgate = grads[0].new_empty(sums.shape[:3]), _new(gate)
        _run(kernels.add_lexicon_backward, grads[0], ids, probabilities, gate, sums, dattention, dgate)
        return grads[0], dattention, None, None, dgate
