# Makes a wheel again of a package that is unpacked: `repack.py directory DIR OUT` of a directory with the package and its
# *.dist-info in it, `repack.py installed NAME VERSION OUT` of what this interpreter has, `repack.py add WHEEL NAME FILE OUT` of
# another wheel, with FILE as NAME beside its metadata. Says what it is as one line of JSON:
# {"wheel": path, "left": [files that are no part of the package]} or {"error": text}. Changes nothing but OUT.
import base64
import csv
import hashlib
import json
import os
import re
import sys
import zipfile
from email.parser import HeaderParser

MAX_BYTES = 1 << 30
# What a platform puts beside the metadata, and is no part of the package.
NOT_PACKED = {"RECORD", "config", "keystore.json", "IDENTITY_TEMPLATE", "INSTALLER", "REQUESTED", "direct_url.json"}


class Bad(Exception):
    pass


def of_directory(root):
    """Files of an unpacked wheel below root, and those that came later."""
    infos = [name for name in sorted(os.listdir(root)) if name.endswith(".dist-info")]
    if len(infos) != 1:
        raise Bad("%s has %d directories *.dist-info, one is needed" % (root, len(infos)))
    info = infos[0]
    record = os.path.join(root, info, "RECORD")
    listed = None
    if os.path.isfile(record):
        with open(record, newline="", encoding="utf-8") as file:
            listed = {row[0] for row in csv.reader(file) if row}
    files, left = {}, []
    for place, dirs, names in os.walk(root):
        below = os.path.relpath(place, root)
        dirs[:] = sorted(d for d in dirs if d != "__pycache__" and not (below == "." and d.endswith(".agent-data")))
        for name in sorted(names):
            path = os.path.normpath(os.path.join(below, name)).replace(os.sep, "/")
            if path.startswith(info + "/"):
                if path[len(info) + 1:] not in NOT_PACKED:
                    files[path] = os.path.join(place, name)
            elif listed is None or path in listed:
                files[path] = os.path.join(place, name)
            elif not name.endswith(".pyc"):
                left.append(path)
    return info, files, left


def installed(name, version):
    """Files of an installed package."""
    from importlib import metadata

    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise Bad("%s has no package %s" % (sys.executable, name))
    same = [re.sub(r"[^0-9a-z]", "", text.lower()) for text in (found.version, version)]
    if same[0] != same[1]:
        raise Bad("%s has %s %s, not %s" % (sys.executable, name, found.version, version))
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        raise Bad("%s is installed for development from %s" % (name, origin.get("url")))
    files, info = {}, None
    for path in found.files or []:
        text = path.as_posix()
        if text.startswith("../") or text.startswith("/") or text.endswith(".pyc"):
            continue
        first, _, rest = text.partition("/")
        if first.endswith(".dist-info"):
            info = first
            if rest in NOT_PACKED:
                continue
        files[text] = str(path.locate())
    if info is None:
        raise Bad("%s does not say which files belong to %s" % (sys.executable, name))
    return info, files, []


def write(info, files, out):
    with open(files[info + "/METADATA"], encoding="utf-8", errors="replace") as file:
        metadata = HeaderParser().parse(file)
    with open(files[info + "/WHEEL"], encoding="utf-8", errors="replace") as file:
        tags = HeaderParser().parse(file).get_all("Tag") or ["py3-none-any"]
    tag = next((tag for tag in tags if tag.startswith("py3")), tags[-1]).strip()
    plain = lambda text: re.sub(r"[^\w.+!]+", "_", text)
    wheel = os.path.join(out, "%s-%s-%s.whl" % (plain(metadata["Name"]), plain(metadata["Version"]), tag))

    def read(name):
        with open(files[name], "rb") as file:
            return file.read()

    pack(wheel, info, {name: os.path.getsize(path) for name, path in files.items()}, read)
    return wheel


def pack(wheel, info, sizes, read):
    """Writes a wheel of what `read` gives for each name, and its record."""
    if sum(sizes.values()) > MAX_BYTES:
        raise Bad("it is larger than what can be installed")
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        def add(name, data):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)

        for name in sorted(sizes):
            data = read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append("%s,sha256=%s,%d\n" % (name if "," not in name else '"%s"' % name, digest, len(data)))
            add(name, data)
        add(info + "/RECORD", "".join(record) + info + "/RECORD,,\n")


def added(wheel, name, path, out):
    """A wheel of the same name with one file more, or another one."""
    result = os.path.join(out, os.path.basename(wheel))
    with open(path, "rb") as file:
        content = file.read()
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
        infos = [n.split("/")[0] for n in sizes if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
        if len(infos) != 1:
            raise Bad("it has %d directories *.dist-info with METADATA, one is needed" % len(infos))
        own = "%s/%s" % (infos[0], name)
        sizes[own] = len(content)
        sizes.pop(infos[0] + "/RECORD", None)
        pack(result, infos[0], sizes, lambda n: content if n == own else archive.read(n))
    return result


def main(kind, *words):
    if kind == "add":
        return {"wheel": added(*words), "left": []}
    info, files, left = of_directory(words[0]) if kind == "directory" else installed(words[0], words[1])
    for needed in ("METADATA", "WHEEL"):
        if info + "/" + needed not in files:
            raise Bad("its %s has no %s" % (info, needed))
    return {"wheel": write(info, files, words[-1]), "left": left}


try:
    answer = main(*sys.argv[1:])
except Bad as bad:
    answer = {"error": str(bad)}
except (OSError, ValueError, UnicodeError, csv.Error, zipfile.BadZipFile) as error:
    answer = {"error": "it cannot be read: %s" % error}
sys.stdout.write(json.dumps(answer) + "\n")
