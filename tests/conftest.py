"""Eight simulated devices and a compilation cache, before anything imports JAX."""

import os
import signal
import tempfile
import threading

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test is compiling: less of it is done on programs that run but a few times.
QUICK_COMPILES = "--xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 {QUICK_COMPILES}"
)

# A test run that was started in the background ignores Ctrl-C, and so would all that it starts: the
# tests that press it want it heard.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax  # noqa: E402
import pytest  # noqa: E402

# The same program is compiled once a test session, whoever asks for it.
_cache = tempfile.TemporaryDirectory(prefix="genjax-tests-")
jax.config.update("jax_compilation_cache_dir", _cache.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="session")
def digits():
    """The training split of digits."""
    import genjax_models as gm

    return gm.load("digits")
