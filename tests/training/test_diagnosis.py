"""The first number that is not finite is named; tests/flows/test_diagnosis.py asks where it is."""

import numpy as np
import pytest

from genjax_models.training import NonFiniteLoss
from genjax_models.training.diagnosis import check_metrics


def rows(**values):
    return {name.replace("_", "/", 1): np.asarray(v, np.float32) for name, v in values.items()}


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
        check_metrics(rows(**given), first_step=10)
