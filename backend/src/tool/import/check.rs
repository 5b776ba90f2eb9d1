//! The first time through the file: every fault is told with its line, and nothing is written.

use super::plan::{Plan, RecordRefusal, has_length};
use super::repeats::Repeats;
use super::source::Source;
use crate::config::command_line::complain;
use crate::embeddings::vector::floats_digest;
use crate::tool::failure::{CommandError, CommandResult};
use crate::tool::progress::Progress;

/// Faults that are told. A file that has more is wrong throughout.
const MOST_FAULTS: u64 = 20;

/// What a file holds that has no fault.
#[derive(Debug, Default)]
pub(super) struct CheckedFile {
    pub(super) records: u64,
    /// Records that only repeat another one.
    pub(super) repeats: u64,
    /// Records whose tokens are estimated.
    pub(super) estimated: u64,
    pub(super) dimensions: usize,
}

/// Reads the whole file.
pub(super) fn check(source: &mut Source<'_>, plan: &Plan) -> CommandResult<CheckedFile> {
    let mut progress = Progress::new("check", source.bytes());
    let read = read(source, plan, &mut progress);
    progress.end();
    let (mut checked, repeats, mut faults) = read?;
    if faults.count == 0 {
        let unit = source.unit();
        let noted = repeats.check(|first, second| {
            faults.tell(
                second,
                format_args!("has the input of {unit} {first}, and other numbers"),
            )
        });
        checked.repeats = noted.map_err(|error| unkept(&error))?;
    }
    match faults.count {
        0 if checked.records == 0 => Err(source.fault("holds no vectors")),
        0 => Ok(checked),
        _ => Err(source.fault("is faulty, and nothing of it was written")),
    }
}

fn read<'a>(
    source: &'a Source<'_>,
    plan: &Plan,
    progress: &mut Progress,
) -> CommandResult<(CheckedFile, Repeats, Faults<'a>)> {
    let (mut checked, mut repeats) = (CheckedFile::default(), Repeats::default());
    let mut faults = Faults { source, count: 0 };
    let unit = source.unit();
    for line in source.records()? {
        let line = line.map_err(|broken| source.fault(&broken.to_string()))?;
        let read = plan.read(&line.text).and_then(|(key, record)| {
            let found = record.floats.len() / size_of::<f32>();
            if checked.records == 0 {
                checked.dimensions = found;
            }
            has_length(&record, checked.dimensions)?;
            Ok((key, record))
        });
        match read {
            Ok((key, record)) => {
                checked.records += 1;
                checked.estimated += u64::from(!record.tokens_or_estimate().1);
                let noted = repeats.note(&key, &floats_digest(&record.floats), line.number);
                noted.map_err(|error| unkept(&error))?;
            }
            Err(refusal) => {
                progress.aside(|| faults.tell_refusal(line.number, &refusal));
                if faults.count == MOST_FAULTS {
                    complain("and so on");
                    break;
                }
            }
        }
        let records = checked.records;
        progress.show(line.end, || format!("{records} {unit}s"));
    }
    Ok((checked, repeats, faults))
}

/// What is wrong with a file.
struct Faults<'a> {
    source: &'a Source<'a>,
    count: u64,
}

impl Faults<'_> {
    fn tell_refusal(&mut self, line: u64, refusal: &RecordRefusal) {
        self.tell(line, format_args!("{refusal}"));
    }

    fn tell(&mut self, line: u64, what: std::fmt::Arguments<'_>) {
        self.count += 1;
        if self.count <= MOST_FAULTS {
            complain(format_args!("{}: {what}", self.source.place(line)));
        }
    }
}

/// Inputs are compared through a temporary file.
fn unkept(error: &std::io::Error) -> CommandError {
    let folder = std::env::temp_dir();
    CommandError::broken(format!("{} (TMPDIR): {error}", folder.display()))
}
