# SPDX-License-Identifier: GPL-2.0-only
"""What all subcommands share; it imports nothing that one of them could do without."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
