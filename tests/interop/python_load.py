"""Load from the stock Python client library: RPC and publish, printed as one JSON object.

The same program runs against any platform, so its figures compare platforms, not clients.

Usage: python_load.py ADDRESS SERVERKEY KEYS.json [SCALE]
KEYS.json: a list of [identity, publickey, secretkey]; the first calls and publishes, the second serves, all others
(and the second) subscribe. SCALE multiplies the number of messages.
"""
from gevent import monkey

monkey.patch_all()

import json
import logging
import os
import sys
import time

import gevent
from gevent.event import Event

from volttron.client.vip.agent import RPC, Agent, build_agent

logging.disable(logging.CRITICAL)


class Echo(Agent):
    @RPC.export
    def echo(self, value):
        return value


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def rpc_one_in_flight(caller, peer, count):
    payload = "x" * 100
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        caller.vip.rpc.call(peer, "echo", payload).get(timeout=10)
        times.append(time.perf_counter() - begin)
    return {"p50_ms": percentile(times, 0.5) * 1e3, "p99_ms": percentile(times, 0.99) * 1e3}


def rpc_many_in_flight(caller, peer, count, window=64):
    payload = "x" * 100
    begin = time.perf_counter()
    done = 0
    while done < count:
        batch = [caller.vip.rpc.call(peer, "echo", payload) for _ in range(window)]
        for pending in batch:
            pending.get(timeout=20)
        done += window
    return {"calls_per_s": done / (time.perf_counter() - begin)}


def publish(publisher, subscribers, count):
    prefix = "load/%d" % len(subscribers)
    wanted = count * len(subscribers)
    seen = [0]
    complete = Event()

    def delivered(peer, sender, bus, topic, headers, message):
        seen[0] += 1
        if seen[0] == wanted:
            complete.set()

    for subscriber in subscribers:
        subscriber.vip.pubsub.subscribe("pubsub", prefix, delivered).get(timeout=10)
    gevent.sleep(1)
    message = "x" * 100
    begin = time.perf_counter()
    for number in range(count):
        publisher.vip.pubsub.publish("pubsub", prefix, headers={}, message=message)
        if number % 64 == 63:
            gevent.sleep(0)
    complete.wait(timeout=60)
    took = time.perf_counter() - begin
    for subscriber in subscribers:
        subscriber.vip.pubsub.unsubscribe("pubsub", prefix, delivered).get(timeout=10)
    return {"deliveries_per_s": seen[0] / took, "delivered": seen[0], "wanted": wanted}


def main():
    address, serverkey, keys = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
    scale = float(sys.argv[4]) if len(sys.argv) > 4 else 1.0
    agents = [
        build_agent(address=address, identity=identity, serverkey=serverkey, publickey=public, secretkey=secret,
                    agent_class=Echo, enable_store=False, heartbeat_autostart=False, timeout=30)
        for identity, public, secret in keys
    ]
    caller, echo, others = agents[0], keys[1][0], agents[1:]
    result = {
        "rpc_1": rpc_one_in_flight(caller, echo, int(500 * scale)),
        "rpc_64": rpc_many_in_flight(caller, echo, int(2048 * scale)),
        "publish_1_to_1": publish(caller, others[:1], int(2000 * scale)),
        "publish_1_to_10": publish(caller, others[:10], int(800 * scale)),
    }
    print(json.dumps(result), flush=True)
    for agent in agents:
        try:
            agent.core.stop(timeout=2)
        except BaseException:
            pass
    os._exit(0)


main()
