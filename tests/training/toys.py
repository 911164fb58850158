"""Models of a few numbers, whose training can be written down by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from genjax_models.core import Loss, Player, buffer, random
from genjax_models.core.buffer import Buffer
from genjax_models.core.types import DataSpec

SPEC = DataSpec(shape=(2,), num_levels=None, name="points")


def points(num=64):
    """Points around (3, -1)."""
    draw = np.random.default_rng(0).normal(size=(num, 2)) + np.array([3.0, -1.0])
    return gm.Dataset.from_arrays(draw.astype(np.float32), name="points")


@dataclasses.dataclass(frozen=True)
class Records:
    """The examples of a data set, served one by one as a set on disk is."""

    arrays: dict = dataclasses.field(hash=False)

    def __len__(self):
        return len(self.arrays["x"])

    def __getitems__(self, keys):
        return [{name: array[k] for name, array in self.arrays.items()} for k in keys]


def streamed(data):
    return gm.Dataset(data.spec, data.split, source=Records(dict(data.arrays)))


def arrays(state):
    """The leaves on the host, with keys as integers, so that they can be compared."""

    def as_data(a):
        is_key = jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(a) if is_key else a)

    return jax.tree.map(as_data, state)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("x", "y"), meta_fields=()
)  # fmt: skip
@dataclasses.dataclass
class Pair:
    """Examples `[B, 2]` and what the model makes of them `[B, 2]`."""

    x: jax.Array
    y: jax.Array


def squared(outputs):
    return 0.5 * jnp.sum((outputs.y - outputs.x) ** 2, axis=-1)


def kernel(outputs):
    """A term that couples the examples of a batch: an MMD of `y` and `x`, by rows of `x`."""

    def k(a, b):
        return jnp.exp(-0.1 * jnp.sum((a[:, None] - b[None]) ** 2, axis=-1))

    x, y = outputs.x, outputs.y
    return jnp.mean(k(x, x) + k(y, y) - 2 * k(x, y), axis=1)


@dataclasses.dataclass(frozen=True)
class Affine:
    """y = scale * x + shift + noise * z: two parameters an entry, and a state that counts passes.

    Attributes:
        noise: Standard deviation of what is added.
        coupled: Whether the loss has a term that mixes examples.
        size: Number of parameters that do nothing, to have something to shard.
        remembers: Whether it adds a tenth of an example that it saw before.
    """

    noise: float = 0.0
    coupled: bool = False
    size: int = 0
    remembers: bool = False
    spec: DataSpec = SPEC

    def init(self, key, batch):
        params = {"shift": jnp.zeros(2), "scale": 0.1 * jax.random.normal(key, (2,))}
        if self.size:
            params["unused"] = jax.random.normal(key, (3, self.size))
        state = {"passes": jnp.zeros((), jnp.int32)}
        if self.remembers:
            state["seen"] = Buffer(jnp.zeros((32, 2)))
        return {"affine": params}, state

    def forward(self, params, batch, key, *, state, train):
        x, p = batch["x"], params["affine"]
        y = p["scale"] * x + p["shift"] + self.noise * random.normal(key, x.shape)
        state = {**state, "passes": state["passes"] + train}
        if self.remembers:
            chosen, seen = buffer.draw(key, state["seen"], len(x))
            state["seen"] = buffer.put(state["seen"], chosen, x)
            y = y + 0.1 * seen
        return Pair(x, y), state

    def sample(self, params, key, num, *, state=None):
        return params["affine"]["shift"] + random.normal(key, (num, 2))

    @property
    def loss(self):
        loss = Loss(self.forward, {"squared": squared})
        return loss.add(kernel=kernel) if self.coupled else loss

    @property
    def players(self):
        return {"affine": Player(self.loss, owns=("affine",))}


@dataclasses.dataclass(frozen=True)
class Game:
    """The leader goes for the data; the follower, who moves twice, for the leader."""

    spec: DataSpec = SPEC

    def init(self, key, batch):
        return {"leader": {"at": jnp.zeros(2)}, "follower": {"at": jnp.ones(2)}}, {}

    def forward(self, params, batch, key, *, state, train):
        x = batch["x"]
        leader = jnp.broadcast_to(params["leader"]["at"], x.shape)
        return Pair(x, leader), state

    def follow(self, params, batch, key, *, state, train):
        leader = jnp.broadcast_to(params["leader"]["at"], batch["x"].shape)
        return Pair(leader, params["follower"]["at"]), state

    def sample(self, params, key, num, *, state=None):
        return jnp.broadcast_to(params["follower"]["at"], (num, 2))

    @property
    def loss(self):
        return Loss(self.forward, {"squared": squared})

    @property
    def players(self):
        return {
            "leader": Player(self.loss, owns=("leader",)),
            "follower": Player(
                Loss(self.follow, {"squared": squared}), owns=("follower",), turns=2
            ),
        }
