"""The probability-flow ODE by adaptive steps: samples, codes and exact log-likelihoods.

The marginals of a diffusion are those of an ODE, which leads every x_t to one x_0 and back. The
functions here solve it for any denoiser; `ProbabilityFlow` is a trained diffusion seen as such a
flow, and `DequantizedProbabilityFlow` one over discrete data.

diffrax solves the ODE in the variables in which it is smooth from end to end, whatever the
schedule: the angle phi = arctan(sigma / alpha), from 0 (data) to at most pi/2 (noise), and
z = x_t / sqrt(alpha^2 + sigma^2) = cos(phi) x_0 + sin(phi) eps, so that

    dz / dphi = cos(phi) eps - sin(phi) x_0 = (cos(phi) z - x_0) / sin(phi)

(Salimans & Ho 2022, arXiv:2202.00512, app. D; Song et al. 2021, arXiv:2011.13456, sec. 4.3). At
phi = 0 the right side is 0 / 0, so the ODE starts or ends at a small noise-to-signal ratio.

Solves take `rtol` and `atol`, the tolerances of a step relative to z and absolute, and
`max_steps`, the number of steps after which the result is nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from jax.core import Tracer

from genjax_models.core import random
from genjax_models.core.conditions import check_examples, labels_to_sample
from genjax_models.core.dequantization import Cells, num_levels_of
from genjax_models.core.distributions import Normal, check_num_samples, log_mean_weight, sum_entries
from genjax_models.core.entry import entry
from genjax_models.core.preprocess import identity, of_data, to_unit_range
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.diffusion.samplers import Denoiser, check_timesteps, initial_noise
from genjax_models.diffusion.schedules import Schedule, TrainableSchedule, bind, check_signal

Field: TypeAlias = Callable[[Array], Array]
"""A vector field on one example, `[...] -> [...]`."""
Divergence: TypeAlias = Callable[[Field, Array, Key], tuple[Array, Array]]
"""`(field, x [...], key) -> (field(x) [...], its divergence [])`, for one example."""


def adaptive(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    max_steps: int = 4096,
    trajectory: bool = False,
) -> Array:
    """A sampler along the ODE, by as many steps as the tolerances need (Tsitouras' 5(4) pairs).

    The examples share their steps, whose size the least accurate example decides.

    Args:
        denoise: As in `Sampler`, like all that is not named below; it is asked six times a step.
        schedule: The schedule.
        x: The noise.
        timesteps: The timesteps; those between the ends matter only with `trajectory`.
        key: Not used.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Number of steps after which the result is nan.
        trajectory: Whether to return the states at the timesteps.

    Returns:
        x_0 `[B, ...]`, the denoised state at the last timestep; with `trajectory`,
        `[n + 1, B, ...]`.

    Raises:
        ValueError: The timesteps do not fall, or there is no noise at the first.
    """
    del key
    timesteps = check_timesteps(timesteps, schedule)
    ended = schedule(timesteps)[1] == 0  # at most at the last
    if len(timesteps) > 1:  # where there is no noise the ODE has no value: from as near as `encode`
        near = jnp.minimum(ends(schedule)[1], 0.5 * timesteps[-2])
        timesteps = timesteps.at[-1].set(jnp.where(ended[-1], near, timesteps[-1]))
    angles, size = _polar(schedule, timesteps)
    path = (x / size[0])[None]
    if len(timesteps) > 1:
        velocity = _velocity(denoise, schedule)
        saved = angles if trajectory else angles[-1:]
        path = _solve(velocity, angles[0], path[0], saved, _worst, rtol, atol, max_steps)
    x_0 = denoise(size[-1] * path[-1], timesteps[-1])
    if not trajectory:
        return x_0
    between = size[1:].reshape(-1, *[1] * x.ndim) * path[1:]
    between = jnp.where(ended[1:].reshape(-1, *[1] * x.ndim), x_0, between)
    return jnp.concatenate([x[None], between, x_0[None]])


def encode(
    denoise: Denoiser,
    schedule: Schedule,
    x_0: Array,
    *,
    smallest: float = 1e-3,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    max_steps: int = 4096,
) -> Array:
    """The noise to which the ODE leads from an example, where a sampler would start.

    Args:
        denoise: The denoiser.
        schedule: The schedule.
        x_0: Data `[B, ...]`.
        smallest: The noise-to-signal ratio at which to start, or the schedule's lowest if higher.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Number of steps after which the result is nan.

    Returns:
        x_1 `[B, ...]`, about N(0, sigma(1)^2), which `adaptive` leads back to x_0 on the timesteps
        `ends(schedule, smallest)`.
    """
    (top, bottom), (size, _) = _polar(schedule, ends(schedule, smallest))
    velocity = _velocity(denoise, schedule)
    z = jnp.cos(bottom) * x_0
    return size * _solve(velocity, bottom, z, top[None], _worst, rtol, atol, max_steps)[0]


def ends(schedule: Schedule, smallest: float = 1e-3) -> Array:
    """The timesteps `[2]` between which the ODE is solved: 1, and that of the lowest noise.

    Args:
        schedule: The schedule.
        smallest: The noise-to-signal ratio at the end, or the schedule's lowest if higher.

    Raises:
        ValueError: There is no noise at the end.
    """
    last = schedule.time(-2.0 * jnp.log(_lowest(schedule, smallest)))
    return jnp.stack([jnp.ones(()), jnp.clip(last, 0.0, 1.0)])


def _lowest(schedule: Schedule, smallest: Array | float) -> Array:
    """The ratio at which the ODE meets the data: `smallest`, or the schedule's lowest if higher."""
    with jax.ensure_compile_time_eval():
        ratio = jnp.maximum(jnp.exp(-0.5 * schedule.log_snr(jnp.zeros(()))), smallest)
    if not isinstance(ratio, Tracer) and not 0 < float(ratio) < math.inf:
        raise ValueError(
            f"the ODE is to meet the data at the noise-to-signal ratio {float(ratio):g}, where it "
            "has no value: give smallest=1e-3, for example"
        )
    return ratio


def exact(field: Field, x: Array, key: Key) -> tuple[Array, Array]:
    """The divergence as the trace of the Jacobian, by one backward pass for each entry of x."""
    del key
    value, vjp = jax.vjp(field, x)
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    rows = jax.vmap(lambda e: jnp.sum(vjp(e)[0] * e))(basis)
    return value, jnp.sum(rows)


def rademacher(key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
    """Draws -1 and 1, equally likely: of all e with covariance I, the estimate varies least."""
    return jax.random.rademacher(key, shape, dtype)


@value
class Hutchinson:
    """An unbiased estimate of the divergence: the mean of e^T J e over random e.

    Attributes:
        num: Number of e; the variance is that of one over num.
        draw: `(key, shape, dtype) -> e` of mean 0 and covariance I.

    Raises:
        ValueError: The number is not positive.

    References:
        Hutchinson 1989; Skilling 1989; Grathwohl et al. 2019, FFJORD, arXiv:1810.01367, sec. 3.1.
    """

    num: int = 1
    draw: Callable[[Key, tuple[int, ...], Any], Array] = rademacher

    def __post_init__(self) -> None:
        """Refuses estimates of no draws."""
        if self.num < 1:
            raise ValueError(
                f"Hutchinson's estimate of {self.num} draws was asked for: give 1 or more"
            )

    def __call__(self, field: Field, x: Array, key: Key) -> tuple[Array, Array]:
        """`field(x)` and the estimate of its divergence, for one example."""
        # The same e at every look, for it is one ODE that is solved.
        probes = self.draw(key, (self.num, *x.shape), x.dtype)
        value, vjp = jax.vjp(field, x)
        return value, jnp.mean(jax.vmap(lambda e: jnp.sum(vjp(e)[0] * e))(probes))


def log_prob(
    denoise: Callable[..., Array],
    schedule: Schedule,
    x_0: Array,
    key: Key,
    *,
    condition: tuple[Array, ...] = (),
    divergence: Divergence = exact,
    smallest: Array | float = 1e-3,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 4096,
) -> Array:
    """The log-density of examples under what the ODE makes of N(0, sigma(1)^2), in nats.

    `log p(z_0) = log p(z_1) + integral of div(dz / dphi) dphi`, from the data's end to the noise's.
    Each example is solved by itself, in steps of its own: under `vmap` the denoiser is asked about
    one example, `denoise(x_t [1, ...], t [], *condition)`.

    The density is that of x_0 + r eps, with r the noise-to-signal ratio where the ODE starts. It
    differs from that of x_0 by (r^2 / 2) (Laplacian of p) / p, to lowest order.

    Args:
        denoise: The denoiser.
        schedule: The schedule.
        x_0: Real-valued data `[B, ...]`.
        key: PRNG key of a random divergence, split among the examples.
        condition: Further arguments of the denoiser, arrays `[B, ...]` (labels), of which it is
            given the example's row `[1, ...]`.
        divergence: `exact`, or `Hutchinson()` for an unbiased estimate in one backward pass a look.
        smallest: r, or the schedule's lowest if higher.
        rtol: Relative tolerance.
        atol: Absolute tolerance, also of the log-density.
        max_steps: Number of steps after which the result is nan.

    Returns:
        Nats `[B]`.

    References:
        Chen et al. 2018, arXiv:1806.07366, eq. 8; Song et al. 2021, arXiv:2011.13456, eq. 39.
    """
    bottom = jnp.arctan(_lowest(schedule, smallest))
    top = _polar(schedule, jnp.ones(1))[0][0]

    def one(x: Array, key: Key, condition: tuple[Array, ...]) -> Array:
        told = [c[None] for c in condition]
        velocity = _velocity(lambda x_t, t: denoise(x_t[None], t, *told)[0], schedule)

        def field(phi: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            return divergence(lambda z: velocity(phi, z), state[0], key)

        state = jnp.cos(bottom) * x, jnp.zeros((), x.dtype)
        z, volume = _solve(field, bottom, state, top[None], _either, rtol, atol, max_steps)
        # In units of x_0, not of z; and N(0, sin^2) in units of z.
        scale = jnp.log(jnp.sin(top)) - jnp.log(jnp.cos(bottom)) + 0.5 * math.log(2 * math.pi)
        squares = 0.5 * jnp.sum((z[0] / jnp.sin(top)) ** 2)
        return volume[0] - squares - x.size * scale

    keys = random.example_keys(key, x_0.shape[0])
    return jax.vmap(one)(x_0, keys, condition)


def _polar(schedule: Schedule, t: Array) -> tuple[Array, Array]:
    """The angles phi of times, and sqrt(alpha^2 + sigma^2)."""
    alpha, sigma = schedule(t)
    return jnp.arctan2(sigma, alpha), jnp.hypot(alpha, sigma)


def _velocity(denoise: Denoiser, schedule: Schedule) -> Callable[[Array, Array], Array]:
    """`(phi, z) -> dz / dphi`."""

    def velocity(phi: Array, z: Array) -> Array:
        # At pi/2 rounding may bring the cosine below 0.
        ratio = jnp.maximum(jnp.cos(phi), 0.0) / jnp.sin(phi)
        t = jnp.clip(schedule.time(2.0 * jnp.log(ratio)), 0.0, 1.0)
        alpha, sigma = schedule(t)  # of the time as rounded, as the denoiser is asked of it
        size = jnp.hypot(alpha, sigma)
        return (alpha * z - size * denoise(size * z, t)) / sigma

    return velocity


def _solve(
    field: Callable[[Array, Any], Any],
    start: Array,
    y: Any,
    angles: Array,
    norm: Callable[[Any], Array],
    rtol: float,
    atol: float,
    max_steps: int,
) -> Any:
    """The solution at the angles `[n]`, the last of which is the end: a pytree of `[n, ...]`."""
    import diffrax

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda phi, y, args: field(jnp.asarray(phi), y)),
        diffrax.Tsit5(),
        t0=start,
        t1=angles[-1],
        dt0=None,
        y0=y,
        saveat=diffrax.SaveAt(ts=angles) if len(angles) > 1 else diffrax.SaveAt(t1=True),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, norm=norm),
        max_steps=max_steps,
        throw=False,  # an error raised from compiled code needs a callback: no caching, no pmap
    )
    done = found.result == diffrax.RESULTS.successful
    return jax.tree.map(lambda a: jnp.where(done, a, jnp.nan), found.ys)


