"""Seeds added after results were seen, as often as one likes, at the level of 5 %: the declared rule ``unplanned: combine``.

The decision to go on, and with how many seeds, may depend on anything seen. That breaks the usual test, as more seeds are asked
for where the result nearly pleases. The seeds of a study are therefore taken in batches of n_1, n_2, ... in the order in which they
were declared, and each batch has the same say, whatever its size (Bauer and Koehne 1994; Cui, Hung and Wang 1999; Lehmacher and
Wassmer 1999). With ``e_j`` the error of the difference in batch j from seeds, ``sqrt(n_j) e_j`` has the variance ``s^2`` however
n_j was chosen. The inverse-normal combination after k batches is ``sum_j sqrt(n_j) e_j / (s sqrt(k))``, exactly normal whatever the
sizes. All batches are tested on the same sentences, whose error is therefore common to them. It is no part of the combination,
but is added once: with ``W = sum_j sqrt(n_j)``::

    delta_k = sum_j sqrt(n_j) delta_j / W              (``harness.analysis.arms.Arm.mean``)
    V_k     = V_sentence + s^2 k / W^2

The looks after 1, 2, ... batches have the joint distribution of a group-sequential design with as much information in each batch
(``harness.analysis.sequential``), so that boundaries follow in the same way. Half of what is left of the level is spent at each
look (``halved``): 2.5 % at the first, 1.25 % at the next, and never more than 5 % in all, so that no number of looks is too many.

Where sentences err too, looks are more alike than this assumes, which errs on the safe side; but ``V_k`` depends on the sizes that
were chosen. With known variances the worst that any choice of n_2 can do is computable: two looks decide at most 4.7 % of false
claims (of 3.75 % that are spent) where sentences are a twentieth of the variance and a thousand times as many seeds may be added,
fewer elsewhere (``tests/unit/analysis/test_unplanned.py``).
"""

from __future__ import annotations


def halved(alpha: float, looks: float) -> float:
    """Return how much of a level may be used up after a number of looks: ``alpha (1 - 2^-looks)``."""
    return float(alpha * (1 - 2.0**-looks))


def information(looks: int) -> list[float]:
    """Return the information of each look, in batches."""
    return [float(look) for look in range(1, looks + 1)]
