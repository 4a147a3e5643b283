//! CPU and memory use of processes, from `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::time::Duration;

use anyhow::Context;

/// Unit of `utime` and `stime`: hundredths of a second, whatever the kernel's own timer
/// (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// Use of a process and all its descendants so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Ticks in user space and in the kernel, ended children included.
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// CPU nanoseconds of all live threads, from `schedstat`.
    pub(crate) on_cpu: u64,
    pub(crate) processes: u32,
    /// Resident memory, KiB; shared pages are counted once.
    pub(crate) resident: u64,
    /// Peak resident memory of the largest process, KiB.
    pub(crate) peak: u64,
}

/// CPU time between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Usage {
    /// CPU time since `before`. `schedstat` is exact but misses threads that have ended; ticks count all.
    /// If both agree within their resolution, the exact sum is used, split in the ticks' proportion.
    pub(crate) fn since(&self, before: &Self) -> CpuTime {
        let user = TICK * self.user.saturating_sub(before.user) as u32;
        let system = TICK * self.system.saturating_sub(before.system) as u32;
        let by_ticks = user + system;
        let exact = Duration::from_nanos(self.on_cpu.saturating_sub(before.on_cpu));
        let tolerance = TICK * 2 * self.processes.max(1) + by_ticks / 50;
        if exact.abs_diff(by_ticks) > tolerance {
            return CpuTime { user, system };
        }
        let share = if by_ticks.is_zero() { 1.0 } else { user.div_duration_f64(by_ticks) };
        let user = exact.mul_f64(share);
        CpuTime { user, system: exact.saturating_sub(user) }
    }
}

/// All processes of the machine.
#[derive(Debug)]
pub(crate) struct Processes {
    stats: BTreeMap<u32, Stat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
    /// Of ended children.
    ended_user: u64,
    ended_system: u64,
}

impl Processes {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let entries = fs::read_dir("/proc").context("reading /proc")?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        // A process that ended meanwhile is skipped.
        let stat = |pid: u32| Some((pid, stat(&fs::read_to_string(proc(pid, "stat")).ok()?)?));
        Ok(Self { stats: pids.filter_map(stat).collect() })
    }

    /// Use of a process and its descendants. Fails if the process has ended.
    pub(crate) fn usage(&self, pid: u32) -> anyhow::Result<Usage> {
        let root = self.stat(pid)?;
        let ended = Usage { user: root.ended_user, system: root.ended_system, ..Usage::default() };
        let family = self.stats.keys().copied().filter(|other| self.descends(*other, pid));
        Ok(self.sum(ended, family))
    }

    /// Use of a process without its children.
    pub(crate) fn usage_alone(&self, pid: u32) -> anyhow::Result<Usage> {
        self.stat(pid)?;
        Ok(self.sum(Usage::default(), std::iter::once(pid)))
    }

    fn stat(&self, pid: u32) -> anyhow::Result<Stat> {
        self.stats.get(&pid).copied().with_context(|| format!("process {pid} has ended"))
    }

    fn sum(&self, mut usage: Usage, pids: impl Iterator<Item = u32>) -> Usage {
        let mut shared = 0;
        for pid in pids {
            let Some(stat) = self.stats.get(&pid) else { continue };
            usage.user += stat.user;
            usage.system += stat.system;
            usage.on_cpu += on_cpu(pid);
            usage.processes += 1;
            let memory = Memory::of(&fs::read_to_string(proc(pid, "status")).unwrap_or_default());
            usage.resident += memory.private;
            shared = shared.max(memory.shared);
            usage.peak = usage.peak.max(memory.peak);
        }
        usage.resident += shared;
        usage
    }

    fn descends(&self, pid: u32, from: u32) -> bool {
        let parent = |pid: &u32| self.stats.get(pid).map(|stat| stat.parent);
        std::iter::successors(Some(pid), parent).take(64).any(|ancestor| ancestor == from)
    }
}

fn proc(pid: u32, file: &str) -> String {
    format!("/proc/{pid}/{file}")
}

/// Parses fields 4 and 14 to 17 of `/proc/<pid>/stat`. Field 2, the name, may contain anything.
fn stat(text: &str) -> Option<Stat> {
    let rest: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| rest.get(number - 3)?.parse().ok();
    Some(Stat {
        parent: field(4)? as u32,
        user: field(14)?,
        system: field(15)?,
        ended_user: field(16)?,
        ended_system: field(17)?,
    })
}

/// CPU nanoseconds: the first field of each thread's `schedstat`.
fn on_cpu(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(proc(pid, "task")) else { return 0 };
    let spent = |text: String| text.split(' ').next()?.trim().parse::<u64>().ok();
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(spent)
        .sum()
}

/// KiB, from `/proc/<pid>/status`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    private: u64,
    shared: u64,
    peak: u64,
}

impl Memory {
    fn of(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
            number.unwrap_or_default()
        };
        Self {
            private: field("RssAnon"),
            shared: field("RssFile") + field("RssShmem"),
            peak: field("VmHWM"),
        }
    }
}

/// CPU time of all cores since the machine started.
pub(crate) fn busy_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    busy(&text).context("/proc/stat has no first line as expected")
}

/// Fields: user, nice, system, idle, iowait (both not counted), irq, softirq, steal.
fn busy(text: &str) -> Option<Duration> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks: Vec<u32> = numbers.map_while(|number| number.parse().ok()).collect();
    Some(TICK * ticks.get(..3)?.iter().chain(ticks.get(5..8)?).sum::<u32>())
}

/// One-minute load average.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_is_read_over() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 11 12 13 14 20 0 1 0 5 6 7";
        let expected = Stat { parent: 3, user: 11, system: 12, ended_user: 13, ended_system: 14 };
        assert_eq!(stat(text), Some(expected));
        assert_eq!(stat("7 (a) S"), None);
    }

    #[test]
    fn exact_time_is_taken_unless_a_thread_took_it_away() {
        let before = Usage { processes: 1, ..Usage::default() };
        let after = Usage { user: 30, system: 10, on_cpu: 404_000_000, ..before };
        assert_eq!(after.since(&before).total(), Duration::from_millis(404));
        let blind = Usage { on_cpu: 100_000_000, ..after };
        assert_eq!(blind.since(&before).total(), Duration::from_millis(400));
    }

    #[test]
    fn idle_time_is_no_work() {
        let busy = busy("cpu  1 2 3 1000 50 4 5 6 9 9\ncpu0 …").unwrap();
        assert_eq!(busy, Duration::from_millis(210));
    }

    #[test]
    fn this_process_is_found_with_its_memory_and_its_time() {
        let usage = Processes::read().unwrap().usage_alone(std::process::id()).unwrap();
        assert!(usage.processes == 1 && usage.resident > 500 && usage.peak > 500);
        assert!(usage.on_cpu > 0);
    }

    #[test]
    fn memory_is_private_and_shared() {
        let memory =
            Memory::of("VmHWM:\t  90 kB\nRssAnon:\t 10 kB\nRssFile:\t 5 kB\nRssShmem:\t 2 kB\n");
        assert_eq!(memory, Memory { private: 10, shared: 7, peak: 90 });
    }
}
