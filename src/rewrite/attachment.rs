//! Attachments: images, files, sounds, videos, voice messages and stickers, in both directions.
//!
//! The content says where the file lies, and what is new has to say where its copy lies. So rewriting makes an
//! [`Attachment`], which tells what to fetch; whoever has fetched, cleaned and uploaded it hands the [`Placed`] copies
//! in and gets the content. Of the old content pass the caption, the relation, the dimensions, and nothing else: no
//! file name (`media` gives a neutral one), no blurhash, no type that was only claimed.

use std::{borrow::Cow, fmt};

use ruma::{OwnedEventId, OwnedMxcUri, events::room::EncryptedFile};
use serde_json::{Value, value::RawValue};

use super::{
    Rewritten, Scrubbed, Translations,
    attachment_content::{Attached, AttachmentOut, AudioOut, Empty, InfoOut},
    content::{
        HTML_FORMAT, Mentions, MentionsOut, Message, MessageOut, Text, Words, is_empty, parse,
    },
    limits::{MAX_CONTENT, MAX_ENCRYPTION, MAX_WAVEFORM},
    mentions, message, relations,
};
use crate::media::{Class, Kind};

/// The event type of stickers.
pub(super) const STICKER: &str = "m.sticker";

/// Where a file lies.
#[derive(Clone)]
pub enum Location {
    /// Open to whoever may see the media.
    Plain(OwnedMxcUri),
    /// Encrypted, with its key (`EncryptedFile`, version 2).
    Encrypted(Box<EncryptedFile>),
}

impl Location {
    /// The `mxc` URI.
    #[must_use]
    pub fn mxc(&self) -> &OwnedMxcUri {
        match self {
            Self::Plain(mxc) => mxc,
            Self::Encrypted(file) => &file.url,
        }
    }
}

/// Keys are not shown.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(mxc) => f.debug_tuple("Plain").field(mxc).finish(),
            Self::Encrypted(_) => f.write_str("Encrypted(…)"),
        }
    }
}

/// What kind of message carries the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Image,
    File,
    Audio,
    Voice,
    Video,
    Sticker,
}

/// A message with a file, as it will be once the file has a new place.
#[derive(Clone, Debug)]
pub struct Attachment {
    form: Form,
    file: Location,
    thumbnail: Option<Location>,
    claimed: Kind,
    pub(super) caption: Option<Words<'static>>,
    mentions: MentionsOut,
    relates_to: Option<Value>,
    edits: Option<(OwnedEventId, MentionsOut)>,
    info: Numbers,
    thumbnail_info: Numbers,
    waveform: Option<Vec<u16>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    w: Option<u32>,
    h: Option<u32>,
    duration: Option<u32>,
}

/// The copies of an attachment's files.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The file.
    pub file: Copied,
    /// Its thumbnail, if there is one that could be copied.
    pub thumbnail: Option<Copied>,
}

/// A copy of a file.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Where it lies.
    pub location: Location,
    /// What it is.
    pub kind: Kind,
    /// How many bytes it has, before encryption.
    pub size: u64,
}

impl Attachment {
    /// The file to copy.
    #[must_use]
    pub fn file(&self) -> &Location {
        &self.file
    }

    /// The thumbnail to copy.
    #[must_use]
    pub fn thumbnail(&self) -> Option<&Location> {
        self.thumbnail.as_ref()
    }

    /// What the sender says that the file is.
    #[must_use]
    pub fn claimed(&self) -> Kind {
        self.claimed
    }

