//! Loads PDF files within bounds. The library that takes them apart trusts what a file says about itself: a small file
//! may name one object a million times, or in other ways ask for more memory and time than there is.
//!
//! Called by `pdf` alone. Memory is bounded by what is looked at before and between the objects. Time is not, because
//! nothing stops the library within an object, so it works on a thread of its own, which is left behind when it takes
//! too long. One works at a time, and while one is left behind there is none.

use std::{
    cell::Cell,
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use lopdf::{Document, LoadOptions, Object, ObjectId, Stream};

/// What all streams of objects may hold together, unpacked.
const UNPACKED: usize = 32 << 20;
/// What one stream that is unpacked while loading may hold.
const LARGEST_STREAM: usize = 2 << 20;
/// How many objects a file may be made of, direct ones and what its objects are made of included. Each takes about a
/// hundred bytes of memory.
const MOST_TOKENS: usize = 2_000_000;
/// The largest PDF that is taken apart takes a few seconds.
const LONGEST: Duration = Duration::from_mins(1);
/// For objects in objects.
const STACK: usize = 16 << 20;

/// Where one works at a time.
struct Place {
    turn: Mutex<()>,
    working: AtomicUsize,
}

impl Place {
    const fn new() -> Self {
        Self {
            turn: Mutex::new(()),
            working: AtomicUsize::new(0),
        }
    }
}

static PLACE: Place = Place::new();

/// Whoever works on a file, until it ends, however it does.
struct Working(&'static Place);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does something with a PDF that may take forever, or panic. `None`: it did.
pub(super) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    apart_at(&PLACE, LONGEST, work)
}

fn apart_at<T: Send + 'static>(
    place: &'static Place,
    longest: Duration,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let _turn = place.turn.lock().unwrap_or_else(PoisonError::into_inner);
    if place.working.load(Ordering::SeqCst) > 0 {
        return None;
    }
    place.working.fetch_add(1, Ordering::SeqCst);
    let working = Working(place);
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("pdf".to_owned());
    let begun = thread.stack_size(STACK).spawn(move || {
        let done = {
            let _working = working;
            work()
        };
        // Nobody may wait any more.
        let _ = sender.send(done);
    });
    begun.ok()?;
    receiver.recv_timeout(longest).ok().flatten()
}

/// Takes a document apart.
pub(super) fn load(bytes: &[u8]) -> Option<Document> {
    // Encrypted ones are loaded in another way, and cannot be cleaned.
    if named(bytes, b"Encrypt") > 0 || tokens(bytes) > MOST_TOKENS {
        return None;
    }
    // A file in a file, not packed, would be taken for its parts.
    if bytes.windows(5).filter(|five| five == b"%PDF-").count() > 1 {
        return None;
    }
    let streams = named(bytes, b"ObjStm") + 1;
    BUDGET.set(Budget {
        bytes: bytes.len() + UNPACKED,
        tokens: MOST_TOKENS,
    });
    let options = LoadOptions {
        max_decompressed_size: Some((UNPACKED / streams).min(LARGEST_STREAM)),
        filter: Some(watch),
        // Tables may name one object many times; what stands in the file stands there once.
        force_reconstruct: true,
        ..LoadOptions::default()
    };
    Document::load_mem_with_options(bytes, options).ok()
}

/// What a file may still be made of.
#[derive(Clone, Copy)]
struct Budget {
    bytes: usize,
    tokens: usize,
}

thread_local! {
    static BUDGET: Cell<Budget> = const { Cell::new(Budget { bytes: 0, tokens: 0 }) };
}

/// Sees each object after it was taken apart, and each stream of objects before it is.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the library asks for a function like this"
)]
fn watch(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let mut budget = BUDGET.get();
    let spent = match object {
        Object::Stream(stream) if stream.dict.has_type(b"ObjStm") => {
            let content = stream
                .get_plain_content_with_limit(LARGEST_STREAM)
                .unwrap_or_default();
            let lasts = stands_apart(stream, &content);
            lasts.then(|| (stream.content.len() + content.len(), tokens(&content)))
        }
        Object::Stream(stream) => Some((stream.content.len(), 1)),
        Object::String(text, _) | Object::Name(text) => Some((text.len(), 1)),
        _ => Some((0, 1)),
    };
    let left = spent.and_then(|(bytes, tokens)| {
        budget.bytes = budget.bytes.checked_sub(bytes)?;
        budget.tokens = budget.tokens.checked_sub(tokens)?;
        Some(budget)
    });
    match left {
        Some(left) => BUDGET.set(left),
        // There is no other way out of the library. The thread ends here, and nothing of the file is used.
        None => resume_unwind(Box::new("a PDF that is too much")),
    }
    match object {
        // What is returned of it is not looked at.
        Object::Stream(_) => Some((id, Object::Null)),
        other => Some((id, other.clone())),
    }
}

