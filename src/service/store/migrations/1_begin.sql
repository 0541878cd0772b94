-- Times are microseconds since 1970-01-01 UTC. Only what every SQL database has.
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    device_id TEXT NOT NULL,
    analyst TEXT NOT NULL,
    comment TEXT,
    started BIGINT NOT NULL,
    ended BIGINT,
    closed_by TEXT
);
CREATE INDEX sessions_started ON sessions (started);
CREATE TABLE commands (
    command_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (session_id),
    number BIGINT NOT NULL,
    definition TEXT NOT NULL,
    line TEXT NOT NULL,
    params TEXT NOT NULL,
    flags TEXT NOT NULL,
    current_directory TEXT NOT NULL,
    background BIGINT NOT NULL,
    analyst TEXT NOT NULL,
    shell TEXT,
    created BIGINT NOT NULL,
    started BIGINT,
    completed BIGINT,
    duration_ms BIGINT,
    status TEXT NOT NULL,
    errors TEXT NOT NULL,
    cancelled_by TEXT,
    last_event BIGINT NOT NULL
);
CREATE UNIQUE INDEX commands_number ON commands (session_id, number);
CREATE INDEX commands_status ON commands (status);
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
