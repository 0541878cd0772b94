//! What a process leaves behind only while it lives.

use std::fs::File;
use std::io::Read;

/// Something that is gone with a process.
#[derive(Debug)]
pub struct Trace {
    /// What it is called where it is kept.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// Its content.
    pub source: TraceSource,
}

/// The content of a [`Trace`].
#[derive(Debug)]
pub enum TraceSource {
    /// Read already.
    Text(Vec<u8>),
    /// Open, to be read from its start.
    File {
        /// The descriptor.
        file: File,
        /// How large it was when it was opened.
        size: u64,
    },
}

impl Trace {
    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.source {
            TraceSource::Text(text) => text.len() as u64,
            TraceSource::File { size, .. } => *size,
        }
    }

    /// Its content, from the start.
    #[must_use]
    pub fn reader(&self) -> Box<dyn Read + '_> {
        match &self.source {
            TraceSource::Text(text) => Box::new(text.as_slice()),
            TraceSource::File { file, .. } => Box::new(file),
        }
    }
}
