"""Whether an answer under load is the one that the server gives alone."""

import json

import numpy

from vectors import from_base64

LEAST_COSINE = 0.9999
# Of lengths, for embeddings that are not normalised, and of similarities.
TOLERANCE = 1e-4


def rows(path, answer):
    """The embeddings of an answer, one a text; of /embed_all, one a token, texts one after another."""
    if path == "/v1/embeddings":
        items = [item["embedding"] for item in answer["data"]]
        return numpy.array([from_base64(item) if isinstance(item, str) else item for item in items], "f8")
    if path == "/embed_all":
        return numpy.array([token for text in answer for token in text], "f8")
    return numpy.array(answer, "f8")


class Alone:
    """Answers of the server when nothing else asks it."""

    def __init__(self, session, meanings):
        self.session = session
        # What the alias may mean.
        self.meanings = meanings
        self.known = {}

    async def ask(self, path, body):
        """Status and JSON of one request; asked once."""
        key = path, json.dumps(body, sort_keys=True) if isinstance(body, dict) else body
        if key not in self.known:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            async with self.session.post(path, data=data, headers=headers) as response:
                self.known[key] = response.status, await response.json()
        return self.known[key]

    async def expected(self, case, alias):
        """The right answer of a case where the alias means `alias`: a status, or what is to be compared."""
        if not case.parts:
            return (await self.ask(case.path, case.body))[0]
        answers = []
        for path, body in case.parts:
            if case.through_alias:
                body = {**body, "model": alias}
            status, answer = await self.ask(path, body)
            if status != 200:
                return status
            answers.append(answer)
        if case.path == "/tokenize":
            return [answer[0] for answer in answers]
        parts = [rows(path, answer) for (path, _), answer in zip(case.parts, answers)]
        if case.path == "/similarity":
            source, *others = (part[0] for part in parts)
            return numpy.array(others) @ source
        return numpy.concatenate(parts)

    async def learn(self, cases):
        """Asks all cases alone; what is right for each, by what the alias means."""
        return [{alias: await self.expected(case, alias) for alias in (self.meanings if case.through_alias else [None])}
                for case in cases]


class Comparison:
    """Compares answers, and keeps how far they were apart at most."""

    def __init__(self):
        self.least_cosine = 1.0
        self.largest_difference = 0.0

    def agrees(self, case, status, answer, expected):
        """Whether an answer is the expected one."""
        if isinstance(expected, int):
            return status == expected and "error" in answer
        if status != 200:
            return False
        if case.path == "/tokenize":
            return answer == expected
        if case.path == "/similarity":
            return len(answer) == len(expected) and numpy.abs(numpy.array(answer) - expected).max() < TOLERANCE
        got = rows(case.path, answer)
        if got.shape != expected.shape:
            return False
        lengths, expected_lengths = numpy.linalg.norm(got, axis=1), numpy.linalg.norm(expected, axis=1)
        cosine = ((got * expected).sum(axis=1) / (lengths * expected_lengths)).min()
        good = cosine > LEAST_COSINE and (numpy.abs(lengths / expected_lengths - 1) < TOLERANCE).all()
        if good:
            self.least_cosine = min(self.least_cosine, float(cosine))
            self.largest_difference = max(self.largest_difference, float(numpy.abs(got - expected).max()))
        return good
