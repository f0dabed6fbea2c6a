# SPDX-License-Identifier: GPL-2.0-only
"""Run the benchmark on many hosts: Ansible reaches them, and a journal knows what came of each.

The hosts need no Python. Each run is detached, so that all hosts measure at once, however few are
talked to at a time.
"""
