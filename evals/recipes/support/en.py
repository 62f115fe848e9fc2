"""English dialogues, a function a kind; each returns (history, query, rewrite)."""
import re

from support import en_frames as F, en_words

LISTS, MAKERS = en_words.LISTS, en_words.MAKERS
ASKED = {"feature": 5, "product": 5, "thing": 4, "code": 2, "plan": 1.5, "role": 1.5, "mode": 1}
SLOT = re.compile(r"(\{\w+\})")
STATEMENT = ("i ", "i'", "please", "show", "give", "tell", "typing", "we ", "my team", "our ", "{x} d", "{x} k", "{x} is", "the upload", "go on")


def fill(s, frame, **known):
    return s.fill(frame, **{"n": s.number(2, 500), "d": s.number(2, 9), **known})


def hold(s, frame, keep="X"):
    """Fills every slot but {X} and {P}."""
    return fill(s, frame, **{name: "{" + name + "}" for name in (keep, "P")})


def closed(frame):
    return frame.replace("[", "").replace("]", "")


def put(frame, x):
    """{X} and its possessive {P} become `x`."""
    owner = {"it": "its", "they": "their"}.get(x, x + ("'" if x.endswith("s") else "'s"))
    return closed(frame).replace("{P}", owner).replace("{X}", x)


def pointed(s, kind, frame):
    """The frame with a pronoun for {X}: they or them for people."""
    if kind == "role":
        after = re.search(r"(add|remove) \{X\}|How many \{X\}", frame)
        return put(frame, ("of them" if "many" in frame else "them") if after else "they")
    return put(frame, s.pick(F.POINT[kind]))


def capital(text):
    return text[:1].upper() + text[1:]


# Words that sentences begin with; other first words are names and keep their letters.
STARTERS = {"and", "the", "my", "our", "a", "an", "i", "on", "in", "at", "over", "what", "how", "or", "also", "so"} | {
    re.split(r"[\s,?.!]", text, maxsplit=1)[0].lower()
    for text in [frame for frames in F.ASK.values() for _, frame in frames] + [frame for frames in F.SWAP.values() for frame in frames] + F.ACTION_FIRST + F.WHOLE + F.TWO + F.LIST_ASK + F.PLACE_ASK + F.OPEN
    + [t for pair in F.ACTION_POINT + F.TROUBLE_TAIL + F.VAGUE_FACT for t in pair] + [t for pair in F.INTRODUCE + F.INTRODUCE_PRODUCT for t in pair[:1]] + F.SWAP_SHORT
    + ["with for when where will is was did does can could why show tell more any do please go i'd i'm but are".split()][0] if not text.startswith("{")}


class Style:
    """How one asker writes: capitals and end marks, the same for a query and its rewrite."""

    def __init__(self, s):
        self.lower = s.chance(0.3)
        self.no_mark = s.chance(0.75 if self.lower else 0.3)
        self.small_i = self.lower and self.no_mark
        self.prefix = s.pick(["Please tell me: ", "One more thing: ", "Thanks! ", "ok, "]) if s.chance(0.03) else ""

    def case(self, text):
        """The text with its first letter large or small, unless it begins with a name."""
        first = re.split(r"[\s,?.!]", text, maxsplit=1)[0]
        if first.lower() in STARTERS:
            text = text if first in ("I", "I'd") and not self.small_i else text[:1].lower() + text[1:] if self.lower else capital(text)
        return re.sub(r"\bI\b", "i", text) if self.small_i else text

    def end(self, text, like):
        if self.no_mark or text[-1] in "?.!":
            return text
        return text + ("." if like.lower().startswith(STATEMENT) else "?")


def user(s, text):
    style = Style(s)
    return style.end(style.case(text), text)


def said(s, frame, x):
    """A user's turn from a frame."""
    style = Style(s)
    return style.end(style.case(put(frame, x)), frame)


def reply(s, kind, x):
    return capital(fill(s, s.pick(F.ANSWER[kind])[1], X=x))


