//! Chinese strings that look like relative dates and are not: 昆明天气 holds 明天, 今年轻
//! holds 今年, 网上周边 holds 上周. Each guard takes the place before an expression and the
//! place after it, and says whether to leave the text alone; when in doubt it does, since
//! a query that keeps its 昨天 is better than one that lost its 前天线.

use super::calendar::Unit;
use super::cursor::Cursor;
use super::numerals;

/// Things that one waits for: a span of time just behind one of them (到期30天前) is counted
/// from it and not from today.
const EVENTS: [&str; 66] = [
    "到期",
    "出发",
    "出行",
    "启程",
    "开始",
    "结束",
    "截止",
    "考试",
    "生产",
    "分娩",
    "手术",
    "入职",
    "离职",
    "上市",
    "付款",
    "支付",
    "下单",
    "签收",
    "收货",
    "发货",
    "购买",
    "毕业",
    "结婚",
    "使用",
    "术",
    "登机",
    "起飞",
    "入住",
    "会议",
    "比赛",
    "活动",
    "交货",
    "开课",
    "开会",
    "提交",
    "发车",
    "开车",
    "开演",
    "演出",
    "有效期",
    "保质期",
    "合同期",
    "到货",
    "预产期",
    "出生",
    "请假",
    "提",
    "离店",
    "退房",
    "生效",
    "续费",
    "婚礼",
    "上线",
    "发布",
    "开业",
    "过期",
    "失效",
    "满期",
    "开学",
    "开庭",
    "注册",
    "提货",
    "断奶",
    "怀孕",
    "申请",
    "审批",
];

/// 昆明天气, 如今天气, 目前天线, 前天线, 后天性, 今天几号.
pub fn of_day(before: Cursor<'_>, after: Cursor<'_>) -> bool {
    let stolen = match before.peek() {
        Some('今') => after_now_word(before),
        Some('明') => after_bright_word(before),
        Some('前') => after_before_word(before) || after.next_in("线窗赋"),
        Some('后') => after_after_word(before) || is_acquired(before, after),
        _ => false,
    };
    let names = ["头条", "说法", "资本", "方舟", "之后", "之星", "香", "重现", "青空"];
    let is_name = before.second_in("日") && after.looking_at_any(&names);
    // 舒明|天皇, and 类似今日 for "as it is these days".
    let is_other = after.next_in("皇") || before.behind_in(1, "似");
    stolen || is_name || is_other || asks_for_the_date(after)
}

/// 今年轻, 如今年轻, 过去年均, 以前年度, 今后年.
pub fn of_year(before: Cursor<'_>, after: Cursor<'_>) -> bool {
    let stolen = match before.peek() {
        Some('今') => after_now_word(before),
        Some('明') => after_bright_word(before),
        // 过去年均 is 过去 and 年均, but 不过去年 and 超过去年 end in 去年.
        Some('去') => before.behind_in(1, "过") && !before.behind_in(2, "不通超经胜越"),
        Some('前') => after_before_word(before) || after.next_in("度"),
        Some('后') => after_after_word(before),
        _ => false,
    };
    stolen || after.next_in("轻龄份纪华迈")
}

/// Whether the 上, 下, 本 or 这 here belongs to the word behind it: 网上|周边, 一下|周报,
/// 日本|月饼. In a run (网上上周) only the first char can, and the rest stays a head.
/// `is_certain` is for 上个, before which no word ends.
pub fn of_head(start: Cursor<'_>, is_certain: bool) -> bool {
    match start.peek() {
        Some('上') => (!is_certain && ends_word_up(start)) || is_mid_run(start),
        Some('下') => (!is_certain && ends_word_down(start)) || is_mid_run(start),
        Some('本') => {
            start.behind_in(1, "日基书样版成文资剧课原根脚副读抄标") && !start.follows("昨日")
        }
        _ => false,
    }
}

/// What follows 上周 and is not a new word: 上|周边, 上|周期, 本|周长.
pub fn of_week(after: Cursor<'_>) -> bool {
    let new_word = |allowed: &str| !after.second_in(allowed);
    match after.peek() {
        Some('边' | '围' | '岁') => true,
        Some('期') => new_word("末中间初待货满望权"),
        Some('长') => new_word("假城江沙春安期"),
        Some('年') => new_word("会终底假中初末"),
        Some('转') => after.second_in("率资金箱天次量材"),
        Some('刊') => new_word("登发载"),
        _ => after.looking_at_any(&["杰伦", "恩来", "润发", "星驰", "冬雨", "公解梦"]),
    }
}

