"""What the door can do: the registry, and one file for each subject, which fills it on import."""

from panicdoor.commands import public  # noqa: F401 - whoever imports any command has them all
