-- Links are written in the order of their commits, many in one row, and are merged into the tables below from time to time.
-- An older database's `links` are moved there when it is opened; that table stays empty from then on.
DROP INDEX links_target;

-- The links of one commit.
CREATE TABLE link_segments (
    seq INTEGER NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- Some links of one portal and day. pack: the day since 1970, times 2^47, and a random number; links: how many there are.
CREATE TABLE link_packs (
    portal BLOB NOT NULL,
    pack INTEGER NOT NULL,
    links INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (portal, pack)
) STRICT, WITHOUT ROWID;

-- In which pack the link of an event is. hash: the first 4 bytes of the portal, 12 bytes of hash(end, portal, event).
CREATE TABLE link_ends (
    hash BLOB NOT NULL PRIMARY KEY,
    pack INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
