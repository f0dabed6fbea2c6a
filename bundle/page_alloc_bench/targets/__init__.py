# SPDX-License-Identifier: GPL-2.0-only
"""Ways to reach a target host; the throwaway VM is the one that comes with the project."""
