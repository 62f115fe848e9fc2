//! Word files as Word writes them, and as attackers do.

use super::*;
use crate::error::Kind;
use crate::retrieve::parse::files::{document_xml, docx, docx_of, paragraph};
use crate::retrieve::parse::{Format, Heading, ParsedDocument, parse};

fn read(content: &[u8]) -> Result<ParsedDocument> {
    parse(Format::Docx, content)
}

fn body(body: &str) -> String {
    read(&docx("", body)).unwrap().text
}

#[test]
fn headings_lists_and_tables_are_kept() {
    let item = |list: u32, level: u32| {
        format!("<w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"{list}\"/></w:numPr>")
    };
    let cell = |text: &str| format!("<w:tc>{}</w:tc>", paragraph("", text));
    let parts = [
        paragraph("<w:pStyle w:val=\"TOC1\"/>", "安装......1"),
        paragraph("<w:pStyle w:val=\"1\"/>", "安装"),
        paragraph("", "先下载 &lt;x&gt; &#20320;好。"),
        paragraph("<w:pStyle w:val=\"mine\"/>", "步骤"),
        paragraph(&item(2, 0), "甲"),
        paragraph(&item(2, 1), "甲之一"),
        paragraph(&item(2, 0), "乙"),
        paragraph("", "说明"),
        paragraph(&item(2, 0), "丙"),
        paragraph("<w:pStyle w:val=\"a3\"/>", "点"),
        format!(
            "<w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>",
            cell("名"),
            cell("值"),
            cell("a"),
            cell("1")
        ),
        paragraph("<w:outlineLvl w:val=\"2\"/>", "附"),
        "<w:p><w:r><w:t>一</w:t><w:br/><w:t xml:space=\"preserve\">two </w:t></w:r>\
         <w:r><w:t>three</w:t></w:r></w:p>"
            .into(),
    ];
    let document = read(&docx("云帆手册", &parts.concat())).unwrap();
    assert_eq!(
        document.text,
        "安装\n\n先下载 <x> 你好。\n\n步骤\n\n1. 甲\n  - 甲之一\n2. 乙\n\n说明\n\n3. 丙\n\n- 点\n\n\
         名 | 值\na | 1\n\n附\n\n一\ntwo three"
    );
    let found: Vec<(u8, &str)> =
        document.headings.iter().map(|it: &Heading| (it.level, it.title.as_str())).collect();
    assert_eq!(found, [(1, "安装"), (2, "步骤"), (3, "附")]);
    assert_eq!(document.title.as_deref(), Some("云帆手册"));
    assert_eq!(document.kept_whole.len(), 1);
}

#[test]
fn what_is_not_shown_is_not_read() {
    for (xml, text) in [
        (
            "<w:p><w:del><w:r><w:delText>旧</w:delText></w:r></w:del><w:ins><w:r><w:t>新</w:t></w:r></w:ins></w:p>",
            "新",
        ),
        ("<w:p><w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:t>文</w:t></w:r></w:p>", "文"),
        (
            "<w:p><w:moveFrom><w:r><w:t>走了</w:t></w:r></w:moveFrom><w:r><w:t>文</w:t></w:r></w:p>",
            "文",
        ),
        (
            "<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>框</w:t></w:r></w:p>\
             </w:txbxContent></mc:Choice><mc:Fallback><w:p><w:r><w:t>框</w:t></w:r></w:p></mc:Fallback>\
             </mc:AlternateContent></w:r><w:r><w:t>文</w:t></w:r></w:p>",
            "框\n\n文",
        ),
        (
            "<w:p><w:pPr><w:pPrChange><w:pPr><w:pStyle w:val=\"1\"/></w:pPr></w:pPrChange></w:pPr><w:r><w:t>文</w:t></w:r></w:p>",
            "文",
        ),
    ] {
        assert_eq!(body(xml), text, "{xml}");
    }
    let changed = docx(
        "",
        "<w:p><w:pPr><w:pPrChange><w:pPr><w:pStyle w:val=\"1\"/></w:pPr></w:pPrChange></w:pPr><w:r><w:t>文</w:t></w:r></w:p>",
    );
    assert_eq!(read(&changed).unwrap().headings, []);
}

#[test]
fn what_is_no_document_says_why() {
    let text = document_xml(&paragraph("", "文"));
    let whole = docx("t", &paragraph("", "文"));
    let (start, _) = whole.split_at(whole.len() / 2);
    let mut damaged = whole.clone();
    let at = damaged.windows(17).position(|it| it == b"word/document.xml").unwrap();
    damaged[at + 20] ^= 0x55;
    for (content, code, named) in [
        (b"no zip".to_vec(), "document_unreadable", "no Word document"),
        (start.to_vec(), "document_unreadable", "damaged"),
        (damaged, "document_unreadable", "damaged"),
        ([OLD_CONTAINER, &[0; 600]].concat(), "document_encrypted", "password"),
        (docx_of(&[("a.txt", b"a")]), "document_unreadable", "no main part"),
        (docx_of(&[(USUAL_PLACE, b"<a><b>")]), "document_unreadable", "damaged"),
        (docx_of(&[(USUAL_PLACE, b"\xff\xfe<\0")]), "document_unreadable", "damaged"),
        (docx("t", "<w:p/>"), "document_without_text", "no text"),
    ] {
        let error = read(&content).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Invalid, code), "{error}");
        assert!(error.message.contains(named), "{error}");
    }
    assert_eq!(read(&docx_of(&[(USUAL_PLACE, text.as_bytes())])).unwrap().text, "文");
}

#[test]
fn bombs_do_not_go_off() {
    let spaces = vec![b' '; 70 << 20];
    let deep = document_xml(&"<w:sdt>".repeat(5_000));
    let many: Vec<(String, &[u8])> = (0..5_001).map(|n| (format!("a{n}"), &b""[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, it)| (name.as_str(), *it)).collect();
    for parts in [
        &[(USUAL_PLACE, &spaces[..])][..],
        &[(USUAL_PLACE, &spaces[..40 << 20]), ("word/styles.xml", &spaces[..40 << 20])],
        &[(USUAL_PLACE, deep.as_bytes())],
        &many,
    ] {
        let file = docx_of(parts);
        assert!(file.len() < 1 << 20, "{}", file.len());
        let error = read(&file).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::TooLarge, "document_too_complex"), "{error}");
    }
    // Entities of the document's own are not expanded.
    let laughs = "<!DOCTYPE d [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>\
        <w:document xmlns:w=\"w\"><w:p><w:r><w:t>文&b;</w:t></w:r></w:p></w:document>";
    assert_eq!(read(&docx_of(&[(USUAL_PLACE, laughs.as_bytes())])).unwrap().text, "文");
}
