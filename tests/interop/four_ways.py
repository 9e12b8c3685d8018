"""The agent suite, run by agents of the stock Python client library.

Reads one JSON object from standard input: {"prefix", "address", "serverkey", "instance", "keys": {name: [public,
secret]}, "cases": [name], "limit": seconds}. Connects the agents PREFIX-tester and PREFIX-mate, runs these cases, and
prints one line per case: {"case": name, "failed": null or text}. Ends hard after the limit, since an agent of this
library whose loop ended keeps its process busy. The cases are those of tests/four_ways/cases.rs, under the same names.
"""
from gevent import monkey

monkey.patch_all()

import faulthandler
import json
import logging
import os
import sys

import gevent
from gevent.event import Event

from volttron.client.known_identities import CONFIGURATION_STORE
from volttron.client.vip.agent import RPC, Agent, build_agent
from volttron.client.vip.agent.subsystems.query import Query
from volttron.utils import jsonrpc

logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
PATIENCE = 5
WORLD = json.loads(sys.stdin.readline())
CASES = {}


def case(name):
    def add(function):
        CASES[name] = function
        return function

    return add


class Unit(Agent):
    """What both agents are: methods to call and a record of what reached them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.configured = []
        self.notes = []
        self.released = Event()
        self.vip.config.set_default("defaulted", {"d": 1})
        self.vip.config.subscribe(self.on_config, actions=["NEW", "UPDATE", "DELETE"], pattern="*")

    def on_config(self, name, action, contents):
        self.configured.append([action, name, contents])

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
    def note(self, text):
        self.notes.append(text)

    @RPC.export
    def noted(self):
        return self.notes

    @RPC.export
    def wait_for_release(self):
        return self.released.wait(PATIENCE)

    @RPC.export
    def release(self):
        self.released.set()

    @RPC.export
    @RPC.allow("probe_secret")
    def guarded(self):
        return "seen"

    @RPC.export
    @RPC.allow("probe_unit")
    def unit_only(self, unit):
        return unit


def name_of(who):
    return f"{WORLD['prefix']}-{who}"


def connect(who):
    public, secret = WORLD["keys"][who]
    return build_agent(address=WORLD["address"], identity=name_of(who), serverkey=WORLD["serverkey"],
                       publickey=public, secretkey=secret, agent_class=Unit, enable_store=True,
                       enable_channel=True, heartbeat_autostart=True, heartbeat_period=60, timeout=20)


def same(got, want):
    assert got == want, f"got {got!r} instead of {want!r}"


def until(what, probe):
    for _ in range(PATIENCE * 50):
        found = probe()
        if found:
            return found
        gevent.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def call(method, *args, **kwargs):
    return TESTER.vip.rpc.call(MATE.core.identity, method, *args, **kwargs).get(timeout=PATIENCE)


def failure(function, *args, **kwargs):
    """What a call raises: the exception, its type on the other side, its text."""
    try:
        value = function(*args, **kwargs)
    except (Exception, gevent.Timeout) as error:
        info = getattr(error, "exc_info", None) or {}
        return error, info.get("exc_type", ""), str(error)
    raise AssertionError(f"it did not fail, but gave {value!r}")


class Listener:
    """A subscription with what came."""

    def __init__(self, agent, prefix, bus=""):
        self.agent, self.prefix, self.bus, self.came = agent, prefix, bus, []
        outer = agent.vip.pubsub.subscribe("pubsub", prefix, self.on, bus=bus).get(timeout=PATIENCE)
        if hasattr(outer, "get"):
            outer.get(timeout=PATIENCE)

    def on(self, peer, sender, bus, topic, headers, message):
        self.came.append({"sender": sender, "bus": bus, "topic": topic, "headers": dict(headers), "message": message})

    def next(self):
        until(f"a publication under {self.prefix!r}", lambda: self.came)
        return self.came.pop(0)

    def end(self):
        outer = self.agent.vip.pubsub.unsubscribe("pubsub", self.prefix, self.on, bus=self.bus)
        result = outer.get(timeout=PATIENCE)
        if hasattr(result, "get"):
            result.get(timeout=PATIENCE)


def publish(agent, topic, message, headers=None, bus=""):
    return agent.vip.pubsub.publish("pubsub", topic, headers=headers or {}, message=message, bus=bus).get(
        timeout=PATIENCE)


@case("rpc.positional")
def _():
    same(call("add", 1, 2), 3)


@case("rpc.keyword")
def _():
    same(call("add", a=1, b=2), 3)


@case("rpc.mixed")
def _():
    same(call("add", 1, b=2), 3)


@case("rpc.default")
def _():
    same(call("add", 1), 11)


@case("rpc.values")
def _():
    for value in WORLD["values"]:
        same(call("echo", value), value)


@case("rpc.exception")
def _():
    _, kind, text = failure(call, "fail", "boo")
    same(kind, "builtins.ValueError")
    assert "boo" in text, text


@case("rpc.wrong_arguments")
def _():
    _, kind, _text = failure(call, "add")
    same(kind, "builtins.TypeError")


@case("rpc.unknown_method")
def _():
    error, _, _ = failure(call, "nothing")
    assert isinstance(error, jsonrpc.MethodNotFound), repr(error)


@case("rpc.unreachable")
def _():
    error, _, _ = failure(lambda: TESTER.vip.rpc.call("nobody", "x").get(timeout=2))
    same(type(error).__name__, "Unreachable")


@case("rpc.notify")
def _():
    TESTER.vip.rpc.notify(MATE.core.identity, "note", "hear")
    until("the note", lambda: "hear" in call("noted"))


@case("rpc.batch")
def _():
    requests = [(False, "add", [1], {}), (True, "note", ["batched"], {}), (False, "fail", ["boo"], {})]
    first, second = TESTER.vip.rpc.batch(MATE.core.identity, requests)
    same(first.get(timeout=PATIENCE), 11)
    _, kind, _ = failure(second.get, timeout=PATIENCE)
    same(kind, "builtins.ValueError")
    assert "batched" in call("noted")


@case("rpc.parallel")
def _():
    waiting = TESTER.vip.rpc.call(MATE.core.identity, "wait_for_release")
    call("release")
    same(waiting.get(timeout=PATIENCE), True)


@case("rpc.inspect")
def _():
    methods = call("inspect")["methods"]
    for method in ["add", "guarded", "agent.version", "health.get_status", "heartbeat.start", "config.update"]:
        assert method in methods, methods


@case("rpc.inspect_method")
def _():
    params = call("add.inspect")["params"]
    same(list(params), ["a", "b"])
    same(params["b"], {"kind": "POSITIONAL_OR_KEYWORD", "default": 10})


@case("auth.refused")
def _():
    _, _, text = failure(call, "guarded")
    assert "requires capabilities {'probe_secret'}" in text, text


@case("auth.allowed")
def _():
    same(MATE.vip.rpc.call(TESTER.core.identity, "guarded").get(timeout=PATIENCE), "seen")


@case("auth.parameter_allowed")
def _():
    same(call("unit_only", "a"), "a")


@case("auth.parameter_refused")
def _():
    _, _, text = failure(call, "unit_only", "b")
    assert "can call method unit_only only with unit=a but called with unit=b" in text, text


@case("pubsub.delivery")
def _():
    listener = Listener(MATE, "four/a")
    message = [{"t": 21.5, "on": True, "name": "\u00e9"}, {"t": {"units": "C"}}]
    same(publish(TESTER, "four/a/b", message, {"TimeStamp": "2026-03-04T17:05:00.412331+00:00"}), 1)
    got = listener.next()
    same((got["sender"], got["bus"], got["topic"], got["message"]), (TESTER.core.identity, "", "four/a/b", message))
    same(got["headers"], {"TimeStamp": "2026-03-04T17:05:00.412331+00:00", "min_compatible_version": "3.0",
                          "max_compatible_version": ""})
    listener.end()


@case("pubsub.prefix")
def _():
    listener = Listener(MATE, "four/p")
    same([publish(TESTER, topic, topic) for topic in ["four/p", "four/pq/r", "four/o", "xfour/p"]], [1, 1, 0, 0])
    same([listener.next()["message"], listener.next()["message"]], ["four/p", "four/pq/r"])
    listener.end()


@case("pubsub.own")
def _():
    listener = Listener(TESTER, "four/own")
    same(publish(TESTER, "four/own", 5), 1)
    same(listener.next()["message"], 5)
    listener.end()


@case("pubsub.once")
def _():
    wide, narrow = Listener(MATE, "four/o"), Listener(MATE, "four/once")
    same(publish(TESTER, "four/once", 1), 1)
    same((wide.next()["message"], narrow.next()["message"]), (1, 1))
    wide.end()
    narrow.end()


@case("pubsub.unsubscribe")
def _():
    kept, gone = Listener(MATE, "four/kept"), Listener(MATE, "four/gone")
    gone.end()
    same((publish(TESTER, "four/kept", 1), publish(TESTER, "four/gone", 1)), (1, 0))
    kept.next()
    same(gone.came, [])
    kept.end()


@case("pubsub.bus")
def _():
    listener = Listener(MATE, "four/bus", bus="other")
    same((publish(TESTER, "four/bus", 1), publish(TESTER, "four/bus", 2, bus="other")), (0, 1))
    got = listener.next()
    same((got["message"], got["bus"]), (2, "other"))
    listener.end()


@case("pubsub.list")
def _():
    listener = Listener(MATE, "four/list")
    listed = MATE.vip.pubsub.list("pubsub", "four/list").get(timeout=PATIENCE)
    same([list(row) for row in listed], [["", "four/list", True]])
    listener.end()


@case("pubsub.protected_refused")
def _():
    listener = Listener(MATE, "guarded/")
    error, _, text = failure(publish, TESTER, "guarded/x", 1)
    assert "-32001" in text + repr(error) or "requires capabilities" in text, repr(error)
    same(listener.came, [])


@case("pubsub.protected_allowed")
def _():
    listener = Listener(TESTER, "guarded/")
    same(publish(MATE, "guarded/x", 1), 1)
    same(listener.next()["message"], 1)
    listener.end()


@case("config.initial")
def _():
    table = [{"Point": "A", "Unit": "F"}]
    until("the configuration", lambda: len(TESTER.configured) >= 3)
    for event in [["NEW", "config", {"interval": 5, "table": table}], ["NEW", "points.csv", table],
                  ["NEW", "defaulted", {"d": 1}]]:
        assert event in TESTER.configured, TESTER.configured
    same(TESTER.configured[0][1], "config")


@case("config.get")
def _():
    same(TESTER.vip.config.get("CONFIG")["interval"], 5)
    same(TESTER.vip.config.get("defaulted"), {"d": 1})
    same(sorted(TESTER.vip.config.list()), ["config", "defaulted", "points.csv"])
    failure(TESTER.vip.config.get, "nothing")


@case("config.set_and_delete")
def _():
    config = TESTER.vip.config
    TESTER.configured.clear()
    config.set("own", {"k": 1})
    same(config.get("own"), {"k": 1})
    same(TESTER.configured, [])
    config.set("own", {"k": 2}, trigger_callback=True)
    config.delete("own", trigger_callback=True)
    until("the callbacks", lambda: len(TESTER.configured) >= 2)
    same(TESTER.configured, [["UPDATE", "own", {"k": 2}], ["DELETE", "own", None]])
    assert "own" not in config.list()


@case("config.reference")
def _():
    config = TESTER.vip.config
    config.set("target", {"v": 1})
    config.set("link", {"to": "config://target"})
    same(config.get("link"), {"to": {"v": 1}})
    TESTER.configured.clear()
    config.set("target", {"v": 2}, trigger_callback=True)
    until("the callbacks", lambda: len(TESTER.configured) >= 2)
    same(sorted(TESTER.configured, key=lambda e: e[1]),
         [["UPDATE", "link", {"to": {"v": 2}}], ["UPDATE", "target", {"v": 2}]])
    _, _, text = failure(config.set, "target", {"loop": "config://link"})
    assert "Recursive configuration references detected" in text, text
    config.delete("link")
    config.delete("target")


@case("config.foreign")
def _():
    store = TESTER.vip.rpc.call(CONFIGURATION_STORE, "set_config", MATE.core.identity, "config", "{}", "json")
    _, _, text = failure(store.get, timeout=PATIENCE)
    assert "can call method set_config only with identity" in text, text


@case("health.status")
def _():
    TESTER.vip.health.set_status("BAD", "no data")
    ask = MATE.vip.rpc.call(TESTER.core.identity, "health.get_status").get(timeout=PATIENCE)
    same((ask["status"], ask["context"]), ("BAD", "no data"))
    MATE.vip.rpc.call(TESTER.core.identity, "health.set_status", "GOOD").get(timeout=PATIENCE)
    same(MATE.vip.rpc.call(TESTER.core.identity, "health.get_status_json").get(timeout=PATIENCE)["status"], "GOOD")


@case("health.heartbeat")
def _():
    listener = Listener(MATE, f"heartbeat/{TESTER.core.identity}")
    TESTER.vip.health.set_status("BAD", "no data")
    got = listener.next()
    same((got["topic"], got["message"]), (f"heartbeat/{TESTER.core.identity}", "BAD"))
    assert "TimeStamp" in got["headers"], got
    TESTER.vip.health.set_status("GOOD")
    same(listener.next()["message"], "GOOD")
    listener.end()


@case("health.heartbeat_period")
def _():
    listener = Listener(MATE, f"heartbeat/{TESTER.core.identity}")
    MATE.vip.rpc.call(TESTER.core.identity, "heartbeat.start_with_period", 0.2).get(timeout=PATIENCE)
    for _ in range(3):
        same(listener.next()["message"], "GOOD")
    MATE.vip.rpc.call(TESTER.core.identity, "heartbeat.stop").get(timeout=PATIENCE)
    MATE.vip.rpc.call(TESTER.core.identity, "heartbeat.start_with_period", 60).get(timeout=PATIENCE)
    listener.end()


@case("health.alert")
def _():
    from volttron.client.messaging.health import STATUS_BAD
    from volttron.client.messaging.health import Status as Health
    listener = Listener(MATE, "alerts/")
    TESTER.vip.health.send_alert("key1", Health.build(STATUS_BAD, "hot"))
    got = listener.next()
    identity = f"{WORLD['instance']}.{TESTER.core.identity}".replace(".", "_")
    same((got["topic"], got["headers"]["alert_key"]), (f"alerts/Unit/{identity}", "key1"))
    status = json.loads(got["message"])
    same((status["status"], status["context"]), ("BAD", "hot"))
    listener.end()


@case("health.platform")
def _():
    ask = TESTER.vip.rpc.call("platform.health", "get_platform_health")
    health = ask.get(timeout=PATIENCE)
    same(health[MATE.core.identity]["peer"], MATE.core.identity)


@case("peers.list")
def _():
    peers = TESTER.vip.peerlist().get(timeout=PATIENCE)
    for peer in [TESTER.core.identity, MATE.core.identity, "platform.auth", CONFIGURATION_STORE]:
        assert peer in peers, peers


def guest_comes_and_goes(events):
    guest = connect("guest")
    until("the guest", lambda: ("add", name_of("guest")) in events)
    guest.core.stop(timeout=PATIENCE)


@case("peers.add")
def _():
    events = []
    added = lambda sender, peer, **kwargs: events.append(("add", peer))
    TESTER.vip.peerlist.onadd.connect(added)
    guest_comes_and_goes(events)


@case("peers.drop")
def _():
    events = []
    added = lambda sender, peer, **kwargs: events.append(("add", peer))
    dropped = lambda sender, peer, **kwargs: events.append(("drop", peer))
    TESTER.vip.peerlist.onadd.connect(added)
    TESTER.vip.peerlist.ondrop.connect(dropped)
    guest_comes_and_goes(events)
    until("the drop", lambda: ("drop", name_of("guest")) in events)
    until("the list without it", lambda: name_of("guest") not in TESTER.vip.peerlist().get(timeout=PATIENCE))


@case("channel.exchange")
def _():
    near = TESTER.vip.channel(MATE.core.identity, "four_ways")
    far = MATE.vip.channel(TESTER.core.identity, "four_ways")
    near.send_multipart([b"a", b"\xff\x00 b"])
    with gevent.Timeout(PATIENCE):
        same(far.recv_multipart(), [b"a", b"\xff\x00 b"])
    far.send_multipart([b"x" * 100000])
    with gevent.Timeout(PATIENCE):
        same(near.recv_multipart(), [b"x" * 100000])
    near.close(linger=0)
    far.close(linger=0)


@case("ping.router")
def _():
    answer = TESTER.vip.ping("", "some", "data").get(timeout=PATIENCE)
    same(list(answer), ["some", "data"])


@case("ping.peer")
def _():
    answer = TESTER.vip.ping(MATE.core.identity, "some", "data").get(timeout=PATIENCE)
    same(list(answer), ["some", "data"])


@case("hello.router")
def _():
    version, _router, me = TESTER.vip.hello().get(timeout=PATIENCE)
    same((float(version), me), (1.0, TESTER.core.identity))


@case("query.known")
def _():
    same(Query(TESTER.core).query("instance-name").get(timeout=PATIENCE), WORLD["instance"])
    same(Query(TESTER.core).query("message-bus").get(timeout=PATIENCE), "zmq")


@case("query.unknown")
def _():
    same(Query(TESTER.core).query("no-such-key").get(timeout=PATIENCE) or None, None)


def emit(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


faulthandler.dump_traceback_later(WORLD["limit"], exit=True, file=open(os.devnull, "w"))
TESTER, MATE = connect("tester"), connect("mate")
emit(ready=True)
for name in WORLD["cases"]:
    try:
        function = CASES[name]
        with gevent.Timeout(20):
            function()
        emit(case=name, failed=None)
    except BaseException as error:  # gevent's Timeout is one
        emit(case=name, failed=f"{type(error).__name__}: {error}"[:500])
for agent in (TESTER, MATE):
    agent.core.stop(timeout=PATIENCE)
emit(done=True)
os._exit(0)
