"""A trained diffusion seen as its probability-flow ODE: exact densities, codes, and samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from genjax_models.core.conditions import check_examples, labels_to_sample
from genjax_models.core.entry import entry
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.diffusion import ode
from genjax_models.diffusion.learned_schedule import Learned, bind
from genjax_models.diffusion.ode import Divergence
from genjax_models.diffusion.predictions import check_signal
from genjax_models.diffusion.samplers import Denoiser, start
from genjax_models.diffusion.schedules import Schedule


class Denoising(Protocol):
    """What is needed of a model; `Diffusion` and `FlowMatching` have it."""

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        ...

    @property
    def schedule(self) -> Schedule | Learned:
        """What (alpha, sigma) are at each time."""
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
        """New examples."""
        ...


class Solved(Protocol):
    """A diffusion, and how its ODE is solved."""

    @property
    def diffusion(self) -> Denoising:
        """The model."""
        ...

    @property
    def divergence(self) -> Divergence:
        """How the divergence is computed."""
        ...

    @property
    def rtol(self) -> float:
        """Relative tolerance."""
        ...

    @property
    def atol(self) -> float:
        """Absolute tolerance."""
        ...


@dataclasses.dataclass(frozen=True)
class ProbabilityFlow:
    """A diffusion over real-valued data as a continuous flow: a density that is known exactly.

    Attributes:
        diffusion: The model; its parameters and state are what all methods take.
        divergence: `ode.exact`, or `ode.hutchinson()` where examples have many entries.
        smallest: The noise-to-signal ratio at which the ODE meets the data; see `ode.log_prob`.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Raises:
        ValueError: The data are discrete, or the flow begins elsewhere than at noise.

    References:
        Song et al. 2021, arXiv:2011.13456, sec. 4.3 and app. D.
    """

    diffusion: Denoising
    divergence: Divergence = ode.exact
    smallest: float = 1e-3
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        """Refuses data that have probabilities rather than a density."""
        check_base(self.diffusion)
        if self.spec.num_levels is not None:
            raise ValueError(
                f"{self.spec.name} has discrete entries, whose probabilities the ODE bounds but "
                "does not give: use DequantizedProbabilityFlow"
            )

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.diffusion.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels that the model is conditional on; None for p(x)."""
        return self.diffusion.num_classes

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        return LikelihoodInfo(
            estimated="" if self.divergence is ode.exact else "divergence by probes"
        )

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
        """Log p(x) `[B]` in nats; with `ode.hutchinson()` an unbiased estimate of it.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: What a random divergence draws from; a fixed one where None.
            label: Of a conditional model, the labels `[B]`.
            state: The model's state.
        """
        check_examples(x, self.spec)
        key = jax.random.key(0) if key is None else key
        return density(self, params, x, key, label, state, self.smallest)

    @entry()
    def encode(
        self, params: Params, x: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """The noise `[B, *shape]` from which the ODE leads to each example."""
        check_examples(x, self.spec)
        return ode.encode(
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
        return ode.adaptive(
            self.diffusion.denoiser(params, label=label, state=state),
            schedule,
            z,
            ode.ends(schedule, self.smallest),
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
        """New examples `[num, *shape]`, of exactly the density of `log_prob` but for tolerances."""
        key_label, key_x = jax.random.split(key)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        schedule = bind(self.diffusion.schedule, params)
        noise = start(schedule, (num, *self.spec.shape), jnp.ones(1), key_x)
        return self.decode(params, noise, label=label, state=state)


def check_base(diffusion: Denoising) -> None:
    """Raise unless the model's flow begins at noise, and it denoises there.

    Raises:
        ValueError: It is a `FlowMatching` that begins at examples, or a diffusion that predicts
            noise on a schedule that ends at noise alone.
    """
    prediction = getattr(diffusion, "prediction", None)
    if prediction is not None and not isinstance(diffusion.schedule, Learned):
        check_signal(prediction, diffusion.schedule, 1.0)
    base = getattr(diffusion, "base", None)
    if base is not None:
        raise ValueError(
            f"the flow begins at the examples of {base!r}, whose density is not known: only a flow "
            "from noise, base=None, has a log_prob"
        )


def density(
    flow: Solved,
    params: Params,
    x: Array,
    key: Key,
    label: Array | None,
    state: State | None,
    smallest: float,
) -> Array:
    """Log-density of real-valued x `[B]`, each example denoised given its own label."""

    def denoise(x_t: Array, t: Array, *told: Array) -> Array:
        own = told[0] if told else None
        return flow.diffusion.denoiser(params, label=own, state=state)(x_t, t)

    return ode.log_prob(
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
