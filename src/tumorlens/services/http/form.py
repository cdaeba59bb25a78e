"""Multipart forms, read from memory: nothing of an upload touches the disk.

The length is capped before any of it is read (`door`); parts and their headers are counted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tumorlens.services.http.problems import Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_FIELDS = 16
MOST_FIELD_BYTES = 4096
MOST_PART_HEADERS = 8
MOST_PART_HEADER_BYTES = 1024


@dataclass(frozen=True)
class Upload:
    """A file as it was sent; `name` is what the sender calls it and opens nothing."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Form:
    """The parts of a form."""

    files: tuple[Upload, ...]
    fields: Mapping[str, str]


@dataclass
class _Reader:
    """What the parser calls."""

    most_files: int
    files: list[Upload] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    header: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])
    data: bytearray = field(default_factory=bytearray)
    disposition: Mapping[bytes, bytes] = field(default_factory=dict)
    is_whole: bool = False

    def begin(self) -> None:
        self.headers = {}
        self.data = bytearray()
        if len(self.files) > self.most_files or len(self.fields) > MOST_FIELDS:
            raise Refusal("too-many-parts", f"{self.most_files} files are taken at once.")

    def header_begin(self) -> None:
        self.header = [bytearray(), bytearray()]

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self.header[0] += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.header[1] += data[start:end]

    def header_end(self) -> None:
        self.headers[bytes(self.header[0]).lower()] = bytes(self.header[1])

    def headers_finished(self) -> None:
        kind, self.disposition = parse_options_header(self.headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in self.disposition:
            raise Refusal("bad-form", "A part has no name.")
        if b"content-transfer-encoding" in self.headers:
            raise Refusal("bad-form", "Parts are taken as they are, without a transfer encoding.")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self.data += data[start:end]
        if b"filename" not in self.disposition and len(self.data) > MOST_FIELD_BYTES:
            raise Refusal("bad-form", "A field is too long; send a file with a file name.")

    def part_end(self) -> None:
        name = self.disposition[b"name"].decode(errors="replace")
        if b"filename" in self.disposition:
            if name != "file":
                raise Refusal("bad-form", 'Files are sent under the name "file".')
            sent = self.disposition[b"filename"].decode(errors="replace")
            self.files.append(Upload(sent, bytes(self.data)))
        else:
            self.fields[name] = self.data.decode(errors="replace")

    def end(self) -> None:
        self.is_whole = True


def read_form(body: bytes, content_type: str, *, most_files: int) -> Form:
    """Read a multipart form; raises Refusal for another media type and a broken or huge form."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Refusal("wrong-media-type", "Send multipart/form-data with a part named file.")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise Refusal("bad-form", "The boundary has to have 1 to 70 characters.")
    reader = _Reader(most_files)
    callbacks: MultipartCallbacks = {
        "on_part_begin": reader.begin,
        "on_part_data": reader.part_data,
        "on_part_end": reader.part_end,
        "on_header_begin": reader.header_begin,
        "on_header_field": reader.header_name,
        "on_header_value": reader.header_value,
        "on_header_end": reader.header_end,
        "on_headers_finished": reader.headers_finished,
        "on_end": reader.end,
    }
    try:
        parser = MultipartParser(
            boundary,
            callbacks,
            max_header_count=MOST_PART_HEADERS,
            max_header_size=MOST_PART_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as e:
        raise Refusal("bad-form", "Its parts are not delimited as announced.") from e
    if not reader.is_whole:
        raise Refusal("bad-form", "The form ends before its last boundary.")
    if len(reader.files) > most_files:
        raise Refusal("too-many-parts", f"{most_files} files are taken at once.")
    if not reader.files:
        raise Refusal("bad-form", 'No part named "file" holds a file.')
    return Form(tuple(reader.files), reader.fields)
