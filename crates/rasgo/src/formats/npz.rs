//! Named arrays in one file: NumPy's `.npz`, a ZIP archive of `.npy` files.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;
use rasgo_core::{Error, Result, Tensor};
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder};

use super::element_bytes::Array;
use super::{first_of, looks_like, npy, open_file};

/// Deflate stores 258 bytes in two bits at best; what announces more is no honest file.
const MOST_RATIO: u64 = 1032;

/// An open `.npz` file; arrays are read when they are asked for.
///
/// Stored and deflated arrays are read, each is checked against its checksum, and a size that the file announces is
/// believed only where the compressed bytes can hold it.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<FileReader>,
    arrays: Vec<Entry>,
    /// Where in `arrays` a name is.
    places: HashMap<String, usize>,
}

struct Entry {
    name: String,
    place: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
    /// Bytes when unpacked.
    size: u64,
    packed: u64,
    encrypted: bool,
}

impl Npz {
    /// Opens a file and reads its list of arrays.
    ///
    /// # Errors
    /// [`ErrorKind::Format`](rasgo_core::ErrorKind::Format) if it is no ZIP archive, is truncated, or has two arrays of one name; [`ErrorKind::Io`](rasgo_core::ErrorKind::Io).
    pub fn open(path: impl AsRef<Path>) -> Result<Npz> {
        let path = path.as_ref();
        let (file, length) = open_file(path)?;
        let mut start = Vec::new();
        (&file).take(512).read_to_end(&mut start).map_err(|source| Error::io(path, source))?;
        let wrong = |error: rawzip::Error| {
            let found = match looks_like(&start) {
                "a ZIP archive" => "a ZIP archive that is truncated or damaged",
                kind => kind,
            };
            Error::format(path, format!("is no valid .npz file: {error}"))
                .hint(format!("it seems to be {found}"))
        };
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(wrong)?;
        let (mut arrays, mut places, mut packed) = (Vec::new(), HashMap::new(), 0u64);
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(wrong)? {
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            // As NumPy, which takes other files of an archive for no arrays.
            let Some(name) = name.strip_suffix(".npy") else { continue };
            if places.insert(name.to_string(), arrays.len()).is_some() {
                return Err(Error::format(path, format!("has two arrays of the name {name:?}")));
            }
            packed = packed.saturating_add(entry.compressed_size_hint());
            arrays.push(Entry {
                name: name.to_string(),
                place: entry.wayfinder(),
                method: entry.compression_method(),
                size: entry.uncompressed_size_hint(),
                packed: entry.compressed_size_hint(),
                encrypted: entry.flags().is_encrypted(),
            });
        }
        if packed > length {
            return Err(Error::format(
                path,
                format!("has {length} bytes and tells of arrays that take {packed}"),
            )
            .hint("the file is truncated, or its arrays overlap"));
        }
        Ok(Npz { path: path.to_path_buf(), archive, arrays, places })
    }

    /// The names of the arrays, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.iter().map(|array| array.name.as_str())
    }

    /// The array of that name, if there is one; its dtype becomes what [`npy::load`] says.
    ///
    /// # Errors
    /// [`ErrorKind::Format`](rasgo_core::ErrorKind::Format) if it is damaged, encrypted, packed by something else than deflate, or no array of numbers.
    pub fn array(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.find(name)?.map(|array| array.tensor))
    }

    /// As [`array`](Npz::array), with what the tensor does not tell.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Array>> {
        self.read(name, |file, size, wrong| npy::read(file, size, wrong))
    }

    /// The list of texts of that name, if there is one.
    ///
    /// # Errors
    /// As [`array`](Npz::array), or if its elements are no texts.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        self.read(name, |file, size, wrong| npy::read_texts(file, size, wrong))
    }

    fn read<T>(
        &self,
        name: &str,
        take: impl Fn(&mut dyn Read, u64, &dyn Fn(String) -> Error) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(entry) = self.places.get(name).map(|&at| &self.arrays[at]) else { return Ok(None) };
        let wrong =
            |message: String| Error::format(&self.path, format!("{name} is no valid array: {message}"));
        if entry.encrypted {
            return Err(wrong("it is encrypted".to_string()));
        }
        let possible = match entry.method {
            CompressionMethod::STORE => entry.packed,
            CompressionMethod::DEFLATE => entry.packed.saturating_mul(MOST_RATIO),
            other => {
                let text = format!("it is packed by the method {other}, and deflate is what is read");
                return Err(wrong(text).hint("save it with np.savez or np.savez_compressed"));
            }
        };
        if entry.size > possible {
            return Err(wrong(format!(
                "it announces {} bytes, and its {} bytes in the file hold no more than {possible}",
                entry.size, entry.packed
            )));
        }
        let found = self.archive.get_entry(entry.place).map_err(|error| wrong(error.to_string()))?;
        let packed = BufReader::with_capacity(1 << 16, found.reader());
        let mut file: Box<dyn Read> = match entry.method {
            CompressionMethod::STORE => Box::new(found.verifying_reader(packed)),
            _ => Box::new(found.verifying_reader(DeflateDecoder::new(packed))),
        };
        let value = take(&mut file, entry.size, &wrong).map_err(|error| error.file(&self.path))?;
        // The checksum is compared when the end is met.
        match file.read(&mut [0]) {
            Ok(0) => Ok(Some(value)),
            Ok(_) => Err(wrong("it is longer than the archive says".to_string())),
            Err(error) => Err(wrong(format!("it is damaged: {error}"))),
        }
    }
}

impl fmt::Debug for Npz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Npz({}: {})", self.path.display(), first_of(8, self.names()))
    }
}
