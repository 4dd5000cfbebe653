"""Compiled CPU kernels that read and write text: embedding, layers, softmax, filters and draw in one call.

They hold no lock of Python, so that several threads can each write with lanes of their own.
`charrnn.generation.reference` says what they compute and they are held to it. They are in one file since numba, which
keeps what it compiled, looks only at that of the called kernel to see whether it has changed.

Shapes: T time, B lanes, R = T·B rows (row t·B + b), D width, G n-grams, K lengths of them, N and M inputs and outputs
of a product, N rounded up to a multiple of 8 (`PACK`) with zeros, L layers, O outputs of the network.
"""

import numpy as np
from numba import float32, float64, int64, njit, types, uint32
from numba.extending import overload

from charrnn.generation.weights import PACK, ElmanWeights, GRUWeights, LSTMWeights, MinGRUWeights
from charrnn.network.config import CONV_WIDTH
from charrnn.network.kernels import EPSILON, FAST, exp, float_of_bits, sigmoid

BLOCK = 64  # times read at once

# With Python's error model every division could raise an error, which keeps its loop from being vectorized.
QUICK = {"fastmath": FAST, "error_model": "numpy"}


def _product(x, w, y):
    """y (R, M) = x (R, N) w (N, M). Packed weights are for single rows: they are unpacked again for each."""


