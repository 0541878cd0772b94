-- The log over all sessions, the newest first, without sorting all that was ever run.
CREATE INDEX commands_created ON commands (created, number);
