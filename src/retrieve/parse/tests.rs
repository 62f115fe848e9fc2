//! Documents as people write them, and as attackers do.

use std::thread;
use std::time::{Duration, Instant};

use super::*;

fn markdown(text: &str) -> ParsedDocument {
    parse(Format::Markdown, text.as_bytes()).unwrap()
}

fn html(text: &str) -> ParsedDocument {
    parse(Format::Html, text.as_bytes()).unwrap()
}

#[test]
fn markdown_becomes_readable_text() {
    let cases = [
        ("**粗体**和*斜体*、`代码`", "粗体和斜体、代码"),
        ("见[安装指南](./install.md \"t\")。<https://a.cn/x>", "见安装指南。https://a.cn/x"),
        ("![架构图](a.png) ok", "架构图 ok"),
        ("一行\n两行\nenglish\nlines", "一行两行 english lines"),
        ("- a\n- b\n  - c\n\n1. x\n2. y", "- a\n- b\n  - c\n\n1. x\n2. y"),
        ("3. a\n\n   第二段\n\n4. b", "3. a\n第二段\n4. b"),
        ("- [x] 完成\n- [ ] 待办", "- [x] 完成\n- [ ] 待办"),
        ("> **Note:**\n>\n> 小心", "Note:\n\n小心"),
        ("> [!NOTE]\n> 小心", "小心"),
        ("a<!-- no -->b\n\n<!--\nno\n\nno -->\n\nc", "ab\n\nc"),
        ("| 名 | 值 |\n|--|:-:|\n| a\\|b | `1` |\n| c |  |", "名 | 值\na|b | 1\nc |"),
        ("a &amp; b &copy; &#20320;", "a & b © 你"),
        ("脚注[^1]。\n\n[^1]: 说明", "脚注。\n\n说明"),
        ("**注意：**文字与`x`，**强调。**`y`", "注意：文字与x，强调。y"),
        ("kwargs **x and 2 ** 3", "kwargs **x and 2 ** 3"),
        ("类型 Vec<T> 与 <host>:<port>", "类型 Vec<T> 与 <host>:<port>"),
        ("第一行<br/>第二行<br>三", "第一行\n第二行\n三"),
        ("使用 <kbd>Ctrl</kbd> 键", "使用 Ctrl 键"),
        ("SELECT * FROM <table> x\n\n正文", "SELECT * FROM <table> x\n\n正文"),
        ("用 <table> 标签。\n\n`</table>`\n\n正文", "用 <table> 标签。\n\n</table>\n\n正文"),
        ("a\u{0}b\u{200b}c\u{7}", "abc"),
        ("", ""),
    ];
    for (source, expected) in cases {
        // CommonMark replaces NUL by U+FFFD before we see it.
        assert_eq!(markdown(source).text.replace('\u{fffd}', ""), expected, "{source}");
    }
}

#[test]
fn code_is_verbatim_and_kept_whole() {
    let document = markdown("说明：\n\n```yaml\na:\n    - **b**  # <c>\n\n  d: 1\n```\n\n完");
    assert_eq!(document.text, "说明：\n\na:\n    - **b**  # <c>\n\n  d: 1\n\n完");
    let [block] = document.kept_whole.as_slice() else { panic!("{document:?}") };
    assert_eq!(slice(&document, block), "a:\n    - **b**  # <c>\n\n  d: 1");
    assert!(markdown("```\n\n```").kept_whole.is_empty());
}

#[test]
fn headings_have_levels_and_offsets() {
    let document =
        markdown("# 指南 `x` {#guide}\n\n文\n\n副标题\n---\n\n### /users/{id} ###\n\n- # 项");
    let found: Vec<(u8, &str)> =
        document.headings.iter().map(|it| (it.level, it.title.as_str())).collect();
    assert_eq!(found, [(1, "指南 x"), (2, "副标题"), (3, "/users/{id}"), (1, "项")]);
    for heading in &document.headings {
        let line: String = document.text.chars().skip(heading.at).collect();
        assert!(line.trim_start_matches("- ").starts_with(&heading.title), "{heading:?}");
    }
    let starts_line = |at: usize| at == 0 || document.text.chars().nth(at - 1) == Some('\n');
    assert!(document.headings.iter().all(|heading| starts_line(heading.at)));
}

#[test]
fn site_generator_marks_are_dropped() {
    let source = include_str!("tests_site.md");
    let expected = include_str!("tests_site.txt");
    let document = markdown(source);
    assert_eq!(document.text, expected.trim_end());
    assert_eq!(document.title.as_deref(), Some("安装: \"快速\" 指南"));
}

