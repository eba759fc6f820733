"""Whatever a config or a plugin says, generated code holds literals and known names only."""

import ast
import enum
import math
from typing import Any

import pytest

from forgather_convert import ConverterError
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.literals import annotation, literal
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project


class Kind(int, enum.Enum):
    ONE = 1


class Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "__import__('os').abort()"


class Number(float):
    def __repr__(self) -> str:
        return "__import__('os').abort()"


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**400,
    1e-06,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    "",
    'a"b',
    "a'b",
    "back\\slash",
    "\\",
    '"""',
    '\n"""\nimport os\n',
    "\r\n\t\0\x07\x1b[31m\x7f\x85",
    "\u2028\u2029",
    "\u202e reversed",
    "\ud800",
    "\udfff\ud83d",
    "\U0001f600 \U000e0001",
    "{{ family }} {% raw %}",
    "é",
    [],
    {},
    [[], {}, [None, [True, -0.5]]],
    {"a": {"b": [1, {"c": "\n"}]}, '"': '"'},
    ["x" * 30] * 10,
    {"k" * 50: "v" * 60, "\n": ["w" * 90, {"deep": ["z" * 99]}]},
    Kind.ONE,
    Text("text"),
    Number(0.5),
]


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_a_literal_is_the_value(value: Any) -> None:
    text = literal(value, indent=8, prefix=8)
    again = ast.literal_eval(text)
    assert again == value
    assert type(again) in (type(value), *type(value).__mro__)
    assert math.copysign(1, again) == math.copysign(1, value) if value == 0 else True
    assert all(char.isprintable() or char == "\n" for char in text)
    text.encode("utf-8")


def test_a_tuple_is_the_list_that_a_config_file_has() -> None:
    assert ast.literal_eval(literal(("a", (1,)), indent=8, prefix=8)) == ["a", [1]]


@pytest.mark.parametrize(
    "value",
    [math.nan, [math.nan], 10**5000, {1: 2}, {"a": {None: 1}}, object(), b"x", {1}, 1j, print],
    ids=lambda value: type(value).__name__,
)
def test_what_no_literal_says_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"it holds|keys|digits"):
        literal(value, indent=8, prefix=8)
    with pytest.raises(ConverterError, match="hyper-parameter 'strange'"):
        generate_code(Project("llama", {"strange": value}))


@pytest.mark.parametrize(
    ("value", "name"),
    [(True, "bool"), (1, "int"), (1.0, "float"), ("", "str"), (None, "Any"), ([], "Any")],
)
def test_an_annotation_is_a_built_in_type(value: Any, name: str) -> None:
    assert annotation(value) == name


def test_the_annotations_of_subclasses_are_their_bases() -> None:
    assert [annotation(value) for value in (Kind.ONE, Text("a"), Number(1))] == [
        "int",
        "str",
        "float",
    ]


def test_a_hostile_config_gives_no_other_code() -> None:
    """The generated class has these values and is, but for them, the one of harmless values."""
    config = {f"value_{number}": value for number, value in enumerate(VALUES)}
    config["rms_norm_eps"] = 1e-6
    hostile = generate_code(Project("llama", config))
    harmless = generate_code(Project("llama", {**dict.fromkeys(config), "rms_norm_eps": 1e-6}))
    shapes = []
    for code in (hostile, harmless):
        # The suffix of all files is a hash of their content.
        suffix = code.model_module.rpartition("_")[2]
        tree = ast.parse(code.files[f"{code.model_module}.py"].replace(suffix, "suffix"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.args.defaults = []
                for argument in node.args.args:
                    argument.annotation = None
        shapes.append(ast.dump(tree))
    assert shapes[0] == shapes[1]
    made = load_generated_code(hostile).config_class()
    for name, value in config.items():
        assert getattr(made, name) == value


MODEL_TYPES = [
    'x"\nimport os\n',
    '"""',
    "a\n",
    "../../etc/passwd",
    "/tmp/x",
    "a/b",
    "a\\",
    "a b",
    "",
    ".",
    "1a",
    "-a",
    "{{ x }}",
    "é",
    "a" * 200,
    "\x1b[31m",
    None,
    3,
]


@pytest.mark.parametrize("model_type", MODEL_TYPES, ids=ascii)
def test_a_model_type_is_a_plain_name(model_type: Any) -> None:
    with pytest.raises(ConverterError, match="cannot be the model type"):
        Project(model_type, {})


@pytest.mark.parametrize("model_type", ["xlm-roberta", "qwen2.5", "gpt_neox", "T5"])
def test_names_that_families_have_are_names_of_modules(model_type: str) -> None:
    code = generate_code(Project(model_type, {"rms_norm_eps": 1e-6}))
    assert code.model_module.isidentifier()
    assert load_generated_code(code).config_class.model_type.endswith(model_type)


def test_norms_have_an_epsilon_that_has_a_value() -> None:
    """Some config classes have two of the fields, and leave one of them null."""
    code = generate_code(Project("llama", {"rms_norm_eps": None, "layer_norm_eps": 1e-6}))
    assert "eps=config.layer_norm_eps" in code.files[f"{code.model_module}.py"]


FIELD_NAMES = [
    "a b",
    "a=1, b",
    "a: int = __import__('os').abort()",
    "class",
    "None",
    "1a",
    "",
    "_private",
    "__class__",
    "a\n",
    "é",
    "ﬁeld",
    3,
    "self",
    "kwargs",
    "super",
    "dict",
    "rope",
    "model_type",
    "base_model_tp_plan",
]


@pytest.mark.parametrize("name", FIELD_NAMES, ids=ascii)
def test_a_hyper_parameter_is_the_name_of_an_argument(name: Any) -> None:
    with pytest.raises(ConverterError, match="hyper-parameter"):
        generate_code(Project("llama", {name: 1}))
