//! Parquet: a row for each vector, its numbers as a list of `float`s.

use std::fmt;
use std::io;
use std::mem::take;
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::{Sink, Target};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

const SCHEMA: &str = "
    message vectors {
        required binary key (STRING);
        required binary model (STRING);
        required int32 dimensions;
        required int64 tokens;
        required int64 created (TIMESTAMP(MILLIS,true));
        required group embedding (LIST) {
            repeated group list { required float element; }
        }
    }";

/// Columns whose values hardly repeat: a dictionary of them saves nothing.
const DISTINCT: [&[&str]; 3] = [&["key"], &["created"], &["embedding", "list", "element"]];

/// Numbers of one row group: 16 MiB, and as much again for where lists begin.
const NUMBERS_OF_GROUP: usize = 4 << 20;

pub(super) struct ParquetFile {
    writer: SerializedFileWriter<Target>,
    rows: Rows,
}

/// Rows that are not written yet, column by column.
#[derive(Debug, Default)]
struct Rows {
    keys: Vec<ByteArray>,
    models: Vec<ByteArray>,
    dimensions: Vec<i32>,
    tokens: Vec<i64>,
    created: Vec<i64>,
    numbers: Vec<f32>,
    /// For each number 0 if it is the first of its list, else 1.
    repetitions: Vec<i16>,
}

impl ParquetFile {
    pub(super) fn new(target: Target) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(unwritten)?;
        let mut properties = WriterProperties::builder();
        for column in DISTINCT {
            let parts = column.iter().map(|&part| part.to_owned()).collect();
            let path = ColumnPath::new(parts);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::PLAIN);
        }
        let properties = Arc::new(properties.build());
        let writer = SerializedFileWriter::new(target, Arc::new(schema), properties);
        Ok(Self {
            writer: writer.map_err(unwritten)?,
            rows: Rows::default(),
        })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let rows = take(&mut self.rows);
        let mut group = self.writer.next_row_group()?;
        let mut place = 0;
        while let Some(mut column) = group.next_column()? {
            rows.write_column(place, column.untyped())?;
            column.close()?;
            place += 1;
        }
        group.close()?;
        Ok(())
    }
}

impl Rows {
    fn push(&mut self, key: &Key, entry: &Entry) {
        let numbers = entry.vector.to_floats();
        self.keys.push(key.to_string().into_bytes().into());
        self.models.push(entry.model.as_bytes().to_vec().into());
        self.dimensions
            .push(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
        self.tokens.push(entry.tokens.into());
        self.created.push(entry.created_ms.cast_signed());
        self.repetitions
            .extend((0..numbers.len()).map(|place| i16::from(place > 0)));
        self.numbers.extend(numbers);
    }

    fn write_column(
        &self,
        place: usize,
        column: &mut ColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        match (place, column) {
            (0, ColumnWriter::ByteArrayColumnWriter(keys)) => {
                keys.write_batch(&self.keys, None, None)
            }
            (_, ColumnWriter::ByteArrayColumnWriter(models)) => {
                models.write_batch(&self.models, None, None)
            }
            (_, ColumnWriter::Int32ColumnWriter(dimensions)) => {
                dimensions.write_batch(&self.dimensions, None, None)
            }
            (3, ColumnWriter::Int64ColumnWriter(tokens)) => {
                tokens.write_batch(&self.tokens, None, None)
            }
            (_, ColumnWriter::Int64ColumnWriter(created)) => {
                created.write_batch(&self.created, None, None)
            }
            (_, ColumnWriter::FloatColumnWriter(numbers)) => {
                let present = vec![1; self.numbers.len()];
                numbers.write_batch(&self.numbers, Some(&present), Some(&self.repetitions))
            }
            (place, _) => Err(ParquetError::IndexOutOfBound(place, 6)),
        }?;
        Ok(())
    }
}

impl Sink for ParquetFile {
    fn write(&mut self, key: &Key, entry: &Entry) -> io::Result<()> {
        self.rows.push(key, entry);
        match self.rows.numbers.len() < NUMBERS_OF_GROUP {
            true => Ok(()),
            false => self.write_group().map_err(unwritten),
        }
    }

    fn end(mut self: Box<Self>) -> io::Result<Target> {
        if !self.rows.keys.is_empty() {
            self.write_group().map_err(unwritten)?;
        }
        self.writer.into_inner().map_err(unwritten)
    }
}

/// The error of the file where there is one.
fn unwritten(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(cause) => io::Error::other(cause),
        },
        error => io::Error::other(error),
    }
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile").finish_non_exhaustive()
    }
}
