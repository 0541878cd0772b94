-- The library: names for content that is kept under its SHA-256, once.
CREATE TABLE library (
    file_name TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    description TEXT,
    created_by TEXT NOT NULL,
    updated BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    parameters_description TEXT,
    signature TEXT
);
CREATE INDEX library_sha256 ON library (sha256);
