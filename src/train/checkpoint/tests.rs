//! Checkpoints under kills, damage and pruning.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::model::tensor_file::{FileMetadata, NamedTensor, on_cpu};

/// Set for the child process that writes checkpoints until it is killed.
const VICTIM_DIR: &str = "QUERENT_TEST_CHECKPOINT_VICTIM";

fn tensors(value: f32) -> Vec<NamedTensor> {
    let weight = on_cpu(vec![value; 6], &[2, 3]).unwrap();
    vec![("weight".to_owned(), weight)]
}

fn write(folder: &CheckpointFolder, step: u64, loss: f64) {
    let mut writer = folder.writer(step).unwrap();
    writer.write_tensors("model.safetensors", &tensors(step as f32), &FileMetadata::new()).unwrap();
    writer.write_state(&TrainingState { step, ..TrainingState::default() }).unwrap();
    writer.metric("eval_loss", loss);
    writer.commit().unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn steps(folder: &CheckpointFolder) -> Vec<u64> {
    folder.all().unwrap().0.iter().map(Checkpoint::step).collect()
}

#[test]
fn a_checkpoint_comes_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(&dir.path().join("run")).unwrap();
    assert!(folder.latest().unwrap().checkpoint.is_none());
    write(&folder, 7, 0.5);
    write(&folder, 12, 0.4);
    let latest = folder.latest().unwrap();
    let checkpoint = latest.checkpoint.unwrap();
    assert!(latest.skipped.is_empty());
    assert_eq!((checkpoint.step(), checkpoint.state().unwrap().step), (12, 12));
    assert_eq!(checkpoint.metric("eval_loss"), Some(0.4));
    let read = checkpoint.tensors("model.safetensors").unwrap();
    assert_eq!(read["weight"].to_vec2::<f32>().unwrap(), [[12.0; 3]; 2]);
    let beside = checkpoint.tensors_beside("model.safetensors", &read["weight"]).unwrap();
    assert_eq!(beside["weight"].dims(), [2, 3]);
    let error = checkpoint.bytes("optimiser.safetensors").unwrap_err();
    assert_eq!(error.code, "checkpoint_damaged");
}

#[test]
fn a_kill_between_two_files_leaves_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(dir.path()).unwrap();
    write(&folder, 1, 0.5);
    for n_files in 0..3 {
        let mut writer = folder.writer(2).unwrap();
        for file in 0..n_files {
            writer.write_bytes(&format!("{file}.bin"), b"abc").unwrap();
        }
        // A killed process runs no destructor.
        std::mem::forget(writer);
        let left = names(dir.path());
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left[1].starts_with("tmp-checkpoint-2-"), "{left:?}");
        let folder = CheckpointFolder::open(dir.path()).unwrap();
        assert_eq!(folder.latest().unwrap().checkpoint.unwrap().step(), 1);
        assert_eq!(names(dir.path()), ["checkpoint-1"]);
    }
}

#[test]
fn an_error_half_way_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(dir.path()).unwrap();
    let mut writer = folder.writer(2).unwrap();
    writer.write_bytes("state", b"abc").unwrap();
    let bad = writer.write_tensors("m.safetensors", &tensors(f32::NAN), &FileMetadata::new());
    assert_eq!(bad.unwrap_err().code, "train_non_finite");
    drop(writer);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_damaged_checkpoint_is_refused_with_a_reason_and_the_older_one_is_used() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("bytes instead of", |dir| {
            let file = fs_err::OpenOptions::new().write(true).open(dir.join("state.json")).unwrap();
            file.set_len(5).unwrap();
        }),
        ("have changed", |dir| {
            let path = dir.join("model.safetensors");
            let mut bytes = fs_err::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs_err::write(path, bytes).unwrap();
        }),
        ("is missing", |dir| fs_err::remove_file(dir.join("model.safetensors")).unwrap()),
        ("manifest cannot be read", |dir| fs_err::remove_file(dir.join("manifest.json")).unwrap()),
        ("manifest cannot be read", |dir| fs_err::write(dir.join("manifest.json"), "{").unwrap()),
        ("is of step 5", |dir| {
            let path = dir.join("manifest.json");
            let text = fs_err::read_to_string(&path).unwrap();
            fs_err::write(path, text.replace("\"step\": 2", "\"step\": 5")).unwrap();
        }),
    ];
    for (reason, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(dir.path()).unwrap();
        write(&folder, 1, 0.5);
        write(&folder, 2, 0.5);
        damage(&dir.path().join("checkpoint-2"));
        let latest = folder.latest().unwrap();
        assert_eq!(latest.checkpoint.unwrap().step(), 1, "{reason}");
        let [skipped] = latest.skipped.as_slice() else { panic!("{reason}") };
        assert_eq!((skipped.step, skipped.reason.code), (2, "checkpoint_damaged"));
        assert!(skipped.reason.to_string().contains(reason), "{}", skipped.reason);
    }
}

