"""Folders appear as a whole, know their files, and are replaced only where the command that asks has made them."""

import errno
import os

import pytest

from htgrpo.base import folders
from htgrpo.base.errors import UserError
from htgrpo.base.folders import FILE, atomic_dir, check_place, contents, read_seal, verify
from tests.sealing import flip

ME = "python -m bench.me"


def only(folder):
    """Names in a folder, hidden ones included."""
    return sorted(p.name for p in folder.iterdir())


def make(target, **contents):
    """A folder of ME with files of these contents."""
    with atomic_dir(target, ME, overwrite=True) as temporary:
        for name, text in (contents or {"a": "1", "b": "22"}).items():
            (temporary / name).write_text(text)
    return target


def refused(target, words, overwrite=True, made_by=ME):
    """Nothing is written, and one sentence says why."""
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=words) as error, atomic_dir(target, made_by, overwrite):
        pytest.fail("the work began all the same")
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_a_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "checkpoints" / "step"
    with atomic_dir(target, ME) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a").write_text("1")
        assert not target.exists()
    assert (target / "sub" / "a").read_text() == "1" and only(target.parent) == ["step"]
    assert verify(target).files.keys() == {"sub/a"}
    with atomic_dir(target, ME, overwrite=True) as temporary:
        (temporary / "b").write_text("2")
    assert only(target) == ["b", FILE] and only(target.parent) == ["step"], "our own folder is replaced"


def test_a_failed_folder_vanishes_and_the_old_one_stays(tmp_path):
    target = make(tmp_path / "step")
    with pytest.raises(RuntimeError), atomic_dir(target, ME, overwrite=True) as temporary:
        (temporary / "a").write_text("1")
        raise RuntimeError("killed")
    assert only(tmp_path) == ["step"] and verify(target)
    with pytest.raises(UserError, match="disk quota"), atomic_dir(tmp_path / "new", ME):
        raise OSError(errno.EDQUOT, "quota")
    assert only(tmp_path) == ["step"]


def test_nothing_is_replaced_that_another_has_written(tmp_path):
    work = tmp_path / "work"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "thesis.tex").write_text("all of it")
    refused(work, "holds files that this command did not make")
    ours = make(tmp_path / "ours")
    refused(ours, "exists already: give a new folder, or add --overwrite", overwrite=False)
    refused(ours, "was made by python -m bench.me: give a new folder", made_by="python -m bench.other")
    (ours / "notes.txt").write_text("mine")
    refused(ours, "holds 'notes.txt' that this command did not write")
    (ours / "notes.txt").unlink()
    (ours / ".git").mkdir()
    (ours / ".git" / "HEAD").write_text("ref")
    refused(ours, "holds '.git/HEAD'")
    (ours / ".git" / "HEAD").unlink()
    (ours / "link").symlink_to(work)
    refused(ours, "holds 'link'")
    (ours / "link").unlink()
    flip(ours / FILE)
    refused(ours, "files.json' is (damaged or was edited|not JSON)")


def test_a_file_that_comes_while_the_command_works_is_safe(tmp_path):
    target = make(tmp_path / "x")
    with pytest.raises(UserError, match="holds 'late'"), atomic_dir(target, ME, overwrite=True):
        (target / "late").write_text("mine")
    assert only(tmp_path) == ["x"] and (target / "late").read_text() == "mine" and (target / "a").read_text() == "1"
    empty = tmp_path / "empty"
    with pytest.raises(UserError, match="did not make"), atomic_dir(empty, ME):
        empty.mkdir()
        (empty / "late").write_text("mine")
    assert only(empty) == ["late"]


