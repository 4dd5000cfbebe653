"""Compiled kernels of spelling: looking up known words near a misspelled one, and the likeliest way to read a text.

Texts are UTF-32 code points, as in `kernels`: words parted by single spaces, with a space at either end.

Words that are a few edits apart have a common rest when as many letters are deleted from each: so an index of such
rests finds the known words near any other (Garbe 2012, SymSpell). Texts are read by dynamic programming over the words
that may be meant, each likelier or less after the one before.

What is known is a tuple of points and starts (W + 1,) of the words, tables in which the hashes of words and those of
rests are looked up, the word of each rest (I,), and what words cost anywhere (W,), in nats. A model is that, what an
unknown word costs, and what tells how likely a word is after another: see `rarity_after`.

Shapes: W known words, in order of their hashes; I rests, those of the most frequent words first where they are equal;
P pairs of words.
"""

import numpy as np
from numba import int64, njit

from charrnn.tasks.classifier.kernels import MULTIPLIER, SPACE, mix

ZERO, NINE = 48, 57
LONGEST = 32  # letters of a word that is looked up
MOST_DELETIONS = 1 + LONGEST + LONGEST * (LONGEST - 1) // 2  # of a word: it, and without one letter or two
SLIP = 4.0  # nats that a letter left out costs, and two neighbours that changed places
WRONG = 7.0  # nats that a wrong letter costs, and one too many: it might have been any other
NEAREST = 3  # words that a misspelled one may have been
READINGS = 8  # of all words up to some place, by their last one, that may go on
WORDS_AT_ONCE = 256  # of a text that are read together
UNKNOWN = -1  # in place of a word


@njit(cache=True)
def max_edits(length):
    """How many mistakes a word of so many letters may have."""
    return 0 if length < 2 or length > LONGEST else 1 if length < 5 else 2


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
def bounds(hashes, bits):
    """Where hashes that are in order begin and end that share their highest `bits`: (2^bits + 1,)."""
    places = np.zeros((1 << bits) + 1, np.int64)
    for value in hashes:
        places[_prefix(value, bits) + 1] += 1
    return np.cumsum(places)


@njit(inline="always")
def _prefix(value, bits):
    return (value >> (64 - bits)) + (1 << (bits - 1))


@njit(cache=True)
def _first(table, value):
    """Where a hash stands first, or −1. A table: hashes in order, their bounds, and by how many bits."""
    hashes, places, bits = table
    prefix = _prefix(value, bits)
    for place in range(places[prefix], places[prefix + 1]):
        if hashes[place] >= value:
            return place if hashes[place] == value else -1
    return -1


@njit(cache=True)
def typing_cost(typed, meant, rows):
    """Nats of the mistakes that make `typed` of a word, in letters left out, added, changed and swapped with a
    neighbour, none twice: an optimal string alignment.

    `rows` (3, len(meant) + 1 or more) is scratch space.
    """
    for j in range(len(meant) + 1):
        rows[0, j] = j * SLIP
    for i in range(1, len(typed) + 1):
        row, before, two_before = rows[i % 3], rows[(i - 1) % 3], rows[(i - 2) % 3]
        row[0] = i * WRONG
        for j in range(1, len(meant) + 1):
            least = before[j - 1] + (0.0 if typed[i - 1] == meant[j - 1] else WRONG)
            least = min(least, before[j] + WRONG, row[j - 1] + SLIP)
            if i > 1 and j > 1 and typed[i - 1] == meant[j - 2] and typed[i - 2] == meant[j - 1]:
                least = min(least, two_before[j - 2] + SLIP)
            row[j] = least
    return rows[len(typed) % 3, len(meant)]


@njit(cache=True)
def nearest(letters, typed, most, known, scratch, words, costs):
    """The likeliest words that `letters`, or what is left of them without `most`, may be what is left of: their numbers
    and the nats of the mistakes that make `typed` of them, which may hold a sign or a space that `letters` does not.

    They are written to `words` and `costs` (NEAREST,); returns how many there are, `typed` itself not among them.
    """
    points, starts, _, index, index_words, rarities = known
    deletions, rows = scratch
    count, worst = 0, 0  # the place of the unlikeliest
    for k in range(_deletions(letters, min(most, max_edits(len(letters))), deletions)):
        place = _first(index, deletions[k])
        while 0 <= place < len(index_words) and index[0][place] == deletions[k]:
            word = index_words[place]
            place += 1
            limit = costs[worst] + rarities[words[worst]] if count == NEAREST else np.inf
            if SLIP + rarities[word] >= limit:
                break  # as all that follow are rarer
            if _is_among(word, words[:count]):
                continue
            cost = typing_cost(typed, points[starts[word] : starts[word + 1]], rows)
            if cost == 0 or cost + rarities[word] >= limit:
                continue
            if count < NEAREST:
                worst = count
                count += 1
            words[worst], costs[worst] = word, cost
            for i in range(count):
                if costs[i] + rarities[words[i]] > costs[worst] + rarities[words[worst]]:
                    worst = i
    return count


