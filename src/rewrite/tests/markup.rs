//! HTML, links and identifiers in text, and what becomes of them.

use serde_json::json;

use super::{outbound, sent, sent_html, text};
use crate::rewrite::{Rewritten, Translations};

#[test]
fn pills_and_permalinks() {
    let bob = "<a href=\"https://matrix.to/#/@bob:b.example\">Bob</a>";
    for (from, to) in [
        ("https://matrix.to/#/@_vizard_m_bob:a.example", bob),
        ("https://matrix.to/#/%40_vizard_m_bob%3Aa.example", bob),
        ("matrix:u/_vizard_m_bob:a.example", bob),
        ("https://matrix.to/#/@alice:a.example", "<i>t</i>"),
        ("https://matrix.to/#/@_vizard_m_other:a.example", "<i>t</i>"),
        ("https://matrix.to/#/!portal:a.example/$unknown", "<i>t</i>"),
        ("https://app.example/#/room/!portal:a.example", "<i>t</i>"),
        (
            "https://app.example/#/user/%40_vizard_m_bob:a.example",
            "<i>t</i>",
        ),
        ("https://app.example/#/user/@alice:a.example", "<i>t</i>"),
        (
            "https://social.example/@x",
            "<a href=\"https://social.example/@x\"><i>t</i></a>",
        ),
        ("javascript:alert(1)", "<i>t</i>"),
        ("mxc://a.example/x", "<i>t</i>"),
        (
            "https://matrix.to/#/!portal:a.example?via=a.example",
            "<a href=\"https://matrix.to/#/!room:b.example\"><i>t</i></a>",
        ),
        (
            "https://matrix.to/#/!portal:a.example/$here?via=a.example",
            "<a href=\"https://matrix.to/#/!room:b.example/$there\"><i>t</i></a>",
        ),
        (
            "https://matrix.to/#/%23pub:c.example?web=1",
            "<a href=\"https://matrix.to/#/%23pub:c.example\"><i>t</i></a>",
        ),
        (
            "https://matrix.to/#/!else:c.example?via=c.example&x=y",
            "<a href=\"https://matrix.to/#/!else:c.example?via=c.example\"><i>t</i></a>",
        ),
        (
            "https://c.example/?a=1&amp;b=2",
            "<a href=\"https://c.example/?a=1&amp;b=2\"><i>t</i></a>",
        ),
    ] {
        let html = format!("<a target=_blank name=x href=\"{from}\"><i>t</i></a>!");
        assert_eq!(sent_html(&html), format!("{to}!"), "{from}");
    }
    // Nothing is known of rooms: no link to one.
    let content = json!({"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html",
        "formatted_body": "<a href=\"https://matrix.to/#/!else:c.example\">t</a>"});
    let Rewritten::Send(sent) = outbound("m.room.message", &content, &Translations::default())
    else {
        panic!("not sent");
    };
    assert!(!sent.content().get().contains("matrix.to"));
}

#[test]
fn ids_in_plain_text() {
    for (from, to) in [
        ("hi @_vizard_m_bob:a.example!", "hi Bob!"),
        ("@_vizard_m_bob:a.example: hi", "Bob: hi"),
        ("(@_vizard_m_bob:a.example)", "(Bob)"),
        (
            "@_vizard_m_bob:a.example.org",
            "@_vizard_m_bob:a.example.org",
        ),
        ("@_vizard_m_bob:a.example:8448", "Bob:8448"),
        ("x@_vizard_m_bob:a.example", "x@_vizard_m_bob:a.example"),
        ("@alice:a.example", "@alice:a.example"),
        (
            "[b](https://matrix.to/#/@_vizard_m_bob:a.example)",
            "[b](https://matrix.to/#/@bob:b.example)",
        ),
        (
            "see https://matrix.to/#/!portal:a.example/$here.",
            "see https://matrix.to/#/!room:b.example/$there.",
        ),
        ("!portal:a.example", "!room:b.example"),
        ("!portal:a.example.org", "!portal:a.example.org"),
        ("MXC://a.example/x y", "(media) y"),
        ("é: @ ! matrix:", "é: @ ! matrix:"),
    ] {
        assert_eq!(sent(&text(from))["body"], to, "{from}");
        let html = sent_html(&format!("<p>{from}</p>"));
        assert_eq!(html, format!("<p>{to}</p>"), "{from}");
    }
}

#[test]
fn html_is_written_anew() {
    for (from, to) in [
        ("<b>a</b>", "<b>a</b>"),
        ("<b>a", "<b>a</b>"),
        ("<b><i>a</b>c</i>", "<b><i>a</i></b>c"),
        ("a<script>x</script>b<style>y</style>", "ab"),
        (
            "<font color=\"#ff0000\">a</font>",
            "<span data-mx-color=\"#ff0000\">a</span>",
        ),
        ("<strike>a</strike>", "<s>a</s>"),
        (
            "<span data-mx-color='red' onclick=x style=y>a</span>",
            "<span>a</span>",
        ),
        (
            "<span data-mx-spoiler>a</span>",
            "<span data-mx-spoiler=\"\">a</span>",
        ),
        (
            "<div data-mx-maths='a&lt;b&quot;'>a</div>",
            "<div data-mx-maths=\"a&lt;b&quot;\">a</div>",
        ),
        (
            "<ol start=3 type=a><li>a<li>b</ol>",
            "<ol start=\"3\"><li>a</li><li>b</li></ol>",
        ),
        ("<code class='language-rust x'>a</code>", "<code>a</code>"),
        (
            "<pre><code class='language-rust'>a\n</code></pre>",
            "<pre><code class=\"language-rust\">a\n</code></pre>",
        ),
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        (
            "<table><tr><td>a<td>b<tr><td>c</table>",
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
        ),
        ("a<br/>b<hr>", "a<br>b<hr>"),
        ("<!-- x -->a&amp;&lt;b&nbsp;&hellip;", "a&amp;&lt;b\u{a0}…"),
        ("<mx-reply><blockquote>x</blockquote></mx-reply>y", "y"),
        ("<img src='mxc://a/b' alt=':cat:' title=x>!", ":cat:!"),
        ("<img src='mxc://a/b' title='mxc://a/b'>!", "(media)!"),
        ("mx<x>c://a/b", "(media)"),
        ("mxc:&#47;/a/b", "(media)"),
        ("<svg><b>x</b></svg></p></b>", "<b>x</b>"),
        ("<a>x</a>", "x"),
        (
            "<a href='https://matrix.to/#/@_vizard_m_bob:a.example'>B<p>c",
            "<a href=\"https://matrix.to/#/@bob:b.example\">Bob</a><p>c</p>",
        ),
        ("<b></b><br>", ""),
        ("", ""),
    ] {
        assert_eq!(sent_html(from), to, "{from}");
    }
    let deep = sent_html(&"<div>".repeat(5000));
    assert_eq!(deep, "");
    let deep = sent_html(&format!("{}x", "<div>".repeat(5000)));
    assert_eq!(deep.matches("<div>").count(), 100);
}
