"""Compiled kernels of the linear model: counting hashed n-grams, what words stand near each other, and training a
support vector machine.

Texts are UTF-32 code points, joined: text i is points[starts[i]:starts[i + 1]], its words parted by single spaces,
with a space at either end. There are four kinds of features, told apart by the lowest two bits of a bucket:
n-grams of characters within a word and the spaces around it (0), words and pairs of neighbours (1), pairs of words
no further apart than some distance, whatever stands between them, the beginning of the text being a word (2), and pairs
of the first word, the second, and both as one, with each word that comes later, up to some word (3).

Shapes: N texts, K buckets, F features (buckets that are in use), C classes.
"""

import numpy as np
from numba import int64, njit, prange, uint64

SPACE = 32
CHARACTERS, WORDS, PAIRS, OPENINGS = 0, 1, 2, 3
MULTIPLIER = uint64(0x9E3779B97F4A7C15)
BEGINNING = uint64(1)


@njit(inline="always")
def mix(state, value):
    """A hash, and one more number in it."""
    state = (state ^ uint64(value)) * MULTIPLIER
    return state ^ (state >> uint64(29))


@njit(inline="always")
def _bucket(state, kind, num_buckets):
    """A number below `num_buckets`, a power of two, with the kind in its lowest two bits."""
    return ((state >> uint64(32)) & uint64(num_buckets - 1)) & ~uint64(3) | uint64(kind)


@njit(cache=True)
def _buckets_at(text, start, char_lengths, distance, opening, num_buckets, out):
    """Write the buckets of all features that begin at a place of a text to `out`; returns how many there are."""
    count = 0
    state = MULTIPLIER
    for end in range(start, min(start + char_lengths[1], len(text))):
        state = mix(state, text[end])
        if end - start + 1 >= char_lengths[0]:
            out[count] = _bucket(state, CHARACTERS, num_buckets)
            count += 1
        if text[end] == SPACE and end > start:
            break
    if text[start] == SPACE:
        first = uint64(0)
        state = MULTIPLIER
        words = 0
        for end in range(start + 1, len(text)):
            if text[end] != SPACE:
                state = mix(state, text[end])
                continue
            words += 1
            if start == 0 and words <= distance:
                out[count] = _bucket(mix(BEGINNING, state), PAIRS, num_buckets)
                count += 1
            if words == 1:
                first = state
                out[count] = _bucket(state, WORDS, num_buckets)
                count += 1
            else:
                pair = mix(mix(first, SPACE), state)  # the order of the two counts
                if words == 2:
                    out[count] = _bucket(pair, WORDS, num_buckets)
                    count += 1
                out[count] = _bucket(pair, PAIRS, num_buckets)
                count += 1
            if words > distance:
                break
            state = MULTIPLIER
    if start == 0:
        first, second = uint64(0), uint64(0)
        state = MULTIPLIER
        words = 0
        for end in range(1, len(text)):
            if words == opening:
                break
            if text[end] != SPACE:
                state = mix(state, text[end])
                continue
            words += 1
            if words == 1:
                first = state
            else:
                out[count] = _bucket(mix(mix(first, 1), state), OPENINGS, num_buckets)
                count += 1
                if words == 2:
                    second = state
                else:
                    out[count] = _bucket(mix(mix(second, 2), state), OPENINGS, num_buckets)
                    out[count + 1] = _bucket(mix(mix(mix(first, SPACE), second), state), OPENINGS, num_buckets)
                    count += 2
            state = MULTIPLIER
    return count


@njit(inline="always")
def _most_at(char_lengths, distance, opening):
    """How many features begin at a place, at most."""
    return char_lengths[1] + 2 * distance + 2 + 3 * opening


@njit(cache=True)
def document_counts(points, starts, char_lengths, distance, opening, num_buckets):
    """In how many texts each bucket occurs: (K,)."""
    counts = np.zeros(num_buckets, np.int32)
    last_text = np.full(num_buckets, -1, np.int32)
    buckets = np.empty(_most_at(char_lengths, distance, opening), np.int64)
    for i in range(len(starts) - 1):
        text = points[starts[i] : starts[i + 1]]
        for start in range(len(text) - 1):
            for k in range(_buckets_at(text, start, char_lengths, distance, opening, num_buckets, buckets)):
                bucket = buckets[k]
                if last_text[bucket] != i:
                    last_text[bucket] = i
                    counts[bucket] += 1
    return counts


