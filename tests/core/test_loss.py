"""Losses compose: weights, schedules, added and dropped terms, and one forward pass for all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_models.core import Loss

BATCH = {"x": jnp.array([1.0, 2.0, 3.0])}


def forward(params, batch, key, *, state, train):
    return params["scale"] * batch["x"], {**state, "passes": state.get("passes", 0) + train}


LOSS = Loss(forward, {"linear": lambda x: x, "square": lambda x: x**2}, {"square": 0.5})


def call(loss, **kwargs):
    return loss({"scale": jnp.float32(2.0)}, BATCH, jax.random.key(0), **kwargs)


def test_the_total_is_the_weighted_sum_of_means():
    total, aux = call(LOSS)
    linear, square = 4.0, 4 * 14 / 3
    np.testing.assert_allclose(total, linear + 0.5 * square, rtol=1e-6)
    np.testing.assert_allclose(aux.metrics["linear"], linear, rtol=1e-6)
    np.testing.assert_allclose(aux.metrics["square"], square, rtol=1e-6)
    assert aux.metrics["loss"] == total
    assert aux.state == {"passes": 1}
    assert call(LOSS, train=False)[1].state == {"passes": 0}


def test_changes_give_new_losses():
    weighed = LOSS.weigh(linear=3.0)
    added = LOSS.add(one=jnp.ones_like)
    dropped = LOSS.drop("square")
    np.testing.assert_allclose(call(weighed)[0], 3 * 4 + 0.5 * 56 / 3, rtol=1e-6)
    np.testing.assert_allclose(call(added)[0] - call(LOSS)[0], 1.0, rtol=1e-5)
    np.testing.assert_allclose(call(dropped)[0], 4.0)
    assert "square" not in call(dropped)[1].metrics
    assert set(LOSS.terms) == {"linear", "square"}, "the loss itself is as it was"
    np.testing.assert_allclose(call(LOSS.drop("square").add(square=lambda x: x))[0], 8.0)


def test_a_schedule_is_asked_for_the_step():
    loss = LOSS.drop("square").weigh(linear=optax.linear_schedule(0.0, 1.0, 10))
    totals = [float(call(loss, step=step)[0]) for step in (0, 5, 20)]
    np.testing.assert_allclose(totals, [0.0, 2.0, 4.0], rtol=1e-6)


def test_what_is_watched_is_reported_and_not_trained_on():
    loss = LOSS.watch(biggest=jnp.max)
    total, aux = call(loss)
    assert aux.metrics["biggest"] == 6.0
    assert total == call(LOSS)[0]


@pytest.mark.parametrize("change", [lambda: LOSS.weigh(squar=1.0), lambda: LOSS.drop("squar")])
def test_an_unknown_term_is_an_error_that_lists_the_terms(change):
    with pytest.raises(ValueError, match=r"no term 'squar' .*'square'.*linear, square"):
        change()


@pytest.mark.parametrize("change", ["add", "watch"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("linear", "has a term 'linear' already: drop it first"),
        ("biggest", "'biggest' is the name of a scalar that is watched already"),
        ("loss", "'loss' is the name of the total already"),
    ],
)
def test_no_figure_takes_the_name_of_another(change, name, said):
    loss = LOSS.watch(biggest=jnp.max)
    with pytest.raises(ValueError, match=said):
        getattr(loss, change)(**{name: jnp.max})
