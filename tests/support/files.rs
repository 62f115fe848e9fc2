//! PDF and Word files, made by hand, so that a test can say what is in them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// One object of a PDF, without its number.
pub type Object = Vec<u8>;

/// A PDF of these objects, numbered from 1; the first is the catalog, and `info` the number of
/// the properties.
pub fn pdf_of(objects: &[Object], info: usize) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        writeln!(file, "{} 0 obj", index + 1).unwrap();
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let table = file.len();
    let n_objects = objects.len() + 1;
    write!(file, "xref\n0 {n_objects}\n0000000000 65535 f \n").unwrap();
    for offset in offsets {
        writeln!(file, "{offset:010} 00000 n ").unwrap();
    }
    let trailer = format!("/Size {n_objects} /Root 1 0 R /Info {info} 0 R");
    write!(file, "trailer\n<< {trailer} >>\nstartxref\n{table}\n%%EOF\n").unwrap();
    file
}

/// A stream with more entries in its dictionary.
pub fn stream(entries: &str, content: &[u8]) -> Object {
    let mut object = format!("<< {entries} /Length {} >>\nstream\n", content.len()).into_bytes();
    object.extend_from_slice(content);
    object.extend_from_slice(b"\nendstream");
    object
}

/// Text at heights: every line is (points from the left, points from the bottom, size, text).
pub type Sheet<'a> = &'a [(u32, u32, u32, &'a str)];

/// A PDF with a title and sheets, in a font that knows all characters that are used.
pub fn pdf(title: &str, sheets: &[Sheet<'_>]) -> Vec<u8> {
    const FIRST_SHEET: usize = 8;
    let numbers = (0..sheets.len()).map(|index| format!("{} 0 R ", FIRST_SHEET + 2 * index));
    let (kids, n_sheets) = (numbers.collect::<String>(), sheets.len());
    let mut objects: Vec<Object> = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {n_sheets} >>").into(),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /Song /Encoding /Identity-H \
          /DescendantFonts [4 0 R] /ToUnicode 6 0 R >>"
            .to_vec(),
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Song /FontDescriptor 5 0 R /DW 1000 \
          /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>"
            .to_vec(),
        b"<< /Type /FontDescriptor /FontName /Song /Flags 4 >>".to_vec(),
        stream("", to_unicode(sheets).as_bytes()),
        format!("<< /Title <FEFF{}> >>", hex(title)).into(),
    ];
    for (index, lines) in sheets.iter().enumerate() {
        let content = FIRST_SHEET + 2 * index + 1;
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>"
        );
        let mut drawing = String::new();
        for (x, y, size, text) in *lines {
            writeln!(drawing, "BT /F1 {size} Tf {x} {y} Td <{}> Tj ET", hex(text)).unwrap();
        }
        objects.extend([page.into(), stream("", drawing.as_bytes())]);
    }
    pdf_of(&objects, 7)
}

/// The table from codes to characters; codes are the characters' own numbers.
fn to_unicode(sheets: &[Sheet<'_>]) -> String {
    let texts = sheets.iter().flat_map(|lines| lines.iter()).map(|line| line.3);
    let chars: BTreeSet<char> = texts.flat_map(str::chars).collect();
    let mut table = String::from(
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /A def\n\
         1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n",
    );
    for chars in chars.iter().collect::<Vec<_>>().chunks(100) {
        writeln!(table, "{} beginbfchar", chars.len()).unwrap();
        for char in chars {
            let code = hex(&char.to_string());
            writeln!(table, "<{code}> <{code}>").unwrap();
        }
        table.push_str("endbfchar\n");
    }
    table + "endcmap\nend\nend\n"
}

fn hex(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("{unit:04X}")).collect()
}

/// A Word file of these parts.
pub fn docx_of(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in parts {
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A Word file with a title and the XML of its body.
pub fn docx(title: &str, body: &str) -> Vec<u8> {
    let text = document_xml(body);
    let core = format!(
        "<cp:coreProperties xmlns:cp=\"c\" xmlns:dc=\"d\"><dc:title>{title}</dc:title>\
         <dc:creator>someone</dc:creator></cp:coreProperties>"
    );
    docx_of(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("_rels/.rels", RELATIONS.as_bytes()),
        ("word/document.xml", text.as_bytes()),
        ("word/styles.xml", STYLES.as_bytes()),
        ("word/numbering.xml", NUMBERING.as_bytes()),
        ("docProps/core.xml", core.as_bytes()),
    ])
}

/// The main part with this body.
pub fn document_xml(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>"
    )
}

/// A paragraph with properties.
pub fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
}

const RELATIONS: &str = r#"<Relationships xmlns="r"><Relationship Id="rId1"
    Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    Target="word/document.xml"/></Relationships>"#;

const STYLES: &str = r#"<w:styles xmlns:w="w">
    <w:style w:type="paragraph" w:styleId="1"><w:name w:val="heading 1"/></w:style>
    <w:style w:type="paragraph" w:styleId="2"><w:name w:val="heading 2"/></w:style>
    <w:style w:type="paragraph" w:styleId="a3"><w:name w:val="List Bullet"/>
        <w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>
    <w:style w:type="paragraph" w:styleId="TOC1"><w:name w:val="toc 1"/></w:style>
    <w:style w:type="paragraph" w:styleId="mine"><w:name w:val="条款"/>
        <w:basedOn w:val="2"/></w:style>
</w:styles>"#;

/// List 1 has bullets, list 2 numbers with bullets below.
const NUMBERING: &str = r#"<w:numbering xmlns:w="w">
    <w:abstractNum w:abstractNumId="10"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl>
    </w:abstractNum>
    <w:abstractNum w:abstractNumId="20"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl>
        <w:lvl w:ilvl="1"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>
    <w:num w:numId="1"><w:abstractNumId w:val="10"/></w:num>
    <w:num w:numId="2"><w:abstractNumId w:val="20"/></w:num>
</w:numbering>"#;