#[test]
fn titles_come_from_front_matter_then_headings() {
    let cases = [
        ("---\ntitle: 'A: b'\n---\n# C", Some("A: b")),
        ("+++\nweight = 1\ntitle = \"甲\"\n+++\n\n# C", Some("甲")),
        ("---\r\ntitle: x\r\n---\r\ny", Some("x")),
        ("---\nid: a\n---\n## 乙\n# 丙", Some("丙")),
        ("## 乙\n\n### 丁", Some("乙")),
        ("---\ntitle: not closed", None),
        ("text", None),
    ];
    for (source, expected) in cases {
        assert_eq!(markdown(source).title.as_deref(), expected, "{source}");
    }
    // A rule is not front matter.
    assert_eq!(markdown("a\n\n---\ntitle: x\n\n---").text, "a\n\ntitle: x");
    let long = markdown(&format!("# {}", "长".repeat(5_000)));
    assert_eq!(long.title.unwrap().chars().count(), 200);
}

#[test]
fn html_becomes_the_same_text() {
    let source = "<!DOCTYPE html><html><head><title>手册 &mdash; A</title><style>b{}</style>\
        <script>if (a < b) { '</p>' }</script></head><body><NAV>menu</nav><h1>安装</h1>\
        <p>先<b>下载</b>，\n再安装 &lt;x&gt;。<img alt='图 1' src=x></p><ol start=3><li>甲<li>乙\
        <ul><li>丙</ul></ol><pre><code>a\n  b &amp;&amp; c</code></pre>\
        <table><thead><tr><th>名<th>值</thead><tr><td><p>a</p><p>b</p></td><td>1</td></tr>\
        <tr><td> </td></tr></table><dl><dt>项<dd>义</dl><footer>©</footer></body></html>";
    let document = html(source);
    let expected = "安装\n\n先下载，再安装 <x>。图 1\n\n3. 甲\n4. 乙\n  - 丙\n\na\n  b && c\n\n\
        名 | 值\na b | 1\n\n项\n义";
    assert_eq!(document.text, expected);
    assert_eq!(document.title.as_deref(), Some("手册 — A"));
    let kept: Vec<String> = document.kept_whole.iter().map(|it| slice(&document, it)).collect();
    assert_eq!(kept, ["a\n  b && c", "名 | 值\na b | 1"]);
    assert_eq!(document.headings, [Heading { level: 1, title: "安装".into(), at: 0 }]);
}

#[test]
fn broken_html_loses_no_text() {
    let cases = [
        ("a < b and c <d", "a < b and c"),
        ("<nav>menu<p>正文", "menu\n\n正文"),
        ("<table><tr><td><h2>题</h2><p>文</table>尾", "题\n\n文\n\n尾"),
        ("<a title=\"x > y\">链</a>接", "链接"),
        ("<a title=it's>链</a>接'", "链接'"),
        ("</div></table></ul></h1>x</pre>", "x"),
        ("<!-- unclosed", ""),
        ("&nosuch; &#xffffff; & &;", "&nosuch; \u{fffd} & &;"),
        ("<h1>题<p>文", "题\n\n文"),
    ];
    for (source, expected) in cases {
        assert_eq!(html(source).text, expected, "{source}");
    }
}

#[test]
fn raw_html_tables_in_markdown_become_rows() {
    let source = "前\n\n<table>\n<tr><th>参数</th>\n<th>说明</th></tr>\n\n<tr><td>a</td><td>\n\n**甲** x\n\n</td></tr>\n</table>\n\n后";
    assert_eq!(markdown(source).text, "前\n\n参数 | 说明\na | 甲 x\n\n后");
}

#[test]
fn plain_text_keeps_its_lines() {
    let document =
        parse(Format::Text, "\u{feff}# 不是标题\r\n  缩进  \n\n\n\n末\0\n".as_bytes()).unwrap();
    assert_eq!(document.text, "# 不是标题\n  缩进\n\n末");
    assert_eq!((document.title, document.headings), (None, vec![]));
}

