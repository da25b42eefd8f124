"""Files and directories as artifacts: encoding them, reading their nodes, and writing them back."""

from __future__ import annotations

from holdall_store.serializers._file_extract import extract_directory, extract_file
from holdall_store.serializers._file_nodes import DIRECTORY_TAG, FILE_TAG, Entry, parse_directory, parse_file
from holdall_store.serializers._files import check_patterns, encode_directory, encode_file, open_source, read_whole

__all__ = [
    "DIRECTORY_TAG",
    "FILE_TAG",
    "Entry",
    "check_patterns",
    "encode_directory",
    "encode_file",
    "extract_directory",
    "extract_file",
    "open_source",
    "parse_directory",
    "parse_file",
    "read_whole",
]