@overload(_product, jit_options=QUICK)
def _overload_product(x, w, y):
    if w.dtype == types.uint32:

        def packed(x, w, y):
            for r in range(x.shape[0]):
                for k in range(w.shape[1]):
                    y[r, k] = float32(0.0)
                for j in range(0, x.shape[1], PACK):
                    _add_row_packed(x[r], j, w[j // 2 : (j + PACK) // 2], y[r])

        return packed

    def plain(x, w, y):
        rows = x.shape[0]
        for r in range(rows):
            for k in range(w.shape[1]):
                y[r, k] = float32(0.0)
        for j in range(0, x.shape[1], PACK):
            block = w[j : j + PACK]
            fours = rows // 4 * 4
            for r in range(0, fours, 4):
                _add_four_rows(x, r, j, block, y)
            for r in range(fours, rows):
                _add_row(x[r], j, block, y[r])

    return plain


@njit(inline="always")
def _eight(x, j):
    return x[j], x[j + 1], x[j + 2], x[j + 3], x[j + 4], x[j + 5], x[j + 6], x[j + 7]


@njit(**QUICK)
def _add_row_packed(x, j, w, y):
    """y (M,) += x[j : j + 8] w, w packed (4, M)."""
    x0, x1, x2, x3, x4, x5, x6, x7 = _eight(x, j)
    for k in range(w.shape[1]):
        a, b, c, d = w[0, k], w[1, k], w[2, k], w[3, k]
        y[k] += (
            x0 * float_of_bits(a)
            + x1 * float_of_bits(a << uint32(16))
            + x2 * float_of_bits(b)
            + x3 * float_of_bits(b << uint32(16))
            + x4 * float_of_bits(c)
            + x5 * float_of_bits(c << uint32(16))
            + x6 * float_of_bits(d)
            + x7 * float_of_bits(d << uint32(16))
        )


@njit(**QUICK)
def _add_row(x, j, w, y):
    """y (M,) += x[j : j + 8] w (8, M)."""
    x0, x1, x2, x3, x4, x5, x6, x7 = _eight(x, j)
    for k in range(w.shape[1]):
        y[k] += (
            x0 * w[0, k] + x1 * w[1, k] + x2 * w[2, k] + x3 * w[3, k]
            + x4 * w[4, k] + x5 * w[5, k] + x6 * w[6, k] + x7 * w[7, k]
        )  # fmt: skip


@njit(**QUICK)
def _add_four_rows(x, r, j, w, y):
    """The same for four rows at once, from r on: y (R, M) += x[:, j : j + 8] w, so that each weight is loaded once."""
    a0, a1, a2, a3, a4, a5, a6, a7 = _eight(x[r], j)
    b0, b1, b2, b3, b4, b5, b6, b7 = _eight(x[r + 1], j)
    c0, c1, c2, c3, c4, c5, c6, c7 = _eight(x[r + 2], j)
    d0, d1, d2, d3, d4, d5, d6, d7 = _eight(x[r + 3], j)
    ya, yb, yc, yd = y[r], y[r + 1], y[r + 2], y[r + 3]
    for k in range(w.shape[1]):
        w0, w1, w2, w3, w4, w5, w6, w7 = w[0, k], w[1, k], w[2, k], w[3, k], w[4, k], w[5, k], w[6, k], w[7, k]
        ya[k] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3 + a4 * w4 + a5 * w5 + a6 * w6 + a7 * w7
        yb[k] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3 + b4 * w4 + b5 * w5 + b6 * w6 + b7 * w7
        yc[k] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3 + c4 * w4 + c5 * w5 + c6 * w6 + c7 * w7
        yd[k] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3 + d4 * w4 + d5 * w5 + d6 * w6 + d7 * w7


@njit(**QUICK)
def _norm(x, weight, y):
    """RMS norm of a row x (D,) into y."""
    total = float32(0.0)
    for j in range(weight.shape[0]):
        total += x[j] * x[j]
    scale = float32(1.0) / np.sqrt(total / float32(weight.shape[0]) + EPSILON)
    for j in range(weight.shape[0]):
        y[j] = x[j] * scale * weight[j]


@njit
def _padded(rows, width):
    """Rows for a product to read: as wide as its weights have inputs."""
    return np.zeros((rows, (width + PACK - 1) // PACK * PACK), np.float32)


@njit
def _copy(rows, target):
    """Rows (R, N) into the first ones of `target`. Loops are compiled far sooner than assignments to slices."""
    for r in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            target[r, j] = rows[r, j]


def advance(layers, x, lanes, state):
    """Put rows x (R, D) of so many lanes through the layers, in place; their `state` goes on with them."""


@overload(advance, jit_options=QUICK)
def _overload_advance(layers, x, lanes, state):
    return {
        MinGRUWeights: _advance_mingru,
        LSTMWeights: _advance_lstm,
        GRUWeights: _advance_gru,
        ElmanWeights: _advance_elman,
    }[layers.instance_class]


def _advance_mingru(layers, x, lanes, state):
    hidden, tails = state  # (L, B, D), (L, 3, B, D)
    depth, width = layers.norm.shape
    rows = x.shape[0]
    normed = np.empty((rows + (CONV_WIDTH - 1) * lanes, width), np.float32)  # behind the last three of each lane
    u, mixed, inner = _padded(rows, width), _padded(rows, width), _padded(rows, 2 * width)
    gates, pair = np.empty((rows, 3 * width), np.float32), np.empty((rows, 4 * width), np.float32)
    branch = np.empty((rows, width), np.float32)
    for layer in range(depth):
        conv, bias = layers.conv[layer], layers.gates_bias[layer]
        for k in range(CONV_WIDTH - 1):
            _copy(tails[layer, k], normed[k * lanes :])
        for r in range(rows):
            _norm(x[r], layers.norm[layer], normed[r + (CONV_WIDTH - 1) * lanes])
            first, second, third, now = normed[r], normed[r + lanes], normed[r + 2 * lanes], normed[r + 3 * lanes]
            for j in range(width):
                u[r, j] = first[j] * conv[0, j] + second[j] * conv[1, j] + third[j] * conv[2, j] + now[j] * conv[3, j]
        for k in range(CONV_WIDTH - 1):
            _copy(normed[rows + k * lanes : rows + (k + 1) * lanes], tails[layer, k])
        _product(u, layers.gates[layer], gates)
        for r in range(rows):
            h, row = hidden[layer, r % lanes], gates[r]
            for j in range(width):
                z = sigmoid(row[j] + bias[j])
                g = row[2 * width + j] + bias[2 * width + j]
                h[j] += z * (row[width + j] + bias[width + j] - h[j])
                mixed[r, j] = h[j] * g * sigmoid(g)
        _product(mixed, layers.out[layer], branch)
        for r in range(rows):
            for j in range(width):
                x[r, j] += branch[r, j]
            _norm(x[r], layers.mlp_norm[layer], u[r])
        _product(u, layers.mlp_in[layer], pair)
        for r in range(rows):
            for j in range(2 * width):
                inner[r, j] = pair[r, j] * sigmoid(pair[r, j]) * pair[r, 2 * width + j]
        _product(inner, layers.mlp_out[layer], branch)
        for r in range(rows):
            for j in range(width):
                x[r, j] += branch[r, j]


def _advance_lstm(layers, x, lanes, state):
    hidden, cells = state  # (L, B, D) each
    depth, width = layers.bias.shape[0], layers.bias.shape[1] // 4
    rows = x.shape[0]
    h = _padded(lanes, width)
    pre, recurrent = np.empty((rows, 4 * width), np.float32), np.empty((lanes, 4 * width), np.float32)
    for layer in range(depth):
        bias = layers.bias[layer]
        _copy(hidden[layer], h)
        _product(x, layers.inputs[layer], pre)
        for start in range(0, rows, lanes):
            _product(h, layers.recurrent[layer], recurrent)
            for b in range(lanes):
                row, back, c = pre[start + b], recurrent[b], cells[layer, b]
                for j in range(width):
                    i = sigmoid(row[j] + back[j] + bias[j])
                    f = sigmoid(row[width + j] + back[width + j] + bias[width + j])
                    g = row[2 * width + j] + back[2 * width + j] + bias[2 * width + j]
                    o = sigmoid(row[3 * width + j] + back[3 * width + j] + bias[3 * width + j])
                    c[j] = f * c[j] + i * _tanh(g)
                    h[b, j] = o * _tanh(c[j])
                    x[start + b, j] = h[b, j]
        _copy(h[:, :width], hidden[layer])


def _advance_gru(layers, x, lanes, state):
    (hidden,) = state  # (L, B, D)
    depth, width = layers.bias.shape[0], layers.bias.shape[1] // 3
    rows = x.shape[0]
    h = _padded(lanes, width)
    pre, recurrent = np.empty((rows, 3 * width), np.float32), np.empty((lanes, 3 * width), np.float32)
    for layer in range(depth):
        bias, back_bias = layers.bias[layer], layers.recurrent_bias[layer]
        _copy(hidden[layer], h)
        _product(x, layers.inputs[layer], pre)
        for start in range(0, rows, lanes):
            _product(h, layers.recurrent[layer], recurrent)
            for b in range(lanes):
                row, back = pre[start + b], recurrent[b]
                for j in range(width):
                    r = sigmoid(row[j] + bias[j] + back[j] + back_bias[j])
                    z = sigmoid(row[width + j] + bias[width + j] + back[width + j] + back_bias[width + j])
                    again = back[2 * width + j] + back_bias[2 * width + j]
                    n = _tanh(row[2 * width + j] + bias[2 * width + j] + r * again)
                    h[b, j] = n + z * (h[b, j] - n)
                    x[start + b, j] = h[b, j]
        _copy(h[:, :width], hidden[layer])


def _advance_elman(layers, x, lanes, state):
    (hidden,) = state  # (L, B, D)
    depth, width = layers.bias.shape
    rows = x.shape[0]
    h = _padded(lanes, width)
    pre, recurrent = np.empty((rows, width), np.float32), np.empty((lanes, width), np.float32)
    for layer in range(depth):
        bias = layers.bias[layer]
        _copy(hidden[layer], h)
        _product(x, layers.inputs[layer], pre)
        for start in range(0, rows, lanes):
            _product(h, layers.recurrent[layer], recurrent)
            for b in range(lanes):
                for j in range(width):
                    value = pre[start + b, j] + recurrent[b, j] + bias[j]
                    if layers.activation == 0:
                        h[b, j] = _tanh(value)
                    elif layers.activation == 1:
                        h[b, j] = sigmoid(value)
                    else:
                        h[b, j] = max(value, float32(0.0))
                    x[start + b, j] = h[b, j]
        _copy(h[:, :width], hidden[layer])


@njit(inline="always", **QUICK)
def _tanh(x):
    return float32(2.0) * sigmoid(float32(2.0) * x) - float32(1.0)


@njit(**QUICK)
def _logits(weights, x, logits):
    """Rows x (R, D), after the layers, to logits (R, O). Changes x."""
    for r in range(x.shape[0]):
        if weights.norm.shape[0] > 0:
            _norm(x[r], weights.norm, x[r])
    _product(x, weights.head, logits)
    for r in range(x.shape[0]):
        for k in range(logits.shape[1]):
            logits[r, k] += weights.head_bias[k]


@njit(**QUICK)
def _embed(weights, entry, last, row):
    """An entry's embedding, and that of the n-grams which it ends, into a row; `last` are the entries before it.

    Entries that training never saw share the last embedding.
    """
    num_entries = weights.embedding.shape[0]
    entry = min(entry, num_entries - 1)
    vector = weights.embedding[entry]
    for j in range(vector.shape[0]):
        row[j] = vector[j]
    codes, rows = weights.ngrams.codes, weights.ngrams.rows
    if codes.shape[0] > 0:
        part = rows.shape[1]
        code, power = int64(entry + 1), int64(1)
        for k in range(weights.ngrams.most):
            power *= num_entries + 2
            code += (last[last.shape[0] - 1 - k] + 1) * power
            place = _place(codes, code)
            if place < codes.shape[0] and codes[place] == code:
                for j in range(part):
                    row[k * part + j] += rows[place + 1, j]
    for i in range(last.shape[0] - 1):
        last[i] = last[i + 1]
    last[-1] = entry


@njit(**QUICK)
def _place(codes, code):
    """The first place in codes (G,), which are in order, of one not less than this."""
    low, high = 0, codes.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if codes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**QUICK)
def _nats(logits, entry):
    """Negative log-likelihood of an entry under a softmax over logits (O,)."""
    greatest = logits[0]
    for k in range(1, logits.shape[0]):
        greatest = max(greatest, logits[k])
    total = float32(0.0)
    for k in range(logits.shape[0]):
        total += exp(logits[k] - greatest)
    return np.log(total) + greatest - logits[entry]


@njit(**QUICK)
def _threshold(values, counted, least):
    """The greatest number for which the values (O,) not below it are `least` in all, counted or summed.

    Bisection of all floats, in their order as numbers of 32 bits: no sorting, which takes seconds to compile.
    """
    low, high = int64(0x007FFFFF), int64(0xFF800000)  # −∞, ∞
    while low < high:
        middle = (low + high + 1) >> 1
        limit = _float_of_rank(middle)
        total = float64(0.0)
        for k in range(values.shape[0]):
            if values[k] >= limit:
                total += float64(1.0) if counted else float64(values[k])
        if total >= least:
            low = middle
        else:
            high = middle - 1
    return _float_of_rank(low)


@njit(**QUICK)
def _float_of_rank(rank):
    """Larger floats have larger ranks: the bits of positive ones behind the inverted bits of negative ones."""
    return float_of_bits(uint32(rank ^ 0x80000000 if rank >= 0x80000000 else ~rank))


@njit(**QUICK)
def probabilities(logits, recent, filters, allowed, probs):
    """The distribution to draw from, into `probs` (O,), not divided by its sum: see `charrnn.generation.sampling`."""
    temperature, top_k, top_p, min_p, penalty = filters[0], filters[1], filters[2], filters[3], filters[4]
    for k in range(logits.shape[0]):
        probs[k] = logits[k] if allowed[k] else float32(-np.inf)
    if penalty != 1.0:
        for i in range(recent.shape[0]):
            entry = min(recent[i], logits.shape[0] - 1)
            if entry >= 0 and allowed[entry]:
                value = logits[entry]
                probs[entry] = value / float32(penalty) if value > 0 else value * float32(penalty)
    best = 0
    for k in range(1, probs.shape[0]):
        if probs[k] > probs[best]:
            best = k
    greatest = probs[best]
    if temperature == 0.0:
        for k in range(probs.shape[0]):
            probs[k] = float32(1.0) if k == best else float32(0.0)
        return
    smallest = float32(-np.inf)
    if 0 < top_k < probs.shape[0]:
        smallest = _threshold(probs, True, top_k)
    # A tiny temperature must not overflow, and float32 has no tinier one.
    divisor = float32(min(max(temperature, 1e-38), 1e38))
    for k in range(probs.shape[0]):
        value = probs[k]
        probs[k] = float32(0.0) if value == float32(-np.inf) or value < smallest else exp((value - greatest) / divisor)
    if top_p < 1.0:
        total = float64(0.0)
        for k in range(probs.shape[0]):
            total += probs[k]
        limit = min(_threshold(probs, False, top_p * total), float32(1.0))  # the likeliest has 1
        before = float64(0.0)
        for k in range(probs.shape[0]):
            if probs[k] > limit:
                before += probs[k]
        for k in range(probs.shape[0]):
            if probs[k] == limit and (before < top_p * total or before == 0.0):
                before += probs[k]
            elif probs[k] <= limit:
                probs[k] = float32(0.0)
    if min_p > 0.0:
        for k in range(probs.shape[0]):
            if probs[k] < float32(min_p):
                probs[k] = float32(0.0)


@njit
def draw(probs, uniform):
    """The entry at which the running sum of probs (O,) passes `uniform`, from 0 to 1, of their sum."""
    total = float64(0.0)
    for k in range(probs.shape[0]):
        total += probs[k]
    reached, entry = float64(0.0), 0
    for k in range(probs.shape[0]):
        if probs[k] > 0.0:
            entry = k
            reached += probs[k]
            if reached > uniform * total:
                break
    return entry


@njit(nogil=True, cache=True, **QUICK)
def write(weights, state, last, logits, recent, filters, allowed, uniforms, ids, nats):
    """Draw entries for B lanes and read each: logits (B, O), of the entries to come, and `state` go on in place.

    So do the `last` entries (B, NGRAM_REACH), for the n-grams, and the `recent` ones (B, W), for the penalty, −1 for
    none. filters (B, 5): temperature, top-k, top-p, min-p, repetition penalty;
    allowed (O,) booleans; uniforms (T, B) from 0 to 1 → ids, nats (T, B), nats being those of the unfiltered softmax.
    """
    lanes = logits.shape[0]
    x = _padded(lanes, weights.embedding.shape[1])
    probs = np.empty(logits.shape[1], np.float32)
    for t in range(ids.shape[0]):
        for b in range(lanes):
            probabilities(logits[b], recent[b], filters[b], allowed, probs)
            entry = draw(probs, uniforms[t, b])
            ids[t, b] = entry
            nats[t, b] = _nats(logits[b], entry)
            for i in range(recent.shape[1] - 1):
                recent[b, i] = recent[b, i + 1]
            recent[b, -1] = entry
            _embed(weights, entry, last[b], x[b])
        advance(weights.layers, x, lanes, state)
        _logits(weights, x, logits)


@njit(nogil=True, cache=True, **QUICK)
def read(weights, state, last, logits, ids, nats):
    """Read ids (T,) in one lane, many times at once: logits (1, O), `state` and `last` (1, NGRAM_REACH) go on in place.

    nats (T,) of each, from the second on (the first too if logits are those of what came before); or empty: not asked.
    """
    width = weights.embedding.shape[1]
    for start in range(0, ids.shape[0], BLOCK):
        count = min(BLOCK, ids.shape[0] - start)
        x = _padded(count, width)
        for t in range(count):
            _embed(weights, ids[start + t], last[0], x[t])
        advance(weights.layers, x, 1, state)
        if nats.shape[0] == 0:
            _logits(weights, x[count - 1 :], logits)
            continue
        every = np.empty((count, logits.shape[1]), np.float32)
        _logits(weights, x, every)
        for t in range(count):
            entry = min(ids[start + t], logits.shape[1] - 1)
            nats[start + t] = _nats(logits[0] if t == 0 else every[t - 1], entry)
        _copy(every[count - 1 :], logits)
