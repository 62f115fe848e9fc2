"""Chinese dialogues, a function a kind; each returns (history, query, rewrite)."""
import re

from support import zh_frames as F, zh_words

LISTS, MAKERS = zh_words.LISTS, zh_words.MAKERS
LISTS["host"] = F.HOST
ASKED = {"feature": 5, "product": 5, "thing": 4, "code": 2, "plan": 1, "role": 1, "mode": 1}
POLITE = ["请问", "请问", "想问下", "我想知道", "问一下", "麻烦问下", "您好，"]


ASKS = re.compile("吗|么|怎|如何|什么|哪|谁|多少|几|多久|多大|不$|为|啥|咋|呢|是否|能否")


def number_slots(s):
    return {"n": s.number(2, 500), "d": s.number(2, 9)}


def fill(s, frame, **known):
    return s.fill(frame, **{**number_slots(s), **known})


def ending(s, text, question=True):
    """Adds a question mark, or none."""
    if text[-1] in "。！？?!…":
        return text
    return text + s.weighted({"？": 6, "": 5, "?": 1} if question else {"": 4, "。": 2, "！": 1})


def spoken(s, text):
    """Colloquial variants of one wording."""
    swaps = [("怎么", "如何"), ("吗", "么"), ("多少钱", "啥价格"), ("怎么", "咋"), ("什么", "啥"), ("在哪里", "在哪儿"), ("吗", "不")]
    if s.chance(0.12):
        old, new = s.pick(swaps)
        if new != "不" or text.endswith("吗"):
            text = text.replace(old, new)
    if s.chance(0.06) and text[-1] not in "吗呢么不":
        text += s.pick(["啊", "呀", "呢"])
    return text


def user(s, text):
    """A user's turn in the history."""
    prefix = s.pick(POLITE) if s.chance(0.12) else ""
    return ending(s, prefix + text) if ASKS.search(text) else text + s.pick(["", "", "。"])


def reply(s, kind, x):
    return fill(s, s.pick(F.ANSWER[kind])[1], X=x)


def topic(s):
    kind = s.weighted(ASKED)
    return kind, s.word(kind)


def ask(s, kind, avoid=(), front=False):
    """(class of answer, frame) with its slots filled but {X}; `front`: {X} stands first."""
    while True:
        answer, frame = s.pick(F.ASK[kind])
        if frame in avoid or (front and not frame.startswith("{X}")):
            continue
        return answer, frame


def put(frame, x):
    return frame.replace("{X}", x)


def hold(s, frame):
    """Fills every slot but {X}."""
    return fill(s, frame, X="{X}")


def about(s, kind, x, turns):
    """`turns` question/answer pairs about x; the first names it, later ones may point or leave out."""
    history, used = [], []
    for turn in range(turns):
        answer, frame = ask(s, kind, used)
        used.append(frame)
        frame = hold(s, frame)
        shown = x if turn == 0 or s.chance(0.3) else ("" if frame.startswith("{X}") and s.chance(0.5) else s.pick(F.POINT[kind]))
        history += [user(s, put(frame, shown)), reply(s, answer, x)]
    return history, used


def both(s, query, rewrite, question=True):
    """The same ending, polite word and colloquial form for the query and its rewrite."""
    if s.chance(0.10) and not query.startswith(("请问", "你好", "您好", "谢谢")):
        prefix = s.pick(POLITE)
        query, rewrite = prefix + query, prefix + rewrite
    end = ending(s, "x", question)[1:]
    return query + end, rewrite + end


def turns(s):
    return s.weighted({1: 6, 2: 3, 3: 1})


def plain_topic(s):
    """Another conversation about something else."""
    kind, x = topic(s)
    return about(s, kind, x, 1)[0]


# reference

def reference_single(s):
    kind, x = topic(s)
    history, used = about(s, kind, x, turns(s))
    frame = spoken(s, hold(s, ask(s, kind, used)[1]))
    if s.chance(0.08):
        history = plain_topic(s) + history
    return (history, *both(s, put(frame, s.pick(F.POINT[kind])), put(frame, x)))


