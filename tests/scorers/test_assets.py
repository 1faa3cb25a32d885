"""Assets: pinned by content, found in a folder or the cache, made out of upstream's files."""

import io
import json
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench import fetch
from bench.sources import assets, extract
from bench.sources import assets as module
from htgrpo.base.errors import UserError
from tests.scorers.made_assets import entry, git_blob, put, serving, sha256, source, use

pytestmark = pytest.mark.usefixtures("place")
TEXT = "first line\nzweite Zeile ä\n".encode()


# --- the manifest ---


def test_every_asset_is_pinned_and_explained():
    found = assets.manifest()
    assert {"geneval_metadata", "geneval_classes", "dpg_prompts", "dpg_questions", "scorer_prompts"} <= set(found)
    for one in found.values():
        if not one.digest:
            assert not one.sources and one.recipe["reason"]
            continue
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|git-blob:[0-9a-f]{40}|sha256:743b7d99", one.digest), one.name
        assert one.licence and one.what and one.upstream and one.sources
        assert not Path(one.file).is_absolute() and ".." not in one.file
        for part in one.sources.values():
            assert part.url.startswith("https://")
            pinned = part.digest or re.search(r"/[0-9a-f]{40}(/|$)", part.url)
            assert pinned, f"{part.url} is pinned neither by content nor by commit"


def test_no_benchmark_text_is_in_the_manifest():
    text = (Path(assets.__file__).parent / "assets.json").read_text("utf-8")
    assert len(text) < 20_000 and "photo of" not in text and "Evaluate" not in text


# --- looking assets up ---


def test_a_missing_asset_names_the_command(monkeypatch):
    use(monkeypatch, entry("thing", "some/thing.txt", sha256(TEXT)))
    with pytest.raises(UserError, match=r"python -m bench.fetch thing.*HTGRPO_ASSETS.*some/thing.txt"):
        assets.asset("thing")


def test_an_asset_that_nobody_pins_comes_from_the_users_folder_only(monkeypatch, place, tmp_path):
    """Neither fetched nor taken from the cache; whatever the user has there is used."""
    use(monkeypatch, entry("thing", "some/thing.txt", "", reason="nobody publishes its digest"))
    (place / "some").mkdir(parents=True)
    (place / "some" / "thing.txt").write_bytes(TEXT)
    for asked in (lambda: assets.asset("thing"), lambda: fetch.fetch(assets.named("thing"))):
        with pytest.raises(UserError, match="cannot be fetched: nobody publishes its digest; put it as some/thing.txt"):
            asked()
    (tmp_path / "own" / "some").mkdir(parents=True)
    (tmp_path / "own" / "some" / "thing.txt").write_bytes(b"mine")
    monkeypatch.setenv(assets.FOLDER, str(tmp_path / "own"))
    assert assets.asset("thing").read_bytes() == b"mine"


def test_an_unknown_asset_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'dpg_prompts'"):
        assets.asset("dpg_promts")


def test_the_folder_comes_before_the_cache(monkeypatch, tmp_path, place):
    put(monkeypatch, tmp_path, thing=TEXT)
    place.mkdir(parents=True)
    (place / "thing.file").write_bytes(TEXT)
    assert assets.asset("thing") == tmp_path / "thing.file"
    monkeypatch.delenv(assets.FOLDER)
    assert assets.asset("thing") == place / "thing.file"


def test_another_file_of_that_name_is_refused_in_the_folder_and_ignored_in_the_cache(monkeypatch, tmp_path, place):
    put(monkeypatch, tmp_path, thing=TEXT)
    assert assets.asset("thing").read_bytes() == TEXT
    (tmp_path / "thing.file").write_bytes(TEXT + b"!")
    with pytest.raises(UserError, match="is not the published file"):
        assets.asset("thing")
    monkeypatch.delenv(assets.FOLDER)
    place.mkdir(parents=True)
    (place / "thing.file").write_bytes(TEXT + b"!")
    with pytest.raises(UserError, match="not on this machine"):
        assets.asset("thing")


