//! The file that a [`Disk`] is writing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rasgo_core::Result;

use super::disk::{self, Disk};

/// How many bytes are gathered before they are handed to the system.
const BUFFER: usize = 1 << 16;

/// Takes the contents of a file that [`Disk::write_whole`] is writing; also an [`io::Write`].
#[derive(Debug)]
pub struct FileWriter {
    disk: Disk,
    file: File,
    path: PathBuf,
    pending: Vec<u8>,
}

impl FileWriter {
    pub(super) fn new(disk: Disk, file: File, path: &Path) -> Self {
        FileWriter { disk, file, path: path.to_path_buf(), pending: Vec::with_capacity(BUFFER) }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](rasgo_core::ErrorKind::Io) with the file's name.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        io::Write::write_all(self, bytes).map_err(|source| disk::error(&self.path, source))
    }

    /// Hands over what is pending and gives the file back.
    pub(super) fn finish(mut self) -> Result<File> {
        io::Write::flush(&mut self).map_err(|source| disk::error(&self.path, source))?;
        Ok(self.file)
    }
}

impl io::Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            self.disk.write_all(&mut self.file, bytes)?;
        } else {
            self.pending.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.disk.write_all(&mut self.file, &self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}
