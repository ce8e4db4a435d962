//! The one place that all writes pass.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rasgo_core::{Error, ErrorKind, Result};

use super::disk_file::FileWriter;

/// A handle through which files are written.
///
/// [`Disk::default`] is the real disk. [`Disk::failing_at`] and [`Disk::crashing_at`] make the n-th operation fail
/// as a full disk would, so that a test can show for every n that nothing is lost. Operations are: create a file or
/// folder, write, sync, rename, cut a file, remove.
///
/// ```
/// use rasgo::formats::Disk;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("config.toml");
/// let disk = Disk::default();
/// disk.write_whole(&path, |file| file.put(b"epochs = 5\n"))?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"epochs = 5\n");
///
/// // The third operation fails; the old contents stay.
/// assert!(Disk::failing_at(3).write_whole(&path, |file| file.put(b"epochs = 6\n")).is_err());
/// assert_eq!(std::fs::read(&path).unwrap(), b"epochs = 5\n");
/// # Ok::<(), rasgo_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Disk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    operations: AtomicU64,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, Default)]
enum Fault {
    #[default]
    Never,
    Once(u64),
    From(u64),
}

/// Marks the names of files that are not yet whole.
const UNFINISHED: &str = ".rasgo-unfinished";

impl Disk {
    /// A disk whose `n`-th operation (the first is 1) fails; those after it succeed.
    pub fn failing_at(n: u64) -> Disk {
        Disk::with_fault(Fault::Once(n))
    }

    /// A disk whose `n`-th operation and all after it fail, cleaning up included: as if the process had been killed.
    pub fn crashing_at(n: u64) -> Disk {
        Disk::with_fault(Fault::From(n))
    }

    fn with_fault(fault: Fault) -> Disk {
        Disk { shared: Arc::new(Shared { operations: AtomicU64::new(0), fault }) }
    }

    /// The number of operations that were tried so far, on all clones of this handle.
    pub fn operations(&self) -> u64 {
        self.shared.operations.load(Ordering::Relaxed)
    }

    /// Counts an operation; an error if it is the one that shall fail.
    pub(super) fn step(&self) -> io::Result<()> {
        let number = self.shared.operations.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = match self.shared.fault {
            Fault::Never => false,
            Fault::Once(n) => number == n,
            Fault::From(n) => number >= n,
        };
        if fails { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    /// Replaces the file by what `write` puts into it, or leaves it as it was.
    ///
    /// The bytes go to a temporary name in the same folder, are forced to the disk and then renamed, so at every
    /// moment the path has the whole old or the whole new contents. If anything fails, `write` included, the
    /// temporary file is removed.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the file's name; whatever `write` returns.
    pub fn write_whole(
        &self,
        path: impl AsRef<Path>,
        write: impl FnOnce(&mut FileWriter) -> Result<()>,
    ) -> Result<()> {
        let path = path.as_ref();
        let temporary = temporary_name(path)?;
        let file = self
            .step()
            .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&temporary))
            .map_err(|source| error(path, source))?;
        let result = self.fill(file, path, write).and_then(|()| {
            self.step().and_then(|()| fs::rename(&temporary, path)).map_err(|source| error(path, source))
        });
        if let Err(cause) = result {
            // The first error is the one that counts; after a crash nothing more can be done.
            let _ = self.step().and_then(|()| fs::remove_file(&temporary));
            return Err(cause);
        }
        self.sync_folder(folder_of(path)).map_err(|source| error(path, source))
    }

    fn fill(&self, file: File, path: &Path, write: impl FnOnce(&mut FileWriter) -> Result<()>) -> Result<()> {
        let mut writer = FileWriter::new(self.clone(), file, path);
        write(&mut writer)?;
        let file = writer.finish()?;
        self.step().and_then(|()| file.sync_all()).map_err(|source| error(path, source))
    }

