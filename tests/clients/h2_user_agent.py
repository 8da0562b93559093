"""A user agent by the HTTP/2 library of the Python world: it subscribes, monitors, decrypts and acknowledges.

Why it exists: server push is rare, and the service must satisfy user agents that were written without knowing it. This
script adds nothing to the libraries but the reading of its socket; frames are h2's, encryption is http_ece's.

Usage: h2_user_agent.py ORIGIN

It takes one pushed stream at a time. Standard output, a line of JSON each: the two W3C PushSubscriptions of one set that it
makes; then, monitoring the set for what is urgent, the two messages that it waits for; then, when it takes two streams and
monitors for everything that waits, the other ones; and the status that this ends with. Messages have `endpoint`, `text`,
and the `streams` that were open when they came.
"""

import base64
import json
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    PushedStreamReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes

PUSH = "urn:ietf:params:push"
SET = "urn:ietf:params:push:set"

# Nothing here takes longer than a moment.
PATIENCE_S = 30


class Connection:
    """One connection, and what has come over it."""

    def __init__(self, origin: str) -> None:
        self.url = urlsplit(origin)
        self.socket = socket.create_connection((self.url.hostname, self.url.port), timeout=PATIENCE_S)
        if self.url.scheme == "https":
            # The service under test made its own certificate, which no authority has signed.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.local_settings = type(self.h2.local_settings)(
            client=True, initial_values={SettingCodes.ENABLE_PUSH: 1, SettingCodes.MAX_CONCURRENT_STREAMS: 1}
        )
        self.h2.initiate_connection()
        self.answers: dict[int, list[tuple[str, str]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        # Promises that were not taken yet: the stream, and the promised request.
        self.promised: list[tuple[int, list[tuple[str, str]]]] = []
        # Promised streams without an end, and the most of them at a time.
        self.open: set[int] = set()
        self.most_open = 0
        self.flush()

    def request(self, method: str, path: str, fields: list[tuple[str, str]] = ()) -> int:
        """Sends a request without a body; its stream."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [
            (":method", method),
            (":scheme", self.url.scheme),
            (":authority", self.url.netloc),
            (":path", path),
        ]
        self.h2.send_headers(stream, [*pseudo, *fields], end_stream=True)
        self.flush()
        return stream

    def answer(self, method: str, path: str, fields: list[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """Sends a request and waits for its answer, status included."""
        stream = self.request(method, path, fields)
        self.read_until(lambda: stream in self.ended)
        return self.answers[stream]

    def read_until(self, is_done) -> None:
        """Reads what comes until something is so."""
        while not is_done():
            data = self.socket.recv(65_536)
            assert data, "the service has closed the connection"
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event) -> None:
        """Notes one event."""
        if isinstance(event, PushedStreamReceived):
            self.promised.append((event.pushed_stream_id, event.headers))
        elif isinstance(event, ResponseReceived):
            self.answers[event.stream_id] = event.headers
            if event.stream_id % 2 == 0:
                self.open.add(event.stream_id)
                self.most_open = max(self.most_open, len(self.open))
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
            self.open.discard(event.stream_id)
        elif isinstance(event, StreamReset):
            raise AssertionError(f"stream {event.stream_id} was reset")

    def flush(self) -> None:
        """Sends what there is to be sent."""
        self.socket.sendall(self.h2.data_to_send())


class UserAgent:
    """A set of subscriptions with keys of their own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        self.subscriptions: list[str] = []
        self.set = ""

    def subscribe(self) -> dict:
        """Makes a subscription in the set, and describes it as a page would get it."""
        named = [("link", f'<{self.set}>; rel="{SET}"')] if self.set else []
        answer = self.connection.answer("POST", "/subscribe", named)
        assert value(answer, ":status") == "201", answer
        assert not self.set or link(answer, SET) == self.set
        self.set = link(answer, SET)
        self.subscriptions.append(value(answer, "location"))
        public = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {
            "endpoint": link(answer, PUSH),
            "keys": {"p256dh": base64url(public), "auth": base64url(self.secret)},
        }

    def message(self) -> dict:
        """The next message: read, decrypted and acknowledged."""
        connection = self.connection
        connection.read_until(lambda: connection.promised and connection.promised[0][0] in connection.ended)
        stream, request = connection.promised.pop(0)
        answer = connection.answers[stream]
        assert value(request, ":method") == "GET" and value(answer, ":status") == "200", (request, answer)
        assert link(request, PUSH) == link(answer, PUSH)
        text = http_ece.decrypt(
            connection.bodies[stream],
            private_key=self.private,
            auth_secret=self.secret,
            version=value(answer, "content-encoding"),
        )
        gone = connection.answer("DELETE", value(request, ":path"))
        assert value(gone, ":status") == "204", gone
        return {"endpoint": link(answer, PUSH), "text": text.decode(), "streams": connection.most_open}


def value(fields: list[tuple[str, str]], name: str) -> str:
    """The field of this name."""
    return dict(fields)[name]


def link(fields: list[tuple[str, str]], relation: str) -> str:
    """The target of the link of this relation."""
    end = f'>; rel="{relation}"'
    targets = [text for name, text in fields if name == "link" and text.endswith(end)]
    assert len(targets) == 1, fields
    return targets[0].removeprefix("<").removesuffix(end)


def base64url(data: bytes) -> str:
    """As the Web Push API writes keys."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def say(what: dict | list) -> None:
    """Tells the test."""
    print(json.dumps(what), flush=True)


def main() -> None:
    """The life of the user agent."""
    connection = Connection(sys.argv[1])
    agent = UserAgent(connection)
    say([agent.subscribe(), agent.subscribe()])

    monitoring = connection.request("GET", urlsplit(agent.set).path, [("urgency", "high")])
    for _ in range(2):
        say(agent.message())
    assert monitoring not in connection.ended, "the request stays open"
    connection.h2.reset_stream(monitoring)

    connection.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    rest = connection.request("GET", urlsplit(agent.subscriptions[0]).path, [("prefer", "wait=0")])
    connection.read_until(lambda: rest in connection.ended)
    while connection.promised:
        say(agent.message())
    say({"status": int(value(connection.answers[rest], ":status"))})


if __name__ == "__main__":
    main()