def _worst(error: Array) -> Array:
    """The largest of the examples' root mean squares, `[B, ...] -> []`, on every device."""
    axes = tuple(range(1, error.ndim))
    return jnp.max(random.all_examples(jnp.sqrt(jnp.mean(error**2, axes))))


def _either(error: tuple[Array, Array]) -> Array:
    """The larger of the errors of the state and of the log-density, for one example."""
    state, volume = error
    return jnp.maximum(jnp.sqrt(jnp.mean(state**2)), jnp.abs(volume))


class DenoisingModel(Protocol):
    """A model with a probability flow: `Diffusion` and `FlowMatching`."""

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        ...

    @property
    def schedule(self) -> Schedule | TrainableSchedule:
        """The schedule."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of labels, or None."""
        ...

    def denoiser(
        self, params: Params, *, label: Array | None = None, state: State | None = None
    ) -> Denoiser:
        """The denoiser with these parameters."""
        ...

    @property
    def sample(self) -> Callable[..., Array]:
        """Draws examples."""
        ...


@value
class ProbabilityFlow:
    """A diffusion over real-valued data as a continuous flow, whose density is exact.

    Attributes:
        diffusion: The model; all methods take its parameters and its state.
        divergence: `exact`, or `Hutchinson()` where examples have many entries.
        smallest: The noise-to-signal ratio at which the ODE meets the data, as in `log_prob`.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Raises:
        ValueError: The data are discrete, or the flow begins elsewhere than at noise.

    References:
        Song et al. 2021, arXiv:2011.13456, sec. 4.3 and app. D.
    """

    diffusion: DenoisingModel
    divergence: Divergence = exact
    smallest: float = 1e-3
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        """Refuses data that have probabilities rather than a density."""
        _check_base(self.diffusion)
        if self.spec.num_levels is not None:
            raise ValueError(
                f"{self.spec.name} has discrete entries, whose probabilities the ODE bounds but "
                "does not give: use DequantizedProbabilityFlow"
            )

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.diffusion.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels of p(x | label); None for p(x)."""
        return self.diffusion.num_classes

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        return LikelihoodInfo(estimated=_estimated(self.divergence))

    @entry()
    def log_prob(
        self,
        params: Params,
        x: Array,
        *,
        key: Key | None = None,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Log p(x) `[B]` in nats; with `Hutchinson()` an unbiased estimate of it.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: PRNG key of a random divergence; a fixed one where None.
            label: Labels `[B]` of a conditional model.
            state: The model's state.
        """
        check_examples(x, self.spec)
        key = jax.random.key(0) if key is None else key
        return _density(self, params, x, key, label, state, self.smallest)

    @entry()
    def encode(
        self, params: Params, x: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """The noise `[B, *shape]` from which the ODE leads to each example."""
        check_examples(x, self.spec)
        return encode(
            self.diffusion.denoiser(params, label=label, state=state),
            bind(self.diffusion.schedule, params),
            x,
            smallest=self.smallest,
            rtol=self.rtol,
            atol=self.atol,
        )

    @entry()
    def decode(
        self, params: Params, z: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """The example `[B, *shape]` to which the ODE leads from noise."""
        schedule = bind(self.diffusion.schedule, params)
        return adaptive(
            self.diffusion.denoiser(params, label=label, state=state),
            schedule,
            z,
            ends(schedule, self.smallest),
            jax.random.key(0),
            rtol=self.rtol,
            atol=self.atol,
        )

    @entry("num")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        state: State | None = None,
    ) -> Array:
        """Draws examples `[num, *shape]` of the density of `log_prob`, but for tolerances."""
        key_label, key_x = jax.random.split(key)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        schedule = bind(self.diffusion.schedule, params)
        noise = initial_noise(schedule, (num, *self.spec.shape), jnp.ones(1), key_x)
        return self.decode(params, noise, label=label, state=state)


@value
class UniformNoise:
    """Dequantises by uniform noise, for models of data that were given such noise.

    `log P(x) >= E_u log p(x + u)`, with u uniform in the cells around the levels, which are
    2 / (num_levels - 1) wide in units of `to_unit_range` (Theis et al. 2016, arXiv:1511.01844, sec.
    3.1).
    """

    def smallest(self, spec: DataSpec) -> float:
        """The noise-to-signal ratio at which the ODE meets v."""
        del spec
        return 1e-3

    def __call__(self, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """Draws v `[B, ...]`; and what raises log p(v) to a bound of log P(x) `[B]`, in nats."""
        end = 1.0 + 1.0 / (_num_levels(spec) - 1)
        cells = Cells(-end, end)
        return cells.dequantize(x, key, spec), jnp.full(x.shape[0], cells.log_volume(spec))


@value
class GaussianNoise:
    """Dequantises by the diffusion's own noise, for models that were trained on the levels.

    Their density has a peak at every level, which uniform noise mostly misses. With a little of the
    diffusion's noise q(v | x) = N(x, r^2), and x read from v again by Bayes' rule,
    `log P(x) >= E_q[log p(v) + log p(x | v) - log q(v | x)]`, where p is the density at that noise.

    Attributes:
        widths: Half the distance between levels, in units of r.

    Raises:
        ValueError: `widths` is not positive.

    References:
        Zheng et al. 2023, arXiv:2305.03935 (dequantisation by the diffusion's noise); Kingma et
        al. 2021, arXiv:2107.00630, sec. 3 (x read from v).
    """

    widths: float = 3.0

    def __post_init__(self) -> None:
        """Refuses noise without a width."""
        if self.widths <= 0:
            raise ValueError(f"levels are {self.widths} widths apart: give a positive number")

    def smallest(self, spec: DataSpec) -> float:
        """The noise-to-signal ratio at which the ODE meets v: r, in units of `to_unit_range`."""
        return 1.0 / (_num_levels(spec) - 1) / self.widths

    def __call__(self, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """Draws v `[B, ...]`; and what raises log p(v) to a bound of log P(x) `[B]`, in nats."""
        r, centre = self.smallest(spec), to_unit_range(x, spec)
        v = centre + r * random.normal(key, x.shape)
        log_q = Normal(centre, jnp.full_like(centre, math.log(r))).log_prob(v)

        def squared(level: Array) -> Array:
            return -0.5 * ((v - to_unit_range(level, spec)) / r) ** 2

        total = jax.lax.fori_loop(
            1,
            _num_levels(spec),
            lambda level, total: jnp.logaddexp(total, squared(level)),
            squared(jnp.zeros((), jnp.int32)),
        )
        return v, sum_entries(squared(x) - total) - log_q


@value
class DequantizedProbabilityFlow:
    """A diffusion over discrete data as a continuous flow: its density bounds log P(x).

    Data that the model makes real-valued by itself (`preprocess=uniform_dequantization`) are taken
    as they are.

    Attributes:
        diffusion: The model; all methods take its parameters and its state.
        dequantization: `GaussianNoise()`, or `UniformNoise()` if the model was trained with it.
        divergence: `Hutchinson()`, or `exact` where examples have few entries.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Raises:
        ValueError: The data are real-valued, or the flow begins elsewhere than at noise.
    """

    diffusion: DenoisingModel
    dequantization: UniformNoise | GaussianNoise = GaussianNoise()
    divergence: Divergence = Hutchinson()
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        """Refuses data that have a density."""
        _check_base(self.diffusion)
        _num_levels(self.spec)

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.diffusion.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels of p(x | label); None for p(x)."""
        return self.diffusion.num_classes

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        own = getattr(self.diffusion, "preprocess", identity)  # FlowMatching has none
        real = own.describe(self.spec).num_levels is None
        prepared = own.name if real else "dequantisation by noise"
        return LikelihoodInfo(prepared, _estimated(self.divergence))

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """A lower bound of log P(x) `[B]`, in nats; with an estimated divergence, in the mean.

        With `exact` it is importance-weighted, and rises with `num_samples` to log P(x). Weights
        that are themselves estimated would be too high in the mean: otherwise it is the mean of
        the bounds of the draws.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]` of levels.
            key: PRNG key of the noise and of a random divergence.
            num_samples: Number of draws of the noise, one after the other.
            label: Labels `[B]` of a conditional model.
            state: The model's state.
        """
        check_examples(x, self.spec)
        check_num_samples(num_samples)

        def log_weight(k: Array) -> Array:
            key_x, key_v, key_e = jax.random.split(jax.random.fold_in(key, k), 3)
            v, log_weight, smallest = self._dequantized(x, key_x, key_v)
            return log_weight + _density(self, params, v, key_e, label, state, smallest)

        if self.divergence is exact:
            bound = log_mean_weight(log_weight, num_samples, x.shape[0])
        else:
            bound = jnp.mean(jax.lax.map(log_weight, jnp.arange(num_samples)), axis=0)
        return of_data(bound, x, self.spec)

    def _dequantized(self, x: Array, key_x: Key, key_v: Key) -> tuple[Array, Array | float, float]:
        """Values that have a density, what raises their log p to the bound, and the ODE's start."""
        preprocess = getattr(self.diffusion, "preprocess", identity)  # FlowMatching has none
        x, spec = preprocess.apply(x, key_x, self.spec), preprocess.describe(self.spec)
        if spec.num_levels is None:
            return x, preprocess.log_volume(self.spec), UniformNoise().smallest(spec)
        return *self.dequantization(x, key_v, spec), self.dequantization.smallest(spec)

    def sample(self, params: Params, key: Key, num: int, **options: Any) -> Array:
        """The diffusion's own samples; `sampler=ode.adaptive` draws them by the ODE."""
        return self.diffusion.sample(params, key, num, **options)


def _num_levels(spec: DataSpec) -> int:
    return num_levels_of(spec, "use ProbabilityFlow")


def _estimated(divergence: Divergence) -> str:
    return "" if divergence is exact else "divergence by probes"


def _check_base(diffusion: DenoisingModel) -> None:
    """Raises unless the model's flow begins at noise, and it denoises there.

    Raises:
        ValueError: It is a `FlowMatching` that begins at examples, or a diffusion that predicts
            noise on a schedule that ends at noise alone.
    """
    prediction = getattr(diffusion, "prediction", None)
    if prediction is not None:
        check_signal(prediction, diffusion.schedule, 1.0)
    base = getattr(diffusion, "base", None)
    if base is not None:
        raise ValueError(
            f"the flow begins at the examples of {base!r}, whose density is not known: only a flow "
            "from noise, base=None, has a log_prob"
        )


def _density(
    flow: ProbabilityFlow | DequantizedProbabilityFlow,
    params: Params,
    x: Array,
    key: Key,
    label: Array | None,
    state: State | None,
    smallest: float,
) -> Array:
    """Log-density of real-valued x `[B]`, each example denoised given its own label."""

    def denoise(x_t: Array, t: Array, label: Array | None = None) -> Array:
        return flow.diffusion.denoiser(params, label=label, state=state)(x_t, t)

    return log_prob(
        denoise,
        bind(flow.diffusion.schedule, params),
        x,
        key,
        condition=() if label is None else (jnp.asarray(label),),
        divergence=flow.divergence,
        smallest=smallest,
        rtol=flow.rtol,
        atol=flow.atol,
    )
