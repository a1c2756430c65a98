"""panicdoor: an emergency door into a machine, which explains itself to whoever connects."""

__version__ = "0.1.0"
