-- The order of the log over all sessions: no two commands have the same place in it, and whose they are is told without
-- reading them.
DROP INDEX commands_created;
CREATE INDEX commands_created ON commands (created, command_id, session_id);
-- Only those that have not ended are looked for by how they stand.
DROP INDEX commands_status;
CREATE INDEX commands_unfinished ON commands (created) WHERE status IN ('pending', 'running');
