"""Which picture is judged under which prompt: numbers in names count as numbers, and a guess is refused with both sides
shown."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.given.layouts import read
from bench.given.names import natural, unordered
from bench.given.pairing import assigned, items, own_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from tests.bench.pairings import lines, made, paired, rows
from tests.bench.test_given import save

TWELVE = [f"prompt {number}" for number in range(12)]


@pytest.mark.parametrize(
    "pattern",
    ["{}.png", "img_{}.png", "sample-{}-seed0.jpg", "v2_{:04d}.webp", "deep/{}.tiff", "é {} b.GIF", "{}.0.png"],
)
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_in_names_count_as_numbers(tmp_path, pattern, first):
    folder = tmp_path / "in"
    names = [pattern.format(number + first) for number in range(12)]
    made(folder, *reversed(names))
    assert paired(folder, lines(folder, *TWELVE), "flat") == list(zip(names, TWELVE))


@pytest.mark.parametrize(
    "names, why",
    [
        (["0.png", "1.png", "3.png"], "gap after 1"),
        (["2.png", "3.png", "4.png"], "begin with 2"),
        (["img_0_seed0.png", "img_1_seed1.png", "img_2_seed2.png"], "2 numbers vary"),
        (["img_0_seed0.png", "img_0_seed1.png", "img_1_seed0.png"], "2 numbers vary"),
        (["0/0.png", "0/1.png", "1/0.png"], "2 numbers vary"),
        (["1.png", "01.png", "2.png"], "two names have the number 1"),
        (["1.png", "1.jpg", "2.png"], "two names have the number 1"),
        (["cat.png", "dog.png", "owl.png"], "not the same but for one number"),
        (["img_0.png", "img_1.png", "sample_2.png"], "not the same but for one number"),
        (["0.png", "1.png"], "2 pictures and 3 prompts"),
        (["0.png", "1.png", "2.png", "3.png"], "4 pictures and 3 prompts"),
    ],
)
def test_a_guess_is_refused_with_both_sides_and_the_remedy(tmp_path, names, why):
    folder = made(tmp_path / "in", *names)
    with pytest.raises(UserError, match=f"is a guess, since .*{why}") as caught:
        read(folder, "flat", lines(folder, "first", "second", "third"), None)
    for part in (
        "'first' … 'third'", '{"image": "a.png", "prompt": "a red cup"}', str(folder), "p.txt",
        names[0].split(".")[0],
    ):  # fmt: skip
        assert part in caught.value.message


@given(
    st.lists(st.integers(0, 10**30), unique=True, min_size=1, max_size=20),
    st.sampled_from(["{}", "a{}", "a{}b", "0x{}-7"]),
)
def test_natural_order_is_the_order_of_numbers(numbers, pattern):
    assert sorted([pattern.format(n) for n in numbers], key=natural) == [pattern.format(n) for n in sorted(numbers)]


@given(st.lists(st.text(min_size=1, max_size=6) | st.sampled_from(["٣", "1٣", "٣1", "1"]), max_size=12))
def test_any_names_have_one_order(names):
    assert sorted(names, key=natural) == sorted(reversed(names), key=natural)
    assert isinstance(unordered(names), str) if names else True


def test_rows_name_pictures(tmp_path):
    folder = made(tmp_path / "in", "b.png", "a.png", "sub/c d.png", "spare.png")
    absolute = str(folder / "a.png")
    prompts = rows(
        folder,
        {"image": "b.png", "prompt": "B"},
        {"image": absolute, "prompt": "A"},
        {"image": "./sub/../sub/c d.png", "prompt": "C"},
    )
    found = read(folder, "auto", prompts, None)
    assert [(p.file.name, p.text) for p in found.pictures] == [("b.png", "B"), ("a.png", "A"), ("c d.png", "C")]
    assert found.notes == ["left out: 1 (spare.png), each named by no prompt in p.jsonl"]
    beside = rows(folder, {"image": "in/b.png", "prompt": "B"})  # named from where the file of prompts lies
    assert paired(folder, beside) == [("b.png", "B")]


@pytest.mark.parametrize(
    "records, why",
    [
        ([{"image": "none.png", "prompt": "x"}], "line 1 of .* names the picture 'none.png', which is not in"),
        ([{"image": "../out.png", "prompt": "x"}], "not in"),
        ([{"image": "/etc/passwd", "prompt": "x"}], "not in"),
        ([{"image": "a.png", "prompt": "x"}, {"image": "./a.png", "prompt": "y"}], "line 2 of .* as line 1 of .* does"),
        ([{"image": "a.png", "prompt": "x"}, {"prompt": "y"}], "line 2 of .* has no 'image', but 1 of 2 prompts"),
        ([{"image": "sub", "prompt": "x"}], "not in"),
        ([{"image": ["a.png"], "prompt": "x"}], "has the image"),
        ([{"id": "a", "prompt": "x"}, {"id": "zz", "prompt": "y"}], "1 of 2 prompts .* have no picture .*zz"),
        ([{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "x"}], "line 2 of .* has the id 'a', as line 1"),
        ([{"id": "b", "prompt": "x"}], "has none of the ids"),
        (
            [{"image": "a.png", "prompt": "x", "id": 1}, {"image": "sub/b.png", "prompt": "y", "id": 1}],
            "stands for two prompts",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, records, why):
    folder = made(tmp_path / "in", "a.png", *(["sub/b.png"] if "image" in records[0] else []))
    save(tmp_path / "out.png")
    with pytest.raises(UserError, match=why):
        own_prompts(read(folder, "flat", rows(folder, *records), None).pictures)


def test_ids_stand_in_names(tmp_path):
    records = [{"id": 1, "prompt": "one"}, {"id": "2", "prompt": "two"}]
    folder = made(tmp_path / "in", "0001_0.png", "0001_1.png", "0002_10.png", "0002_2.png")
    found = read(folder, "auto", rows(folder, *records), None).pictures
    assert [(p.file.name, p.prompt) for p in found] == [
        ("0001_0.png", "1"), ("0001_1.png", "1"), ("0002_2.png", "2"), ("0002_10.png", "2"),
    ]  # fmt: skip
    assert [(key, p.file.name) for key, p in assigned(found, own_prompts(found), "given").items()][-1] == (
        ("2", 1),
        "0002_10.png",
    )
    other = made(tmp_path / "other", "2/x.png", "1/x.png")
    assert paired(other, rows(other, *records)) == [("1/x.png", "one"), ("2/x.png", "two")]


def test_an_id_that_may_be_another_with_a_number_is_refused(tmp_path):
    records = [{"id": "cat", "prompt": "a cat"}, {"id": "cat_1", "prompt": "one cat"}]
    for name, pictures in (("one", ["cat_0.png", "cat_1.png"]), ("two", ["cat.png", "cat_1.png", "cat_1_0.png"])):
        folder = made(tmp_path / name, *pictures)
        with pytest.raises(
            UserError,
            match="cat_1.png' may be the picture of the id 'cat_1' .'one cat'. or one of several of "
            "'cat' .'a cat'. .*name every picture",
        ):
            read(folder, "auto", rows(folder, *records), None)
    for name, pictures in (
        ("exact", ["cat.png", "cat_1.png"]),
        ("longer", ["cat_2.png", "cat_1_0.png"]),
        ("folders", ["cat/0.png", "cat_1/0.png"]),
    ):
        folder = made(tmp_path / name, *pictures)
        assert sorted(text for _, text in paired(folder, rows(folder, *records))) == ["a cat", "one cat"]


@pytest.mark.parametrize(
    "names",
    [
        ["-1.png", "-2.png"], ["x/-1.png", "x/-2.png"], ["a_-0.png", "a_-1.png"], ["g=-0.png", "g=-1.png"],
        ["\u22121.png", "\u22122.png"],
    ],
)  # fmt: skip
def test_a_number_that_may_be_below_zero_says_no_order(tmp_path, names):
    folder = made(tmp_path / "in", *names)
    with pytest.raises(UserError, match="is a guess, since the number in .* may be below zero"):
        read(folder, "flat", lines(folder, "a", "b"), None)


@pytest.mark.parametrize(
    "pattern", ["seed{}", "Seed_{}", "run-{}", "x/step {}", "sample{}", "batch_{}", "ckpt-{}", "epochs{}"]
)
@pytest.mark.parametrize("each", [1, 2])
def test_folders_of_seeds_are_no_folders_of_prompts(tmp_path, pattern, each):
    folder = made(tmp_path / "in", *(f"{pattern.format(n)}/{k}.png" for n in range(3) for k in range(each)))
    prompts = lines(folder, "a", "b", "c")
    with pytest.raises(UserError, match="count seeds, samples or steps .* 3 prompts .*--layout folders if each"):
        read(folder, "auto", prompts, None)
    if "/" not in pattern:
        assert [text for _, text in paired(folder, prompts, "folders")] == [text for text in "abc" for _ in range(each)]
    named = rows(folder, *({"image": str(path), "prompt": "x"} for path in sorted(folder.rglob("*.png"))))
    assert len(paired(folder, named)) == 3 * each


def test_pictures_called_by_their_seeds_say_no_prompt(tmp_path):
    folder = made(tmp_path / "in", "cat_seed0.png", "cat_seed1.png")
    with pytest.raises(UserError, match="count seeds or steps, and not the 2 prompts"):
        read(folder, "flat", lines(folder, "a", "b"), None)


def test_prompts_beside_pictures(tmp_path):
    folder = made(tmp_path / "in", "x.png", "y.JPG", "z.png")
    for name, text in (("x.txt", "\ufeffone \n"), ("y.json", '{"prompt": "two"}'), ("z.png.TXT", "three")):
        (folder / name).write_text(text, "utf-8")
    assert paired(folder, None) == [("x.png", "one"), ("y.JPG", "two"), ("z.png", "three")]
    (folder / "spare.txt").write_text("x")
    assert read(folder, "auto", None, None).notes == ["left out: 1 (spare.txt), each a text beside no picture"]
    (folder / "x.json").write_text('{"prompt": "other"}')
    with pytest.raises(UserError, match="2 files with its prompt beside it"):
        read(folder, "auto", None, None)
    (folder / "x.json").unlink()
    save(folder / "x.webp")
    with pytest.raises(UserError, match="'x.png' and 'x.webp' in .* share the prompt"):
        read(folder, "auto", None, None)
    (folder / "x.webp").rename(folder / "w.webp")
    with pytest.raises(UserError, match="w.webp' has 0 files with its prompt beside it"):
        read(folder, "auto", None, None)
    (folder / "w.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="save it as UTF-8"):
        read(folder, "auto", None, None)


def test_a_folder_for_each_prompt(tmp_path):
    folder = made(tmp_path / "in", "10/0.png", "10/1.png", "2/0.png", "2/1.png", "2/grid.png")
    for name in ("2", "10"):
        (folder / name / "prompt.txt").write_text(f"prompt {name}\n")
    found = read(folder, "auto", None, None)
    assert found.layout == "folders" and [(p.prompt, p.file.name, p.text) for p in found.pictures] == [
        ("2", "0.png", "prompt 2"),
        ("2", "1.png", "prompt 2"),
        ("10", "0.png", "prompt 10"),
        ("10", "1.png", "prompt 10"),
    ]
    assert found.notes == ["left out: 1 (2/grid.png), each a grid of the pictures beside it"]
    other = made(tmp_path / "other", *(f"p{number}/{sample}.png" for number in range(11) for sample in (1, 2)))
    assert paired(other, lines(other, *TWELVE[:11]))[-1] == ("p10/2.png", "prompt 10")
    with pytest.raises(UserError, match="11 folders in .* is a guess"):
        read(other, "folders", lines(other, *TWELVE), None)
    (folder / "2/prompt.txt").unlink()
    with pytest.raises(UserError, match="holds no prompt"):
        read(folder, "folders", None, None)


def test_every_file_is_judged_or_named_with_the_reason(tmp_path):
    folder = tmp_path / "in"
    made(
        folder, "00000/samples/0000.png", "00000/samples/0001.jpg", "00000/samples/0002.tiff",
        "00000/samples/0003.GIF", "00000/samples/best.png", "00000/grid.png", "sheet.png",
    )  # fmt: skip
    for name in (
        "00000/samples/0001.png.tmp", "Thumbs.db", ".DS_Store", "notes.doc", ".hidden/0.png", "00000/metadata.jsonl",
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"prompt": "x"}')
    found = read(folder, "auto", None, None)
    assert [p.file.name for p in found.pictures] == ["0000.png", "0001.jpg", "0002.tiff", "0003.GIF"]
    assert found.notes == [
        "left out: 2 (00000/grid.png, sheet.png), each a picture, but outside NUMBER/samples/",
        "left out: 2 (00000/samples/0001.png.tmp, notes.doc), each no picture by its ending",
        "left out: 1 (00000/samples/best.png), each among samples, but its name is no number",
        "left out: 3 hidden or of the system (.DS_Store, .hidden/0.png, Thumbs.db)",
    ]
    save(folder / "00000/samples/01.png")
    with pytest.raises(UserError, match="'00000/samples/0001.jpg' and '00000/samples/01.png' .* are both '1'"):
        read(folder, "auto", None, None)


def test_folders_behind_links_and_names_that_are_no_text(tmp_path):
    made(tmp_path / "elsewhere", "0.png", "1.png")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/again").symlink_to(folder)
    assert paired(folder, lines(folder, "a", "b"), "flat") == [("sub/0.png", "a"), ("sub/1.png", "b")]
    (folder / "caf\udce9.png").write_bytes(b"")
    with pytest.raises(UserError, match="no UTF-8 text: rename it"):
        read(folder, "flat", None, None)


def test_official_prompts_are_known_whatever_white_space_is_around_them(tmp_path):
    """DPG-Bench has a prompt that begins with a blank and one that ends with a line break."""
    official = [Prompt("countbench4", "A comic.\n", "dense", {}), Prompt("diffusiondb25", " an e", "dense", {})]
    folder = made(tmp_path / "in", "countbench4.png", "diffusiondb25.png")
    for prompt in official:
        (folder / f"{prompt.id}.txt").write_text(prompt.text)
    found = read(folder, "auto", None, None).pictures
    assert {key[0]: p.file.stem for key, p in assigned(found, official, "dpg").items()} == {
        p.id: p.id for p in official
    }
    verbatim = rows(folder, *({"image": f"{p.id}.png", "prompt": p.text} for p in official))
    assert [p.text for p in own_prompts(read(folder, "auto", verbatim, None).pictures)] == [p.text for p in official]
    double = [*official, Prompt("other", "an e ", "dense", {})]
    with pytest.raises(UserError, match="diffusiondb25, other of dpg all say"):
        assigned(found, double, "dpg")


def test_a_prompt_that_is_listed_twice_is_two_prompts(tmp_path):
    folder = made(tmp_path / "in", *(f"{number}.png" for number in range(5)))
    found = read(folder, "auto", lines(folder, "a", "b", "a", "c", "d"), None).pictures
    assert [p.id for p in items(found)] == [f"{number:05d}" for number in range(5)]
    assert list(assigned(found, own_prompts(found), "given")) == [(f"{number:05d}", 0) for number in range(5)]
    twice = rows(folder, *({"image": f"{n}.png", "prompt": "x", "id": n // 2} for n in range(4)))
    assert [p.id for p in items(read(folder, "auto", twice, None).pictures)] == ["0", "0", "1", "1"]


def test_what_is_wrong_with_a_folder_is_told_before_torch_is_loaded(tmp_path):
    folder = made(tmp_path / "in", "0.png", "2.png")
    prompts = str(lines(folder, "a", "b"))
    argv = ["--images", str(folder), "--prompts", prompts, "--benchmarks", "clip", "--out", str(tmp_path / "run")]
    code = f"import sys; from bench.score import main\ntry: main({argv})\nexcept Exception as e: print('torch' in sys.modules, e)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("False which of the 2 pictures")