def reference_introduced(s):
    kind = s.pick(["feature", "product"])
    x = s.word(kind)
    first, answer = s.pick(F.INTRODUCE if kind == "feature" else F.INTRODUCE_PRODUCT)
    history = [user(s, fill(s, first)), fill(s, answer, X=x)]
    frame = spoken(s, hold(s, ask(s, kind)[1]))
    return (history, *both(s, put(frame, s.pick(F.POINT[kind])), put(frame, x)))


def reference_ordinal(s):
    """An answer lists options; the query counts them off."""
    kind = s.pick(["mode", "mode", "plan", "feature", "product"])
    count = s.weighted({2: 4, 3: 4, 4: 1})
    options = s.words(kind, count)
    whole = s.word("product", options)
    history = [user(s, fill(s, s.pick(F.LIST_ASK), X=whole, K=s.pick(F.LIST_KIND[kind]))),
               fill(s, s.pick(F.LIST_ANSWER[count]), **dict(zip("abcd", options)))]
    place = s.rng.randrange(count)
    frame = spoken(s, hold(s, ask(s, kind)[1]))
    if count == 2 and s.chance(0.35):
        return other_of(s, kind, options, history)
    pointer = s.pick(F.ORDINAL[count][place])
    if s.chance(0.25):
        swap = s.rng.randrange(count)
        if swap != place:
            return counted_off(s, kind, options, history, swap, place, count)
    return (history, *both(s, put(frame, pointer), put(frame, options[place])))


def other_of(s, kind, options, history):
    """One of two was asked about; the query means the other."""
    one, two = options if s.chance(0.5) else options[::-1]
    answer, frame = ask(s, kind)
    frame = hold(s, frame)
    history = history + [user(s, put(frame, one)), reply(s, answer, one)]
    pointer = s.pick(F.OTHER)
    if s.chance(0.55):
        return (history, *both(s, s.pick(["", "那"]) + pointer + "呢", put(frame, two)))
    frame = spoken(s, hold(s, ask(s, kind)[1]))
    return (history, *both(s, put(frame, pointer), put(frame, two)))


def counted_off(s, kind, options, history, asked, wanted, count):
    """第一个多少钱 … 那第二个呢."""
    answer, frame = ask(s, kind)
    frame = hold(s, frame)
    named = s.pick(F.ORDINAL[count][asked]) if s.chance(0.5) else options[asked]
    history = history + [user(s, put(frame, named)), reply(s, answer, "这个" if s.chance(0.3) else options[asked])]
    return (history, *both(s, s.pick(["", "那"]) + s.pick(F.ORDINAL[count][wanted]) + "呢", put(frame, options[wanted])))


def reference_two(s):
    kind = s.pick(["feature", "product", "plan", "mode", "thing", "role"])
    a, b = s.words(kind, 2)
    history = [user(s, fill(s, s.pick(F.TWO), A=a, B=b)), fill(s, s.pick(F.TWO_ANSWER), A=a, B=b)]
    if s.chance(0.3):
        return other_of(s, kind, [a, b], history)
    place = s.rng.randrange(2)
    frame = spoken(s, hold(s, ask(s, kind)[1]))
    pointer = s.pick(F.ORDINAL[2][place])
    if s.chance(0.1):
        return (history, *both(s, put(frame, s.pick(["它们", "两者", "这两个"])), put(frame, f"{a}和{b}")))
    return (history, *both(s, put(frame, pointer), put(frame, [a, b][place])))


def reference_action(s):
    action = fill(s, s.pick(F.ACTION))
    history = [user(s, fill(s, s.pick(F.ACTION_FIRST), A=action)), reply(s, s.pick(["how", "yes"]), s.pick(["它", "这个"]))]
    frame = fill(s, s.pick(F.ACTION_POINT), P="{P}")
    pointer = s.pick(["这样做", "这么做", "这样操作", "这个操作", "这样"])
    if s.chance(0.5) and frame.startswith("{P}"):
        pointer = ""
    return (history, *both(s, frame.replace("{P}", pointer), frame.replace("{P}", action)))


