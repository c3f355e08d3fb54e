-- The registry. Portable subset of SQLite and PostgreSQL: TEXT ids, BIGINT numbers, times as BIGINT
-- microseconds since the epoch, JSON as TEXT that the program parses.

-- Where each consumer of the journal stands: everything below next_offset is in its tables.
CREATE TABLE projections (
    name        TEXT   NOT NULL PRIMARY KEY,
    next_offset BIGINT NOT NULL
);

-- Facts about this database itself, such as "templates have been seeded".
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- A projection of the journal: never written by hand.
CREATE TABLE things (
    thing_id        TEXT   NOT NULL PRIMARY KEY,
    definition      TEXT,
    attributes      TEXT   NOT NULL,
    template        TEXT,
    revision        BIGINT NOT NULL,
    journal_offset  BIGINT NOT NULL,
    created_micros  BIGINT NOT NULL,
    modified_micros BIGINT NOT NULL
);
CREATE INDEX things_by_template ON things (template, thing_id);

CREATE TABLE templates (
    name            TEXT   NOT NULL PRIMARY KEY,
    definition      TEXT   NOT NULL,
    title           TEXT   NOT NULL,
    body            TEXT   NOT NULL,
    version         BIGINT NOT NULL,
    created_micros  BIGINT NOT NULL,
    modified_micros BIGINT NOT NULL
);

CREATE TABLE devices (
    site                      TEXT    NOT NULL,
    name                      TEXT    NOT NULL,
    thing_id                  TEXT    NOT NULL,
    credential                TEXT,
    enabled                   BOOLEAN NOT NULL,
    created_micros            BIGINT  NOT NULL,
    credential_changed_micros BIGINT,
    PRIMARY KEY (site, name)
);
CREATE INDEX devices_by_thing ON devices (thing_id);

CREATE TABLE api_tokens (
    name           TEXT    NOT NULL PRIMARY KEY,
    role           TEXT    NOT NULL,
    hash           TEXT    NOT NULL,
    enabled        BOOLEAN NOT NULL,
    created_micros BIGINT  NOT NULL
);

CREATE TABLE audit (
    sequence  BIGINT NOT NULL PRIMARY KEY,
    at_micros BIGINT NOT NULL,
    who       TEXT   NOT NULL,
    action    TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    details   TEXT   NOT NULL
);
CREATE INDEX audit_by_time ON audit (at_micros);
