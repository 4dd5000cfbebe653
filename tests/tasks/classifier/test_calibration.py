"""Blending and calibration find the weights that were hidden in the labels."""

import pytest
import torch

from charrnn.tasks.classifier.calibration import (
    Blend,
    calibrated_nats,
    expected_calibration_error,
    fit_blend,
    nats,
    probabilities,
)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_weights_by_which_labels_were_drawn_are_found(multi_label: bool) -> None:
    torch.manual_seed(0)
    scores = list(torch.randn(2 if multi_label else 3, 20_000, 3))
    hidden = Blend(2.0, 0.5, 0.0 if multi_label else 0.25, -1.0 if multi_label else 0.0)
    found = probabilities(hidden.logits(*scores), multi_label)
    targets = found.bernoulli() if multi_label else found.multinomial(1)[:, 0]
    blend = fit_blend(scores, targets)
    for name in ("network", "linear", "ngrams", "bias"):
        assert getattr(blend, name) == pytest.approx(getattr(hidden, name), abs=0.1)


def test_weights_stay_finite_where_nothing_goes_wrong() -> None:
    targets = torch.arange(3).repeat(5)
    logits = torch.eye(3)[targets]
    blend = fit_blend([logits, logits], targets)
    assert 1 < blend.network < 100
    assert 0 < blend.linear < 100


def test_boldness_does_not_change_calibrated_nats() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(500, 4), torch.randint(0, 4, (500,))
    logits[torch.arange(500), targets] += 2
    bold = calibrated_nats(3 * logits, targets)
    assert bold == pytest.approx(calibrated_nats(logits, targets), rel=0.02)
    assert bold <= nats(3 * logits, targets).item()


def test_calibration_error_is_the_gap_between_said_and_true() -> None:
    confidence = torch.tensor([0.8] * 100)
    correct = torch.tensor([True] * 60 + [False] * 40)
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.2)
    assert expected_calibration_error(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])) == 0
    assert expected_calibration_error(torch.empty(0), torch.empty(0)) == 0
