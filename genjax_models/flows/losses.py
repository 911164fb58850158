"""Terms of flows: `Outputs -> [B]`, in nats."""

from __future__ import annotations

from typing import Protocol

from genjax_models.core.types import Array


class ChangeOfVariables(Protocol):
    """Outputs with the two parts of a flow's log-density."""

    @property
    def log_p_z(self) -> Array:
        """Log-density of the codes under the base distribution `[B]`."""
        ...

    @property
    def log_det(self) -> Array:
        """Log |det dz/dx| `[B]`."""
        ...


class DequantizedChange(ChangeOfVariables, Protocol):
    """Outputs as in `ChangeOfVariables`, of dequantised data, with the density of the noise."""

    @property
    def log_q(self) -> Array:
        """Log-density of the dequantised data, given the discrete ones `[B]`."""
        ...


def nll(outputs: ChangeOfVariables) -> Array:
    """-log p(x) = -log p_z(f(x)) - log |det df/dx| `[B]`, in nats."""
    return -(outputs.log_p_z + outputs.log_det)


def dequantized_nll(outputs: DequantizedChange) -> Array:
    """Log q(y | x) - log p(y) `[B]`, in nats: in expectation, an upper bound of -log P(x)."""
    return nll(outputs) + outputs.log_q
