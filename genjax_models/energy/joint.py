"""Joint energy-based models: a classifier as a density of data and labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.conditions import check_examples, label_context, labels_to_sample
from genjax_models.core.dequantization import SYMMETRIC
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.energy import losses
from genjax_models.energy.energy_model import EnergyModel, interleave
from genjax_models.energy.losses import ContrastiveOutputs, JointOutputs
from genjax_models.energy.mcmc import Gaussian, Kernel, Reference, Replay


class FreeEnergy(nn.Module):
    """The energy of a classifier: -logsumexp of its logits, or minus one of them.

    Attributes:
        network: Network from points `[B, ...]` to logits `[B, K]`.
    """

    network: nn.Module

    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """The energy `[B]` of p(x), or of p(x, y) given one-hot labels `[B, K]`."""
        logits = self.logits(x, train=train)
        if context is None:
            return -jax.nn.logsumexp(logits, axis=-1)
        return -jnp.sum(logits * context, axis=-1)

    def logits(self, x: Array, *, train: bool = False) -> Array:
        """The classifier's logits `[B, K]`."""
        return self.network(x, train=train)


@value
class JointEnergyModel:
    """A classifier as a density of data and labels.

    `p(v, y) = exp(logits(v)_y) q(v) / Z` with the reference q of `EnergyModel`, so that p(y | v) is
    the classifier's softmax, and the energy of p(v) is -logsumexp(logits(v)) - log q(v). The loss
    is -log p(x), by contrastive divergence, plus -log p(y | x).

    Attributes:
        network: Network from points `[B, *shape]` to logits `[B, K]`.
        spec: Description of one example, with its number of classes K.
        reference: The distribution q.
        replay: Sampler of contrastive divergence.

    Raises:
        ValueError: The data have no labels.

    References:
        Grathwohl et al. 2020, Your classifier is secretly an energy based model and you should
        treat it like one, arXiv:1912.03263 (eq. 6-8).
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    reference: Reference = Gaussian()
    replay: Replay = Replay()

    def __post_init__(self) -> None:
        """Checks that the data have labels."""
        if self.spec.num_classes is None:
            raise ValueError(f"{self.spec.name} has no labels to be joint with: use EnergyModel")

    @property
    def marginal(self) -> EnergyModel:
        """The model of p(x), which has the same parameters and state."""
        return EnergyModel(FreeEnergy(self.network), self.spec, self.reference, self.replay)

    @property
    def loss(self) -> Loss:
        """-log p(y | x), contrastive divergence, and 0.0001 times `energy_magnitude`."""
        terms = {
            "cross_entropy": losses.cross_entropy,
            "contrastive_divergence": _of_contrast(losses.contrastive_divergence),
            "energy_magnitude": _of_contrast(losses.energy_magnitude),
        }
        watched = {name: _of_contrast(scalar) for name, scalar in losses.WATCHED.items()}
        watched["accuracy"] = losses.accuracy
        return Loss(self.forward, terms, {"energy_magnitude": 1e-4}, watched)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns the network."""
        return {"joint": Player(self.loss, owns=("network",))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters, and a buffer of samples of the reference.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        params, state = self.marginal.init(key, batch)
        v = SYMMETRIC.centres(jnp.asarray(batch["x"]), self.spec)
        logits, _ = jax.eval_shape(functools.partial(self._logits, params, state), v)
        if logits.shape != (v.shape[0], self.spec.num_classes):
            raise ValueError(
                f"the network returned {logits.shape[1:]} for each example, and {self.spec.name} "
                f"has {self.spec.num_classes} labels: give it as many outputs"
            )
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[JointOutputs, State]:
        """Computes the logits, and the energies of data and samples, continuing the chains."""
        key_x, key_model, key_network = jax.random.split(key, 3)
        marginal = self.marginal
        v = marginal.points(batch["x"], key_x)
        x_model, info, state = marginal.negatives(params, v.shape, key_model, state, train=train)
        both = interleave(v, x_model)
        logits, state = self._logits(params, state, both, key=key_network, train=train)
        tilts = -jax.nn.logsumexp(logits, axis=-1)
        contrast = marginal.contrast(v, x_model, tilts, info)
        return JointOutputs(contrast, logits[::2], batch["label"]), state

    @entry()
    def logits(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """The classifier's logits `[B, K]` of examples, in the data's units."""
        check_examples(x, self.spec)
        return self._logits(params, state or {}, SYMMETRIC.centres(x, self.spec))[0]

    @entry()
    def classify(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """p(y | x) `[B, K]` of examples, in the data's units."""
        return jax.nn.softmax(self.logits(params, x, state=state), axis=-1)

    @entry()
    def energy(
        self,
        params: Params,
        x: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """The energy E(x) `[B]` of examples, or E(x, y) given their labels `[B]`, in nats."""
        return self.marginal.energy(params, x, state=state, context=self._context(label))

    @entry()
    def score(
        self,
        params: Params,
        v: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """The gradient of log p(v), or of log p(v | y), at points: both `[B, *shape]`."""
        return self.marginal.score(params, v, state=state, context=self._context(label))

    @entry("num", "steps", "kernel")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        steps: int = 500,
        kernel: Kernel | None = None,
        initial_positions: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Draws `num` new examples `[num, *shape]` of p(x) or p(x | y), in the data's range.

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of examples.
            label: Labels `[num]`, one for all, or None for samples of p(x).
            steps: Number of steps of each chain.
            kernel: One step; that of training if None.
            initial_positions: Points where the chains start `[num, *shape]`; samples of the
                reference if None.
            state: The model's state.
        """
        if label is not None:
            label = labels_to_sample(label, self.spec.num_classes, num, key)
        context = self._context(label)
        return self.marginal.sample(
            params,
            key,
            num,
            steps=steps,
            kernel=kernel,
            initial_positions=initial_positions,
            context=context,
            state=state,
        )

    def _context(self, label: Array | None) -> Array | None:
        return None if label is None else label_context(label, self.spec.num_classes)

    def _logits(
        self, params: Params, state: State, v: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        network = FreeEnergy(self.network)
        return apply_module(
            "network", network, params, state, v, key=key, train=train, method="logits"
        )


def _of_contrast(function: Callable[[ContrastiveOutputs], Array]) -> Callable[..., Array]:
    """Applies a term or a scalar to the outputs of p(x)."""
    return functools.partial(_apply_to_contrast, function)


def _apply_to_contrast(
    function: Callable[[ContrastiveOutputs], Array], outputs: JointOutputs
) -> Array:
    return function(outputs.contrast)
