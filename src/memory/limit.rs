//! How much memory this process may have, and has: the limit of its address space (RLIMIT_AS), and that of its control
//! group, which is what a container has. Whichever is nearer counts.
//!
//! Reads a handful of small files, and believes none of them: what cannot be read or makes no sense is no limit.

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::sys::{self, page_size};

/// A container's limit counts where the process has this part of it or more: one in so many.
const OWN_PART: u64 = 4;
/// A reserve is not larger than this.
const RESERVE_MOST: usize = 256 << 20;

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Of the process: RLIMIT_AS, `ulimit -v`.
    Process,
    /// Of the control group: a container's.
    Container,
}

/// So much of so much, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// What is in use and cannot be had by letting go of files that were read.
    pub used: u64,
    /// What may be.
    pub limit: u64,
    /// Who says so.
    pub bound: Bound,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.bound {
            Bound::Process => "ulimit -v",
            Bound::Container => "memory.max of its container",
        };
        write!(f, "{} MiB of {} MiB in use, limit: {by}", self.used >> 20, self.limit >> 20)
    }
}

/// The limits that hold for this process. Found once: none of them moves it to another group.
#[derive(Debug)]
pub struct Limits {
    address_space: Option<u64>,
    groups: Vec<Group>,
}

/// A control group that this process is in, or one above it.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Limits {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self { address_space: getrlimit(Resource::As).current, groups: groups_of(&groups, &mounts) }
    }

    /// How large a reserve of addresses should be, in bytes: a quarter of what may be mapped. What is under way when
    /// the rest is used up must fit into it.
    #[must_use]
    pub fn reserve(&self) -> usize {
        let quarter = self.address_space.map_or(0, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX));
        quarter.clamp(sys::RESERVE, RESERVE_MOST)
    }

    /// The use that is nearest to its limit; `None` where there is none.
    #[must_use]
    pub fn used(&self) -> Option<Use> {
        self.nearest(&fs::read_to_string("/proc/self/statm").ok()?)
    }

    /// `statm`: what /proc/self/statm says. A container's limit counts where at least a part of what is used in it is
    /// this process's own: else others have filled it, and whatever is refused here helps nobody.
    fn nearest(&self, statm: &str) -> Option<Use> {
        let (mapped, own) = pages(statm)?;
        let page = page_size();
        let process = self.address_space.map(|limit| Use { used: mapped * page, limit, bound: Bound::Process });
        let groups = self.groups.iter().filter_map(|group| {
            let limit = group.limit()?;
            let counts = own * page >= limit / OWN_PART;
            counts.then_some(Use { used: group.used()?, limit, bound: Bound::Container })
        });
        process.into_iter().chain(groups).min_by_key(|one| one.limit.saturating_sub(one.used))
    }
}

impl Group {
    fn limit(&self) -> Option<u64> {
        let name = match self.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        limited(&self.read(name)?)
    }

    /// Less the pages of files, which the kernel takes back before it kills anybody.
    fn used(&self) -> Option<u64> {
        let (name, files) = match self.version {
            Version::One => ("memory.usage_in_bytes", ["total_inactive_file ", "total_active_file "]),
            Version::Two => ("memory.current", ["inactive_file ", "active_file "]),
        };
        let all: u64 = self.read(name)?.trim().parse().ok()?;
        let stat = self.read("memory.stat").unwrap_or_default();
        let of = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let files: u64 = files.iter().filter_map(|name| of(name)).fold(0, u64::saturating_add);
        Some(all.saturating_sub(files))
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok()
    }
}

/// `max`, and what version 1 says in place of it, is none.
fn limited(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| (1..1 << 60).contains(limit))
}

/// From `/proc/self/statm`, in pages: what is mapped, the reserve included (where there is a limit of it, the
/// allocators map nothing ahead), and what this process alone has in memory.
fn pages(statm: &str) -> Option<(u64, u64)> {
    let mut fields = statm.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || fields.next()?.ok();
    let (mapped, resident, shared) = (next()?, next()?, next()?);
    Some((mapped, resident.saturating_sub(shared)))
}