def both(s, query, rewrite):
    """The same case, first words and end mark on both."""
    style = Style(s)
    style.small_i = style.small_i and bool(re.search(r"\bI\b", query))
    end = style.end("x", query)[1:] if query[-1] not in "?.!" else ""
    if style.prefix:
        style.lower = True
    return style.prefix + style.case(query) + end, style.prefix + style.case(rewrite) + end


def topic(s):
    kind = s.weighted(ASKED)
    return kind, s.word(kind)


def ask(s, kind, avoid=(), bracket=False):
    while True:
        answer, frame = s.pick(F.ASK[kind])
        if frame not in avoid and (not bracket or "[" in frame):
            return answer, frame


def bare(frame):
    return re.sub(r"\[.*?\]", "", frame)


def about(s, kind, x, n_turns):
    history, used = [], []
    for turn in range(n_turns):
        answer, frame = ask(s, kind, used)
        used.append(frame)
        frame = hold(s, frame)
        if turn == 0 or s.chance(0.3):
            text = said(s, frame, x)
        elif "[" in frame and s.chance(0.5):
            text = user(s, bare(frame))
        else:
            text = user(s, pointed(s, kind, frame))
        history += [text, reply(s, answer, x)]
    return history, used


def n_turns(s):
    return s.weighted({1: 6, 2: 3, 3: 1})


def plain_topic(s):
    return about(s, *topic(s), 1)[0]


# reference

def reference_single(s):
    kind, x = topic(s)
    history, used = about(s, kind, x, n_turns(s))
    frame = hold(s, ask(s, kind, used)[1])
    if s.chance(0.08):
        history = plain_topic(s) + history
    return (history, *both(s, pointed(s, kind, frame), put(frame, x)))


def reference_introduced(s):
    kind = s.pick(["feature", "product"])
    x = s.word(kind)
    first, answer = s.pick(F.INTRODUCE if kind == "feature" else F.INTRODUCE_PRODUCT)
    answer = fill(s, answer, X="{X}")
    history = [user(s, fill(s, first, K=s.pick(en_words.DEVICE))), answer.replace("{X}", x if not answer.startswith("{X}") or not x.startswith("the") else capital(x))]
    frame = hold(s, ask(s, kind)[1])
    return (history, *both(s, pointed(s, kind, frame), put(frame, x)))


def listed(s, count, options):
    answer = s.pick(F.LIST_ANSWER[count])
    text = answer.format(**dict(zip("abcd", options)))
    return capital(text) if options[0][:1].islower() and not re.match(r"[a-z]+[.-]", options[0]) else text


def reference_ordinal(s):
    kind = s.pick(["mode", "mode", "plan", "feature", "product"])
    count = s.weighted({2: 4, 3: 4, 4: 1})
    options = s.words(kind, count)
    whole = s.word("product", options)
    history = [user(s, fill(s, s.pick(F.LIST_ASK), X=whole, K=s.pick(F.LIST_KIND[kind]))), listed(s, count, options)]
    place = s.rng.randrange(count)
    if count == 2 and s.chance(0.35):
        return other_of(s, kind, options, history)
    if s.chance(0.3):
        asked = s.rng.randrange(count)
        if asked != place:
            answer, frame = ask(s, kind)
            frame = hold(s, frame)
            named = s.pick(F.ORDINAL[count][asked]) if s.chance(0.5) else options[asked]
            history = history + [said(s, frame, named), reply(s, answer, "this" if s.chance(0.3) else options[asked])]
            return (history, *both(s, s.pick(["And ", "and ", "What about ", "How about ", ""]) + s.pick(F.ORDINAL[count][place]), put(frame, options[place])))
    frame = hold(s, ask(s, kind)[1])
    return (history, *both(s, put(frame, s.pick(F.ORDINAL[count][place])), put(frame, options[place])))


