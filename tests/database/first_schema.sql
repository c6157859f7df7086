-- SPDX-License-Identifier: GPL-3.0-or-later
-- The tables as 0.1.0 made them in a new SQLite file.
CREATE TABLE checkpoints (
    size BIGINT NOT NULL,
    time TEXT NOT NULL,
    root BLOB NOT NULL,
    note TEXT NOT NULL,
    frontier BLOB NOT NULL,
    PRIMARY KEY (size)
);
CREATE TABLE events (
    seq BIGINT NOT NULL,
    id TEXT NOT NULL,
    call TEXT,
    recording TEXT,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    jws TEXT NOT NULL,
    leaf BLOB NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (id)
);
CREATE INDEX events_call ON events (call, seq);
CREATE INDEX events_recording ON events (recording, seq);
CREATE INDEX events_type ON events (type, seq);
CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE disclosures (
    seq BIGINT NOT NULL,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (seq, digest),
    FOREIGN KEY(seq) REFERENCES events (seq)
);
CREATE TABLE pseudonyms (
    hmac TEXT NOT NULL,
    seq BIGINT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (hmac, seq, name),
    FOREIGN KEY(seq) REFERENCES events (seq)
);