/// The groups with a say in memory: the one of this process and all above it, as far as they can be seen from here.
/// `groups`: /proc/self/cgroup; `mounts`: /proc/self/mountinfo (proc(5)).
fn groups_of(groups: &str, mounts: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let version = match controllers {
            "" => Version::Two,
            some if some.split(',').any(|name| name == "memory") => Version::One,
            _ => continue,
        };
        let Some((root, point)) = mounts.lines().find_map(|line| mounted(line, version)) else { continue };
        // In a container the mount may show less than the whole: its own root is where the path begins.
        let below = Path::new(path).strip_prefix(root).ok();
        let below = below.filter(|below| !below.components().any(|part| part == Component::ParentDir));
        let below = below.unwrap_or(Path::new(""));
        for folder in Path::new(point).join(below).ancestors() {
            found.push(Group { folder: folder.to_owned(), version });
            if folder == Path::new(point) {
                break;
            }
        }
    }
    found
}

/// The root and the point of a mount of control groups, if this line is one with a say in memory.
fn mounted(line: &str, version: Version) -> Option<(&str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let is = match version {
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => kind == "cgroup2",
    };
    is.then_some((root, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Much of it is this process's.
    const ALL_OURS: &str = "90000 80000 100 3000 0 9000 0";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::TempDir::new().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn at(folder: &tempfile::TempDir, version: Version) -> Limits {
        let kind = if version == Version::Two { "cgroup2 none rw" } else { "cgroup none rw,memory" };
        let mounts = format!("30 20 0:26 / {} rw,nosuid shared:4 - {kind}\n", folder.path().display());
        let groups = if version == Version::Two { "0::/a/b\n" } else { "5:cpu:/\n4:memory:/a/b\n0::/x\n" };
        Limits { address_space: None, groups: groups_of(groups, &mounts) }
    }

    #[test]
    fn the_nearest_limit_of_all_groups_counts() {
        let stat = "anon 5\ninactive_file 1048576\nactive_file 2097152\n";
        let folder = folder(&[
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.current", "9000000\n"),
            ("a/memory.max", "67108864\n"),
            ("a/memory.current", "63963136\n"),
            ("a/memory.stat", stat),
        ]);
        let limits = at(&folder, Version::Two);
        let used = Use { used: 63_963_136 - (3 << 20), limit: 64 << 20, bound: Bound::Container };
        assert_eq!(limits.nearest(ALL_OURS), Some(used));
        fs::write(folder.path().join("a/b/memory.max"), "9437184").unwrap();
        assert_eq!(limits.nearest(ALL_OURS).map(|used| (used.used, used.limit)), Some((9_000_000, 9 << 20)));
    }

    #[test]
    fn version_one_says_no_limit_by_a_large_number() {
        let folder = folder(&[
            ("a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("a/b/memory.usage_in_bytes", "5000\n"),
            ("a/b/memory.stat", "cache 4000\ntotal_inactive_file 1000\ntotal_active_file 500\n"),
        ]);
        let limits = at(&folder, Version::One);
        assert_eq!(limits.nearest(ALL_OURS), None);
        fs::write(folder.path().join("a/b/memory.limit_in_bytes"), "8192").unwrap();
        assert_eq!(limits.nearest(ALL_OURS), Some(Use { used: 3500, limit: 8192, bound: Bound::Container }));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_root_of_the_mount() {
        let mounts = "30 20 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let groups = groups_of("4:memory:/docker/abc\n", mounts);
        let folder = PathBuf::from("/sys/fs/cgroup/memory");
        assert_eq!(groups, [Group { folder, version: Version::One }]);
        // A path from outside the mount: the mount itself is what can be seen.
        let groups = groups_of("0::/../other\n", "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(groups, [Group { folder: PathBuf::from("/sys/fs/cgroup"), version: Version::Two }]);
        for nonsense in ["", ":", "0", "0::", "x:memory", "::::\n\n"] {
            groups_of(nonsense, "a b - c\n - \n1 2 3 / / - cgroup2\n");
        }
    }

    #[test]
    fn what_others_fill_is_not_ours_to_refuse() {
        let folder = folder(&[("a/b/memory.max", "67108864"), ("a/b/memory.current", "67000000")]);
        let limits = at(&folder, Version::Two);
        let page = page_size();
        let own = |bytes: u64| format!("90000 {} 100 3000 0 9000 0\n", 100 + bytes / page);
        assert_eq!(limits.nearest(&own(15 << 20)), None);
        assert_eq!(limits.nearest(&own(16 << 20)).map(|used| used.used), Some(67_000_000));
    }

    #[test]
    fn what_is_mapped_is_in_use() {
        assert_eq!(pages("262144 2600 600 3000 0 258000 0\n"), Some((262_144, 2000)));
        assert_eq!((pages(""), pages("many"), pages("100 90")), (None, None, None));
        assert!(Limits::of_this_process().used().is_none_or(|used| used.used > 0));
    }
}