def reference_place(s):
    kind, x = topic(s)
    page = s.word("page")
    history = [user(s, put("{X}在哪里设置", x)), fill(s, s.pick(["在{page}里。", "打开{page}就能看到{X}。", "{page}里有入口。"]), page=page, X=x)]
    frame = fill(s, s.pick(F.PLACE_ASK))
    for pointer in ["那里", "那儿", "那边"]:
        if pointer in frame:
            return (history, *both(s, frame, frame.replace(pointer, page, 1)))


def reference_noun(s):
    """这个{name}: a pointer before a noun of the dialogue (该设备, 这个订单)."""
    thing, name = s.pick([("order", "订单"), ("code", "错误"), ("device", "设备"), ("file", "文件"), ("plan", "套餐")])
    x = {"order": "订单" + s.pick(["", "号"]) + s.pick("ABDKX") + s.number(10000, 999999), "code": s.word("code"), "device": s.word("product"), "plan": s.word("plan"),
         "file": s.pick(["报价", "合同", "名单", "周报", "设计稿", "草图"]) + s.number(1, 99) + "." + s.pick(["pdf", "docx", "xlsx", "zip"])}[thing]
    first = {"order": "{X}什么时候发货", "code": "系统一直报{X}", "device": "我买了{X}", "plan": "我们公司在用{X}", "file": "{X}上传失败了"}[thing]
    history = [user(s, put(first, x)), fill(s, s.pick(F.TROUBLE_REPLY))]
    ask_more = {"order": ["{X}能改地址吗", "{X}怎么取消", "{X}可以开发票吗", "帮我取消{X}", "{X}到哪了"], "code": ["{X}怎么解决", "{X}是什么意思", "怎么消除{X}"], "device": ["{X}保修多久", "{X}怎么连接{integration}", "{X}能退吗"],
                "plan": ["{X}什么时候到期", "{X}能加人吗", "怎么取消{X}", "{X}包含{feature}吗"], "file": ["{X}还能恢复吗", "怎么删除{X}", "{role}能看到{X}吗", "{X}为什么打不开"]}[thing]
    frame = spoken(s, fill(s, s.pick(ask_more), X="{X}"))
    pointer = s.pick(["这个", "那个", "该", "这"]) + name if s.chance(0.7) else "它"
    return (history, *both(s, put(frame, pointer), put(frame, x)))


# missing

def missing_topic(s):
    kind, x = topic(s)
    history, used = about(s, kind, x, turns(s))
    frame = spoken(s, hold(s, ask(s, kind, used, front=True)[1]))
    rest = put(frame, "").lstrip("的 ，")
    if s.chance(0.25):
        rest = "那" + rest
    if s.chance(0.08):
        history = plain_topic(s) + history
    return (history, *both(s, rest, put(frame, x)))


def missing_swap(s):
    slot = s.pick(list(F.SWAP))
    words = s.words(slot, 3)
    frame = spoken(s, fill(s, s.pick(F.SWAP[slot]), S="{S}"))
    answer = "yes" if frame[-1] in "吗么不" else s.pick(["how", "much", "limit", "what"]) if "怎么" not in frame else "how"
    history = [user(s, frame.replace("{S}", words[0])), reply(s, answer, s.pick(["它", "这个"]) if s.chance(0.4) else words[0])]
    if s.chance(0.25):
        history += [user(s, fill(s, s.pick(F.SWAP_SHORT), S=words[2])), reply(s, answer, words[2])]
    if s.chance(0.10):
        history = plain_topic(s) + history
    short = s.pick(F.SWAP_SHORT)
    return (history, *both(s, short.replace("{S}", words[1]), frame.replace("{S}", words[1])))