def other_of(s, kind, options, history):
    one, two = options if s.chance(0.5) else options[::-1]
    answer, frame = ask(s, kind)
    frame = hold(s, frame)
    history = history + [said(s, frame, one), reply(s, answer, one)]
    pointer = s.pick(F.OTHER)
    if s.chance(0.55):
        return (history, *both(s, s.pick(["And ", "and ", "What about ", "How about "]) + pointer, put(frame, two)))
    frame = hold(s, ask(s, kind)[1])
    return (history, *both(s, put(frame, pointer), put(frame, two)))


def reference_two(s):
    kind = s.pick(["feature", "product", "plan", "mode", "thing"])
    a, b = s.words(kind, 2)
    history = [user(s, fill(s, s.pick(F.TWO), A=a, B=b)), capital(fill(s, s.pick(F.TWO_ANSWER), A=a, B=b))]
    if s.chance(0.3):
        return other_of(s, kind, [a, b], history)
    place = s.rng.randrange(2)
    frame = hold(s, ask(s, kind)[1])
    return (history, *both(s, put(frame, s.pick(F.ORDINAL[2][place])), put(frame, [a, b][place])))


def reference_action(s):
    action = fill(s, s.pick(F.ACTION))
    history = [user(s, s.pick(F.ACTION_FIRST).replace("{A}", action)), reply(s, s.pick(["how", "yes"]), "this")]
    query, rewrite = s.pick(F.ACTION_POINT)
    known = {"D": s.pick(["that", "this", "that", "so"][:3]), "A": action, "platform": s.word("platform"), "role": s.word("role")}
    if "{platform}" in query and any(word in action for word in LISTS["platform"]):
        query, rewrite = F.ACTION_POINT[0]
    return (history, *both(s, query.format(**known), rewrite.format(**known)))


def reference_place(s):
    kind, x = topic(s)
    page = s.word("page")
    history = [said(s, "Where do I change {X}", x), capital(fill(s, s.pick(["In {page}.", "Open {page} and scroll down.", "Please look in {page}."]), page=page))]
    frame = fill(s, s.pick(F.PLACE_ASK))
    place = "to " + page if "get there" in frame or "go there" in frame else page if "from there" in frame else "in " + page
    return (history, *both(s, frame, frame.replace("there", place)))


def reference_noun(s):
    """"this order", "the file": a noun that points to a name with its number."""
    sort = s.pick(["order", "error", "device", "file", "plan"])
    x = {"order": f"order {s.pick('ABDKX')}-{s.number(10000, 999999)}", "error": s.word("code"), "device": s.word("product"), "plan": s.word("plan"),
         "file": s.pick(["quote", "contract", "names", "weekly", "design", "sketch"]) + s.pick(["-", "_", ""]) + s.number(1, 99) + "." + s.pick(["pdf", "docx", "xlsx", "zip"])}[sort]
    first = {"order": "When will {X} be sent", "error": "I keep getting {X}", "device": "I bought {X}", "plan": "We are on {X}", "file": "The upload of {X} failed"}[sort]
    history = [said(s, first, x), fill(s, s.pick(F.TROUBLE_REPLY))]
    more = {"order": ["Can I change the address of {X}", "How do I cancel {X}", "Please cancel {X}", "Where is {X} now"], "error": ["How do I fix {X}", "What does {X} mean", "How do I get rid of {X}"], "device": ["How long is the warranty for {X}", "How do I connect {X} to {integration}", "Can I return {X}"],
            "plan": ["When does {X} expire", "Can I add people to {X}", "How do I cancel {X}", "Does {X} include {feature}"], "file": ["Can {X} be restored", "How do I delete {X}", "Can {role} see {X}", "Why can't I open {X}"]}[sort]
    frame = hold(s, s.pick(more))
    pointer = s.pick(["this ", "that ", "the "]) + sort if s.chance(0.7) else "it"
    return (history, *both(s, put(frame, pointer), put(frame, x)))


# missing

