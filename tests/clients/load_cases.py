"""The requests of the mixed load, made from a seed: what is sent, and what alone tells the right answer."""

import dataclasses
import random
import string

# What the alias means in turn, by promotion and rollback.
ALIAS = "production"
# Further than any model's limit of tokens: single letters are a token each.
LONG_WORDS = 700


@dataclasses.dataclass(frozen=True)
class Case:
    """One request. Each of `parts` is asked alone, and its answer is a row of the right answer.

    Where there are none, the request is a wrong one, and the status that it gets alone is the right one.
    """

    kind: str
    path: str
    body: object
    parts: tuple = ()

    @property
    def through_alias(self):
        """Whether the answer depends on when it was asked."""
        return isinstance(self.body, dict) and self.body.get("model") == ALIAS


class Cases:
    """Draws cases over base models, a job's checkpoints and the alias."""

    def __init__(self, seed, models, dimension):
        self.random = random.Random(seed)
        self.models = [*models, ALIAS]
        self.dimension = dimension
        words = ["".join(self.random.choices(string.ascii_lowercase, k=self.random.randint(1, 6))) for _ in range(300)]
        self.texts = [" ".join(self.random.choices(words, k=self.random.randint(1, 12))) for _ in range(60)]
        self.texts += ["", "Ünïcödé ﬁnance — €1,234.56", "emoji 🚀📈", "東京証券取引所"]
        self.long = [" ".join(self.random.choices(string.ascii_lowercase, k=LONG_WORDS)) for _ in range(6)]
        self.ids = {}

    def draw(self, count):
        """A mix of `count` cases, every kind among them."""
        kinds = [(self.single, 30), (self.many, 22), (self.too_long, 8), (self.token_ids, 8), (self.openai, 20),
                 (self.raw, 6), (self.every_token, 3), (self.similarity, 4), (self.tokens, 3), (self.wrong, 8)]
        makers, weights = zip(*kinds)
        return [make() for make in (*makers, *self.random.choices(makers, weights, k=count - len(makers)))]

    def parameters(self):
        """A model, and perhaps a length."""
        chosen = {"model": self.random.choice(self.models)}
        if self.random.random() < 0.3:
            chosen["dimensions"] = self.random.choice([1, self.dimension // 2, self.dimension])
        return chosen

    def embed(self, kind, inputs, path="/embed", **parameters):
        """A request to embed, each of whose inputs is embedded alone too."""
        items = inputs if isinstance(inputs, list) else [inputs]
        parts = tuple(("/embed", {"inputs": [item], **parameters}) for item in items)
        return Case(kind, path, {"inputs": inputs, **parameters}, parts)

    def single(self):
        path = self.random.choice(["/embed", "/embed", "/"])
        return self.embed("single", self.random.choice(self.texts), path, **self.parameters())

    def many(self):
        texts = self.random.choices(self.texts, k=self.random.randint(2, 32))
        return self.embed("list", texts, **self.parameters())

    def too_long(self):
        direction = self.random.choice(["left", "right"])
        inputs = self.random.choice([self.random.choice(self.long), [*self.random.choices(self.texts, k=2), self.long[0]]])
        return self.embed("long", inputs, truncate=True, truncation_direction=direction, **self.parameters())

    def token_ids(self):
        """Ids that `learn` got from the server."""
        ids = self.random.choices(list(self.ids.values()), k=self.random.randint(1, 4))
        return self.embed("token ids", ids, **self.parameters())

    def raw(self):
        return self.embed("raw", self.random.choices(self.texts, k=2), normalize=False, **self.parameters())

    def openai(self):
        count = self.random.choice([1, 1, 1, 8, 32])
        texts, parameters = self.random.choices(self.texts, k=count), self.parameters()
        parts = tuple(("/embed", {"inputs": [text], **parameters}) for text in texts)
        body = {"input": texts if count > 1 else texts[0], "encoding_format": self.random.choice(["float", "base64"])}
        return Case("openai", "/v1/embeddings", {**body, **parameters}, parts)

    def every_token(self):
        texts, model = self.random.choices(self.texts, k=2), {"model": self.random.choice(self.models)}
        parts = tuple(("/embed_all", {"inputs": [text], **model}) for text in texts)
        return Case("every token", "/embed_all", {"inputs": texts, **model}, parts)

    def similarity(self):
        source, *texts = self.random.choices(self.texts, k=5)
        model = {"model": self.random.choice(self.models)}
        parts = tuple(("/embed", {"inputs": [text], **model}) for text in (source, *texts))
        body = {"inputs": {"source_sentence": source, "sentences": texts}, **model}
        return Case("similarity", "/similarity", body, parts)

    def tokens(self):
        texts, model = self.random.choices(self.texts, k=3), {"model": self.random.choice(self.models[:-1])}
        parts = tuple(("/tokenize", {"inputs": [text], **model}) for text in texts)
        return Case("tokens", "/tokenize", {"inputs": texts, **model}, parts)

    def wrong(self):
        """What is to be refused, alone and under load."""
        model = {"model": self.random.choice(self.models)}
        return self.random.choice([
            Case("wrong", "/embed", {"inputs": [], **model}),
            Case("wrong", "/v1/embeddings", {"input": [], **model}),
            Case("wrong", "/embed", {"inputs": [self.texts[0], self.long[0]], "truncate": False, **model}),
            Case("wrong", "/embed", {"inputs": "a", "dimensions": self.dimension + 1, **model}),
            Case("wrong", "/v1/embeddings", {"input": "a", "dimensions": 0, **model}),
            Case("wrong", "/embed", {"inputs": [[1 << 30]], **model}),
            Case("wrong", "/embed", {"inputs": "a", "model": "no such model"}),
            Case("wrong", "/v1/embeddings", {"input": "a", "model": "no such model"}),
            Case("wrong", "/embed", b'{"inputs": '),
            Case("wrong", "/tokenize", {"inputs": 7, **model}),
        ])
