//! Event streams: of a command, and of a session. A stream that breaks is read on from the last event that came, after
//! the service was started again if need be.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::{Method, Response};

use super::content::Content;
use super::decode::Decoder;
use super::{Client, root_cause};
use crate::error::{Exit, Failure, Outcome};
use crate::protocol::{
    Body, CommandId, Completed, Cost, Event, NewCommand, Receipt, SessionEvent, SessionEventKind, SessionId, Status,
    StreamName, Text, TextData,
};
use crate::shell::view::harmless;

/// A stream that breaks this often without an event between is given up.
const BREAKS: u32 = 5;
/// One that lasted so long did not break: the service ends every stream once in a while.
const LASTED: Duration = Duration::from_secs(10);
/// How long the end of an answer is waited for, so that its connection can carry the next call.
const LAST_PIECE: Duration = Duration::from_millis(50);

/// The events of one command, in order, each once, up to `completed`.
pub struct CommandEvents {
    client: Client,
    session: SessionId,
    command: CommandId,
    /// Sent again when the service knows nothing of the command: it was never committed.
    post: Option<NewCommand>,
    wire: Option<Wire>,
    last: u64,
    breaks: u32,
    completed: bool,
    /// Whether the command's object stands for the content of a library file.
    with_content: bool,
    /// That content, which is told as text before the object.
    content: Option<(Content, Event)>,
    /// What is told in the place of what the service would have said.
    instead: VecDeque<Event>,
}

impl CommandEvents {
    /// Posts a command; its answer is its stream.
    ///
    /// # Errors
    /// When the service refuses it or cannot be reached.
    pub async fn post(client: &Client, session: &SessionId, command: NewCommand) -> Outcome<Self> {
        let mut events = Self::after(client, session, command.command_id, 0);
        events.post = Some(command);
        events.open().await?;
        Ok(events)
    }

    /// The events of a command that was posted before, behind event `last`. Nothing is sent yet.
    #[must_use]
    pub fn after(client: &Client, session: &SessionId, command: CommandId, last: u64) -> Self {
        Self {
            client: client.clone(),
            session: session.clone(),
            command,
            post: None,
            wire: None,
            last,
            breaks: 0,
            completed: false,
            with_content: false,
            content: None,
            instead: VecDeque::new(),
        }
    }

    /// The same events, with the content of the library file that the command shows, if it does, as text in front of its
    /// object.
    #[must_use]
    pub fn with_content(mut self, with_content: bool) -> Self {
        self.with_content = with_content;
        self
    }

    /// Whether such content is coming.
    #[must_use]
    pub fn is_in_content(&self) -> bool {
        self.content.is_some()
    }

    /// Lets go of the content that is coming: the command has ended for the service, and here it ends as cancelled.
    pub fn cut(&mut self) {
        let Some((content, event)) = self.content.take() else { return };
        let receipt = Receipt { confirmed: true, done: vec![content.so_far()], ..Receipt::default() };
        let completed = Completed { status: Status::Cancelled, duration_ms: 0, cost: Cost::default(), errors: Vec::new() };
        for (n, body) in (event.n..).zip([Body::Receipt(receipt), Body::Completed(completed)]) {
            self.instead.push_back(Event { n, t: Timestamp::now(), body });
        }
        self.wire = None;
    }

    /// The number of the last event that came.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The next event; `None` behind `completed`. Dropping the future loses none.
    ///
    /// # Errors
    /// When the service cannot be reached any more, or sends what is no event.
    pub async fn next(&mut self) -> Outcome<Option<Event>> {
        while !self.completed {
            if let Some(event) = self.instead.pop_front() {
                return Ok(Some(self.told(event)));
            }
            if let Some(event) = self.next_of_content().await? {
                return Ok(Some(event));
            }
            let Some(wire) = &mut self.wire else {
                self.open().await?;
                continue;
            };
            match wire.next().await? {
                Some(data) => {
                    let event = Event::parse(&data)
                        .map_err(|error| Failure::internal(format!("the service sent no event: {error}")))?;
                    self.client.trace().event(&event, data.len());
                    if event.n <= self.last {
                        continue;
                    }
                    self.breaks = 0;
                    if let (true, Body::Object { value }) = (self.with_content, &event.body)
                        && let Some(content) = Content::of(&self.client, value.get())
                    {
                        self.content = Some((content, event));
                        continue;
                    }
                    if matches!(event.body, Body::Completed(_)) {
                        let _ = tokio::time::timeout(LAST_PIECE, wire.response.chunk()).await;
                        self.wire = None;
                    }
                    return Ok(Some(self.told(event)));
                }
                None => {
                    self.breaks = if wire.opened.elapsed() < LASTED { self.breaks + 1 } else { 0 };
                    self.wire = None;
                    if self.breaks >= BREAKS {
                        return Err(Failure::unreachable("the service broke off the command's events and does not go on"));
                    }
                }
            }
        }
        Ok(None)
    }

