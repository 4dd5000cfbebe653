"""Compiled kernels of spelling: looking up known words near a misspelled one, and the likeliest way to read a text.

Texts are UTF-32 code points, as in `kernels`: words parted by single spaces, with a space at either end.

Words that are a few edits apart have a common rest when as many letters are deleted from each: so an index of such
rests finds the known words near any other (Garbe 2012, SymSpell).

Shapes: W known words, in order of their hashes; I entries of the index.
"""

import numpy as np
from numba import int64, njit

from charrnn.tasks.classifier.kernels import MULTIPLIER, SPACE, mix

ZERO, NINE = 48, 57
LONGEST = 32  # letters of a word that is looked up
MOST_DELETIONS = 1 + LONGEST + LONGEST * (LONGEST - 1) // 2  # of a word: it, and without one letter or two
EDIT = 6.0  # nats that a mistake costs


@njit(cache=True)
def max_edits(length):
    """How many mistakes a word of so many letters may have."""
    return 0 if length < 3 or length > LONGEST else 1 if length < 5 else 2


@njit(cache=True)
def _hash(word, one, other):
    """Of a word without the letters at two places (−1: none)."""
    state = MULTIPLIER
    for k in range(len(word)):
        if k != one and k != other:
            state = mix(state, word[k])
    return int64(state)


@njit(cache=True)
def hashes_of(points, starts):
    """Of each word, (W,)."""
    hashes = np.empty(len(starts) - 1, np.int64)
    for w in range(len(hashes)):
        hashes[w] = _hash(points[starts[w] : starts[w + 1]], -1, -1)
    return hashes


@njit(cache=True)
def _deletions(word, most, out):
    """Write hashes of a word and of all that is left of it without one letter, or two; returns how many there are."""
    out[0] = _hash(word, -1, -1)
    count = 1
    for one in range(len(word) if most > 0 else 0):
        out[count] = _hash(word, one, -1)
        count += 1
        for other in range(one + 1, len(word) if most > 1 else 0):
            out[count] = _hash(word, one, other)
            count += 1
    return count


@njit(cache=True)
def _has_digits(word):
    digits = 0
    for letter in word:
        digits += ZERO <= letter <= NINE
    return digits > 0


@njit(cache=True)
def deletion_index(points, starts):
    """What is left of each word without as many letters as it may have mistakes: hashes (I,) and words (I,).

    Numbers are left out: one is not taken for another.
    """
    out = np.empty(MOST_DELETIONS, np.int64)
    total = 0
    for fill in (False, True):
        hashes, words = np.empty(total, np.int64), np.empty(total, np.int32)
        total = 0
        for w in range(len(starts) - 1):
            word = points[starts[w] : starts[w + 1]]
            most = max_edits(len(word))
            if most == 0 or _has_digits(word):
                continue
            count = _deletions(word, most, out)
            for k in range(count if fill else 0):
                hashes[total + k], words[total + k] = out[k], w
            total += count
    return hashes, words


@njit(cache=True)
def edit_distance(one, other, rows):
    """Letters to replace, drop, insert or swap with a neighbour, to make one word of the other; none twice: the optimal
    string alignment distance.

    `rows` (3, LONGEST + 1) is scratch space.
    """
    for j in range(len(other) + 1):
        rows[0, j] = j
    for i in range(1, len(one) + 1):
        row, before, two_before = rows[i % 3], rows[(i - 1) % 3], rows[(i - 2) % 3]
        row[0] = i
        for j in range(1, len(other) + 1):
            least = before[j - 1] + (one[i - 1] != other[j - 1])
            least = min(least, before[j] + 1, row[j - 1] + 1)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                least = min(least, two_before[j - 2] + 1)
            row[j] = least
    return rows[len(one) % 3, len(other)]


