//! JSON Lines: an object for each vector, its numbers as the shortest decimals that read back as
//! the same `f32`s.

use std::io::{self, BufWriter, Write};

use super::{Sink, Target};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::embeddings::response::push_list;
use crate::tool::time;

#[derive(Debug)]
pub(super) struct JsonLines {
    target: BufWriter<Target>,
    line: Vec<u8>,
}

impl JsonLines {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target: BufWriter::new(target),
            line: Vec::new(),
        }
    }
}

impl Sink for JsonLines {
    fn write(&mut self, key: &Key, entry: &Entry) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        write!(line, r#"{{"key":"{key}","model":"#)?;
        serde_json::to_writer(&mut *line, &*entry.model)?;
        write!(
            line,
            r#","dimensions":{},"tokens":{},"created":"{}","embedding":"#,
            entry.dimensions(),
            entry.tokens,
            time::exact_text(entry.created_ms)
        )?;
        push_list(line, entry);
        line.extend_from_slice(b"}\n");
        self.target.write_all(line)
    }

    fn end(self: Box<Self>) -> io::Result<Target> {
        self.target.into_inner().map_err(|error| error.into_error())
    }
}
