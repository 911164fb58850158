"""What is saved is what is loaded, in another process too; nothing else is, and no code runs."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.training.state import init_state
from tests.test_contract import BESIDE, MODELS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def examples(digits):
    x = digits.arrays["x"]
    arrays = {**digits.arrays, "condition": x[:, ::-1], "y": np.roll(x, 1, axis=0)}
    return dataclasses.replace(digits, arrays=arrays)


def started(model, examples):
    """Parameters and state, from the program that the contract compiles as well."""
    start = jax.jit(functools.partial(init_state, model, optax.sgd(0.1)))
    state = start(examples.rows(np.arange(16)), 0)
    return state.params, state.state


@pytest.fixture(scope="module")
def vae():
    return gm.VAE(gm.networks.MLP((8, 8)), gm.networks.MLP((8, 64)), latent_dim=4)


@pytest.fixture
def saved(vae, examples, tmp_path):
    gm.save(tmp_path / "vae", vae, *started(vae, examples), metadata={"note": "mine"})
    return tmp_path / "vae"


def test_every_model_draws_the_same_samples_in_a_fresh_process(examples, tmp_path):
    expected = {}
    for name, model in MODELS.items():
        params, state = started(model, examples)
        given = {BESIDE[name]: examples.arrays["x"][:5]} if name in BESIDE else {}
        gm.save(tmp_path / name, model, params, state)
        np.savez(tmp_path / name / "given.npz", **given)
        x = model.sample(params, jax.random.key(1), num=5, state=state, **given)
        expected[name] = np.asarray(x).tobytes().hex()
    end = subprocess.run(
        [sys.executable, "-m", "tests.loading", tmp_path],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert not end.returncode, end.stderr
    assert dict(line.split() for line in end.stdout.splitlines()) == expected


def test_what_is_loaded_is_what_was_saved(vae, saved, examples):
    model, params, state = gm.load_model(str(saved))
    assert model == vae and hash(model) == hash(vae)
    same = jax.tree.map(np.array_equal, (params, state), started(vae, examples))
    assert jax.tree.all(same)
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "weights.safetensors"]
    assert gm.saving.read_page(saved)["metadata"] == {"note": "mine"}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_parameters_of_other_types_keep_them(dtype, examples, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Cast:
        """A model all of whose parameters are of a type."""

        spec: gm.DataSpec = gm.core.DIGITS

        def init(self, key, batch):
            return {"w": jnp.ones(3, dtype), "n": jnp.zeros((), jnp.int32)}, {}

    gm.saving.register(Cast, f"tests.{dtype.__name__}")
    model = Cast()
    gm.save(tmp_path, model, *model.init(jax.random.key(0), None))
    loaded, params, state = gm.load_model(tmp_path)
    assert loaded == model and state == {}
    assert params["w"].dtype == dtype and params["n"].shape == () and np.all(params["w"] == 1)


class Range(NamedTuple):
    """A part of a model that is a named tuple."""

    low: float
    high: float


def test_named_tuples_stay_what_they_are_and_plain_ones_too(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Ranged:
        """A model with a named tuple beside a plain one that is equal to it."""

        named: Range
        plain: tuple[float, float]
        spec: gm.DataSpec = gm.core.DIGITS

        def init(self, key, batch):
            return {}, {}

    gm.saving.register(Range, "tests.Range")
    gm.saving.register(Ranged, "tests.Ranged")
    gm.save(tmp_path, Ranged(Range(0.0, 1.0), (0.0, 1.0)), {})
    model, _, _ = gm.load_model(tmp_path)
    assert type(model.named) is Range and model.named.high == 1.0
    assert type(model.plain) is tuple and model.plain == model.named


def edited(folder, change):
    """Changes the page as `change(page)` does, the checksum of the weights left as it is."""
    path = folder / "model.json"
    page = json.loads(path.read_text("utf-8"))
    change(page)
    path.write_text(json.dumps(page), "utf-8")


EVIL = [
    {"name": "os.system"},
    {"name": "builtins.eval"},
    {"name": "gm.core.values.sys"},
    {"name": "gm.plots.grid"},
    {"name": "gm.fit"},
    {"name": "flax.linen.module.os"},
    {"name": "jax.numpy.save"},
    {"call": "os.system", "kwargs": {}, "args": ["touch ran"]},
    {"call": "gm.partial", "kwargs": {}, "args": [{"name": "os.system"}, "touch ran"]},
    {"call": "gm.flows.glow", "kwargs": {}},
    {"call": "gm.saving.save", "kwargs": {}},
    {"call": {"name": "os.system"}, "kwargs": {}},
    {"import": "os"},
    {},
]


@pytest.mark.parametrize("evil", EVIL, ids=str)
def test_names_that_are_no_part_of_a_model_are_refused(evil, saved, monkeypatch):
    monkeypatch.chdir(saved)
    edited(saved, lambda page: page["model"]["kwargs"].update(encoder=evil))
    with pytest.raises(ValueError, match=r"model.json.* holds no model of .*(name|nothing|class)"):
        gm.load_model(saved)
    assert not (saved / "ran").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda page: page.update(format=2), "of format 2, .* install that version"),
        (lambda page: page.pop("format"), "no model that gm.save wrote"),
        (lambda page: page.update(sha256="0"), "damaged, or belongs to another model.json"),
        (lambda page: page.pop("model"), "holds no model of"),
        (lambda page: page["model"]["kwargs"].update(depth=3), "holds no model of .*depth"),
        (
            lambda page: page["model"]["kwargs"].update(latent_dim=5),
            "holds no model of .*10 outputs",
        ),
        (lambda page: page["model"]["kwargs"].pop("encoder"), "holds no model of .*encoder"),
    ],
)
def test_a_page_that_is_not_the_weights_is_refused(change, match, saved):
    edited(saved, change)
    with pytest.raises(ValueError, match=match) as raised:
        gm.load_model(saved)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_file_that_is_cut_short_or_gone_is_refused(name, saved):
    whole = (saved / name).read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 3):
        (saved / name).write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"{name} is (damaged|no model)"):
            gm.load_model(saved)
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"there is no {name} in .*gm.save"):
        gm.load_model(saved)


def test_nested_beyond_measure_is_refused(saved):
    (saved / "model.json").write_text("[" * 100_000, "utf-8")
    with pytest.raises(ValueError, match="no model that gm.save wrote"):
        gm.load_model(saved)


def test_what_cannot_be_loaded_is_not_saved(vae, examples, tmp_path):
    params, state = started(vae, examples)
    nameless = dataclasses.replace(vae, encoder=gm.networks.MLP((8, 8), activation=lambda x: x))
    with pytest.raises(TypeError, match=r"VAE.encoder.activation is .*lambda.*saving.register"):
        gm.save(tmp_path / "a", nameless, params, state)
    with pytest.raises(TypeError, match="nothing that JSON holds"):
        gm.save(tmp_path / "a", vae, params, state, metadata={"x": object()})
    with pytest.raises(ValueError, match="lacks params.decoder"):
        gm.save(tmp_path / "a", vae, {"encoder": params["encoder"]}, state)
    wider = dataclasses.replace(vae, latent_dim=2, encoder=gm.networks.MLP((8, 4)))
    with pytest.raises(ValueError, match=r"params\.\S+ is float32 \(.*and should be float32"):
        gm.save(tmp_path / "a", wider, params, state)
    assert not (tmp_path / "a").exists()


def test_state_that_a_model_carries_must_be_given(examples, tmp_path):
    model = MODELS["energy"]
    params, state = started(model, examples)
    with pytest.raises(ValueError, match=r"carries state \(buffer\): give save\(\.\.\., state=\)"):
        gm.save(tmp_path, model, params)
    gm.save(tmp_path, model, params, state)


def test_saving_again_replaces_and_follows_no_link(vae, saved, examples, tmp_path):
    (tmp_path / "elsewhere").write_text("kept")
    (saved / "weights.safetensors").unlink()
    (saved / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
    params, state = started(vae, examples)
    gm.save(saved, vae, jax.tree.map(jnp.zeros_like, params), state)
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gm.load_model(saved)[1]))


EXPORTED = """
import sys
import jax, numpy as np
sampler, density, x, out = sys.argv[1:]
read = lambda file: jax.export.deserialize(bytearray(open(file, "rb").read()))
samples = read(sampler).call(np.uint32(3))
np.savez(out, samples=samples, log_prob=read(density).call(np.load(x)))
assert not any(name.startswith(("genjax", "flax", "optax")) for name in sys.modules)
"""


def test_what_is_exported_runs_with_jax_alone(examples, tmp_path):
    model = MODELS["made"]
    params, _ = started(model, examples)
    x = examples.arrays["x"][:4]
    np.save(tmp_path / "x.npy", x)
    gm.saving.export_sampler(model, params, tmp_path / "sampler", 2)
    gm.saving.export_log_prob(model, params, tmp_path / "density", 4, platforms=["cpu"])
    files = [str(tmp_path / name) for name in ("sampler", "density", "x.npy", "out.npz")]
    subprocess.run([sys.executable, "-c", EXPORTED, *files], cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as got:
        expected = model.sample(params, jax.random.key(3), 2)
        np.testing.assert_array_equal(got["samples"], expected)
        np.testing.assert_allclose(got["log_prob"], model.log_prob(params, x), rtol=1e-5)
