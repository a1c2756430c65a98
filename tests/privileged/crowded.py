"""A host of very many processes or sockets, in namespaces of its own, and what looking costs.

`python -m tests.privileged.crowded processes|sockets NUMBER LINE...` as pid 1 of a pid namespace
makes them, runs the lines in one process, and prints a line of JSON for each: what was said, the
seconds of processor time that it took, and how many bytes the process had grown by since the first.
When it ends, everything that it has made ends too.
"""

import ctypes
import json
import mmap
import os
import resource
import socket
import sys
import time
from itertools import count, islice
from typing import Final

from tests.commands.observed import said

CLONE_VM: Final = 0x100  # clone(2): a process in the memory of another costs a stack and no more
SIGCHLD: Final = 17
STACK: Final = 2048  # bytes: pause(2) needs a few words
NO_ROOM: Final = 77  # exit code where this machine does not allow so many
FDS: Final = 900  # sockets that one process holds: the usual limit is 1024


def processes(number: int) -> mmap.mmap:
    """Start so many processes that wait for ever, and return their stacks, to be kept."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    stacks = mmap.mmap(-1, number * STACK)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(stacks))
    pause = ctypes.cast(libc.pause, ctypes.c_void_p)
    for n in range(1, number + 1):
        if libc.clone(pause, begin + n * STACK - 64, CLONE_VM | SIGCHLD, None) < 0:
            raise OSError(ctypes.get_errno(), "clone")
    return stacks


def sockets(number: int) -> None:
    """Open so many sockets, half of each kind, in processes that hold them and wait."""
    os.system("ip link set lo up")
    ports = ((f"127.0.{n // 20_000}.1", 10_000 + n % 20_000) for n in count())
    for at in range(0, number, FDS):
        ready, done = os.pipe()
        ours = list(islice(ports, FDS))
        if not os.fork():
            hold = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ours[::2]]
            for one, where in zip(hold, ours[::2], strict=True):
                one.bind(where)
            listener = socket.create_server(ours[1], backlog=FDS)
            for _ in range((min(FDS, number - at) - len(hold)) // 2):
                hold.append(socket.create_connection(ours[1]))
                hold.append(listener.accept()[0])
            os.write(done, b".")
            while True:
                time.sleep(60)
        os.close(done)
        if not os.read(ready, 1):
            raise OSError("a process could not open its sockets")
        os.close(ready)


def main(kind: str, number: str, *lines: str) -> int:
    try:
        kept = {"processes": processes, "sockets": sockets}[kind](int(number))
    except OSError as error:
        print(error)
        return NO_ROOM
    list(said("ping"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in lines:
        began = time.process_time()
        text = "".join(said(line))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([text, time.process_time() - began, grown << 10]))
    del kept
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
