"""Lossless compression: exact round trips, code lengths against the models' own, refusals."""

import dataclasses
import functools
import json
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.applications import compression
from genjax_models.applications.compression import (
    bits_back,
    coder,
    probabilities,
    sequential,
)
from genjax_models.core import DataSpec, distributions, likelihoods, preprocess
from genjax_models.networks.mlp import MLP
from tests.autoregressive import tiny

HEADER = 110  # bytes, at most: what every file has beside its words


def params_of(model, seed=0):
    """Parameters of random numbers, without compiling what would start them otherwise."""
    batch = {"x": jnp.zeros((2, *model.spec.shape), jnp.uint8), "label": jnp.zeros(2, jnp.int32)}
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0), batch)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: rng.normal(0, 0.3, a.shape).astype(np.float32), shapes)


MADE_OF_PIXELS = tiny.MODELS["made"]
DIGITS = DataSpec((8, 8, 1), 17, name="digits")
VAE = gm.VAE(MLP((8, 4)), MLP((8, 64 * 17)), 2, DIGITS, likelihoods.categorical)


@pytest.fixture(scope="module")
def vae():
    """A VAE, digits, and their file."""
    x = gm.load("digits", split="test").rows(np.arange(300))["x"]
    params = params_of(VAE)
    return VAE, params, x, compression.compress(VAE, params, x, block=5)


@pytest.fixture(scope="module")
def made():
    """An autoregressive model of black and white pixels, examples, and their file."""
    rng = np.random.default_rng(0)
    x = tiny.every_example(tiny.IMAGE)[rng.integers(0, 64, 500)].astype(np.uint8)
    params = params_of(MADE_OF_PIXELS)
    return MADE_OF_PIXELS, params, x, compression.compress(MADE_OF_PIXELS, params, x)


def same(rows, x):
    np.testing.assert_array_equal(rows["x"], x)
    assert rows["x"].dtype == x.dtype


# Round trips


def test_a_vae_gives_back_what_it_was_given(vae):
    model, params, x, file = vae
    same(compression.decompress(model, params, file), x)


@pytest.mark.parametrize("block", [3, 7])
def test_whoever_reads_need_not_know_the_size_of_the_passes(made, vae, block):
    for model, params, x, _ in (made, vae):
        file = compression.compress(model, params, x[:10], block=block)
        assert compression.read(file)[0].block == block
        same(compression.decompress(model, params, file), x[:10])


def test_devices_make_no_difference(made, vae):
    mesh = jax.make_mesh((8,), ("data",))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    for model, params, x, file in (made, vae):
        spread = jax.device_put(params, everywhere)
        with jax.default_device(jax.devices()[5]), jax.default_matmul_precision("bfloat16"):
            same(compression.decompress(model, spread, file), x)
            again = compression.compress(model, spread, x, block=compression.read(file)[0].block)
        assert again == file


READER = """
import jax, sys
assert jax.device_count() == 1
from genjax_models.applications import compression
from tests.applications.test_compression import MADE_OF_PIXELS, params_of
with open(sys.argv[1], "rb") as file:
    x = compression.decompress(MADE_OF_PIXELS, params_of(MADE_OF_PIXELS), file.read())["x"]
print(x.reshape(-1).tolist())
"""


def test_another_process_with_one_device_reads_it(made, tmp_path, monkeypatch):
    _, _, x, file = made
    path = tmp_path / "made.gjx"
    path.write_bytes(file)
    monkeypatch.setenv("XLA_FLAGS", "")  # other than this process's own
    command = [sys.executable, "-c", READER, str(path)]
    end = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(end.stdout) == x.reshape(-1).tolist()


@pytest.mark.parametrize("name", ["colour", "rotary_of_labels"])
def test_channels_texts_and_labels(name):
    model = tiny.MODELS[name]
    every = tiny.every_example(model.spec)
    x = every.astype(np.int32 if model.spec.vocabulary else np.uint8)
    label = np.arange(len(x)) % 2 if model.num_classes else None
    params = params_of(model)
    file = compression.compress(model, params, x, label=label)
    rows = compression.decompress(model, params, file)
    same(rows, x)
    assert set(rows) == ({"x"} if label is None else {"x", "label"})
    if label is not None:
        np.testing.assert_array_equal(rows["label"], label)