#[test]
fn pruning_keeps_the_newest_and_the_best() {
    let lower = BestBy { metric: "eval_loss".into(), greater_is_better: false };
    let higher = BestBy { greater_is_better: true, ..lower.clone() };
    let unknown = BestBy { metric: "accuracy".into(), ..lower.clone() };
    for (keep, expected) in [
        (Keep { last: 2, best: None }, vec![4, 5]),
        (Keep { last: 0, best: None }, vec![5]),
        (Keep { last: 1, best: Some(lower.clone()) }, vec![2, 5]),
        (Keep { last: 2, best: Some(higher.clone()) }, vec![3, 4, 5]),
        (Keep { last: 1, best: Some(unknown) }, vec![5]),
        (Keep { last: 9, best: Some(higher) }, vec![1, 2, 3, 4, 5]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(dir.path()).unwrap();
        for (step, loss) in [(1, 0.9), (2, 0.1), (3, 2.0), (4, 0.3), (5, f64::NAN)] {
            write(&folder, step, loss);
        }
        assert_eq!(folder.best(&lower).unwrap().unwrap().step(), 2);
        let removed = folder.prune(&keep).unwrap();
        assert_eq!(steps(&folder), expected, "{keep:?}");
        assert_eq!(removed.len() + expected.len(), 5);
    }
}

#[test]
fn a_damaged_newest_does_not_count_as_one_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(dir.path()).unwrap();
    for step in 1..=3 {
        write(&folder, step, 0.5);
    }
    fs_err::remove_file(dir.path().join("checkpoint-3/state.json")).unwrap();
    assert_eq!(folder.prune(&Keep { last: 1, best: None }).unwrap(), [1]);
    assert_eq!(names(dir.path()), ["checkpoint-2", "checkpoint-3"]);
}

#[test]
fn a_step_written_again_replaces_the_old_one_and_an_interrupted_exchange_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(dir.path()).unwrap();
    write(&folder, 2, 0.5);
    write(&folder, 2, 0.25);
    assert_eq!(folder.latest().unwrap().checkpoint.unwrap().metric("eval_loss"), Some(0.25));
    assert_eq!(names(dir.path()), ["checkpoint-2"]);
    let (target, aside) =
        (dir.path().join("checkpoint-2"), dir.path().join("replaced-checkpoint-2"));
    fs_err::rename(&target, &aside).unwrap();
    CheckpointFolder::open(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["checkpoint-2"]);
    fs_err::create_dir_all(&aside).unwrap();
    CheckpointFolder::open(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["checkpoint-2"]);
    assert_eq!(folder.latest().unwrap().checkpoint.unwrap().metric("eval_loss"), Some(0.25));
}

#[test]
fn other_folders_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["checkpoint-007", "checkpoint-", "checkpoint-x", "replaced-mine", "runs"] {
        fs_err::create_dir_all(dir.path().join(name)).unwrap();
    }
    let folder = CheckpointFolder::open(dir.path()).unwrap();
    let (whole, skipped) = folder.all().unwrap();
    assert!(whole.is_empty() && skipped.is_empty());
    assert_eq!(names(dir.path()).len(), 5);
}

/// Run only as the child of the next test: writes and prunes until it is killed.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM_DIR) else { return };
    let folder = CheckpointFolder::open(Path::new(&dir)).unwrap();
    let first = folder.latest().unwrap().checkpoint.map_or(0, |found| found.step());
    for step in first.. {
        // The step it starts from is written again, as after a roll-back.
        write(&folder, step.max(1), 1.0 / step as f64);
        folder.prune(&Keep { last: 2, best: None }).unwrap();
    }
}

#[test]
fn twenty_kills_never_leave_a_damaged_or_older_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for round in 0..20 {
        let before = names(dir.path());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([concat!(module_path!(), "::victim").split_once("::").unwrap().1, "--exact"])
            .env(VICTIM_DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Not before it has begun to write, and then at another moment each time.
        let start = Instant::now();
        while names(dir.path()) == before && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_micros(2_700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let folder = CheckpointFolder::open(dir.path()).unwrap();
        let latest = folder.latest().unwrap();
        assert!(latest.skipped.is_empty(), "{:?}", latest.skipped);
        let step = latest.checkpoint.map_or(0, |found| found.step());
        assert!(step >= newest, "step {step} after {newest}");
        newest = step;
        assert!(names(dir.path()).iter().all(|name| name.starts_with("checkpoint-")));
    }
    assert!(newest >= 10, "step {newest} after 20 rounds: the child does not get on");
}