def missing_topic(s):
    kind = s.weighted({kind: n for kind, n in ASKED.items() if any("[" in f for _, f in F.ASK[kind])})
    x = s.word(kind)
    history, used = about(s, kind, x, n_turns(s))
    frame = hold(s, ask(s, kind, used, bracket=True)[1])
    lead = s.pick(["And ", "and ", "So "]) if s.chance(0.15) else ""
    query = bare(frame)
    if s.chance(0.08):
        history = plain_topic(s) + history
    query = lead + query[:1].lower() + query[1:] if lead and not query.startswith(("I ", "I'")) else query
    return (history, *both(s, query, put(frame, x)))


def missing_much(s):
    """How much? When? Where? Why not? after a yes/no question."""
    kind = s.pick(["feature", "product", "plan"])
    x = s.word(kind)
    form = s.pick([("Does {X} cost extra", "Yes, it does.", "How much", "How much does {X} cost extra"), ("Does {X} cost anything", "Yes, but there is a trial.", "How much", "How much does {X} cost"), ("Is {X} available in {r}", "Yes, in some stores.", "Where", "Where is {X} available in {r}"),
                   ("Will {X} be updated", "Yes, it will.", "When", "When will {X} be updated"), ("Does {X} expire", "Yes.", "When", "When does {X} expire"), ("Can I cancel {X}", "Yes, you can.", "How", "How can I cancel {X}"), ("Can I share {X}", "Sure.", "With whom", "With whom can I share {X}"), ("Is {X} limited", "Yes, a bit.", "How", "How is {X} limited"),
                   ("Can I try {X}", "Yes, for free.", "For how long", "For how long can I try {X}"), ("Can I use {X} {p}", "No, sorry.", "Why not", "Why can I not use {X} {p}"), ("Does {X} support {f}", "No, it does not.", "Why not", "Why does {X} not support {f}")])
    known = {"X": x, "r": s.word("region"), "p": s.word("platform"), "f": s.word("format")}
    first, answer, query, rewrite = (part.format(**known) for part in form)
    return ([user(s, first), answer], *both(s, query, rewrite))


def short_of(s, slot):
    if slot in ("platform", "period"):
        return s.pick(F.SWAP_SHORT_PLATFORM)
    if slot in F.SWAP_SHORT_IN and s.chance(0.4):
        return s.pick(F.SWAP_SHORT_IN[slot])
    return s.pick(F.SWAP_SHORT)


def answer_class(frame):
    first = frame.lower()
    for start, kind in (("how much", "much"), ("how many", "limit"), ("how big", "limit"), ("how long", "when"), ("how often", "limit"), ("how", "how"), ("where", "where"), ("when", "when"), ("who", "who"), ("why", "why"), ("what", "what"), ("which", "what")):
        if first.startswith(start):
            return kind
    return "yes"


def missing_swap(s):
    slot = s.pick(list(F.SWAP))
    words = s.words(slot, 3)
    frame = fill(s, s.pick(F.SWAP[slot]), S="{S}")
    answer = answer_class(frame)
    history = [user(s, frame.replace("{S}", words[0])), reply(s, answer, "this")]
    if s.chance(0.25):
        history += [user(s, short_of(s, slot).replace("{S}", words[2])), reply(s, answer, "that")]
    if s.chance(0.1):
        history = plain_topic(s) + history
    return (history, *both(s, short_of(s, slot).replace("{S}", words[1]), frame.replace("{S}", words[1])))


def missing_pair(s):
    kind = s.weighted(ASKED)
    a, b = s.words(kind, 2)
    answer, frame = ask(s, kind)
    frame = hold(s, frame)
    history = [said(s, frame, a), reply(s, answer, a)]
    if s.chance(0.25):
        answer, more = ask(s, kind)
        frame = hold(s, more)
        history += [user(s, bare(frame) if "[" in frame else pointed(s, kind, frame)), reply(s, answer, a)]
    return (history, *both(s, s.pick(F.SWAP_SHORT[:11]).replace("{S}", b), put(frame, b)))


