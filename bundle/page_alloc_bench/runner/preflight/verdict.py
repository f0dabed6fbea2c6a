# SPDX-License-Identifier: GPL-2.0-only
"""Run every check, and say what follows from what they find."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from page_alloc_bench.runner import workload
from page_alloc_bench.runner.bundle_file import archive, target_build
from page_alloc_bench.runner.errors import EXIT_COMPLETE, EXIT_HOST_UNFIT, UsageError
from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.measuring import estimate
from page_alloc_bench.runner.options import Options
from page_alloc_bench.runner.result import columns, names

from . import confinement, inheritance, killing, layout, load, loading, panics, swapping, timing
from .check import REFUSE, SEVERITIES, WARN, Check, Finding
from .host import Host, Module

CHECKS: tuple[Check, ...] = (
    *loading.CHECKS,
    *confinement.CHECKS,
    *inheritance.CHECKS,
    *killing.CHECKS,
    *panics.CHECKS,
    *layout.CHECKS,
    *swapping.CHECKS,
    *timing.CHECKS,
    *load.CHECKS,
    *timing.AFTER_ALL,
)
# Linux ends every signed module with this: include/linux/module_signature.h.
_SIGNATURE = b"~Module signature appended~\n"
_ROOM = 30  # columns for the text of a finding; with less beside its name it goes below


def look(host: Host, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Return what all checks find, the worst first.

    A check that fails is a finding too: nothing goes unseen in silence. Where another copy runs,
    nothing else is said: what else there is to see may be its doing. Nor is it where /proc or /sys
    is not whole: what else there is cannot be seen.
    """
    found = [finding for check in checks for finding in _look(check, host)]
    for alone in (confinement.KernelFiles.name, loading.ANOTHER_COPY):
        found = [finding for finding in found if finding.name == alone] or found
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _look(check: Check, host: Host) -> list[Finding]:
    try:
        return list(check.look(host))
    except Exception as error:
        return [_failed(check, error)]


def this_host(options: Options) -> Host:
    """Return this host, for a run with these options. Raises ArchiveError."""
    return Host(options, module=_module(options))


def examine(options: Options, host: Host | None = None) -> list[dict[str, Any]]:
    """Return every finding about a host, or this one, and this run, as run.preflight has them.

    Raises UsageError if --accept names no check, and ArchiveError.
    """
    _check_accepted(options.accept)
    host = host or this_host(options)
    return [as_record(finding, host) for finding in look(host, checks_for(options))]


def checks_for(options: Options) -> list[Check]:
    """Return the checks that matter to a run: each workload needs the module."""
    wanted = [each.checks for each in workload.chosen(options)]
    return [
        check
        for check in CHECKS
        if check in loading.CHECKS or any(only is None or check.name in only for only in wanted)
    ]


def _check_accepted(accepted: Iterable[str]) -> None:
    """Raise UsageError for what cannot be accepted."""
    known = {check.name: check for check in CHECKS}
    refusing = [c.name for c in CHECKS if c.acceptable and REFUSE in (c.severity, c.worst)]
    for name in accepted:
        if name not in known:
            instead = names.instead_of(name, refusing, known)
            raise UsageError(f"--accept: no check is called {name}. {instead}")
        if not known[name].acceptable:
            raise UsageError(
                f"--accept: {name} cannot be accepted, because no run could begin; --preflight "
                "says what was found and how to change it"
            )


def refusal(record: dict[str, Any]) -> str:
    """Return why a finding refuses a run, and what to do, in one line."""
    accept = f"; or accept it: --accept {record['name']}" if record["acceptable"] else ""
    return f"{record['line']}{accept}"


