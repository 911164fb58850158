"""What is scored, encoded, evaluated and trained on is of the model's spec, or is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.core.conditions import check_data, check_known

KEY = jax.random.key(0)
mlp = gm.networks.MLP
LEVELS = gm.DataSpec((2, 2, 1), num_levels=17, num_classes=3, name="little")
REAL = gm.DataSpec((4,), num_levels=None, name="points")
X = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
POINTS = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(3, 4)


class DataOf:
    """A data set that is read when it is asked for."""

    arrays = None

    def __init__(self, spec, x, label=None):
        self.spec, self.columns = spec, {"x": x} if label is None else {"x": x, "label": label}

    def __len__(self):
        return len(self.columns["x"])

    def rows(self, indices):
        return {name: a[indices] for name, a in self.columns.items()}

    def batches(self, size):
        for i in range(0, len(self), size):
            yield self.rows(np.arange(i, min(i + size, len(self))))

    def gather(self, arrays, indices):
        return {name: a[indices] for name, a in arrays.items()}


class InMemory(DataOf):
    @property
    def arrays(self):
        return self.columns


WRONG_LEVELS = {
    "a level too many": (X + 16, r"x holds (17|27|16|2\d), but little has values 0 .. 16"),
    "another data set's": (X.astype(int) * 20, "x holds 220"),
    "negative": (X.astype(int) - 1, "x holds -1, but little has values 0 .. 16"),
    "floats": (X.astype(np.float32), "x is of float32, but little has levels 0 .. 16"),
    "in 0 .. 1": (X / 16, "x is of float64"),
    "NaN": (np.full(X.shape, np.nan), "x is of float64"),
}
WRONG_POINTS = {
    "NaN": (np.where(POINTS == 1, np.nan, POINTS), "x holds nan, but points has finite numbers"),
    "infinite": (np.where(POINTS == 1, np.inf, POINTS), "x holds inf"),
    "minus infinity": (np.where(POINTS == -1, -np.inf, POINTS), "x holds -inf"),
    "integers": (POINTS.astype(int), "x is of int64, but points has real numbers"),
    "bytes": (POINTS.astype(np.uint8), "x is of uint8"),
}
WRONG_SHAPES = {
    "another shape": (X[:, :1], r"\(2, 2, 1\), but it was given \(1, 2, 1\)"),
    "a single example": (X[0], r"but it was given \(2, 1\)"),
    "none": (X[:0], r"x holds no example: give \[B, 2, 2, 1\]"),
}
CASES = [
    *[(LEVELS, x, message) for x, message in (WRONG_LEVELS | WRONG_SHAPES).values()],
    *[(REAL, x, message) for x, message in WRONG_POINTS.values()],
    (REAL, POINTS[:0], "x holds no example"),
]


def networks(spec, out):
    return mlp((8, out))


def models(spec):
    """One model for each Protocol, of a spec."""
    size = spec.num_dims
    likelihood = gm.likelihoods.normal if spec.num_levels is None else gm.likelihoods.bernoulli
    made = {
        "vae": gm.VAE(mlp((4, 4)), mlp((4, size)), 2, spec=spec, likelihood=likelihood),
        "energy": gm.EnergyModel(mlp((4, 1)), spec=spec),
        "flow": gm.flows.maf(spec, steps=1, hidden=(4,)),
    }
    return made


def calls(model, x):
    """Everything that looks at examples."""
    params = {}
    for name in ("log_prob", "energy", "encode"):
        if hasattr(model, name):
            yield name, lambda name=name: getattr(model, name)(params, x)
    if hasattr(model, "log_prob_bound"):
        yield "log_prob_bound", lambda: model.log_prob_bound(params, x, KEY)
    if hasattr(model, "decode"):
        yield "interpolate", lambda: gm.core.interpolate(model, params, x, x)
        mask = np.ones(np.shape(x)[1:], bool)
        editing = gm.applications.editing
        yield "complete", lambda: editing.complete(model, params, x, KEY, mask=mask)


@pytest.mark.parametrize(("spec", "x", "message"), CASES)
def test_data_that_are_not_the_models_are_refused_before_anything_is_computed(spec, x, message):
    for given in (x, jnp.asarray(x)):
        if given.dtype != x.dtype:  # without 64 bits there is no such array
            message = message.replace("64", "32")
        with pytest.raises(ValueError, match=message):
            check_data(given, spec)
    for model in models(spec).values():
        for name, call in calls(model, x):
            if name == "complete" and "no example" in message:
                continue
            with pytest.raises(ValueError, match=message.replace("32", r"\d\d")):
                call()


@pytest.mark.parametrize(
    ("spec", "x"),
    [
        (LEVELS, X),
        (LEVELS, X.astype(np.int64)),
        (LEVELS, X > 3),
        (LEVELS, np.full((1, 2, 2, 1), 16)),
        (dataclasses.replace(LEVELS, num_levels=256), np.full((1, 2, 2, 1), 255, np.uint8)),
        (dataclasses.replace(LEVELS, num_levels=1), np.zeros((1, 2, 2, 1), np.int8)),
        (REAL, POINTS),
        (REAL, POINTS.astype(np.float16)),
        (REAL, jnp.asarray(POINTS, jnp.bfloat16)),
        (REAL, 1e30 * POINTS),
    ],
)
def test_data_that_are_the_models_are_taken(spec, x):
    check_data(x, spec)
    check_data(jnp.asarray(x), spec)
    check_data(jax.device_put(jnp.asarray(x), jax.devices()[3]), spec)


def test_what_stands_where_nothing_is_known_does_not_matter():
    x = np.where(np.arange(4) < 2, POINTS, np.nan)
    check_known(x, np.arange(4) < 2, REAL)
    check_known(POINTS, None, REAL)
    for mask in (np.arange(4) < 3, None):
        with pytest.raises(ValueError, match="x holds nan"):
            check_known(x, mask, REAL)


@pytest.mark.parametrize("data", [DataOf, InMemory])
@pytest.mark.parametrize(("x", "message"), WRONG_LEVELS.values(), ids=WRONG_LEVELS)
def test_values_are_looked_at_where_data_and_model_meet(data, x, message):
    """The data set says that it is of the model's spec, and holds something else."""
    dataset = data(LEVELS, np.concatenate([X, X, x]))
    model = gm.Autoencoder(mlp((4, 2)), mlp((4, 4)), 2, spec=LEVELS)
    with pytest.raises(ValueError, match=message):
        gm.evaluate(model, {}, dataset, KEY)
    with pytest.raises(ValueError, match=message):
        gm.fit(model, dataset, optax.adam(1e-3), steps=5, batch_size=9, devices=1)