def missing_back(s):
    slot = s.pick(list(F.BACK_FRAME))
    word = s.word(slot)
    frame = fill(s, s.pick(F.BACK_FRAME[slot]), S="{S}")
    first = re.sub(r"( to| in| for| as| with| from)? ?\{S\}", "", frame) if slot not in ("thing", "feature") else {"thing": "I want to delete something", "feature": "How do I turn it off"}[slot]
    if slot == "thing":
        frame = "I want to delete {S}"
    if slot == "feature":
        frame = "How do I turn off {S}"
    history = [user(s, first), s.pick(F.ASK_BACK[slot])]
    query = s.pick(["{S}", "{S}", "{S} please", "It's {S}", "for {S}" if slot in ("role", "product") else "{S}"]).replace("{S}", word)
    query = query if s.chance(0.5) else query[:1].lower() + query[1:] if query.startswith("It") else query
    return history, query + s.pick(["", "", "."]), capital(frame.replace("{S}", word))


def missing_verb(s):
    """What about exporting? -> the object of the talk joins the verb."""
    x = s.word("thing")
    verb, ing = s.pick([("export", "exporting"), ("delete", "deleting"), ("print", "printing"), ("restore", "restoring"), ("merge", "merging"), ("rename", "renaming"), ("share", "sharing"), ("copy", "copying"), ("move", "moving"), ("archive", "archiving"), ("lock", "locking"), ("download", "downloading"), ("edit", "editing")])
    verb2 = s.pick(["open", "find", "upload", "change", "back up", "send"])
    form = s.weighted({"ing": 4, "how": 5})
    history = [said(s, f"How do I {verb2} {{X}}", x), reply(s, "how", s.pick([x, "this"]))]
    if form == "ing":
        return (history, *both(s, s.pick(["What about ", "And ", "How about ", "and "]) + ing, f"How do I {verb} {x}"))
    frame = s.pick(["How do I {V}", "And how do I {V}", "Can I also {V}", "Who can {V}", "Why can't I {V}", "How long does it take to {V}", "Am I allowed to {V}", "Where do I {V}"]).replace("{V}", verb)
    return (history, *both(s, frame, capital(frame.replace("And ", "") + " " + x)))


def missing_scope(s):
    """The asker said where or with what; the question leaves it out."""
    slot = s.pick(list(F.SCOPE))
    told, asked = F.SCOPE[slot]
    word = s.word(slot)
    history = [user(s, fill(s, s.pick(told), S=word)), s.pick(F.SCOPE_REPLY)]
    frame = fill(s, s.pick(asked), S="{S}")
    if s.chance(0.2):
        other = fill(s, s.pick(asked), S="{S}")
        history += [user(s, bare(other)), reply(s, answer_class(other), "that")]
    return (history, *both(s, bare(frame), closed(frame).replace("{S}", word)))


def missing_number(s):
    """The assistant asks for a number; the query is the number."""
    name, want = s.pick([("order", "I want to return something"), ("order", "Where is my delivery?"), ("order", "I need another address"), ("ticket", "I want to know the progress"), ("invoice", "I need a new invoice"), ("booking", "I want to cancel"), ("parcel", "My parcel has not come")])
    number = s.pick(["", "A", "DD-", "K-"]) + s.number(10000, 9999999)
    history = [want + s.pick(["", "."] if want[-1] != "?" else [""]), f"Could you give me the {name} number?"]
    query = s.pick(["{n}", "it's {n}", "The {t} number is {n}", "It is {n}.", "{n} I think"]).format(n=number, t=name)
    return history, query, f"{want.rstrip('?')}, the {name} number is {number}" + ("?" if want[-1] == "?" else "." if query[-1] == "." else "")


# vague

