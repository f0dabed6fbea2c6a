# SPDX-License-Identifier: GPL-2.0-only
"""Results in the formats of other tools, one exporter a module.

Each has export(runs, ...): text goes to a stream, the rest to a path that does not exist yet.
"""
