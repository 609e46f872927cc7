-- Every `sealed` column is encrypted and bound to its table, row and column; every other BYTEA is random
-- or a keyed hash. Rows of one user share no value: what belongs together is known to the sealed user
-- record alone. Primary keys are random, so that no row order tells the order of writing.

-- The data keys, wrapped under the master key (one row).
CREATE TABLE keyring (
    id BIGINT NOT NULL PRIMARY KEY,
    keys BYTEA NOT NULL
);

-- id: hash(user).
CREATE TABLE users (
    id BYTEA NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL
);

-- id: random.
CREATE TABLE portals (
    id BYTEA NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL
);

-- Which portals an id leads to. hash: hash(kind, id); kind: 0 portal room, 1 room, 2 ghost.
CREATE TABLE routes (
    hash BYTEA NOT NULL,
    portal BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    PRIMARY KEY (hash, portal)
);

-- Which event became which. source, target: hash(end, portal, event); day: days since 1970.
CREATE TABLE links (
    portal BYTEA NOT NULL,
    source BYTEA NOT NULL,
    target BYTEA,
    day BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (portal, source)
);

CREATE INDEX links_target ON links (portal, target);

-- Acknowledged transactions that are not yet wholly handled.
CREATE TABLE inbox (
    seq BIGINT NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL
);

-- member: hash(portal, member).
CREATE TABLE mirrors (
    portal BYTEA NOT NULL,
    member BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (portal, member)
);

-- Messages that wait for the user's decision. event, question: hash(what, portal, event).
CREATE TABLE held (
    portal BYTEA NOT NULL,
    event BYTEA NOT NULL,
    question BYTEA,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (portal, event)
);

-- due: milliseconds since 1970.
CREATE TABLE jobs (
    id BYTEA NOT NULL PRIMARY KEY,
    due BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);

CREATE INDEX jobs_due ON jobs (due);

-- hash: hash(user, room).
CREATE TABLE forgotten (
    hash BYTEA NOT NULL PRIMARY KEY
);

-- Copies of forgotten links for the operator. id: random; due: whole hours since 1970.
CREATE TABLE escrow (
    id BYTEA NOT NULL PRIMARY KEY,
    due BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);
