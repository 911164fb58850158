"""The four models that learn, and how each is shown and measured at a step.

What has a density is shown by it; what has none, by a histogram of its samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import recipes
from experiments.commands.watch.mixture import GaussianMixture
from experiments.runner.config import Optimizer
from experiments.runner.optimizers import make_optimizer
from genjax_models import diffusion
from genjax_models.core import DataSpec, Loss, TractableDensity
from genjax_models.metrics import Figure, mean_figure

if TYPE_CHECKING:
    from genjax_models.training import TrainState

SAMPLES, NEIGHBOURS = 20_000, 10
CHUNK = 1024


class Plane(NamedTuple):
    """Where densities are looked at, and fresh points of the truth that they are measured on.

    Attributes:
        extent: `(left, right, bottom, top)`.
        side: Points of the lattice along each axis.
        x: Points of the truth `[N, 2]`.
        log_p: The truth's log density there `[N]`, in nats.
    """

    extent: tuple[float, float, float, float]
    side: int
    x: np.ndarray
    log_p: np.ndarray

    @property
    def lattice(self) -> np.ndarray:
        """The middles of the cells `[side * side, 2]`, row by row from the bottom."""
        left, right, bottom, top = self.extent
        middles = (np.arange(self.side) + 0.5) / self.side
        xs, ys = left + (right - left) * middles, bottom + (top - bottom) * middles
        return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float32)


class Look(NamedTuple):
    """A model at a step.

    Attributes:
        step: Steps that were made.
        density: p(x) over the lattice `[side, side]`, or a histogram of samples in its place.
        kl: KL(truth || model), in nats.
    """

    step: int
    density: np.ndarray
    kl: Figure


@dataclasses.dataclass(frozen=True)
class Learner:
    """A model that learns, and how it is looked at.

    Attributes:
        title: Its title.
        model: The model.
        optimizer: Of all its players.
        losses: Player -> loss, for players whose loss is not the model's own.
        batch_size: Examples a step.
        see: `(parameters, state, plane, key) -> (density, kl)`.
        kind: Kind of its KL divergence.
    """

    title: str
    model: Any
    optimizer: Any
    losses: Mapping[str, Loss] | None
    batch_size: int
    see: Callable[[Any, Any, Plane, jax.Array], tuple[np.ndarray, Figure]]
    kind: str

    def look(self, state: TrainState, plane: Plane) -> Look:
        """The model as it is, by its averaged parameters; the noise is the same at each step."""
        density, kl = self.see(state.ema, state.state, plane, jax.random.key(0))
        return Look(int(state.step), density, kl)


EXACT = "exact density, mean over fresh points of the truth"
BY_ODE = "density by the probability-flow ODE, mean over fresh points of the truth"
BY_NEIGHBOURS = (
    f"estimate: density by the {NEIGHBOURS} nearest of {SAMPLES:,} samples, mean over fresh points"
    " of the truth"
)


def learners(dataset: str, spec: DataSpec, steps: int) -> list[Learner]:
    """The four of them, simplest first.

    Args:
        dataset: The density's name.
        spec: Description of its points.
        steps: The length of their training, over which their learning rates fall.
    """
    mixture = GaussianMixture(spec)
    adam = make_optimizer(Optimizer(learning_rate=2e-2, schedule="cosine"), steps)
    first = Learner("mixture, by likelihood", mixture, adam, None, 256, density(mixture), EXACT)
    rest = (
        ("flow", "flow_points", {"steps": 4}, density, EXACT),
        ("GAN", "gan_points", {"width": 64}, histogram, BY_NEIGHBOURS),
        ("diffusion", "diffusion_points", {"width": 64}, by_ode, BY_ODE),
    )
    return [first, *(_of_experiment(*one, dataset, spec, steps) for one in rest)]


def _of_experiment(
    title: str,
    name: str,
    settings: Mapping[str, Any],
    seen: Callable[[Any], Any],
    kind: str,
    dataset: str,
    spec: DataSpec,
    steps: int,
) -> Learner:
    """An experiment of points, smaller, with batches of 256."""
    found = recipes.find(name)
    model = dataclasses.replace(found.config.model, **settings)
    config = dataclasses.replace(found.config, dataset=dataset, steps=steps, model=model)
    setup = found.build(config, spec)
    optimizer = make_optimizer(config.optimizer, steps)
    return Learner(title, setup.model, optimizer, setup.losses, 256, seen(setup.model), kind)


def density(model: TractableDensity) -> Callable[..., tuple[np.ndarray, Figure]]:
    """Sees a model by its exact density."""

    @jax.jit
    def log_prob(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return model.log_prob(params, x, state=state)

    def see(params: Any, state: Any, plane: Plane, key: jax.Array) -> tuple[np.ndarray, Figure]:
        del key
        parts = np.split(plane.x, range(CHUNK, len(plane.x), CHUNK))
        log_q = np.concatenate([_of(log_prob, params, state, part) for part in parts])
        lattice = np.split(plane.lattice, range(CHUNK, plane.side**2, CHUNK))
        seen = np.concatenate([_of(log_prob, params, state, part) for part in lattice])
        return np.exp(seen).reshape(plane.side, plane.side), mean_figure(plane.log_p - log_q)

    return see


def _of(log_prob: Callable[..., jax.Array], params: Any, state: Any, x: np.ndarray) -> np.ndarray:
    """Log densities of at most a chunk of points, filled up so that one program does."""
    filled = np.concatenate([x, np.repeat(x[-1:], CHUNK - len(x), axis=0)])
    return np.asarray(log_prob(params, state, jnp.asarray(filled)), np.float64)[: len(x)]


def by_ode(model: diffusion.Diffusion) -> Callable[..., tuple[np.ndarray, Figure]]:
    """Sees a diffusion by the density that its probability-flow ODE gives.

    Tolerances are those of a picture: the error of the KL is below a hundredth of a nat.
    """
    flow: Any = diffusion.ProbabilityFlow(model, smallest=1e-2, rtol=3e-3, atol=3e-3)
    return density(flow)


def histogram(model: Any) -> Callable[..., tuple[np.ndarray, Figure]]:
    """Sees a model by its samples: all that one without a density gives."""

    @jax.jit
    def draw(params: Any, state: Any, key: jax.Array) -> jax.Array:
        return model.sample(params, key, SAMPLES, state=state)

    def see(params: Any, state: Any, plane: Plane, key: jax.Array) -> tuple[np.ndarray, Figure]:
        samples = np.asarray(draw(params, state, key), np.float64)
        left, right, bottom, top = plane.extent
        counts, _, _ = np.histogram2d(
            samples[:, 1], samples[:, 0], plane.side, ((bottom, top), (left, right))
        )
        area = (right - left) * (top - bottom) / plane.side**2
        log_q = log_density_by_neighbours(plane.x, samples, NEIGHBOURS)
        return counts / (len(samples) * area), mean_figure(plane.log_p - log_q)

    return see


def log_density_by_neighbours(x: np.ndarray, samples: np.ndarray, k: int) -> np.ndarray:
    """The log density of samples at points, by the distance r of the k-th nearest.

    log q(x) = psi(k) - log(m V r^D), without bias where q is constant within r: the probability
    within the k-th distance is Beta distributed, with E[log] = psi(k) - psi(m + 1).

    Args:
        x: Where `[N, D]`.
        samples: Samples of the density `[m, D]`.
        k: Which neighbour.

    Returns:
        Nats `[N]`.

    References:
        Kozachenko & Leonenko 1987; Wang, Kulkarni & Verdú 2009, eq. 5.
    """
    from scipy.spatial import KDTree
    from scipy.special import digamma, gammaln

    num, dims = samples.shape
    distances, _ = KDTree(samples).query(x, k)
    radius = np.asarray(distances).reshape(len(x), -1)[:, -1]
    log_ball = 0.5 * dims * math.log(math.pi) - gammaln(0.5 * dims + 1)
    log_volume = log_ball + dims * np.log(np.maximum(radius, 1e-12))
    return digamma(k) - digamma(num + 1) - log_volume
