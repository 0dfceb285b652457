"""The load generator: prepared requests over keep-alive connections, one thread, no JSON while the clock runs.

It shares the cores with the server, so it does as little as it can: it waits for sockets, reads answers by their
content-length into a buffer that stays, and sends the next bytes.
"""

import gc
import json
import math
import resource
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from processes import BenchmarkError

ANSWER_SECONDS = 120
LARGEST_HEAD = 4096


@dataclass
class Load:
    """What a load took: the latency of each request, in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    # The share of one core that the generator itself took.
    client_cpu: float = 0.0
    # Answers by the number of their request, of those that were to be kept.
    bodies: dict[int, bytes] = field(default_factory=dict)

    def figures(self, texts_per_request: int = 1) -> dict[str, float]:
        """As the results have it."""
        return {
            "requests": len(self.latencies),
            "seconds": self.seconds,
            "rate": len(self.latencies) * texts_per_request / self.seconds,
            "p50_ms": percentile(self.latencies, 0.5) * 1e3,
            "p99_ms": percentile(self.latencies, 0.99) * 1e3,
            "client_cpu": self.client_cpu,
        }


def percentile(values: list[float], share: float) -> float:
    """The least value that the share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def prepare(path: str, inputs: Any) -> bytes:
    """The bytes of a request to embed."""
    body = json.dumps({"inputs": inputs}, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Connection:
    """A keep-alive connection with one request under way at most."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # With a timeout Python asks the system whether there is something before it reads; the selector knows already.
        self.socket.settimeout(None)
        self.buffer = bytearray(1 << 18)
        self.view = memoryview(self.buffer)
        self.filled = 0
        self.begin = self.end = 0
        # The number of the request under way, and when its latency began.
        self.number = 0
        self.started: float | None = None

    def send(self, number: int, request: bytes, started: float | None = None) -> None:
        """Sends a request; `started` is now where it is not given."""
        self.number, self.filled, self.end = number, 0, 0
        self.started = time.perf_counter() if started is None else started
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Reads what is there; whether the answer is whole."""
        count = self.socket.recv_into(self.view[self.filled :])
        if count == 0:
            raise BenchmarkError("the server closed a connection before its answer was whole")
        self.filled += count
        if self.end == 0 and not self._read_head():
            return False
        return self.filled >= self.end

    def body(self) -> bytes:
        """The answer."""
        return bytes(self.view[self.begin : self.end])

    def _read_head(self) -> bool:
        found = self.buffer.find(b"\r\n\r\n", 0, min(self.filled, LARGEST_HEAD))
        if found < 0:
            return False
        head = bytes(self.view[:found]).lower()
        self.begin = found + 4
        length = head.find(b"content-length:")
        if head[9:12] != b"200" or length < 0:
            raise BenchmarkError(f"the server answered: {bytes(self.view[: self.filled])[:500]!r}")
        self.end = self.begin + int(head[length + 15 :].split(b"\r\n", 1)[0])
        if self.end > len(self.buffer):
            larger = bytearray(2 * self.end)
            larger[: self.filled] = self.view[: self.filled]
            self.buffer, self.view = larger, memoryview(larger)
        return True


class Connections:
    """All connections of one load; they are closed at its end, and its generator's CPU time is taken."""

    def __init__(self, port: int, count: int) -> None:
        self.all = [Connection(port) for _ in range(count)]
        self.load = Load()

    def __enter__(self) -> "Connections":
        self.selector = selectors.DefaultSelector()
        for connection in self.all:
            self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        gc.disable()
        self._cpu = cpu_seconds()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: Any) -> None:
        gc.enable()
        self.selector.close()
        for connection in self.all:
            connection.socket.close()

    def answered(self, timeout: float = ANSWER_SECONDS) -> list[Connection]:
        """Connections whose answers are whole, after waiting for some."""
        ready = self.selector.select(timeout)
        if not ready and timeout >= ANSWER_SECONDS:
            raise BenchmarkError(f"the server answered nothing for {ANSWER_SECONDS} seconds")
        return [key.data for key, _ in ready if key.data.receive()]

    def stop_clock(self) -> None:
        """The load ends; answers that come later do not count."""
        self.load.seconds = time.perf_counter() - self._started
        self.load.client_cpu = (cpu_seconds() - self._cpu) / self.load.seconds


def closed_loop(port: int, requests: list[bytes], connections: int, least_seconds: float, keep: int = 0) -> Load:
    """Whole sweeps over the requests for at least so long; each connection sends the next one after its answer.

    The load is kept up until the last counted answer is there. The first `keep` answers' bodies are kept.
    """
    with Connections(port, connections) as all_connections:
        load = all_connections.load
        for number, connection in enumerate(all_connections.all):
            connection.send(number, requests[number % len(requests)])
        sent, begun = connections, time.perf_counter()
        while True:
            for connection in all_connections.answered():
                now = time.perf_counter()
                load.latencies.append(now - connection.started)
                if connection.number < keep:
                    load.bodies[connection.number] = connection.body()
                if len(load.latencies) % len(requests) == 0 and now - begun >= least_seconds:
                    all_connections.stop_clock()
                    return load
                connection.send(sent, requests[sent % len(requests)])
                sent += 1


def paced(port: int, request: bytes, connections: int, per_second: float, seconds: float) -> Load:
    """A request at fixed times, over the connections in turn, whether or not earlier ones are answered.

    Where a connection is busy when its next request is due, the request waits and its latency counts from then.
    """
    with Connections(port, connections) as all_connections:
        load = all_connections.load
        begun = time.perf_counter()
        due = deque(begun + number / per_second for number in range(int(per_second * seconds)))
        late: list[deque[float]] = [deque() for _ in range(connections)]
        slot = {connection: place for place, connection in enumerate(all_connections.all)}
        total = len(due)
        while len(load.latencies) < total:
            wait = max(0.0, due[0] - time.perf_counter()) if due else ANSWER_SECONDS
            for connection in all_connections.answered(wait):
                load.latencies.append(time.perf_counter() - connection.started)
                connection.started = None
                if late[slot[connection]]:
                    connection.send(0, request, late[slot[connection]].popleft())
            while due and due[0] <= time.perf_counter():
                place = (total - len(due)) % connections
                connection, when = all_connections.all[place], due.popleft()
                if connection.started is None:
                    connection.send(0, request)
                else:
                    late[place].append(when)
        all_connections.stop_clock()
        return load


def cpu_seconds() -> float:
    """Processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


