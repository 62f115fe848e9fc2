//! What a fact is about, told from its key. Keys are free-form and in either language.

/// The kinds of fact that a query can lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Product,
    Feature,
    Module,
    Region,
    Period,
    Metric,
    Unit,
    Customer,
    Version,
    Plan,
    Other,
}

/// The kind of a key, or of a noun that stands for one: `product_name`, 产品, 模块.
pub fn of_key(key: &str) -> Kind {
    let key = crate::rewrite::language::fold(key.trim());
    let is_latin = key.is_ascii();
    let parts: Vec<&str> = key.split(|letter: char| !letter.is_alphanumeric()).collect();
    let says = |word: &&str| {
        if is_latin { parts.contains(word) } else { key.contains(*word) }
    };
    let of_words = |words: &str| words.split_whitespace().any(|word| says(&word));
    // The last word of a compound decides (`product_version`), so owners come last.
    let order = KINDS.iter().find(|(_, words)| of_words(words));
    order.map_or(Kind::Other, |(kind, _)| *kind)
}

const KINDS: &[(Kind, &str)] = &[
    (Kind::Version, "version release 版本 版本号"),
    (Kind::Unit, "unit units currency 单位 币种 货币"),
    (
        Kind::Period,
        "period time date month quarter year timerange daterange timeframe 时间 日期 月份 季度 年份 时段 周期 期间 时期",
    ),
    (
        Kind::Region,
        "region area city country province location place territory 地区 区域 大区 地域 城市 省份 国家 地点 地方 位置 市场区域",
    ),
    (Kind::Metric, "metric metrics indicator indicators measure kpi 指标 度量"),
    (Kind::Plan, "plan tier package subscription 套餐 订阅"),
    (Kind::Feature, "feature function functionality capability 功能 特性"),
    (Kind::Module, "module component section 模块 组件"),
    (Kind::Customer, "customer client account 客户 顾客 甲方"),
    (
        Kind::Product,
        "product system software app application platform tool 产品 系统 软件 应用 平台 工具",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_both_languages_and_all_spellings_are_known() {
        let cases = [
            ("product", Kind::Product),
            ("产品", Kind::Product),
            ("產品", Kind::Product),
            ("Product-Name", Kind::Product),
            ("product_version", Kind::Version),
            ("feature", Kind::Feature),
            ("功能", Kind::Feature),
            ("区域", Kind::Region),
            ("sales region", Kind::Region),
            ("月份", Kind::Period),
            ("date", Kind::Period),
            ("指标", Kind::Metric),
            ("unit", Kind::Unit),
            ("客户名称", Kind::Customer),
            ("plan", Kind::Plan),
            ("candidate", Kind::Other),
            ("happy", Kind::Other),
            ("", Kind::Other),
        ];
        for (key, kind) in cases {
            assert_eq!(of_key(key), kind, "{key}");
        }
    }
}
