# SPDX-License-Identifier: GPL-2.0-only
"""The hosts of an inventory by a plain ssh client, for what is not done by Ansible."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from .outcome import FleetError

# The newer name of each variable first. See ansible.builtin.ssh in Ansible's documentation.
_HOST = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
_USER = ("ansible_user", "ansible_ssh_user")
_KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_PASSWORD = ("ansible_password", "ansible_ssh_password", "ansible_ssh_pass")
_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_CLIENT = ("ansible_ssh_executable",)
_CONNECTION = ("ansible_connection",)
_ALL = (*_HOST, *_PORT, *_USER, *_KEY, *_PASSWORD, *_ARGUMENTS, *_CLIENT, *_CONNECTION)


def command(variables: Mapping[str, Any]) -> str:
    """Return the ssh client with which a host is called by its name in the inventory.

    variables: what the inventory has of the host. Raises FleetError for what ssh cannot do alone.
    """
    made_later = [name for name in _ALL if "{{" in str(variables.get(name, ""))]
    if made_later:
        raise FleetError(f"{made_later[0]} is a template, which only Ansible can fill in")
    if _value(variables, _PASSWORD):
        raise FleetError("it is logged in to with a password: give it a key instead")
    connection = _value(variables, _CONNECTION) or "ssh"
    if connection not in ("ssh", "smart", "ansible.builtin.ssh"):
        raise FleetError(f"it is reached by {connection}, not by ssh")
    words = [_value(variables, _CLIENT) or "ssh"]
    for names, option in ((_PORT, "-p"), (_USER, "-l"), (_KEY, "-i")):
        value = _value(variables, names)
        words += [option, value] if value else []
    address = _value(variables, _HOST)
    words += [f"-oHostName={address}"] if address else []
    for name in _ARGUMENTS:
        words += shlex.split(str(variables.get(name, "")))
    return shlex.join(words)


def _value(variables: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(variables[name]) for name in names if variables.get(name)), "")