@njit(cache=True)
def _is_among(word, words):
    found = 0
    for each in words:
        found += each == word
    return found > 0


@njit(cache=True)
def rarity_after(before, word, rarities, followers):
    """Nats of a word after another, or, after none that is known, anywhere.

    Those that follow word b are seconds[begins[b] : begins[b + 1]], in order, begins (W + 2,), the beginning of a text
    being word W. How likely each is beside what it is anywhere stands in shares (P,), and rests (W + 1,) says how much
    of that all words have.
    """
    if before == UNKNOWN:
        return rarities[word]
    begins, seconds, shares, rests = followers
    low, high = begins[before], begins[before + 1]
    while low < high:
        middle = (low + high) // 2
        if seconds[middle] < word:
            low = middle + 1
        else:
            high = middle
    share = shares[low] if low < begins[before + 1] and seconds[low] == word else 0.0
    return -np.log(share + rests[before] * np.exp(-rarities[word]))


@njit(cache=True)
def _read_on(paths, start, end, cost, first, second, model):
    """Words from `start` to `end` can be read as one known word or two, the first or both UNKNOWN: none, as they stand.

    Of all readings up to `start` the one goes on that this is likeliest after; of those up to `end` with the same last
    word, the likeliest stays.
    """
    rarities, unknown_cost, followers = model
    costs, lasts, firsts, starts, befores, counts = paths
    if second == UNKNOWN:
        cost += unknown_cost
    elif first != UNKNOWN:
        cost += rarity_after(first, second, rarities, followers)
    next_word = second if first == UNKNOWN else first
    least, best = np.inf, -1
    for i in range(counts[start]):
        sum_ = costs[start, i] + cost
        if next_word != UNKNOWN:
            sum_ += rarity_after(lasts[start, i], next_word, rarities, followers)
        if sum_ < least:
            least, best = sum_, i
    place, worst = -1, 0
    for i in range(counts[end]):
        if lasts[end, i] == second:
            place = i
        if costs[end, i] > costs[end, worst]:
            worst = i
    if place < 0 and counts[end] < READINGS:
        place = counts[end]
        counts[end] += 1
        costs[end, place] = np.inf
    elif place < 0:
        place = worst
    if least < costs[end, place]:
        costs[end, place], lasts[end, place], firsts[end, place] = least, second, first
        starts[end, place], befores[end, place] = start, best


@njit(cache=True)
def _read_as_two(paths, start, end, cost, one, other, model, known, scratch, near):
    """The same as two words with a mistake between them, at least one of them known; the other may have a mistake."""
    words, costs, other_words, other_costs = near
    words[0], costs[0] = _first(known[2], _hash(one, -1, -1)), 0.0
    other_words[0], other_costs[0] = _first(known[2], _hash(other, -1, -1)), 0.0
    count = other_count = 1
    if words[0] == UNKNOWN and other_words[0] == UNKNOWN:
        return
    if words[0] == UNKNOWN:
        count = nearest(one, one, 1, known, scratch, words, costs)
    if other_words[0] == UNKNOWN:
        other_count = nearest(other, other, 1, known, scratch, other_words, other_costs)
    for i in range(count):
        for j in range(other_count):
            both = cost + costs[i] + other_costs[j]
            _read_on(paths, start, end, both, words[i], other_words[j], model)


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
        unknown += word == UNKNOWN
    return unknown == 0