def vague_scope(s):
    """A report's region, period and figure hold for the next question."""
    m, r, p = s.word("metric"), s.word("region"), s.word("period")
    history = [user(s, s.pick(["What was the {m} in {r} {p}", "How was the {m} in {r} {p}", "Show me the {m} in {r} {p}"]).format(m=m, r=r, p=p)), fill(s, s.pick(["{n}, up {d}%.", "It was {n}.", "The {m} was {n}.", "{n} in total."]), m=m)]
    query, rewrite = s.pick([pair for pair in F.VAGUE_FACT if "{" not in pair[0] and "figures" not in pair[0]]
                            + [("What was the target", "What was the {m} target in {r} {p}"), ("Split by city please", "The {m} in {r} {p} split by city please"), ("What was the main reason", "What was the main reason for the {m} in {r} {p}"), ("Can I export that", "Can I export the {m} in {r} {p}"), ("Which store was worst", "Which store in {r} was worst by {m} {p}"),
                               ("How many of these were new customers", "How many of the {m} in {r} {p} were new customers"), ("Is that good", "Is the {m} in {r} {p} good"), ("How does that compare to the plan", "How does the {m} in {r} {p} compare to the plan")])
    known = {"m": m, "r": r, "p": p}
    return (history, *both(s, query.format(**known), rewrite.format(**known)))


def vague_report(s):
    region, region2, period, period2 = *s.words("region", 2), *s.words("period", 2)
    metric, metric2 = s.words("metric", 2)
    form = s.pick(["What was the {m} in {r} {p}", "How was the {m} in {r} {p}", "Show me the {m} in {r} {p}", "Did the {m} in {r} grow {p}", "Was the {m} in {r} on target {p}", "I need the {m} for {r} {p}"])
    history = [user(s, form.format(m=metric, r=region, p=period)), fill(s, s.pick(["{n}, up {d}%.", "It was {n}.", "The {m} was {n}, rank {d}.", "Yes, {n}.", "It fell by {d}%."]), m=metric)]
    now = {"m": metric, "r": region, "p": period}
    if s.chance(0.3):
        slot = s.pick("rp")
        now[slot] = s.word({"r": "region", "p": "period"}[slot], [region, region2, period, period2])
        history += [user(s, "and " + ("in " if slot == "r" else "") + now[slot]), fill(s, "{n}.")]
    slot = s.weighted({"p": 4, "r": 3, "m": 3})
    word = {"p": period2, "r": region2, "m": metric2}[slot]
    now[slot] = word
    short = s.pick({"p": ["And {S}", "What about {S}", "and {S}", "How about {S}", "{S}"], "r": ["And in {S}", "What about {S}", "And {S}", "in {S}"], "m": ["And the {S}", "What about the {S}", "the {S}", "And {S}"]}[slot])
    return (history, *both(s, short.replace("{S}", word), form.format(**now)))


def vague_trouble(s):
    trouble = fill(s, s.pick(F.TROUBLE))
    history = [s.pick(["", "", "hi, ", "Hello, "]) + trouble + s.pick(["", ".", "!"]), fill(s, s.pick(F.TROUBLE_REPLY))]
    if s.chance(0.3):
        history += [s.pick(["since yesterday", "the network is fine", "I restarted, no change", "yes", "the newest one", "still the same"]), s.pick(["Thanks, I am looking into it.", "I see, one moment please.", "Noted."])]
    query, rewrite = s.pick(F.TROUBLE_TAIL)
    return (history, *both(s, query, rewrite.replace("{T}", trouble)))


def vague_why(s):
    kind = s.pick(["feature", "product", "thing", "plan"])
    x = s.word(kind)
    verb, rest = s.pick([("is", "not available {platform}"), ("is", "not free"), ("does", "not support {format}"), ("is", "limited to {role}"), ("is", "paused"), ("can", "not be shared with {role}"), ("is", "no longer sold"), ("does", "not work with {integration}"), ("is", "slower {platform}"), ("has to", "be approved by {role}")][:9])
    rest = fill(s, rest)
    history = [said(s, hold(s, ask(s, kind)[1]), x), f"{'Sorry, ' if s.chance(0.7) else 'I am afraid '}{x} {verb} {rest}."]
    return (history, *both(s, s.pick(["Why", "why", "Why is that", "How come", "But why"]), f"Why {verb} {x} {rest}"))


