"""Files of prompts as people have them: read rightly, or refused in one sentence that names file, line and remedy."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sources.manifest import read_prompt, read_records
from htgrpo.base.errors import UserError

OBJECT = '{"image": "a.png", "prompt": "a red cup"}'
ODD = "a\u2028b\u2029c\x85d\x0be\x0cf"
"""One prompt with every sign that str.splitlines takes for the end of a line."""


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    "name, data, expected",
    [
        ("p.jsonl", OBJECT, [("a.png", "a red cup")]),
        (
            "p.JSONL",
            OBJECT + "\r\n\r\n" + OBJECT.replace("a.", "b.") + "\r\n",
            [("a.png", "a red cup"), ("b.png", "a red cup")],
        ),
        ("p.ndjson", OBJECT, [("a.png", "a red cup")]),
        ("p.json", OBJECT + "\n" + OBJECT.replace("a.", "b."), [("a.png", "a red cup"), ("b.png", "a red cup")]),
        ("p.json", "[" + OBJECT + "]", [("a.png", "a red cup")]),
        ("p.Json", json.dumps([json.loads(OBJECT)], indent=2), [("a.png", "a red cup")]),
        ("p.json", '{"a.png": "a red cup", "b.JPG": "x"}', [("a.png", "a red cup"), ("b.JPG", "x")]),
        ("p.json", '["one", "two"]', [(None, "one"), (None, "two")]),
        ("p.csv", "image,prompt\na.png,a red cup\n", [("a.png", "a red cup")]),
        ("p.CSV", '\ufeffFile,Prompt\r\na.png,"one, ""two""\r\nthree"\r\n\r\n', [("a.png", 'one, "two"\nthree')]),
        ("p.csv", "prompt;image\na red, old cup;a.png\n", [("a.png", "a red, old cup")]),
        ("p.tsv", "file_name\tcaption\na.png\ta red, old cup\n", [("a.png", "a red, old cup")]),
        ("p.txt", "\ufeffone\n\n  two \r\n \t \n", [(None, "one"), (None, "two")]),
        ("p.TXT", f"{ODD}\nx", [(None, ODD), (None, "x")]),
        ("p.jsonl", json.dumps({"prompt": ODD}, ensure_ascii=False), [(None, ODD)]),
        ("p.jsonl", '{"prompt": " outer white space as in DPG-Bench \\n"}',
         [(None, " outer white space as in DPG-Bench \n")]),
        ("p.txt",
         '1girl, solo\n3.5 inch nails\n12 red, 3 blue cups\nIMG_1.jpg, a photo\ntext, a sign\n"To be", she said',
         [
             (None, p)
             for p in (
                 "1girl, solo",
                 "3.5 inch nails",
                 "12 red, 3 blue cups",
                 "IMG_1.jpg, a photo",
                 "text, a sign",
                 '"To be", she said',
             )
         ]),
        (
            "p.txt",
            '[a cat] in {braces}, "quoted"\n{cat|dog}',
            [(None, '[a cat] in {braces}, "quoted"'), (None, "{cat|dog}")],
        ),
    ],
)  # fmt: skip
def test_what_people_have_is_read(tmp_path, name, data, expected):
    records = read_records(written(tmp_path, name, data))
    assert [
        (record.values.get("image") or record.values.get("file") or record.values.get("file_name"), record.prompt)
        for record in records
    ] == expected


@pytest.mark.parametrize(
    "name, data, why",
    [
        ("p.txt", OBJECT, "line 1 of .*p.txt' looks like JSON"),
        ("p.txt", "a cat\n" + OBJECT, "line 2 of .* looks like JSON"),
        ("p.txt", "[" + OBJECT + "]", "looks like JSON"),
        ("p.txt", '{\n "prompt": "a"}', "looks like JSON"),
        ("p.txt", "image,prompt\na.png,a red cup", "looks like the head of a table .* call the file .csv"),
        ("p.txt", "image\tprompt\na.png\ta red cup", "call the file .tsv"),
        ("p.txt", "0.png,a red cup\n1.png,a dog",
         "2 of 2 lines .* a picture's name and a prompt .* save it as .csv, .tsv or .jsonl"),
        ("p.txt", "0.png\ta red cup\n1.png\ta dog", "a picture's name and a prompt"),
        ("p.txt", "1.png|a red cup", "a picture's name"),
        ("p.txt", "my pic 0.png, a cup\nmy pic 1.png, a dog", "a picture's name"),
        ("p.txt", "0.JPG: a cup\n1.jpg: b", "a picture's name"),
        ("p.txt", "a cup,0.png\na dog,1.png", "a picture's name"),
        ("p.txt", "('0.png', 'a cup')\n('1.png', 'b')", "a picture's name"),
        ("p.txt", "cat_0\ta cup\ncat_1\ta dog", "a row of a table"),
        ("p.txt", "0,a cup\n1,a dog", "a number and a prompt"),
        ("p.txt", "1. a red cup\n2. a dog", "a number and a prompt"),
        ("p.txt", "- a cup\n- a dog", "a part of a list"),
        ("p.txt", '"a cup",\n"a dog"\n"b",', "a part of a list"),
        ("p.txt", "prompt: a cup\nprompt: a dog", "a key and a value"),
        ("p.txt", "filename,text\nx,a\ny,b", "looks like the head of a table"),
        ("p.txt", "Prompt\na cup", "head of a table"),
        ("p.txt", "file_name|caption\nx|a", "head of a table"),
        ("p.txt", "{'prompt': 'a red cup'}", "line 1 .* a Python object .*.jsonl"),
        ("p.txt", "a cup\nNegative prompt: ugly", "line 2 .* settings of a program"),
        ("p.json", '{"model": "sdxl"}', 'has no "prompt"'),
        ("p.json", '{"text": "a red cup"}', 'has no "prompt"'),
        ("p.csv", "a.png,a red cup\n", "line 1 of .* does not name the columns"),
        ("p.csv", "prompt,prompt\na,b\n", "does not name the columns"),
        ("p.csv", "image,prompt\na.png,a red, old cup\n",
         "line 2 of .* has 3 cells for 2 columns: put quotation marks"),
        ("p.csv", "image,prompt\na.png\n", "line 2 of .* has 1 cells"),
        ("p.csv", 'image,prompt\na.png,"a red', "line 2 of .* is no line of a table"),
        ("p.csv", "image,prompt\na.png,\n", 'line 2 of .* has no "prompt"'),
        ("p.csv", 'image,prompt\na.png,"  "\n', 'has no "prompt"'),
        ("p.jsonl", OBJECT + '\n{"image": "b.png", "pro',
         "line 2 of .* is not JSON .* cut it off where the file was torn"),
        ("p.json", OBJECT + '\n{"image": "b.png", "pro', "line 2 of .* is not JSON"),
        ("p.json", "[" + OBJECT + ",", "is not JSON"),
        ("p.jsonl", OBJECT + OBJECT, "line 1 of .* is not JSON"),
        ("p.jsonl", "[" * 100_000, "line 1 of .* is not JSON"),
        ("p.json", "[" * 100_000 + "]" * 100_000, "is not JSON"),
        ("p.jsonl", '{"prompt": "a", "spec": ' + "[" * 40 + "]" * 40 + "}", "within each other"),
        ("p.jsonl", '{"prompt": ""}', 'line 1 of .* has no "prompt"'),
        ("p.jsonl", '{"prompt": " \\u2028"}', 'has no "prompt"'),
        ("p.jsonl", '{"prompt": 3}', 'has no "prompt"'),
        ("p.jsonl", '["a"]', "it is no object"),
        ("p.jsonl", '{"prompt": "a \\ud83d"}', "line 1 of .* half a character"),
        ("p.jsonl", '{"prompt": "a", "prompt": "b"}', "the key 'prompt' is there twice"),
        ("p.jsonl", '{"prompt": "a", "x": NaN}', "NaN is no number"),
        ("p.jsonl", '{"prompt": "a", "x": 1e999}', "JSON does not have"),
        ("p.jsonl", '{"prompt": "a", "x": ' + "1" * 5000 + "}", "is not JSON"),
        ("p.json", '{"a": {"prompt": "x"}}', 'has no "prompt"'),
        ("p.json", "3", "it is no object"),
        ("p.txt", b"caf\xe9\n", "UTF-8 text .line 1 holds the byte 0xe9.: save it as UTF-8"),
        ("p.txt", "a\nb".encode("utf-16"), "begins as UTF-16"),
        ("p.txt", b"ok\n\xed\xa0\x80", "line 2 holds the byte 0xed"),
        ("p.txt", "a\nb\0c", "line 2 of .* holds a NUL byte"),
        ("p.txt", "a\rb", "line 1 of .* carriage return"),
        ("p.txt", "a\n\ufeffb", "line 2 of .* byte-order mark"),
        ("p.txt", "", "holds no prompts"),
        ("p.txt", " \n\t\n", "holds no prompts"),
        ("p.csv", "image,prompt\n", "holds no prompts"),
        ("p.json", "[]", "holds no prompts"),
        ("p.yaml", "a", "not from '.*p.yaml'"),
        ("p", "a", "not from '.*p'"),
    ],
)  # fmt: skip
def test_everything_else_is_one_sentence(tmp_path, name, data, why):
    with pytest.raises(UserError, match=why) as caught:
        read_records(written(tmp_path, name, data))
    assert "\n" not in caught.value.message and name in caught.value.message


def test_what_cannot_be_opened_is_one_sentence(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    for name in ("none.txt", "folder.txt"):
        with pytest.raises(UserError, match="cannot be read"):
            read_records(tmp_path / name)


def test_a_file_of_one_prompt(tmp_path):
    assert read_prompt(written(tmp_path, "a.txt", "\ufeff two\r\nlines \n")) == "two\nlines"
    assert read_prompt(written(tmp_path, "a.json", '{"prompt": "x", "seed": 3}')) == "x"
    for name, data, why in (
        ("b.txt", " \n", "is empty"),
        ("b.txt", OBJECT, "looks like JSON"),
        ("b.txt", b"\xe9", "UTF-8"),
        ("b.json", '{"model": "sdxl"}', 'has no "prompt"'),
        ("b.json", '{"seed": "42"}', 'has no "prompt"'),
        ("b.json", '{"a.png": "x"}', 'has no "prompt"'),
        ("b.txt", "a\nSteps: 20, Sampler: x", "settings"),
        ("b.json", '["a", "b"]', "2 prompts for one picture"),
    ):
        with pytest.raises(UserError, match=why):
            read_prompt(written(tmp_path, name, data))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), min_size=1, max_size=30).filter(
    str.strip
)


@given(st.lists(texts, min_size=1, max_size=8))
def test_every_prompt_comes_back_from_every_format(tmp_path_factory, prompts):
    folder = tmp_path_factory.mktemp("formats")
    rows = [{"image": f"{number}.png", "prompt": prompt} for number, prompt in enumerate(prompts)]
    for ending, delimiter in ((".csv", ","), (".tsv", "\t")):
        stream = io.StringIO(newline="")
        table = csv.DictWriter(stream, ["image", "prompt"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
        table.writeheader()
        table.writerows(rows)
        written(folder, "p" + ending, stream.getvalue())
    written(folder, "p.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    written(folder, "p.json", json.dumps(rows))
    written(folder, "q.json", json.dumps({row["image"]: row["prompt"] for row in rows}))
    for name in ("p.csv", "p.tsv", "p.jsonl", "p.json", "q.json"):
        records = read_records(folder / name)
        assert [(record.values["image"], record.prompt) for record in records] == [
            (row["image"], row["prompt"]) for row in rows
        ]


@given(st.binary(max_size=200), st.sampled_from([".txt", ".jsonl", ".json", ".csv", ".tsv"]))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, data, ending):
    try:
        records = read_records(written(tmp_path_factory.mktemp("bytes"), "p" + ending, data))
    except UserError as error:
        assert "\n" not in error.message
    else:
        assert all(record.prompt.strip() for record in records)


def test_the_official_lists_are_read_as_they_are(assets):
    """DPG-Bench's prompts begin or end with white space here and there; GenEval's come as objects and as lines."""
    dpg = read_records(assets / "dpg_bench/prompts.jsonl")
    assert len(dpg) == 1065 and sum(record.prompt != record.prompt.strip() for record in dpg) == 2
    objects, lines = (
        read_records(assets / "geneval" / name) for name in ("evaluation_metadata.jsonl", "generation_prompts.txt")
    )
    assert len(objects) == 553 and [one.prompt for one in objects] == [one.prompt for one in lines]
