"""Eight simulated devices and a compilation cache, before anything imports JAX."""

import importlib.metadata
import os
import signal
import tempfile
import threading

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test is compiling: less of it is done on programs that run but a few times. The emitters
# that are left out here, where they can be (jaxlib < 0.11.1), take as long as all the rest.
QUICK_COMPILES = "--xla_backend_optimization_level=0"
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:3])) < (0, 11, 1):
    QUICK_COMPILES += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 {QUICK_COMPILES}"
)

# The same program is compiled once a test session, whichever worker or process asks for it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="genjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# A test run that was started in the background ignores Ctrl-C, and so would all that it starts: the
# tests that press it want it heard.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the same of nohup

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def digits():
    """The training split of digits."""
    import genjax_models as gm

    return gm.load("digits")
