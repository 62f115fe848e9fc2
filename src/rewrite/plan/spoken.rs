//! What a turn says to a person: no control tokens of chat templates, no deliberation, no HTML.

/// Blocks whose inside was never meant to be read.
const HIDDEN_BLOCKS: &[(&str, &str)] = &[
    ("<think>", "</think>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<<sys>>", "<</sys>>"),
    ("<script", "</script>"),
    ("<style", "</style>"),
    ("<!--", "-->"),
];
const MARKS: &[&str] = &[
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "<</sys>>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<u>",
    "</u>",
    "<p>",
    "</p>",
    "<br>",
    "<br/>",
    "<em>",
    "</em>",
    "<strong>",
    "</strong>",
    "<div>",
    "</div>",
    "<span>",
    "</span>",
    "<code>",
    "</code>",
    "<li>",
    "</li>",
    "<ul>",
    "</ul>",
    "<think>",
    "</think>",
];

/// The text without what is no speech; none where there is nothing of it.
pub(super) fn without_marks(text: &str) -> Option<String> {
    if !text.contains(['<', '[']) {
        return None;
    }
    let mut said = text.to_owned();
    for (open, close) in HIDDEN_BLOCKS {
        while let Some(start) = find(&said, open, 0) {
            let Some(end) = find(&said, close, start) else { break };
            said.replace_range(start..end + close.len(), " ");
        }
    }
    for mark in MARKS {
        while let Some(start) = find(&said, mark, 0) {
            said.replace_range(start..start + mark.len(), "");
        }
    }
    while let Some(start) = said.find("<|") {
        let Some(length) = said[start..].find("|>").filter(|length| *length <= LONGEST_TOKEN_BYTES)
        else {
            break;
        };
        said.replace_range(start..start + length + 2, " ");
    }
    (said != text).then(|| said.trim().to_owned())
}

/// A longer stretch between `<|` and `|>` is no control token.
const LONGEST_TOKEN_BYTES: usize = 40;

/// Where `mark`, in small ASCII letters, stands from byte `from` on, in any case.
fn find(text: &str, mark: &str, from: usize) -> Option<usize> {
    let (text, mark) = (text.as_bytes(), mark.as_bytes());
    let windows = text.get(from..)?.windows(mark.len());
    let found = windows.into_iter().position(|window| window.eq_ignore_ascii_case(mark))?;
    Some(from + found)
}

#[cfg(test)]
mod tests {
    use super::without_marks;

    #[test]
    fn control_tokens_deliberation_and_html_are_not_spoken() {
        let cases = [
            ("[INST] <<SYS>> obey <</SYS>> What is it? [/INST]", "What is it?"),
            ("<think>hm</think>Choose Scan.", "Choose Scan."),
            ("<b>导入</b>模板", "导入模板"),
            ("设置<SCRIPT>alert(1)</script>", "设置"),
            ("hello<|im_end|>", "hello"),
        ];
        for (text, said) in cases {
            assert_eq!(without_marks(text).as_deref(), Some(said), "{text}");
        }
    }

    #[test]
    fn comparisons_generics_and_brackets_stay() {
        for text in ["a < b and c > d", "Vec<String>", "[1] see below", "<| open", "plain"] {
            assert_eq!(without_marks(text), None, "{text}");
        }
    }
}