/// A weekday's char that begins another word: 上周一共, 上周三次, 上周日均, 上周天气.
pub fn of_weekday(weekday: Cursor<'_>) -> bool {
    let counted = "个次天家种名位款条件台项人场份成分倍万千百十点年月周只张套批层号";
    match weekday.peek() {
        Some('日') => weekday.second_in("均报活常志程本销期产化语元用照历式子韩系益渐"),
        Some('天') => weekday.second_in("气津猫天然河使空台数文才赋眼鹅线"),
        Some('一') => {
            weekday.second_in(counted) || weekday.second_in("共直样些起下定切般律线旦度致系")
        }
        Some('二') => weekday.second_in(counted) || weekday.second_in("手维期级线"),
        Some('三') => weekday.second_in(counted) || weekday.second_in("亚星峡国明板农甲包维角"),
        Some('四') => weekday.second_in(counted) || weekday.second_in("川季级大"),
        Some('五') => weekday.second_in(counted) || weekday.second_in("金粮险角菱"),
        Some('六') => weekday.second_in(counted) || weekday.second_in("安合盘级福神"),
        _ => false,
    }
}

/// What follows 这个月 and is not a new word: 这个|月亮, 上|月球, 下|月台, 这|月子.
pub fn of_month(after: Cursor<'_>) -> bool {
    match after.peek() {
        Some('球' | '亮' | '光' | '饼' | '子' | '嫂' | '牙') => true,
        Some('季') => !after.second_in("度"),
        Some('台') => !after.second_in("湾州北中南风"),
        _ => false,
    }
}

/// 2023年上半年 and 每年上半年 are not this year's.
pub fn of_half(before: Cursor<'_>) -> bool {
    let behind_space = usize::from(before.behind_in(1, " ")) + 1;
    before
        .behind(behind_space)
        .is_some_and(|behind| behind.is_ascii_alphanumeric() || "年度的每历各个".contains(behind))
}

/// Whether the text behind leaves a count (3天后) or 当月 hanging on an event. Only words that
/// cannot be one are trusted: 我, 在, 请问, or the start of a clause.
pub fn of_event(before: Cursor<'_>) -> bool {
    let free = "在于到至从自约比较我你他她它们请问查看是将会要想和与跟及或给";
    before.behind(1).is_some_and(|behind| behind.is_alphanumeric() && !free.contains(behind))
}

/// Whether the number here is the end of a longer or looser one: 两|三天前, 第|三天后, 3-5天前,
/// 1.5年前, 超过三年前.
pub fn of_number(start: Cursor<'_>) -> bool {
    let Some(behind) = start.behind(1) else { return false };
    let is_tail = numerals::is_numeral(behind) || "几数多第半每大小个近".contains(behind);
    let joined =
        ".,，、-~～–—/至到或".contains(behind) && start.behind(2).is_some_and(numerals::is_numeral);
    let is_code = start.peek().is_some_and(|first| first.is_ascii_digit())
        && (behind.is_ascii_alphabetic() || behind == '_');
    is_tail || joined || is_code || start.follows_any(&["超过", "不到", "将近", "上下", "前后"])
}

/// 三天前后, 三年前台, 2023年前, 5日前, 到期30天前, 付款3天后.
pub fn of_ago(
    start: Cursor<'_>,
    after_length: Cursor<'_>,
    after: Cursor<'_>,
    is_before: bool,
    count: i64,
) -> bool {
    // 5日前 may be the fifth of a month.
    if after_length.behind_in(1, "日") {
        return true;
    }
    // 2023年前, 95年前, 08年前 and 15年以前 name a year, and 三百年前 is no single year.
    let is_bare = !after.follows_any(&["之前", "以前", "之后", "以后"]);
    let is_arabic = start.peek().is_some_and(|first| first.is_ascii_digit());
    let names_year = count >= 100
        || (is_arabic && (count >= 60 || start.next_in("0") || (count >= 8 && !is_bare)));
    if after_length.behind_in(1, "年") && names_year {
        return true;
    }
    // With 之 and 以 there is no word to break: 三天之前, 三天以后.
    if is_before {
        let broken = after.next_in("后台端面缀卫锋瞻途沿景往期线半")
            || (after.next_in("提") && !after.second_in("交到出供及过问前"));
        (is_bare && broken) || start.follows_any(&EVENTS)
    } else {
        let broken = after.next_in("台端面缀卫果悔勤置期半")
            || (after.next_in("续") && !after.second_in("费约签"))
            || (after.next_in("天") && !after.second_in("气津"));
        (is_bare && broken) || of_event(start)
    }
}

