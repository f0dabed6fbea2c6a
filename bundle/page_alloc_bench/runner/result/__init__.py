# SPDX-License-Identifier: GPL-2.0-only
"""What a result is, and what can be said of one. Nothing here imports any other room."""
