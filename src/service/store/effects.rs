//! What commands changed on devices, as the log tells it.

use std::collections::HashMap;

use sqlx::Row;

use super::{Result, Store, from_json, int, json};
use crate::protocol::{CommandId, CommandRecord, Effect};

impl Store {
    /// Keeps what a command changed; what is there already stays.
    pub(in crate::service) async fn add_effect(&self, command: CommandId, effect: &Effect) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO effects (command_id, effect_id, effect) VALUES ($1, $2, $3) ON CONFLICT (command_id, effect_id) DO NOTHING",
        )
        .bind(command.to_string())
        .bind(int(effect.effect_id))
        .bind(json(effect));
        self.writer.run(query).await?;
        Ok(())
    }

    /// The commands with what they changed.
    pub(super) async fn with_effects(&self, mut records: Vec<CommandRecord>) -> Result<Vec<CommandRecord>> {
        let ids = || records.iter().map(|record| record.command_id.to_string());
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else { return Ok(records) };
        let rows = sqlx::query(
            "SELECT command_id, effect FROM effects WHERE command_id >= $1 AND command_id <= $2 ORDER BY command_id, effect_id",
        )
        .bind(first)
        .bind(last)
        .fetch_all(&self.pool)
        .await?;
        let mut effects: HashMap<String, Vec<Effect>> = HashMap::new();
        for row in rows {
            effects.entry(row.try_get("command_id")?).or_default().push(from_json(&row, "effect")?);
        }
        for record in &mut records {
            record.effects = effects.remove(&record.command_id.to_string()).unwrap_or_default();
        }
        Ok(records)
    }
}