def test_places_that_no_command_may_take(tmp_path, monkeypatch):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(inside)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    for path in ("", ".", "..", "/", str(inside), str(tmp_path), str(inside / "x" / ".."), str(tmp_path / "link")):
        with pytest.raises(UserError, match="name a new folder|name the folder itself") as error:
            check_place(folders.Path(path))
        assert "\n" not in str(error.value)
    for path in (tmp_path / "home", tmp_path / "home" / "me"):
        with pytest.raises(UserError, match="your home folder or one around it"):
            check_place(path)
    with pytest.raises(UserError, match="is a file"):
        check_place(tmp_path / "file")
    check_place(folders.Path("new"))
    check_place(tmp_path / "home" / "me" / "new")


def test_two_commands_do_not_make_one_folder(tmp_path):
    target = tmp_path / "x"
    with atomic_dir(target, ME) as temporary:
        with pytest.raises(UserError, match="another command is making"), atomic_dir(target, ME):
            pytest.fail("both work")
        assert temporary.is_dir()
    assert only(tmp_path) == ["x"]


def test_what_a_killed_command_left_is_swept_and_nothing_else(tmp_path):
    left, other, mine = (
        tmp_path / ".x.0123abcd.unfinished",
        tmp_path / ".x.y.0123abcd.unfinished",
        tmp_path / ".x.backup",
    )
    for folder in (left, other, mine):
        folder.mkdir()
        (folder / "a").write_text("1")
    make(tmp_path / "x")
    assert only(tmp_path) == sorted([other.name, mine.name, "x"])


@pytest.mark.parametrize("name", ["a", "sub/b", FILE])
def test_any_flipped_byte_is_named(name, tmp_path):
    with atomic_dir(tmp_path / "x", ME, about={"k": [1, "ü"]}) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "a").write_text("1234")
        (temporary / "sub" / "b").write_text("5678")
    path = tmp_path / "x" / name
    data = path.read_bytes()
    for at in range(len(data)):
        flip(path, at)
        with pytest.raises(UserError, match=f"{name}' is (damaged|not JSON)") as error:
            verify(tmp_path / "x")
        assert "\n" not in str(error.value)
        path.write_bytes(data)
    assert verify(tmp_path / "x").about == {"k": [1, "ü"]}


def test_missing_added_and_renamed_files_are_named(tmp_path):
    target = make(tmp_path / "x")
    (target / "a").rename(target / "c")
    with pytest.raises(UserError, match="has no a, which files.json lists"):
        verify(target)
    (target / "a").write_text("1")
    with pytest.raises(UserError, match="holds 'c', which files.json does not list"):
        verify(target)


@pytest.mark.parametrize(
    "text",
    [
        "[]", "{}", '{"made_by": 3}', '{"made_by": "x", "files": [], "about": {}}',
        '{"made_by": "x", "files": {"a": null}, "about": {}}', "{", "\xff",
    ],
)  # fmt: skip
def test_a_list_of_another_kind_is_refused(text, tmp_path):
    target = make(tmp_path / "x")
    (target / FILE).write_text(text)
    with pytest.raises(UserError, match="files.json"):
        read_seal(target)


def test_modes_follow_the_umask_whatever_wrote_the_file(tmp_path):
    import torch
    from safetensors.torch import save_file

    before = os.umask(0o027)
    try:
        with atomic_dir(tmp_path / "x", ME) as temporary:
            (temporary / "sub").mkdir(mode=0o700)
            save_file({"a": torch.zeros(2)}, temporary / "sub" / "a.safetensors")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [tmp_path / "x", *(tmp_path / "x").rglob("*")]}
    assert modes == {"x": 0o750, "sub": 0o750, "a.safetensors": 0o640, FILE: 0o640}


def test_subfolders_with_a_list_of_their_own_stand_alone(tmp_path):
    target = tmp_path / "x"
    with atomic_dir(target, ME) as temporary:
        (temporary / "a").write_text("1")
        (temporary / "sub").mkdir()
        (temporary / "sub" / "b").write_text("2")
        folders.seal(temporary / "sub", "another")
    assert contents(target) == ["a"] and contents(target / "sub") == ["b"]
    folders.remove_sealed(target / "sub")
    assert verify(target) and only(target) == ["a", FILE]