def test_what_a_model_binarises_is_kept_as_it_sees_it():
    spec = dataclasses.replace(tiny.IMAGE, num_levels=256)
    prepare = preprocess.dynamic_binarization
    model = dataclasses.replace(MADE_OF_PIXELS, spec=spec, preprocess=prepare)
    x = np.random.default_rng(0).integers(0, 256, (9, 3, 2, 1)).astype(np.uint8)
    params = params_of(model)
    with pytest.raises(ValueError, match="as_modelled"):
        compression.compress(model, params, x)
    seen = compression.as_modelled(model, x, jax.random.key(0))
    assert set(np.unique(seen)) == {0, 255}
    np.testing.assert_array_equal(compression.as_modelled(model, seen, jax.random.key(1)), seen)
    same(compression.decompress(model, params, compression.compress(model, params, seen)), seen)


# Code lengths


def test_an_autoregressive_code_is_as_long_as_the_model_says(made):
    model, params, x, file = made
    bits = -np.sum(np.asarray(model.log_prob(params, jnp.asarray(x)))) / np.log(2)
    words = compression.read(file)[2]
    assert bits - 1 <= 32 * len(words) <= bits + 64 + 1e-4 * bits
    assert len(file) - 4 * len(words) <= HEADER


def test_a_bits_back_code_is_as_long_as_the_bound(vae):
    model, params, x, file = vae
    elbo = jax.jit(lambda key: model.elbo(params, jnp.asarray(x), key))
    draws = [float(np.sum(elbo(jax.random.key(i)))) for i in range(20)]
    bits = -np.mean(draws) / np.log(2)
    words = compression.read(file)[2]
    random_bits = 5 * 2 * np.log2(bits_back.BUCKETS) + 96
    assert -0.01 * bits <= 32 * len(words) - bits <= 0.01 * bits + random_bits
    # Were the bits that choose the codes not had back, it would be longer by more than that.
    q = model.posterior_of(params, jnp.asarray(x), jax.random.key(0))
    kl = np.asarray(q.kl(model.prior_of(params, len(x)))) / np.log(2)
    assert np.sum(2 * np.log2(bits_back.BUCKETS) - kl) > 0.02 * bits + random_bits


def test_weights_are_the_likelihoods_own():
    key = jax.random.key(0)
    logits = jax.random.normal(key, (3, 2, 1, 5))
    p = np.asarray(jax.nn.softmax(logits)).reshape(6, 5) * 2.0**24
    weigh = jax.jit(probabilities.level_weights, static_argnums=(1, 2))
    given = weigh(distributions.Categorical(logits), (2, 1), 5)
    np.testing.assert_allclose(given, p, atol=8)
    np.testing.assert_array_equal(given, np.round(given))
    binomial = distributions.Binomial(logits, 4)
    weights = np.asarray(weigh(binomial, (2, 1, 5), 5))
    np.testing.assert_allclose(weights.sum(-1), 2.0**24, atol=50)
    means = (weights @ np.arange(5)).reshape(logits.shape) / 2.0**24
    np.testing.assert_allclose(means, binomial.mean(), atol=1e-4)


def test_the_last_level_can_be_coded_whatever_its_weight():
    stream = probabilities.entropy_coders()
    for first in range(2**23 - 4, 2**23 + 4):
        weights = probabilities.in_double(np.float32([[first, 2**23 + 3, 0, 0]]))
        ans, family = stream.stack.AnsCoder(), stream.model.Categorical(perfect=False)
        ans.encode_reverse(np.int32([3]), family, weights)
        assert ans.decode(family, weights) == [3]
    with pytest.raises(ValueError, match="not finite"):
        probabilities.in_double(np.float32([[0.5, np.nan]]))


def test_buckets_have_equal_mass_under_the_prior():
    prior = distributions.Normal(jnp.full((1, 2), 0.5), jnp.full((1, 2), 0.3))
    weigh = jax.jit(probabilities.bucket_weights, static_argnums=2)
    weights = weigh(prior, prior, 64)
    np.testing.assert_allclose(weights, 2.0**24 / 64, rtol=1e-3)
    index = np.tile(np.arange(64)[:, None], 2)
    centres = jax.jit(probabilities.bucket_centres, static_argnums=2)(prior, index, 64)
    np.testing.assert_allclose(np.mean(centres, 0), 0.5, atol=1e-5)
    q = distributions.Normal(jnp.zeros((1, 2)), jnp.full((1, 2), -3.0))
    mass = np.asarray(weigh(q, prior, 64)) / 2.0**24
    mean = mass @ np.asarray(centres[:, 0])
    np.testing.assert_allclose(mean, 0.0, atol=0.01)


# Refusals


def refused(model, params, file, match):
    with pytest.raises(ValueError, match=match) as error:
        compression.decompress(model, params, file)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_refused(made):
    model, params, _, file = made
    for size in range(len(file)):
        refused(
            model, params, file[:size], "truncated" if size >= 8 else "not a file of compressed"
        )
    refused(model, params, file + b"\0", "corrupt")
    for i in range(len(file)):
        damaged = bytearray(file)
        damaged[i] ^= 0x10
        refused(model, params, bytes(damaged), "corrupt|truncated|version|not a file of compressed")
    refused(model, params, b"PK\x03\x04 something else", "not a file of compressed")


