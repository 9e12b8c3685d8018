"""A Modbus TCP server made of pymodbus, steered through standard input and output.

Each line read is a JSON command, each line written its JSON answer. Addresses exist only once they were set; requests
for others are answered with "illegal data address", as real devices do.

    {"cmd": "set", "table": "h", "address": 10, "values": [1, 2], "unit": 1}
    {"cmd": "get", "table": "h", "address": 10, "count": 2, "unit": 1}
    {"cmd": "drop", "table": "h", "address": 10, "unit": 1}     forget an address
    {"cmd": "requests"}          function, address and count of the requests for words since the last such command
    {"cmd": "hold"}              answer nothing until ...
    {"cmd": "release"}           ... this

Tables: "c" coils, "d" discrete inputs, "i" input registers, "h" holding registers. Units 1 and 2 exist.
"""
import asyncio
import json
import sys

from pymodbus.datastore import ModbusServerContext
from pymodbus.datastore.context import ModbusBaseSlaveContext
from pymodbus.server import ModbusTcpServer

requests = []
open_gate = asyncio.Event()
open_gate.set()


class Unit(ModbusBaseSlaveContext):
    def __init__(self):
        self.tables = {"c": {}, "d": {}, "i": {}, "h": {}}

    def reset(self):
        pass

    def validate(self, fc_as_hex, address, count=1):
        requests.append([fc_as_hex, address, count])
        table = self.tables[self.decode(fc_as_hex)]
        return all(a in table for a in range(address, address + count))

    async def async_getValues(self, fc_as_hex, address, count=1):
        await open_gate.wait()
        table = self.tables[self.decode(fc_as_hex)]
        return [table[a] for a in range(address, address + count)]

    async def async_setValues(self, fc_as_hex, address, values):
        await open_gate.wait()
        self.tables[self.decode(fc_as_hex)].update(enumerate(values, address))


units = {1: Unit(), 2: Unit()}


def obey(command):
    name = command["cmd"]
    if name == "requests":
        seen, requests[:] = list(requests), []
        return seen
    if name == "hold":
        open_gate.clear()
        return None
    if name == "release":
        open_gate.set()
        return None
    table = units[command.get("unit", 1)].tables[command["table"]]
    first = command["address"]
    if name == "set":
        table.update(enumerate(command["values"], first))
    elif name == "get":
        return [table.get(a) for a in range(first, first + command["count"])]
    elif name == "drop":
        table.pop(first, None)
    return None


async def main():
    server = ModbusTcpServer(ModbusServerContext(slaves=units, single=False), address=("127.0.0.1", int(sys.argv[1])))
    await server.listen()
    port = server.transport.sockets[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # The end of standard input is the end of the test.
    while line := await reader.readline():
        print(json.dumps(obey(json.loads(line))), flush=True)


asyncio.run(main())
