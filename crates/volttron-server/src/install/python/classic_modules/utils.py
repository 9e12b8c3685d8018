"""What agents for VOLTTRON 9.x know as volttron.platform.agent.utils."""
import os

from volttron import utils as _now
from volttron.utils import *  # noqa: F401,F403
from volttron.utils.commands import (  # noqa: F401
    execute_command,
    isapipe,
    start_agent_thread,
    vip_main,
    wait_for_volttron_shutdown,
    wait_for_volttron_startup,
)
from volttron.utils.context import ClientContext
from volttron.utils.filewatch import (  # noqa: F401
    AbsolutePathFileReloader,
    VolttronHomeFileReloader,
    watch_file,
    watch_file_with_fullpath,
)
from volttron.utils.jsonapi import parse_json_config, strip_comments  # noqa: F401

from volttron.platform import get_home, get_platform_config


def load_config(config_path):
    """As in 9.x: no path is no configuration."""
    return {} if config_path is None else _now.load_config(config_path)


def load_platform_config(vhome=None):
    return get_platform_config()


def get_platform_instance_name(vhome=None, prompt=False):
    return ClientContext.get_instance_name()


def get_fq_identity(identity, platform_instance_name=None):
    return ClientContext.get_fq_identity(identity, platform_instance_name)


def get_messagebus():
    return os.environ.get("MESSAGEBUS") or ClientContext.get_messagebus() or "zmq"


def is_web_enabled():
    return ClientContext.is_web_enabled()


def is_secure_mode():
    return os.environ.get("AGENT_ISOLATION_MODE", os.environ.get("SECURE_AGENT_USERS", "")) == "True"


def is_volttron_running(volttron_home=None):
    return _now.is_volttron_running(volttron_home or get_home())
