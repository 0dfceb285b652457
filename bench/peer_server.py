"""A peer behind the thinnest HTTP/1.1 server: a hand-made asyncio protocol, orjson, and one thread for the model.

    peer_server.py openvino MODEL GRAPH.onnx --precision bf16 --threads N --port PORT

`POST /embed {"inputs": …}` answers embeddings. What waits while the model runs becomes the next batches: sorted by
length, 32 texts each. `POST /embed/unbatched` computes each request by itself.
`POST /in-process {"text": …, "count": …}` encodes one text again and again and answers the seconds of each: what HTTP
adds is not in them.
It listens once the model is loaded.
"""

import argparse
import asyncio
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from peer_encoders import BATCH, ENCODERS, Encode

Reply = Callable[[int, Any], None]


@dataclass
class Request:
    """Texts to embed, and who waits for them."""

    texts: list[str]
    reply: Reply
    batched: bool
    rows: np.ndarray | None = None
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.texts)

    def put(self, index: int, row: np.ndarray) -> None:
        """Takes the embedding of one text, and answers with the last one."""
        if self.rows is None:
            self.rows = np.empty((len(self.texts), len(row)), dtype=np.float32)
        self.rows[index] = row
        self.missing -= 1
        if self.missing == 0:
            self.reply(200, self.rows)


@dataclass
class Repetition:
    """One text to encode `count` times."""

    text: str
    count: int
    reply: Reply


def model_thread(load: Callable[[], Encode], waiting: queue.SimpleQueue, loaded: threading.Event) -> None:
    """Loads the model, then runs whatever waits, for ever."""
    try:
        encode = load()
        encode(["a short text to warm up with"])
        loaded.set()
        while True:
            work = [waiting.get()]
            while not waiting.empty():
                work.append(waiting.get())
            run(encode, work)
    except BaseException:
        # Without the model there is nothing to serve, and asyncio's thread would go on.
        traceback.print_exc()
        os._exit(1)


def run(encode: Encode, work: list[Request | Repetition]) -> None:
    """Computes all that waited and answers it."""
    together: list[Request] = []
    for item in work:
        if isinstance(item, Repetition):
            item.reply(200, repeat(encode, item))
        elif item.batched:
            together.append(item)
        else:
            embed(encode, [item])
    embed(encode, together)


def embed(encode: Encode, requests: list[Request]) -> None:
    """Embeds the requests' texts together, the shortest first."""
    texts = [(request, index) for request in requests for index in range(len(request.texts))]
    texts.sort(key=lambda text: len(text[0].texts[text[1]]))
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        rows = encode([request.texts[index] for request, index in batch])
        for (request, index), row in zip(batch, rows, strict=True):
            request.put(index, row)


def repeat(encode: Encode, repetition: Repetition) -> list[float]:
    """Seconds of each of the calls."""
    seconds = []
    for _ in range(repetition.count):
        started = time.perf_counter()
        encode([repetition.text])
        seconds.append(time.perf_counter() - started)
    return seconds


class Connection(asyncio.Protocol):
    """One client's connection; a request is read whole before it is looked into."""

    def __init__(self, loop: asyncio.AbstractEventLoop, waiting: queue.SimpleQueue) -> None:
        self.loop, self.waiting = loop, waiting
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        begin = head.find(b"content-length:")
        length = int(head[begin + 15 :].split(b"\r\n", 1)[0]) if begin >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        self.handle(head.split(b" ", 2)[1], body)

    def handle(self, path: bytes, body: bytes) -> None:
        """Passes a request on to the model's thread."""
        if path == b"/health":
            self.answer(200, {})
        elif path in (b"/embed", b"/embed/unbatched"):
            inputs = orjson.loads(body)["inputs"]
            texts = [inputs] if isinstance(inputs, str) else inputs
            self.waiting.put(Request(texts, self.reply, batched=path == b"/embed"))
        elif path == b"/in-process":
            asked = orjson.loads(body)
            self.waiting.put(Repetition(asked["text"], asked["count"], self.reply))
        else:
            self.answer(404, {})

    def reply(self, status: int, value: Any) -> None:
        """Answers from the model's thread; it goes on while the JSON is written."""
        self.loop.call_soon_threadsafe(self.answer, status, value)

    def answer(self, status: int, value: Any) -> None:
        body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                             % (status, len(body), body))


async def serve(port: int, waiting: queue.SimpleQueue) -> None:
    """Listens for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(loop, waiting), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Loads the model in its thread, then serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=ENCODERS)
    parser.add_argument("model", type=Path)
    parser.add_argument("graph", type=Path)
    parser.add_argument("--precision", choices=["float32", "bf16"], required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()

    def load() -> Encode:
        return ENCODERS[args.name](args.model, args.graph, args.precision, args.threads)

    waiting: queue.SimpleQueue = queue.SimpleQueue()
    loaded = threading.Event()
    threading.Thread(target=model_thread, args=(load, waiting, loaded), daemon=True).start()
    loaded.wait()
    asyncio.run(serve(args.port, waiting))


if __name__ == "__main__":
    main()
