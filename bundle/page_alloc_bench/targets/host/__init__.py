# SPDX-License-Identifier: GPL-2.0-only
"""A real host, reached by the user's own ssh: restart it with a kernel, and run a bundle on it."""
