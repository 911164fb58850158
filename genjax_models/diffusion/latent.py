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
from genjax_models.diffusion.model import Diffusion
from genjax_models.diffusion.outputs import DiffusionOutputs


class Codec(Protocol):
    """What codes come from: an autoencoder, a VAE, `autoencoders.EmbeddedCodes` of a VQ-VAE."""

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
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


@dataclasses.dataclass(frozen=True)
class LatentDiffusion:
    """A diffusion of codes, decoded at the end.

    The codec is not trained: it lies in the state, and so in every checkpoint. `adopt` puts a
    trained one there. Codes are brought to mean 0 and variance 1.

    Attributes:
        diffusion: The model of the codes; its `spec` is real-valued and has their shape.
        codec: What the codes are of.

    References:
        Rombach et al. 2022, arXiv:2112.10752; Vahdat et al. 2021, arXiv:2106.05931.
    """

    diffusion: Diffusion
    codec: Codec

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.codec.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels that the diffusion is conditional on; None for none."""
        return self.diffusion.num_classes

    @property
    def loss(self) -> Loss:
        """The diffusion's own loss, of the codes."""
        return dataclasses.replace(self.diffusion.loss, forward=self.forward)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns the diffusion and not the codec."""
        players = self.diffusion.players.items()
        return {name: dataclasses.replace(player, loss=self.loss) for name, player in players}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and a fresh codec in the state.

        Raises:
            ValueError: The batch, or the codes, do not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_codec, key_diffusion = jax.random.split(key)
        params, state = self.codec.init(key_codec, batch)
        adopted = self.adopt({}, params, state, jnp.asarray(batch["x"]))
        z = self._encode(adopted, jnp.asarray(batch["x"]))
        params, state = self.diffusion.init(key_diffusion, {**batch, "x": z})
        return params, {**state, **adopted}

    def adopt(self, state: State, codec_params: Params, codec_state: State, x: Array) -> State:
        """The state with a trained codec in it.

        Args:
            state: The model's state.
            codec_params: The codec's parameters.
            codec_state: Its state.
            x: Examples whose codes' mean and variance are those to be brought to 0 and 1.

        Raises:
            ValueError: Its codes do not have the diffusion's shape.
        """
        z = self.codec.encode(codec_params, x, state=codec_state)
        wanted = self.diffusion.spec.shape
        if z.shape[1:] != wanted or not jnp.issubdtype(z.dtype, jnp.floating):
            raise ValueError(
                f"the codec gives codes {z.dtype}{list(z.shape[1:])}, and the diffusion is of "
                f"float32{list(wanted)}: give it spec=DataSpec({z.shape[1:]}, num_levels=None), "
                "and take a VQ-VAE's vectors by autoencoders.EmbeddedCodes"
            )
        spread = jnp.std(z)
        codec = {
            "params": codec_params,
            "state": codec_state,
            "mean": jnp.mean(z, axis=0),
            "scale": jnp.where(spread > 0.0, spread, 1.0) + 1e-6,
        }
        return {**state, "codec": codec}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[DiffusionOutputs, State]:
        """The diffusion's pass over the codes."""
        z = jax.lax.stop_gradient(self._encode(state, batch["x"]))
        batch = {**batch, "x": z}
        out, after = self.diffusion.forward(params, batch, key, state=state, train=train)
        return out, {**state, **after}

    @entry("num", "guidance", "sampler", "times", "trajectory")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        state: State | None = None,
        **options: Any,
    ) -> Array:
        """New examples `[num, *shape]` in the data's range: decoded codes.

        Args:
            params: The model's parameters.
            key: What the draws are a function of.
            num: How many.
            state: The model's state, which holds the codec.
            **options: As of `Diffusion.sample`: `label`, `guidance`, `sampler`, `times`.

        Raises:
            ValueError: The state is not given.
        """
        codec = _codec(state)
        z = self.diffusion.sample(params, key, num, state=state, **options)
        z = z * codec["scale"] + codec["mean"]
        x = self.codec.decode(codec["params"], z, state=codec["state"])
        return from_unit_range(to_unit_range(x, self.spec), self.spec)

    def _encode(self, state: State, x: Array) -> Array:
        codec = _codec(state)
        z = self.codec.encode(codec["params"], x, state=codec["state"])
        return (z - codec["mean"]) / codec["scale"]


def _codec(state: State | None) -> Any:
    if not state or "codec" not in state:
        raise ValueError(
            "a LatentDiffusion keeps its codec in its state, which was not given: pass "
            "state=train_state.state"
        )
    return state["codec"]