def missing_pair(s):
    """A topic was asked about; now another predicate of another topic: {Y}呢 -> the whole predicate."""
    kind = s.weighted(ASKED)
    a, b = s.words(kind, 2)
    answer, frame = ask(s, kind)
    frame = spoken(s, hold(s, frame))
    history = [user(s, put(frame, a)), reply(s, answer, a)]
    if s.chance(0.2):
        more = hold(s, ask(s, kind, [frame])[1])
        history += [user(s, put(more, s.pick(["它", ""])) if more.startswith("{X}") else put(more, "它")), reply(s, "how", a)]
        frame = more
    return (history, *both(s, s.pick(F.SWAP_SHORT).replace("{S}", b), put(frame, b)))


def missing_back(s):
    """The assistant asks back; the query is the bare answer."""
    slot = s.pick(list(F.BACK_FRAME))
    word = s.word(slot)
    frame = fill(s, s.pick(F.BACK_FRAME[slot]), S="{S}")
    bare = frame.replace("{S}", "").replace("成 ", "").strip()
    if bare.endswith(("成", "到", "给", "对接")) or bare.startswith(("寄到", "的")) or "给开通" in bare or "到要" in bare:
        bare = {"format": "怎么导出", "role": "怎么开通", "integration": "怎么对接", "region": "几天能到", "version": "怎么升级"}.get(slot, bare)
        frame = {"format": "怎么导出{S}", "role": "{S}怎么开通", "integration": "怎么对接{S}", "region": "{S}几天能到", "version": "怎么升级到 {S}"}.get(slot, frame)
    history = [user(s, bare), s.pick(F.ASK_BACK[slot])]
    said = s.pick(["{S}", "{S}", "{S}的", "是{S}", "就是{S}"] + (["我用的是{S}"] * 2 if slot in ("plan", "product", "version", "device") else []))
    query = said.replace("{S}", word)
    return history, ending(s, query, False) if s.chance(0.3) else query, frame.replace("{S}", word)


def missing_object(s):
    """怎么导出: the verb is there, its object is not."""
    thing = s.word("thing")
    verb = s.pick("导出 删除 打印 恢复 转让 合并 分享 修改 查看 下载 归档 重命名 撤回 备份 复制 移动 锁定 隐藏 置顶 续期 取消".split())
    history, _ = about(s, "thing", thing, turns(s))
    tail = s.pick(["", "", "", "到{integration}", "给{role}", "成{format}"]) if verb in "导出 分享 转让 备份 复制" else ""
    frame = fill(s, s.pick(["怎么{V}{X}", "怎样{V}{X}", "能{V}{X}吗", "可以{V}{X}吗", "谁能{V}{X}", "为什么不能{V}{X}", "在哪里{V}{X}", "如何批量{V}{X}", "{V}{X}要多久", "{V}{X}需要什么权限", "我想{V}{X}"]), V=verb, X="{X}")
    frame = spoken(s, frame) + ("" if frame[-1] in "吗久限" else fill(s, tail))
    prefix = s.pick(["", "", "那"])
    return (history, *both(s, prefix + put(frame, ""), put(frame, thing)))


def missing_scope(s):
    """The asker said who, where or with what; the question leaves it out."""
    slot = s.pick(list(F.SCOPE))
    said, asked = F.SCOPE[slot]
    word = s.word(slot)
    history = [user(s, fill(s, s.pick(said), S=word)), s.pick(F.SCOPE_REPLY)]
    frame = spoken(s, fill(s, s.pick(asked), S="{S}"))
    if s.chance(0.2):
        other = spoken(s, fill(s, s.pick(asked), S="")).lstrip("的")
        history += [user(s, other), reply(s, "yes", word)]
    return (history, *both(s, s.pick(["", "", "那"]) + frame.replace("{S}", "").lstrip("的"), frame.replace("{S}", word)))


