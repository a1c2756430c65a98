"""What a door cannot do where it runs: said at start, in plain words, before it matters."""

import os
import resource

from panicdoor.commands.authority import too_cheap
from panicdoor.commands.registry import COMMANDS
from panicdoor.kernel.memory import Locked
from panicdoor.orders.signers import REMARKS_MAX
from panicdoor.processes import stream
from panicdoor.processes.place import World

_LOCKED = {
    Locked.ALL: "",
    Locked.CURRENT: "only memory held at start is locked: raise RLIMIT_MEMLOCK",
    Locked.NONE: "memory is not locked, and may be paged out: raise RLIMIT_MEMLOCK",
}


def limits(world: World, locked: Locked, spared: bool) -> tuple[str, ...]:
    """Return one sentence for each thing that this door should be able to do and is not.

    `spared` says that the kernel's OOM killer will not choose it.
    """
    notes = [_LOCKED[locked]]
    if world.holdings.volatile:
        notes.append("its directory is read-only: what it records is lost when it ends")
    if not spared:
        notes.append("the OOM killer may choose it: start it with OOMScoreAdjust=-1000")
    if os.geteuid() != 0:
        notes.append("without root: what belongs to other users is out of its reach")
        notes.append("without root: whoever is this user can end it")
    elif world.user is None:
        notes.append("it changes to no other user: its network processes stay root's")
    if not world.landlock and os.geteuid() != 0:
        notes.append("no landlock here: its network processes can read this user's files")
    remarks = world.signers.remarks
    notes += [f"allowed_signers: {remark}" for remark in remarks[:REMARKS_MAX]]
    if len(remarks) > REMARKS_MAX:
        notes.append(f"allowed_signers: {len(remarks)} lines are skipped")
    notes += too_cheap(world.door.grants, COMMANDS.values())
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors < stream.FDS_WANTED:
        notes.append(f"{descriptors} descriptors: fewer clients at once; raise RLIMIT_NOFILE")
    return tuple(note for note in notes if note)
