//! Requests for figures in Chinese.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{DataRequest, is_fact, value_range};
use crate::rewrite::facts::kinds::Kind;
use crate::rewrite::language::Text;
use crate::rewrite::language::chinese as words;

pub(super) fn find(text: &Text, facts: &BTreeMap<String, String>) -> Option<DataRequest> {
    let pieces = words::pieces(text);
    if text.mentions_any(HOW_TO) {
        return None;
    }
    let last = last_of(text, DATA_NOUNS, |end| {
        text.longest(end, &["库", "集", "源", "结构", "类型", "中心", "线", "中台", "安全"])
            .is_none()
    });
    let metric = last_of(text, METRICS, |_| true);
    let asks_figure = text.mentions_any(FIGURE_QUESTIONS);
    let fetches = text.mentions_any(FETCHES);
    if !(fetches || asks_figure) {
        return None;
    }
    let noun = last.clone().or_else(|| metric.clone())?;
    let request = DataRequest {
        takes_metric: last.is_some() && metric.is_none(),
        period: pieces
            .iter()
            .find(|p| p.class == words::Class::Time && !is_loose_time(text, p.start))
            .map(|p| p.start..p.end),
        region: region(text, facts),
        metric: metric.or_else(|| value_range(text, facts, Kind::Metric)),
        has_unit: value_range(text, facts, Kind::Unit).is_some() || text.mentions_any("单位"),
        noun,
    };
    let known = |piece: &words::Piece| {
        let inside = |range: &Option<Range<usize>>| {
            range.as_ref().is_some_and(|r| piece.start < r.end && r.start < piece.end)
        };
        inside(&request.region) || inside(&request.metric) || inside(&Some(request.noun.clone()))
    };
    let names_subject = pieces.iter().any(|piece| {
        piece.is_topic() && !known(piece) && !is_fact(text, piece.start..piece.end, facts)
    });
    (!names_subject && ends_query(text, &pieces, request.noun.end)).then_some(request)
}

/// After the figures only particles, question words and punctuation may follow.
fn ends_query(text: &Text, pieces: &[words::Piece], end: usize) -> bool {
    use words::Class::{Function, Punctuation, Question};
    let rest = pieces.iter().filter(|piece| piece.start >= end);
    rest.clone().all(|piece| matches!(piece.class, Function | Question | Punctuation))
        || text.longest_of(end, FIGURE_QUESTIONS).is_some()
}

fn is_loose_time(text: &Text, position: usize) -> bool {
    text.longest(position, &["最近", "近期"])
        .is_some_and(|_| words::time_end(text, position) == Some(position + 2))
}

pub(super) fn newest(text: &Text) -> Option<Range<usize>> {
    let at =
        (0..text.chars.len()).find(|&at| text.longest(at, &["最新", "最近", "近期"]).is_some())?;
    let dated = words::time_end(text, at).is_some_and(|end| end > at + 2)
        || words::pieces(text)
            .iter()
            .any(|piece| piece.class == words::Class::Time && piece.start != at);
    let after = at + 2 + usize::from(text.starts_with(at + 2, "的"));
    (!dated && text.longest_of(after, NEWS).is_some()).then_some(at..at + 2)
}

/// Where the text names a region: a value of the facts, a well-known one, or a name that ends
/// like one.
fn region(text: &Text, facts: &BTreeMap<String, String>) -> Option<Range<usize>> {
    if let Some(range) = value_range(text, facts, Kind::Region) {
        return Some(range);
    }
    for start in 0..text.chars.len() {
        if let Some(region) = text.longest_of(start, REGIONS) {
            let end = start + region.chars().count();
            let suffix =
                text.longest(end, &["地区", "大区", "区域", "区", "省", "市", "公司", "分公司"]);
            return Some(start..end + suffix.map_or(0, |suffix| suffix.chars().count()));
        }
    }
    None
}

fn last_of(text: &Text, list: &str, fits: impl Fn(usize) -> bool) -> Option<Range<usize>> {
    let mut found = None;
    let mut position = 0;
    while position < text.chars.len() {
        match text.longest_of(position, list) {
            Some(word) if fits(position + word.chars().count()) => {
                let end = position + word.chars().count();
                found = Some(position..end);
                position = end;
            }
            _ => position += 1,
        }
    }
    found
}

const HOW_TO: &str = "
    怎么查 怎么看 怎么导 怎么算 怎么计算 怎么做 怎么用 怎么弄 怎么配 怎么设 如何查 如何看
    如何导 如何计算 如何做 如何使用 如何设置 如何配置 在哪 哪里 为什么 为何 是什么 什么是
    什么意思 区别 怎么没 能不能导 怎么提 如何提 怎么分析 如何分析";

const FETCHES: &str = "
    查 看下 看看 看一下 看一看 拉一下 拉下 拉个 给我 发我 发一下 调一下 调取 统计 汇总 展示
    要一份 来一份 想看 要看 我要 提供 分析一下 分析下 给个 出一份 出个 导一份";

const FIGURE_QUESTIONS: &str = "
    怎么样 如何 咋样 是多少 有多少 多少 好不好 怎样";

const DATA_NOUNS: &str = "
    数据 报表 报告 数字 指标 统计数据 明细 趋势 情况 统计 表现 数据报表 数据报告 走势";

const METRICS: &str = "
    销售额 销售量 销量 销售 销售情况 营收 营业额 收入 利润 毛利 毛利率 净利润 订单量 订单数
    成交额 成交量 gmv 转化率 客单价 活跃用户数 活跃用户 日活 月活 dau mau 留存率 留存 流失率
    续费率 新增用户 新增用户数 用户数 用户量 回款 回款额 库存量 库存 退货率 退款率 客户数
    线索数 商机数 业绩 访问量 pv uv 点击率 曝光量 投诉量 满意度 签约额 合同额 出货量 产量
    复购率 增长率 完成率";

const REGIONS: &str = "
    华东 华南 华北 华中 西南 西北 东北 全国 全球 海外 国内 各地区 各区域 各省 各大区 北京 上海
    天津 重庆 广东 广州 深圳 浙江 杭州 江苏 南京 苏州 四川 成都 湖北 武汉 湖南 长沙 福建 厦门
    山东 青岛 济南 河南 郑州 河北 山西 陕西 西安 辽宁 沈阳 大连 吉林 黑龙江 哈尔滨 安徽 合肥
    江西 南昌 广西 云南 昆明 贵州 贵阳 海南 甘肃 青海 宁夏 新疆 西藏 内蒙古 香港 澳门 台湾 宁波
    无锡 东莞 佛山 美国 日本 欧洲 亚太 北美 东南亚 华西";

const NEWS: &str = "
    数据 报表 报告 情况 进展 版本 消息 动态 政策 价格 销量 业绩 趋势 指标 新闻 进度 更新
    有什么更新 有什么变化 有什么新";
