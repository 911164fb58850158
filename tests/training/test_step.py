"""The step: who moves what, averages, accumulation, and what Optax brings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.core import Player
from genjax_models.training import ema_decay, init_state, make_step
from tests.training.toys import Affine, Game, arrays, points

BATCH = points().rows(np.arange(16))
MEAN = BATCH["x"].mean(axis=0)


def run(model, optimizer, steps=1, **kwargs):
    """States and metrics of some steps on the same batch, the state before them first."""
    step = jax.jit(make_step(model, optimizer, **kwargs))
    states, rows = [init_state(model, optimizer, BATCH, seed=0)], []
    for _ in range(steps):
        state, metrics = step(states[-1], BATCH)
        states.append(state)
        rows.append(metrics)
    return states, rows


def test_players_move_in_turns_and_only_what_they_own():
    states, rows = run(Game(), optax.sgd(0.1), steps=3)
    leader, follower = np.zeros(2), np.ones(2)
    for state, metrics in zip(states[1:], rows, strict=True):
        # Each sees what the one before it made of the parameters, the follower twice a step.
        np.testing.assert_allclose(
            metrics["leader/gradient_norm"], np.linalg.norm(leader - MEAN), rtol=1e-5
        )
        leader = leader - 0.1 * (leader - MEAN)
        for _ in range(2):
            loss = 0.5 * np.sum((follower - leader) ** 2)
            follower = follower - 0.1 * (follower - leader)
        np.testing.assert_allclose(state.params["leader"]["at"], leader, rtol=1e-5)
        np.testing.assert_allclose(state.params["follower"]["at"], follower, rtol=1e-5)
        np.testing.assert_allclose(metrics["follower/loss"], loss, rtol=1e-5)
    assert set(rows[0]) == {
        f"{player}/{name}"
        for player in ("leader", "follower")
        for name in ("loss", "squared", "gradient_norm")
    }


def test_each_player_has_the_optimizer_of_its_name():
    optimizers = {"follower": optax.sgd(0.5), "leader": optax.set_to_zero()}
    states, _ = run(Game(), optimizers)
    np.testing.assert_array_equal(states[1].params["leader"]["at"], np.zeros(2))
    np.testing.assert_allclose(states[1].params["follower"]["at"], 0.25 * np.ones(2))


def test_optimizers_and_losses_name_players():
    sgd = optax.sgd(0.1)
    with pytest.raises(ValueError, match="are given for leader, but .* follower, leader: give one"):
        make_step(Game(), {"leader": sgd})
    with pytest.raises(ValueError, match="are given for follower, leader, third, but"):
        make_step(Game(), {"leader": sgd, "follower": sgd, "third": sgd})
    with pytest.raises(TypeError, match=r"optimizer of 'leader' is 0.1: give .*optax.adam"):
        make_step(Game(), 0.1)
    with pytest.raises(ValueError, match="for 'vae', but the model's players are leader, follower"):
        make_step(Game(), sgd, losses={"vae": Game().loss})


def test_parameters_that_nobody_owns_are_refused():
    class Idle(Game):
        @property
        def players(self):
            return {"leader": super().players["leader"]}

    with pytest.raises(ValueError, match="for follower, leader, but its players own leader: each"):
        init_state(Idle(), optax.sgd(0.1), BATCH, seed=0)


@pytest.mark.parametrize(
    ("owns", "message"),
    [
        (("leader", "follower"), "'leader' is owned by 'leader' and by 'follower': one player"),
        (
            ("follower", "judge"),
            "for follower, leader, but its players own follower, judge, leader",
        ),
    ],
)
def test_players_who_own_what_they_cannot_are_refused(owns, message):
    class Greedy(Game):
        @property
        def players(self):
            players = super().players
            return {**players, "follower": dataclasses.replace(players["follower"], owns=owns)}

    with pytest.raises(ValueError, match=message):
        init_state(Greedy(), optax.sgd(0.1), BATCH, seed=0)


def test_a_player_makes_a_turn():
    with pytest.raises(ValueError, match="turns is 0, but a player makes at least 1 update"):
        Player(Game().loss, owns=("leader",), turns=0)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_the_average_follows_its_recursion(decay):
    states, _ = run(Affine(), optax.sgd(0.2), steps=12, ema=decay)
    average = arrays(states[0].params)["affine"]["shift"].astype(np.float64)
    for t, state in enumerate(states[1:]):
        d = min(decay, (1 + t) / (10 + t))
        assert float(ema_decay(decay, jnp.asarray(t))) == pytest.approx(d, rel=1e-6)
        average = d * average + (1 - d) * np.asarray(state.params["affine"]["shift"])
        np.testing.assert_allclose(state.ema["affine"]["shift"], average, rtol=2e-5, atol=1e-6)
    if decay == 0.0:
        np.testing.assert_array_equal(arrays(states[-1].ema)["affine"]["shift"],
                                      arrays(states[-1].params)["affine"]["shift"])  # fmt: skip


def test_accumulated_gradients_are_those_of_the_whole_batch():
    whole, whole_rows = run(Affine(), optax.sgd(0.1), steps=3)
    parts, parts_rows = run(Affine(), optax.sgd(0.1), steps=3, accumulate=4)
    for name in ("shift", "scale"):
        np.testing.assert_allclose(
            parts[-1].params["affine"][name], whole[-1].params["affine"][name], rtol=1e-5
        )
    for name, value in whole_rows[-1].items():
        np.testing.assert_allclose(parts_rows[-1][name], value, rtol=1e-5)
    assert int(whole[-1].state["passes"]) == 3
    assert int(parts[-1].state["passes"]) == 12  # the state goes from part to part


def test_each_accumulated_part_has_noise_of_its_own():
    alike = {"x": np.repeat(BATCH["x"][:1], 4, axis=0)}
    model, sgd = Affine(noise=1.0), optax.sgd(1.0)
    state = init_state(model, sgd, BATCH, seed=0)
    watching = model.loss.watch(first=lambda outputs: outputs.y[0, 0])
    step = jax.jit(make_step(model, sgd, losses={"affine": watching}, accumulate=2))
    seen = step(state, alike)[1]["affine/first"]
    # Were both parts given the noise of the first, the mean of their first rows would be its own.
    part = jax.random.fold_in
    key = part(part(part(state.key, 0), 0), 0)
    rows = [
        model.forward(state.params, {"x": alike["x"][:2]}, k, state=state.state, train=True)[0].y
        for k in (part(key, 0), part(key, 1))
    ]
    assert not np.allclose(rows[0], rows[1])
    np.testing.assert_allclose(seen, (rows[0][0, 0] + rows[1][0, 0]) / 2, rtol=1e-5)


def test_clipping_and_schedules_are_those_of_optax():
    clipped = optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(lambda t: 10.0**-t))
    states, rows = run(Affine(), clipped, steps=3)
    for t in range(3):
        moved = jax.tree.map(jnp.subtract, states[t + 1].params, states[t].params)
        np.testing.assert_allclose(optax.tree.norm(moved), 0.01 * 10.0**-t, rtol=2e-2)
        assert rows[t]["affine/gradient_norm"] > 1.0  # reported as it was before


def test_weights_that_are_schedules_are_asked_for_the_step():
    model = Affine()
    loss = model.loss.weigh(squared=lambda t: 2.0 * t)
    states, rows = run(model, optax.sgd(0.1), steps=3, losses={"affine": loss})
    np.testing.assert_array_equal(
        states[1].params["affine"]["shift"], states[0].params["affine"]["shift"]
    )
    for t, metrics in enumerate(rows):
        np.testing.assert_allclose(
            metrics["affine/loss"], 2.0 * t * metrics["affine/squared"], rtol=1e-6
        )


def test_the_noise_is_new_at_every_step():
    _, rows = run(Affine(noise=1.0), optax.set_to_zero(), steps=3)
    assert len({float(metrics["affine/loss"]) for metrics in rows}) == 3


def test_networks_that_compute_in_bfloat16_keep_float32_parameters(digits):
    mlp = gm.networks.MLP
    half = {"dtype": jnp.bfloat16}
    model = gm.Autoencoder(mlp((32, 8), **half), mlp((32, 64), **half), latent_dim=8)
    optimizer = optax.adam(3e-3)
    batch = digits.rows(np.arange(64))
    state = jax.jit(lambda b: init_state(model, optimizer, b, 0))(batch)
    step = jax.jit(make_step(model, optimizer))
    assert "bf16[64,64] " in str(jax.make_jaxpr(step)(state, batch))  # it does compute so
    first = None
    for _ in range(30):
        state, metrics = step(state, batch)
        first = float(metrics["autoencoder/loss"]) if first is None else first
    assert float(metrics["autoencoder/loss"]) < 0.8 * first
    for tree in (state.params, state.ema, state.opt_state):
        floats = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]
        assert floats and all(a.dtype == jnp.float32 for a in floats)
