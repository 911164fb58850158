"""Latent diffusion: a diffusion of the codes of a trained autoencoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from genjax_models.core.conditions import check_examples
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.preprocess import from_unit_range, to_unit_range
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.diffusion import samplers
from genjax_models.diffusion.diffusion import Diffusion
from genjax_models.diffusion.losses import DiffusionOutputs
from genjax_models.diffusion.samplers import Sampler


class FirstStage(Protocol):
    """A model with real-valued codes: an autoencoder, a VAE, `EmbeddedCodes` of a VQ-VAE."""

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        ...

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and state."""
        ...

    def encode(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """The real-valued code `[B, ...]` of each example."""
        ...

    def decode(self, params: Params, z: Array, *, state: State | None = None) -> Array:
        """The example that each code stands for."""
        ...


@value
class LatentDiffusion:
    """A diffusion of codes, decoded at the end.

    The first stage is not trained: it lies in the state, and so in every checkpoint.
    `with_first_stage` puts a trained one there. Codes are brought to mean 0 and variance 1.

    Attributes:
        diffusion: The model of the codes; its `spec` is real-valued and has their shape.
        first_stage: The model whose codes these are.

    References:
        Rombach et al. 2022, arXiv:2112.10752; Vahdat et al. 2021, arXiv:2106.05931.
    """

    diffusion: Diffusion
    first_stage: FirstStage

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.first_stage.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels of p(x | label); None for p(x)."""
        return self.diffusion.num_classes

    @property
    def loss(self) -> Loss:
        """The diffusion's loss, of the codes."""
        return dataclasses.replace(self.diffusion.loss, forward=self.forward)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns the diffusion and not the first stage."""
        players = self.diffusion.players.items()
        return {name: dataclasses.replace(player, loss=self.loss) for name, player in players}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and a fresh first stage in the state.

        Raises:
            ValueError: The batch, or the codes, do not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_first, key_diffusion = jax.random.split(key)
        params, state = self.first_stage.init(key_first, batch)
        x = jnp.asarray(batch["x"])
        first = self.with_first_stage({}, params, state, x)
        z = self._encode(first, x)
        params, state = self.diffusion.init(key_diffusion, {**batch, "x": z})
        return params, {**state, **first}

    def with_first_stage(
        self, state: State, first_params: Params, first_state: State, x: Array
    ) -> State:
        """The state with a trained first stage in it.

        Args:
            state: The model's state.
            first_params: Parameters of the first stage.
            first_state: State of the first stage.
            x: Examples `[B, *shape]`; mean and variance of their codes are brought to 0 and 1.

        Raises:
            ValueError: The codes do not have the diffusion's shape.
        """
        z = self.first_stage.encode(first_params, x, state=first_state)
        wanted = self.diffusion.spec.shape
        if z.shape[1:] != wanted or not jnp.issubdtype(z.dtype, jnp.floating):
            raise ValueError(
                f"the first stage gives codes {z.dtype}{list(z.shape[1:])}, and the diffusion is "
                f"of float32{list(wanted)}: give it spec=DataSpec({z.shape[1:]}, num_levels=None), "
                "and take a VQ-VAE's vectors by autoencoders.EmbeddedCodes"
            )
        spread = jnp.std(z)
        first = {
            "params": first_params,
            "state": first_state,
            "mean": jnp.mean(z, axis=0),
            "scale": jnp.where(spread > 0.0, spread, 1.0) + 1e-6,
        }
        return {**state, "first_stage": first}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[DiffusionOutputs, State]:
        """Predicts the codes, as the diffusion does."""
        z = jax.lax.stop_gradient(self._encode(state, batch["x"]))
        batch = {**batch, "x": z}
        out, after = self.diffusion.forward(params, batch, key, state=state, train=train)
        return out, {**state, **after}

    @entry("num", "guidance", "sampler", "timesteps")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        guidance: float = 1.0,
        sampler: Sampler = samplers.ddim,
        timesteps: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Draws codes and decodes them to examples `[num, *shape]` in the data's range.

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of examples.
            label: Labels of a conditional model, `[num]` or one for all; uniform ones where None.
            guidance: Weight of classifier-free guidance; 1 changes nothing.
            sampler: As of `Diffusion.sample`.
            timesteps: Times at which the sampler denoises `[n]`; `linear_timesteps(50)` where None.
            state: The model's state, which holds the first stage.

        Raises:
            ValueError: The state is not given, or as for `Diffusion.sample`.
        """
        first = _first_stage(state)
        z = self.diffusion.sample(
            params,
            key,
            num,
            label=label,
            guidance=guidance,
            sampler=sampler,
            timesteps=timesteps,
            state=state,
        )
        z = z * first["scale"] + first["mean"]
        x = self.first_stage.decode(first["params"], z, state=first["state"])
        return from_unit_range(to_unit_range(x, self.spec), self.spec)

    def _encode(self, state: State, x: Array) -> Array:
        """The codes of examples, standardised."""
        first = _first_stage(state)
        z = self.first_stage.encode(first["params"], x, state=first["state"])
        return (z - first["mean"]) / first["scale"]


def _first_stage(state: State | None) -> Any:
    if not state or "first_stage" not in state:
        raise ValueError(
            "a LatentDiffusion keeps its first stage in its state, which was not given: pass "
            "state=train_state.state"
        )
    return state["first_stage"]
