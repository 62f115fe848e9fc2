//! PDF files as programs write them, and as they arrive broken.

use super::*;
use crate::retrieve::parse::files;
use crate::retrieve::parse::{Format, ParsedDocument, parse};

fn read(content: &[u8]) -> Result<ParsedDocument> {
    parse(Format::Pdf, content)
}

#[test]
fn glyphs_become_paragraphs() {
    let file = files::pdf(
        "客户手册",
        &[&[
            (72, 760, 20, "客户画像"),
            (96, 720, 10, "客户画像把一位客户的资料、订单和往来汇成"),
            (72, 704, 10, "一页，让销售在拜访之前就知道该说什么"),
            (72, 688, 10, "。"),
            (72, 672, 10, "Open the customer list and choose"),
            (72, 656, 10, "Export; it stays."),
            (72, 640, 10, "• 第一条"),
            (72, 624, 10, "• 第二条"),
            (72, 590, 10, "另起一段。"),
        ]],
    );
    let document = read(&file).unwrap();
    assert_eq!(
        document.text,
        "客户画像\n\n客户画像把一位客户的资料、订单和往来汇成一页，让销售在拜访之前就知道该说什么\n。\n\
         Open the customer list and choose Export; it stays.\n• 第一条\n• 第二条\n\n另起一段。"
    );
    assert_eq!(document.title.as_deref(), Some("客户手册"));
    assert_eq!(document.headings, []);
}

#[test]
fn headers_and_footers_go() {
    let words = ["甲", "乙", "丙", "丁"];
    let sheets: Vec<Vec<(u32, u32, u32, &str)>> = words
        .iter()
        .zip(["第 1 页", "第 2 页", "第 3 页", "第 4 页"])
        .map(|(word, number)| {
            vec![(72, 30, 9, number), (72, 800, 9, "云帆科技"), (72, 700, 10, *word)]
        })
        .collect();
    let sheets: Vec<&[_]> = sheets.iter().map(Vec::as_slice).collect();
    assert_eq!(read(&files::pdf("", &sheets)).unwrap().text, "甲\n\n乙\n\n丙\n\n丁");
    let few = read(&files::pdf("", sheets.get(..2).unwrap())).unwrap();
    assert!(few.text.contains("云帆科技") && few.text.contains("第 2 页"), "{}", few.text);
}

#[test]
fn what_cannot_be_read_says_why() {
    let good = files::pdf("t", &[&[(72, 700, 10, "文")]]);
    let scan = files::pdf("t", &[&[]]);
    let (start, _) = good.split_at(good.len() / 3);
    for (content, code, named) in [
        (&b"not a pdf"[..], "document_unreadable", "no PDF"),
        (b"%PDF-1.7", "document_unreadable", "damaged"),
        (start, "document_unreadable", "damaged"),
        (&scan, "document_without_text", "OCR"),
    ] {
        let error = read(content).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(named), "{error}");
    }
}

#[test]
fn a_page_that_breaks_off_keeps_what_was_read() {
    let good = files::pdf("t", &[&[(72, 700, 10, "读到这里"), (72, 680, 10, "之后坏了")]]);
    let at = good.windows(13).rposition(|it| it == b"72 680 Td <4E").unwrap();
    let mut broken = good.clone();
    // An operator without its operands.
    broken[at..at + 6].copy_from_slice(b"      ");
    assert_eq!(read(&broken).unwrap().text, "读到这里");
}
