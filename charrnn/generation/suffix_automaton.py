"""Compiled kernels of a suffix automaton: every piece of a few samples, known by one pass over them.

A state stands for all pieces that end at the same places of the samples; the longest of them has LENGTH characters,
and the others are its shorter endings, down to one more than the LENGTH of the state's LINK. An edge leads from a
state to that of the same pieces with one character more. Edges lie in a hash table of rows (key, target), the key
made of state and character, the target −1 in an empty row. Memory is in proportion to the samples, whatever their
alphabet. Source: Blumer et al. 1985, "The smallest automaton recognizing the subwords of a text".

Shapes: N characters of the samples, S states (at most 2 N + 1), M characters of a chunk of text.
"""

import numpy as np
from numba import int64, njit, uint64

LENGTH = 0  # of the longest piece of a state
LINK = 1  # the state of the longest ending that also ends elsewhere
END = 2  # where these pieces end first
REACH = 3  # length of the longest piece of a state found in the text; 0: none yet
ROOT = 0  # the state of the empty piece
CHAR_BITS = 21  # of a code point
_MULTIPLIER = 0x9E3779B97F4A7C15  # spreads keys over the table (Knuth's multiplicative hashing)


@njit
def _key(state, char):
    return (int64(state) << CHAR_BITS) | int64(char)


@njit
def _row(edges, state, char):
    """Where the edge is, or the empty row where it would be."""
    last = len(edges) - 1
    key = _key(state, char)
    row = int64(((uint64(key) * uint64(_MULTIPLIER)) >> uint64(32)) & uint64(last))
    while edges[row, 1] >= 0 and edges[row, 0] != key:
        row = (row + 1) & last
    return row


@njit
def _add_edge(edges, next_row, first_row, state, char, target):
    row = _row(edges, state, char)
    edges[row, 0], edges[row, 1] = _key(state, char), target
    next_row[row] = first_row[state]
    first_row[state] = row


@njit(cache=True)
def build(chars):
    """The automaton of chars (N,): states (S, 4), edges, and the state of each beginning of chars (N,)."""
    size = 16
    while size < 4 * len(chars):  # there are at most 3 N edges
        size *= 2
    edges = np.full((size, 2), -1, np.int64)
    states = np.zeros((2 * len(chars) + 1, 4), np.int32)
    beginnings = np.empty(len(chars), np.int32)
    # The edges of each state as a list of rows, so that a state can be split without a look at the whole alphabet.
    next_row, first_row = np.empty(size, np.int64), np.full(len(states), -1, np.int64)
    states[ROOT, LINK] = -1
    count, last = 1, ROOT
    for i in range(len(chars)):
        char = chars[i]
        new, count = count, count + 1
        states[new, LENGTH], states[new, END] = i + 1, i
        state = last
        while state >= 0 and edges[_row(edges, state, char), 1] < 0:
            _add_edge(edges, next_row, first_row, state, char, new)
            state = states[state, LINK]
        if state >= 0:
            target = edges[_row(edges, state, char), 1]
            if states[target, LENGTH] > states[state, LENGTH] + 1:
                # Only the shorter pieces of the target also end here: they get a state of their own.
                whole, target, count = target, count, count + 1
                states[target] = states[whole]
                states[target, LENGTH] = states[state, LENGTH] + 1
                states[whole, LINK] = target
                row = first_row[whole]
                while row >= 0:
                    following = edges[row, 0] & ((1 << CHAR_BITS) - 1)
                    _add_edge(edges, next_row, first_row, target, following, edges[row, 1])
                    row = next_row[row]
                while state >= 0:
                    row = _row(edges, state, char)
                    if edges[row, 1] != whole:
                        break
                    edges[row, 1] = target
                    state = states[state, LINK]
            states[new, LINK] = target
        beginnings[i] = last = new
    return states[:count], edges, beginnings


@njit(cache=True)
def read(states, edges, text, state, length, longest):
    """Read text (M,) on from `state`, of whose pieces the one of `length` characters was read last.

    Notes in REACH what is found. Returns the state and length at the end; the length of the longest piece found,
    if it is more than `longest`; its state, and where in the text it ends (−1: none so long).
    """
    longest_state, longest_end = -1, -1
    for i in range(len(text)):
        target = edges[_row(edges, state, text[i]), 1]
        while target < 0 and state != ROOT:
            state = int64(states[state, LINK])
            length = int64(states[state, LENGTH])
            target = edges[_row(edges, state, text[i]), 1]
        if target < 0:  # a character that no sample has
            continue
        state, length = target, length + 1
        if length > states[state, REACH]:
            states[state, REACH] = length
            if length > longest:
                longest, longest_state, longest_end = length, state, i
    return state, length, longest, longest_state, longest_end


@njit(cache=True)
def spread(states, order):
    """Once all is read: REACH becomes the longest ending of a state's longest piece that was found.

    order (S,): the states by LENGTH. What holds a piece holds its endings.
    """
    for i in range(len(order) - 1, 0, -1):
        state = order[i]
        link = states[state, LINK]
        if states[state, REACH] > states[link, LENGTH]:
            states[link, REACH] = states[link, LENGTH]
    for i in range(1, len(order)):
        state = order[i]
        link = states[state, LINK]
        if states[state, REACH] <= states[link, LENGTH]:
            states[state, REACH] = states[link, REACH]
