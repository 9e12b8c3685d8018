# Reads a wheel without unpacking it and says what it is, as one line of JSON: {"error": text} if it cannot be installed.
import configparser
import hashlib
import json
import re
import sys
import zipfile
from email.parser import HeaderParser

MAX_FILES = 100000
MAX_BYTES = 2 << 30
MAX_TEXT = 1 << 20
CLASSIC = re.compile(rb"^[ \t]*(from|import)[ \t]+volttron\.platform\b", re.MULTILINE)


class Bad(Exception):
    pass


def check_names(infos):
    if len(infos) > MAX_FILES or sum(info.file_size for info in infos) > MAX_BYTES:
        raise Bad("it is larger than what can be installed")
    for info in infos:
        name = info.filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise Bad("it contains %r, which would be written outside of its directory" % name)


def text(archive, name):
    with archive.open(name) as file:
        data = file.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise Bad("its %s is too large" % name)
    return data.decode("utf-8", "replace")


def contents(archive, infos):
    """Hash of everything but the record, and whether any module imports the modules of 9.x."""
    digest, classic = hashlib.sha256(), False
    for info in sorted(infos, key=lambda info: info.filename):
        one = hashlib.sha256()
        with archive.open(info) as file:
            if info.filename.endswith(".py") and info.file_size <= MAX_TEXT:
                content = file.read()
                one.update(content)
                classic = classic or CLASSIC.search(content) is not None
            else:
                for piece in iter(lambda: file.read(1 << 16), b""):
                    one.update(piece)
        digest.update(info.filename.encode() + b"\0" + one.digest())
    return digest.hexdigest(), classic


def look(path):
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        check_names(infos)
        names = [info.filename for info in infos]
        found = [name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        if len(found) != 1:
            raise Bad("it has %d directories *.dist-info with METADATA, one is needed" % len(found))
        inner = found[0].rsplit("/", 1)[0]
        metadata = HeaderParser().parsestr(text(archive, found[0]))
        sha256, classic = contents(archive, infos)
        entries = []
        if inner + "/entry_points.txt" in names:
            parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
            parser.optionxform = str
            try:
                parser.read_string(text(archive, inner + "/entry_points.txt"))
            except configparser.Error as error:
                raise Bad("its entry_points.txt cannot be read: %s" % error)
            for group in parser.sections():
                entries += [[group, name, value.strip()] for name, value in parser.items(group)]

        def optional(name):
            return text(archive, name).strip() if name in names else None

        default = [name for name in names if "/" not in name and name.endswith("-default-vip-id")]
        return {
            "name": metadata["Name"],
            "version": metadata["Version"],
            "requires_python": metadata["Requires-Python"],
            "requires": metadata.get_all("Requires-Dist") or [],
            "entries": entries,
            "sha256": sha256,
            "classic": classic,
            "identity": optional(default[0]) if default else optional(inner + "/IDENTITY_TEMPLATE"),
            "config": optional(inner + "/config"),
        }


try:
    answer = look(sys.argv[1])
except Bad as bad:
    answer = {"error": str(bad)}
except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
    answer = {"error": "it is damaged: %s" % error}
except Exception as error:
    if type(error).__module__ != "zlib":
        raise
    answer = {"error": "it is damaged: %s" % error}
sys.stdout.write(json.dumps(answer) + "\n")
