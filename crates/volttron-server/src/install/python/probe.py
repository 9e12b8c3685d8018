# Says what this interpreter is and has, as one line of JSON. Also runs under versions that are too old, to say so.
import json
import sys

facts = {"version": list(sys.version_info[:3]), "executable": sys.executable}
if sys.version_info >= (3, 8):
    import os
    import sysconfig
    from importlib.util import find_spec

    def has(name):
        try:
            return find_spec(name) is not None
        except Exception:
            return False

    own = {os.path.realpath(sysconfig.get_path(which)) for which in ("stdlib", "platstdlib")}

    def foreign(path):
        real = os.path.realpath(path)
        return os.path.isdir(real) and real not in own and os.path.basename(real) != "lib-dynload"

    facts.update(
        venv=has("venv") and has("ensurepip"),
        client=has("volttron.client"),
        client_of_11=has("volttron.client") and has("volttron.messagebus.zmq"),
        classic=has("volttron.platform"),
        paths=[path for path in sys.path if path and foreign(path)],
    )
sys.stdout.write(json.dumps(facts) + "\n")