def missing_number(s):
    """The assistant asks for a number; the query is the number."""
    name, want = s.pick([("订单", "我想退货"), ("订单", "我要查物流"), ("订单", "帮我改收货地址"), ("工单", "我想催一下进度"), ("发票", "我要重开发票"), ("保单", "我想退保"), ("快递", "快递还没到")])
    number = s.pick(["", "A", "DD", "K-"]) + s.number(10000, 9999999)
    history = [want, f"请提供一下{name}号。"]
    query = s.pick(["{n}", "是{n}", "{t}号是{n}", "{t}号{n}"]).format(n=number, t=name)
    return history, query, f"{want}，{name}号是{number}"


# vague

def vague_scope(s):
    """A report's region, period and figure hold for the next question."""
    known = {kind: s.word(kind) for kind in ("region", "period", "metric")}
    first = fill(s, s.pick(["{region}{period}的{metric}是多少", "查一下{region}{period}的{metric}", "{period}{region}{metric}怎么样"]), **known)
    query, rewrite = s.pick([pair for pair in F.VAGUE_FACT if "{" not in pair[0] and "数字" not in pair[0] and "情况" not in pair[0]]
                            + [("按城市拆开的呢", "{region}{period}按城市拆开的{metric}"), ("目标是多少", "{region}{period}的{metric}目标是多少"), ("主要是什么原因", "{region}{period}的{metric}主要是什么原因"), ("比去年同期呢", "{region}{period}的{metric}比去年同期"),
                               ("能导出吗", "{region}{period}的{metric}能导出吗"), ("最低的是哪家店", "{region}{period}{metric}最低的是哪家店"), ("其中新用户占多少", "{region}{period}的{metric}其中新用户占多少")])
    history = [user(s, first), fill(s, s.pick(["{n}，比上期高{d}%。", "是{n}。", "{metric}为{n}。", "一共{n}。"]), **known)]
    return (history, *both(s, query, fill(s, rewrite, **known)))


def vague_report(s):
    region, region2 = s.words("region", 2)
    period, period2 = s.words("period", 2)
    metric, metric2 = s.words("metric", 2)
    form = s.pick(["{r}{p}的{m}是多少", "{r}{p}{m}怎么样", "{p}{r}的{m}", "查一下{r}{p}的{m}", "{p}{r}的{m}达标了吗", "{r}{p}的{m}比去年高吗", "帮我看下{r}{p}的{m}"])
    history = [user(s, fill(s, form, r=region, p=period, m=metric)), fill(s, s.pick(["{n}，比上期高{d}%。", "是{n}。", "{m}为{n}，排名第{d}。", "达标，{n}。", "下降了{d}%。"]), m=metric)]
    new = s.weighted({"p": 4, "r": 3, "m": 3})
    word = {"p": period2, "r": region2, "m": metric2}[new]
    rewrite = fill(s, form, **{"r": region, "p": period, "m": metric, new: word})
    if s.chance(0.3):
        second = {"p": s.word("period", [period, period2]), "r": s.word("region", [region, region2]), "m": s.word("metric", [metric, metric2])}
        other = s.pick([k for k in "prm" if k != new])
        history += [user(s, s.pick(["{S}呢", "那{S}呢"]).replace("{S}", second[other])), fill(s, "是{n}。")]
        rewrite = fill(s, form, **{"r": region, "p": period, "m": metric, other: second[other], new: word})
    return (history, *both(s, s.pick(F.SWAP_SHORT[:5] + ["{S}的呢", "{S}情况如何"][:1]).replace("{S}", word), rewrite))


def vague_trouble(s):
    trouble = fill(s, s.pick(F.TROUBLE))
    history = [s.pick(["", "你好，", "我的", ""]).replace("我的", "") + trouble + s.pick(["", "。", "了", ""]).replace("了", ""), fill(s, s.pick(F.TROUBLE_REPLY))]
    if s.chance(0.3):
        history += [s.pick(["昨天开始的", "网络正常", "重启过了，没用", "是的", "最新版", "还是不行"]), s.pick(["好的，我查一下。", "明白了，请稍等。", "收到。"])]
    tail = s.pick(F.TROUBLE_TAIL)
    return (history, *both(s, s.pick(["", "", "这", "那"]) + tail, trouble + tail))


