"""The module names of VOLTTRON 9.x, served by the client library of 10.x, for agents that were written for 9.x.

`volttron.platform.vip.agent` and `volttron.client.vip.agent` are one module: classes are the same under either name.
"""
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from configparser import ConfigParser

_HERE = "volttron.platform"
# The longest name that fits counts; what is below it follows.
_NOW = {
    _HERE + ".vip": "volttron.client.vip",
    _HERE + ".messaging": "volttron.client.messaging",
    _HERE + ".agent.known_identities": "volttron.client.known_identities",
    _HERE + ".agent.math_utils": "volttron.utils.math_utils",
    _HERE + ".certs": "volttron.utils.certs",
    _HERE + ".jsonapi": "volttron.utils.jsonapi",
    _HERE + ".jsonrpc": "volttron.utils.jsonrpc",
    _HERE + ".keystore": "volttron.utils.keystore",
    _HERE + ".scheduling": "volttron.utils.scheduling",
    _HERE + ".storeutils": "volttron.utils.storeutils",
}
_OWN = {_HERE + ".agent", _HERE + ".agent.utils"}


def _now(name):
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        found = _NOW.get(".".join(parts[:end]))
        if found:
            return ".".join([found] + parts[end:])
    return None


class _Names(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if not name.startswith(_HERE + ".") or name in _OWN:
            return None
        now = _now(name)
        try:
            known = now is not None and importlib.util.find_spec(now) is not None
        except ModuleNotFoundError:
            known = False
        if not known:
            raise ModuleNotFoundError(
                "%s is not part of the VOLTTRON client library that this agent runs with. Add the package that has it "
                "to the agent's requirements.txt, or let the agent run with a Python that has VOLTTRON 9.x "
                "(vctl install --python PATH)" % name,
                name=name,
            )
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        # The import system takes what stands here afterwards.
        sys.modules[module.__name__] = importlib.import_module(_now(module.__name__))


sys.meta_path.insert(0, _Names())


def get_home():
    from volttron.utils.context import ClientContext

    return ClientContext.get_volttron_home()


def get_address(verify_listening=False):
    from volttron.utils.network import get_address

    return get_address(verify_listening)


def get_config_path():
    return os.path.join(get_home(), "config")


def get_platform_config():
    parser = ConfigParser(interpolation=None)
    parser.read(get_config_path())
    return dict(parser.items("volttron")) if parser.has_section("volttron") else {}


def is_rabbitmq_available():
    from volttron.utils.context import ClientContext

    return ClientContext.is_rabbitmq_available()


def is_instance_running(home=None):
    from volttron.utils.commands import is_volttron_running

    return is_volttron_running(home or get_home())


def build_vip_address_string(vip_root, serverkey, publickey, secretkey):
    from volttron.client import build_vip_address_string

    return build_vip_address_string(vip_root, serverkey, publickey, secretkey)
