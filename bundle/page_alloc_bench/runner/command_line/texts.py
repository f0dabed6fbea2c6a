# SPDX-License-Identifier: GPL-2.0-only
"""What --help says before and after the options."""

from page_alloc_bench.runner.errors import EXIT_CODES

USAGE = "bench.run [OPTION]..."
VERSION = "print it and exit"
HELP = "print this and exit"

DESCRIPTION = """\
Measure the page allocator of the running kernel: how much memory a process can get, how fast \
pages are allocated and freed, and how much memory is lost while an antagonist does so.

For each order there are two phases; the idle ones come first:
  idle         a child process allocates memory until the OOM killer ends it, --iterations times
  antagonized  the same while a kernel thread on each CPU allocates and frees blocks of that order
Latencies and counts are those of the antagonist, which is these threads."""

_BEFORE_CODES = """\
what it does to the host:
  It loads a kernel module, which taints the kernel, uses up all memory on purpose, again and \
again, and keeps every chosen CPU busy. The OOM killer takes the benchmark's own child first, but \
caches are dropped and other programs stall. Do not run it on a host that others need. However \
the run ends (Ctrl-C, kill -9 and a lost connection too), the workers stop, their pages are given \
back, the module is unloaded, and nothing stays on disk.

if the connection may drop:
  --detach does everything that can be refused, starts the run in a session of its own, says how \
to come back, and returns. --attach shows what the run has said and what it says now, delivers \
its result as the run itself would have, and ends with its exit code; if --attach is ended, the \
run goes on. Messages and result are kept in memory, in /run/page-alloc-bench, which only root \
can read, until they have been fetched. --stop also ends a run that is not detached.

output:
  The result is one JSON object, described by runner/result/schema.json. It goes to \
--output-path, or to stdout, or into a file in the current directory where stdout is a terminal. \
Progress and the summary go to stderr. With --ktap, stdout gets KTAP version 1 instead: a test \
for each phase of each order.

exit codes:
"""

_AFTER_CODES = """

examples:
  sudo ./bench.run --output-path result.json
  ssh root@host ./bench.run --iterations 10 --alloc-orders 0,9 > result.json
  ssh root@host ./bench.run --detach
  ssh root@host ./bench.run --attach > result.json
"""

_CODES = "\n".join(f"  {code:<5}  {meaning.replace('`', '')}" for code, meaning in EXIT_CODES)
EPILOG = _BEFORE_CODES + _CODES + _AFTER_CODES
