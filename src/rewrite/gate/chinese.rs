//! What a Chinese query leaves open.

use super::chinese_pointers::pointers;
use super::{Finding, data_request};
use crate::rewrite::conversation::{Conversation, Span};
use crate::rewrite::language::chinese::{Class, Piece, pieces};
use crate::rewrite::language::{Language, Text};

/// Looks for pronouns, then for a missing topic, then for open data requests.
pub(super) fn find(text: &Text, conversation: &Conversation, has_history: bool) -> Finding {
    let pieces = pieces(text);
    if is_social(text, &pieces) {
        return Finding::default();
    }
    let mut finding = Finding { pointers: pointers(text, &pieces), ..Finding::default() };
    let request = data_request::open_request(text, &conversation.facts, Language::Chinese);
    finding.vague = request.into_iter().collect();
    // 帮我查下数据 lacks its parameters, not its topic: facts fill it, not the model.
    let asks_for_data = !finding.vague.is_empty() && !is_follow_up(text, &pieces);
    if finding.pointers.is_empty() && !asks_for_data {
        finding.ellipsis = ellipsis(text, &pieces, has_history);
    }
    if finding.ellipsis.is_some() {
        finding.vague.clear();
    } else if finding.vague.is_empty() {
        finding.vague.extend(data_request::newest(text, Language::Chinese));
    }
    finding
}

/// Greetings, thanks, yes and no, and questions to the assistant itself.
fn is_social(text: &Text, pieces: &[Piece]) -> bool {
    let bare: String = words(pieces).map(|piece| folded(text, piece)).collect();
    let mut core = bare.as_str();
    while let Some(shorter) =
        SOCIAL_TAILS.split_whitespace().find_map(|tail| core.strip_suffix(tail))
    {
        if shorter.is_empty() {
            break;
        }
        core = shorter;
    }
    let is_one = |word: &str| SOCIAL.split_whitespace().any(|social| social == word);
    if bare.is_empty() || is_one(&bare) || is_one(core) {
        return true;
    }
    // 好的谢谢, 不用了谢谢你: several of them in a row.
    let mut rest = bare.as_str();
    while let Some(shorter) = SOCIAL
        .split_whitespace()
        .chain(SOCIAL_TAILS.split_whitespace())
        .filter_map(|word| rest.strip_prefix(word))
        .min_by_key(|r| r.len())
    {
        rest = shorter;
    }
    rest.is_empty()
}

/// A question that has words for everything but what it is about.
fn ellipsis(text: &Text, pieces: &[Piece], has_history: bool) -> Option<(Span, f32)> {
    let opening = opening_conjunction(text, pieces);
    let core_start = opening.as_ref().map_or_else(|| first_word(pieces), |span| span.end);
    let core: Vec<Piece> =
        words(pieces).filter(|piece| piece.start >= core_start).copied().collect();
    let place = opening.clone().unwrap_or_else(|| text.span(core_start, core_start));
    if is_what_about(text, pieces, &core, opening.is_some()) {
        return Some((place, 0.9));
    }
    if has_history && lacks_subject(text, &core) {
        return Some((place, 0.7));
    }
    if core.is_empty() || core.iter().any(Piece::is_topic) || is_owned(text, &core) {
        return None;
    }
    let asks =
        core.iter().any(|piece| piece.class == Class::Question) || asks_yes_or_no(text, &core);
    let speaks_of_me =
        core.iter().any(|p| matches!(folded(text, p).as_str(), "我" | "我们" | "我想" | "我要"));
    let confidence = match (asks, speaks_of_me) {
        (true, _) => 0.85,
        (false, false) => 0.7,
        (false, true) => 0.6,
    };
    // Without a history a short request may simply be all there is.
    (has_history || asks || opening.is_some()).then_some((place, confidence))
}

