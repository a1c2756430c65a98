"""A spare: a blank process, forked in advance, that can take any place when fork(2) has failed.

It holds every descriptor of the door but the supervisor's, has read no secret, and knows nothing
but the wire by which it is told what to become. Without a supervisor nobody can tell it: it ends.
"""

import os
import select

from panicdoor.messages import Become
from panicdoor.processes.place import World, close_all
from panicdoor.processes.wires import Wire
from panicdoor.roles import SUPERVISOR


def wait(name: str, world: World) -> Become:
    """Wait as the spare `name`, and return what it is to become."""
    close_all(world.gaps[name])
    wire = Wire(name, SUPERVISOR, world.holdings.wires[name, SUPERVISOR])
    poll = select.poll()
    poll.register(wire.fileno(), select.POLLIN)
    while True:
        poll.poll()
        for message in wire.receive():
            # A packet may have been meant for a spare that died before it read it.
            if isinstance(message, Become) and message.pid == os.getpid():
                wire.close()
                return message
        if wire.over:
            os._exit(0)