@pytest.mark.parametrize("data", [DataOf, InMemory])
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.arange(9) % 4, "label 3 is given.*one of 3 labels: give labels in 0 .. 2"),
        (np.arange(9) % 3 - 1, "label -1 is given"),
        (np.zeros(9, np.float32), "label is of float32"),
        (np.eye(9, 3, dtype=np.int32), r"label has shape \(9, 3\), and there are 9 examples"),
    ],
)
def test_labels_are_looked_at_where_data_and_model_meet(data, label, message):
    dataset = data(LEVELS, np.concatenate([X, X, X]), label)
    model = gm.VAE(mlp((4, 4)), mlp((4, 4)), 2, spec=LEVELS, num_classes=3)
    with pytest.raises(ValueError, match=message):
        gm.evaluate(model, {}, dataset, KEY)
    with pytest.raises(ValueError, match=message):
        gm.fit(model, dataset, optax.adam(1e-3), steps=5, batch_size=9, devices=1)
    # Nobody asks for the labels.
    plain = dataclasses.replace(model, num_classes=None)
    gm.fit(plain, dataset, optax.adam(1e-3), steps=1, batch_size=9, devices=1)


def test_a_conditional_model_asks_for_labels():
    dataset = InMemory(LEVELS, X)
    model = gm.VAE(mlp((4, 4)), mlp((4, 4)), 2, spec=LEVELS, num_classes=3)
    for call in (
        lambda: gm.evaluate(model, {}, dataset, KEY),
        lambda: gm.fit(model, dataset, optax.adam(1e-3), steps=1, batch_size=3, devices=1),
        lambda: model.encode({}, X),
    ):
        with pytest.raises(ValueError, match="conditional on one of 3 labels"):
            call()


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(LEVELS, num_levels=256),
        dataclasses.replace(LEVELS, num_levels=None),
        dataclasses.replace(LEVELS, shape=(4, 1, 1)),
    ],
    ids=str,
)
def test_a_data_set_of_another_spec_is_refused_by_all_that_look_at_examples(other):
    model = gm.VAE(mlp((4, 4)), mlp((4, 4)), 2, spec=other)
    dataset = InMemory(LEVELS, X)
    for look in (
        lambda: gm.evaluate(model, {}, dataset, KEY),
        lambda: gm.metrics.evaluate_likelihood(model, {}, dataset, KEY),
        lambda: gm.applications.anomaly.score(model, {}, dataset, KEY),
        lambda: gm.applications.bias.encode_dataset(model, {}, dataset),
        lambda: gm.fit(model, dataset, optax.adam(1e-3), steps=1, batch_size=3, devices=1),
    ):
        with pytest.raises(ValueError, match="build the model with spec=data.spec"):
            look()


def test_names_of_the_data_and_of_the_classes_are_no_part_of_the_comparison():
    model = gm.EnergyModel(mlp((4, 1)), spec=dataclasses.replace(LEVELS, name="train"))
    params, state = model.init(KEY, {"x": X})
    gm.evaluate(model, params, InMemory(LEVELS, X), KEY, state=state)


def test_an_empty_data_set_is_refused():
    model = gm.VAE(mlp((4, 4)), mlp((4, 4)), 2, spec=LEVELS)
    dataset = DataOf(LEVELS, X[:0])
    for look in (
        lambda: gm.evaluate(model, {}, dataset, KEY),
        lambda: gm.applications.bias.encode_dataset(model, {}, dataset),
    ):
        with pytest.raises(ValueError, match="little has no example"):
            look()


def test_translations_are_of_their_sources_spec():
    source = gm.DataSpec((2, 2, 1), num_levels=4, name="sketch")
    pix2pix = gm.Pix2Pix(mlp((4, 4)), mlp((4, 1)), spec=LEVELS, source_spec=source)
    cyclegan = gm.CycleGAN(mlp((4, 4)), mlp((4, 1)), spec=LEVELS, spec_y=source)
    for call in (
        lambda x: pix2pix.translate({}, x),
        lambda x: pix2pix.sample({}, KEY, len(x), condition=x),
        lambda x: cyclegan.y_to_x({}, x),
    ):
        with pytest.raises(ValueError, match="holds 11, but sketch has values 0 .. 3"):
            call(X)
    for call in (
        lambda x: cyclegan.x_to_y({}, x),
        lambda x: cyclegan.sample({}, KEY, len(x), x=x),
    ):
        with pytest.raises(ValueError, match="x holds 27, but little has values 0 .. 16"):
            call(X + 16)