/// 附近, 将近, 最后近: the 近 of another word.
pub fn of_recent(start: Cursor<'_>) -> bool {
    start.next_in("近") && start.behind_in(1, "附接将靠临亲邻最远")
}

/// What follows 最近三天 and makes it another length: 最近三天半, 近三年级, 近7日均线.
pub fn of_length(after: Cursor<'_>, unit: Unit) -> bool {
    if after.next_in("半多余几") {
        return true;
    }
    match unit {
        Unit::Day => after.next_in("均"),
        Unit::Week => after.behind_in(1, "周") && of_week(after),
        Unit::Year => after.next_in("级轻龄") || (after.next_in("期") && !after.second_in("间")),
        Unit::Month | Unit::Quarter => false,
    }
}

/// The 内, 来, 里, 中 or 间 of another word: 最近三天内容, 来源, 里程.
pub fn of_tail(tail: Cursor<'_>) -> bool {
    match tail.peek() {
        Some('内') => tail.second_in("容部存蒙地饰网幕外涵在科陆"),
        Some('来') => tail.second_in("自源访电宾信函料历往看说到临"),
        Some('里') => tail.second_in("程面"),
        Some('中') => tail.second_in("国央心学文小期秋东"),
        Some('间') => tail.second_in("接隔谍"),
        _ => false,
    }
}

/// 如今, 当今, 古今; but 例如今天 and 应当今天 end before 今.
fn after_now_word(before: Cursor<'_>) -> bool {
    match before.behind(1) {
        Some('如') => !before.behind_in(2, "例比譬假"),
        Some('当') => !before.behind_in(2, "应相充恰适"),
        Some('现' | '古' | '迄') => true,
        _ => false,
    }
}

/// 昆明, 清明, 透明, 三明; but 周三明天 and 出发明天 end before 明.
fn after_bright_word(before: Cursor<'_>) -> bool {
    match before.behind(1) {
        Some('三') => !before.behind_in(2, "周期拜"),
        Some('发') => !before.behind_in(2, "出"),
        Some('昆' | '聪' | '清' | '透' | '光' | '文' | '黎' | '证' | '声' | '鲜' | '英') => {
            true
        }
        _ => false,
    }
}

/// 目前, 以前, 当前, 五年前.
fn after_before_word(before: Cursor<'_>) -> bool {
    before.behind_in(1, "以之目当提眼此生年天周月空")
}

/// 今后, 以后, 最后, 三天后.
fn after_after_word(before: Cursor<'_>) -> bool {
    before.behind_in(1, "今以然最之雨午饭随此日往年天周月皇太")
}

/// 后天 as the opposite of 先天.
fn is_acquired(before: Cursor<'_>, after: Cursor<'_>) -> bool {
    let words = [
        "性",
        "努力",
        "培养",
        "养成",
        "因素",
        "形成",
        "获得",
        "习得",
        "学习",
        "教育",
        "环境",
        "免疫",
        "失",
        "缺",
        "发育",
        "的努力",
        "的培养",
        "的教育",
        "的环境",
    ];
    let behind = before.chars.get(before.at.saturating_sub(12)..before.at).unwrap_or_default();
    after.looking_at_any(&words) || behind.windows(2).any(|pair| pair == ['先', '天'])
}

/// 今天几号, 今天是几月几号, 今天的日期.
fn asks_for_the_date(mut after: Cursor<'_>) -> bool {
    after.eat_any(&["是", "的"]);
    after.looking_at_any(&["几号", "几月", "多少号", "日期", "几日"])
}

/// 网上, 晚上, 早上, 以上: the 上 is theirs.
fn ends_word_up(start: Cursor<'_>) -> bool {
    start.behind_in(1, "以网线身晚早马加手路街面际本史桌天船车床山海陆岸")
        && !start.follows("今天")
        && !start.follows("昨天")
}

/// 一下, 以下, 线下, 如下: the 下 is theirs.
fn ends_word_down(start: Cursor<'_>) -> bool {
    start.behind_in(1, "一以线地乡名旗余如之时私手")
}

/// Whether the same char stands behind and is part of the same head (下|下周). Where a word
/// took the first of a run (一下|下周), the second begins the head.
fn is_mid_run(start: Cursor<'_>) -> bool {
    if start.behind(1) != start.peek() {
        return false;
    }
    let previous = Cursor { at: start.at - 1, ..start };
    if start.next_in("上") { !ends_word_up(previous) } else { !ends_word_down(previous) }
}
