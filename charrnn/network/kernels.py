"""Compiled CPU kernels: what is no matrix product in the `mingru` layer, and in the softmax of pairs of texts.

Each makes one pass over its arrays where a chain of tensor operations would make many. Arrays are float32, or
bfloat16 seen as its 16 bits; arithmetic is float32. Lanes (the batch) are shared out among the threads.
`charrnn.network.operations` says what each computes and holds it to a plain reference.

Shapes: T time, B batch, D width, F width of the MLP.
"""

import math

import numpy as np
from numba import float32, int32, njit, prange, types, uint16, uint32
from numba.extending import intrinsic, overload

from charrnn.network.config import CONV_WIDTH, NORM_EPSILON

# Sums may be reordered and products fused, but infinities and NaNs stay what they are: training looks for them.
FAST = {"reassoc", "nsz", "contract", "arcp"}
EPSILON = np.float32(NORM_EPSILON)
LEXICON_FLOOR = np.float32(1e-2)  # a probability by which a lexicon doubles what it favours


@intrinsic
def float_of_bits(context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@intrinsic
def _bits_of_float(context, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), generate


def _wide(x):
    """An element as float32."""


def _narrow(value, like):
    """A float32 as an element of the array `like`: bfloat16 is rounded to the nearest even."""


@overload(_wide, inline="always")
def _overload_wide(x):
    if x == types.uint16:
        return lambda x: float_of_bits(uint32(x) << uint32(16))
    return lambda x: x


@overload(_narrow, inline="always")
def _overload_narrow(value, like):
    if like.dtype == types.uint16:

        def narrow(value, like):
            bits = _bits_of_float(value)
            return uint16((bits + uint32(0x7FFF) + ((bits >> uint32(16)) & uint32(1))) >> uint32(16))

        return narrow
    return lambda value, like: value


_LOG2_E = np.float32(1 / math.log(2))
_C1, _C2, _C3, _C4, _C5, _C6 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 7))


@njit(inline="always", fastmath=FAST)
def exp(x):
    """e^x by a polynomial for 2^fraction, which a compiler can vectorize: about 1e-7 off, within float32's range."""
    power = min(max(x * _LOG2_E, float32(-126.0)), float32(126.0))
    whole = np.floor(power + float32(0.5))
    f = power - whole
    fraction = ((((((_C6 * f + _C5) * f + _C4) * f + _C3) * f + _C2) * f) + _C1) * f + float32(1.0)
    return fraction * float_of_bits(uint32(int32(whole) + int32(127)) << uint32(23))


