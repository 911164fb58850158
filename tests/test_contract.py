"""Every model is held to the same contract. Adding a model adds one row to `MODELS`."""

import dataclasses
import functools

import chex
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.core.protocols import (
    ApproximateDensity,
    Representation,
    TractableDensity,
    UnnormalizedDensity,
)
from genjax_models.training import checkpoint
from genjax_models.training.state import init_state
from tests.programs import num_compiled

mlp = gm.networks.MLP
conv_encoder = functools.partial(gm.networks.ConvEncoder, (8,))
conv_decoder = functools.partial(gm.networks.ConvDecoder, (8,))
residual = functools.partial(gm.networks.ResidualNetwork, 8, 1)

MODELS = {
    "autoencoder": gm.Autoencoder(mlp((32, 8)), mlp((32, 64)), latent_dim=8),
    "vae_conditional_binary": gm.VAE(
        mlp((32, 16)),
        mlp((32, 64)),
        latent_dim=8,
        num_classes=10,
        likelihood=gm.likelihoods.bernoulli,
        preprocess=gm.preprocess.dynamic_binarization,
    ),
    "vae_planar": gm.VAE(
        mlp((32, 8 + 2 * 9)),
        mlp((32, 64)),
        latent_dim=4,
        posterior=gm.flows.FlowPosterior(gm.flows.Repeat(gm.flows.Planar(), 2), amortized=True),
    ),
    "hierarchical_vae_conditional": gm.HierarchicalVAE(
        (
            gm.autoencoders.LatentLayer(6, mlp((32,)), mlp((32, 12)), mlp((32,)), mlp((32, 12))),
            gm.autoencoders.LatentLayer(4, mlp((16,)), mlp((16, 8)), mlp((32,))),
        ),
        mlp((32, 64)),
        num_classes=10,
    ),
    "vqvae": gm.VQVAE(conv_encoder(4, vector=False), conv_decoder((8, 8, 1)), num_codes=16),
    "glow_conditional": gm.flows.glow(num_scales=2, steps=1, network=residual, num_classes=10),
    "maf": gm.flows.maf(steps=2, hidden=(32,)),
    "made": gm.Autoregressive(gm.networks.MADE((8, 8, 1), 17, (64,))),
    "pixelcnn_conditional": gm.Autoregressive(
        gm.networks.GatedPixelCNN((8, 8, 1), 17, channels=8, layers=2, first_size=3, head=16),
        num_classes=10,
    ),
    "pixelrnn": gm.Autoregressive(
        gm.networks.PixelRNN((8, 8, 1), 17, channels=8, layers=1, head=16)
    ),
    "image_gpt": gm.Autoregressive(
        gm.networks.Transformer(17, width=16, heads=2, layers=1, max_length=64),
        inputs=gm.autoregressive.tokens,
    ),
    "diffusion": gm.Diffusion(
        gm.networks.DiT(4, 8, 1, 2, out=2),
        num_classes=10,
        drop_label=0.1,
        steps=100,
        learned_variance=True,
        time_sampler=gm.diffusion.time_sampler.Importance(4),
    ),
    "flow_matching": gm.FlowMatching(
        gm.networks.DiT(4, 8, 1, 2),
        coupling=gm.diffusion.flow_matching.minibatch_optimal_transport,
    ),
    "masked_diffusion": gm.MaskedDiffusion(
        gm.networks.Transformer(18, 16, 2, 1, 64, causal=False, outputs=17)
    ),
    "consistency": gm.diffusion.Consistency(
        gm.Diffusion(gm.networks.DiT(4, 8, 1, 2), num_classes=10, drop_label=0.1), intervals=8
    ),
    "latent_diffusion": gm.diffusion.LatentDiffusion(
        gm.Diffusion(
            gm.networks.DenoisingMLP(8, 16, 1),
            spec=gm.DataSpec((8,), num_levels=None, name="codes"),
        ),
        gm.Autoencoder(mlp((32, 8)), mlp((32, 64)), latent_dim=8),
    ),
    "gan_conditional": gm.GAN(
        mlp((32, 64)),
        mlp((32, 1)),
        latent_dim=8,
        num_classes=10,
        game=gm.adversarial.losses.least_squares,
        turns=2,
    ),
    "progressive": gm.adversarial.ProgressiveGAN(
        gm.GAN(
            gm.networks.ProgressiveGenerator((8, 8, 1), (6, 4)),
            gm.networks.ProgressiveDiscriminator((6, 4)),
            latent_dim=4,
            game=gm.adversarial.losses.least_squares,
        ),
        # In the middle of a fade, where both stages learn.
        gm.adversarial.Growth(2, stage_images=0, fade_images=10_000, start=4_000),
    ),
    "pix2pix": gm.Pix2Pix(
        # Blocks would see 2x2 pixels here, whose small variances amplify rounding a thousandfold.
        gm.networks.ResNetTranslator(1, channels=4, blocks=0),
        gm.networks.PatchDiscriminator(channels=4, layers=1),
        l1=1.0,
    ),
    "cyclegan": gm.CycleGAN(gm.networks.MLP((16, 64)), gm.networks.MLP((16, 1)), pool_size=240),
    "energy": gm.EnergyModel(mlp((32, 1)), replay=gm.energy.Replay(steps=3, size=240)),
    "joint_energy": gm.JointEnergyModel(mlp((32, 10)), replay=gm.energy.Replay(steps=3, size=240)),
}
BESIDE = {"pix2pix": "condition", "cyclegan": "x"}
"""Model -> what its samples are made of, an example of the data."""
STEPS, GAINING_STEPS = 6, 120
ADAM, STILL = optax.adam(1e-3, eps=1e-4), optax.set_to_zero()
"""Adam takes a whole step along a gradient of rounding alone, unless its epsilon is above that."""


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def digits(digits):
    """Digits with another one beside each, for models that translate."""
    x = digits.arrays["x"]
    return dataclasses.replace(
        digits, arrays={**digits.arrays, "condition": x[:, ::-1], "y": np.roll(x, 1, axis=0)}
    )