@njit(cache=True)
def _first(hashes, value):
    """Where a hash stands first, or −1: hashes are in order."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(hashes) and hashes[low] == value else -1


@njit(cache=True)
def nearest(query, most, known, scratch):
    """The likeliest known word with at most so many mistakes: (mistakes, word), or (−1, −1)."""
    points, starts, hashes, costs, index_hashes, index_words = known
    out, rows = scratch
    exact = _first(hashes, _hash(query, -1, -1))
    if exact >= 0:
        return 0, exact
    most = min(most, max_edits(len(query)))
    best, found, cost = -1, -1, np.inf
    for k in range(_deletions(query, most, out) if most > 0 else 0):
        place = _first(index_hashes, out[k])
        while 0 <= place < len(index_hashes) and index_hashes[place] == out[k]:
            word = index_words[place]
            place += 1
            if word == found or EDIT + costs[word] >= cost:
                continue
            spelled = points[starts[word] : starts[word + 1]]
            apart = edit_distance(query, spelled, rows)
            if apart <= min(most, max_edits(len(spelled))) and EDIT * apart + costs[word] < cost:
                best, found, cost = apart, word, EDIT * apart + costs[word]
    return best, found


@njit(cache=True)
def _copy(letters, out, place):
    """Write letters to `out` from a place on; returns the place after them. (Slices would take seconds to compile.)"""
    for k in range(len(letters)):
        out[place + k] = letters[k]
    return place + len(letters)


@njit(cache=True)
def _all_known(words):
    unknown = 0
    for word in words:
        unknown += word < 0
    return unknown == 0


@njit(cache=True)
def _reach(path, start, end, cost, first, second):
    """Words from `start` to `end` can be read as one word or two (−1: as they stand, none), at this cost."""
    costs, starts, firsts, seconds = path
    if costs[start] + cost < costs[end]:
        costs[end] = costs[start] + cost
        starts[end], firsts[end], seconds[end] = start, first, second


@njit(cache=True)
def _reach_by_two(path, start, end, one, other, known, scratch):
    """The same as two words, at least one of them known as it stands, with a mistake between them."""
    costs = known[3]
    for most, other_most in ((0, 1), (1, 0)):
        apart, word = nearest(one, most, known, scratch)
        if apart >= 0:
            other_apart, other_word = nearest(other, other_most, known, scratch)
            if other_apart >= 0:
                cost = EDIT * (1 + apart + other_apart) + costs[word] + costs[other_word]
                _reach(path, start, end, cost, word, other_word)


@njit(cache=True)
def _reach_next(path, i, texts, spaces, words, unknown_cost, known, scratch, joined):
    """All ways to read what comes after the i-th space of a text."""
    costs = known[3]
    one = texts[spaces[i] + 1 : spaces[i + 1]]
    _reach(path, i, i + 1, costs[words[i]] if words[i] >= 0 else unknown_cost, -1, -1)
    if words[i] < 0 and len(one) <= LONGEST:
        apart, word = nearest(one, 2, known, scratch)
        if apart >= 0:
            _reach(path, i, i + 1, EDIT * apart + costs[word], word, -1)
        for end in range(1, len(one)):
            for start in range(end, min(end + 2, len(one))):  # the space is missing, or has become a letter
                _reach_by_two(path, i, i + 1, one[:end], one[start:], known, scratch)
    for j in range(i + 1, min(i + 3, len(words))):
        other = texts[spaces[j] + 1 : spaces[j + 1]]
        between = 0 if j == i + 1 else spaces[j] - spaces[i + 1] - 1
        both = len(one) + len(other)
        if both > LONGEST or between > 1 or _all_known(words[i : j + 1]):
            continue
        _copy(other, joined, _copy(one, joined, 0))
        apart, word = nearest(joined[:both], 1, known, scratch)
        if apart >= 0:  # a space, or a sign, stands where none belongs, or for a letter
            _reach(path, i, j + 1, EDIT * max(apart, 1) + costs[word], word, -1)
        if j == i + 1:  # the space has changed places with a letter
            for end in (len(one) - 1, len(one) + 1):
                if 0 < end < both:
                    _reach_by_two(path, i, j + 1, joined[:end], joined[end:both], known, scratch)


@njit(cache=True)
def correct(texts, starts, known, unknown_cost):
    """Texts with words that are not known spelled as known ones, where that is likelier: points and starts; and of each
    word in them, which word of its text it is read from, the first one if from several.

    A text is read as the words that cost least: a known word −ln of its frequency, a mistake `EDIT`, a word that stays
    unknown `unknown_cost`. A space may be missing, stand where none belongs, or have changed places with a letter.
    """
    known_points, known_starts, hashes = known[:3]
    scratch = (np.empty(MOST_DELETIONS, np.int64), np.empty((3, LONGEST + 1), np.int64))
    joined = np.empty(LONGEST, texts.dtype)
    out = np.empty(3 * len(texts), texts.dtype)  # no reading is longer
    out_starts = np.zeros(len(starts), np.int64)
    sources = np.empty((len(out) + 1) // 2, np.int32)
    total = written = 0
    for t in range(len(starts) - 1):
        spaces, number = np.empty(starts[t + 1] - starts[t], np.int64), -1
        for k in range(starts[t], starts[t + 1]):
            if texts[k] == SPACE:
                number += 1
                spaces[number] = k
        words = np.empty(number, np.int64)
        for i in range(number):
            words[i] = _first(hashes, _hash(texts[spaces[i] + 1 : spaces[i + 1]], -1, -1))
        if _all_known(words):
            total = _copy(texts[starts[t] : starts[t + 1]], out, total)
            out_starts[t + 1] = total
            for i in range(number):
                sources[written + i] = i
            written += number
            continue
        costs = np.empty(number + 1)
        for i in range(number + 1):
            costs[i] = np.inf if i > 0 else 0.0
        froms, firsts = np.empty(number + 1, np.int64), np.empty(number + 1, np.int64)
        seconds = np.empty(number + 1, np.int64)
        path = (costs, froms, firsts, seconds)
        for i in range(number):
            _reach_next(path, i, texts, spaces, words, unknown_cost, known, scratch, joined)
        follows = np.empty(number + 1, np.int64)  # of each place on the way, the next
        end = number
        while end > 0:
            follows[froms[end]] = end
            end = froms[end]
        out[total] = SPACE
        total += 1
        place = 0
        while place < number:
            end = follows[place]
            if firsts[end] < 0:
                total = _copy(texts[spaces[place] + 1 : spaces[end] + 1], out, total)
                sources[written] = place
                written += 1
            for word in (firsts[end], seconds[end]):
                if word >= 0:
                    total = _copy(known_points[known_starts[word] : known_starts[word + 1]], out, total)
                    out[total] = SPACE
                    total += 1
                    sources[written] = place
                    written += 1
            place = end
        out_starts[t + 1] = total
    return out[:total].copy(), out_starts, sources[:written].copy()
