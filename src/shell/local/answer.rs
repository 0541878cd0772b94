//! How local commands answer: through the same rendering as a device's answer, so that every view option works.

use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{Body, Status, StreamName, Text, TextData};
use crate::shell::Shell;
use crate::shell::jobs::written;
use crate::shell::view::{Next, RedirectFile, RenderSpec, Rendering, Screen, Target};

/// Rows that are shown at a time.
const ROWS: usize = 512;

/// What tells the fields of rows to come.
pub(super) fn table(invocation: &Invocation) -> Body {
    Body::Table { keys: invocation.columns().iter().map(|column| column.key.clone()).collect() }
}

impl Shell {
    /// Shows rows.
    pub(super) fn answer_rows(&self, invocation: &Invocation, rows: &[impl Serialize]) -> Outcome<Exit> {
        let mut bodies = vec![table(invocation)];
        for some in rows.chunks(ROWS) {
            let rows = some.iter().map(to_raw_value).collect::<Result<_, _>>();
            bodies.push(Body::Rows { rows: rows.map_err(|error| Failure::internal(error.to_string()))? });
        }
        self.answer(invocation, &bodies)
    }

    /// Shows one object.
    pub(super) fn answer_object(&self, invocation: &Invocation, object: &impl Serialize) -> Outcome<Exit> {
        let value = to_raw_value(object).map_err(|error| Failure::internal(error.to_string()))?;
        self.answer(invocation, &[Body::Object { value }])
    }

    /// Shows one object, and behind it another line's answer as that line shows it.
    pub(super) fn answer_object_and(
        &self,
        invocation: &Invocation,
        object: &impl Serialize,
        spec: RenderSpec,
        answer: &[Body],
    ) -> Outcome<Exit> {
        let value = to_raw_value(object).map_err(|error| Failure::internal(error.to_string()))?;
        self.render(invocation, self.spec(invocation)?, &[Body::Object { value }], Some((spec, answer)))
    }

    /// Shows a text, whatever the row says.
    pub(super) fn answer_text(&self, invocation: &Invocation, text: &str) -> Outcome<Exit> {
        let data = TextData::Utf8(text.to_owned());
        let text = Body::Text(Text { stream: StreamName::Stdout, data });
        self.render(invocation, RenderSpec::text(), &[text], None)
    }

    fn answer(&self, invocation: &Invocation, bodies: &[Body]) -> Outcome<Exit> {
        self.render(invocation, self.spec(invocation)?, bodies, None)
    }

    /// How a line wants its answer.
    pub(super) fn spec(&self, invocation: &Invocation) -> Outcome<RenderSpec> {
        RenderSpec::of(invocation, self.zone()).map_err(|problem| Failure { exit: Exit::NotUnderstood, problem })
    }

    fn render(
        &self,
        invocation: &Invocation,
        spec: RenderSpec,
        bodies: &[Body],
        then: Option<(RenderSpec, &[Body])>,
    ) -> Outcome<Exit> {
        let mut answer = self.begin_answer(invocation, spec)?;
        for body in bodies {
            answer.take(body)?;
        }
        if let Some((spec, bodies)) = then {
            answer.rendering.turn_to(spec).map_err(|error| written(&error))?;
            for body in bodies {
                answer.take(body)?;
            }
        }
        answer.end(Status::Completed)
    }

    /// Begins an answer that comes in pieces.
    pub(super) fn begin_answer(&self, invocation: &Invocation, spec: RenderSpec) -> Outcome<Answer> {
        let target = match &invocation.redirect {
            Some(redirect) => {
                Target::File(RedirectFile::test(redirect).map_err(|problem| Failure { exit: Exit::Failed, problem })?)
            }
            None => Target::Screen,
        };
        Ok(Answer { rendering: self.begin(spec, target)?, screen: self.screen.clone() })
    }
}

/// An answer that is being shown.
pub(super) struct Answer {
    rendering: Rendering,
    screen: Screen,
}

impl Answer {
    /// Shows what comes; whether more is wanted.
    pub(super) fn take(&mut self, body: &Body) -> Outcome<Next> {
        self.rendering.event(body).map_err(|error| written(&error))
    }

    /// Nothing follows.
    pub(super) fn end(self, status: Status) -> Outcome<Exit> {
        let summary = self.rendering.end(status).map_err(|error| written(&error))?;
        for note in summary.notes {
            self.screen.message(&note);
        }
        Ok(Exit::Done)
    }
}
