-- What commands changed on devices: a copy for the log, which outlives spools. The truth is in each device's journal.
CREATE TABLE effects (
    command_id TEXT NOT NULL REFERENCES commands (command_id),
    effect_id BIGINT NOT NULL,
    effect TEXT NOT NULL,
    PRIMARY KEY (command_id, effect_id)
);