/// 要带电脑吗, 多久到账, 比基础版贵多少, 不在同一个网络可以吗: a short question that opens with
/// what is said of a subject has none.
fn lacks_subject(text: &Text, core: &[Piece]) -> bool {
    let (Some(first), Some(last)) = (core.first(), core.last()) else { return false };
    let asks = core.iter().any(|piece| piece.class == Class::Question)
        || asks_yes_or_no(text, core)
        // 几点 and 几号 are read as times.
        || text.mentions_any("可以吗 行吗 吗 几点 几号");
    let opens = text.longest_of(first.start, SUBJECTLESS).is_some();
    let named = core.iter().any(|piece| matches!(piece.class, Class::Name | Class::Quote));
    let is_short = last.end - first.start <= LONGEST_SUBJECTLESS;
    let acts = || opens_with_action(text, core);
    asks && !named && is_short && (opens || acts())
}

/// 几点关门, 可以分期吗, 有优惠吗: an unknown word right behind such an opening is what is done, and
/// with no other it has no subject.
fn opens_with_action(text: &Text, core: &[Piece]) -> bool {
    let opening = core[0];
    let word = folded(text, &opening);
    if !ACTION_OPENINGS.split_whitespace().any(|known| known == word) {
        return false;
    }
    let mut topics = core.iter().filter(|piece| piece.is_topic());
    let Some(action) = topics.next() else { return false };
    let beside = action.start == opening.end && action.end - action.start <= 3;
    beside && topics.all(|piece| piece.end - piece.start <= 1)
}

/// 上海呢, 那2023年呢, 你觉得呢: a new topic whose question is left out.
fn is_what_about(text: &Text, pieces: &[Piece], core: &[Piece], has_opening: bool) -> bool {
    let Some(last) = core.last() else { return false };
    let ends_so = folded(text, last) == "呢";
    let length = last.end - core[0].start;
    let named = core.iter().any(Piece::is_topic);
    let only_names = core[..core.len() - 1].iter().all(|piece| match piece.class {
        Class::Question | Class::Verb | Class::Quality => false,
        // 深圳明天天气呢 says all there is to say.
        Class::Relation => !named,
        Class::Function => matches!(
            folded(text, piece).as_str(),
            "之后"
                | "以后"
                | "之前"
                | "以前"
                | "的时候"
                | "的"
                | "你"
                | "我"
                | "你们"
                | "我们"
                | "其他"
                | "其它"
                | "和"
                | "与"
        ),
        _ => true,
    });
    let is_phrase = only_names && length <= 12 && core.len() <= 6;
    let has_comma =
        pieces.iter().any(|piece| piece.class == Class::Punctuation && piece.end < last.start);
    ends_so && is_phrase && (has_opening || !has_comma)
}

/// 我老婆, 备份的速度, 性能优化, 登录失败: known words that make a topic together.
fn is_owned(text: &Text, core: &[Piece]) -> bool {
    let is_long = |piece: &Piece| piece.end - piece.start >= 2;
    (1..core.len()).any(|index| {
        let piece = &core[index];
        let linked = folded(text, &core[index - 1]) == "的";
        let Some(owner) =
            (if linked { index.checked_sub(2) } else { Some(index - 1) }).map(|at| &core[at])
        else {
            return false;
        };
        let of_speaker =
            matches!(folded(text, owner).as_str(), "我" | "你" | "您" | "我们" | "你们");
        let of_action = linked
            && is_long(owner)
            && matches!(owner.class, Class::Verb | Class::Relation)
            && !folded(text, owner).ends_with('的');
        let word = folded(text, piece);
        let compound = !linked
            && is_long(owner)
            && (owner.class == Class::Relation && NOMINAL_VERBS.contains(&word.as_str())
                || owner.class == Class::Verb && OUTCOMES.contains(&word.as_str()));
        (piece.class == Class::Relation && (of_speaker || of_action)) || compound
    })
}

