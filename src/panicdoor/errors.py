"""The four errors, told apart by whose fault they are.

Anything else that is raised is a bug: it is recorded, the one connection it happened on is
dropped, and the door goes on.
"""


class PanicdoorError(Exception):
    """What the four have in common: a sentence that may be shown to whoever is at fault."""


class ProtocolError(PanicdoorError):
    """The peer sent what its protocol does not allow."""


class CommandError(PanicdoorError):
    """The operator asked for something that cannot be done as asked."""


class OrderError(PanicdoorError):
    """The signer's order is not one that this door can act on."""


class ConfigError(PanicdoorError):
    """The installer's files are wrong; the sentence names file, key and what was expected."""