def vague_why(s):
    """不支持 … 为什么 -> 为什么 + what was said."""
    kind = s.pick(["feature", "product", "thing", "plan", "role"])
    x = s.word(kind)
    fact = fill(s, s.pick(["{X}不支持{format}", "{X}在{platform}用不了", "{X}要收费", "{X}不能共享给{role}", "{X}暂停使用了", "{X}需要{role}审批", "{X}只保留{n}天", "{X}下架了", "{X}涨价了", "{X}被限制了"]), X=x)
    first = user(s, put(hold(s, ask(s, kind)[1]), x))
    history = [first, fact + s.pick(["。", "，抱歉。", "。"])]
    query = s.pick(["为什么", "为啥", "为什么呢", "这是为什么", "这是怎么回事"])
    if query.endswith("回事"):
        return (history, *both(s, query, fact + "是怎么回事"))
    return (history, *both(s, query, ("为啥" if query == "为啥" else "为什么") + fact))


def vague_detail(s):
    kind, x = topic(s)
    history, _ = about(s, kind, x, 1)
    frame = s.pick([("详细介绍一下", "详细介绍一下{X}"), ("再说详细点", "{X}再说详细点"), ("有教程吗", "{X}有教程吗"), ("有例子吗", "{X}有例子吗"), ("还有别的要注意的吗", "{X}还有别的要注意的吗"),
                    ("有没有更便宜的", "{X}有没有更便宜的"), ("有视频吗", "{X}有视频吗"), ("有文档吗", "{X}有文档吗"), ("具体说说", "具体说说{X}"), ("能讲细一点吗", "{X}能讲细一点吗")])
    return (history, *both(s, frame[0], put(frame[1], x)))


# complete

def whole_query(s):
    if s.chance(0.35):
        text = fill(s, s.pick(F.WHOLE))
    elif s.chance(0.5):
        kind, x = topic(s)
        text = put(spoken(s, hold(s, ask(s, kind)[1])), x)
    elif s.chance(0.7):
        text = spoken(s, swap_whole(s))
    else:
        text = fill(s, s.pick(F.ACTION_FIRST), A=fill(s, s.pick(F.ACTION)))
    return both(s, text, text)[0] if text not in F.WHOLE else ending(s, text, False)


def swap_whole(s):
    slot = s.pick(list(F.SWAP))
    return fill(s, s.pick(F.SWAP[slot]), S=s.word(slot))


def complete(s):
    if s.chance(0.06):
        query = both(s, *[s.pick(F.OPEN)] * 2)[0]
        return list(s.pick(F.EMPTY_TALK)) if s.chance(0.5) else [], query, query
    query = whole_query(s)
    form = s.weighted({"same": 5, "switch": 3, "none": 2, "facts": 0.7})
    history = []
    if form == "switch":
        kind, x = topic(s)
        history = about(s, kind, x, turns(s))[0]
    elif form == "same":
        return complete_same(s)
    elif form == "facts":
        history = facts(s, s.rng.sample(["product", "plan", "region", "period", "metric", "platform", "role"], 2))[0]
    return history, query, query


def complete_same(s):
    """The topic goes on, and the question names it (or the next thing) in full."""
    kind, x = topic(s)
    history, used = about(s, kind, x, turns(s))
    if s.chance(0.3):
        x = s.word(kind, [x])
    query = put(spoken(s, hold(s, ask(s, kind, used)[1])), x)
    query = both(s, query, query)[0]
    return history, query, query


# fact

NAMES = {"product": ["product", "app", "产品"], "plan": ["plan", "套餐", "subscription"], "region": ["region", "location", "地区"], "period": ["period", "时间", "month"], "metric": ["metric", "指标"],
         "platform": ["platform", "device", "平台"], "role": ["role", "角色"], "feature": ["feature", "page", "功能"], "code": ["error", "last_error", "错误码"], "version": ["version", "版本"], "thing": ["item", "对象"]}