@njit(cache=True)
def _read_from(paths, i, texts, spaces, words, model, known, scratch, near, joined, typed):
    """All ways to read what comes after the i-th space."""
    found, costs = near[:2]
    one = texts[spaces[i] + 1 : spaces[i + 1]]
    _read_on(paths, i, i + 1, 0.0, UNKNOWN, words[i], model)
    if len(one) > LONGEST:
        return
    for k in range(nearest(one, one, 2 if words[i] == UNKNOWN else 1, known, scratch, found, costs)):
        _read_on(paths, i, i + 1, costs[k], UNKNOWN, found[k], model)
    if words[i] == UNKNOWN:
        for end in range(1, len(one)):
            _read_as_two(paths, i, i + 1, SLIP, one[:end], one[end:], model, known, scratch, near)
            if end + 1 < len(one):  # the space has become a letter
                _read_as_two(paths, i, i + 1, WRONG, one[:end], one[end + 1 :], model, known, scratch, near)
    for j in range(i + 1, min(i + 3, len(words))):
        other = texts[spaces[j] + 1 : spaces[j + 1]]
        between = texts[spaces[i + 1] : spaces[i + 1] + 1] if j == i + 1 else texts[spaces[i + 1] + 1 : spaces[j]]
        both = len(one) + len(other)
        if both > LONGEST or len(between) > 1 or _all_known(words[i : j + 1]):
            continue
        _copy(other, joined, _copy(one, joined, 0))
        word = _first(known[2], _hash(joined[:both], -1, -1))
        if word != UNKNOWN:  # a space, or a sign, stands where none belongs
            _read_on(paths, i, j + 1, WRONG, UNKNOWN, word, model)
        else:
            length = _copy(other, typed, _copy(between, typed, _copy(one, typed, 0)))
            for k in range(nearest(joined[:both], typed[:length], 2, known, scratch, found, costs)):
                _read_on(paths, i, j + 1, costs[k], UNKNOWN, found[k], model)
        if j == i + 1:  # the space has changed places with a letter
            for end in (len(one) - 1, len(one) + 1):
                if 0 < end < both:
                    _read_as_two(paths, i, j + 1, SLIP, joined[:end], joined[end:both], model, known, scratch, near)


@njit(cache=True, nogil=True)
def correct(texts, starts, known, model):
    """Texts with words that are not known spelled as known ones, where that is likelier: points and starts; and of each
    word in them, which word of its text it is read from, the first one if from several.

    A text is read as the words that cost least: a known word −ln of how likely it is after the one before, each mistake
    `SLIP` or `WRONG`, a word that stays unknown unknown_cost. A space may be missing, stand where none belongs, or have
    changed places with a letter. What is known may be a mistake too, but not where all is known.
    """
    points, word_starts, table = known[:3]
    scratch = np.empty(MOST_DELETIONS, np.int64), np.empty((3, LONGEST + 3))
    near = np.empty(NEAREST, np.int64), np.empty(NEAREST), np.empty(NEAREST, np.int64), np.empty(NEAREST)
    joined, typed = np.empty(LONGEST, texts.dtype), np.empty(LONGEST + 1, texts.dtype)
    size = (WORDS_AT_ONCE + 1, READINGS)
    costs, lasts, firsts = np.empty(size), np.empty(size, np.int64), np.empty(size, np.int64)
    froms, befores, counts = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size[0], np.int64)
    paths = costs, lasts, firsts, froms, befores, counts
    words = np.empty(WORDS_AT_ONCE, np.int64)
    ends, readings = np.empty(size[0], np.int64), np.empty(size[0], np.int64)
    out = np.empty(4 * len(texts), texts.dtype)  # no reading is longer
    out_starts = np.zeros(len(starts), np.int64)
    sources = np.empty(len(texts), np.int32)
    total = written = 0
    for t in range(len(starts) - 1):
        text = texts[starts[t] : starts[t + 1]]
        spaces = np.flatnonzero(text == SPACE)
        out[total] = SPACE
        total += 1
        last = len(word_starts) - 1  # the beginning
        for begin in range(0, len(spaces) - 1, WORDS_AT_ONCE):
            here = spaces[begin : begin + WORDS_AT_ONCE + 1]
            number = len(here) - 1
            for i in range(number):
                words[i] = _first(table, _hash(text[here[i] + 1 : here[i + 1]], -1, -1))
            if _all_known(words[:number]):
                total = _copy(text[here[0] + 1 : here[number] + 1], out, total)
                for i in range(number):
                    sources[written + i] = begin + i
                written += number
                last = words[number - 1]
                continue
            counts[:] = 0
            counts[0], costs[0, 0], lasts[0, 0] = 1, 0.0, last
            for i in range(number):
                _read_from(paths, i, text, here, words[:number], model, known, scratch, near, joined, typed)
            reading = np.argmin(costs[number, : counts[number]])
            last = lasts[number, reading]
            steps, end = 0, number
            while end > 0:
                ends[steps], readings[steps] = end, reading
                steps += 1
                end, reading = froms[end, reading], befores[end, reading]
            for k in range(steps - 1, -1, -1):
                end, reading = ends[k], readings[k]
                start = froms[end, reading]
                if lasts[end, reading] == UNKNOWN:
                    total = _copy(text[here[start] + 1 : here[end] + 1], out, total)
                    sources[written] = begin + start
                    written += 1
                for word in (firsts[end, reading], lasts[end, reading]):
                    if word != UNKNOWN:
                        total = _copy(points[word_starts[word] : word_starts[word + 1]], out, total)
                        out[total] = SPACE
                        total += 1
                        sources[written] = begin + start
                        written += 1
        out_starts[t + 1] = total
    return out[:total].copy(), out_starts, sources[:written].copy()
