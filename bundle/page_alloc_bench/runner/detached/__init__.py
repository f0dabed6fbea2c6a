# SPDX-License-Identifier: GPL-2.0-only
"""Runs that outlive the connection they were started over, and how to come back to them.

run_directory.py is the directory where such a run leaves its messages and its result; start.py is
--detach; verbs.py is --attach, --status and --stop.
"""
