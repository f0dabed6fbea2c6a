# SPDX-License-Identifier: GPL-2.0-only
"""What argparse does with options that it has no action for."""

from __future__ import annotations

import argparse
from typing import Any


class Collect(argparse.Action):
    """Put each pair that is given into a dictionary of this command line's own."""

    def __call__(self, _parser: Any, options: Any, pair: Any, _flag: object = None) -> None:
        """Add a pair of key and value to those that were given before."""
        setattr(options, self.dest, {**getattr(options, self.dest), pair[0]: pair[1]})
