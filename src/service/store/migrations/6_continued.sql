-- The number, in the same session, of the command that goes on with the work of one that ended too early.
ALTER TABLE commands ADD COLUMN continued_by BIGINT;
