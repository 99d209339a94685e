"""Free ports of loopback, for programs that need a given port."""

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Different ports without a listener."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
