"""Joint energy models whose classes are Gaussians: everything is known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import networks
from genjax_models.core.types import DataSpec
from genjax_models.energy import MALA, JointEnergyModel, Langevin, Replay
from tests.energy.exact import POINTS, Linear

MEANS = ((2.0, 0.0), (0.0, 1.0), (-1.0, -1.0))
SPEC = dataclasses.replace(POINTS, num_classes=3)
# With logits m_k^T x and a standard normal as reference, p(x | k) = N(m_k, I) and
# p(k) is proportional to exp(|m_k|^2 / 2).
MODEL = JointEnergyModel(Linear(MEANS), SPEC, replay=Replay(Langevin(0.1), 3, size=60))
PRIOR = np.exp([2.0, 0.5, 1.0]) / np.exp([2.0, 0.5, 1.0]).sum()


@pytest.fixture(scope="module")
def params():
    return MODEL.init(jax.random.key(0), {"x": jnp.zeros((3, 2))})[0]


def log_joint(x):
    """log p(x, k) `[B, 3]` of the Gaussians."""
    apart = np.asarray(x)[:, None] - np.asarray(MEANS)
    return np.log(PRIOR) - 0.5 * (apart**2).sum(-1) - np.log(2 * np.pi)


def test_one_classifier_is_every_density(params):
    x = jax.random.normal(jax.random.key(1), (6, 2))
    joint = log_joint(x)
    marginal = np.log(np.exp(joint).sum(-1))
    label = jnp.array([0, 1, 2, 0, 1, 2])

    @jax.jit
    def of(x):
        joint = MODEL.energy(params, x, label=label), MODEL.score(params, x, label=label)
        return MODEL.classify(params, x), MODEL.energy(params, x), *joint

    p, energy, energy_of_label, score = of(x)
    np.testing.assert_allclose(p, np.exp(joint - marginal[:, None]), rtol=1e-4)
    # Both energies lack the same constant, log Z.
    log_z = np.log(np.exp([2.0, 0.5, 1.0]).sum())
    np.testing.assert_allclose(-energy - log_z, marginal, rtol=1e-4)
    np.testing.assert_allclose(-energy_of_label - log_z, joint[np.arange(6), label], rtol=1e-4)
    np.testing.assert_allclose(score, np.asarray(MEANS)[label] - x, rtol=1e-4, atol=1e-5)


def test_samples_are_of_their_label(params):
    num = 3000
    options = {"steps": 40, "kernel": MALA(0.8)}
    label = np.arange(num) % 3
    sample = jax.jit(lambda p, k, y: MODEL.sample(p, k, num, label=y, **options))
    x = np.asarray(sample(params, jax.random.key(0), label))
    for k, mean in enumerate(MEANS):
        np.testing.assert_allclose(x[label == k].mean(0), mean, atol=5 / 1000**0.5)


def test_terms_are_those_of_the_marginal_and_the_classifier(params):
    batch = {"x": jax.random.normal(jax.random.key(2), (30, 2)), "label": jnp.arange(30) % 3}
    _, state = MODEL.init(jax.random.key(0), batch)
    key = jax.random.key(3)

    @jax.jit
    def both(params, batch, key, state):
        joint, marginal = (
            model.forward(params, batch, key, state=state, train=True)
            for model in (MODEL, MODEL.marginal)
        )
        return joint, marginal, MODEL.classify(params, batch["x"])

    (outputs, after), (alone, alone_after), p = both(params, batch, key, state)
    terms, log_p = MODEL.loss.terms, np.log(p)
    np.testing.assert_allclose(
        terms["cross_entropy"](outputs), -log_p[np.arange(30), batch["label"]], rtol=1e-4
    )
    found = MODEL.loss.watched["accuracy"](outputs)
    np.testing.assert_allclose(found, np.mean(log_p.argmax(-1) == batch["label"]), rtol=1e-6)
    # As the marginal itself: the same samples, the same energies.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, outputs.contrast, alone)
    close(after["buffer"].values, alone_after["buffer"].values)
    close(terms["contrastive_divergence"](outputs), alone.energy - alone.energy_model)


def test_labels_are_asked_for():
    with pytest.raises(ValueError, match="points has no labels"):
        JointEnergyModel(Linear(MEANS), POINTS)
    with pytest.raises(ValueError, match=r"returned \(4,\) for each example, and labelled has 3"):
        spec = DataSpec((2,), None, 3, name="labelled")
        model = JointEnergyModel(networks.MLP((4,)), spec, replay=Replay(size=0))
        model.init(jax.random.key(0), {"x": jnp.zeros((3, 2))})
