"""The file: a header with a digest, then a zip archive of uncompressed members.

====== =====================================================================
bytes  contents
====== =====================================================================
0–11   the magic bytes
12–15  the format version, an unsigned little-endian integer
16–47  the SHA-256 of everything else: bytes 0–15 and from 48 on
48–    a zip archive: ``model.json`` and the arrays, ``0.npy``, ``1.npy``, …
====== =====================================================================

The digest is compared before anything is parsed. It detects damage, but anyone can write a file
with a correct digest, so the rest of the file is not trusted either.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import re
import stat
import zipfile
from contextlib import contextmanager

import numpy as np

from sklearn_recsys.persistence._files import replacing

MAGIC = b"\x89skrecsys\r\n\x1a"
FORMAT = 1
HEADER_SIZE = 48
DOCUMENT = "model.json"
PLAIN_KINDS = "biufcUSmM"  # dtype kinds of numbers, booleans, text and times

MAX_ARRAYS = 20_000  # per file; zipfile takes ten times the memory of the list of members

_CHUNK = 2**20
_DOCUMENT_BYTES = 2**24  # memory that a document's values may take beyond a multiple of its text
_END = 22  # size of the end-of-archive record in bytes
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z]\d{0,9}(?:\[\d{0,9}[a-zA-Z]{1,2}\])?)', "
    r"'fortran_order': (True|False), 'shape': \(((?:\d{1,19}, ?)*\d{0,19}),?\), \} *\n"
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal models have equal files


class ModelFileError(ValueError):
    """A file cannot be loaded as a model: it is damaged, foreign, too new or not trusted.

    Parameters
    ----------
    message : str
        The path and the reason.

    See Also
    --------
    load : Raises this error.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import sklearn_recsys
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "notes.txt")
    ...     _ = path.write_text("no model at all")
    ...     try:
    ...         sklearn_recsys.load(path)
    ...     except sklearn_recsys.persistence.ModelFileError as error:
    ...         print(str(error).replace(folder, "…"))
    Cannot load …/notes.txt: it is not a model file of sklearn_recsys.
    """

    def __init__(self, message):
        super().__init__(message)


def _head(version=FORMAT):
    return MAGIC + version.to_bytes(4, "little")


def _digest(file, head):
    """Return the SHA-256 of the head and of everything after the header."""
    file.seek(HEADER_SIZE)
    return hashlib.file_digest(file, lambda: hashlib.sha256(head)).digest()


# -------------------------------------------------------------------------------------- writing


def write(path, document, arrays):
    """Write a JSON document and arrays atomically: a failure leaves `path` unchanged."""
    with replacing(path) as file:
        _write_archive(file, document, arrays)
        head = _head()
        digest = _digest(file, head)
        file.seek(0)
        file.write(head + digest)


def _write_archive(file, document, arrays):
    file.write(bytes(HEADER_SIZE))
    with zipfile.ZipFile(file, "w") as archive:
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        archive.writestr(zipfile.ZipInfo(DOCUMENT, _EPOCH), text)
        for number, array in enumerate(arrays):
            member = zipfile.ZipInfo(f"{number}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


# -------------------------------------------------------------------------------------- reading


@contextmanager
def reading(path):
    """Open a file for reading; any error inside the block becomes a ModelFileError."""
    path = os.fsdecode(path)
    prefix = f"Cannot load {path}: "
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ModelFileError(f"{prefix}it is a folder or a device, not a model file.")
    with open(path, "rb") as file:
        try:
            _check_header(file)
            _check_end(file)
            with zipfile.ZipFile(file) as archive:
                yield Reader(archive, os.fstat(file.fileno()).st_size)
        except ModelFileError as error:
            raise ModelFileError(f"{prefix}{error}") from error.__cause__
        except MemoryError:  # the contents are no larger than the file, so it is not malicious
            raise
        except Exception as error:
            raise ModelFileError(
                f"{prefix}its contents are broken ({type(error).__name__}: {str(error)[:200]})."
            ) from error


def _check_header(file):
    header = file.read(HEADER_SIZE)
    if header[: len(MAGIC)] != MAGIC:
        problem = "it is empty" if not header else "it is not a model file of sklearn_recsys"
        raise ModelFileError(f"{problem}.")
    if len(header) < HEADER_SIZE:
        raise ModelFileError("it is damaged: it ends within its header.")
    version = int.from_bytes(header[len(MAGIC) : 16], "little")
    if version != FORMAT:
        raise ModelFileError(
            f"it has format {version}, but this version of sklearn_recsys reads format {FORMAT}. "
            "It is from a newer version, or damaged."
        )
    if not hmac.compare_digest(_digest(file, header[:16]), header[16:]):
        raise ModelFileError("it is damaged: its contents do not have the digest in its header.")


def _check_end(file):
    """Refuse an archive with too long a list of members.

    zipfile builds an object for each entry, which takes ten times the memory, before they can be
    checked.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(HEADER_SIZE, size - _END))
    end = file.read(_END)
    if len(end) < _END or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise ModelFileError("its archive has no end.")
    length = int.from_bytes(end[12:16], "little")
    # an entry takes 46 bytes, a name, and a few more bytes in a large archive
    if length > 96 * (MAX_ARRAYS + 1):
        raise ModelFileError(f"its archive lists more than {MAX_ARRAYS} arrays.")


