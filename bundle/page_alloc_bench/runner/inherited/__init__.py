# SPDX-License-Identifier: GPL-2.0-only
"""What a process inherits from the one that starts it, and what a run does about it.

table.py is the list of it; the other modules read each thing and set it back: memory.py,
execution.py, rights.py and surroundings.py, by the calls in calls.py.
"""
