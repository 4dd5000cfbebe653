"""Compiled kernels of n-gram models: a table of n-grams by key, and how likely an entry is after others.

The key of an n-gram is its entries, each plus 1, as the digits of a number to the base `BASE`, of which the lowest 64
bits are kept. Tables have open addressing and a power of two of slots; key 0 is no n-gram.
"""

import numpy as np
from numba import float64, int64, njit, prange, uint64

BASE = uint64(0x9E3779B97F4A7C15)  # odd, so that no digit is lost
SPREAD = uint64(0xD6E8FEB86659FD93)


@njit(inline="always")
def _find(keys, key):
    """The slot of a key, or of the gap where it would be."""
    slot = int64((key * SPREAD) >> uint64(32)) & (len(keys) - 1)
    while keys[slot] != key and keys[slot] != 0:
        slot = (slot + 1) & (len(keys) - 1)
    return slot


@njit(cache=True)
def make_table(given_keys, given_log_p, given_log_backoff, num_slots):
    """N-grams (R,) in a table: keys, log-probabilities, log back-off weights, (slots,) each."""
    keys = np.zeros(num_slots, np.uint64)
    log_p = np.zeros(num_slots, np.float32)
    log_backoff = np.zeros(num_slots, np.float32)
    for i in range(len(given_keys)):
        slot = _find(keys, given_keys[i])
        keys[slot] = given_keys[i]
        log_p[slot] = given_log_p[i]
        log_backoff[slot] = given_log_backoff[i]
    return keys, log_p, log_backoff


@njit(cache=True)
def log_probability(table, log_unknown, history, entry):
    """Of an entry after others, history (H,), the latest last."""
    keys, log_p, log_backoff = table
    contexts = np.empty(len(history) + 1, np.uint64)
    contexts[0] = 0
    digit = uint64(1)
    for n in range(len(history)):
        contexts[n + 1] = contexts[n] + uint64(history[len(history) - 1 - n] + 1) * digit
        digit *= BASE
    total = float64(0.0)
    for n in range(len(history), -1, -1):
        slot = _find(keys, contexts[n] * BASE + uint64(entry + 1))
        if keys[slot] != 0:
            return total + log_p[slot]
        if n > 0:
            slot = _find(keys, contexts[n])
            if keys[slot] != 0:
                total += log_backoff[slot]
    return total + log_unknown


@njit(cache=True, parallel=True)
def log_likelihoods(table, log_unknown, order, ids, starts):
    """Of sequences (N,), each with its start and its end: sequence i is ids[starts[i] : starts[i + 1]]."""
    totals = np.zeros(len(starts) - 1)
    for i in prange(len(totals)):
        for place in range(starts[i] + 1, starts[i + 1]):
            first = max(place - order + 1, starts[i])
            totals[i] += log_probability(table, log_unknown, ids[first:place], ids[place])
    return totals
