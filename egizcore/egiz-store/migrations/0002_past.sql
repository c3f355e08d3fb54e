-- What people say about the past: corrections of samples, and annotations.

-- A correction is never deleted: one that was taken back says by whom and when, and its number is not used again.
CREATE TABLE corrections (
    id             BIGINT NOT NULL PRIMARY KEY,
    thing_id       TEXT   NOT NULL,
    feature        TEXT   NOT NULL,
    property       TEXT   NOT NULL,
    item           BIGINT,
    from_micros    BIGINT NOT NULL,
    to_micros      BIGINT NOT NULL,
    value          TEXT,
    quality        BIGINT NOT NULL,
    reason         TEXT   NOT NULL,
    who            TEXT   NOT NULL,
    at_micros      BIGINT NOT NULL,
    undone_who     TEXT,
    undone_micros  BIGINT
);
CREATE INDEX corrections_by_thing ON corrections (thing_id, id);

-- Of a moment, both ends are the same; else the end does not belong to it.
CREATE TABLE annotations (
    id              BIGINT NOT NULL PRIMARY KEY,
    thing_id        TEXT,
    feature         TEXT,
    property        TEXT,
    from_micros     BIGINT NOT NULL,
    to_micros       BIGINT NOT NULL,
    category        TEXT   NOT NULL,
    text            TEXT   NOT NULL,
    who             TEXT   NOT NULL,
    created_micros  BIGINT NOT NULL,
    modified_who    TEXT   NOT NULL,
    modified_micros BIGINT NOT NULL,
    version         BIGINT NOT NULL
);
CREATE INDEX annotations_by_time ON annotations (from_micros, id);
