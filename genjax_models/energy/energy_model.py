"""Energy-based models: a density known up to a constant, given by any network."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import buffer, random
from genjax_models.core.conditions import check_examples
from genjax_models.core.dequantization import SYMMETRIC
from genjax_models.core.distributions import sum_entries
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.energy import losses
from genjax_models.energy.annealing import Path
from genjax_models.energy.losses import (
    ContrastiveOutputs,
    DenoisingOutputs,
    NoiseContrastiveOutputs,
    SlicedOutputs,
)
from genjax_models.energy.mcmc import ChainInfo, Gaussian, Kernel, Reference, Replay, run_chains


@value
class EnergyModel:
    """A network times a reference distribution.

    `p(v) = exp(-f(v)) q(v) / Z`, so that `E(v) = f(v) - log q(v)`. The reference q makes it a
    density, as long as f falls no faster than log q, and is where log Z is 0 for f = 0.

    The density is over R^D. Real-valued data are points of it as they are. Discrete data are
    dequantised: each entry becomes a uniform point of its level's cell of [-1, 1)
    (`core.dequantization.SYMMETRIC`), and `log P(x) >= E log p(v) + D log(2 / L)` for L levels.
    Methods take examples `x` in the data's units, or points `v`.

    The network must treat examples independently: if its outputs depended on the other examples of
    a batch, there would be no density.

    Attributes:
        network: Network from points `[B, *shape]` to f, `[B]` or `[B, 1]`.
        spec: Description of one example.
        reference: The distribution q.
        replay: Sampler of contrastive divergence.

    References:
        LeCun et al. 2006, A tutorial on energy-based learning; Du and Mordatch 2019,
        arXiv:1903.08689; Xie et al. 2016, A theory of generative ConvNet, arXiv:1602.03264 (eq. 1,
        the reference).
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    reference: Reference = Gaussian()
    replay: Replay = Replay()

    @property
    def loss(self) -> Loss:
        """Contrastive divergence, and 0.0001 times `energy_magnitude`.

        `denoising_loss`, `sliced_loss` and `noise_contrastive_loss` are alternatives:
        `fit(..., losses={"energy": model.denoising_loss(0.1)})`.
        """
        terms = {
            "contrastive_divergence": losses.contrastive_divergence,
            "energy_magnitude": losses.energy_magnitude,
        }
        return Loss(self.forward, terms, {"energy_magnitude": 1e-4}, losses.WATCHED)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns the network."""
        return {"energy": Player(self.loss, owns=("network",))}

    def denoising_loss(self, sigma: float) -> Loss:
        """Denoising score matching, which learns the score of noisy data.

        A constant added to the energy does not change it.

        Args:
            sigma: Standard deviation of the noise, in the units of the points.
        """
        forward = functools.partial(self._denoising, sigma)
        return Loss(forward, {"denoising_score_matching": losses.denoising_score_matching})

    def sliced_loss(self) -> Loss:
        """Sliced score matching, which learns the score of the data; for smooth networks."""
        return Loss(self._sliced, {"sliced_score_matching": losses.sliced_score_matching})

    def noise_contrastive_loss(self, nu: int = 1) -> Loss:
        """Noise-contrastive estimation, with the reference as noise.

        It learns the normalising constant too: log Z of the result is near 0.

        Args:
            nu: Number of points of noise for each example.
        """
        forward = functools.partial(self._noise_contrastive, nu)
        terms = {"noise_contrastive": losses.noise_contrastive}
        return Loss(forward, terms, watched={"noise_accuracy": losses.noise_accuracy})

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters, and a buffer of samples of the reference.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_network, key_buffer = jax.random.split(key)
        v = SYMMETRIC.centres(jnp.asarray(batch["x"]), self.spec)
        params, state = init_modules(key_network, {"network": (self.network, (v,))})
        jax.eval_shape(functools.partial(self.tilt, params, state), v)
        return params, {**state, **self.replay.init(key_buffer, self.reference, self.spec.shape)}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[ContrastiveOutputs, State]:
        """Computes the energies of the data and of samples of the model, continuing its chains."""
        key_x, key_model, key_network = jax.random.split(key, 3)
        v = self.points(batch["x"], key_x)
        x_model, info, state = self.negatives(params, v.shape, key_model, state, train=train)
        both = interleave(v, x_model)
        tilts, state = self.tilt(params, state, both, key=key_network, train=train)
        return self.contrast(v, x_model, tilts, info), state

    def contrast(
        self, v: Array, x_model: Array, tilts: Array, info: ChainInfo
    ) -> ContrastiveOutputs:
        """The outputs for data and samples `[B, ...]`, given f of both, interleaved `[2 B]`."""
        tilt, tilt_model = tilts.reshape(-1, 2).T
        return ContrastiveOutputs(
            x=v,
            x_model=x_model,
            energy=tilt - self.reference.log_prob(v),
            energy_model=tilt_model - self.reference.log_prob(x_model),
            tilt=tilt,
            tilt_model=tilt_model,
            acceptance_rate=info.acceptance_rate,
            gradient_norm=info.gradient_norm,
        )

    def negatives(
        self, params: Params, shape: tuple[int, ...], key: Key, state: State, *, train: bool
    ) -> tuple[Array, ChainInfo, State]:
        """Draws samples of the model `[B, ...]` for its training; see `Replay.draw`."""
        fixed = jax.lax.stop_gradient(params)

        def log_density(v: Array) -> Array:
            return self.log_density(fixed, v[None], state=state)[0]

        return self.replay.draw(log_density, self.reference, shape, key, state, train=train)

    @entry()
    def energy(
        self,
        params: Params,
        x: Array,
        *,
        state: State | None = None,
        context: Array | None = None,
    ) -> Array:
        """The energy E `[B]` of examples, in nats; of discrete data, at the centres of their cells.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`, in the data's units.
            state: The model's state.
            context: Condition of the network `[B, K]`, if it takes one.
        """
        check_examples(x, self.spec)
        v = SYMMETRIC.centres(x, self.spec)
        return -self.log_density(params, v, state=state, context=context)

    @entry()
    def log_density(
        self,
        params: Params,
        v: Array,
        *,
        state: State | None = None,
        context: Array | None = None,
    ) -> Array:
        """The log density up to a constant, -E `[B]`, at points `[B, *shape]`, in nats."""
        tilt, _ = self.tilt(params, state or {}, v, context=context)
        return self.reference.log_prob(v) - tilt

    @entry()
    def score(
        self,
        params: Params,
        v: Array,
        *,
        state: State | None = None,
        context: Array | None = None,
    ) -> Array:
        """The gradient of log p `[B, *shape]` at points `[B, *shape]`."""

        def total(v: Array) -> Array:
            return jnp.sum(self.log_density(params, v, state=state, context=context))

        return jax.grad(total)(v)

    @entry("num", "steps", "kernel")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        steps: int = 500,
        kernel: Kernel | None = None,
        initial_positions: Array | None = None,
        context: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Draws `num` new examples `[num, *shape]`, in the data's range, by Markov chains.

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of examples.
            steps: Number of steps of each chain.
            kernel: One step; that of training if None.
            initial_positions: Points where the chains start `[num, *shape]`, such as those of
                `sample_buffer`; samples of the reference if None.
            context: Condition of the network `[num, K]`, if it takes one.
            state: The model's state.
        """
        key_start, key_chain = jax.random.split(key)
        v = initial_positions
        if v is None:
            v = self.reference.sample(key_start, (num, *self.spec.shape))
        v, _ = self.run_chains(
            params, v, key_chain, steps, kernel=kernel, context=context, state=state
        )
        return SYMMETRIC.quantize(v, self.spec)

    @entry("steps", "kernel")
    def run_chains(
        self,
        params: Params,
        v: Array,
        key: Key,
        steps: int,
        *,
        kernel: Kernel | None = None,
        context: Array | None = None,
        state: State | None = None,
    ) -> tuple[Array, ChainInfo]:
        """Runs chains from points `[N, *shape]` to points `[N, *shape]`; see `mcmc.run_chains`."""

        def log_density(v: Array, *own: Array) -> Array:
            context = own[0][None] if own else None
            return self.log_density(params, v[None], state=state, context=context)[0]

        return run_chains(kernel or self.replay.kernel, log_density, v, key, steps, context)

    def annealing_path(self, params: Params, state: State | None = None) -> Path:
        """The path from the reference to the model, `(v, beta) -> log q(v) - beta f(v)`."""

        def log_density(v: Array, beta: Array) -> Array:
            tilt, _ = self.tilt(params, state or {}, v[None])
            return self.reference.log_prob(v[None])[0] - beta * tilt[0]

        return log_density

    def sample_buffer(self, state: State, key: Key, num: int) -> Array:
        """Draws points `[num, *shape]` of the replay buffer, to start chains from.

        Raises:
            ValueError: The model has no buffer.
        """
        if "buffer" not in state:
            raise ValueError("the model has no buffer: give it a Replay with a size above 0")
        return buffer.draw_any(key, state["buffer"], num)[1]

    def points(self, x: Array, key: Key) -> Array:
        """Dequantises examples in the data's units to points `[B, *shape]`, as training does."""
        return SYMMETRIC.dequantize(x, key, self.spec)

    def tilt(
        self,
        params: Params,
        state: State,
        v: Array,
        *,
        context: Array | None = None,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Array, State]:
        """The network's output f `[B]` at points `[B, *shape]`, and the new state.

        Raises:
            ValueError: The network returns more than one number for each example.
        """
        out, state = apply_module(
            "network", self.network, params, state, v, context, key=key, train=train
        )
        if out.size != v.shape[0]:
            raise ValueError(
                f"the network returned {out.shape[1:]} for each example, and an energy is one "
                "number: give it one output"
            )
        return out.reshape(v.shape[0]), state

    def _denoising(
        self, sigma: float, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[DenoisingOutputs, State]:
        """The pass of denoising score matching."""
        key_x, key_noise, key_network = jax.random.split(key, 3)
        v = self.points(batch["x"], key_x)
        noise = random.normal(key_noise, v.shape)
        score, state = self._score(params, state, v + sigma * noise, key_network, train)
        return DenoisingOutputs(v, noise, jnp.full(v.shape[0], sigma), score), state

    def _sliced(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[SlicedOutputs, State]:
        """The pass of sliced score matching."""
        key_x, key_direction, key_network = jax.random.split(key, 3)
        v = self.points(batch["x"], key_x)
        direction = random.normal(key_direction, v.shape)

        def along(v: Array) -> tuple[Array, tuple[Array, State]]:
            score, after = self._score(params, state, v, key_network, train)
            return jnp.sum(score * direction), (score, after)

        # Reverse mode twice: the product with the Hessian, without the Hessian.
        gradient, (score, state) = jax.grad(along, has_aux=True)(v)
        return SlicedOutputs(v, score, sum_entries(gradient * direction)), state

    def _score(
        self, params: Params, state: State, v: Array, key: Key, train: bool
    ) -> tuple[Array, State]:
        def total(v: Array) -> tuple[Array, State]:
            tilt, after = self.tilt(params, state, v, key=key, train=train)
            return jnp.sum(self.reference.log_prob(v) - tilt), after

        return jax.grad(total, has_aux=True)(v)

    def _noise_contrastive(
        self, nu: int, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[NoiseContrastiveOutputs, State]:
        """The pass of noise-contrastive estimation.

        With the reference q as noise, log p - log q is -f: the network's output is the logit, and
        its constant takes the place of log Z.
        """
        key_x, key_noise, key_network = jax.random.split(key, 3)
        v = self.points(batch["x"], key_x)
        noise = self.reference.sample(key_noise, (v.shape[0], nu, *v.shape[1:]))
        # Noise is next to its example, so that nothing crosses devices.
        both = jnp.concatenate([v[:, None], noise], axis=1).reshape(-1, *v.shape[1:])
        tilt, state = self.tilt(params, state, both, key=key_network, train=train)
        logits = (-tilt - math.log(nu)).reshape(-1, 1 + nu)  # [B, 1 + nu]
        return NoiseContrastiveOutputs(v, logits[:, 0], logits[:, 1:]), state


def interleave(v: Array, x_model: Array) -> Array:
    """Data and samples `[B, ...]` as one batch `[2 B, ...]`, each sample next to its example.

    So nothing crosses devices, and the network's random numbers are each example's own.
    """
    return jnp.stack([v, x_model], axis=1).reshape(-1, *v.shape[1:])