    fn told(&mut self, event: Event) -> Event {
        self.last = event.n;
        self.completed = matches!(event.body, Body::Completed(_));
        event
    }

    /// What is told while content comes: its pieces, then the object that it belongs to.
    async fn next_of_content(&mut self) -> Outcome<Option<Event>> {
        let Some((content, object)) = &mut self.content else { return Ok(None) };
        if let Some(piece) = content.next().await? {
            let text = Text { stream: StreamName::Stdout, data: TextData::of(&piece) };
            return Ok(Some(Event { n: object.n, t: object.t, body: Body::Text(text) }));
        }
        let object = self.content.take().map(|(_, object)| object);
        Ok(object.map(|object| self.told(object)))
    }

    /// Asks for the events behind the last one.
    async fn open(&mut self) -> Outcome<()> {
        let commands = format!("/sessions/{}/commands", self.session);
        let unposted = self.last == 0 && self.breaks == 0;
        let response = match (&self.post, unposted) {
            (Some(post), true) => self.client.send(Method::POST, &commands, |request| request.json(post)).await?,
            _ => {
                let path = format!("{commands}/{}/events?after={}", self.command, self.last);
                match (self.client.send(Method::GET, &path, |request| request).await, &self.post) {
                    (Err(failure), Some(post)) if failure.code() == "not_found" && self.last == 0 => {
                        self.client.send(Method::POST, &commands, |request| request.json(post)).await?
                    }
                    (answer, _) => answer?,
                }
            }
        };
        self.wire = Some(Wire::new(response, self.client.clone()));
        Ok(())
    }
}

/// What happens in a session, from now on.
pub struct SessionEvents {
    client: Client,
    session: SessionId,
    wire: Option<Wire>,
    last: u64,
    breaks: u32,
}

impl SessionEvents {
    /// Opens the stream: from now on this shell counts as attached.
    ///
    /// # Errors
    /// When the session does not exist or the service cannot be reached.
    pub async fn open(client: &Client, session: &SessionId) -> Outcome<Self> {
        let mut events = Self { client: client.clone(), session: session.clone(), wire: None, last: 0, breaks: 0 };
        events.reopen().await?;
        Ok(events)
    }

    /// The next event.
    ///
    /// # Errors
    /// When the session or the service is gone for good.
    pub async fn next(&mut self) -> Outcome<SessionEvent> {
        loop {
            let Some(wire) = &mut self.wire else {
                self.reopen().await?;
                continue;
            };
            match wire.next().await? {
                Some(data) => {
                    let event = serde_json::from_slice(&data)
                        .map_err(|error| Failure::internal(format!("the service sent no session event: {error}")))?;
                    let event: SessionEvent = event;
                    if matches!(event.what, SessionEventKind::Unknown) {
                        // Of a later version: what it says is shown as it is.
                        self.client.shared.screen.announce(&harmless(&String::from_utf8_lossy(&data)));
                    }
                    self.last = self.last.max(event.n);
                    self.breaks = 0;
                    return Ok(event);
                }
                None => {
                    self.breaks = if wire.opened.elapsed() < LASTED { self.breaks + 1 } else { 0 };
                    self.wire = None;
                    if self.breaks >= BREAKS {
                        return Err(Failure::unreachable("the service broke off the session's events and does not go on"));
                    }
                }
            }
        }
    }

    async fn reopen(&mut self) -> Outcome<()> {
        let path = match self.last {
            0 => format!("/sessions/{}/events", self.session),
            last => format!("/sessions/{}/events?after={last}", self.session),
        };
        let response = self.client.send(Method::GET, &path, |request| request).await?;
        self.wire = Some(Wire::new(response, self.client.clone()));
        Ok(())
    }
}

/// An answer that is read event by event.
struct Wire {
    response: Response,
    decoder: Decoder,
    client: Client,
    opened: Instant,
}

impl Wire {
    fn new(response: Response, client: Client) -> Self {
        Self { response, decoder: Decoder::default(), client, opened: Instant::now() }
    }

    /// The data of the next event; `None` when the connection is at its end, in order or not.
    async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        loop {
            if let Some(data) = self.decoder.next_event() {
                return Ok(Some(data));
            }
            match self.response.chunk().await {
                Ok(Some(piece)) => {
                    self.decoder.push(&piece).map_err(|error| Failure::new(Exit::Internal, "too_long", error.to_string()))?;
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.client.trace().note(&format!("a stream broke: {}", root_cause(&error)));
                    return Ok(None);
                }
            }
        }
    }
}
