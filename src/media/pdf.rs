//! PDF: information about the document, XMP, dates and authors of annotations, signatures and the metadata of JPEG pictures
//! go; the file is written anew, so that earlier versions which programs leave in it go too.

use std::{collections::BTreeSet, io::Cursor};

use lopdf::{Dictionary, Document, Object, ObjectId, StringFormat};

use super::{
    Why,
    noise::Noise,
    pdf_load::{apart, load},
    read::{Bad, File, Needed as _, Out, Result},
};

/// It is held in memory as a whole, and taken apart there, so a larger one cannot be cleaned.
const LARGEST: u64 = 16 << 20;

/// Keys that go, wherever they stand.
const GONE: &[&[u8]] = &[
    b"Metadata",
    b"PieceInfo",
    b"LastModified",
    b"SpiderInfo",
    // What belongs to signatures, which fit the file no more: certificates, and what they allow.
    b"DSS",
    b"Perms",
    b"SigFlags",
];

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
    let id = noise.text().to_vec();
    out.bytes(&apart(move || rewritten(&bytes, id)).needed()?)
}

/// `None` if it is encrypted or no PDF. `id`: what tells this file apart.
fn rewritten(bytes: &[u8], id: Vec<u8>) -> Option<Vec<u8>> {
    let mut document = load(bytes)?;
    if document.is_encrypted() || document.trailer.has(b"Encrypt") {
        return None;
    }
    document.trailer.remove(b"Info");
    for key in GONE {
        document.trailer.remove(key);
    }
    let id = Object::String(id, StringFormat::Literal);
    document.trailer.set("ID", vec![id.clone(), id]);
    document.objects.retain(|_, object| !is_metadata(object));
    for object in document.objects.values_mut() {
        clean(object, 0);
    }
    document.prune_objects();
    // Something that is named and not there: the file was not understood.
    let pages = document.catalog().and_then(|catalog| catalog.get(b"Pages"));
    let pages = pages.and_then(|pages| document.dereference(pages));
    if !pages.is_ok_and(|(_, pages)| pages.as_dict().is_ok()) || misses(&document, bytes) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    document.save_to(&mut out).ok()?;
    Some(out)
}

/// Whether what stays names objects that are not there, and stand in the file: it was not understood.
fn misses(document: &Document, bytes: &[u8]) -> bool {
    fn names(object: &Object, found: &mut impl FnMut(ObjectId)) {
        match object {
            Object::Reference(id) => found(*id),
            Object::Array(items) => items.iter().for_each(|item| names(item, found)),
            Object::Dictionary(dict) => dict.iter().for_each(|(_, item)| names(item, found)),
            Object::Stream(stream) => {
                stream.dict.iter().for_each(|(_, item)| names(item, found));
            }
            _ => {}
        }
    }
    let mut missing = BTreeSet::new();
    let mut found = |id| {
        if !document.objects.contains_key(&id) {
            missing.insert(id);
        }
    };
    for object in document.objects.values() {
        names(object, &mut found);
    }
    let heads = bytes.windows(4).enumerate();
    !missing.is_empty()
        && heads
            .filter(|(_, four)| four[1..] == *b"obj" && !four[0].is_ascii_alphabetic())
            .any(|(at, _)| id_before(&bytes[..=at]).is_some_and(|id| missing.contains(&id)))
}

/// The two numbers at the end.
fn id_before(bytes: &[u8]) -> Option<ObjectId> {
    let text = &bytes[bytes.len().saturating_sub(32)..];
    let mut words = text.rsplit(u8::is_ascii_whitespace);
    let mut number = || {
        let word = words.find(|word| !word.is_empty())?;
        let digits = word.iter().rev().take_while(|byte| byte.is_ascii_digit());
        let word = &word[word.len() - digits.count()..];
        str::from_utf8(word).ok()?.parse::<u32>().ok()
    };
    let generation = u16::try_from(number()?).ok()?;
    Some((number()?, generation))
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
        // As if nobody had signed it: other objects may name it.
        Object::Dictionary(dict) if is_signature(dict) => *object = Object::Null,
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

/// Whether it says who signed, where and when, with what certificate. Its type may be left out.
fn is_signature(dict: &Dictionary) -> bool {
    let kind = dict.get(b"Type").and_then(Object::as_name);
    kind.is_ok_and(|kind| matches!(kind, b"Sig" | b"DocTimeStamp"))
        || dict.has(b"ByteRange") && dict.has(b"Contents")
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
    use super::*;

    #[test]
    fn heads_of_objects() {
        assert_eq!(id_before(b"endobj12 3 "), Some((12, 3)));
        assert_eq!(id_before(b"\n7  0\r\n"), Some((7, 0)));
        assert_eq!(id_before(b" end"), None);
        assert_eq!(id_before(b""), None);
    }
}
