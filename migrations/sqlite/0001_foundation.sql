-- Every `sealed` column is encrypted and bound to its table, row and column; every other BLOB is random
-- or a keyed hash. Rows of one user share no value: what belongs together is known to the sealed user
-- record alone. Primary keys are random, so that no row order tells the order of writing.

-- The data keys, wrapped under the master key (one row).
CREATE TABLE keyring (
    id INTEGER NOT NULL PRIMARY KEY,
    keys BLOB NOT NULL
) STRICT;

-- id: hash(user).
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- id: random.
CREATE TABLE portals (
    id BLOB NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Which portals an id leads to. hash: hash(kind, id); kind: 0 portal room, 1 room, 2 ghost.
CREATE TABLE routes (
    hash BLOB NOT NULL,
    portal BLOB NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (hash, portal)
) STRICT, WITHOUT ROWID;

-- Which event became which. source, target: hash(end, portal, event); day: days since 1970.
CREATE TABLE links (
    portal BLOB NOT NULL,
    source BLOB NOT NULL,
    target BLOB,
    day INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (portal, source)
) STRICT, WITHOUT ROWID;

CREATE INDEX links_target ON links (portal, target);

-- Acknowledged transactions that are not yet wholly handled.
CREATE TABLE inbox (
    seq INTEGER NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- member: hash(portal, member).
CREATE TABLE mirrors (
    portal BLOB NOT NULL,
    member BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (portal, member)
) STRICT, WITHOUT ROWID;

-- Messages that wait for the user's decision. event, question: hash(what, portal, event).
CREATE TABLE held (
    portal BLOB NOT NULL,
    event BLOB NOT NULL,
    question BLOB,
    sealed BLOB NOT NULL,
    PRIMARY KEY (portal, event)
) STRICT, WITHOUT ROWID;

-- due: milliseconds since 1970.
CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    due INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_due ON jobs (due);

-- hash: hash(user, room).
CREATE TABLE forgotten (
    hash BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Copies of forgotten links for the operator. id: random; due: whole hours since 1970.
CREATE TABLE escrow (
    id BLOB NOT NULL PRIMARY KEY,
    due INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
