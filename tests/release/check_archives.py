"""Check what is in a wheel and a source distribution: ``python check_archives.py build/dist``.

`make dist` runs it in a checkout: the archives hold what git tracks, all of it and nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

# of the repository and its hosts
LEFT_OUT = (".ci/", ".github/", ".gitignore", ".gitattributes")


def tracked():
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def compare(archive, found, expected):
    for problem, names in (("lacks", expected - found), ("should not hold", found - expected)):
        if names:
            sys.exit(f"{archive.name} {problem} {', '.join(sorted(names))}")


def check_sdist(archive, files):
    with tarfile.open(archive) as file:
        members = [member.name for member in file.getmembers() if member.isfile()]
    made = {"PKG-INFO"}  # setup.cfg is rewritten, and the egg-info made
    found = {name.partition("/")[2] for name in members}
    found = {name for name in found if not name.startswith("sklearn_recsys.egg-info/")} - made
    compare(archive, found, {name for name in files if not name.startswith(LEFT_OUT)})


def check_wheel(archive, files):
    with zipfile.ZipFile(archive) as file:
        (folder,) = {name.partition("/")[0] for name in file.namelist() if ".dist-info/" in name}
        found = {name for name in file.namelist() if not name.startswith(folder)}
        compare(archive, found, {name for name in files if name.startswith("sklearn_recsys/")})
        license_text = file.read(f"{folder}/licenses/LICENSE")
        metadata = message_from_string(file.read(f"{folder}/METADATA").decode())
    if license_text != Path("LICENSE").read_bytes():
        sys.exit(f"{archive.name} has another license")
    if metadata["License-Expression"] != "BSD-3-Clause":
        sys.exit(f"{archive.name} has no license expression")
    # on a package index there are no files beside the README
    for target in re.findall(r"\]\(([^)]*)\)", metadata.get_payload()):
        if not target.startswith("https://"):
            sys.exit(f"README.md refers to {target}, which is not there on a package index")
    if not metadata["Project-URL"]:
        print("note: the metadata has no address of the project, see setup.cfg")


def main(folder):
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    files = tracked()
    check_sdist(sdist, files)
    check_wheel(wheel, files)
    print(f"{wheel.name} and {sdist.name} hold what git tracks")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
