"""Compiled programs kept on disk: compiling is most of what a small model's user waits for."""

from __future__ import annotations

import os
from pathlib import Path

import jax

_FOLDER = "jax_compilation_cache_dir"


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, so that the next run need not compile.

    A folder that JAX was already told of (JAX_COMPILATION_CACHE_DIR) is left as it is, and
    JAX_ENABLE_COMPILATION_CACHE=false switches all of it off.
    """
    if getattr(jax.config, _FOLDER) is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update(_FOLDER, str(Path(home, "genjax_models", "compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
