"""Writes a wheel of a small agent: make_wheel.py DIRECTORY KIND; prints its path."""
import base64
import hashlib
import os
import sys
import zipfile

AGENT = '''
import sys
from volttron.client.vip.agent import RPC, Agent
from volttron.utils import load_config, setup_logging
from volttron.utils.commands import vip_main

setup_logging()


class Tiny(Agent):
    def __init__(self, config_path, **kwargs):
        super().__init__(**kwargs)
        self.config = load_config(config_path)

    @RPC.export
    def configuration(self):
        return self.config


def main():
    vip_main(Tiny, version="1.2")
'''

directory, kind = sys.argv[1:]
entry = "[console_scripts]\ntiny = tiny.agent:main\n"
requires = "Requires-Dist: volttron\n"
files = {
    "tiny/__init__.py": "",
    "tiny/agent.py": AGENT,
    "tiny_agent-1.2-default-vip-id": "tiny.default\n",
}
if kind == "no-entry":
    entry = "[other]\nthing = tiny.agent:main\n"
elif kind == "odd-entry":
    entry = "[console_scripts]\ntiny = import os; os.system('true')\n"
elif kind == "wrong-module":
    entry = "[console_scripts]\ntiny = tiny.absent:main\n"
elif kind == "traversal":
    files["../../../../tmp/tiny-was-here"] = "x"
elif kind == "unknown-requirement":
    requires = "Requires-Dist: volttron-no-such-package-of-ours==7\n"
info = "tiny_agent-1.2.dist-info/"
if kind != "no-metadata":
    files[info + "METADATA"] = "Metadata-Version: 2.1\nName: tiny-agent\nVersion: 1.2\n" + requires
files[info + "WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
files[info + "entry_points.txt"] = entry
record = ""
for name, text in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record += "%s,sha256=%s,%d\n" % (name, digest, len(text.encode()))
files[info + "RECORD"] = record + info + "RECORD,,\n"

path = os.path.join(directory, "tiny_agent-1.2-py3-none-any.whl")
with zipfile.ZipFile(path, "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
if kind == "truncated":
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)
elif kind == "flipped":
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        at = content.find(b"vip_main(Tiny")
        content[at] ^= 0x20
        file.seek(0)
        file.write(content)
elif kind == "text":
    with open(path, "w") as file:
        file.write("this is no wheel\n")
print(path)
