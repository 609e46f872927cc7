-- Links are written in the order of their commits, many in one row, and are merged into the tables below from time to time.
-- An older database's `links` are moved there when it is opened; that table stays empty from then on.
DROP INDEX links_target;

-- The links of one commit.
CREATE TABLE link_segments (
    seq BIGINT NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL
);

-- Some links of one portal and day. pack: the day since 1970, times 2^47, and a random number; links: how many there are.
CREATE TABLE link_packs (
    portal BYTEA NOT NULL,
    pack BIGINT NOT NULL,
    links BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (portal, pack)
);

-- In which pack the link of an event is. hash: the first 4 bytes of the portal, 12 bytes of hash(end, portal, event).
CREATE TABLE link_ends (
    hash BYTEA NOT NULL PRIMARY KEY,
    pack BIGINT NOT NULL
);
