"""Published hyperparameters are a kind of run of their own, and every entry is one that its method takes."""

from bench.ask.asked import from_arguments
from bench.ask.presets import published, read
from bench.ask.request import PUBLISHED, SHARED_BY_ALL
from bench.compare import parser
from bench.run.config import levels, titles
from htgrpo.base.registry import METHODS


def asked(*flags):
    """What a command line of bench.compare asks for."""
    return from_arguments(parser().parse_args([*flags, "--dry-run"]))


def test_a_run_has_one_kind():
    shared, own = asked("--methods", "all"), asked("--methods", "all", "--hyperparameters", "published")
    assert shared.request.hyperparameters == SHARED_BY_ALL and own.request.hyperparameters == PUBLISHED
    assert shared.folder != own.folder
    for method in shared.request.methods:
        one, two = shared.request.train[method], own.request.train[method]
        changed = {name for name in one if one[name] != two[name] and name != "method_options"}
        changed |= {n for n in two["method_options"] if two["method_options"][n] != one["method_options"].get(n)}
        assert changed <= set(published(method))
        assert one["lr"] == two["lr"] and one["group_size"] == two["group_size"]
    assert (
        own.request.train["d1"]["clip"] == 0.5
        and own.request.train["d1"]["method_options"]["updates_per_rollout"] == 12
    )


def test_only_registered_methods_have_published_hyperparameters():
    assert set(read("published")["methods"]) <= set(METHODS.names())
    assert published("ht") == {} and read("published")["about"]


def test_what_is_set_wins_over_what_is_published():
    request = asked("--methods", "d1", "--hyperparameters", "published", "--set", "d1.clip=0.1").request
    assert request.train["d1"]["clip"] == 0.1 and request.train["d1"]["beta"] == 0.04


def test_the_record_says_which_kind_and_which_level():
    own = asked("--methods", "egspo,ht,pretrain", "--hyperparameters", "published").request
    assert titles(own)["egspo"].endswith(", published hyperparameters")
    assert levels(own) == {"egspo": "image, product", "ht": "token"}
    shared = asked("--methods", "egspo,wd1").request
    assert "published" not in str(titles(shared)) and levels(shared) == {"egspo": "image", "wd1": "none"}


def test_every_method_can_be_tuned():
    choices = read("tune")["own_choice"]
    assert set(choices) == set(METHODS.names())
