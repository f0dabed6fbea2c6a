# SPDX-License-Identifier: GPL-2.0-only
"""What the module's workers can do: a file for each pattern, as in kmod/patterns/.

A file declares PATTERN. It is found by its being here; nothing else is to be changed.
"""
