"""Energy-based models: a density known up to a constant, whatever network gives its energy."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.conditions import check_examples
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.energy import cells, losses, noise_contrastive, score_matching
from genjax_models.energy.annealing import Path
from genjax_models.energy.contrast import compare, side_by_side
from genjax_models.energy.mcmc import Kernel, Trace, chains
from genjax_models.energy.outputs import ContrastiveOutputs
from genjax_models.energy.reference import Gaussian, Reference
from genjax_models.energy.replay import Replay, anywhere


@dataclasses.dataclass(frozen=True)
class EnergyModel:
    """A network that tilts a law which is easy to sample.

    `p(v) = exp(-f(v)) q(v) / Z`, so `E(v) = f(v) - log q(v)`: the reference q makes it a density,
    as long as f falls no faster than log q does, and log Z is relative to q's own 0.

    The density is over R^D. Real-valued data are points of it as they are; of data with levels
    each entry is a uniform point of its level's cell of [-1, 1) (`energy.cells`), and
    `log P(x) >= E log p(v) + D log(2 / levels)`. Methods take examples `x` in the data's units, or
    points `v`.

    The network looks at examples one by one: were its outputs to depend on the others of a batch,
    there would be no density.

    Attributes:
        network: Points `[B, *shape]` to f, `[B]` or `[B, 1]`.
        spec: What one example is.
        reference: q.
        replay: How contrastive divergence draws samples of the model.

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
        """Contrastive divergence, with 0.0001 `energy_magnitude`.

        In its place can be `denoising_loss`, `sliced_loss` or `noise_contrastive_loss`:
        `fit(..., losses={"energy": model.denoising_loss(0.1)})`.
        """
        terms = {
            "contrastive_divergence": losses.contrastive_divergence,
            "energy_magnitude": losses.energy_magnitude,
        }
        return Loss(self.forward, terms, {"energy_magnitude": 1e-4}, losses.WATCHED)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns the network; the samples are nobody's."""
        return {"energy": Player(self.loss, owns=("network",))}

    def denoising_loss(self, sigma: float) -> Loss:
        """Denoising score matching: learns the score of the data with noise of that size.

        The network's constant does not enter it, and stays as it is.

        Args:
            sigma: The noise's standard deviation, in the units of the points.
        """
        forward = functools.partial(score_matching.denoising, self, sigma)
        return Loss(forward, {"denoising_score_matching": losses.denoising_score_matching})

    def sliced_loss(self) -> Loss:
        """Sliced score matching: learns the score of the data, for networks that are smooth."""
        forward = functools.partial(score_matching.sliced, self)
        return Loss(forward, {"sliced_score_matching": losses.sliced_score_matching})

    def noise_contrastive_loss(self, nu: int = 1) -> Loss:
        """Noise-contrastive estimation, with the reference as noise.

        The network's constant is the log-normaliser: what is learned has log Z = 0, nearly.

        Args:
            nu: Points of noise an example.
        """
        forward = functools.partial(noise_contrastive.contrast, self, nu)
        terms = {"noise_contrastive": losses.noise_contrastive}
        return Loss(forward, terms, watched={"classified": losses.classified})

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and a buffer of samples of the reference.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_network, key_buffer = jax.random.split(key)
        v = cells.centres(jnp.asarray(batch["x"]), self.spec)
        params, state = init_modules(key_network, {"network": (self.network, (v,))})
        jax.eval_shape(functools.partial(self.tilt, params, state), v)
        return params, {**state, **self.replay.init(key_buffer, self.reference, self.spec.shape)}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[ContrastiveOutputs, State]:
        """The energies of the data and of samples of the model, whose chains go on."""
        key_x, key_model, key_network = jax.random.split(key, 3)
        v = self.points(batch["x"], key_x)
        x_model, trace, state = self.negatives(params, v.shape, key_model, state, train=train)
        both = side_by_side(v, x_model)
        tilts, state = self.tilt(params, state, both, key=key_network, train=train)
        return compare(self.reference, v, x_model, tilts, trace), state

    def negatives(
        self, params: Params, shape: tuple[int, ...], key: Key, state: State, *, train: bool
    ) -> tuple[Array, Trace, State]:
        """Samples of the model `[B, ...]` for its training; see `Replay.draw`."""
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
        """E `[B]` of examples, in nats; of data with levels, in the middles of their cells.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`, in the data's units.
            state: The model's state.
            context: What the network is conditioned on `[B, K]`, if it takes it.
        """
        check_examples(x, self.spec)
        v = cells.centres(x, self.spec)
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
        """The log density up to a constant, -E, `[B]` at points `[B, *shape]`, in nats."""
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
        """The gradient of log p, that of -E, `[B, *shape]` at points `[B, *shape]`."""

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
        start: Array | None = None,
        context: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Examples `[num, *shape]` in the data's range: where chains are after so many steps.

        Args:
            params: The model's parameters.
            key: What the chains are a function of.
            num: How many.
            steps: Steps of each chain.
            kernel: One step; that of training where None.
            start: Points where they start `[num, *shape]` (`replayed` has some); samples of the
                reference where None.
            context: What the network is conditioned on `[num, K]`, if it takes it.
            state: The model's state.
        """
        key_start, key_chain = jax.random.split(key)
        if start is None:
            start = self.reference.sample(key_start, (num, *self.spec.shape))
        v, _ = self.walk(
            params, start, key_chain, steps, kernel=kernel, context=context, state=state
        )
        return cells.examples(v, self.spec)

    @entry("steps", "kernel")
    def walk(
        self,
        params: Params,
        v: Array,
        key: Key,
        steps: int,
        *,
        kernel: Kernel | None = None,
        context: Array | None = None,
        state: State | None = None,
    ) -> tuple[Array, Trace]:
        """Chains from points `[N, *shape]`: where they end, and the `Trace` of each `[N]`."""

        def log_density(v: Array, *own: Array) -> Array:
            shown = own[0][None] if own else None
            return self.log_density(params, v[None], state=state, context=shown)[0]

        return chains(kernel or self.replay.kernel, log_density, v, key, steps, context)

    def path(self, params: Params, state: State | None = None) -> Path:
        """From the reference to the model, `(v, beta) -> log q(v) - beta f(v)`, for `anneal`."""

        def log_density(v: Array, beta: Array) -> Array:
            tilt, _ = self.tilt(params, state or {}, v[None])
            return self.reference.log_prob(v[None])[0] - beta * tilt[0]

        return log_density

    def replayed(self, state: State, key: Key, num: int) -> Array:
        """Points `[num, *shape]` of the replay buffer, to start `sample` from.

        Raises:
            ValueError: The model keeps no buffer.
        """
        if "buffer" not in state:
            raise ValueError("the model keeps no buffer: give it a Replay with a size above 0")
        return anywhere(key, state["buffer"], num)[1]

    def points(self, x: Array, key: Key) -> Array:
        """Points `[B, *shape]` of examples in the data's units, as training sees them."""
        return cells.points(x, key, self.spec)

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
        """The network's f `[B]` at points `[B, *shape]`, and the state after it.

        Raises:
            ValueError: The network gives more than a number an example.
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
