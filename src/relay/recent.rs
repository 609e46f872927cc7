//! What was used lately, in as little room as it takes: a portal keeps a handful of entries, and there may be thousands of
//! portals. A list that is searched, the newest first; a map would take as much again for its own sake.

use std::borrow::Borrow;

/// Entries by their keys, those used last at the end.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: Vec<(K, V)>,
    most: usize,
}

impl<K: Eq, V> Recent<K, V> {
    /// An empty list for `most` entries. Takes no room yet.
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: Vec::new(),
            most,
        }
    }

    /// The value of a key, which is then the last to be forgotten.
    pub(super) fn get<Q: Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.position(key)?;
        self.entries[at..].rotate_left(1);
        self.entries.last().map(|(_, value)| value)
    }

    /// The value of a key.
    pub(super) fn peek<Q: Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.position(key)?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// Keeps a value, in the place of the key's old one. Forgets the one used longest ago if there are too many.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.pop(&key);
        if self.entries.len() >= self.most {
            self.entries.remove(0);
        }
        self.entries.push((key, value));
    }

    /// Forgets a key.
    pub(super) fn pop<Q: Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(at) = self.position(key) {
            self.entries.remove(at);
        }
    }

    /// Forgets all but the `most` used last, and gives the room back.
    pub(super) fn trim(&mut self, most: usize) {
        let gone = self.entries.len().saturating_sub(most);
        self.entries.drain(..gone);
        self.entries.shrink_to_fit();
    }

    fn position<Q: Eq + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        self.entries
            .iter()
            .rposition(|(known, _)| known.borrow() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut recent: Recent<String, u8> = Recent::new(3);
        for (value, key) in ["a", "b", "c"].into_iter().enumerate() {
            recent.put(key.to_owned(), u8::try_from(value).unwrap());
        }
        assert_eq!(recent.get("a"), Some(&0));
        assert_eq!(recent.peek("b"), Some(&1));
        recent.put("d".to_owned(), 3);
        assert_eq!(recent.peek("b"), None);
        recent.put("c".to_owned(), 9);
        assert_eq!(recent.entries.len(), 3);
        recent.trim(2);
        assert_eq!(
            (recent.peek("a"), recent.peek("d"), recent.peek("c")),
            (None, Some(&3), Some(&9))
        );
        assert_eq!(recent.entries.capacity(), 2);
        recent.pop("d");
        recent.pop("nobody");
        assert_eq!(recent.entries, [("c".to_owned(), 9)]);
    }
}
