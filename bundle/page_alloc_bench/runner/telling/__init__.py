# SPDX-License-Identifier: GPL-2.0-only
"""What a run tells, and whom: the result, people, and kernel CI."""
