# SPDX-License-Identifier: GPL-2.0-only
"""How much memory user space can get: a child that takes it until the OOM killer comes."""
