-- What sealed invites need: own keys, others' keys, addresses, invites that are on their way. id: hash(kind, what it is found by);
-- due: when it may be deleted, whole hours since 1970, the latest time there is if never.
CREATE TABLE notes (
    id BLOB NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    due INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX notes_kind ON notes (kind, due);
