//! PDF: information about the document, XMP, dates and authors of annotations, and the metadata of JPEG pictures go; the
//! file is written anew, so that earlier versions which programs leave in it go too.

use std::io::Cursor;

use lopdf::{Dictionary, Document, LoadOptions, Object, StringFormat};

use super::{
    Why,
    noise::Noise,
    read::{Bad, File, Needed as _, Out, Result},
};

/// It is held in memory as a whole, and taken apart there, so a larger one cannot be cleaned.
const LARGEST: u64 = 32 << 20;

/// What all streams that are unpacked while loading may hold together.
const UNPACKED: usize = 256 << 20;

/// No file needs more streams of objects, which are unpacked while loading.
const MOST_OBJECT_STREAMS: usize = 4096;

/// Keys that go, wherever they stand.
const GONE: &[&[u8]] = &[b"Metadata", b"PieceInfo", b"LastModified", b"SpiderInfo"];

/// Keys that go from annotations that are no form fields: author, dates, name.
const GONE_FROM_NOTES: &[&[u8]] = &[b"T", b"M", b"CreationDate", b"NM"];

/// The document without metadata.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let length = usize::try_from(file.length().min(LARGEST + 1)).unwrap_or(usize::MAX);
    if length as u64 > LARGEST {
        return Err(Bad::File(Why::TooLarge));
    }
    let mut bytes = vec![0; length];
    file.fill(0, &mut bytes)?;
    out.bytes(&rewritten(&bytes, noise).needed()?)
}

/// `None` if it is encrypted or no PDF.
fn rewritten(bytes: &[u8], noise: &Noise) -> Option<Vec<u8>> {
    let streams = object_streams(bytes) + 2;
    if streams > MOST_OBJECT_STREAMS {
        return None;
    }
    let options = LoadOptions {
        max_decompressed_size: Some(UNPACKED / streams),
        ..LoadOptions::default()
    };
    let mut document = Document::load_mem_with_options(bytes, options).ok()?;
    if document.is_encrypted() || document.trailer.has(b"Encrypt") {
        return None;
    }
    document.trailer.remove(b"Info");
    for key in GONE {
        document.trailer.remove(key);
    }
    // What tells files apart, instead of what told it before.
    let id = Object::String(noise.text().to_vec(), StringFormat::Literal);
    document.trailer.set("ID", vec![id.clone(), id]);
    document.objects.retain(|_, object| !is_metadata(object));
    for object in document.objects.values_mut() {
        clean(object, 0);
    }
    document.prune_objects();
    if document.catalog().is_err() {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    document.save_to(&mut out).ok()?;
    Some(out)
}

/// How often a file names the type of streams of objects, however it writes the name.
fn object_streams(bytes: &[u8]) -> usize {
    let is_one = |rest: &[u8]| {
        let mut at = 0;
        b"ObjStm".iter().all(|wanted| {
            let found = match rest.get(at..at + 3) {
                Some([b'#', high, low]) => {
                    at += 2;
                    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
                    u8::try_from(digit(*high) << 4 | digit(*low)).ok()
                }
                _ => rest.get(at).copied(),
            };
            at += 1;
            found == Some(*wanted)
        })
    };
    let names = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    names.filter(|(at, _)| is_one(&bytes[at + 1..])).count()
}

fn is_metadata(object: &Object) -> bool {
    let kind = |dict: &Dictionary| {
        dict.get(b"Type")
            .and_then(Object::as_name)
            .is_ok_and(|name| name == b"Metadata")
    };
    matches!(object, Object::Stream(stream) if kind(&stream.dict))
}

/// How deep direct objects are looked into; the parser allows no more.
const DEEPEST: usize = 200;

fn clean(object: &mut Object, depth: usize) {
    if depth > DEEPEST {
        *object = Object::Null;
        return;
    }
    match object {
        Object::Dictionary(dict) => clean_dictionary(dict, depth),
        Object::Array(items) => items.iter_mut().for_each(|item| clean(item, depth + 1)),
        Object::Stream(stream) => {
            clean_dictionary(&mut stream.dict, depth);
            let is = |dict: &Dictionary, key: &[u8], value: &[u8]| {
                let found = dict.get(key).and_then(|found| match found {
                    Object::Array(one) if one.len() == 1 => one[0].as_name(),
                    other => other.as_name(),
                });
                found.is_ok_and(|name| name == value)
            };
            if is(&stream.dict, b"Type", b"EmbeddedFile") {
                stream.dict.remove(b"Params");
            }
            if is(&stream.dict, b"Filter", b"DCTDecode")
                && let Some(picture) = picture(&stream.content)
            {
                stream.set_content(picture);
            }
        }
        _ => {}
    }
}

/// A JPEG picture without metadata.
fn picture(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut from = Cursor::new(bytes);
    let mut clean = Vec::with_capacity(bytes.len());
    let mut file = File::new(&mut from).ok()?;
    super::jpeg::strip(&mut file, None, &mut Out::new(&mut clean)).ok()?;
    Some(clean)
}

fn clean_dictionary(dict: &mut Dictionary, depth: usize) {
    for key in GONE {
        dict.remove(key);
    }
    let name = |key: &[u8]| dict.get(key).and_then(Object::as_name).unwrap_or_default();
    let is_note = name(b"Type") == b"Annot" && name(b"Subtype") != b"Widget"
        || matches!(
            name(b"Subtype"),
            b"Text"
                | b"FreeText"
                | b"Highlight"
                | b"Underline"
                | b"StrikeOut"
                | b"Squiggly"
                | b"Ink"
                | b"Stamp"
                | b"Popup"
        ) && dict.has(b"Rect");
    if is_note {
        for key in GONE_FROM_NOTES {
            dict.remove(key);
        }
    }
    for (_, value) in dict.iter_mut() {
        clean(value, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn streams_of_objects_are_counted() {
        let file = b"/ObjStm /Obj#53tm/#4fbjStm /ObjSt /Obj /ObjStm";
        assert_eq!(super::object_streams(file), 4);
    }
}
