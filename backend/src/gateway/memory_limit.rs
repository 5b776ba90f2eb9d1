//! How much memory the process may have: what its cgroup allows, else what the machine has.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// If nothing tells how much there is.
const UNKNOWN: u64 = 1 << 30;

/// The part of all memory that requests may hold. The memory tier, connections and what libraries
/// keep take the rest.
const SHARE: u64 = 4;

/// What requests may hold together, unless the operator says otherwise.
pub(super) fn share() -> usize {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = allowed(Path::new(CGROUPS), &groups)
        .chain(installed())
        .min();
    usize::try_from(limit.unwrap_or(UNKNOWN) / SHARE).unwrap_or(usize::MAX)
}

/// The limits of the groups that `/proc/self/cgroup` names, and of all groups above them. In a
/// container the path may be the host's, while the root of the mount is the group.
fn allowed(root: &Path, groups: &str) -> impl Iterator<Item = u64> {
    let files = groups.lines().filter_map(|line| limit_files(root, line));
    let limits = files.flatten().filter_map(|file| read_to_string(file).ok());
    // `max`, and nothing else, is no number.
    limits.filter_map(|limit| limit.trim().parse().ok())
}

/// `0::/path` (version 2), or `7:memory:/path` (version 1).
fn limit_files(root: &Path, line: &str) -> Option<Vec<PathBuf>> {
    let (root, file, path) = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        [_, "", path] => (root.to_owned(), "memory.max", path),
        [_, kinds, path] if kinds.split(',').any(|kind| kind == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes", path)
        }
        _ => return None,
    };
    let above = Path::new(path.trim_start_matches('/')).ancestors();
    Some(above.map(|path| root.join(path).join(file)).collect())
}

/// What the machine has.
fn installed() -> Option<u64> {
    let text = read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    fn least(files: &[(&str, &str)], groups: &str) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, limit) in files {
            let file = root.path().join(name);
            create_dir_all(file.parent().unwrap()).unwrap();
            write(file, limit).unwrap();
        }
        allowed(root.path(), groups).min()
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let second = [
            ("memory.max", "max\n"),
            ("pods/memory.max", "1000\n"),
            ("pods/a/memory.max", "2000\n"),
        ];
        assert_eq!(least(&second, "0::/pods/a\n"), Some(1000));
        let first = [
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/memory.limit_in_bytes", "805306368\n"),
        ];
        let groups = "12:cpu,cpuacct:/a\n7:memory:/a\n0::/\n";
        assert_eq!(least(&first, groups), Some(805_306_368));
    }

    #[test]
    fn in_a_container_the_root_is_the_group() {
        let files = [("memory/memory.limit_in_bytes", "1000\n")];
        assert_eq!(least(&files, "7:memory:/kubepods/pod1/c1\n"), Some(1000));
        assert_eq!(least(&[("memory.max", "1000\n")], "0::/\n"), Some(1000));
    }

    #[test]
    fn what_tells_nothing_limits_nothing() {
        assert_eq!(least(&[("memory.max", "max\n")], "0::/\n"), None);
        assert_eq!(least(&[], "nonsense\n7:memory\n"), None);
        assert!(share() > 0);
    }
}
