//! Commands that the service carries out itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::outcome::{cancelled, ended, failed};
use crate::grammar::{Invocation, Role};
use crate::protocol::{Body, Completed, Status, StreamName, Text, TextData};
use crate::service::error::{Answer, Refusal};
use crate::service::policy::Analyst;
use crate::service::sessions::OpenSession;
use crate::service::state::{Command, Service, locked, millis_between, push};

impl Service {
    /// Commands that the service carries out itself.
    pub(super) async fn run_here(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
    ) -> Completed {
        let begun = Timestamp::now();
        {
            let mut record = command.record();
            record.started = Some(begun);
            record.status = Status::Running;
        }
        push(&command.stream, &Body::Started);
        let ran = match invocation.row.name.as_str() {
            "library" => self.run_library(analyst, command, invocation).await,
            "cancel" => self.run_cancel(session, analyst, command, invocation).await.map(|()| Vec::new()),
            "settings" => self.run_settings(analyst, command, invocation).await.map(|()| Vec::new()),
            "disconnect" => self.run_disconnect(session, command, invocation).await.map(|()| Vec::new()),
            other => Err(Refusal::bad("not_on_platform", format!("{other} is not to be had yet"))),
        };
        match ran {
            Ok(errors) => ended(Status::Completed, millis_between(begun, Timestamp::now()), errors),
            Err(refusal) if command.stop.is_cancelled() => cancelled(command, refusal.into_problem().message),
            Err(refusal) => failed(refusal.into_problem()),
        }
    }

    async fn run_cancel(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Command,
        invocation: &Invocation,
    ) -> Answer<()> {
        let which = invocation.params.get("command_id").map_or("", String::as_str);
        let record = self.find_latest(session, which).await?;
        let Some(target) = self.live_command(record.command_id).filter(|target| !target.record().status.is_final()) else {
            return Err(Refusal::conflict(
                "ended",
                format!("[{}] {} has ended already: {}", record.number, record.raw_command_line, record.status),
            ));
        };
        let mut newest = target.stream.watch();
        self.cancel(record.command_id, &analyst.name);
        let confirmed = tokio::time::timeout(Duration::from_secs(5), newest.wait_for(|(_, last)| *last)).await.is_ok();
        let text = if confirmed {
            let record = target.record();
            format!("[{}] {}: {}\n", record.number, record.raw_command_line, record.status)
        } else {
            format!("[{}] has not confirmed yet; the device may still finish it (`status {}`)\n", record.number, record.number)
        };
        tell_text(command, &text);
        Ok(())
    }

    async fn run_settings(&self, analyst: &Analyst, command: &Command, invocation: &Invocation) -> Answer<()> {
        if let (Some(name), Some(value)) = (invocation.params.get("name"), invocation.params.get("value")) {
            self.change_setting(analyst, name, value == "on").await?;
        }
        let settings = self.settings();
        let all = [
            ("live_response", settings.live_response),
            ("live_response_servers", settings.live_response_servers),
            ("unsigned_scripts", settings.unsigned_scripts),
        ];
        push(&command.stream, &Body::Table { keys: vec!["name".into(), "value".into()] });
        let wanted = invocation.params.get("name");
        let shown = all.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
        let rows = shown.filter_map(|(name, on)| {
            let row = serde_json::json!({ "name": name, "value": if *on { "on" } else { "off" } });
            serde_json::value::to_raw_value(&row).ok()
        });
        push(&command.stream, &Body::Rows { rows: rows.collect() });
        Ok(())
    }

    async fn run_disconnect(&self, session: &Arc<OpenSession>, command: &Command, invocation: &Invocation) -> Answer<()> {
        let (id, shell, analyst) = {
            let record = command.record();
            (record.command_id, record.shell.clone(), record.analyst.clone())
        };
        if !invocation.flags.contains("force") {
            session.check_alone(shell.as_deref(), Some(id))?;
        }
        // This command must not be cancelled by the end that it brings about.
        locked(&session.state).under_way.retain(|under_way| *under_way != id);
        self.close_session(session, &analyst, "disconnect").await?;
        tell_text(command, &format!("session {} is closed\n", session.id));
        Ok(())
    }

    /// Changes a switch; needs the role `settings`.
    pub(in crate::service) async fn change_setting(&self, analyst: &Analyst, name: &str, on: bool) -> Answer<()> {
        analyst.check(Role::Settings, "changing a setting")?;
        self.inner.store.set(name, on).await?;
        let settings = self.inner.store.settings().await?;
        *self.inner.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
        Ok(())
    }
}

fn tell_text(command: &Command, text: &str) {
    tell_bytes(command, text.as_bytes());
}

fn tell_bytes(command: &Command, bytes: &[u8]) {
    if !bytes.is_empty() {
        let text = Text { stream: StreamName::Stdout, data: TextData::of(bytes) };
        push(&command.stream, &Body::Text(text));
    }
}