    /// What a person calls it: "an image".
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.form {
            Form::Image => "an image",
            Form::File => "a file",
            Form::Audio => "an audio file",
            Form::Voice => "a voice message",
            Form::Video => "a video",
            Form::Sticker => "a sticker",
        }
    }

    /// The words in it, for the guard to look at before anything is copied. Never sent.
    #[must_use]
    pub fn words(&self) -> Option<Scrubbed> {
        Scrubbed::of(message::TYPE, &MessageOut::from(self.caption.as_ref()?))
    }

    /// The content, with the copies in their new places.
    #[must_use]
    pub fn place(&self, placed: &Placed) -> Option<Scrubbed> {
        let kind = match (self.form, placed.file.kind) {
            (Form::Audio | Form::Voice, Kind::Mp4) => Kind::M4a,
            (_, kind) => kind,
        };
        let (event_type, msgtype) = match (self.form, kind.class()) {
            (Form::Sticker, Class::Image) => (STICKER, None),
            (Form::Image, Class::Image) => (message::TYPE, Some("m.image")),
            (Form::Video, Class::Video) => (message::TYPE, Some("m.video")),
            (Form::Audio | Form::Voice, Class::Audio) => (message::TYPE, Some("m.audio")),
            _ => (message::TYPE, Some("m.file")),
        };
        let name = kind.file_name();
        let mut new = self.content(msgtype, &name, kind, placed);
        let Some((target, newly)) = &self.edits else {
            new.relates_to = self.relates_to.as_ref();
            return Scrubbed::of(event_type, &new);
        };
        let shown = self.caption.as_ref().map(message::fallback);
        let body = format!("* {}", new.body);
        let mut out = self.content(msgtype, &name, kind, placed);
        out.body = &body;
        out.formatted_body = shown.as_ref().and_then(|words| words.html.as_deref());
        out.mentions = newly;
        out.new_content = Some(Box::new(new));
        let relation = serde_json::json!({"rel_type": "m.replace", "event_id": target});
        out.relates_to = Some(&relation);
        Scrubbed::of(event_type, &out)
    }

    fn content<'a>(
        &'a self,
        msgtype: Option<&'static str>,
        name: &'a str,
        kind: Kind,
        placed: &'a Placed,
    ) -> AttachmentOut<'a> {
        let numbers = |numbers: Numbers, copy: &'a Copied, kind: Kind| InfoOut {
            w: numbers.w,
            h: numbers.h,
            duration: numbers.duration,
            mimetype: kind.mime(),
            size: copy.size,
            ..InfoOut::default()
        };
        let mut info = numbers(self.info, &placed.file, kind);
        if let Some(copy) = &placed.thumbnail {
            info.thumbnail_info = Some(Box::new(numbers(self.thumbnail_info, copy, copy.kind)));
            (info.thumbnail_url, info.thumbnail_file) = halves(&copy.location);
        }
        let (url, file) = halves(&placed.file.location);
        let html = self
            .caption
            .as_ref()
            .and_then(|words| words.html.as_deref());
        let is_voice = self.form == Form::Voice && msgtype == Some("m.audio");
        AttachmentOut {
            msgtype,
            body: self.caption.as_ref().map_or(name, |words| &words.body),
            filename: msgtype.map(|_| name),
            format: html.map(|_| HTML_FORMAT),
            formatted_body: html,
            url,
            file,
            info,
            mentions: &self.mentions,
            voice: is_voice.then_some(Empty {}),
            audio: is_voice.then_some(AudioOut {
                duration: self.info.duration,
                waveform: self.waveform.as_deref(),
            }),
            relates_to: None,
            new_content: None,
        }
    }

    /// Whether the content fits into an event, wherever the copies will lie.
    fn fits(&self) -> bool {
        let copy = || Copied {
            location: Location::Plain("mxc://x/y".into()),
            kind: self.claimed,
            size: u64::MAX,
        };
        let sample = Placed {
            file: copy(),
            thumbnail: Some(copy()),
        };
        let length = self
            .place(&sample)
            .map_or(usize::MAX, |content| content.content().get().len());
        // Keys stand in it twice for each file, if it is an edit.
        length <= MAX_CONTENT - MAX_ENCRYPTION
    }
}

fn halves(location: &Location) -> (Option<&OwnedMxcUri>, Option<&EncryptedFile>) {
    match location {
        Location::Plain(mxc) => (Some(mxc), None),
        Location::Encrypted(file) => (None, Some(file)),
    }
}

/// Whether a message of this type carries a file.
pub(super) fn is_attachment(msgtype: Option<&Text<'_>>) -> bool {
    msgtype.is_some_and(|kind| {
        matches!(
            kind.0.as_ref(),
            "m.image" | "m.file" | "m.audio" | "m.video"
        )
    })
}

/// Rewrites `m.sticker`.
pub(super) fn sticker(content: &RawValue, translations: &Translations) -> Rewritten {
    if is_empty(content) {
        return Rewritten::Nothing;
    }
    match parse::<Message<'_>>(content) {
        Some(message) => rewrite(content, &message, Form::Sticker, translations, None),
        None => Rewritten::Refused(MALFORMED),
    }
}

