use std::collections::HashSet;

use super::*;

fn lengths(n: usize) -> Vec<usize> {
    (0..n).map(|row| 10 + row * 37 % 90).collect()
}

fn settings() -> BatchSettings {
    BatchSettings { n_epochs: 2, rows_per_step: 4, ..BatchSettings::default() }
}

fn all(mut batches: Batches) -> Vec<StepRows> {
    std::iter::from_fn(|| batches.next_step()).collect()
}

fn rows(step: &StepRows) -> Vec<usize> {
    step.micro_batches.concat()
}

fn assert_each_row_once(steps: &[StepRows], epoch: u64, n: usize) {
    let mut rows: Vec<usize> =
        steps.iter().filter(|step| step.epoch == epoch).flat_map(rows).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..n).collect::<Vec<_>>());
}

#[test]
fn every_epoch_has_every_row_once_in_another_order() {
    let batches = Batches::new(lengths(22), settings()).unwrap();
    assert_eq!((batches.steps_per_epoch(), batches.n_steps(), batches.n_left_out()), (6, 12, 0));
    let steps = all(batches);
    assert_eq!(
        steps.iter().map(|step| step.batch).collect::<Vec<_>>(),
        (0..12).collect::<Vec<_>>()
    );
    assert_each_row_once(&steps, 0, 22);
    assert_each_row_once(&steps, 1, 22);
    assert_ne!(rows(&steps[0]), rows(&steps[6]));
    assert_eq!(rows(&steps[5]).len(), 2);
    assert_eq!(steps, all(Batches::new(lengths(22), settings()).unwrap()));
    let other = BatchSettings { seed: 43, ..settings() };
    assert_ne!(steps, all(Batches::new(lengths(22), other).unwrap()));
}

#[test]
fn the_last_step_may_be_dropped() {
    let dropping = BatchSettings { drop_last: true, ..settings() };
    let batches = Batches::new(lengths(22), dropping.clone()).unwrap();
    assert_eq!((batches.steps_per_epoch(), batches.n_left_out()), (5, 2));
    assert!(all(batches).iter().all(|step| rows(step).len() == 4));
    assert_eq!(Batches::new(lengths(3), dropping).unwrap_err().code, "batch_settings");
}

#[test]
fn a_sequence_keeps_its_order() {
    let sequential =
        BatchSettings { order: Order::Sequential, micro_batch_tokens: Some(120), ..settings() };
    let steps = all(Batches::new(lengths(22), sequential.clone()).unwrap());
    let given: Vec<usize> = steps.iter().flat_map(rows).collect();
    assert_eq!(given, (0..22).chain(0..22).collect::<Vec<_>>());
    assert!(steps[0].micro_batches.len() > 1);
    let both = BatchSettings { bucket_steps: 5, ..sequential };
    assert_eq!(Batches::new(lengths(22), both).unwrap_err().code, "batch_settings");
}

#[test]
fn buckets_hold_rows_of_similar_length_in_no_fixed_order() {
    let lengths = lengths(400);
    let spread = |settings| {
        let steps = all(Batches::new(lengths.clone(), settings).unwrap());
        let spread = |step: &StepRows| {
            let lengths: Vec<usize> = rows(step).iter().map(|row| lengths[*row]).collect();
            lengths.iter().max().unwrap() - lengths.iter().min().unwrap()
        };
        let longest: Vec<usize> = steps
            .iter()
            .map(|step| rows(step).iter().map(|row| lengths[*row]).max().unwrap())
            .collect();
        assert_each_row_once(&steps, 0, 400);
        (steps.iter().map(spread).sum::<usize>() / steps.len(), longest)
    };
    let (loose, _) = spread(settings());
    let (tight, longest) = spread(BatchSettings { bucket_steps: 25, ..settings() });
    assert!(tight * 5 < loose, "{tight} against {loose}");
    assert!(!longest[..25].is_sorted_by(|left, right| left >= right));
}

