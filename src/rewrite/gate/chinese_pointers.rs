//! Chinese pronouns and demonstratives that point outside the query.

use crate::rewrite::conversation::Span;
use crate::rewrite::language::Text;
use crate::rewrite::language::chinese::{Class, Piece};

/// The pointers of a query that nothing within it explains, with the noun that they take
/// along (`这个功能`), and how sure it is that they point back.
pub(super) fn pointers(text: &Text, pieces: &[Piece]) -> Vec<(Span, f32)> {
    let mut found: Vec<(Span, f32)> = Vec::new();
    let mut position = 0;
    for (index, piece) in pieces.iter().enumerate() {
        if piece.start < position {
            continue;
        }
        let pointer = match piece.class {
            Class::Pointer => pointer_at(text, pieces, index),
            _ => ordinal_at(text, pieces, index),
        };
        if let Some((end, confidence)) = pointer {
            found.push((text.span(piece.start, end), confidence));
            position = end;
        }
    }
    found
}

/// The noun after a demonstrative and its classifier: 这个功能 is about a 功能.
pub(super) fn head_end(text: &Text, after: usize) -> Option<usize> {
    text.longest_of(after, HEADS).map(|head| after + head.chars().count())
}

fn pointer_at(text: &Text, pieces: &[Piece], index: usize) -> Option<(usize, f32)> {
    let piece = &pieces[index];
    let word: String = text.folded[piece.start..piece.end].iter().collect();
    match word.as_str() {
        "它" | "它们" | "他" | "他们" | "她" | "她们" | "他俩" | "她俩" => {
            let explained = explained_before(text, pieces, index);
            (!explained).then_some((piece.end, 0.9))
        }
        "其" => {
            let opens = index == 0 || pieces[index - 1].class == Class::Punctuation;
            let explained = explained_before(text, pieces, index);
            (opens && !explained && pieces.get(index + 1).is_some()).then_some((piece.end, 0.7))
        }
        "该" => head_end(text, piece.end)
            .filter(|_| !explained_before(text, pieces, index))
            .map(|end| (end, 0.85)),
        "此" => this_end(text, piece.end)
            .filter(|_| !explained_before(text, pieces, index))
            .map(|end| (end, 0.8)),
        "这" => this_at(text, pieces, index),
        "那" => that_at(text, pieces, index),
        "这些" | "那些" => {
            let end = head_end(text, piece.end).unwrap_or(piece.end);
            let relative = has_relative_clause(text, end);
            (!relative && !is_apposition(text, pieces, index)).then_some((end, 0.85))
        }
        _ => (!is_apposition(text, pieces, index)).then_some((piece.end, 0.85)),
    }
}

fn this_at(text: &Text, pieces: &[Piece], index: usize) -> Option<(usize, f32)> {
    let start = pieces[index].end;
    if is_apposition(text, pieces, index) {
        return None;
    }
    if let Some(end) = this_end(text, start) {
        return Some((end, 0.9));
    }
    Some((start, 0.8))
}

/// 那 alone mostly opens a follow-up; with a classifier, a noun or 是什么 it points.
fn that_at(text: &Text, pieces: &[Piece], index: usize) -> Option<(usize, f32)> {
    let start = pieces[index].end;
    if is_apposition(text, pieces, index) {
        return None;
    }
    if let Some(end) = this_end(text, start) {
        return (!has_relative_clause(text, end)).then_some((end, 0.85));
    }
    if text.longest(start, &["是什么", "是啥", "是谁", "是哪", "是怎么", "是多少"]).is_some()
    {
        return Some((start, 0.8));
    }
    // 那有啥好吃的: the place that was spoken of.
    let opens = pieces[..index].iter().all(|piece| piece.class == Class::Punctuation);
    let has_topic = pieces[index + 1..].iter().any(Piece::is_topic);
    let asks_what_is_there =
        text.longest(start, &["有什么", "有啥", "有哪些", "有没有", "有多"]).is_some();
    (opens && asks_what_is_there && !has_topic).then_some((start, 0.75))
}

/// The end of a classifier and noun after 这, 那 or 此; none where only the bare word stands.
fn this_end(text: &Text, after: usize) -> Option<usize> {
    let mut end = after;
    for numeral in ["几", "两", "三", "四", "一"] {
        if text.starts_with(end, numeral) {
            end += 1;
            break;
        }
    }
    let direct = head_end(text, end);
    if let Some(classifier) = text.longest_of(end, CLASSIFIERS)
        && direct.is_none_or(|direct| direct <= end + classifier.chars().count())
    {
        let after_classifier = end + classifier.chars().count();
        return Some(head_end(text, after_classifier).unwrap_or(after_classifier));
    }
    direct
}

/// 第二种, 前一个, 另一个, 上面的: a choice among things that were listed before.
fn ordinal_at(text: &Text, pieces: &[Piece], index: usize) -> Option<(usize, f32)> {
    let start = pieces[index].start;
    let mut end = start;
    if text.starts_with(start, "第") && text.chars.len() > start + 2 {
        let classifier = text.longest_of(start + 2, ORDINAL_CLASSIFIERS)?;
        end += 2 + classifier.chars().count();
    } else {
        end += text.longest_of(start, CHOICES)?.chars().count();
    }
    let end = head_end(text, end).unwrap_or(end);
    let stands_alone =
        !pieces.iter().any(|piece| piece.is_topic() && !(piece.start < end && piece.end > start));
    let next_is_topic = pieces.iter().any(|p| p.is_topic() && p.end > end);
    (stands_alone && !next_is_topic).then_some((end, 0.85))
}

