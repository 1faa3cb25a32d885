"""Typed records: what a file of a run may not hold is told with its name and value."""

import json

import pytest

from htgrpo.base.errors import UserError
from htgrpo.base.records import PictureMeta, Record, VerdictMeta, fault, records
from htgrpo.base.run_config import read_config

RECORD = {"prompt_id": "p", "sample": 0, "category": "c", "status": "ok", "score": 1}


@pytest.mark.parametrize(("change", "told"), [
    ({}, ""), ({"score": None}, ""), ({"more": [1]}, ""), ({"sample": True}, "sample is True (expected int, got bool)"),
    ({"sample": 1.5}, "sample is 1.5"), ({"score": "1"}, "score is '1'"), ({"score": float("nan")}, "score is nan"),
    ({"score": float("inf")}, "score is inf"), ({"evidence": []}, "evidence is []"), ({"category": None}, "category is None"),
])  # fmt: skip
def test_a_record_is_what_its_type_says(change, told):
    found = fault({**RECORD, **change}, Record)
    assert found.startswith(told) if told else found == ""


def test_what_is_missing_is_named_with_its_place():
    assert fault({}, PictureMeta).startswith("lacks ")
    assert fault({key: value for key, value in RECORD.items() if key != "status"}, Record) == "lacks status"
    assert "expected object" in fault(3, VerdictMeta)


@pytest.mark.parametrize(("config", "told"), [
    ('{"train": {"ht": {"lr": NaN}}}', "train.ht.lr is nan"), ('{"settings": {"main": {"guidance": 1e999}}}', "guidance is inf"),
    ('{"seeds": [0, true]}', "seeds[1] is True"), ('{"choices": {"world": ""}}', "lacks choices."),
])  # fmt: skip
def test_a_configuration_holds_numbers_that_are_some(config, told, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match="restore it, or start again with --overwrite") as error:
        read_config(tmp_path / "config.json")
    assert told in error.value.message


def test_a_line_is_named_by_its_number(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    path.write_text(json.dumps(RECORD) + "\n" + json.dumps({**RECORD, "sample": "x"}) + "\n")
    with pytest.raises(UserError, match="line 2 of .*sample is 'x'"):
        records(path, Record)