/// 那, 那么, 然后, 还有 at the beginning, as a conjunction: what follows continues something.
fn opening_conjunction(text: &Text, pieces: &[Piece]) -> Option<Span> {
    let first = words(pieces).next()?;
    let word = text.longest_of(first.start, OPENINGS)?;
    Some(text.span(first.start, first.start + word.chars().count()))
}

fn asks_yes_or_no(text: &Text, core: &[Piece]) -> bool {
    core.last().is_some_and(|piece| matches!(folded(text, piece).as_str(), "吗" | "么" | "呢"))
}

fn is_follow_up(text: &Text, pieces: &[Piece]) -> bool {
    opening_conjunction(text, pieces).is_some()
        || words(pieces).last().is_some_and(|piece| folded(text, piece) == "呢")
}

fn first_word(pieces: &[Piece]) -> usize {
    words(pieces).next().map_or(0, |piece| piece.start)
}

fn words(pieces: &[Piece]) -> impl Iterator<Item = &Piece> {
    pieces.iter().filter(|piece| piece.class != Class::Punctuation)
}

fn folded(text: &Text, piece: &Piece) -> String {
    text.folded[piece.start..piece.end].iter().collect()
}

const SUBJECTLESS: &str = "
    要 需要 需不需要 要不要 会 会不会 多久 几点 几号 几天 比 不在 不能 不用 没有 最近 有没有相关 有相关 最长 最多 最少 最快";
const ACTION_OPENINGS: &str = "
    可以 可不可以 能 能不能 能否 有 有没有 还要 还能 还可以 谁 几 几个 几次 几天 几点 几号 多少 多长 多久 多快 多大 什么时候 何时 哪天 在哪 在哪里 去哪 需要 要 会 免费 必须 一定要 只能";
/// In chars.
const LONGEST_SUBJECTLESS: usize = 11;

const NOMINAL_VERBS: &[&str] = &[
    "优化", "备份", "恢复", "迁移", "升级", "分析", "测试", "计算", "同步", "统计", "检查", "审批",
    "审核",
];

const OUTCOMES: &[&str] = &["失败", "成功", "异常", "错误"];

const OPENINGS: &str = "
    那 那么 那就 然后 还有 另外 所以 但是 可是 不过 而且 那如果 如果 那要是";

const SOCIAL_TAILS: &str = "了 啊 呀 哦 吧 啦 哈 的 呢 嘛 你 您 大家 各位 呐 哟 喔 噢 哇 多谢 亲";

const SOCIAL: &str = "
    你好 您好 你好吗 大家好 早上好 上午好 中午好 下午好 晚上好 早安 晚安 嗨 哈喽 喂 在吗 在不在 谢谢 多谢 感谢 非常感谢
    十分感谢 万分感谢 谢谢你 谢谢您 辛苦 再见 拜拜 回见 好 好的 好吧 好啊 行 行吧 可以 可以的 没问题 没事 没关系 不客气
    不用 不用谢 不用了 不需要 不要 不是 是 是的 对 对的 没错 嗯 嗯嗯 哦 噢 明白 明白了 知道了 我知道了 收到 了解 懂了
    算了 没有 没有了 有 没了 不了 哈哈 哈哈哈 呵呵 嘻嘻 嘿嘿 对不起 抱歉 不好意思 停 停止 取消 退出 继续 重来 开始
    帮助 你是谁 你叫什么 你叫什么名字 你叫啥 你几岁 你几岁了 你多大 你多大了 你是机器人吗 你是人吗 你能做什么
    你会什么 你会做什么 你可以做什么 你有什么功能 你能干什么 你能干嘛 现在几点 几点 现在几点了 几点了 今天几号 今天星期几 今天周几
    今天是几号 今天是星期几 今天几月几号 今天是什么日子 我爱你 我喜欢你 我想你 你真棒 你好厉害 你真厉害 真棒 太好了 好极了 讲个笑话
    说个笑话 随便聊聊 聊聊天 祝你好运 生日快乐 新年快乐 转人工 人工客服 人工 客服 hi hello hey ok thanks";
