"""An ordinary agent of the stock Python client library, driven over its standard input and output.

One JSON object per line each way. A command {"n": 1, "do": "call", ...} is answered by {"n": 1, "ok": value} or
{"n": 1, "error": {...}}; what the agent sees by itself (publications, configuration, peers) comes as {"event": ...}.

Usage: python_agent.py IDENTITY ADDRESS SERVERKEY PUBLICKEY SECRETKEY (an empty SERVERKEY: no authentication)
"""
from gevent import monkey

monkey.patch_all()

import json
import logging
import os
import sys

import gevent
from gevent.fileobject import FileObject

from volttron.client.vip.agent import RPC, Agent, Core, build_agent

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def emit(**line):
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()


class Probe(Agent):
    """Exports what the tests call and reports what reaches it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.vip.config.set_default("config", {"origin": "default"})
        self.vip.config.subscribe(self.configured, actions=["NEW", "UPDATE", "DELETE"], pattern="*")

    def configured(self, name, action, contents):
        emit(event="config", name=name, action=action, contents=contents)

    @Core.receiver("onstart")
    def started(self, sender, **kwargs):
        emit(event="start")

    @RPC.export
    def echo(self, value):
        return value

    @RPC.export
    def add(self, a, b=10):
        return a + b

    @RPC.export
    def fail(self, text):
        raise ValueError(text)

    @RPC.export
    @RPC.allow("probe_secret")
    def guarded(self):
        return "seen"

    def delivered(self, peer, sender, bus, topic, headers, message):
        emit(event="publication", sender=sender, bus=bus, topic=topic, headers=dict(headers), message=message)


def commands(agent):
    """The verbs a test may use."""
    vip = agent.vip

    def call(peer, method, args=(), kwargs=None, timeout=10):
        return vip.rpc.call(peer, method, *args, **(kwargs or {})).get(timeout=timeout)

    def publish(topic, message, headers=None):
        return vip.pubsub.publish("pubsub", topic, headers=headers or {}, message=message).get(timeout=10)

    def subscribe(prefix):
        outer = vip.pubsub.subscribe("pubsub", prefix, agent.delivered).get(timeout=10)
        # The library hands out the router's own answer as a second, nested result.
        return outer.get(timeout=10) if hasattr(outer, "get") else outer

    def unsubscribe(prefix):
        return vip.pubsub.unsubscribe("pubsub", prefix, agent.delivered).get(timeout=10)

    channels = {}

    def channel_open(peer, name):
        channels[name] = vip.channel(peer, name)

    def channel_send(name, frames):
        channels[name].send_multipart([bytes.fromhex(frame) for frame in frames])

    def channel_receive(name):
        with gevent.Timeout(10):
            return [frame.hex() for frame in channels[name].recv_multipart()]

    return {
        "channel_open": channel_open,
        "channel_send": channel_send,
        "channel_receive": channel_receive,
        "call": call,
        "publish": publish,
        "subscribe": subscribe,
        "unsubscribe": unsubscribe,
        "peers": lambda: vip.peerlist().get(timeout=10),
        "hello": lambda: vip.hello().get(timeout=10),
        "query": lambda key: __import__("volttron.client.vip.agent.subsystems.query", fromlist=["Query"])
        .Query(agent.core).query(key).get(timeout=10),
        "health": lambda status, context=None: vip.health.set_status(status, context),
        "config_set": lambda name, contents: vip.config.set(name, contents),
        "config_get": lambda name="config": vip.config.get(name),
        "config_list": lambda: vip.config.list(),
    }


def main():
    identity, address, serverkey, publickey, secretkey = sys.argv[1:6]
    # Without a server key the library connects in plain.
    agent = build_agent(address=address, identity=identity, serverkey=serverkey or None, publickey=publickey,
                        secretkey=secretkey, agent_class=Probe, enable_store=True, enable_channel=True,
                        heartbeat_autostart=True, heartbeat_period=1, timeout=20)
    emit(event="ready")
    verbs = commands(agent)
    for line in FileObject(sys.stdin.fileno(), "rb"):
        command = json.loads(line)
        number, verb = command.pop("n"), command.pop("do")
        if verb == "stop":
            break

        def serve(number=number, verb=verb, command=command):
            try:
                emit(n=number, ok=verbs[verb](**command))
            except BaseException as error:  # gevent's Timeout is one
                info = getattr(error, "exc_info", None)
                emit(n=number, error={"type": type(error).__name__, "text": str(error), "info": info})

        gevent.spawn(serve)
    agent.core.stop(timeout=5)
    emit(event="stopped")
    sys.stdout.flush()
    os._exit(0)


main()