    /// Adds one line to the end of a file, which is made if it is not there. The line is handed to the system in one
    /// piece; if that fails midway, what was written of it is cut off again.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] if the line has a line break in it; [`ErrorKind::Io`].
    pub fn append_line(&self, path: impl AsRef<Path>, line: &str) -> Result<()> {
        let path = path.as_ref();
        if line.contains(['\n', '\r']) {
            return Err(Error::argument("a line to append has a line break in it").file(path));
        }
        self.step()
            .and_then(|()| OpenOptions::new().append(true).create(true).open(path))
            .and_then(|mut file| {
                let length = file.metadata()?.len();
                let result = self.write_all(&mut file, format!("{line}\n").as_bytes());
                if result.is_err() {
                    let _ = self.step().and_then(|()| file.set_len(length));
                }
                result
            })
            .map_err(|source| error(path, source))
    }

    /// One counted write. Where it shall fail, half of the bytes are written first, as a full disk does.
    pub(super) fn write_all(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        match self.step() {
            Ok(()) => io::Write::write_all(file, bytes),
            Err(fault) => {
                let _ = io::Write::write_all(file, &bytes[..bytes.len() / 2]);
                Err(fault)
            }
        }
    }

    /// Cuts a file to its first `length` bytes and forces that to the disk.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] if the file is shorter than that; [`ErrorKind::Io`].
    pub fn truncate(&self, path: impl AsRef<Path>, length: u64) -> Result<()> {
        let path = path.as_ref();
        let file = OpenOptions::new().write(true).open(path).map_err(|source| error(path, source))?;
        let found = file.metadata().map_err(|source| error(path, source))?.len();
        if found < length {
            return Err(Error::format(path, format!("has {found} bytes and should have at least {length}"))
                .hint("it was cut or replaced after it was written"));
        }
        self.step()
            .and_then(|()| file.set_len(length))
            .and_then(|()| self.step())
            .and_then(|()| file.sync_all())
            .map_err(|source| error(path, source))
    }

    /// Forces what was appended to a file to the disk.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn sync(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.step()
            .and_then(|()| OpenOptions::new().append(true).open(path))
            .and_then(|file| file.sync_all())
            .map_err(|source| error(path, source))
    }

    /// Makes a folder and those above it that are missing.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], also if a file of that name is in the way.
    pub fn create_folder(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.is_file() {
            return Err(Error::new(ErrorKind::Io, "a folder is needed here, but this is a file").file(path));
        }
        self.step()
            .and_then(|()| fs::create_dir_all(path))
            .and_then(|()| self.sync_folder(folder_of(path)))
            .map_err(|source| error(path, source))
    }

    /// Removes a file. One that is not there is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match self.step().and_then(|()| fs::remove_file(path)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(error(path, source)),
            _ => Ok(()),
        }
    }

    /// Removes the unfinished files that a killed process left in a folder. Nobody else may be writing there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn remove_unfinished(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        for entry in fs::read_dir(folder).map_err(|source| error(folder, source))? {
            let entry = entry.map_err(|source| error(folder, source))?;
            if entry.file_name().to_string_lossy().contains(UNFINISHED) {
                self.remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the names in a folder as lasting as the files.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        if cfg!(unix) {
            match File::open(folder)?.sync_all() {
                // Some file systems cannot do it and need not.
                Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
                other => return other,
            }
        }
        Ok(())
    }
}

/// The folder that holds a path, `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name beside `path` that no other call, thread or process uses.
fn temporary_name(path: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::Io, "this is no name of a file").file(path));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!("{UNFINISHED}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

/// The error of a failed write, with what to do about it where that is known.
pub(super) fn error(path: &Path, source: io::Error) -> Error {
    let folder = folder_of(path);
    let hint = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some(format!("free some space where {} is, or write elsewhere", folder.display()))
        }
        io::ErrorKind::NotFound if !folder.is_dir() => {
            Some(format!("the folder {} does not exist", folder.display()))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(format!("you may not write in {}", folder.display()))
        }
        io::ErrorKind::IsADirectory => Some("this is a folder".to_string()),
        _ => None,
    };
    let error = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorKind::Io, "no space left on the disk").file(path).source(source)
        }
        _ => Error::io(path, source),
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
