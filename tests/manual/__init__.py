# SPDX-License-Identifier: GPL-2.0-only
"""The parts of the documents that are made from declarations; scripts/manual writes them."""
