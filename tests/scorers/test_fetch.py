"""bench.fetch: whole files or none, one sentence when it fails, nothing twice."""

import subprocess
import sys

import pytest

from bench import fetch
from bench.sources import assets
from htgrpo.base.errors import UserError
from tests.scorers.made_assets import entry, git_blob, put, serving, sha256, source, use

pytestmark = pytest.mark.usefixtures("place")
TEXT = "first line\nzweite Zeile ä\n".encode()


@pytest.mark.parametrize("digest", [sha256, git_blob])
def test_a_file_is_brought_once(monkeypatch, place, capsys, digest):
    with serving({"/thing.txt": TEXT}) as (address, asked):
        url = f"{address}/thing.txt"
        use(monkeypatch, entry("thing", "some/thing.txt", sha256(TEXT), {"file": source(url, digest(TEXT))}))
        assert fetch.main(["thing"]) == 0 and fetch.main(["--all"]) == 0
    assert asked == ["/thing.txt"]
    assert (place / "some/thing.txt").read_bytes() == TEXT == assets.asset("thing").read_bytes()
    told = capsys.readouterr().out
    assert told.count(str(place / "some/thing.txt")) == 2
    assert told.count(assets.named("thing").licence) == 1 and told.startswith("thing: ")
    assert [path.name for path in place.iterdir()] == ["some"]


@pytest.mark.parametrize(
    "served, reason",
    [
        (TEXT + b"!", "has not the pinned content"),
        ((TEXT[:-5], len(TEXT)), "cannot be had"),  # breaks off
        (TEXT[:-5], "has not the pinned content"),
        (None, "status 404"),
    ],
)
def test_what_is_not_the_pinned_file_leaves_nothing_behind(monkeypatch, place, capsys, served, reason):
    with serving({} if served is None else {"/thing.txt": served}) as (address, _):
        use(
            monkeypatch,
            entry("thing", "some/thing.txt", sha256(TEXT), {"file": source(f"{address}/thing.txt", sha256(TEXT))}),
        )
        assert fetch.main(["thing"]) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said and len(said.splitlines()) == 1 and "Traceback" not in said
    assert list(place.iterdir()) == []


def test_nobody_answering_is_one_sentence(monkeypatch, place, capsys):
    with serving({}) as (address, _):
        pass
    use(monkeypatch, entry("thing", "thing.txt", sha256(TEXT), {"file": source(f"{address}/thing.txt", sha256(TEXT))}))
    assert fetch.main(["thing"]) == 2
    said = capsys.readouterr().err.strip()
    assert "Connection refused" in said and "HTGRPO_ASSETS" in said and len(said.splitlines()) == 1


def test_a_broken_download_is_tried_again(monkeypatch, place):
    monkeypatch.setattr(fetch, "RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    files = {"/thing.txt": (TEXT[:4], len(TEXT))}
    with serving(files) as (address, asked):
        real = fetch.Bar

        def mend(label):
            if asked:
                files["/thing.txt"] = TEXT
            return real(label)

        monkeypatch.setattr(fetch, "Bar", mend)
        use(
            monkeypatch,
            entry("thing", "thing.txt", sha256(TEXT), {"file": source(f"{address}/thing.txt", sha256(TEXT))}),
        )
        assert fetch.main(["thing"]) == 0
    assert len(asked) == 2 and (place / "thing.txt").read_bytes() == TEXT


def test_one_that_fails_does_not_stop_the_others(monkeypatch, place, capsys):
    with serving({"/good": TEXT}) as (address, _):
        use(
            monkeypatch,
            entry("bad", "bad", sha256(TEXT), {"file": source(f"{address}/bad", sha256(TEXT))}),
            entry("good", "good", sha256(TEXT), {"file": source(f"{address}/good", sha256(TEXT))}),
        )
        assert fetch.main(["--all"]) == 2
    assert (place / "good").read_bytes() == TEXT
    assert "status 404" in capsys.readouterr().err


def test_a_damaged_file_in_the_cache_is_brought_again(monkeypatch, place):
    place.mkdir(parents=True)
    (place / "thing").write_bytes(b"half")
    with serving({"/thing": TEXT}) as (address, _):
        use(monkeypatch, entry("thing", "thing", sha256(TEXT), {"file": source(f"{address}/thing", sha256(TEXT))}))
        assert fetch.main(["thing"]) == 0
    assert assets.asset("thing").read_bytes() == TEXT


def test_what_a_folder_has_is_not_brought(monkeypatch, tmp_path, place, capsys):
    put(monkeypatch, tmp_path, thing=TEXT)
    monkeypatch.setenv(assets.FOLDER, "")
    assert fetch.main(["thing", "--assets", str(tmp_path)]) == 0
    assert str(tmp_path / "thing.file") in capsys.readouterr().out and not place.exists()
    with pytest.raises(UserError, match="is not there, so it is not a folder"):
        fetch.main(["thing", "--assets", str(tmp_path / "nowhere")])


def test_the_command_line_lists_suggests_and_wants_a_name(monkeypatch, tmp_path, capsys):
    put(monkeypatch, tmp_path, thing=TEXT, other=TEXT)
    (tmp_path / "other.file").unlink()
    assert fetch.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert f"here: {tmp_path / 'thing.file'}" in listed and "not here" in listed and "this test" in listed
    (tmp_path / "other.file").write_bytes(b"wrong")
    fetch.main(["--list"])
    assert "unusable" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'thing'"):
        fetch.main(["thin"])
    with pytest.raises(UserError, match="no asset was named"):
        fetch.main([])


def test_the_module_runs_without_a_traceback(tmp_path):
    done = subprocess.run([sys.executable, "-m", "bench.fetch", "dpg_promts"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown asset 'dpg_promts' in NAME: did you mean 'dpg_prompts'?")
