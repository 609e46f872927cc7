//! Statements over many rows at once, in a few fixed sizes, so that each engine prepares each of them
//! once and keeps it.

use std::fmt::Write as _;

use super::db::Engine;

/// The sizes: few, so that any number of rows is a handful of statements, and near enough to each other that
/// [`pad`] adds little.
const SIZES: [usize; 13] = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/// The greatest number of values in one list, or rows in one statement.
pub(super) const MOST: usize = SIZES[SIZES.len() - 1];

/// One statement's texts, by size. Lives in a `static`: the driver takes only `'static` SQL.
///
/// The two engines' texts differ little. PostgreSQL knows only `$1`, which is a name to SQLite, and
/// each name costs a walk over all names before it. So SQLite gets `?`, in the same order.
pub(super) struct Chunked {
    numbered: [String; SIZES.len()],
    plain: [String; SIZES.len()],
}

impl Chunked {
    /// `head (…), (…) tail`, with `columns` placeholders in each row. To be used within a transaction that is given up when
    /// the statement fails.
    pub(super) fn rows(head: &str, columns: usize, tail: &str) -> Self {
        let text = |head: &str, size: usize, mark: Mark| {
            let mut text = format!("{head} ");
            for row in 0..size {
                text.push_str(if row == 0 { "(" } else { ", (" });
                placeholders(&mut text, row * columns + 1, columns, mark);
                text.push(')');
            }
            let _ = write!(text, " {tail}");
            text
        };
        // What fails undoes its whole transaction: SQLite need not keep each page to undo the statement alone.
        let failing = head.replacen("INSERT INTO", "INSERT OR FAIL INTO", 1);
        Self {
            numbered: SIZES.map(|size| text(head, size, numbered)),
            plain: SIZES.map(|size| text(&failing, size, plain)),
        }
    }

    /// `head (…)` with one placeholder for each value, after `fixed` placeholders in `head`, in their order.
    pub(super) fn list(head: &str, fixed: usize) -> Self {
        let text = |head: &str, size: usize, mark: Mark| {
            let mut text = format!("{head} (");
            placeholders(&mut text, fixed + 1, size, mark);
            text.push(')');
            text
        };
        let bare = (1..=fixed).fold(head.to_owned(), |head, at| {
            head.replace(&numbered(at), &plain(at))
        });
        Self {
            numbered: SIZES.map(|size| text(head, size, numbered)),
            plain: SIZES.map(|size| text(&bare, size, plain)),
        }
    }

    /// The text for exactly `size` rows, one of those that [`pad`] gives.
    pub(super) fn text(&'static self, engine: Engine, size: usize) -> &'static str {
        let at = SIZES.iter().position(|&known| known >= size);
        let texts = match engine {
            Engine::Sqlite => &self.plain,
            Engine::Postgres => &self.numbered,
        };
        &texts[at.unwrap_or(SIZES.len() - 1)]
    }
}

/// Writes the placeholder of a value.
type Mark = fn(usize) -> String;

fn numbered(at: usize) -> String {
    format!("${at}")
}

fn plain(_: usize) -> String {
    "?".to_owned()
}

fn placeholders(text: &mut String, first: usize, count: usize, mark: Mark) {
    for at in first..first + count {
        let _ = write!(text, "{}{}", if at == first { "" } else { ", " }, mark(at));
    }
}

/// `items` in pieces of the known sizes; the last is made up to one by repeating its last item. For items of which
/// repetition changes nothing.
pub(super) fn pieces<T>(items: &[T]) -> impl Iterator<Item = Vec<&T>> {
    items.chunks(MOST).map(|chunk| {
        let mut piece: Vec<&T> = chunk.iter().collect();
        pad(&mut piece);
        piece
    })
}

/// `items` in pieces of the known sizes, each item once.
pub(super) fn exact_pieces<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().rfind(|size| *size <= rest.len())?;
        let (piece, others) = rest.split_at(size);
        rest = others;
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
            ROWS.text(Engine::Postgres, 2),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            ROWS.text(Engine::Sqlite, 2),
            "INSERT OR FAIL INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            LIST.text(Engine::Postgres, 2),
            "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3)"
        );
        assert_eq!(
            LIST.text(Engine::Sqlite, 2),
            "SELECT a FROM t WHERE b = ? AND c IN (?, ?)"
        );
    }

    #[test]
    fn pieces_cover_everything_in_order() {
        for count in 0..300 {
            let items: Vec<usize> = (0..count).collect();
            let pieces: Vec<Vec<&usize>> = pieces(&items).collect();
            assert!(pieces.iter().all(|piece| SIZES.contains(&piece.len())));
            let mut all: Vec<usize> = pieces.concat().into_iter().copied().collect();
            all.dedup();
            assert_eq!(all, items);
        }
    }

    #[test]
    fn exact_pieces_are_the_items() {
        for count in 0..300 {
            let items: Vec<usize> = (0..count).collect();
            let pieces: Vec<&[usize]> = exact_pieces(&items).collect();
            assert!(pieces.iter().all(|piece| SIZES.contains(&piece.len())));
            assert_eq!(pieces.concat(), items);
        }
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
