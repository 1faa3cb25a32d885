"""Files are whole or absent, torn lines are told apart from damaged ones, hashes ignore formatting."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from htgrpo.base import files
from htgrpo.base.errors import UserError


def only(folder):
    """Names in a folder, hidden ones included."""
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "x.json"
    files.atomic_json(path, {"ä": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": [1, None]} and "ä" in path.read_text(encoding="utf-8")
    files.atomic_write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and only(path.parent) == ["x.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        files.atomic_write_bytes(tmp_path / "x", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("text", ["[1]", "3", "null", "{", "", '"a"', "[" * 100_000, '{"a": "\xff"}'])
def test_an_object_is_read_or_refused_in_one_sentence(text, tmp_path):
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.json.*: do this") as error:
        files.read_object(tmp_path / "x.json", "do this")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be read"):
        files.read_object(tmp_path / "none.json")


def test_a_large_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(files.LARGE))
    assert files.content_sha256(path) == files.sha256_file(path)
    path.write_bytes(b"1" + bytes(files.LARGE - 1))
    assert files.content_sha256(path) == files.sha256_file(path)


def test_a_small_file_is_read_once_when_it_has_settled_and_again_when_it_changes(tmp_path, monkeypatch):
    path, read = tmp_path / "x", []
    monkeypatch.setattr(files, "sha256_file", lambda path: read.append(path) or Path(path).read_text())
    for text in ("a", "b", "c"):  # within one tick of the clock, perhaps
        path.write_text(text)
        assert files.content_sha256(path) == text
    monkeypatch.setattr(files, "SETTLED", 0)
    assert [files.content_sha256(path), files.content_sha256(path)] == ["c", "c"] and len(read) == 4
    path.write_text("longer")
    assert files.content_sha256(path) == "longer"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(broken, tmp_path, monkeypatch):
    path = tmp_path / "x"
    files.atomic_write_text(path, "old")

    def fail(*given):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(files.os, broken, fail)
    with pytest.raises(UserError, match="cannot write .*x'.*disk is full"):
        files.atomic_write_text(path, "new")
    assert path.read_text() == "old" and only(tmp_path) == ["x"]


def test_json_refuses_what_json_does_not_know(tmp_path):
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError):
            files.atomic_json(tmp_path / "x", {"a": value})
        with pytest.raises(ValueError):
            files.append_jsonl(tmp_path / "y", {"a": value})
    assert only(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission denied"), (errno.EROFS, "read-only")],
)
def test_refusals_of_the_system_are_explained(number, words, tmp_path):
    with pytest.raises(UserError, match=words) as error, files.explained(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=words), files.explained(tmp_path / "x"):
        raise RuntimeError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")
    with pytest.raises(OSError, match="odd"), files.explained(tmp_path):
        raise OSError(errno.EIO, "odd")


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "x").write_text("")
    for path in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises(UserError, match="cannot write"):
            files.make_folder(path)


def test_lines(tmp_path):
    path = tmp_path / "log" / "m.jsonl"
    records = [{"a": 1}, {"text": "line\nbreak\u2028 and ü"}, {}]
    for record in records:
        files.append_jsonl(path, record)
    assert path.read_bytes().count(b"\n") == 3
    assert files.read_jsonl(path) == records


@pytest.mark.parametrize("tail", ['{"a": 3, "b', "{", '{"a": "ü'.encode()[:-1]])
def test_a_torn_last_line_is_left_out(tail, tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n' + (tail if isinstance(tail, bytes) else tail.encode()))
    assert files.read_jsonl(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": 2\n{"a": 3}\n', "junk\n", '{"a": 1}\n{"b\n', "[]\n", "{}\n3\n"])
def test_a_broken_line_elsewhere_is_damage(text, tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=r"line \d of .*m.jsonl' is not JSON") as error:
        files.read_jsonl(path)
    assert "\n" not in str(error.value)


def test_appending_after_a_torn_line_does_not_damage_the_file(tmp_path):
    """A writer that was killed in a line, then another one: what was whole stays readable."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"a": 1}\n{"a": 2, "b')
    files.append_jsonl(path, {"a": 3})
    files.append_jsonl(path, {"a": 4})
    assert files.read_jsonl(path) == [{"a": 1}, {"a": 3}, {"a": 4}]


def test_hashes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_json({"b": [1, 2], "a": "ü"}) == files.sha256_json(json.loads('{ "a":"\\u00fc",\n "b":[1,2] }'))
    assert files.sha256_json([1, 2]) != files.sha256_json([2, 1])
