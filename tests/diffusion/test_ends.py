"""Every sampler on every schedule, grid and prediction against its own recursion, in float64.

Of data N(M, S^2) the denoiser is linear, so that a sampler in n steps is a linear function of where
it starts and of the noise that it draws. NumPy follows both exactly: the function, and the noise's
variance. All schedules, grids and predictions go through one compiled program a sampler.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import diffusion
from genjax_models.core.types import Array
from genjax_models.diffusion import consistency, ode, samplers
from genjax_models.networks.noise_embedding import LOWEST

M, S, NUM = 0.7, 0.6, 2000
KEY = jax.random.key(0)
LEARNED = diffusion.LearnedSchedule(width=8)
SCHEDULES = {
    "linear_beta": diffusion.LinearBeta(),
    "to_noise": diffusion.LinearBeta(0.0, 90.0),
    "cosine": diffusion.Cosine(),
    "cosine_to_noise": diffusion.Cosine(min_log_snr=-40.0),
    "variance_exploding": diffusion.VarianceExploding(),
    "edm": diffusion.EDM(),
    "rectified_flow": diffusion.RectifiedFlow(),
    "learned": LEARNED.bind(LEARNED.init(KEY)),
}
GRIDS = {
    "linear": lambda schedule: samplers.linear_timesteps(10),
    "quadratic": lambda schedule: samplers.quadratic_timesteps(10),
    "karras": lambda schedule: samplers.karras_timesteps(schedule, 10),
    "to_zero": lambda schedule: jnp.linspace(1.0, 0.0, 10),
    "rounded": lambda schedule: jnp.linspace(1.0, 0.0, 10) + 1.1e-7,
}
PREDICTIONS = [
    diffusion.NoisePrediction(),
    diffusion.DataPrediction(),
    diffusion.VelocityPrediction(),
    diffusion.FlowPrediction(),
    diffusion.EDMPrediction(0.5),
]


class Either(NamedTuple):
    """One of the schedules, by number, so that one program serves all."""

    number: Array

    def _of(self, functions, value):
        return jax.lax.switch(self.number, functions, value)

    def __call__(self, t):
        return self._of([lambda t, s=s: s(t) for s in SCHEDULES.values()], t)

    def log_snr(self, t):
        return self._of([lambda t, s=s: s.log_snr(t) for s in SCHEDULES.values()], t)

    def time(self, log_snr):
        return self._of([lambda x, s=s: s.time(x) for s in SCHEDULES.values()], log_snr)


def denoiser(schedule, low):
    """E[x_0 | x_t] of the data `[B, P]`, each column by another prediction of an exact network.

    Noise is predicted only where the schedule's lowest log-SNR asked for, `low`, lets it be read.
    """

    def denoise(x_t, t):
        alpha, sigma = schedule(t)
        variance = alpha**2 * S**2 + sigma**2
        x_0 = (sigma**2 * M + alpha * S**2 * x_t) / variance
        eps = sigma * (x_t - alpha * M) / variance
        columns = []
        for i, p in enumerate(PREDICTIONS):
            network = p.target(x_0[:, i], eps[:, i], alpha, sigma)
            read = p.denoised(network, x_t[:, i], alpha, sigma)
            columns.append(jnp.where((low < LOWEST) & p.needs_signal, x_0[:, i], read))
        return jnp.stack(columns, 1)

    return denoise


def after(line, other):
    """The linear function `other`, slope and offset, of what the function `line` gives."""
    return np.array([other[0] * line[0], other[0] * line[1] + other[1]])


class At(NamedTuple):
    """A noise scale in float64, and what is denoised there as functions of x_t."""

    t: float
    alpha: float
    sigma: float

    @property
    def ratio(self):
        return self.sigma / self.alpha if self.alpha > 0 else np.inf

    @property
    def is_noise(self):
        return self.ratio >= np.exp(-0.5 * LOWEST)

    @property
    def x_0(self):
        variance = (self.alpha * S) ** 2 + self.sigma**2
        return np.array([self.alpha * S**2, self.sigma**2 * M]) / variance

    @property
    def eps(self):
        variance = (self.alpha * S) ** 2 + self.sigma**2
        return np.array([self.sigma, -self.sigma * self.alpha * M]) / variance


def scale_at(schedule, t):
    """The noise scales of times `[n]`, or that of one time."""
    with jax.enable_x64(True):
        alpha, sigma = map(np.asarray, schedule(jnp.asarray(t, jnp.float64)))
    return (
        [At(*a) for a in zip(t, alpha, sigma, strict=True)] if np.ndim(t) else At(t, alpha, sigma)
    )


# Each reference: (noise scale, next one, schedule, memory, number of steps) -> the step as a
# function of x, the variance of the noise that it adds, and its memory.


def ddim(at, to, schedule, memory, num, eta=0.0):
    v = eta**2 * to.sigma**2 * (1 - (to.ratio / at.ratio) ** 2)
    return to.alpha * at.x_0 + np.sqrt(to.sigma**2 - v) * at.eps, v, memory


def ancestral(at, to, schedule, memory, num, large=False):
    kept = at.alpha / to.alpha
    added = at.sigma**2 - (kept * to.sigma) ** 2
    line = np.array([kept * to.sigma**2, 0.0]) + to.alpha * added * at.x_0
    v = added * (float(to.sigma > 0) if large else (to.sigma / at.sigma) ** 2)
    return line / at.sigma**2, v, memory


def euler(at, to, schedule, memory, num):
    if to.sigma == 0:
        return at.x_0, 0.0, memory
    with jax.enable_x64(True):
        slope = jax.jvp(schedule, (jnp.asarray(at.t),), (jnp.ones(()),))[1]
    d_alpha, d_sigma = map(float, slope)
    move = (to.t - at.t) * (d_alpha * at.x_0 + d_sigma * at.eps)
    return np.array([1.0, 0.0]) + move, 0.0, memory


def heun(at, to, schedule, memory, num, churn=0.0, low=0.0, high=np.inf, noise=1.0):
    """Karras et al. 2022, algorithm 2, of y = x / alpha."""
    line, v = np.array([1.0, 0.0]), 0.0
    if churn and low <= at.ratio <= high:
        factor = 1 + min(churn / num, np.sqrt(2) - 1)
        hat = at
        if not at.is_noise:  # else r is infinite, and so is r times the factor
            with jax.enable_x64(True):
                t = float(schedule.time(jnp.asarray(-2 * np.log(at.ratio * factor))))
            hat = scale_at(schedule, t)
            factor = hat.ratio / at.ratio  # 1 where the schedule does not go on
        line = np.array([hat.sigma / at.sigma / factor, 0.0])
        v, at = (hat.sigma / factor * noise) ** 2 * max(factor**2 - 1, 0.0), hat
    move = to.alpha * at.x_0 + to.sigma * at.eps
    if to.sigma > 0 and not at.is_noise:
        turn = after(move, to.eps) - at.eps
        move = move + 0.5 * (to.ratio - at.ratio) * to.alpha * turn
    return after(line, move), v * move[0] ** 2, memory


def solved(at, to, constant):
    kept = to.sigma / at.sigma
    return np.array([kept, 0.0]) + (to.alpha - kept * at.alpha) * constant


def dpm_solver_2s(at, to, schedule, memory, num):
    if to.sigma == 0 or at.is_noise:
        return solved(at, to, at.x_0), 0.0, memory
    with jax.enable_x64(True):
        t = float(schedule.time(jnp.asarray(-np.log(at.ratio) - np.log(to.ratio))))
    middle = scale_at(schedule, t)
    return solved(at, to, after(solved(at, middle, at.x_0), middle.x_0)), 0.0, memory


def dpm_solver_2m(at, to, schedule, memory, num):
    """Its memory: x_0 before as a function of x now, and r before."""
    constant = at.x_0
    if memory is not None and to.sigma > 0 and np.isfinite(memory[1]):
        before, ratio = memory
        weight = 0.5 * np.log(at.ratio / to.ratio) / np.log(ratio / at.ratio)
        constant = constant + weight * (constant - before)
    line = solved(at, to, constant)
    back = np.array([1 / line[0], -line[1] / line[0]]) if line[0] else line  # x now of x next
    return line, 0.0, (after(back, at.x_0), at.ratio)


def consistent(at, to, schedule, memory, num):
    return to.alpha * at.x_0, to.sigma**2, memory


part = functools.partial
CHURN = {"churn": 4.0, "noise": 1.01}
SAMPLERS = {
    "ddim_0": (diffusion.ddim, ddim),
    "ddim_half": (part(diffusion.ddim, eta=0.5), part(ddim, eta=0.5)),
    "ddim_1": (part(diffusion.ddim, eta=1.0), part(ddim, eta=1.0)),
    "ancestral_small": (diffusion.ancestral, ancestral),
    "ancestral_large": (
        part(diffusion.ancestral, variance=diffusion.fixed_large),
        part(ancestral, large=True),
    ),
    "euler": (diffusion.euler, euler),
    "heun": (diffusion.heun, heun),
    "heun_churned": (part(diffusion.heun, churn=4.0, churn_noise=1.01), part(heun, **CHURN)),
    "heun_churned_between": (
        part(diffusion.heun, churn=4.0, churn_noise=1.01, churn_range=(0.06, 3.0)),
        part(heun, **CHURN, low=0.06, high=3.0),
    ),
    "dpm_solver_2m": (diffusion.dpm_solver_2m, dpm_solver_2m),
    "dpm_solver_2s": (diffusion.dpm_solver_2s, dpm_solver_2s),
    "consistency": (consistency.multistep_consistency, consistent),
}


def expected(reference, schedule, times):
    """The function of the start that a sampler is, and the variance that it adds."""
    times = np.asarray(times, float)
    times = np.where(times < 1.2e-7, 0.0, np.minimum(times, 1.0))
    path = [a for a in scale_at(schedule, times) if a.sigma > 0]
    whole, variance, memory = np.array([1.0, 0.0]), 0.0, None
    for at, to in zip(path, [*path[1:], At(0.0, 1.0, 0.0)], strict=True):
        line, added, memory = reference(at, to, schedule, memory, len(path))
        whole, variance = after(whole, line), line[0] ** 2 * variance + added
    return whole, variance


def drawn(sampler, cases):
    """x_1 and x_0 `[cases, NUM, P]` of cases (number of the schedule, times), in one program."""
    names = list(SCHEDULES)
    numbers = jnp.asarray([names.index(name) for name, _ in cases])
    times = jnp.stack([jnp.asarray(t, jnp.float32) for _, t in cases])

    def one(number, times):
        schedule = Either(number)
        low = schedule.log_snr(jnp.minimum(times[0], 1.0))
        x = samplers.initial_noise(schedule, (NUM, len(PREDICTIONS)), times, KEY)
        return x, sampler(denoiser(schedule, low), schedule, x, times, jax.random.key(1))

    return jax.jit(jax.vmap(one))(numbers, times)


def check(sampler, reference, cases):
    x, x_0 = map(np.asarray, drawn(sampler, cases))
    for (name, times), start, end in zip(cases, x, x_0, strict=True):
        assert np.all(np.isfinite(end)), (name, times)
        line, variance = expected(reference, SCHEDULES[name], times)
        error, std = end - (line[0] * start + line[1]), np.sqrt(variance)
        if variance == 0:
            scale = 1.0 + np.abs(line[0]) * np.std(start)
            assert np.max(np.abs(error)) < 0.01 * scale, (name, times, np.max(np.abs(error), 0))
            continue
        # Six standard errors, and what float32 makes of an alpha that is nearly 0.
        off, spread = np.abs(np.mean(error, 0)), np.abs(np.std(error, 0) - std)
        assert np.all(off < 6 * std / np.sqrt(NUM) + 0.005), (name, times, off)
        assert np.all(spread < 6 * std / np.sqrt(2 * NUM) + 0.005), (name, times, spread)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_right_on_every_schedule_and_grid_by_every_prediction(name):
    cases = [(s, make(SCHEDULES[s])) for s in SCHEDULES for make in GRIDS.values()]
    check(*SAMPLERS[name], cases)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_right(name):
    check(*SAMPLERS[name], [(schedule, samplers.linear_timesteps(1)) for schedule in SCHEDULES])


@pytest.mark.parametrize("name", ["ddim_0", "ancestral_large", "heun", "dpm_solver_2m"])
def test_more_steps_than_a_thousand_are_right(name):
    check(*SAMPLERS[name], [(schedule, samplers.linear_timesteps(1100)) for schedule in SCHEDULES])


def test_corrections_end_at_the_data_on_every_schedule_and_grid():
    cases = [(s, make(SCHEDULES[s])) for s in SCHEDULES for make in GRIDS.values()]
    cases = [case for case in cases if case[0] != "to_noise"]  # of which few times have any signal
    _, x_0 = drawn(diffusion.predictor_corrector, cases)
    # Few steps are far from right, but not nowhere.
    assert np.max(np.abs(np.mean(x_0, 1) - M)) < 0.6
    assert np.max(np.abs(np.std(x_0, 1) - S)) < 0.6


EXACT = denoiser(SCHEDULES["edm"], jnp.zeros(()))
BAD = {
    "eta is 1.5": part(diffusion.ddim, eta=1.5),
    "eta is -0.1": part(diffusion.ddim, eta=-0.1),
    "eta is nan": part(diffusion.ddim, eta=float("nan")),
    "churn=-1.0": part(diffusion.heun, churn=-1.0),
    "churn=nan": part(diffusion.heun, churn=float("nan")),
    "churn_noise=-1.0": part(diffusion.heun, churn=1.0, churn_noise=-1.0),
    r"churn_range=\(2.0, 1.0\)": part(diffusion.heun, churn=1.0, churn_range=(2.0, 1.0)),
    "corrections=-1": part(diffusion.predictor_corrector, corrections=-1),
    "snr=-0.1": part(diffusion.predictor_corrector, snr=-0.1),
}


@pytest.mark.parametrize("message", BAD)
def test_options_out_of_their_range_are_refused_in_one_line(message):
    x = jnp.ones((2, 5))
    with pytest.raises(ValueError, match=message) as caught:
        BAD[message](EXACT, SCHEDULES["edm"], x, samplers.linear_timesteps(5), KEY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("times", [[0.0], [1e-9], [float("nan")], [1.0, 0.5, 0.5], [1.1, 0.5], []])
def test_times_without_a_beginning_are_refused_before_anything_is_drawn(times):
    flow = SCHEDULES["rectified_flow"]
    for draw in (
        lambda t: samplers.initial_noise(flow, (2, 5), t, KEY),
        lambda t: diffusion.ddim(EXACT, flow, jnp.ones((2, 5)), t, KEY),
        lambda t: ode.adaptive(EXACT, flow, jnp.ones((2, 5)), t, KEY),
    ):
        with pytest.raises(ValueError, match="a sampler's (first )?timestep") as caught:
            draw(jnp.asarray(times))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num", [1, 2, 1000])
@pytest.mark.parametrize("sigmas", [(0.002, 80.0), (1e-4, 1e4)])
def test_the_karras_grid_of_every_schedule_is_one_that_samplers_take(name, num, sigmas):
    schedule = SCHEDULES[name]
    times = samplers.karras_timesteps(schedule, num, sigma_min=sigmas[0], sigma_max=sigmas[1])
    samplers.check_timesteps(times, schedule)
    ends = np.exp(-0.5 * np.asarray(schedule.log_snr(jnp.array([0.0, 1.0]))))
    alpha, sigma = schedule(times)
    assert float(sigma[0] / alpha[0]) == pytest.approx(min(sigmas[1], ends[1]), rel=0.02)
    if num > 1:
        assert float(sigma[-1] / alpha[-1]) == pytest.approx(max(sigmas[0], ends[0]), rel=0.02)


def test_a_karras_grid_that_cannot_be_is_refused():
    for options in ({"sigma_min": 1.0, "sigma_max": 0.5}, {"sigma_min": 0.0}, {"rho": 0.0}):
        with pytest.raises(ValueError, match="levels that rise"):
            samplers.karras_timesteps(SCHEDULES["edm"], 5, **options)
    with pytest.raises(ValueError, match="give fewer steps"):
        samplers.karras_timesteps(SCHEDULES["edm"], 5, sigma_min=100.0, sigma_max=200.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: diffusion.Cosine(min_log_snr=-1000.0),
        lambda: diffusion.Cosine(min_log_snr=float("nan")),
        lambda: diffusion.Cosine(s=-1.0),
        lambda: diffusion.LinearBeta(-0.1, 20.0),
        lambda: diffusion.LinearBeta(0.0, 0.0),
        lambda: diffusion.VarianceExploding(0.0, 50.0),
        lambda: diffusion.VarianceExploding(1.0, 0.5),
        lambda: diffusion.EDM(-0.1),
        lambda: diffusion.EDM(rho=0.0),
        lambda: diffusion.EDMPrediction(0.0),
    ],
)
def test_schedules_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="give"):
        make()


def test_no_alpha_is_below_0_and_every_end_has_its_log_snr():
    t = jnp.linspace(0.0, 1.0, 2001)
    for name, schedule in SCHEDULES.items():
        alpha, sigma = schedule(t)
        assert np.all(alpha >= 0) and np.all(sigma >= 0), name
        for log_snr in (-jnp.inf, jnp.inf, -60.0, 60.0):
            assert not np.isnan(schedule.time(jnp.asarray(log_snr))), name
    for lowest in (-80.0, -40.0, -13.0, 5.0):
        end = diffusion.Cosine(min_log_snr=lowest).log_snr(jnp.ones(()))
        assert float(end) == pytest.approx(lowest, rel=1e-4)


def test_churn_goes_above_the_schedule_and_nowhere_outside_its_range():
    asked = []

    def denoise(x_t, t):
        jax.debug.callback(lambda t: asked.append(float(t)), t, ordered=True)
        return EXACT(x_t, t)

    schedule, times = SCHEDULES["edm"], samplers.linear_timesteps(6)
    x, run = jnp.ones((2, 5)), part(diffusion.heun, denoise, schedule)
    run(x, times, KEY, churn=10.0)
    top = 80.0 * min(1 + 10.0 / 6, 2**0.5)
    jax.effects_barrier()
    assert float(schedule(jnp.asarray(asked[0]))[1]) == pytest.approx(top, rel=1e-3)
    plain = run(x, times, KEY)
    for outside in ((81.0, 1e9), (0.0, 1e-3)):
        none = run(x, times, KEY, churn=10.0, churn_range=outside)
        np.testing.assert_allclose(none, plain, rtol=1e-5)


def test_the_adaptive_solver_takes_times_that_end_at_no_noise():
    flow, times = SCHEDULES["rectified_flow"], jnp.linspace(1.0, 0.0, 5)
    x = samplers.initial_noise(flow, (8, 5), times, KEY)

    def data(x_t, t):
        gain = (1 - t) * S**2 / ((1 - t) ** 2 * S**2 + t**2)
        return M + gain * (x_t - (1 - t) * M)

    path = ode.adaptive(data, flow, x, times, KEY, trajectory=True)
    assert path.shape == (6, 8, 5)
    np.testing.assert_allclose(path[-1], M + S * x, atol=2e-3)
    np.testing.assert_array_equal(path[-2], path[-1])
    with pytest.raises(ValueError, match="give smallest"):
        ode.log_prob(data, flow, x, KEY, smallest=0.0)
