//! Log lines leave together, with one system call for many: a line at warn or above at once with all
//! before it, others after [`LATEST`] at most and when the program ends. Only a program that is
//! killed takes what it said in its last moment with it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

const LATEST: Duration = Duration::from_millis(50);
/// Bytes that do not wait for more.
const FULL: usize = 32 * 1024;

/// Lines on their way out. The last clone sends what is left.
#[derive(Debug)]
pub(super) struct Batch<W: Write>(Arc<Shared<W>>);

impl<W: Write> Clone for Batch<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<W: Write> {
    lines: Mutex<Lines<W>>,
    /// Ends the reminder when it is dropped.
    _reminded: Sender<()>,
}

#[derive(Debug)]
struct Lines<W> {
    held: Vec<u8>,
    out: W,
}

impl<W: Write + Send + 'static> Batch<W> {
    /// The lines go to `out`, which a thread of its own reminds of them.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let (reminded, end) = channel();
        let lines = Mutex::new(Lines { held: Vec::new(), out });
        let shared = Arc::new(Shared { lines, _reminded: reminded });
        let lines = Arc::downgrade(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || remind(&lines, &end))?;
        Ok(Self(shared))
    }

    /// Sends what is held back.
    pub(super) fn send(&self) {
        self.0.lines().send();
    }
}

fn remind<W: Write>(lines: &Weak<Shared<W>>, end: &Receiver<()>) {
    while end.recv_timeout(LATEST) == Err(RecvTimeoutError::Timeout) {
        if let Some(shared) = lines.upgrade() {
            shared.lines().send();
        }
    }
}

impl<W: Write> Shared<W> {
    fn lines(&self) -> MutexGuard<'_, Lines<W>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> Drop for Shared<W> {
    fn drop(&mut self) {
        self.lines().send();
    }
}

impl<W: Write> Lines<W> {
    /// There is nobody to tell when the log itself cannot be written.
    fn send(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let _ = self.out.write_all(&self.held).and_then(|()| self.out.flush());
        self.held.clear();
    }
}

/// One line.
#[derive(Debug)]
pub(super) struct Line<'a, W: Write> {
    shared: &'a Shared<W>,
    is_urgent: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut lines = self.shared.lines();
        lines.held.extend_from_slice(text);
        if self.is_urgent || lines.held.len() >= FULL {
            lines.send();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, W: Write + 'static> MakeWriter<'a> for Batch<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Line<'a, W> {
        Line { shared: &self.0, is_urgent: true }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a, W> {
        Line { shared: &self.0, is_urgent: *of.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Each write as it came.
    #[derive(Debug, Clone, Default)]
    struct Out(Arc<Mutex<Vec<String>>>);

    impl Write for Out {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(text.to_vec()).unwrap());
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Out {
        fn writes(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    fn logging(out: &Out, work: impl FnOnce(&Batch<Out>)) {
        let batch = Batch::new(out.clone()).unwrap();
        let layer = tracing_subscriber::fmt::layer().with_writer(batch.clone());
        let lines = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(lines, || work(&batch));
    }

    #[test]
    fn a_warning_leaves_at_once_with_all_that_was_said_before_it() {
        let out = Out::default();
        logging(&out, |batch| {
            // Or the reminder comes in between.
            let held = |text: &str| batch.0.lines().held.extend_from_slice(text.as_bytes());
            held("one\n");
            held("two\n");
            tracing::warn!("three");
            let last = out.writes().pop().unwrap();
            assert!(last.ends_with('\n') && last.contains("three"), "{last}");
            assert!(batch.0.lines().held.is_empty());
        });
        assert!(out.writes().concat().starts_with("one\ntwo\n"));
    }

    #[test]
    fn the_others_leave_a_moment_later_and_in_their_order() {
        let out = Out::default();
        logging(&out, |_| {
            for number in 0..100 {
                tracing::info!("{number}");
            }
            while out.writes().concat().lines().count() < 100 {
                thread::yield_now();
            }
            let all = out.writes();
            assert!((1..50).contains(&all.len()), "{} writes", all.len());
            let numbers =
                all.concat().lines().enumerate().all(|(at, it)| it.ends_with(&at.to_string()));
            assert!(numbers, "{all:?}");
        });
    }

    #[test]
    fn what_is_left_leaves_when_the_program_ends_and_much_does_not_wait() {
        let out = Out::default();
        logging(&out, |batch| {
            batch.0.lines().held = vec![b'x'; FULL];
            tracing::info!("much");
            assert!(out.writes().concat().contains("much"));
            tracing::info!("last");
        });
        assert!(out.writes().concat().contains("last"));
    }
}
