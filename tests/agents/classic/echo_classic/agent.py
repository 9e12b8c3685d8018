"""An agent as they were written for VOLTTRON 9.x: announces itself, hears the others, answers calls."""
import logging
import os
import sys

from volttron.platform import jsonapi
from volttron.platform.agent import utils
from volttron.platform.agent.known_identities import CONFIGURATION_STORE
from volttron.platform.messaging import headers as headers_mod
from volttron.platform.messaging.health import STATUS_GOOD
from volttron.platform.vip.agent import RPC, Agent, Core, PubSub
from volttron.platform.vip.agent.subsystems.query import Query

utils.setup_logging()
_log = logging.getLogger(__name__)
__version__ = "3.7"


def echo_classic(config_path, **kwargs):
    config = utils.load_config(config_path)
    return EchoClassic(config.get("room", "nowhere"), **kwargs)


class EchoClassic(Agent):
    def __init__(self, room, **kwargs):
        super().__init__(**kwargs)
        self.room = room
        self.heard = {}

    @Core.receiver("onstart")
    def onstart(self, sender, **kwargs):
        data = os.path.join(os.getcwd(), os.path.basename(os.getcwd()) + ".agent-data")
        with open(os.path.join(data, "starts"), "a") as starts:
            starts.write("started\n")
        self.vip.health.set_status(STATUS_GOOD, self.room)
        self.core.periodic(1, self.announce)
        _log.info("%s asks %s", Query(self.core).query("instance-name").get(timeout=5), CONFIGURATION_STORE)

    def announce(self):
        headers = {headers_mod.DATE: utils.format_timestamp(utils.get_aware_utc_now())}
        self.vip.pubsub.publish("pubsub", "side/" + self.core.identity, headers, jsonapi.dumps({"room": self.room}))

    @PubSub.subscribe("pubsub", "")
    def on_any(self, peer, sender, bus, topic, headers, message):
        self.heard[sender] = topic

    @RPC.export
    def heard_from(self):
        return self.heard

    @RPC.export
    def whereabouts(self):
        return {"room": self.room, "cwd": os.getcwd(), "environment": dict(os.environ), "python": sys.prefix}


def main():
    try:
        utils.vip_main(echo_classic, version=__version__)
    except Exception:
        _log.exception("unhandled exception")


if __name__ == "__main__":
    sys.exit(main())