/// Whether the objects in a stream lie one after the other, so that no part of it is read more than once.
fn stands_apart(stream: &Stream, content: &[u8]) -> bool {
    let first = stream.dict.get(b"First").and_then(Object::as_i64);
    let Some(first) = first.ok().and_then(|first| usize::try_from(first).ok()) else {
        return false;
    };
    let index = content
        .get(..first)
        .and_then(|index| str::from_utf8(index).ok());
    let Some(index) = index else {
        return false;
    };
    let numbers: Option<Vec<usize>> = index
        .split_ascii_whitespace()
        .map(|number| number.parse().ok())
        .collect();
    let Some(numbers) = numbers else {
        return false;
    };
    let mut places: Vec<usize> = numbers.chunks_exact(2).map(|pair| pair[1]).collect();
    places.push(content.len() - first);
    let objects = &content[first..];
    places.windows(2).all(|pair| {
        let ends = |last: u8| is_space(last) || b"])>".contains(&last);
        let runs_on = |next: &u8| !b"[(</".contains(next) && !is_space(*next);
        objects.get(pair[0]..pair[1]).is_some_and(|object| {
            let apart = object.last().is_some_and(|last| ends(*last))
                || !objects.get(pair[1]).is_some_and(runs_on);
            apart && is_whole(object)
        })
    })
}

/// Whether something is a whole object: brackets that close, and something in it.
fn is_whole(object: &[u8]) -> bool {
    let (mut depth, mut text, mut any) = (0_usize, 0_usize, false);
    let mut bytes = object.iter();
    while let Some(byte) = bytes.next() {
        match (text, byte) {
            (1.., b'\\') => {
                bytes.next();
            }
            (_, b'(') => text += 1,
            (1.., b')') => text -= 1,
            (0, b'[' | b'<') => depth += 1,
            (0, b']' | b'>') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            // Comments are in files made to be looked at, and could hide a bracket.
            (0, b'%' | b')') => return false,
            _ => {}
        }
        any |= !is_space(*byte);
    }
    depth == 0 && text == 0 && any
}

fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

/// How many words and brackets there are, about.
fn tokens(bytes: &[u8]) -> usize {
    let (mut count, mut within) = (0, false);
    for byte in bytes {
        let bracket = matches!(byte, b'[' | b']' | b'<' | b'>' | b'(' | b')' | b'/' | b'%');
        let word = !bracket && !is_space(*byte);
        count += usize::from(matches!(byte, b'[' | b'<' | b'(') || word && !within);
        within = word;
    }
    count
}

/// How often a file has a name, however it writes it.
fn named(bytes: &[u8], name: &[u8]) -> usize {
    let is_one = |rest: &[u8]| {
        let mut at = 0;
        name.iter().all(|wanted| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted() {
        let file = b"/ObjStm /Obj#53tm/#4fbjStm /ObjSt /Obj /ObjStm";
        assert_eq!(named(file, b"ObjStm"), 4);
    }

    #[test]
    fn whole_objects() {
        for whole in [&b"<</A[1 2(a(b)\\)[)]/B<00>>>"[..], b" 12 ", b"()"] {
            assert!(is_whole(whole), "{whole:?}");
        }
        for part in [&b"[1 2"[..], b"1]", b"(a", b"  ", b"", b"1 % ]", b"(\\)"] {
            assert!(!is_whole(part), "{part:?}");
        }
    }

    #[test]
    fn who_takes_too_long_is_left_behind_alone() {
        static PLACE: Place = Place::new();
        let apart = |work: fn() -> Option<u8>| apart_at(&PLACE, LONGEST, work);
        assert_eq!(apart(|| Some(1)), Some(1));
        assert_eq!(apart(|| resume_unwind(Box::new(()))), None);
        let (go, wait) = mpsc::channel::<()>();
        let stuck = apart_at(&PLACE, Duration::from_millis(1), move || {
            let _ = wait.recv();
            Some(2)
        });
        assert_eq!(stuck, None);
        // While it goes on, there is no other one; afterwards there is.
        assert_eq!(apart(|| Some(3)), None);
        drop(go);
        let again = (0..10_000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            apart(|| Some(4)) == Some(4)
        });
        assert!(again);
    }
}