/// 张三和他的妻子: the query itself says who, before the pronoun.
fn explained_before(text: &Text, pieces: &[Piece], index: usize) -> bool {
    let mut after_verb = false;
    for piece in &pieces[..index] {
        // 咬它, 嫁给他: an unknown word right before a pronoun is its verb.
        let is_verb = piece.class == Class::Topic
            && piece.end == pieces[index].start
            && piece.end - piece.start <= 4;
        match piece.class {
            _ if is_verb => {}
            Class::Quote | Class::Name => return true,
            Class::Topic if !after_verb && piece.end - piece.start >= 2 => return true,
            Class::Topic if piece.end - piece.start >= 3 => return true,
            Class::Topic | Class::Time | Class::Number => {}
            _ => after_verb = introduces_verb(text, piece),
        }
    }
    false
}

/// 《林投姐》这部作品, CRM系统这个功能: the noun stands right before its demonstrative.
fn is_apposition(text: &Text, pieces: &[Piece], index: usize) -> bool {
    let is_space = |piece: &Piece| {
        piece.class == Class::Punctuation && text.chars[piece.start].is_whitespace()
    };
    let Some(at) = (0..index).rev().find(|&at| !is_space(&pieces[at])) else { return false };
    let before = &pieces[at];
    match before.class {
        // A clause of the query's own comes first: 模型只生成一半就停了，这个怎么改.
        Class::Punctuation => explained_before(text, pieces, at) && pieces[..at].len() >= 3,
        Class::Quote | Class::Name => true,
        // 大明王朝1566这部电视剧
        Class::Number => at >= 1 && pieces[at - 1].is_topic(),
        Class::Topic => {
            let after_verb = at >= 1 && introduces_verb(text, &pieces[at - 1]);
            let ends_in_verb = VERB_ENDS.contains(text.folded[before.end - 1]);
            before.end - before.start >= 2 && !after_verb && !ends_in_verb
        }
        _ => false,
    }
}

/// 怎么, 可以, 想 and the like: an unknown word after them is a verb, not a name.
fn introduces_verb(text: &Text, piece: &Piece) -> bool {
    let word: String = text.folded[piece.start..piece.end].iter().collect();
    VERB_OPENERS.split_whitespace().any(|opener| word == opener)
}

/// 那些年我们追过的女孩, 那个穿红衣服的人: the clause that follows says which.
fn has_relative_clause(text: &Text, end: usize) -> bool {
    let rest = &text.folded[end.min(text.folded.len())..];
    let clause = rest.iter().position(|&letter| letter == '的');
    clause.is_some_and(|length| length >= 3 && rest.len() > length + 1)
}

const VERB_ENDS: &str = "说到玩看想吃听买用做写打叫问去来过着在给让被跟和对追唱拍演教学找换养";

const VERB_OPENERS: &str = "怎么 如何 怎样 可以 能不能 能否 可不可以 是否 想要 帮我 请 不 没 要 需要 为什么 我 你 我们 我想 我要 请问 咋 怎么样 \
应该 必须 会不会 要不要 有没有 没有 不能 不会 一直 也 都 就 又 再 已经 我也";

const CLASSIFIERS: &str = "
    个 部 首 本 款 家 位 种 条 项 只 座 场 届 段 张 台 套 类 件 些 支 间 份 篇 句 把 片 块 次
    幅 架 辆 所 栋 道 门 颗 名 批 组";

const ORDINAL_CLASSIFIERS: &str = "
    个 种 款 项 条 家 部 首 本 点 步 张 套 类 段";

const CHOICES: &str = "
    另一个 另外一个 另一种 另外一种 另一款 前一个 后一个 前一种 后一种 其余的 剩下的 上面的
    上面那个 刚才那个 刚刚那个 刚才说的 刚说的 前面那个 后面那个 前面说的 上一个 最后一个 最后一种
    最后一款 最后一项 最后那个 后一款 前一款
    同一个 另外那个 其余 另外两个 后两个 前两个";

const HEADS: &str = "
    功能 特性 产品 系统 软件 平台 公司 企业 项目 模块 版本 问题 地方 城市 地区 区域 国家 省份 人 人类 人们 书 小说 电影 电视剧 剧 片子
    动漫 节目 综艺 歌 歌曲 专辑 歌手 演员 导演 作者 作家 星座 游戏 明星 球队 球员 队 组合 乐队 学校 大学 专业 课程 老师 同学
    医院 医生 病 药 药品 疾病 餐厅 饭店 酒店 景点 景区 公园 博物馆 车 汽车 手机 电脑 型号 品牌 牌子 东西 动物 植物 花 菜 水果
    食物 工具 插件 接口 参数 选项 配置 设置 按钮 页面 界面 字段 指标 报表 报告 数据 图表 文件 文档 方案 方法 方式 办法 步骤
    流程 规则 政策 活动 套餐 优惠 订单 客户 用户 合同 账号 账户 部门 团队 员工 价格 任务 事件 事 事情 故事 情况 现象 原因
    错误 报错 异常 命令 函数 变量 语言 框架 模型 算法 数据库 表 服务 服务器 集群 组件 库 词 字 成语 句子 话 话题 概念 说法
    理论 作品 画 照片 图片 视频 头像 名字 地址 时期 时代 朝代 建筑 机构 组织 协会 学会 院 市 县 区 省 镇 村 州 岛 河 湖 山
    品种 类型 技术 设备 仪器 机器 材料 女孩 男孩 女生 男生 孩子 女人 男人 小孩 网站 应用 程序 权限 角色 标签 渠道 门店
    店 商品 周期 阶段 电视 音乐 曲子 主播 号码 链接 网址 消息 新闻 比赛 赛事 车站 战役 战争 条约 奖项 职位 岗位 股票 基金";
