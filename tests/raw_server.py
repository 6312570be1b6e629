"""A server on 127.0.0.1 that sends any bytes at any pace."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

Script = Callable[[Callable[[bytes], None]], None]


class Server:
    """Answers each connection by a script, which is given a function that sends.

    Sending to a client that has left ends the script, and so does the end of the test.
    """

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/w"
        self.scripts: list[Script] = []  # one for each connection, the last for all others
        self.stopped = False
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def answer(self, *answers: bytes | Script) -> str:
        """What to answer from now on."""
        self.scripts = [a if callable(a) else lambda send, a=a: send(a) for a in answers]  # type: ignore[misc]
        return self.url

    def serve(self) -> None:
        while True:
            client, _ = self.listening.accept()
            with client:
                if self.stopped:
                    return
                client.settimeout(30)
                client.recv(1 << 16)

                def send(data: bytes, client: socket.socket = client) -> None:
                    if self.stopped:
                        raise BrokenPipeError
                    client.sendall(data)

                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                with contextlib.suppress(OSError):
                    script(send)

    def stop(self) -> None:
        self.stopped = True
        with socket.create_connection(self.listening.getsockname()):
            self.thread.join()
        self.listening.close()