def _no_duplicates(pairs):
    """Build a JSON object, refusing duplicate names."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelFileError(f"its {DOCUMENT} has an object with a duplicate name.")
    return result


def _no_constants(name):
    raise ModelFileError(f"its {DOCUMENT} holds {name}, which is not valid JSON.")


def _check_document(text):
    """Refuse a document whose values would take far more memory than its text.

    The worst case is lists of empty lists, with 3 characters and 64 bytes each. Names and ids, the
    usual contents, take five times their text.
    """
    n_values = text.count(",")
    n_bytes = 24 * n_values + 60 * text.count("[") + 200 * text.count("{")
    if n_bytes > 12 * len(text) + _DOCUMENT_BYTES:
        raise ModelFileError(f"its {DOCUMENT} holds {n_values} values in {len(text)} characters.")


class Reader:
    """The members of an archive, each read once."""

    def __init__(self, archive, size):
        members = archive.infolist()
        self.size = size
        self._archive = archive
        self._members = {member.filename: member for member in members}
        expected = {DOCUMENT, *(f"{number}.npy" for number in range(len(members) - 1))}
        if len(self._members) != len(members) or set(self._members) != expected:
            raise ModelFileError(
                f"its members are not {DOCUMENT} and arrays numbered from 0, each of them once."
            )
        for member in members:
            stored = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits
            if not stored or member.compress_size != member.file_size:
                raise ModelFileError(f"its member {member.filename} is compressed or encrypted.")
        if sum(member.file_size for member in members) > size:
            raise ModelFileError("its members claim to be larger than the file.")

    def document(self):
        """Return the JSON document."""
        text = self._archive.read(self._members.pop(DOCUMENT)).decode("ascii")
        _check_document(text)
        try:
            return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
        except RecursionError:
            raise ModelFileError(f"its {DOCUMENT} is nested too deeply.") from None

    def array(self, number):
        """Return an array, whose header must agree with the size of its member."""
        member = self._members.pop(f"{number}.npy", None) if type(number) is int else None
        if member is None:
            raise ModelFileError(
                f"it refers to an array {number!r} that is missing or already used."
            )
        with self._archive.open(member) as stream:
            shape, fortran, dtype = _array_header(stream, member.filename)
            n_bytes = math.prod(shape) * dtype.itemsize
            if n_bytes != member.file_size - stream.tell():
                raise ModelFileError(f"its member {member.filename} has the wrong size.")
            raw = np.empty(n_bytes, dtype=np.uint8)
            for start in range(0, n_bytes, _CHUNK):
                stop = min(start + _CHUNK, n_bytes)
                raw[start:stop] = np.frombuffer(stream.read(stop - start), dtype=np.uint8)
            if stream.read(1):  # zipfile compares the checksum at the end of the member
                raise ModelFileError(f"its member {member.filename} has the wrong size.")
        _check_elements(raw, dtype, member.filename)
        return raw.view(dtype).reshape(shape, order="F" if fortran else "C")

    def finish(self):
        """Raise unless every member has been read."""
        if self._members:
            raise ModelFileError(f"its member(s) {', '.join(self._members)} are not used.")


def _array_header(stream, name):
    """Return the shape, the order and the dtype of an array of plain elements."""
    start = stream.read(10)
    if start[:8] != b"\x93NUMPY\x01\x00":
        raise ModelFileError(f"its member {name} is not an array.")
    # numpy's reader passes the header to Python's parser, which takes megabytes for a nested one
    header = stream.read(int.from_bytes(start[8:], "little")).decode("latin1")
    found = _HEADER.fullmatch(header)
    try:
        dtype = np.dtype(found[1])
        shape = tuple(int(length) for length in found[3].split(",") if length.strip())
    except (TypeError, ValueError) as error:  # no match, or an invalid dtype
        raise ModelFileError(f"its member {name} is not an array.") from error
    fortran = found[2] == "True"
    if dtype.kind not in PLAIN_KINDS or not dtype.itemsize or dtype.subdtype:
        raise ModelFileError(f"its member {name} holds elements of dtype {str(dtype)[:100]}.")
    if math.prod(shape) == 0 and dtype.itemsize > _CHUNK:
        raise ModelFileError(f"its member {name} holds elements of {dtype.itemsize} bytes.")
    if len(shape) > 32 or not all(0 <= length < 2**63 for length in shape):
        raise ModelFileError(f"its member {name} has an impossible shape.")
    return shape, fortran, dtype


def _check_elements(raw, dtype, name):
    """Refuse bytes that are not valid booleans or text."""
    largest = 0
    if dtype.kind == "b":
        largest, limit = raw.max(initial=0), 1
    elif dtype.kind == "U":
        points = raw.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        largest, limit = points.max(initial=0), 0x10FFFF
    if largest and largest > limit:
        raise ModelFileError(f"its member {name} holds bytes that are not valid for {dtype}.")