def refused(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings that stand in the way of a run."""
    return [record for record in records if record["severity"] == REFUSE and not record["accepted"]]


def report(options: Options, *, as_json: bool) -> tuple[str, int]:
    """Return what --preflight prints, and its exit code."""
    host = this_host(options)
    records = examine(options, host)
    fit = not refused(records)
    # Beside another copy a probe would measure that one, and disturb it.
    alone = all(record["name"] != loading.ANOTHER_COPY for record in records)
    expected = host.estimate if alone else None
    if as_json:
        import json

        checks = [check.name for check in CHECKS]
        told = {"fit": fit, "checks": checks, "findings": records, "estimate": expected}
        text = json.dumps(told, indent=1)
    else:
        text = table(records, len(CHECKS), columns.of(1))
        if expected is not None:
            text = f"{estimate.line(expected)}\n{text}"
    return text, EXIT_COMPLETE if fit else EXIT_HOST_UNFIT


def table(records: Sequence[dict[str, Any]], checks: int, width: int = columns.USUAL) -> str:
    """Return the findings as a table so many columns wide, and what follows from them."""
    wide = max((len(record["name"]) for record in records), default=0)
    lines: list[str] = []
    for record in records:
        lines += _rows(record, wide, width)
    silent = checks - len({record["name"] for record in records})
    lines.append(f"{silent} of {checks} checks found nothing")
    lines += columns.wrap(_conclusion(records), width, "  ")
    return "\n".join(lines)


def _rows(record: dict[str, Any], wide: int, width: int) -> list[str]:
    """Return the lines about one finding."""
    severity = "accept" if record["accepted"] else record["severity"]
    first = f"{severity:<6}  {record['name']:<{wide}}  "
    advice = f"change it: {record['advice']}"
    texts = (record["found"], record["meaning"], advice)
    longest = max(len(word) for text in texts for word in text.split())
    below = width - len(first) < max(_ROOM, longest + 4)
    indent = "  " if below else " " * len(first)

    def wrapped(text: str, more: str = "  ") -> list[str]:
        return columns.wrap(text, width, indent + "  ", first=indent + more)

    rows = [*wrapped(record["found"], ""), *wrapped(record["meaning"])]
    # A command stands on a line of its own, whole, however long: it is there to be copied.
    rows += [*wrapped(advice), *_commands(record["commands"])]
    if record["undo"]:
        rows += [*wrapped("afterwards, to undo it:"), *_commands(record["undo"])]
    if record["severity"] == REFUSE and record["acceptable"] and not record["accepted"]:
        rows += wrapped(f"or accept it: --accept {record['name']}")
    return [first.rstrip(), *rows] if below else [first + rows[0][len(first) :], *rows[1:]]


def _commands(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _conclusion(records: Sequence[dict[str, Any]]) -> str:
    refusing = {record["name"]: record for record in refused(records)}
    if any(not record["acceptable"] for record in refusing.values()):
        return "a run is refused"
    if refusing:
        return f"a run is refused; at your own risk: --accept {','.join(refusing)}"
    warned = sum(1 for record in records if record["severity"] == WARN)
    return f"a run may begin{f', with {warned} warning(s)' if warned else ''}"


def as_record(finding: Finding, host: Host) -> dict[str, Any]:
    """Return a finding as a dict, with whether the user has accepted it, as the user has to act."""
    told = replace(
        finding,
        commands=tuple(map(host.as_root, finding.commands)),
        undo=tuple(map(host.as_root, finding.undo)),
    )
    named = finding.severity == REFUSE and finding.name in host.options.accept
    return {**vars(told), "accepted": named and finding.acceptable, "line": told.line()}


def _failed(check: Check, error: Exception) -> Finding:
    return Finding(
        name=check.name,
        severity=WARN,
        found=f"this could not be checked ({type(error).__name__}: {error})",
        meaning="what it looks for may be present",
        advice="check it yourself",
    )


def _module(options: Options) -> Module:
    """Return what the bundle has for this kernel."""
    uname = os.uname()
    bundle = archive.open_archive()
    try:
        entry = bundle.entry(uname.release, uname.machine)
    except archive.NoModuleError as error:
        if not options.build_on_target:
            return Module(problem=str(error))
        headers = target_build.kdir()
        return Module(build=build_identity.of_tree(headers), headers=headers)
    return Module(
        signed=bundle.module(entry).endswith(_SIGNATURE),
        config=entry.get("config"),
        build=build_identity.of_entry(entry),
    )
