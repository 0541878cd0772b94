//! `library` as a command: the same code as its routes, told as events.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use serde_json::value::to_raw_value;

use crate::grammar::Invocation;
use crate::protocol::link::{MAX_RULES, RuleKind};
use crate::protocol::{Body, LibraryFile, Problem, Progress, ProgressUnit};
use crate::service::error::{Answer, Refusal};
use crate::service::library::{NewFile, etag};
use crate::service::policy::Analyst;
use crate::service::state::{Command, Service, push};

/// How long a `library add` waits until its content begins to come.
const PATIENCE: Duration = Duration::from_mins(1);
/// Rows that are told at a time.
const ROWS: usize = 512;

impl Service {
    /// What is wrong with what was done all the same comes back.
    pub(super) async fn run_library(
        &self,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
    ) -> Answer<Vec<Problem>> {
        let file = invocation.params.get("file").map_or("", String::as_str);
        match invocation.params.get("action").map_or("list", String::as_str) {
            "add" => return self.library_add(analyst, command, invocation, file).await,
            "show" => self.library_show(command, file).await,
            "delete" => self.library_delete(command, file).await,
            _ => self.library_list(command, invocation).await,
        }?;
        Ok(Vec::new())
    }

    async fn library_list(&self, command: &Command, invocation: &Invocation) -> Answer<()> {
        let keys = invocation.columns().iter().map(|column| column.key.clone()).collect();
        push(&command.stream, &Body::Table { keys });
        for files in self.library_files().await?.chunks(ROWS) {
            let rows = files.iter().filter_map(|file| to_raw_value(file).ok()).collect();
            push(&command.stream, &Body::Rows { rows });
        }
        Ok(())
    }

    /// Takes the name, says by a first `progress` that the content may come (`PUT /library/{name}?command_id=`), and waits.
    async fn library_add(
        &self,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
        file: &str,
    ) -> Answer<Vec<Problem>> {
        let param = |name: &str| invocation.params.get(name).cloned();
        let new = NewFile {
            name: param("name").unwrap_or_else(|| file.rsplit('/').next().unwrap_or(file).to_owned()),
            description: param("description"),
            parameters_description: param("parameters_description"),
            overwrite: invocation.flags.contains("overwrite"),
            if_match: None,
        };
        let id = command.record().command_id;
        let arrival = self.expect_file(&analyst.name, new).await?;
        let mut result = self.inner.library.wait_for(arrival, command);
        tell_progress(command, 0, None);
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        let mut coming = false;
        let answer = loop {
            tokio::select! {
                answer = &mut result => break answer,
                () = command.stop.cancelled() => {
                    self.inner.library.forget(id);
                    return Err(Refusal::conflict("cancelled", "nothing was added"));
                }
                () = &mut patience, if !coming => {
                    if self.inner.library.forget(id) {
                        return Err(Refusal::bad("no_content", "nobody sent the file's content; nothing was added"));
                    }
                    coming = true;
                }
            }
        };
        let added = answer.map_err(|_| Refusal::bad("cut_off", "the upload broke off; nothing of it was kept"))??;
        tell_object(command, &added);
        Ok(self.complaints(&added).await)
    }

    /// What a device would have against a file of rules: it is in the library all the same.
    async fn complaints(&self, file: &LibraryFile) -> Vec<Problem> {
        let link = self.inner.devices.first().map(|device| Arc::clone(&device.link));
        let wanted = RuleKind::of(&file.file_name).is_some() && file.size <= MAX_RULES;
        let (Some(link), true, Ok(mut opened)) = (link, wanted, self.open_content(file)) else { return Vec::new() };
        let name = file.file_name.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut content = Vec::new();
            // What cannot be read is said by whoever looks with it.
            opened.read_to_end(&mut content).map_or_else(|_| Vec::new(), |_| link.complaints(&name, &content))
        });
        let told = asked.await.unwrap_or_default();
        told.into_iter().map(|why| Problem::new("bad_rules", why).about(file.file_name.clone())).collect()
    }

    /// Tells which file it is. The content is for whoever looks at the answer to ask for (`GET /library/{name}`): it would be
    /// nothing but a second copy in the spool.
    async fn library_show(&self, command: &Command, name: &str) -> Answer<()> {
        let file = self.library_file(name).await?.file;
        self.open_content(&file)?;
        tell_object(command, &json!({ "file_name": file.file_name, "size": file.size, "sha256": file.sha256 }));
        Ok(())
    }

    async fn library_delete(&self, command: &Command, name: &str) -> Answer<()> {
        let seen = etag(&self.library_file(name).await?.file);
        let file = self.delete_file(name, &seen).await?;
        tell_object(
            command,
            &json!({ "file_name": file.file_name, "state": "deleted", "size": file.size, "sha256": file.sha256 }),
        );
        Ok(())
    }
}

/// Tells how many bytes of a file have come.
pub(in crate::service) fn tell_progress(command: &Command, done: u64, total: Option<u64>) {
    push(&command.stream, &Body::Progress(Progress { done, total, unit: ProgressUnit::Bytes, text: String::new() }));
}

fn tell_object(command: &Command, object: &impl serde::Serialize) {
    if let Ok(value) = to_raw_value(object) {
        push(&command.stream, &Body::Object { value });
    }
}