#[test]
fn micro_batches_keep_the_budget_and_waste_little() {
    let lengths = vec![100, 60, 40, 50, 50, 250, 30, 70];
    let settings = BatchSettings { rows_per_step: 8, micro_batch_tokens: Some(100), ..settings() };
    let step = Batches::new(lengths.clone(), settings).unwrap().next_step().unwrap();
    let tokens = |part: &Vec<usize>| part.iter().map(|row| lengths[*row]).sum::<usize>();
    let sums: Vec<usize> = step.micro_batches.iter().map(tokens).collect();
    assert_eq!(sums, [250, 100, 100, 100, 100]);
    let mut rows = rows(&step);
    rows.sort_unstable();
    assert_eq!(rows, (0..8).collect::<Vec<_>>());
}

#[test]
fn a_position_goes_on_exactly_there() {
    let bucketed = BatchSettings { bucket_steps: 3, micro_batch_tokens: Some(150), ..settings() };
    let fresh = || Batches::new(lengths(22), bucketed.clone()).unwrap();
    let steps = all(fresh());
    for n_given in 0..=steps.len() {
        let mut first = fresh();
        (0..n_given).for_each(|_| drop(first.next_step()));
        let text = serde_json::to_string(first.position()).unwrap();
        let mut second = fresh();
        second.resume(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(all(second), steps[n_given..]);
    }
    let longer = BatchSettings { n_epochs: 5, micro_batch_tokens: None, ..bucketed.clone() };
    let mut longer = Batches::new(lengths(22), longer).unwrap();
    longer.resume(fresh().position().clone()).unwrap();
    assert_eq!(all(longer).len(), 30);
    let refuse = |n, settings| {
        let mut other = Batches::new(lengths(n), settings).unwrap();
        let error = other.resume(fresh().position().clone()).unwrap_err();
        assert!(error.code == "data_position" && error.message.contains("22 rows"), "{error}");
    };
    refuse(23, bucketed.clone());
    refuse(22, BatchSettings { seed: 1, ..bucketed.clone() });
    refuse(22, BatchSettings { bucket_steps: 2, ..bucketed });
}

#[test]
fn a_skipped_window_is_left_out_also_across_epochs() {
    let mut batches = Batches::new(lengths(22), settings()).unwrap();
    let steps = all(Batches::new(lengths(22), settings()).unwrap());
    batches.next_step();
    batches.skip(0..1);
    batches.skip(4..8);
    let mut resumed = Batches::new(lengths(22), settings()).unwrap();
    resumed.resume(batches.position().clone()).unwrap();
    let rest = all(batches);
    assert_eq!(rest, [&steps[1..4], &steps[8..]].concat());
    assert_eq!(all(resumed), rest);
}

#[test]
fn rows_with_a_key_in_common_never_share_a_step() {
    // Every third row asks about one of seven texts; every row has an own text too.
    let keys = |row: usize| {
        vec![
            1000 + row as u64,
            if row.is_multiple_of(3) { row as u64 % 7 } else { 500 + row as u64 },
        ]
    };
    let keys: Vec<Vec<u64>> = (0..60).map(keys).collect();
    for bucket_steps in [1, 4] {
        let settings = BatchSettings { bucket_steps, ..settings() };
        let make =
            || Batches::with_unique_keys(lengths(60), keys.clone(), settings.clone()).unwrap();
        let steps = all(make());
        assert_eq!(steps.len() as u64, make().n_steps());
        assert_each_row_once(&steps, 0, 60);
        assert_each_row_once(&steps, 1, 60);
        for step in &steps {
            let all: Vec<u64> = rows(step).iter().flat_map(|row| keys[*row].clone()).collect();
            let distinct: HashSet<u64> = all.iter().copied().collect();
            assert_eq!(distinct.len(), all.len());
        }
        assert!(steps.len() <= 2 * 17, "{} steps for 2 × 60 rows of 4", steps.len());
    }
    assert!(Batches::with_unique_keys(lengths(3), keys, settings()).is_err());
}

#[test]
fn what_cannot_be_used_is_refused() {
    let refuse = |n, settings| {
        assert_eq!(Batches::new(lengths(n), settings).unwrap_err().code, "batch_settings");
    };
    refuse(0, settings());
    refuse(5, BatchSettings { rows_per_step: 0, ..settings() });
    refuse(5, BatchSettings { micro_batch_tokens: Some(0), ..settings() });
}
