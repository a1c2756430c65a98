"""docs/commands.md."""

from dataclasses import replace

from panicdoor.commands.fields import KINDS
from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.documentation.data import ARGUMENT_KEYS, COMMAND_KEYS, DOOR_KEYS, FIELD_KEYS
from panicdoor.documentation.markdown import markdown


def test_every_command_and_every_argument() -> None:
    text = markdown(COMMANDS)
    assert text.startswith("<!-- Made by `panicdoor docs`")
    assert "## Public: anyone, without a key" in text
    for command in COMMANDS.values():
        assert f"### `{command.usage}`\n\n{command.summary}\n" in text
        for argument in command.arguments:
            assert f"| `{argument.shown}` | {argument.about} |" in text
        for field in command.fields:
            assert f"| `{field.path}` | {field.kind}: " in text
        for example in command.examples:
            assert f"> {example.line}\n{example.output}\n```" in text


def test_the_json_is_documented() -> None:
    text = markdown(COMMANDS)
    for key, about in (*DOOR_KEYS, *COMMAND_KEYS, *ARGUMENT_KEYS, *FIELD_KEYS, *KINDS.items()):
        assert f"| `{key}` | " in text
        assert about.split()[0] in text


def test_undo_root_and_special_characters() -> None:
    kill = replace(
        COMMANDS["ping"],
        name="kill",
        level=Level.DEFEND,
        undo="thaw",
        makes_root=True,
        manual=("a_b *c* <d> | e", "    code_here"),
    )
    text = markdown({"kill": kill})
    assert "## Defend: lock, cut off, reboot" in text
    assert "Undo: `thaw`" in text
    assert "can become root" in text
    assert "a\\_b \\*c\\* \\<d\\> \\| e" in text
    assert "\n    code_here\n" in text
