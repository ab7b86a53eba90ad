//! Compression in blocks of a fixed size on several threads, with bytes that do not depend on how many.
//!
//! The input is cut at multiples of the codec's block size and nowhere else. Each block is compressed by
//! itself, from its bytes alone and by a compressor made for it; the results are written in the order of the
//! input. At most `2 * threads` blocks are in memory, however large the layer.

use crate::Error;
use anneal_content::{BlobDigest, BlobHasher};
use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, mpsc},
    thread,
};

/// More threads than this gain nothing.
const THREADS_MAX: usize = 64;

/// How blocks become a compressed stream: what each becomes, one after another.
pub(crate) trait Codec: Sync {
    /// Where the input is cut.
    fn block_bytes(&self) -> usize;
    /// One block; only the last is shorter, and it is empty only where the input is.
    fn compress(&self, block: &[u8]) -> io::Result<Vec<u8>>;
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) plain: (BlobDigest, u64),
    pub(crate) packed: (BlobDigest, u64),
}

struct Job {
    block: Vec<u8>,
    reply: mpsc::SyncSender<io::Result<Vec<u8>>>,
}

/// Lets `fill` write the input, and writes the compressed stream to `sink`.
pub(crate) fn compress(
    codec: &dyn Codec,
    threads: usize,
    sink: &mut dyn Write,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<Written, Error> {
    let threads = threads.clamp(1, THREADS_MAX);
    thread::scope(|scope| {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut started = 0;
        for _ in 0..if threads > 1 { threads } else { 0 } {
            let queue = Arc::clone(&queue);
            // A host out of threads compresses with fewer; the bytes are the same.
            started += usize::from(thread::Builder::new().spawn_scoped(scope, move || work(codec, &queue)).is_ok());
        }
        let mut writer = BlockWriter::begin(codec, sink, (started > 0).then_some((jobs, started * 2)));
        fill(&mut writer)?;
        writer.finish().map_err(|source| Error::Sink { source })
    })
}

fn work(codec: &dyn Codec, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let Ok(queue) = queue.lock() else { return };
        let Ok(job) = queue.recv() else { return };
        drop(queue);
        // The receiver is gone only if writing has failed already.
        let _ = job.reply.send(codec.compress(&job.block));
    }
}

struct BlockWriter<'a> {
    codec: &'a dyn Codec,
    sink: &'a mut dyn Write,
    /// The queue and how many blocks may be in it or in work; without one, blocks are compressed here.
    jobs: Option<(mpsc::Sender<Job>, usize)>,
    pending: VecDeque<mpsc::Receiver<io::Result<Vec<u8>>>>,
    buffer: Vec<u8>,
    plain: BlobHasher,
    packed: BlobHasher,
}

impl<'a> BlockWriter<'a> {
    fn begin(codec: &'a dyn Codec, sink: &'a mut dyn Write, jobs: Option<(mpsc::Sender<Job>, usize)>) -> Self {
        let buffer = Vec::with_capacity(codec.block_bytes());
        let (plain, packed) = (BlobHasher::new(), BlobHasher::new());
        Self { codec, sink, jobs, pending: VecDeque::new(), buffer, plain, packed }
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.packed.update(bytes);
        self.sink.write_all(bytes)
    }

    fn submit(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.codec.block_bytes()));
        let Some((jobs, ahead)) = &self.jobs else {
            let packed = self.codec.compress(&block)?;
            return self.emit(&packed);
        };
        let (reply, result) = mpsc::sync_channel(1);
        let ahead = *ahead;
        jobs.send(Job { block, reply }).map_err(|_| gone())?;
        self.pending.push_back(result);
        self.drain(ahead)
    }

    /// Writes finished blocks until no more than `leave` are in work.
    fn drain(&mut self, leave: usize) -> io::Result<()> {
        while self.pending.len() > leave {
            let Some(result) = self.pending.pop_front() else { break };
            let packed = result.recv().map_err(|_| gone())??;
            self.emit(&packed)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Written> {
        self.submit()?;
        self.drain(0)?;
        let plain = std::mem::take(&mut self.plain).finish();
        self.sink.flush()?;
        Ok(Written { plain, packed: self.packed.finish() })
    }
}

fn gone() -> io::Error {
    io::Error::other("a compression thread ended early")
}

impl Write for BlockWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == self.codec.block_bytes() && !bytes.is_empty() {
            self.submit()?;
        }
        let room = self.codec.block_bytes() - self.buffer.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.buffer.extend_from_slice(taken);
        self.plain.update(taken);
        Ok(taken.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