def vague_detail(s):
    kind, x = topic(s)
    history, _ = about(s, kind, x, 1)
    query, rewrite = s.pick([("Tell me more", "Tell me more about {X}"), ("More details please", "More details about {X} please"), ("Is there a tutorial", "Is there a tutorial for {X}"), ("Any examples", "Any examples for {X}"), ("Anything else I should know", "Anything else I should know about {X}"), ("Is there a video", "Is there a video about {X}"),
                             ("Where can I read more", "Where can I read more about {X}"), ("Do you have the docs", "Do you have the docs for {X}"), ("Can you explain that", "Can you explain {X}"), ("go on", "go on about {X}")])
    return (history, *both(s, query, put(rewrite, x)))


# complete

def whole_query(s):
    if s.chance(0.35):
        text = fill(s, s.pick(F.WHOLE))
        if text[:1].islower() and s.chance(0.5):
            return text
        return both(s, text, text)[0]
    form = s.weighted({"ask": 4, "swap": 3, "action": 2})
    if form == "ask":
        kind, x = topic(s)
        text = put(hold(s, ask(s, kind)[1]), x)
    elif form == "swap":
        slot = s.pick(list(F.SWAP))
        text = fill(s, s.pick(F.SWAP[slot]), S=s.word(slot))
    else:
        text = s.pick(F.ACTION_FIRST).replace("{A}", fill(s, s.pick(F.ACTION)))
    return both(s, text, text)[0]


def complete(s):
    if s.chance(0.06):
        query = both(s, *[s.pick(F.OPEN)] * 2)[0]
        return list(s.pick(F.EMPTY_TALK)) if s.chance(0.5) else [], query, query
    form = s.weighted({"same": 5, "switch": 3, "none": 2, "facts": 0.7})
    if form == "same":
        kind, x = topic(s)
        history, used = about(s, kind, x, n_turns(s))
        if s.chance(0.3):
            x = s.word(kind, [x])
        text = put(hold(s, ask(s, kind, used)[1]), x)
        query = both(s, text, text)[0]
        return history, query, query
    query = whole_query(s)
    history = []
    if form == "switch":
        history = about(s, *topic(s), n_turns(s))[0]
    elif form == "facts":
        history = facts(s, s.rng.sample(["product", "plan", "region", "period", "metric", "platform", "role"], 2))[0]
    return history, query, query


# fact

NAMES = {"product": ["product", "app"], "plan": ["plan", "subscription"], "region": ["region", "location", "country"], "period": ["period", "time", "date_range"], "metric": ["metric", "kpi"], "platform": ["platform", "device"], "role": ["role", "audience"], "feature": ["feature", "page"], "code": ["error", "last_error"], "version": ["version"], "thing": ["item", "subject"]}


def plain_value(kind, value):
    """`on Android` is written down as `Android`, `the Pro plan` as `Pro`, `in March` as `March`."""
    if kind == "plan":
        return value.removeprefix("the ").removesuffix(" plan")
    return re.sub(r"^(on|in|at|over) ((a|an|the|my) )?", "", value) if kind in ("platform", "period") else value


def facts(s, kinds):
    values = {kind: s.word(kind) for kind in kinds}
    lines = [f"{s.pick(NAMES[kind])}: {plain_value(kind, value)}" for kind, value in values.items()]
    for line in ["locale: en-US", f"timezone: {s.pick(['Europe/Berlin', 'America/New_York', 'UTC'])}", f"user: {s.pick(['marta', 'Joe', 'wendy', 'L. Ruiz'])}", f"tenant: t{s.number(1, 99)}"]:
        if s.chance(0.2):
            lines.append(line)
    s.rng.shuffle(lines)
    return lines, values


