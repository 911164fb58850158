"""The metrics between two logs, and what stops a run."""

import json

import numpy as np
import pytest

from genjax_models.training import NonFiniteLoss
from genjax_models.training.window import Window


def rows(**values):
    return {name.replace("_", "/", 1): np.asarray(v, np.float32) for name, v in values.items()}


def test_means_do_not_depend_on_how_the_steps_are_cut():
    values = np.random.default_rng(0).lognormal(sigma=6.0, size=257).astype(np.float32)
    means = set()
    for size in (1, 3, 64, 257):
        window = Window()
        for i in range(0, 257, size):
            window.add(rows(a_loss=values[i : i + size]), first_step=i)
            window = Window(**json.loads(json.dumps(window.as_json())))  # as a checkpoint keeps it
        means.add(window.means()["a/loss"])
    assert len(means) == 1
    np.testing.assert_allclose(means.pop(), values.astype(np.float64).mean(), rtol=1e-12)


def test_a_cleared_window_starts_anew():
    window = Window()
    window.add(rows(a_loss=[1.0, 3.0]), first_step=0)
    assert window.means() == {"a/loss": 2.0}
    window.clear()
    window.add(rows(a_loss=[5.0]), first_step=2)
    assert window.means() == {"a/loss": 5.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a_kl": [0, np.nan], "a_loss": [0, np.nan]}, "step 12: 'kl' of player 'a' is nan"),
        ({"a_kl": [0, 1], "a_loss": [0, np.inf]}, "step 12: 'loss' of player 'a' is inf"),
        # The gradient of step 11 is what spoilt the terms of step 12.
        (
            {"a_kl": [0, np.nan], "a_loss": [0, np.nan], "a_gradient_norm": [np.inf, np.nan]},
            "step 11: 'gradient_norm' of player 'a' is inf",
        ),
        ({"a_kl": [0, np.nan], "b_kl": [-np.inf, 0]}, "step 11: 'kl' of player 'b' is -inf"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(given, message):
    with pytest.raises(NonFiniteLoss, match=message):
        Window().add(rows(**given), first_step=10)
