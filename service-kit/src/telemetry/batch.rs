//! Batches log lines, so that many are written with one system call. A line at warn or above flushes at
//! once; others are flushed within [`FLUSH_INTERVAL`] and when the program ends. A program that is
//! killed loses the lines of the last interval.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Buffered bytes from which a flush does not wait for the interval.
const FLUSH_BYTES: usize = 32 * 1024;

/// The writer of log lines. Dropping the last clone flushes it.
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
    /// Stops the flusher thread when dropped.
    _stop_flusher: Sender<()>,
}

#[derive(Debug)]
struct Lines<W> {
    buffered: Vec<u8>,
    out: W,
}

impl<W: Write + Send + 'static> Batch<W> {
    /// Writes to `out`; starts the thread that flushes at intervals.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let (stop_flusher, end) = channel();
        let lines = Mutex::new(Lines { buffered: Vec::new(), out });
        let shared = Arc::new(Shared { lines, _stop_flusher: stop_flusher });
        let lines = Arc::downgrade(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || flush_periodically(&lines, &end))?;
        Ok(Self(shared))
    }

    /// Writes the buffered lines.
    pub(super) fn flush(&self) {
        self.0.lines.lock().flush();
    }
}

fn flush_periodically<W: Write>(lines: &Weak<Shared<W>>, end: &Receiver<()>) {
    while end.recv_timeout(FLUSH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        if let Some(shared) = lines.upgrade() {
            shared.lines.lock().flush();
        }
    }
}

impl<W: Write> Drop for Shared<W> {
    fn drop(&mut self) {
        self.lines.lock().flush();
    }
}

impl<W: Write> Lines<W> {
    /// Writes the buffered lines. Errors are ignored: there is no log to report them to.
    fn flush(&mut self) {
        if self.buffered.is_empty() {
            return;
        }
        let _ = self.out.write_all(&self.buffered).and_then(|()| self.out.flush());
        self.buffered.clear();
    }
}

/// Writer of one line.
#[derive(Debug)]
pub(super) struct Line<'a, W: Write> {
    shared: &'a Shared<W>,
    is_urgent: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut lines = self.shared.lines.lock();
        lines.buffered.extend_from_slice(text);
        if self.is_urgent || lines.buffered.len() >= FLUSH_BYTES {
            lines.flush();
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
            self.0.lock().push(String::from_utf8(text.to_vec()).unwrap());
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Out {
        fn writes(&self) -> Vec<String> {
            self.0.lock().clone()
        }
    }

    fn logging(out: &Out, work: impl FnOnce(&Batch<Out>)) {
        let batch = Batch::new(out.clone()).unwrap();
        let layer = tracing_subscriber::fmt::layer().with_writer(batch.clone());
        let lines = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(lines, || work(&batch));
    }

    #[test]
    fn a_warning_flushes_the_lines_before_it() {
        let out = Out::default();
        logging(&out, |batch| {
            // Not through the subscriber, or the flusher thread could write in between.
            let buffered =
                |text: &str| batch.0.lines.lock().buffered.extend_from_slice(text.as_bytes());
            buffered("one\n");
            buffered("two\n");
            tracing::warn!("three");
            let last = out.writes().pop().unwrap();
            assert!(last.ends_with('\n') && last.contains("three"), "{last}");
            assert!(batch.0.lines.lock().buffered.is_empty());
        });
        assert!(out.writes().concat().starts_with("one\ntwo\n"));
    }

    #[test]
    fn other_lines_are_flushed_within_the_interval_in_order() {
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
    fn a_full_buffer_and_the_end_of_the_program_flush() {
        let out = Out::default();
        logging(&out, |batch| {
            batch.0.lines.lock().buffered = vec![b'x'; FLUSH_BYTES];
            tracing::info!("much");
            assert!(out.writes().concat().contains("much"));
            tracing::info!("last");
        });
        assert!(out.writes().concat().contains("last"));
    }
}
