"""The codebook follows its vectors, and revives codes that nothing uses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.autoencoders.vqvae import init_codebook, nearest_code, update_codebook

KEY = jax.random.key(0)
MODEL = gm.VQVAE(
    gm.networks.ConvEncoder((8,), 4, vector=False),
    gm.networks.ConvDecoder((8,), (8, 8, 1)),
    num_codes=16,
)
forward = jax.jit(MODEL.forward, static_argnames="train")
CLUSTERS = jnp.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])


def vectors(seed, num=256):
    key_which, key_noise = jax.random.split(jax.random.key(seed))
    which = jax.random.randint(key_which, (num,), 0, 4)
    return CLUSTERS[which] + 0.1 * jax.random.normal(key_noise, (num, 2))


def moved(book, steps, dead_below=0.1, decay=0.9):
    def step(book, i):
        v, key = vectors(i), jax.random.fold_in(KEY, i)
        codes = nearest_code(book, v)
        return update_codebook(book, v, codes, key, decay=decay, dead_below=dead_below), None

    return jax.jit(lambda book: jax.lax.scan(step, book, jnp.arange(steps))[0])(book)


def test_nearest_is_the_nearest():
    book, v = init_codebook(KEY, vectors(0), 16), vectors(1)
    distances = np.linalg.norm(np.asarray(v)[:, None] - np.asarray(book["embedding"]), axis=-1)
    np.testing.assert_array_equal(nearest_code(book, v), distances.argmin(axis=1))


def test_codes_become_the_means_of_their_vectors():
    start = CLUSTERS + 1.0
    book = {"embedding": start, "count": jnp.ones(4), "sum": start}
    np.testing.assert_allclose(moved(book, 60)["embedding"], CLUSTERS, atol=0.05)
    np.testing.assert_allclose(moved(book, 60)["count"], 64.0, rtol=0.2)  # 256 vectors, 4 codes


def test_dead_codes_restart_where_there_are_vectors():
    embedding = jnp.concatenate([CLUSTERS[:1], jnp.full((3, 2), 100.0)])
    book = {"embedding": embedding, "count": jnp.ones(4), "sum": embedding}
    kept = moved(book, 80, dead_below=0.0)
    assert np.all(kept["embedding"][1:] > 50), "without restarts they stay where nothing is"
    revived = moved(book, 80)
    assert np.abs(revived["embedding"]).max() < 6
    used = np.unique(nearest_code(revived, vectors(99)))
    assert len(used) == 4


@pytest.fixture(scope="module")
def started(digits):
    """A batch, and fresh parameters and state."""
    batch = digits.rows(np.arange(8))
    return batch, *jax.jit(MODEL.init)(KEY, batch)


def test_gradient_passes_straight_through_and_the_codebook_gets_none(started):
    batch, params, state = started
    outputs, after = forward(params, batch, KEY, state=state, train=True)
    np.testing.assert_allclose(outputs.z, outputs.z_q, atol=1e-5)
    assert not np.array_equal(after["codebook"]["count"], state["codebook"]["count"])
    _, same = forward(params, batch, KEY, state=state, train=False)
    np.testing.assert_array_equal(same["codebook"]["sum"], state["codebook"]["sum"])
    grads = jax.jit(jax.grad(lambda s: MODEL.loss(params, batch, KEY, state=s)[0]))(state)
    assert all(np.all(g == 0) for g in jax.tree.leaves(grads["codebook"]["count"]))


def test_codes_decode_to_the_reconstruction_and_bound_the_likelihood(started):
    batch, params, state = started
    codes = MODEL.encode(params, batch["x"], state=state)
    assert codes.shape == (8, 4, 4) and codes.dtype == jnp.int32
    outputs, _ = forward(params, batch, KEY, state=state, train=False)
    np.testing.assert_array_equal(codes, outputs.codes)
    decoded = MODEL.decode(params, codes, state=state)
    np.testing.assert_allclose(decoded, outputs.likelihood.mean(), atol=1e-3)
    bound = MODEL.log_prob_bound(params, batch["x"], KEY, state=state)
    # A fresh codebook has even counts: each of 16 positions costs log 16 nats.
    expected = outputs.likelihood.log_prob(batch["x"]) - 16 * np.log(16)
    np.testing.assert_allclose(bound, expected, rtol=1e-5)


def test_the_codebook_must_be_given():
    with pytest.raises(ValueError, match="state=train_state.state"):
        MODEL.sample({}, KEY, 2)