#[test]
fn other_types_and_encodings_are_refused() {
    let error = Format::of_media_type("image/png").unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Unsupported, "document_media_type"));
    assert!(error.message.contains("image/png") && error.message.contains("text/html"));
    assert_eq!(Format::of_media_type("TEXT/Plain; charset=utf-8").unwrap(), Format::Text);
    for extension in ["txt", "MD", "htm", "pdf", "docx"] {
        let format = Format::of_extension(extension).unwrap();
        assert_eq!(Format::of_media_type(format.media_type()).unwrap(), format);
    }
    assert_eq!(Format::of_extension("doc"), None);
    let gbk = [0xd6, 0xd0, 0xce, 0xc4];
    for content in [&gbk[..], &[0xff, 0xfe, b'a', 0], b"ab\xc3"] {
        let error = parse(Format::Text, content).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Invalid, "document_encoding"));
    }
}

#[test]
fn hostile_documents_take_neither_stack_nor_time() {
    let units = [
        "[",
        "![",
        "*a ",
        "**中",
        "``a` ",
        "<a ",
        "<",
        "<T\n",
        "<Tabs {",
        "&",
        "- ",
        "> ",
        "1. ",
        "[a](",
        "[a]: b\n",
        "\0",
        "<table><tr><td>",
        "<nav>",
        "<div>",
        "<ul><li>",
        "<a href=\"",
        "&eacute;",
        "<title>",
        "{{<",
        "# a\n",
        "```\n",
        "</",
    ];
    let mut sources: Vec<String> = units.iter().map(|it| it.repeat(60_000 / it.len())).collect();
    sources.push(format!("{}a{}", "- ".repeat(10_000), "\na".repeat(50_000)));
    sources.push(format!("{}a{}", "> ".repeat(10_000), "\na".repeat(50_000)));
    sources.push(format!("{}a{}", "- ".repeat(10_000), "\n".repeat(50_000)));
    sources.push((0..300).map(|depth| format!("{}- a\n", "  ".repeat(depth))).collect());
    let (header, ruler) = ("a|".repeat(1_000), "-|".repeat(1_000));
    sources.push(format!("{header}\n{ruler}\n{}", "a\n".repeat(20_000)));
    for mark in ["> ", "- ", "1. "] {
        // What the parser gets is shallow: its time grows with lines times depth.
        let (_, prepared) = prepare::prepare(&mark.repeat(10_000));
        assert!(prepared.len() < 300, "{}", prepared.len());
    }
    assert!(prepare::prepare(&format!("{}- a", " ".repeat(9_000))).1.len() < 300);
    let unclosed = "<nav>".repeat(600_000);
    let start = Instant::now();
    assert_eq!(html(&unclosed).text, "");
    let read = move || {
        for source in &sources {
            for format in [Format::Markdown, Format::Html, Format::Text] {
                parse(format, source.as_bytes()).unwrap();
            }
        }
    };
    thread::Builder::new().stack_size(256 * 1024).spawn(read).unwrap().join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Random mixtures of everything that means something: offsets hold, and nothing panics.
#[test]
fn random_markup_keeps_its_offsets() {
    let parts = [
        "# ",
        "## ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "> ",
        "```",
        "    ",
        "|",
        "|-|",
        "*",
        "**",
        "`",
        "[",
        "](x)",
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<h2>",
        "</h2>",
        "<pre>",
        "</pre>",
        "<ul>",
        "<li>",
        "</ul>",
        "<!--",
        "-->",
        "中文",
        "。",
        "word",
        " ",
        "&amp;",
        "<br>",
        ":::note",
        "{{< x >}}",
        "---",
        "<Tabs>",
        "</Tabs>",
        "é",
        "👩‍💻",
        "\t",
        "import a from 'b'",
    ];
    let mut seed = 11_u64;
    for round in 0..3_000 {
        let mut source = String::new();
        for _ in 0..round % 40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            source.push_str(parts[(seed >> 33) as usize % parts.len()]);
        }
        for document in [markdown(&source), html(&source)] {
            let length = document.text.chars().count();
            let text = document.text.as_str();
            assert_eq!(text.trim_end(), text, "{source:?}");
            assert!(!text.contains("\n\n\n") || !document.kept_whole.is_empty(), "{source:?}");
            for heading in &document.headings {
                let line: String = text.chars().skip(heading.at).collect();
                assert!(line.contains(&heading.title), "{source:?} {heading:?}");
            }
            assert!(document.headings.windows(2).all(|pair| pair[0].at < pair[1].at), "{source:?}");
            let mut before = 0;
            for range in &document.kept_whole {
                assert!(before <= range.start && range.start < range.end, "{source:?}");
                before = range.end;
            }
            assert!(before <= length, "{source:?}");
        }
    }
}

fn slice(document: &ParsedDocument, range: &Range<usize>) -> String {
    document.text.chars().skip(range.start).take(range.len()).collect()
}
