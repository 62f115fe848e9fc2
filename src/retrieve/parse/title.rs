//! Titles that programs write into a file's properties: often the person's, often not.

/// What programs call a document that nobody has named.
const PLACEHOLDERS: [&str; 10] = [
    "untitled",
    "untitled document",
    "document",
    "word document",
    "powerpoint presentation",
    "title",
    "无标题",
    "未命名",
    "无标题文档",
    "标题",
];
/// A "title" with one of these endings is the name of a file that it was made from.
const EXTENSIONS: [&str; 9] =
    [".doc", ".docx", ".dot", ".dotx", ".wps", ".pdf", ".tex", ".indd", ".ppt"];

/// The title, if a person can have meant it as one.
pub(super) fn sensible_title(declared: &str) -> Option<String> {
    let title = declared.trim();
    let title = title.strip_prefix("Microsoft Word - ").unwrap_or(title).trim();
    let lower = title.to_lowercase();
    let is_file = EXTENSIONS.iter().any(|extension| lower.ends_with(extension));
    let is_damaged = title.contains('\u{fffd}');
    let has_words = title.chars().any(char::is_alphabetic);
    let is_meant = has_words && !is_file && !is_damaged && !PLACEHOLDERS.contains(&lower.as_str());
    is_meant.then(|| title.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_person_can_have_meant_is_a_title() {
        let none =
            ["", " ", "Untitled", "无标题", "report_v3.DOCX", "Microsoft Word - 合同.doc", "12-3"];
        for declared in none {
            assert_eq!(sensible_title(declared), None, "{declared}");
        }
        assert_eq!(sensible_title("a\u{fffd}b"), None);
        assert_eq!(sensible_title(" 客户手册 ").as_deref(), Some("客户手册"));
        assert_eq!(sensible_title("Microsoft Word - Plan").as_deref(), Some("Plan"));
    }
}