/// Rewrites a message for which [`is_attachment`] holds.
pub(super) fn message(
    content: &RawValue,
    message: &Message<'_>,
    translations: &Translations,
) -> Rewritten {
    rewrite(content, message, form(message), translations, None)
}

/// Rewrites an edit whose new content is one for which [`is_attachment`] holds.
pub(super) fn edit(
    edit: &Message<'_>,
    new: &Message<'_>,
    target: OwnedEventId,
    translations: &Translations,
) -> Rewritten {
    let nobody = Mentions::default();
    let newly = edit.mentions.as_ref().unwrap_or(&nobody);
    let newly = mentions::translate(Some(newly), &[], translations);
    match edit.new_content {
        Some(content) => rewrite(content, new, form(new), translations, Some((target, newly))),
        None => Rewritten::Refused(MALFORMED),
    }
}

const MALFORMED: &str = "a malformed attachment";

fn form(message: &Message<'_>) -> Form {
    match message.msgtype.as_ref().map(|kind| kind.0.as_ref()) {
        Some("m.image") => Form::Image,
        Some("m.audio") if message.is_voice() => Form::Voice,
        Some("m.audio") => Form::Audio,
        Some("m.video") => Form::Video,
        _ => Form::File,
    }
}

fn rewrite(
    content: &RawValue,
    message: &Message<'_>,
    form: Form,
    translations: &Translations,
    edits: Option<(OwnedEventId, MentionsOut)>,
) -> Rewritten {
    let Some(attached) = parse::<Attached<'_>>(content) else {
        return Rewritten::Refused(MALFORMED);
    };
    let info = attached.info.unwrap_or_default();
    let Some(file) = location(attached.file, attached.url) else {
        return Rewritten::Refused(MALFORMED);
    };
    let body = message.body.as_ref().map_or("", |body| body.0.as_ref());
    let name = attached.filename.as_ref().map(|name| name.0.as_ref());
    // Without a name of its own, the body is the file's name.
    let has_caption = form == Form::Sticker || name.is_some_and(|name| name != body);
    let strip = edits.is_some() || relations::is_reply(message.relates_to.as_ref());
    let caption = has_caption
        .then(|| message::said(message, "m.text", strip, translations).ok())
        .flatten()
        .map(Words::into_owned);
    let mentions = mentions::translate(message.mentions.as_ref(), &[], translations);
    let relation = relations::translate(message.relates_to.as_ref(), translations);
    let audio = attached.audio.unwrap_or_default();
    let small = info.thumbnail_info.unwrap_or_default();
    let mut attachment = Attachment {
        form,
        file,
        thumbnail: location(info.thumbnail_file.clone(), info.thumbnail_url.clone()),
        claimed: Kind::claimed(
            info.mimetype.as_ref().map(|mime| mime.0.as_ref()),
            Some(name.unwrap_or(body)),
        ),
        mentions: caption
            .as_ref()
            .map_or(mentions, |words| words.mentions.clone()),
        caption,
        relates_to: relation.and_then(|relation| serde_json::to_value(relation).ok()),
        edits,
        thumbnail_info: Numbers {
            w: small.w,
            h: small.h,
            duration: None,
        },
        info: Numbers {
            w: info.w,
            h: info.h,
            duration: info.duration.or(audio.duration),
        },
        waveform: audio.waveform.map(|wave| {
            wave.into_iter()
                .take(MAX_WAVEFORM)
                .map(|height| height.min(1024))
                .collect()
        }),
    };
    if !attachment.fits() {
        if let Some(words) = &mut attachment.caption {
            words.html = None;
        }
        if !attachment.fits() {
            return Rewritten::Refused("a message that is too long");
        }
    }
    Rewritten::Media(Box::new(attachment))
}

fn location(file: Option<EncryptedFile>, url: Option<OwnedMxcUri>) -> Option<Location> {
    let location = match (file, url) {
        (Some(file), _) => Location::Encrypted(Box::new(file)),
        (None, Some(url)) => Location::Plain(url),
        (None, None) => return None,
    };
    location.mxc().is_valid().then_some(location)
}

impl Words<'_> {
    fn into_owned(self) -> Words<'static> {
        Words {
            msgtype: self.msgtype,
            body: Cow::Owned(self.body.into_owned()),
            html: self.html.map(|html| Cow::Owned(html.into_owned())),
            mentions: self.mentions,
        }
    }
}
