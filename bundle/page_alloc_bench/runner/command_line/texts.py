# SPDX-License-Identifier: GPL-2.0-only
"""What --help says before and after the options."""

DESCRIPTION = """\
Measure the page allocator of the running kernel: how much memory a process can get, how fast \
pages are allocated and freed, and how much memory is lost while an antagonist does so.

For each order, the run does this, idle for all orders first:
  idle         a child process takes memory until the OOM killer ends it, --iterations times
  antagonized  the same while a kernel thread on each CPU allocates and frees blocks of that order
Latencies and counts come from the antagonist."""

EPILOG = """\
what it does to the host:
  It loads a kernel module, which taints the kernel, drives the host out of memory on purpose \
again and again, and keeps every chosen CPU busy. The OOM killer is steered at the benchmark's \
own child, but caches are dropped and other programs will stall. Do not run it on a host \
that others need. At the end, however it comes (Ctrl-C, kill -9 and a dropped connection too), the \
workers stop, their pages go back, the module is unloaded and nothing stays on disk.

a connection that may drop:
  --detach does all that can be refused, starts the run in a session of its own, says how to come \
back, and returns. --attach shows what the run has said and says, delivers its result as the run \
itself would have, and ends with its exit code; ending --attach does not end the run. Output and \
result are kept in memory, in /run/page-alloc-bench, which is root's alone and goes when they \
have been fetched. --stop also ends a run that is not detached.

output:
  The result is one JSON object, described by runner/result/schema.json. It goes to \
--output-path, or to stdout, or into a file in the current directory where stdout is a terminal. \
Progress and the summary go to stderr. With --ktap, stdout has KTAP version 1 instead: a test for \
each phase of each order.

exit codes:
  0      complete
  1      failed; what was measured so far is written, marked "complete": false; also where stdout
         does not take what was asked for, such as the pipe of a reader that has gone
  2      usage: wrong options, an order or a CPU that this host does not have, no place for output
  3      the host is not fit: no root, no module for its kernel, another copy runs, ...
  124    --timeout-s is over; what was measured so far is written
  128+n  stopped by signal n, so 130 by Ctrl-C; what was measured so far is written
  137    by --attach: the run was killed; nothing more is written
  --status has its own: 0 running, 10 ended and 11 killed, both not fetched yet; 12, by --attach \
and --stop too, there is nothing.

examples:
  sudo ./bench.run --output-path result.json
  ssh root@host ./bench.run --iterations 10 --alloc-orders 0,9 > result.json
  ssh root@host ./bench.run --detach; ssh root@host ./bench.run --attach > result.json
"""
