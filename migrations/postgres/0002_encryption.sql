-- Keys of end-to-end encryption. machine: hash(user, device), or hash(user) for what all devices of a user share; kind: what it is,
-- see `store/crypto/rows.rs`; key, grp: hashes within the machine.
CREATE TABLE crypto (
    machine BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    key BYTEA NOT NULL,
    grp BYTEA,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (machine, kind, key)
);

CREATE INDEX crypto_grp ON crypto (machine, grp) WHERE grp IS NOT NULL;

-- One row of kind 0 per machine.
CREATE INDEX crypto_machines ON crypto (machine) WHERE kind = 0;
