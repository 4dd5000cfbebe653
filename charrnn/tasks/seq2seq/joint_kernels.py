"""Compiled kernels of joint sequences: which entries of a target belong to which of a source.

A unit is an entry of the source with none, one or two of the target. Its code is the source's entry and those two, as
the digits of a number to the base B: an entry's id plus 1, or 0 for none. Texts of many pairs are joined: text i is
ids[starts[i]:starts[i + 1]].

Shapes: P pairs, S source time, T target time, U units, W beam, H units before one.
"""

import math

import numpy as np
from numba import int64, njit, uint64

from charrnn.text.ngram_kernels import BASE, log_probability

MOST = 2  # entries of the target in a unit


@njit(inline="always")
def code(entry, target, begin, number, base):
    """The unit of a source's entry and `number` entries of the target from `begin` on."""
    first = target[begin] + 1 if number > 0 else 0
    second = target[begin + 1] + 1 if number > 1 else 0
    return (int64(entry) * base + first) * base + second


@njit(inline="always")
def _reachable(i, j, source_length, target_length):
    """Whether what is left of the target can stand with what is left of the source."""
    return j <= target_length and target_length - j <= MOST * (source_length - i)


@njit(cache=True)
def expect(sources, source_starts, targets, target_starts, base, p, expected):
    """Add to `expected` how often each unit occurs in the pairs, given the probabilities `p` of all, by code."""
    for pair in range(len(source_starts) - 1):
        source = sources[source_starts[pair] : source_starts[pair + 1]]
        target = targets[target_starts[pair] : target_starts[pair + 1]]
        rows, columns = len(source), len(target)
        before = np.zeros((rows + 1, columns + 1))  # of what comes before a place in both; each row sums to one
        scales = np.zeros(rows)
        before[0, 0] = 1.0
        for i in range(rows):
            for j in range(columns + 1):
                for k in range(MOST + 1):
                    if before[i, j] > 0.0 and _reachable(i + 1, j + k, rows, columns):
                        before[i + 1, j + k] += before[i, j] * p[code(source[i], target, j, k, base)]
            scales[i] = before[i + 1].sum()
            if scales[i] > 0.0:
                before[i + 1] /= scales[i]
        if before[rows, columns] == 0.0:
            continue
        after = np.zeros((rows + 1, columns + 1))  # of what comes after it
        after[rows, columns] = 1.0
        for i in range(rows - 1, -1, -1):
            for j in range(columns + 1):
                for k in range(MOST + 1):
                    if before[i, j] > 0.0 and _reachable(i + 1, j + k, rows, columns):
                        unit = code(source[i], target, j, k, base)
                        rest = p[unit] * after[i + 1, j + k] / scales[i]
                        after[i, j] += rest
                        expected[unit] += before[i, j] * rest


@njit(cache=True)
def align(source, target, base, p):
    """The likeliest units (S,) of a pair; −1 for all if there are none."""
    rows, columns = len(source), len(target)
    best = np.zeros((rows + 1, columns + 1))
    taken = np.zeros((rows + 1, columns + 1), np.int64)
    best[0, 0] = 1.0
    for i in range(rows):
        for j in range(columns + 1):
            for k in range(MOST + 1):
                if best[i, j] > 0.0 and _reachable(i + 1, j + k, rows, columns):
                    total = best[i, j] * p[code(source[i], target, j, k, base)]
                    if total > best[i + 1, j + k]:
                        best[i + 1, j + k] = total
                        taken[i + 1, j + k] = k
        best[i + 1] /= max(best[i + 1].max(), 1e-300)
    units = np.full(rows, -1, np.int64)
    if best[rows, columns] > 0.0:
        j = columns
        for i in range(rows - 1, -1, -1):
            k = taken[i + 1, j]
            j -= k
            units[i] = code(source[i], target, j, k, base)
    return units


@njit(cache=True)
def log_joint(table, log_unknown, order, units, source, target, base, beam):
    """Log-probability of a pair: the sum over the likeliest ways to part it into units, `beam` of them at a time.

    The target is at most `MOST` times as long as the source.
    """
    rows, columns = len(source), len(target)
    width = (MOST + 1) * beam
    places, next_places = np.zeros(width, np.int64), np.zeros(width, np.int64)
    histories, next_histories = np.zeros((width, order - 1), np.int64), np.zeros((width, order - 1), np.int64)
    keys, next_keys = np.zeros(width, np.uint64), np.zeros(width, np.uint64)
    totals, next_totals = np.zeros(width), np.zeros(width)
    number = 1  # the start, an n-gram of id 0, is all there is before
    for i in range(rows):
        there = min(i + 1, order - 1)  # units of a history
        kept = min(there + 1, order - 1)
        found = 0
        for state in range(number):
            for k in range(MOST + 1):
                j = places[state] + k
                if not _reachable(i + 1, j, rows, columns):
                    continue
                wanted = code(source[i], target, places[state], k, base)
                unit = np.searchsorted(units, wanted)
                unit = 2 + (unit if unit < len(units) and units[unit] == wanted else len(units))
                history = histories[state, order - 1 - there :]
                total = totals[state] + log_probability(table, log_unknown, history, unit)
                key = uint64(0)
                for place in range(there + 1 - kept, there):
                    key = key * BASE + uint64(history[place] + 1)
                key = key * BASE + uint64(unit + 1)
                same = -1
                for other in range(found):
                    if next_places[other] == j and next_keys[other] == key:
                        same = other
                if same >= 0:
                    high, low = max(total, next_totals[same]), min(total, next_totals[same])
                    next_totals[same] = high + math.log1p(math.exp(low - high))
                    continue
                next_places[found] = j
                next_keys[found] = key
                next_totals[found] = total
                next_histories[found, : order - 2] = histories[state, 1:]
                next_histories[found, order - 2] = unit
                found += 1
        kept_states = np.argsort(-next_totals[:found])[:beam]
        number = len(kept_states)
        for place in range(number):
            state = kept_states[place]
            places[place] = next_places[state]
            keys[place] = next_keys[state]
            totals[place] = next_totals[state]
            histories[place] = next_histories[state]
    there = min(rows + 1, order - 1)
    best = -math.inf
    for state in range(number):
        history = histories[state, order - 1 - there :]
        total = totals[state] + log_probability(table, log_unknown, history, 1)
        high, low = max(total, best), min(total, best)
        best = high + math.log1p(math.exp(low - high))
    return best
