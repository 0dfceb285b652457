"""The load itself: many connections at once, callers who leave, an alias that is moved meanwhile."""

import asyncio
import collections
import json
import time

import aiohttp

from load_cases import ALIAS

# A caller in so many leaves before the answer, after at most so many seconds.
LEAVES_ONE_IN = 25
LONGEST_WAIT = 0.02
# Requests between two moves of the alias.
MOVE_EVERY = 150
# Samples of the server's memory over the run.
MEMORY_SAMPLES = 200
MOST_TRIES = 60


class Load:
    """Sends cases and checks what comes back."""

    def __init__(self, server, session, random, comparison, meanings):
        self.server, self.session, self.random, self.comparison = server, session, random, comparison
        # What the alias means over time, oldest first: during a move it may be either.
        self.meanings = [{meanings[0]}]
        self.pair = meanings
        self.statuses = collections.Counter()
        self.seconds = collections.defaultdict(list)
        self.mismatches = []
        self.memory = []
        self.sent = self.done = self.left = self.retried = self.moves = 0

    async def run(self, plan, connections):
        """Sends the plan, pairs of a case and its expected answers, over so many connections; the seconds it took."""
        begin = time.monotonic()
        queue = iter(plan)
        workers = [asyncio.create_task(self.work(queue, len(plan))) for _ in range(connections)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        return time.monotonic() - begin

    async def work(self, queue, total):
        for case, expected in queue:
            self.sent += 1
            if self.sent % MOVE_EVERY == 0:
                await self.move_alias()
            if self.random.randrange(LEAVES_ONE_IN) == 0:
                await self.leave(case)
            else:
                await self.check(case, expected)
            self.done += 1
            if self.done % max(1, total // MEMORY_SAMPLES) == 0:
                self.memory.append(self.server.resident_bytes())

    async def post(self, case):
        """Status, JSON and `Retry-After` of one try."""
        data = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        headers = {"content-type": "application/json"}
        async with self.session.post(case.path, data=data, headers=headers) as response:
            return response.status, await response.json(), response.headers.get("retry-after")

    async def leave(self, case):
        """Asks and goes before the answer is there, unless it is very quick."""
        try:
            await asyncio.wait_for(self.post(case), self.random.uniform(0, LONGEST_WAIT))
        except TimeoutError:
            self.left += 1

    async def check(self, case, expected):
        """Asks until the answer is not 429, and compares it."""
        for _ in range(MOST_TRIES):
            since = len(self.meanings) - 1
            begin = time.monotonic()
            try:
                status, answer, retry_after = await self.post(case)
            except aiohttp.ClientError as error:
                status, answer, retry_after = 0, {"error": repr(error)}, None
            if status != 429:
                break
            self.retried += 1
            await asyncio.sleep(float(retry_after))
        self.seconds[case.kind].append(time.monotonic() - begin)
        self.statuses[status] += 1
        possible = set().union(*self.meanings[since:]) if case.through_alias else {None}
        # Of one model as a whole, or of the other.
        if not any(self.comparison.agrees(case, status, answer, expected[meaning]) for meaning in possible):
            self.mismatches.append({"kind": case.kind, "path": case.path, "body": str(case.body)[:300], "status": status,
                                    "answer": str(answer)[:300], "alias": sorted(map(str, possible))})

    async def move_alias(self):
        """Promotes the other model, or rolls back to the one before."""
        old, new = self.pair if self.moves % 2 == 0 else reversed(self.pair)
        self.moves += 1
        self.meanings.append({old, new})
        if self.moves % 2 == 1:
            asked = self.session.put(f"/v1/aliases/{ALIAS}", json={"model": new})
        else:
            asked = self.session.post(f"/v1/aliases/{ALIAS}/rollback")
        async with asked as response:
            assert response.status == 200, await response.text()
        self.meanings.append({new})
