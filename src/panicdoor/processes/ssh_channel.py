"""The channel of one session, with what asyncssh would take and this door does not.

A client that is let in is still a stranger to our memory: what it may make us keep is bounded,
its environment included, of which one variable means something here. What is refused is said on
the session's standard error, where people see it.
"""

from collections.abc import Callable
from typing import Any, Final

from asyncssh import ChannelOpenError
from asyncssh.channel import SSHServerChannel
from asyncssh.constants import EXTENDED_DATA_STDERR, OPEN_RESOURCE_SHORTAGE
from asyncssh.packet import SSHPacket

PACKET_MIN: Final = 512  # bytes a client must take in one packet: fewer cost us a packet each
WRITTEN_MAX: Final = 256 * 1024  # bytes that wait for its window: an answer stops long before
SIZE_MAX: Final = 1000  # columns or rows: more is no terminal
WIDEST: Final = 5000  # columns, wider than any line: beyond them asyncssh's line editor fails
KEYS_MAX: Final = 16  # bytes typed into a terminal before others have their turn: 0.5 ms a key
DUMB: Final = frozenset({"", "dumb", "network", "unknown"})  # terminals that cannot move up
ENVIRONMENT: Final = frozenset({b"NO_COLOR"})  # all of it that is looked at

NO_X11: Final = "panicdoor: no X11 here: its commands print text.\n"
NO_AGENT: Final = "panicdoor: your agent stays where it is: nothing here uses it. Use ssh -a.\n"


class SessionChannel(SSHServerChannel[str]):
    """A channel. `greeting` is asked for what its connection had to refuse without a word."""

    greeting: Callable[[], str]

    def process_open(
        self, send_chan: int, send_window: int, send_pktsize: int, session: Any
    ) -> None:
        """Open it, unless the client wants its answers in crumbs."""
        if send_pktsize < PACKET_MIN:
            session.connection_lost(None)
            self._loop.call_soon(self._cleanup)
            text = f"packets must have room for {PACKET_MIN} bytes"
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, text)
        super().process_open(send_chan, send_window, send_pktsize, session)

    def _deliver_data(self, data: bytes, datatype: int | None) -> None:
        """Hand on what has come; what is typed, a few keys at a time.

        The line editor draws a long line anew for a single key, and a window has room for 16,000.
        """
        if self._term_type is None:
            super()._deliver_data(data, datatype)
            return
        if rest := data[KEYS_MAX:]:
            self._recv_buf.insert(0, (rest, datatype))
        self.pause_reading()
        self._loop.call_soon(self.resume_reading)
        window = self._recv_window
        if self._recv_buf:
            self._recv_window = self._init_recv_window  # no more is let in until that is taken
        super()._deliver_data(data[:KEYS_MAX], datatype)
        if self._recv_buf:
            self._recv_window = window

    def write(self, data: str, datatype: int | None = None) -> None:
        """Write, and let go of a client that makes us say more than it reads.

        Where the client has closed its end, nobody reads, and nothing is written.
        """
        if self._send_state != "open":
            return
        super().write(data, datatype)
        if self._send_buf_len > WRITTEN_MAX and self._conn is not None:
            self._conn.abort()

    def refuse(self, text: str) -> None:
        """Say why something is not done."""
        self.write(text, EXTENDED_DATA_STDERR)

    def screen(self) -> tuple[str, int, int]:
        """Return the terminal's type, columns and rows (0: not known), as far as they can be."""
        width, height = self._term_size[:2]
        return self._term_type or "", min(width, SIZE_MAX), min(height, SIZE_MAX)

    def get_terminal_type(self) -> str | None:
        """Return the type for the line editor, which knows few names and one good way."""
        return "xterm" if self._term_type not in DUMB | {None} else self._term_type

    def get_terminal_size(self) -> tuple[int, int, int, int]:
        """Return the size for the line editor, which scrolls on dumb terminals, but wrongly."""
        name, width, height = self.screen()
        return WIDEST if name in DUMB else width, height, 0, 0

    def _process_window_change_request(self, packet: SSHPacket) -> bool:
        self._term_size = (packet.get_uint32(), packet.get_uint32(), 0, 0)
        self._session.terminal_size_changed(*self.get_terminal_size())
        return True

    def _process_env_request(self, packet: SSHPacket) -> bool:
        name = packet.get_string()
        known = name in ENVIRONMENT
        if known:
            self._env[name] = b""
        return known

    def _process_x11_req_request(self, _: SSHPacket) -> bool:
        self.refuse(NO_X11)
        return False

    def _process_auth_agent_req_at_openssh_dot_com_request(self, _: SSHPacket) -> None:
        self.refuse(NO_AGENT)
        self._report_response(False)

    def _start_session(self, command: str | None = None, subsystem: str | None = None) -> bool:
        if not self._session_started and (text := self.greeting()):
            self.refuse(text)
        return super()._start_session(command, subsystem)