def facts(s, kinds):
    """Lines `name: value`; some that say nothing to the question among them."""
    values = {kind: s.word(kind) for kind in kinds}
    lines = [f"{s.pick(NAMES[kind])}: {re.sub('[上里]$', '', value)}" for kind, value in values.items()]
    for line in [s.pick(["locale: zh-CN", "locale: zh-TW"]), f"timezone: {s.pick(['Asia/Shanghai', 'Asia/Tokyo', 'UTC'])}", f"user: {s.pick(['小林', '老周', 'wendy', '阿杰'])}", f"tenant: t{s.number(1, 99)}"]:
        if s.chance(0.2):
            lines.append(line)
    s.rng.shuffle(lines)
    return lines, values


def fact(s):
    form = s.weighted({"topic": 5, "report": 4, "slot": 4})
    if form == "topic":
        kind = s.weighted({"product": 5, "feature": 2, "code": 2, "thing": 1})
        lines, values = facts(s, [kind] + ([s.pick(["role", "region"])] if s.chance(0.4) else []))
        frame = spoken(s, hold(s, ask(s, kind, front=True)[1]))
        query = put(frame, "" if s.chance(0.6) else s.pick(F.POINT[kind])).lstrip("的 ")
        if s.chance(0.25):
            lines += [s.pick(["你好", "在吗", "有个问题", "想咨询一下"]), s.pick(["您好，请讲。", "您好，有什么可以帮您？", "在的。"])]
        return (lines, *both(s, query, put(frame, values[kind])))
    if form == "report":
        kinds = ["region", "period", "metric"]
        lines, values = facts(s, kinds)
        query, rewrite = s.pick(F.VAGUE_FACT)
        return (lines, *both(s, fill(s, query, **values), fill(s, rewrite, **values)))
    slot = s.pick(["platform", "plan", "product"])
    lines, values = facts(s, [slot])
    frame = spoken(s, fill(s, s.pick([f for f in F.SWAP[slot] if f.startswith("{S}") or f.startswith("在{S}")]), S="{S}"))
    return (lines, *both(s, frame.replace("在{S}", "").replace("{S}", "").lstrip("的"), frame.replace("{S}", values[slot])))


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
        ack = s.pick(["抱歉，这个我做不到。", "请问还有什么可以帮您？", "我只能回答产品问题。"])
        return history[:place] + [s.pick(F.INJECTION), ack] + history[place:], query, rewrite
    # The query names a noun of the older topic.
    code, x = s.word("code"), s.word(s.pick(["product", "feature"]))
    device = s.word("device")
    first, frame = s.pick([(f"{code}是什么意思", "{P}怎么解决"), (f"为什么提示{code}", "{P}严重吗")]) if s.chance(0.5) else s.pick([(f"我的{device}坏了", "{P}保修多久"), (f"{device}怎么报修", "{P}修好要多久")])
    target, pointer = (code, s.pick(["那个错误", "刚才的报错", "那个错误码"])) if code in first else (device, s.pick(["那台设备", "坏的那个", "那个机器"]))
    kind = "product" if s.chance(0.5) else "thing"
    other = s.word(kind)
    history = [user(s, first), reply(s, "why", target)] + about(s, kind, other, 1)[0]
    return (history, *both(s, frame.replace("{P}", pointer), frame.replace("{P}", target)))


KINDS = {
    "reference": {reference_single: 10, reference_introduced: 4, reference_ordinal: 6, reference_two: 4, reference_action: 2, reference_place: 1.5, reference_noun: 3},
    "missing": {missing_topic: 9, missing_swap: 9, missing_pair: 4, missing_back: 2.5, missing_object: 4, missing_scope: 2.5, missing_number: 0.7},
    "vague": {vague_report: 4, vague_scope: 3, vague_trouble: 3, vague_why: 2, vague_detail: 2},
    "complete": {complete: 1},
    "fact": {fact: 1},
    "noise": {noise: 1},
}