@njit(inline="always", fastmath=FAST)
def sigmoid(x):
    """1 / (1 + e^−x)."""
    return float32(1.0) / (float32(1.0) + exp(-x))


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def norm_conv_forward(x, weight, conv, tail, u, next_tail, scale):
    """x (T, B, D), weight (D,), conv (4, D), tail (3, B, D) → u (T, B, D), next_tail (3, B, D), scale (T, B)."""
    length, batch, width = x.shape
    for b in prange(batch):
        recent = np.empty((CONV_WIDTH, width), np.float32)
        for k in range(CONV_WIDTH - 1):
            recent[k] = tail[k, b]
        for t in range(length):
            total = float32(0.0)
            for j in range(width):
                total += x[t, b, j] * x[t, b, j]
            r = float32(1.0) / np.sqrt(total / float32(width) + EPSILON)
            scale[t, b] = r
            now = recent[(t + 3) % 4]
            for j in range(width):
                now[j] = x[t, b, j] * r * weight[j]
            first, second, third = recent[t % 4], recent[(t + 1) % 4], recent[(t + 2) % 4]
            for j in range(width):
                value = first[j] * conv[0, j] + second[j] * conv[1, j] + third[j] * conv[2, j] + now[j] * conv[3, j]
                u[t, b, j] = _narrow(value, u)
        for k in range(CONV_WIDTH - 1):
            next_tail[k, b] = recent[(length + k) % 4]


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def norm_conv_backward(x, weight, conv, tail, scale, du, dtail_out, dx, dweight, dconv, dtail):
    """Gradients of `norm_conv_forward`; dweight (B, D) and dconv (B, 4, D) are per lane."""
    length, batch, width = x.shape
    for b in prange(batch):
        dn = np.empty(width, np.float32)
        row_weight, row_conv = np.zeros(width, np.float32), np.zeros((CONV_WIDTH, width), np.float32)
        for t in range(-3, length):
            # Row t of the normed inputs (those before 0 are the tail) meets conv[k] in output t + 3 − k.
            for j in range(width):
                dn[j] = float32(0.0)
            if t >= length - 3:
                for j in range(width):
                    dn[j] = dtail_out[t - (length - 3), b, j]
            r = scale[t, b] if t >= 0 else float32(1.0)
            for k in range(CONV_WIDTH):
                s = t + 3 - k
                if s < 0 or s >= length:
                    continue
                if t >= 0:
                    for j in range(width):
                        d = _wide(du[s, b, j])
                        dn[j] += d * conv[k, j]
                        row_conv[k, j] += d * x[t, b, j] * r * weight[j]
                else:
                    for j in range(width):
                        d = _wide(du[s, b, j])
                        dn[j] += d * conv[k, j]
                        row_conv[k, j] += d * tail[t + 3, b, j]
            if t < 0:
                for j in range(width):
                    dtail[t + 3, b, j] = dn[j]
                continue
            total = float32(0.0)
            for j in range(width):
                total += dn[j] * weight[j] * x[t, b, j]
            share = total * r * r * r / float32(width)
            for j in range(width):
                dx[t, b, j] = dn[j] * weight[j] * r - x[t, b, j] * share
                row_weight[j] += dn[j] * x[t, b, j] * r
        dweight[b] = row_weight
        dconv[b] = row_conv


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def gated_mix_forward(gates, h0, y, states):
    """gates (T, B, 3·D), h0 (B, D) → y (T, B, D), states (T, B, D)."""
    length, batch, width = y.shape
    for b in prange(batch):
        h = h0[b].copy()
        for t in range(length):
            for j in range(width):
                z = sigmoid(_wide(gates[t, b, j]))
                c = _wide(gates[t, b, width + j])
                g = _wide(gates[t, b, 2 * width + j])
                value = h[j] + z * (c - h[j])
                h[j] = value
                states[t, b, j] = value
                y[t, b, j] = _narrow(value * g * sigmoid(g), y)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def gated_mix_backward(gates, h0, states, dy, dlast, dgates, dh0):
    """Gradients of `gated_mix_forward`; dlast (B, D) is that of the last state."""
    length, batch, width = dy.shape
    for b in prange(batch):
        dh = dlast[b].copy()
        for t in range(length - 1, -1, -1):
            before = states[t - 1, b] if t > 0 else h0[b]
            for j in range(width):
                z = sigmoid(_wide(gates[t, b, j]))
                c = _wide(gates[t, b, width + j])
                g = _wide(gates[t, b, 2 * width + j])
                d = _wide(dy[t, b, j])
                s = sigmoid(g)
                dgates[t, b, 2 * width + j] = _narrow(
                    d * states[t, b, j] * s * (float32(1.0) + g * (float32(1.0) - s)), dgates
                )
                total = dh[j] + d * g * s
                dgates[t, b, j] = _narrow(total * (c - before[j]) * z * (float32(1.0) - z), dgates)
                dgates[t, b, width + j] = _narrow(total * z, dgates)
                dh[j] = total * (float32(1.0) - z)
        dh0[b] = dh


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def add_norm_forward(x, branch, mask, weight, total, m, scale):
    """x, branch (T, B, D), mask (B, D), weight (D,) → total = x + branch·mask, its norm m (T, B, D), scale (T, B)."""
    length, batch, width = x.shape
    for b in prange(batch):
        for t in range(length):
            square = float32(0.0)
            for j in range(width):
                value = x[t, b, j] + _wide(branch[t, b, j]) * mask[b, j]
                total[t, b, j] = value
                square += value * value
            r = float32(1.0) / np.sqrt(square / float32(width) + EPSILON)
            scale[t, b] = r
            for j in range(width):
                m[t, b, j] = _narrow(total[t, b, j] * r * weight[j], m)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def add_norm_backward(total, mask, weight, scale, dtotal, dm, dx, dbranch, dweight):
    """Gradients of `add_norm_forward`; dweight (B, D) is per lane."""
    length, batch, width = total.shape
    for b in prange(batch):
        row_weight = np.zeros(width, np.float32)
        for t in range(length):
            r = scale[t, b]
            product = float32(0.0)
            for j in range(width):
                product += _wide(dm[t, b, j]) * weight[j] * total[t, b, j]
            share = product * r * r * r / float32(width)
            for j in range(width):
                d = _wide(dm[t, b, j])
                row_weight[j] += d * total[t, b, j] * r
                value = dtotal[t, b, j] + d * weight[j] * r - total[t, b, j] * share
                dx[t, b, j] = value
                dbranch[t, b, j] = _narrow(value * mask[b, j], dbranch)
        dweight[b] = row_weight


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def masked_add_forward(x, branch, mask, total):
    """x, branch (T, B, D), mask (B, D) → total = x + branch·mask (T, B, D)."""
    length, batch, width = x.shape
    for b in prange(batch):
        for t in range(length):
            for j in range(width):
                total[t, b, j] = x[t, b, j] + _wide(branch[t, b, j]) * mask[b, j]


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def masked_add_backward(dtotal, mask, dbranch):
    """The gradient of `branch`; that of x is dtotal itself."""
    length, batch, width = dtotal.shape
    for b in prange(batch):
        for t in range(length):
            for j in range(width):
                dbranch[t, b, j] = _narrow(dtotal[t, b, j] * mask[b, j], dbranch)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def swiglu_forward(pair, y):
    """pair (T, B, 2·F) → y = silu(first half)·(second half) (T, B, F)."""
    length, batch, width = y.shape
    for b in prange(batch):
        for t in range(length):
            for j in range(width):
                a = _wide(pair[t, b, j])
                y[t, b, j] = _narrow(a * sigmoid(a) * _wide(pair[t, b, width + j]), y)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def swiglu_backward(pair, dy, dpair):
    """The gradient of `pair`."""
    length, batch, width = dy.shape
    for b in prange(batch):
        for t in range(length):
            for j in range(width):
                a = _wide(pair[t, b, j])
                d = _wide(dy[t, b, j])
                s = sigmoid(a)
                dpair[t, b, j] = _narrow(
                    d * _wide(pair[t, b, width + j]) * s * (float32(1.0) + a * (float32(1.0) - s)), dpair
                )
                dpair[t, b, width + j] = _narrow(d * a * s, dpair)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def norm_forward(x, weight, y, scale):
    """x (T, B, D), weight (D,) → its norm y (T, B, D), scale (T, B)."""
    length, batch, width = x.shape
    for b in prange(batch):
        for t in range(length):
            square = float32(0.0)
            for j in range(width):
                square += x[t, b, j] * x[t, b, j]
            r = float32(1.0) / np.sqrt(square / float32(width) + EPSILON)
            scale[t, b] = r
            for j in range(width):
                y[t, b, j] = _narrow(x[t, b, j] * r * weight[j], y)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def norm_backward(x, weight, scale, dy, dx, dweight):
    """Gradients of `norm_forward`; dweight (B, D) is per lane."""
    length, batch, width = x.shape
    for b in prange(batch):
        row_weight = np.zeros(width, np.float32)
        for t in range(length):
            r = scale[t, b]
            product = float32(0.0)
            for j in range(width):
                product += _wide(dy[t, b, j]) * weight[j] * x[t, b, j]
            share = product * r * r * r / float32(width)
            for j in range(width):
                d = _wide(dy[t, b, j])
                row_weight[j] += d * x[t, b, j] * r
                dx[t, b, j] = d * weight[j] * r - x[t, b, j] * share
        dweight[b] = row_weight


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def log_softmax_at_forward(logits, targets, chosen, mean, log_total):
    """logits (1, N, V), targets (1, N) → log-probabilities of the targets and mean ones (1, N), log-sums (1, N)."""
    _, number, size = logits.shape
    for n in prange(number):
        row = logits[0, n]
        highest = float32(-np.inf)
        for v in range(size):
            highest = max(highest, row[v])
        total, plain = float32(0.0), float32(0.0)
        for v in range(size):
            total += exp(row[v] - highest)
            plain += row[v]
        log_sum = np.log(total) + highest
        chosen[0, n] = row[targets[0, n]] - log_sum
        mean[0, n] = plain / float32(size) - log_sum
        log_total[0, n] = log_sum


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def log_softmax_at_backward(logits, targets, log_total, dchosen, dmean, dlogits):
    """Gradients of `log_softmax_at_forward`."""
    _, number, size = logits.shape
    for n in prange(number):
        row, drow = logits[0, n], dlogits[0, n]
        both = dchosen[0, n] + dmean[0, n]
        each = dmean[0, n] / float32(size)
        log_sum = log_total[0, n]
        for v in range(size):
            drow[v] = each - both * exp(row[v] - log_sum)
        drow[targets[0, n]] += dchosen[0, n]


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def add_lexicon_forward(logits, attention, ids, probabilities, gate, sums):
    """Into logits (T, N, V); attention (T, N, S), ids and probabilities (B, S, K), gate (T, N) → sums (T, N, S, K)."""
    length, lanes, size = logits.shape
    sources, times, kinds = ids.shape
    for n in prange(lanes):
        b = n // (lanes // sources)
        dense = np.zeros(size, np.float32)
        for t in range(length):
            for s in range(times):
                for k in range(kinds):
                    dense[ids[b, s, k]] += attention[t, n, s] * probabilities[b, s, k]
            for s in range(times):
                for k in range(kinds):
                    v = ids[b, s, k]
                    if dense[v] != 0:
                        logits[t, n, v] += gate[t, n] * np.log(float32(1.0) + dense[v] / LEXICON_FLOOR)
                    sums[t, n, s, k] = dense[v]
                    dense[v] = float32(0.0)


@njit(parallel=True, nogil=True, fastmath=FAST, cache=True)
def add_lexicon_backward(dlogits, ids, probabilities, gate, sums, dattention, dgate):
    """Gradients of `add_lexicon_forward`; `sums` holds each entry's at the first place it stands, else 0."""
    length, lanes, size = dlogits.shape
    sources, times, kinds = ids.shape
    for n in prange(lanes):
        b = n // (lanes // sources)
        slope = np.zeros(size, np.float32)
        for t in range(length):
            total = float32(0.0)
            for s in range(times):
                for k in range(kinds):
                    v, p = ids[b, s, k], sums[t, n, s, k]
                    if p != 0:
                        total += dlogits[t, n, v] * np.log(float32(1.0) + p / LEXICON_FLOOR)
                        slope[v] = dlogits[t, n, v] * gate[t, n] / (LEXICON_FLOOR + p)
            dgate[t, n] = total
            for s in range(times):
                d = float32(0.0)
                for k in range(kinds):
                    d += slope[ids[b, s, k]] * probabilities[b, s, k]
                dattention[t, n, s] = d
            for s in range(times):
                for k in range(kinds):
                    slope[ids[b, s, k]] = float32(0.0)
