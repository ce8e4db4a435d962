//! Files are written whole or not at all, whatever fails.

use std::fs;
use std::path::Path;

use rasgo::formats::Disk;
use rasgo::{Error, ErrorKind};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// More than the writer gathers, so that there are several writes.
fn contents(seed: u8) -> Vec<u8> {
    (0..200_000u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8 ^ seed).collect()
}

fn write(disk: &Disk, path: &Path, bytes: &[u8]) -> rasgo::Result<()> {
    disk.write_whole(path, |file| bytes.chunks(30_011).try_for_each(|part| file.put(part)))
}

#[test]
fn a_failure_of_any_operation_leaves_the_old_file_and_no_other() {
    let (old, new) = (contents(1), contents(2));
    let counter = Disk::default();
    let folder = tempfile::tempdir().unwrap();
    write(&counter, &folder.path().join("a"), &new).unwrap();
    let operations = counter.operations();
    assert!(operations >= 7, "create, writes, sync, rename, sync of the folder: {operations}");
    for n in 1..=operations {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write(&Disk::default(), &path, &old).unwrap();
        let error = write(&Disk::failing_at(n), &path, &new).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.path(), Some(&*path));
        assert!(error.to_string().contains("no space left"), "{error}");
        assert!(error.hint_text().unwrap().contains("free some space"), "{error}");
        assert_eq!(names(folder.path()), ["weights"], "operation {n}");
        // Only the last operation, after the rename, may leave the new file.
        let expected = if n == operations { &new } else { &old };
        assert!(fs::read(&path).unwrap() == *expected, "operation {n}");
    }
}

#[test]
fn after_a_crash_at_any_operation_the_file_is_whole_and_leftovers_can_be_removed() {
    let (old, new) = (contents(1), contents(2));
    for n in 1..12 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write(&Disk::default(), &path, &old).unwrap();
        let crashed = write(&Disk::crashing_at(n), &path, &new).is_err();
        let found = fs::read(&path).unwrap();
        assert!(found == old || found == new, "operation {n}");
        assert!(crashed || found == new, "operation {n}");
        Disk::default().remove_unfinished(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["weights"]);
        write(&Disk::default(), &path, &new).unwrap();
        assert!(fs::read(&path).unwrap() == new);
    }
}

#[test]
fn an_error_of_the_writing_closure_is_passed_on_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, "old").unwrap();
    let result = Disk::default().write_whole(&path, |file| {
        file.put(b"new")?;
        Err(Error::argument("stop"))
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn a_missing_folder_and_a_folder_in_the_way_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("a");
    let error = write(&Disk::default(), &path, b"x").unwrap_err();
    assert!(error.to_string().contains("missing does not exist"), "{error}");
    assert!(write(&Disk::default(), folder.path(), b"x").is_err());
    assert!(write(&Disk::default(), Path::new("/"), b"x").is_err());
    fs::write(folder.path().join("file"), "").unwrap();
    let error = Disk::default().create_folder(folder.path().join("file")).unwrap_err();
    assert!(error.to_string().contains("is a file"), "{error}");
}

#[test]
fn lines_are_appended_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let disk = Disk::default();
    disk.append_line(&path, "{\"epoch\":1}").unwrap();
    let per_line = disk.operations();
    for n in 1..=per_line {
        assert!(Disk::failing_at(n).append_line(&path, "{\"epoch\":2, \"train_loss\": 0.5}").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"epoch\":1}\n", "operation {n}");
    }
    disk.append_line(&path, "{\"epoch\":2}").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"epoch\":1}\n{\"epoch\":2}\n");
    assert_eq!(disk.append_line(&path, "two\nlines").unwrap_err().kind(), ErrorKind::Argument);
    disk.sync(&path).unwrap();
}

#[test]
fn a_file_is_cut_back_and_a_shorter_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, "one\ntwo\nthr").unwrap();
    let disk = Disk::default();
    disk.truncate(&path, 8).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    let error = disk.truncate(&path, 9).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(error.to_string().contains("has 8 bytes"), "{error}");
    assert!(Disk::failing_at(1).truncate(&path, 4).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
}

#[test]
fn folders_are_made_with_their_parents_and_files_removed_twice() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let inner = folder.path().join("runs/a/checkpoint");
    disk.create_folder(&inner).unwrap();
    disk.create_folder(&inner).unwrap();
    write(&disk, &inner.join("x"), b"x").unwrap();
    disk.remove_file(inner.join("x")).unwrap();
    disk.remove_file(inner.join("x")).unwrap();
    assert!(names(&inner).is_empty());
    assert!(Disk::failing_at(1).create_folder(folder.path().join("b")).is_err());
    assert!(!folder.path().join("b").exists());
}
