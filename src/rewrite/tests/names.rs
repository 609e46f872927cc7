//! Names and plain text.

use crate::rewrite::{clean_name, escape_html, text::strip_reply_fallback};

#[test]
fn names_are_cleaned() {
    for (name, clean) in [
        ("Alice", "Alice"),
        ("  a \n\t b  ", "a b"),
        ("\0\u{7}x\u{85}", "x"),
        ("\u{202e}evil\u{2066}", "evil"),
        ("\u{200b}\u{feff}", ""),
        ("\u{200d}\u{200d}", ""),
        ("👩\u{200d}🔬", "👩\u{200d}🔬"),
        ("שלום عليكم", "שלום عليكم"),
        (
            "z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}x",
            "z\u{301}\u{302}\u{303}\u{304}x",
        ),
        ("\u{301}x", "x"),
        ("", ""),
    ] {
        assert_eq!(clean_name(name), clean, "{name:?}");
    }
    assert_eq!(clean_name(&"é".repeat(1000)).chars().count(), 100);
    assert_eq!(clean_name(&"a ".repeat(1000)).chars().count(), 99);
}

#[test]
fn html_is_escaped() {
    assert_eq!(
        escape_html("<a href=\"x\">&"),
        "&lt;a href=&quot;x&quot;&gt;&amp;"
    );
}

#[test]
fn reply_fallbacks_go() {
    for (body, rest) in [
        ("> <@a:b> hi\n> there\n\nyes", "yes"),
        ("> * <@a:b> waves\n\n\nyes", "\nyes"),
        ("> <@a:b> hi\nyes", "yes"),
        ("> quoted\n\nyes", "> quoted\n\nyes"),
        ("> <@a:b> hi", ""),
        ("plain", "plain"),
    ] {
        assert_eq!(strip_reply_fallback(body), rest, "{body:?}");
    }
}