@pytest.fixture(scope="module")
def trained(model, digits):
    """A state after a few steps on one device, the reference of the tests below."""
    return fit(model, digits)


def fit(model, data, steps=STEPS, optimizer=ADAM, **kwargs):
    kwargs = {"devices": 1, "batch_size": 16, "log_every": 2, **kwargs}
    return gm.fit(model, data, optimizer, steps=steps, **kwargs)


def arrays(state):
    """The state's leaves with keys as integers, so that they can be compared."""

    def as_data(a):
        is_key = jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(a) if is_key else a)

    return jax.tree.map(as_data, state)


@pytest.fixture(scope="module")
def started(model, digits):
    """A fresh state, and the batch that it was made from."""
    batch = digits.rows(np.arange(16))
    return jax.jit(functools.partial(init_state, model, optax.sgd(0.1)))(batch, 0), batch


def test_is_a_frozen_value_that_prints_as_what_builds_it(model):
    again = eval(repr(model), {"gm": gm, "jax": jax, "flax": flax})
    assert again == model and hash(again) == hash(model)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.spec = None


def test_gradients_of_a_loss_that_is_traced_once_reach_what_its_player_owns(model, started, digits):
    state, batch = started
    assert {name for p in model.players.values() for name in p.owns} == set(state.params)
    for name, player in model.players.items():
        owned = {k: state.params[k] for k in player.owns}
        chex.clear_trace_counter()

        @chex.assert_max_traces(n=1)
        def value(owned, batch, key, step, loss=player.loss):
            return loss({**state.params, **owned}, batch, key, state=state.state, step=step)

        gradient = jax.jit(jax.value_and_grad(value, has_aux=True))
        (loss, aux), grads = gradient(owned, batch, jax.random.key(0), 0)
        gradient(owned, digits.rows(np.arange(16, 32)), jax.random.key(1), 1)
        chex.assert_shape(loss, ())
        assert aux.metrics["loss"] == loss
        assert set(player.loss.terms) <= set(aux.metrics)
        for path, grad in jax.tree_util.tree_leaves_with_path(grads):
            where = f"{name} {jax.tree_util.keystr(path)}"
            assert np.all(np.isfinite(grad)), f"{where} has a gradient that is not finite"
            assert np.any(grad != 0), f"{where} has no gradient"


def test_a_step_moves_what_its_players_own(model, started):
    state, batch = started
    after, metrics = jax.jit(gm.make_step(model, optax.sgd(0.1)))(state, batch)
    assert int(after.step) == 1
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    for name in state.params:
        for before, now in zip(
            jax.tree.leaves(state.params[name]), jax.tree.leaves(after.params[name]), strict=True
        ):
            assert not np.array_equal(before, now)
    assert {f"{name}/loss" for name in model.players} <= set(metrics)


def test_samples_are_data_and_a_function_of_the_key(model, trained, digits, request):
    beside = BESIDE.get(request.node.callspec.params["model"])
    given = {} if beside is None else {beside: digits.arrays["x"][:5]}
    sample = functools.partial(model.sample, num=5, state=trained.state, **given)
    x = sample(trained.ema, jax.random.key(1))
    assert x.shape == (5, *digits.spec.shape)
    assert x.dtype == digits.arrays["x"].dtype
    assert 0 <= int(x.min()) and int(x.max()) < digits.spec.num_levels
    np.testing.assert_array_equal(x, sample(trained.ema, jax.random.key(1)))
    if beside is None:  # what is given decides a translation
        assert not np.array_equal(x, sample(trained.ema, jax.random.key(2)))