@njit(cache=True)
def feature_values(points, starts, char_lengths, distance, opening, feature_of, kinds, idf):
    """Weighted features of all texts, sparse: offsets (N + 1,), features (…,) and values (…,) of text after text.

    feature_of (K,) gives the feature of a bucket, or −1; kinds (F,), idf (F,). A value is (1 + ln count)·idf, and
    a text's values of each kind have norm 1.
    """
    offsets = np.zeros(len(starts), np.int64)
    features = np.empty(1024, np.int32)
    values = np.empty(1024, np.float32)
    counts = np.zeros(len(idf), np.int32)
    buckets = np.empty(_most_at(char_lengths, distance, opening), np.int64)
    total = 0
    for i in range(len(starts) - 1):
        text = points[starts[i] : starts[i + 1]]
        begin = total
        for start in range(len(text) - 1):
            while total + len(buckets) > len(features):
                features = np.concatenate((features, np.empty_like(features)))
                values = np.concatenate((values, np.empty_like(values)))
            for k in range(_buckets_at(text, start, char_lengths, distance, opening, len(feature_of), buckets)):
                feature = feature_of[buckets[k]]
                if feature >= 0:
                    if counts[feature] == 0:
                        features[total] = feature
                        total += 1
                    counts[feature] += 1
        squares = np.zeros(4)
        for k in range(begin, total):
            feature = features[k]
            value = (1 + np.log(counts[feature])) * idf[feature]
            counts[feature] = 0
            values[k] = value
            squares[kinds[feature]] += value * value
        for k in range(begin, total):
            values[k] /= np.sqrt(squares[kinds[features[k]]])
        offsets[i + 1] = total
    return offsets, features[:total], values[:total]


@njit(cache=True)
def word_hashes(points, starts):
    """The words of all texts: where each text's begin, (N + 1,), and a hash of each."""
    offsets = np.zeros(len(starts), np.int64)
    hashes = np.empty(len(points), np.int64)
    total = 0
    for i in range(len(starts) - 1):
        state = MULTIPLIER
        for k in range(starts[i] + 1, starts[i + 1]):
            if points[k] == SPACE:
                hashes[total] = int64(state)
                total += 1
                state = MULTIPLIER
            else:
                state = mix(state, points[k])
        offsets[i + 1] = total
    return offsets, hashes[:total].copy()


@njit(cache=True)
def cooccurrences(words, offsets, num_words, num_contexts, reach):
    """How often words stand near the most frequent ones, nearer counting more: (num_words, num_contexts).

    `words` are ranks by frequency, −1 for words that are left out; `offsets` says where each line's begin.
    """
    near = np.zeros((num_words, num_contexts), np.float32)
    for line in range(len(offsets) - 1):
        for i in range(offsets[line], offsets[line + 1]):
            for j in range(i + 1, min(i + reach + 1, offsets[line + 1])):
                one, other = words[i], words[j]
                if one < 0 or other < 0:
                    continue
                weight = np.float32(1.0) / np.float32(j - i)
                if other < num_contexts:
                    near[one, other] += weight
                if one < num_contexts:
                    near[other, one] += weight
    return near


@njit(cache=True, parallel=True)
def train_svm(offsets, features, values, belongs, cost, own_costs, num_features, epochs, tolerance, seed):
    """Linear machines, one class against all others, by dual coordinate descent (Hsieh et al. 2008, algorithm 3).

    Each minimizes |w|²/2 + Σ cost·max(0, 1 − y·wx)², with the cost of own_costs (C,) for texts of the class itself.
    belongs (C, N) tells each text's classes. A last feature, always 1, makes for the bias. Returns weights (C, F + 1).
    """
    num_classes, num_texts = belongs.shape
    weights = np.zeros((num_classes, num_features + 1), np.float32)
    squares = np.ones(num_texts)
    for i in range(num_texts):
        for k in range(offsets[i], offsets[i + 1]):
            squares[i] += values[k] * values[k]
    for c in prange(num_classes):
        costs = np.where(belongs[c], own_costs[c], cost)
        _train_one(offsets, features, values, belongs[c], costs, squares, weights[c], epochs, tolerance, seed)
    return weights


@njit(cache=True)
def _train_one(offsets, features, values, belongs, costs, squares, weights, epochs, tolerance, seed):
    """Fill `weights` (F + 1,). Texts that will surely stay without effect are left aside until the end."""
    np.random.seed(seed)
    num_texts = len(belongs)
    duals = np.zeros(num_texts)
    active = np.arange(num_texts)
    size = num_texts
    limit = np.inf
    for _ in range(epochs):
        np.random.shuffle(active[:size])
        highest, lowest = -np.inf, np.inf
        place = 0
        while place < size:
            i = active[place]
            sign = 1.0 if belongs[i] else -1.0
            margin = weights[-1]
            for k in range(offsets[i], offsets[i + 1]):
                margin += weights[features[k]] * values[k]
            diagonal = 0.5 / costs[i]
            gradient = sign * margin - 1 + diagonal * duals[i]
            if duals[i] == 0 and gradient > 0:
                if gradient > limit:
                    size -= 1
                    active[place], active[size] = active[size], active[place]
                    continue
                lowest = min(lowest, 0.0)
                highest = max(highest, 0.0)
            else:
                highest = max(highest, gradient)
                lowest = min(lowest, gradient)
                before = duals[i]
                duals[i] = max(before - gradient / (squares[i] + diagonal), 0.0)
                step = (duals[i] - before) * sign
                weights[-1] += step
                for k in range(offsets[i], offsets[i + 1]):
                    weights[features[k]] += step * values[k]
            place += 1
        if highest - lowest < tolerance:
            if size == num_texts:
                break
            size, limit = num_texts, np.inf
        else:
            limit = highest if highest > 0 else np.inf
