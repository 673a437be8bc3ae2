"""What papers usually do instead, from the same arms: whether each practice calls the difference significant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from harness.analysis import Arm


def one_seed(a: Arm, b: Arm) -> bool:
    """Paired bootstrap over sentences of one seed against one (Koehn 2004): the 95 % percentile interval excludes 0."""
    return _excluded(a.resampled[0] - b.resampled[0])


def mean_of_seeds(a: Arm, b: Arm) -> bool:
    """Paired bootstrap over sentences of the means over seeds."""
    return _excluded(a.resampled.mean(0) - b.resampled.mean(0))


def pooled(a: Arm, b: Arm) -> bool:
    """Seeds times sentences taken for as many independent sentences: the variance of one seed, divided by the seeds."""
    variance = (a.resampled - b.resampled).var(axis=1, ddof=1).mean() / a.seeds
    return bool(abs(a.scores.mean() - b.scores.mean()) > stats.norm.isf(0.025) * np.sqrt(variance))


def t_of_seeds(a: Arm, b: Arm) -> bool:
    """Welch's t test of the scores of seeds, as if the test sentences were all there are."""
    return bool(stats.ttest_ind(a.scores, b.scores, equal_var=False).pvalue < 0.05)


def bootstrap_of_wins(
    rng: np.random.Generator, a: np.ndarray, b: np.ndarray, replicates: int = 400
) -> tuple[float, float]:
    """Return percentiles of P(A beats B) over resamples of the seeds of both sides (Agarwal et al. 2021)."""
    drawn_a, drawn_b = (x[rng.integers(0, len(x), (replicates, len(x)))] for x in (a, b))
    won = (np.sign(drawn_a[:, :, None] - drawn_b[:, None, :]) + 1).mean((1, 2)) / 2
    low, high = np.percentile(won, [2.5, 97.5])
    return float(low), float(high)


PRACTICES: dict[str, Callable[[Arm, Arm], bool]] = {
    "bootstrap of one seed": one_seed,
    "bootstrap of the mean": mean_of_seeds,
    "seeds pooled": pooled,
}


def _excluded(difference_B: np.ndarray) -> bool:
    low, high = np.percentile(difference_B, [2.5, 97.5])
    return bool(low > 0 or high < 0)
