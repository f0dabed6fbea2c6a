# SPDX-License-Identifier: GPL-2.0-only
"""Trends: when did a figure change, over many kernels on one machine, and may that be believed?"""
