"""A seeded source of words: picks from lists, fills frames and keeps set-aside words apart."""
import hashlib
import re

SLOT = re.compile(r"\{(\w+)\}")
# One word in this many is kept for the rows that are set aside.
ONE_IN = 8


def is_set_aside(text):
    """Whether a word of an open class belongs to the set-aside rows (by a hash, so for ever)."""
    return hashlib.sha256(text.encode("utf-8")).digest()[0] % ONE_IN == 0


class Source:
    """Random choices of one language. `makers` maps an open class to a function of this source
    that composes a word; `lists` maps a closed class to its words."""

    def __init__(self, rng, lists, makers):
        self.rng, self.lists, self.makers, self.held = rng, lists, makers, False

    def pick(self, items):
        return items[self.rng.randrange(len(items))]

    def chance(self, share):
        return self.rng.random() < share

    def number(self, low, high):
        return str(self.rng.randint(low, high))

    def weighted(self, table):
        """A key of `table` {key: weight}."""
        return self.rng.choices(list(table), weights=list(table.values()))[0]

    def word(self, kind, unlike=()):
        """A word of a class, none of `unlike`; open classes respect what is set aside."""
        for _ in range(2000):
            if kind in self.makers:
                word = self.makers[kind](self)
                fits = is_set_aside(word) == self.held
            else:
                word, fits = self.pick(self.lists[kind]), True
            if fits and word not in unlike:
                return word
        raise ValueError(f"class {kind} has too few words")

    def words(self, kind, count):
        found = []
        while len(found) < count:
            found.append(self.word(kind, found))
        return found

    def fill(self, frame, **known):
        """Fills the slots of a frame from `known`, then from the classes of the same name (a digit
        after a class's name asks for another word: {plan2})."""
        known = dict(known)

        def one(match):
            name = match.group(1)
            if name not in known:
                known[name] = self.word(name.rstrip("0123456789"), list(known.values()))
            return known[name]

        return SLOT.sub(one, frame)