def fact(s):
    form = s.weighted({"topic": 5, "report": 4, "slot": 4})
    if form == "topic":
        kind = s.weighted({"product": 5, "feature": 2, "code": 2, "thing": 1, "plan": 1})
        lines, values = facts(s, [kind] + ([s.pick(["role", "region"])] if s.chance(0.4) else []))
        use_bracket = s.chance(0.6)
        frame = hold(s, ask(s, kind, bracket=use_bracket)[1])
        query = bare(frame) if use_bracket else pointed(s, kind, frame)
        if s.chance(0.25):
            lines += [s.pick(["hello", "Hi!", "I have a question.", "anyone there?"]), s.pick(["Hello, how can I help?", "Hi, go ahead.", "Sure."])]
        return (lines, *both(s, query, put(frame, values[kind])))
    if form == "report":
        lines, values = facts(s, ["region", "period", "metric"])
        query, rewrite = s.pick(F.VAGUE_FACT)
        known = {"m": values["metric"], "r": values["region"], "p": values["period"]}
        return (lines, *both(s, query.format(**known), rewrite.format(**known)))
    slot = s.pick(["platform", "plan", "product", "region"])
    lines, values = facts(s, [slot])
    frame = fill(s, s.pick({"platform": F.SWAP["platform"], "plan": ["How many users can I have[ with {S}]", "Is {feature} available[ in {S}]", "What is included[ in {S}]"], "product": ["How do I reset my password[ in {S}]", "How do I turn on {feature}[ in {S}]", "Is there a student discount[ for {S}]"],
                            "region": ["Is {product} available[ in {S}]", "Do you have a store[ in {S}]", "How long does delivery take[ to {S}]", "who do I call for support[ in {S}]", "What is the weather like[ in {S}]"]}[slot]), S="{S}")
    query = bare(frame).replace(" {S}", "")
    return (lines, *both(s, query, closed(frame).replace("{S}", values[slot])))


# noise

def noise(s):
    form = s.weighted({"long": 4, "older": 3, "injection": 3})
    if form == "long":
        history, query, rewrite = s.pick([reference_single, missing_topic, missing_swap])(s)
        history = list(history)
        history[-1] += fill(s, s.pick(F.LONG))
        return history, query, rewrite
    if form == "injection":
        history, query, rewrite = s.pick([reference_single, missing_topic, missing_swap, complete])(s)
        place = 2 * s.rng.randrange(len(history) // 2 + 1) if history and ": " not in history[0] else len(history)
        return history[:place] + [s.pick(F.INJECTION), s.pick(["Sorry, I can't do that.", "What else can I do for you?", "I only answer questions about the product."])] + history[place:], query, rewrite
    if s.chance(0.5):
        target, pointer = s.word("code"), s.pick(["that error", "the error from before", "that code"])
        first, frame = s.pick([("What does {X} mean", "How do I fix {X}"), ("Why do I get {X}", "Is {X} serious")])
    else:
        target = s.word("device")
        pointer = s.pick(["the broken device", "that device", "the appliance"])
        first, frame = s.pick([("{X} is broken", "How long is the warranty for {X}"), ("Who repairs {X}", "How long does the repair of {X} take")])
    kind = s.pick(["product", "thing"])
    history = [said(s, first, target), reply(s, "why", "this")] + about(s, kind, s.word(kind), 1)[0]
    return (history, *both(s, put(frame, pointer), put(frame, target)))


KINDS = {
    "reference": {reference_single: 10, reference_introduced: 4, reference_ordinal: 6, reference_two: 4, reference_action: 3, reference_place: 1.5, reference_noun: 3},
    "missing": {missing_topic: 8, missing_swap: 9, missing_pair: 4, missing_back: 2.5, missing_verb: 3, missing_much: 2, missing_scope: 2.5, missing_number: 0.7},
    "vague": {vague_report: 4, vague_scope: 3, vague_trouble: 3, vague_why: 2, vague_detail: 2},
    "complete": {complete: 1},
    "fact": {fact: 1},
    "noise": {noise: 1},
}
