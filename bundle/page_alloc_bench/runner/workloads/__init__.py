# SPDX-License-Identifier: GPL-2.0-only
"""What can be measured: a file, or a directory, for each workload.

It declares WORKLOAD, and imports what measures only when it does. It is found by its being here.
"""
