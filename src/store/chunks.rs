//! Statements over many rows at once, in a few fixed sizes, so that each engine prepares each of them
//! once and keeps it.

use std::fmt::Write as _;

/// The sizes: powers of two, so that any number of rows is a handful of statements.
const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// The greatest number of rows that [`split`] puts into one statement: SQLite finds each placeholder by
/// walking over those before it.
const MOST_ROWS: usize = 32;

/// The greatest number of values in one list.
pub(super) const MOST: usize = SIZES[SIZES.len() - 1];

/// One statement's texts, by size. Lives in a `static`: the driver takes only `'static` SQL.
pub(super) struct Chunked([String; SIZES.len()]);

impl Chunked {
    /// `head (…), (…) tail`, with `columns` placeholders in each row.
    pub(super) fn rows(head: &str, columns: usize, tail: &str) -> Self {
        Self(SIZES.map(|size| {
            let mut text = format!("{head} ");
            for row in 0..size {
                text.push_str(if row == 0 { "(" } else { ", (" });
                placeholders(&mut text, row * columns + 1, columns);
                text.push(')');
            }
            let _ = write!(text, " {tail}");
            text
        }))
    }

    /// `head (…)` with one placeholder for each value, after `fixed` placeholders in `head`.
    pub(super) fn list(head: &str, fixed: usize) -> Self {
        Self(SIZES.map(|size| {
            let mut text = format!("{head} (");
            placeholders(&mut text, fixed + 1, size);
            text.push(')');
            text
        }))
    }

    /// The text for exactly `size` rows, one of those that [`split`] and [`pad`] give.
    pub(super) fn text(&'static self, size: usize) -> &'static str {
        let at = SIZES.iter().position(|&known| known >= size);
        &self.0[at.unwrap_or(SIZES.len() - 1)]
    }
}

fn placeholders(text: &mut String, first: usize, count: usize) {
    for at in first..first + count {
        let _ = write!(text, "{}${at}", if at == first { "" } else { ", " });
    }
}

/// Cuts `items` into pieces of the known sizes, greatest first.
pub(super) fn split<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let fits = |size: &&usize| **size <= items.len().min(MOST_ROWS);
        let size = SIZES.iter().rev().find(fits)?;
        let (piece, rest) = items.split_at(*size);
        items = rest;
        Some(piece)
    })
}

/// Repeats the last item until the number of items is a known size. For at most [`MOST`] items of which
/// repetition changes nothing.
pub(super) fn pad<T: Clone>(items: &mut Vec<T>) {
    if let (Some(last), Some(&size)) = (
        items.last().cloned(),
        SIZES.iter().find(|&&size| size >= items.len()),
    ) {
        items.resize(size, last);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static ROWS: LazyLock<Chunked> =
        LazyLock::new(|| Chunked::rows("INSERT INTO t (a, b) VALUES", 2, "ON CONFLICT DO NOTHING"));
    static LIST: LazyLock<Chunked> =
        LazyLock::new(|| Chunked::list("SELECT a FROM t WHERE b = $1 AND c IN", 1));

    #[test]
    fn texts() {
        assert_eq!(
            ROWS.text(2),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            LIST.text(2),
            "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3)"
        );
    }

    #[test]
    fn pieces_cover_everything_in_order() {
        for count in 0..300 {
            let items: Vec<usize> = (0..count).collect();
            let pieces: Vec<&[usize]> = split(&items).collect();
            assert_eq!(pieces.concat(), items);
            assert!(pieces.iter().all(|piece| SIZES.contains(&piece.len())));
        }
        assert_eq!(split(&[0; 100]).count(), 4);
    }

    #[test]
    fn padding_reaches_a_known_size() {
        for count in 1..=MOST {
            let mut items: Vec<usize> = (0..count).collect();
            pad(&mut items);
            assert!(SIZES.contains(&items.len()));
            assert!(items[count..].iter().all(|&item| item == count - 1));
        }
        let mut none: Vec<u8> = Vec::new();
        pad(&mut none);
        assert!(none.is_empty());
    }
}