def test_content_is_known_by_sha256_its_start_or_gits_name(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    named = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert git_blob(TEXT) == f"git-blob:{named}"
    for digest in (sha256(TEXT), sha256(TEXT)[:15], git_blob(TEXT)):
        assert assets.has_content(path, digest)
    for digest in (sha256(b"other"), sha256(b"other")[:15], git_blob(b"other")):
        assert not assets.has_content(path, digest)


@pytest.mark.parametrize("name", ["geneval_metadata", "geneval_classes", "dpg_prompts", "scorer_prompts"])
def test_the_official_files_are_the_pinned_ones(assets, name, monkeypatch):
    monkeypatch.setenv(module.FOLDER, str(assets))
    path = module.asset(name)
    assert path == assets / module.named(name).file


# --- what is made of upstream's files ---


def archive(**members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_txt", ".txt"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def use_texts(monkeypatch, address, wanted):
    """The only asset is made of an archive's texts, and pinned by the bytes that are wanted."""
    sources = {"archive": source(f"{address}/tar")}
    use(monkeypatch, entry("texts", "texts.jsonl", sha256(wanted), sources, "texts", member="texts/*.txt"))


def test_texts_of_an_archive_become_lines_in_order_of_name(monkeypatch, place):
    tar = archive(
        top__texts__b_txt="zwei ä\n".encode(),
        top__texts__10_txt=b"ten",
        top__texts__2_txt=b"two",
        top__other_txt=b"no",
        texts__c_txt=b"not below the top folder",
    )
    expected = '{"id": "10", "prompt": "ten"}\n{"id": "2", "prompt": "two"}\n{"id": "b", "prompt": "zwei ä\\n"}\n'
    with serving({"/tar": tar}) as (address, _):
        use_texts(monkeypatch, address, expected.encode())
        assert fetch.main(["texts"]) == 0
    assert (place / "texts.jsonl").read_text("utf-8") == expected


def test_an_archive_with_other_texts_is_not_kept(monkeypatch, place, capsys):
    with serving({"/tar": archive(top__texts__a_txt=b"changed")}) as (address, _):
        use_texts(monkeypatch, address, b"as published")
        assert fetch.main(["texts"]) == 2
    assert "not the pinned content" in capsys.readouterr().err and list(place.iterdir()) == []


def test_hostile_and_broken_archives_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "MOST_BYTES", 10)
    for data, reason in (
        (archive(top__texts__a_txt=b"x" * 11), "11 bytes"),
        (b"no archive", "cannot be read"),
        (archive(top__texts__a_txt=b"fine")[:60], "cannot be read"),
        (archive(top__texts__a_txt=b"\xff\xfe"), "cannot be read"),
    ):
        (tmp_path / "tar").write_bytes(data)
        with pytest.raises(UserError, match=reason):
            extract.pack_texts(tmp_path / "tar", "texts/*.txt")


CODE = 'WORDS = ["a", "b"]\n\ndef f(x):\n    """Docs."""\n    return f"say {x} and {{c}} to {x.name}" + """\n  two\nlines"""\n'


def leaf(text, **more):
    return {"from": "code", "sha256": sha256(text.encode()).removeprefix("sha256:")[:12], **more}


def test_strings_are_found_in_code_by_their_digest(monkeypatch, place, tmp_path):
    recipe = {
        "formatted": leaf("say {x} and {c} to {x.name}", replace=["{c}", "{colour}"]),
        "lines": leaf("\n  two\nlines"),
        "list": {"list": [leaf("a"), leaf("b")]},
        "map": {"map": {"one": leaf("a")}},
        "joined": {"join": [leaf("a"), "{gap}", leaf("b")]},
    }
    made = {
        "formatted": "say {x} and {colour} to {x.name}", "lines": "\n  two\nlines", "list": ["a", "b"],
        "map": {"one": "a"}, "joined": "a{gap}b",
    }  # fmt: skip
    text = json.dumps(made, indent=1, ensure_ascii=False).encode()
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("package/code.py", CODE)
    with serving({"/code.py": CODE.encode(), "/wheel": wheel.getvalue()}) as (address, _):
        for url, data, member in (("code.py", CODE.encode(), ""), ("wheel", wheel.getvalue(), "package/code.py")):
            sources = {"code": source(f"{address}/{url}", sha256(data), member)}
            use(monkeypatch, entry("strings", f"{url}.json", sha256(text), sources, "strings", strings=recipe))
            assert fetch.main(["strings"]) == 0
            assert json.loads((place / f"{url}.json").read_text("utf-8")) == made
    with pytest.raises(UserError, match="not the pinned version"):
        extract.find_strings({"code": "x = 'other'"}, recipe)
    assert (place / "code.py.json").is_file()


def test_nothing_that_was_downloaded_is_run(tmp_path):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\nWORD = 'a'\n"
    assert extract.find_strings({"code": trap}, {"word": leaf("a")}) == '{\n "word": "a"\n}'
    assert not (tmp_path / "ran").exists()
