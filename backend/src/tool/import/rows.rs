//! The rows of a Parquet file, as pandas, pyarrow, Polars, `DuckDB` and Spark write them: each as the
//! line of JSON that says the same, so that one reader judges both. Numbers go over as the bits of
//! their `f32`s.

use std::fs::File;

use base64_simd::STANDARD;
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::contained::contained;
use super::lines::{Broken, Line};

/// What every Parquet file begins with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// The columns that say something. Of the others the names count alone.
const READ: [&str; 4] = ["input", "embedding", "tokens", "model"];

/// Rows that are decoded at a time: of vectors of 3,072 numbers 2 MiB.
const BATCH: usize = 64;

pub(super) struct ParquetRows {
    rows: RowIter<'static>,
    /// The names of the columns that are not read.
    others: Vec<String>,
    number: u64,
    count: u64,
    bytes: u64,
}

impl ParquetRows {
    /// The rows of a file of so many bytes.
    pub(super) fn new(file: File, bytes: u64) -> Result<Self, Broken> {
        let damaged = || Broken::Parquet("its footer is damaged".to_owned());
        contained(|| Self::open(file, bytes)).ok_or_else(damaged)?
    }

    fn open(file: File, bytes: u64) -> Result<Self, Broken> {
        let reader = SerializedFileReader::new(file).map_err(unread)?;
        is_readable(reader.metadata())?;
        let described = reader.metadata().file_metadata();
        let count = u64::try_from(described.num_rows()).unwrap_or(0);
        let (read, others): (Vec<_>, Vec<_>) = described
            .schema()
            .get_fields()
            .iter()
            .cloned()
            .partition(|column| READ.contains(&column.name()));
        let others = others.iter().map(|column| column.name().to_owned());
        let wanted = Type::group_type_builder(described.schema().name()).with_fields(read);
        let wanted = wanted.build().map_err(unread)?;
        let others = others.collect();
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(wanted));
        Ok(Self {
            rows: rows.map_err(unread)?.with_batch_size(BATCH),
            others,
            number: 0,
            count,
            bytes,
        })
    }

    /// The next row; none after an error.
    pub(super) fn read(&mut self) -> Result<Option<Line>, Broken> {
        // The reader asserts what a damaged file does not hold to.
        let next = contained(|| self.rows.next());
        let damaged = || Broken::Parquet("its pages are damaged".to_owned());
        let Some(row) = next.ok_or_else(damaged)?.transpose().map_err(unread)? else {
            return Ok(None);
        };
        self.number += 1;
        Ok(Some(Line {
            number: self.number,
            text: self.line(&row),
            end: self.number.saturating_mul(self.bytes) / self.count.max(1),
        }))
    }

    /// What the row says, as a JSON object.
    fn line(&self, row: &Row) -> Bytes {
        let others = self.others.iter().map(|name| (name.clone(), Value::Null));
        let mut members: Map<_, _> = others.collect();
        for (name, field) in row.get_column_iter() {
            let value = match name.as_str() {
                "embedding" => vector(field),
                "tokens" => whole(field),
                _ => input(field),
            };
            // A column without a value is one that the row does not have.
            if !matches!(field, Field::Null) {
                members.insert(name.clone(), value);
            }
        }
        Value::Object(members).to_string().into()
    }
}

/// Refuses what is compressed in a manner that this program does not know.
fn is_readable(described: &ParquetMetaData) -> Result<(), Broken> {
    for column in described.row_groups().iter().flat_map(|it| it.columns()) {
        let how = column.compression();
        if let Compression::ZSTD(_) | Compression::BROTLI(_) | Compression::LZO = how {
            let column = column.column_path().string();
            let how = how.to_string();
            let how = how.split('(').next().unwrap_or_default();
            let why = format!("{column:?} is compressed by {how}: write it with snappy or gzip");
            return Err(Broken::Parquet(why));
        }
    }
    Ok(())
}

fn unread(error: ParquetError) -> Broken {
    Broken::Parquet(match error {
        ParquetError::General(why) | ParquetError::EOF(why) | ParquetError::NYI(why) => why,
        error => error.to_string(),
    })
}

/// A list of numbers as base64 of their `f32`s; a text as it is.
fn vector(field: &Field) -> Value {
    match field {
        Field::ListInternal(list) => {
            let numbers: Option<Vec<f32>> = list.elements().iter().map(number).collect();
            let bytes = |numbers: Vec<f32>| -> Vec<u8> {
                numbers.into_iter().flat_map(f32::to_le_bytes).collect()
            };
            numbers.map_or(Value::Null, |numbers| {
                STANDARD.encode_to_string(bytes(numbers)).into()
            })
        }
        Field::Str(text) => text.as_str().into(),
        _ => Value::Null,
    }
}

/// The `f32` that is nearest.
fn number(field: &Field) -> Option<f32> {
    match field {
        Field::Double(number) => Some(*number as f32),
        Field::Float(number) => Some(*number),
        Field::Float16(number) => Some(number.to_f32()),
        _ => integer(field).map(|number| number as f32),
    }
}

/// A text, a list of tokens, or a list of either.
fn input(field: &Field) -> Value {
    match field {
        Field::Str(text) => text.as_str().into(),
        Field::ListInternal(list) => list.elements().iter().map(input).collect(),
        _ => integer(field).map_or(Value::Null, Value::from),
    }
}

/// A whole number. Where some rows have none, pandas writes all as `f64`s.
fn whole(field: &Field) -> Value {
    match field {
        Field::Double(number) if number.is_nan() => Value::Null,
        Field::Double(number) if number.trunc() == *number => (*number as i64).into(),
        Field::Double(number) => Value::from(*number),
        _ => integer(field).map_or(Value::String(String::new()), Value::from),
    }
}

fn integer(field: &Field) -> Option<i64> {
    Some(match *field {
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) => number,
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => i64::try_from(number).ok()?,
        _ => return None,
    })
}
