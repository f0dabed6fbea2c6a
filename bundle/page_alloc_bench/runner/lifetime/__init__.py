# SPDX-License-Identifier: GPL-2.0-only
"""Begin and end without harm: signals, one copy at a time, processes, private files."""