def test_each_player_gains_while_the_others_stand_still(model, digits):
    for player in model.players:
        losses = []
        optimizers = {name: ADAM if name == player else STILL for name in model.players}

        def hook(state, metrics, losses=losses, loss=f"{player}/loss"):
            losses.append(metrics[loss])

        # As `fit` above has it, so that one-player models need no other program.
        fit(model, digits, GAINING_STEPS, optimizer=optimizers, log_every=20, hooks=[hook])
        assert losses[-1] < losses[0] - 0.05 * abs(losses[0])


def test_a_resumed_run_is_bitwise_the_same(model, trained, digits, tmp_path):
    logs = {"whole": [], "resumed": []}

    def log(to):
        return lambda state, metrics: logs[to].append((int(state.step), metrics))

    whole = fit(model, digits, log_every=2, hooks=[log("whole")])
    # Stopped at step 3, in the middle of the steps between two logs.
    fit(model, digits, 3, checkpoint_dir=tmp_path, log_every=2)
    resumed = fit(model, digits, checkpoint_dir=tmp_path, log_every=2, hooks=[log("resumed")])
    chex.assert_trees_all_equal(arrays(resumed), arrays(whole))
    chex.assert_trees_all_equal(arrays(whole), arrays(trained))
    assert logs["resumed"] == [row for row in logs["whole"] if row[0] > 3]


@pytest.mark.parametrize(
    ("mapping", "devices"),
    [("mesh", 2), ("pmap", 8)],  # `training` tries the others
)
def test_any_number_of_devices_gives_the_same_run(model, trained, digits, mapping, devices):
    state = fit(model, digits, devices=devices, mapping=mapping)
    assert np.array_equal(arrays(state).key, arrays(trained).key)
    chex.assert_trees_all_close(
        arrays(state)._replace(key=0),
        arrays(trained)._replace(key=0),
        rtol=2e-3,
        atol=5e-5,
    )


def test_a_checkpoint_is_loaded_by_its_directory(model, trained, digits, tmp_path):
    checkpoint.save(tmp_path, trained, {"note": 1})
    start = functools.partial(init_state, model, ADAM, seed=1)
    template = jax.eval_shape(start, digits.rows(np.arange(16)))
    loaded, extra = checkpoint.load(tmp_path, template)
    chex.assert_trees_all_equal(arrays(loaded), arrays(trained))
    assert extra == {"note": 1}


def test_plain_calls_compile_once(model, trained, digits, request):
    params, state, batch = trained.ema, trained.state, digits.rows(np.arange(4))
    x = digits.arrays["x"][:5]
    beside = BESIDE.get(request.node.callspec.params["model"])
    given = {} if beside is None else {beside: x}
    condition = gm.metrics.conditions(model, batch)
    calls = {"sample": lambda key: model.sample(params, key, num=5, state=state, **given)}
    if isinstance(model, TractableDensity):
        calls["log_prob"] = lambda key: model.log_prob(
            params, batch["x"], key=key, state=state, **condition
        )
    if isinstance(model, ApproximateDensity):
        calls["log_prob_bound"] = lambda key: model.log_prob_bound(
            params, batch["x"], key, 3, state=state, **condition
        )
    if isinstance(model, UnnormalizedDensity):
        calls["energy"] = lambda key: model.energy(params, batch["x"], state=state)
    if isinstance(model, Representation):
        calls["decode"] = lambda key: model.decode(
            params,
            model.encode(params, batch["x"], state=state, **condition),
            state=state,
            **condition,
        )
    for name, call in calls.items():
        call(jax.random.key(0))
        programs = num_compiled(lambda call=call: call(jax.random.key(1)))
        assert programs == 0, f"{name} compiles {programs} programs anew"


def test_densities_are_per_example_and_finite(model, trained, digits):
    batch = digits.rows(np.arange(4))
    condition = gm.metrics.conditions(model, batch)
    if isinstance(model, TractableDensity):
        log_prob = model.log_prob(trained.ema, batch["x"], state=trained.state, **condition)
    elif isinstance(model, ApproximateDensity):
        log_prob = model.log_prob_bound(
            trained.ema, batch["x"], jax.random.key(0), 3, state=trained.state, **condition
        )
    elif isinstance(model, UnnormalizedDensity):
        energy = model.energy(trained.ema, batch["x"], state=trained.state)
        assert energy.shape == (4,) and np.all(np.isfinite(energy))
        return
    else:
        pytest.skip("the model has no density")
    assert log_prob.shape == (4,)
    assert np.all(np.isfinite(log_prob)) and np.all(log_prob < 0)


def test_codes_decode_to_data(model, trained, digits):
    if not isinstance(model, Representation):
        pytest.skip("the model has no codes")
    batch = digits.rows(np.arange(4))
    condition = gm.metrics.conditions(model, batch)
    z = model.encode(trained.ema, batch["x"], state=trained.state, **condition)
    x = model.decode(trained.ema, z, state=trained.state, **condition)
    assert z.shape[0] == 4 and x.shape == batch["x"].shape
    assert x.min() >= 0 and x.max() <= digits.spec.num_levels - 1
