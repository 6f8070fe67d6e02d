"""The weight of the adversary follows what its gradient is beside that of the truth."""

from __future__ import annotations

import pytest
import torch

from derain.stages.losses.balance import ADVERSARY, DECAY, MOST, TRUTH, Balance


def test_norms_are_those_of_single_samples_whatever_the_batch() -> None:
    images = torch.rand(4, 2, 3, 8, 8, requires_grad=True)
    balance = Balance(1.0, 0.1)

    def measured(part: torch.Tensor) -> list[float]:
        terms = balance.measure(part.square().mean(), 3 * part.mean(), part)
        return [float(terms[name]) for name in (TRUTH, ADVERSARY)]

    whole = measured(images)
    halves = [measured(part) for part in images.split(2)]
    assert whole == pytest.approx([sum(pair) / 2 for pair in zip(*halves, strict=True)])
    assert whole[1] == pytest.approx(3 / (2 * 3 * 64) ** 0.5)


def test_the_weight_makes_the_gradient_a_share() -> None:
    balance = Balance(0.01, 0.1)
    assert balance.weight == 0.01  # until something is known
    balance.update({TRUTH: 0.0, ADVERSARY: 0.0})  # the discriminator alone
    assert balance.weight == 0.01
    balance.update({TRUTH: 2.0, ADVERSARY: 4.0})
    assert balance.weight * 4.0 == pytest.approx(0.1 * 2.0)
    balance.update({TRUTH: 2.0, ADVERSARY: 8.0})
    assert balance.adversary == pytest.approx(4 * DECAY + 8 * (1 - DECAY))
    again = Balance(0.01, 0.1)
    again.load_state_dict(balance.state_dict())
    assert again == balance


def test_the_weight_is_capped_and_may_be_fixed() -> None:
    faint, fixed = Balance(0.01, 0.1), Balance(0.01, None)
    for balance in (faint, fixed):
        balance.update({TRUTH: 5.0, ADVERSARY: 1e-6})
    assert faint.weight == MOST * 0.01
    assert fixed.weight == 0.01
