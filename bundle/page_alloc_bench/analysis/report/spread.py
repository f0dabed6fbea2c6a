# SPDX-License-Identifier: GPL-2.0-only
"""How the values of several runs spread, as pictures draw it.

The range from the least to the most grows with the number of runs, so that twenty-four would look
noisier than twelve. Between two quantiles it does not.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

PARTS = (0.1, 0.9)
WORDS = "the middle 80 % of the runs"


def ends(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the middle 80 % of the runs begin and end, the first axis being the runs.

    Values that are not known, NaN, do not count; of nothing that is known the ends are NaN too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a place where no run has a value
        low, high = np.nanquantile(
            np.asarray(values, float), PARTS, axis=0, method="median_unbiased"
        )
    return np.asarray(low), np.asarray(high)