def test_another_model_is_refused(made, vae):
    model, params, _, file = made
    refused(model, jax.tree.map(lambda a: a * np.float32(1 + 1e-6), params), file, "another model")
    other = dataclasses.replace(model, marginals=False)
    refused(other, params, file, "another model")
    refused(*vae[:2], file, "another model")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num": 2**40}, r"1,099,511,627,776 examples in \d+ words"),
        ({"num": 0}, "0 examples"),
        ({"coder": 7}, "coder 7 for 1"),
        ({"coder": 2}, "coder 2 for 1"),
        ({"block": 2**31}, "a block of 2,147,483,648 examples"),
        ({"block": 0}, "a block of 0 examples"),
        ({"num_levels": 2**31}, "levels 2147483648 for"),
        ({"shape": (2**31,)}, r"shape \(2147483648,\) for"),
        ({"shape": ()}, r"shape \(\) for"),
    ],
    ids=str,
)
def test_a_crafted_header_with_the_right_checksum_is_refused_before_the_work(change, words, made):
    model, params, _, file = made
    header, label_words, rest = compression.read(file)
    crafted = coder.write(header._replace(**change), label_words, rest)
    refused(model, params, crafted, f"header cannot be of this model .*{words}")


def test_a_block_has_a_most(made):
    model, params, x, _ = made
    for block in (0, 2**31):
        with pytest.raises(ValueError, match="block must be at least 1 and at most 4096"):
            compression.compress(model, params, x, block=block)


def test_fingerprints_tell_functions_apart():
    def of(slope):
        function = functools.partial(jax.nn.leaky_relu, negative_slope=slope)
        return compression.fingerprint(MLP((8, 4), function), {}, {})

    relu, tanh = (compression.fingerprint(MLP((8, 4), f), {}, {}) for f in (jax.nn.relu, jnp.tanh))
    assert of(0.1) == of(0.1)
    assert len({relu, tanh, of(0.1), of(0.2)}) == 4


def test_other_arithmetic_is_said_to_be_so(made, monkeypatch):
    model, params, _, file = made
    step = sequential._step

    def off_by_a_bit(*args):
        weights, carry = step(*args)
        return np.asarray(weights) + np.float32([0, 2.0**18]), carry

    monkeypatch.setattr(sequential, "_step", off_by_a_bit)
    refused(model, params, file, "arithmetic")


def test_a_later_version_is_refused(made):
    model, params, _, file = made
    body = bytearray(file[:-4])
    body[len(coder.MAGIC)] = 2
    later = bytes(body) + zlib.crc32(body).to_bytes(4, "little")
    refused(model, params, later, "version 2")


def test_what_allows_no_exact_code_is_refused(vae):
    flow = gm.flows.glow(DIGITS, steps=1)
    with pytest.raises(TypeError, match="autoregressive model, or a VAE"):
        compression.compress(flow, {}, np.zeros((1, 8, 8, 1), np.uint8))
    posterior = gm.flows.FlowPosterior(gm.flows.Repeat(gm.flows.Planar(), 1), amortized=True)
    encoder = MLP((posterior.num_outputs(2),))
    model = dataclasses.replace(VAE, encoder=encoder, posterior=posterior)
    with pytest.raises(TypeError, match="Normal posterior"):
        compression.compress(model, params_of(model), vae[2][:2])
    mixture = tiny.MODELS["mixture"]
    with pytest.raises(TypeError, match="no distribution of each entry by itself"):
        compression.compress(mixture, params_of(mixture), np.zeros((1, 1, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((0, 3, 2, 1), np.uint8), "no example"),
        (np.zeros((1, 2, 2, 1), np.uint8), "shape"),
        (np.full((1, 3, 2, 1), 2, np.uint8), "values 0 .. 1"),
        (np.zeros((1, 3, 2, 1), np.float32), "give them as integers"),
    ],
)
def test_examples_that_are_not_the_models_are_refused(made, x, match):
    model, params, *_ = made
    with pytest.raises(ValueError, match=match):
        compression.compress(model, params, x)


def test_labels_must_be_given():
    model = tiny.MODELS["made_of_labels"]
    params = params_of(model)
    x = np.zeros((2, 3, 2, 1), np.uint8)
    for label, match in ((None, "none"), (np.zeros(3, int), "shape"), (np.array([0, 2]), "label")):
        with pytest.raises(ValueError, match=match):
            compression.compress(model, params, x, label=label)
