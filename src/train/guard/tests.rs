mod toy_run;

use super::*;

const FACTS: RunFacts =
    RunFacts { method: Method::Supervised, precision: Precision::F32, lora: false };

fn start() -> Point {
    Point { step: 0, batch: 0 }
}

fn row(line: u64) -> Row {
    Row { file: "rows.jsonl".into(), line, fault: None }
}

/// Drives a guard as a trainer does: steps and batches are counted here.
struct Script {
    guard: Guard,
    step: u64,
    batch: u64,
    rows: Vec<Row>,
}

impl Script {
    fn new(settings: GuardSettings, facts: RunFacts) -> Self {
        let guard = Guard::new(settings, facts, start());
        Self { guard, step: 0, batch: 0, rows: vec![row(1)] }
    }

    fn see(&mut self, loss: f64, norm: f64) -> Verdict {
        let observation = Observation {
            step: self.step,
            batch: self.batch,
            loss,
            gradient_norm: norm,
            loss_finite: loss.is_finite(),
            gradients_finite: norm.is_finite(),
            bad_gradient: (!norm.is_finite()).then_some("layers.0.weight"),
            learning_rate: 1e-3,
            rows: &self.rows,
        };
        let verdict = self.guard.observe(&observation);
        self.batch += 1;
        match &verdict {
            Verdict::Step => self.step += 1,
            Verdict::RollBack { to, .. } => self.step = to.step,
            _ => {}
        }
        verdict
    }

    /// Steps as a healthy run has them: about 2 and about 1, with a little noise.
    fn healthy(&mut self, n_steps: usize) {
        for index in 0..n_steps {
            let wave = (index as f64 * 0.7).sin();
            let verdict = self.see(2.0 + 0.1 * wave, 1.0 - 0.05 * wave);
            assert_eq!(verdict, Verdict::Step, "healthy step {index}");
        }
    }
}

fn script() -> Script {
    Script::new(GuardSettings::default(), FACTS)
}

#[test]
fn a_spike_is_skipped_only_once_the_window_is_half_full() {
    let mut early = script();
    early.healthy(63);
    assert_eq!(early.see(50.0, 1.0), Verdict::Step);
    let mut late = script();
    late.healthy(64);
    assert!(matches!(
        late.see(50.0, 1.0),
        Verdict::Skip { reason: Reason::LossSpike { deviations } } if deviations > 6.0
    ));
    assert!(matches!(late.see(2.0, 30.0), Verdict::Skip { reason: Reason::GradientSpike { .. } }));
    // Far below the mean is no spike.
    assert_eq!(late.see(0.1, 0.01), Verdict::Step);
    assert_eq!(late.guard.counts().n_spikes, 2);
}

#[test]
fn a_method_by_reward_is_judged_by_its_gradients_and_not_by_its_loss() {
    let facts = RunFacts { method: Method::Reinforcement, ..FACTS };
    let mut script = Script::new(GuardSettings::default(), facts);
    script.healthy(64);
    assert_eq!(script.see(50.0, 1.0), Verdict::Step);
    assert!(matches!(script.see(2.0, 30.0), Verdict::Skip { .. }));
    assert!(matches!(script.see(f64::NAN, 1.0), Verdict::Skip { .. }));
}

#[test]
fn the_threshold_is_six_deviations() {
    let mut script = script();
    for index in 0..100 {
        let loss = if index % 2 == 0 { 1.0 } else { 3.0 };
        assert_eq!(script.see(loss, 1.0), Verdict::Step);
    }
    // Mean 2, deviation 1.005.
    assert_eq!(script.see(8.0, 1.0), Verdict::Step);
    assert!(matches!(script.see(9.2, 1.0), Verdict::Skip { .. }));
}

#[test]
fn what_is_not_finite_never_enters_the_window() {
    let mut with = script();
    let mut without = script();
    with.healthy(70);
    without.healthy(70);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(with.see(bad, 1.0), Verdict::Skip { reason: Reason::LossNotFinite }));
        assert_eq!(with.see(2.0, 1.0), Verdict::Step);
        assert_eq!(without.see(2.0, 1.0), Verdict::Step);
    }
    assert!(matches!(with.see(2.0, f64::NAN), Verdict::Skip { reason: Reason::GradientNotFinite }));
    assert_eq!(
        (&with.guard.losses, &with.guard.norms),
        (&without.guard.losses, &without.guard.norms)
    );
    with.healthy(129);
}

#[test]
fn a_spike_does_not_enter_the_window_and_may_be_taken() {
    let settings = GuardSettings { on_spike: OnSpike::Step, ..GuardSettings::default() };
    let mut script = Script::new(settings, FACTS);
    script.healthy(70);
    let window = script.guard.losses.clone();
    for _ in 0..20 {
        assert_eq!(script.see(50.0, 1.0), Verdict::Step);
    }
    assert_eq!(script.guard.losses, window);
    assert_eq!(script.guard.counts().n_spikes, 20);
    assert!(matches!(script.guard.last_bad().unwrap().reason, Reason::LossSpike { .. }));
}

#[test]
fn a_flag_counts_also_when_the_value_looks_finite() {
    let mut script = script();
    let rows = [row(1)];
    let good = Observation {
        step: 0,
        batch: 0,
        loss: 2.0,
        gradient_norm: 1.0,
        loss_finite: true,
        gradients_finite: true,
        bad_gradient: None,
        learning_rate: 1e-3,
        rows: &rows,
    };
    let bad_loss = Observation { loss_finite: false, ..good };
    let bad_gradients = Observation { gradients_finite: false, ..good };
    assert!(matches!(
        script.guard.observe(&bad_loss),
        Verdict::Skip { reason: Reason::LossNotFinite }
    ));
    assert!(matches!(
        script.guard.observe(&bad_gradients),
        Verdict::Skip { reason: Reason::GradientNotFinite }
    ));
}

#[test]
fn three_bad_steps_in_a_row_roll_back_and_skip_the_window_of_data() {
    let mut script = script();
    script.healthy(80);
    assert!(script.guard.may_snapshot());
    script.guard.snapshot_taken(Point { step: 80, batch: 80 });
    script.healthy(10);
    assert!(matches!(script.see(f64::NAN, f64::NAN), Verdict::Skip { .. }));
    assert!(!script.guard.may_checkpoint() && !script.guard.may_snapshot());
    assert!(matches!(script.see(50.0, 1.0), Verdict::Skip { .. }));
    let verdict = script.see(2.0, f64::INFINITY);
    let Verdict::RollBack { reason, to, skip, number } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason, Reason::GradientNotFinite);
    assert_eq!((to, skip, number), (Point { step: 80, batch: 80 }, 80..93, 1));
    assert_eq!(script.guard.slowdown().factor(), 0.5);
    assert_eq!(*script.guard.slowdown(), Slowdown::default().lowered(0.5, 0.0625, 80, 20));
    // The bad steps before it do not count again, and a good step makes a checkpoint possible.
    assert!(matches!(script.see(f64::NAN, 1.0), Verdict::Skip { .. }));
    assert!(matches!(script.see(f64::NAN, 1.0), Verdict::Skip { .. }));
    script.healthy(2);
    assert!(script.guard.may_checkpoint() && !script.guard.may_snapshot());
    script.healthy(1);
    assert!(script.guard.may_snapshot());
}

#[test]
fn more_than_five_of_the_last_hundred_roll_back() {
    let mut script = script();
    script.healthy(100);
    for index in 0..6 {
        let verdict = script.see(f64::NAN, 1.0);
        if index < 5 {
            assert!(matches!(verdict, Verdict::Skip { .. }), "{index}: {verdict:?}");
            script.healthy(10);
        } else {
            assert!(matches!(verdict, Verdict::RollBack { .. }), "{index}: {verdict:?}");
        }
    }
    // Five in a hundred may go on for ever.
    let mut seldom = Script::new(GuardSettings::default(), FACTS);
    for _ in 0..50 {
        seldom.healthy(19);
        assert!(matches!(seldom.see(f64::NAN, 1.0), Verdict::Skip { .. }));
    }
    assert_eq!(seldom.guard.counts().n_rollbacks, 0);
}

#[test]
fn after_three_rollbacks_the_run_fails() {
    let mut script = script();
    script.healthy(70);
    let mut rollbacks = Vec::new();
    let mut n_skips = 0;
    let diagnosis = loop {
        match script.see(f64::NAN, 1.0) {
            Verdict::Skip { .. } => n_skips += 1,
            Verdict::RollBack { number, .. } => {
                rollbacks.push((number, script.guard.slowdown().factor()));
            }
            Verdict::Fail { diagnosis } => break diagnosis,
            Verdict::Step => panic!("stepped on NaN"),
        }
    };
    assert_eq!(rollbacks, [(1, 0.5), (2, 0.25), (3, 0.125)]);
    assert_eq!(n_skips, 8);
    assert!(diagnosis.message.contains("12 × loss not finite"), "{}", diagnosis.message);
    assert!(matches!(script.see(f64::NAN, 1.0), Verdict::Fail { .. }));
}

#[test]
fn the_factor_ends_at_a_sixteenth() {
    let settings = GuardSettings { max_rollbacks: 9, ..GuardSettings::default() };
    let mut script = Script::new(settings, FACTS);
    for _ in 0..27 {
        script.see(f64::NAN, 1.0);
    }
    assert_eq!(script.guard.counts().n_rollbacks, 9);
    assert_eq!(script.guard.slowdown().factor(), 0.0625);
}

#[test]
fn the_state_survives_json() {
    let mut script = script();
    script.healthy(90);
    script.see(f64::NAN, f64::NEG_INFINITY);
    script.see(1.0 / 3.0, 30.0);
    let text = serde_json::to_string(&script.guard).unwrap();
    let mut read: Guard = serde_json::from_str(&text).unwrap();
    // Decimal deviations of old evidence may differ in the last digit; nothing is decided by them.
    assert_eq!(read.losses, script.guard.losses);
    assert_eq!(read.evidence.len(), 2);
    read.evidence = script.guard.evidence.clone();
    assert_eq!(read, script.guard);
    let mut resumed = Script { guard: read, rows: vec![row(1)], ..script };
    assert!(matches!(resumed.see(f64::NAN, 1.0), Verdict::RollBack { .. }));
}

#[test]
fn a_bad_batch_is_written_with_its_rows_and_words_for_what_is_no_number() {
    let mut script = script();
    script.rows = vec![row(7), Row { fault: Some(RowFault::EmptyTarget), ..row(9) }];
    script.see(f64::NAN, f64::INFINITY);
    let bad = script.guard.last_bad().unwrap();
    let text = serde_json::to_string(bad).unwrap();
    assert_eq!(
        text,
        r#"{"step":0,"batch":0,"reason":"loss_not_finite","loss":"NaN","gradient_norm":"inf","#
            .to_owned()
            + r#""learning_rate":0.001,"bad_gradient":"layers.0.weight","rows":["#
            + r#"{"file":"rows.jsonl","line":7},"#
            + r#"{"file":"rows.jsonl","line":9,"fault":"empty_target"}]}"#
    );
    assert_eq!(serde_json::from_str::<BadBatch>(&text).unwrap(), *bad);
}

/// The cause and message of a run that ends by these observations after `n_healthy` good steps.
fn diagnose(
    facts: RunFacts,
    n_healthy: usize,
    rows: impl Fn(u64) -> Vec<Row>,
    (loss, norm): (f64, f64),
) -> Diagnosis {
    let mut script = Script::new(GuardSettings::default(), facts);
    script.healthy(n_healthy);
    for _ in 0..100 {
        script.rows = rows(script.batch);
        if let Verdict::Fail { diagnosis } = script.see(loss, norm) {
            return diagnosis;
        }
    }
    panic!("never failed");
}

fn other_rows(batch: u64) -> Vec<Row> {
    vec![row(2 * batch + 1), row(2 * batch + 2)]
}

#[test]
fn a_faulty_row_is_named() {
    let faults = [
        (RowFault::EmptyTarget, Cause::EmptyTarget, "empty answer"),
        (RowFault::AllMasked, Cause::MaskedRow, "mask"),
        (RowFault::BadReward, Cause::BadReward, "reward function"),
    ];
    for (fault, cause, fix) in faults {
        let rows = |batch| {
            let mut rows = other_rows(batch);
            rows[1].fault = Some(fault);
            rows
        };
        // Surer than the type, which would be suspected otherwise.
        let facts = RunFacts { precision: Precision::F16, ..FACTS };
        let diagnosis = diagnose(facts, 5, rows, (f64::NAN, f64::NAN));
        assert_eq!(diagnosis.cause, cause);
        assert!(diagnosis.message.contains(fix), "{}", diagnosis.message);
        assert!(diagnosis.message.contains("line 12 of rows.jsonl"), "{}", diagnosis.message);
    }
}

#[test]
fn a_row_that_is_in_the_bad_batches_is_named() {
    let rows = |batch| vec![row(1000 + batch), row(77)];
    let diagnosis = diagnose(FACTS, 5, rows, (f64::NAN, f64::NAN));
    assert_eq!(diagnosis.cause, Cause::Row);
    assert!(diagnosis.message.contains("Line 77 of rows.jsonl"), "{}", diagnosis.message);
    // Where all rows are always there, none is suspect.
    let diagnosis = diagnose(FACTS, 5, |_| vec![row(1), row(2)], (f64::NAN, f64::NAN));
    assert_eq!(diagnosis.cause, Cause::LearningRate);
}

#[test]
fn f16_is_suspected_when_something_was_not_finite() {
    let facts = RunFacts { precision: Precision::F16, ..FACTS };
    let diagnosis = diagnose(facts, 5, other_rows, (2.0, f64::INFINITY));
    assert_eq!(diagnosis.cause, Cause::HalfRange);
    assert!(diagnosis.message.contains("bf16"), "{}", diagnosis.message);
    assert_eq!(diagnose(facts, 70, other_rows, (90.0, 1.0)).cause, Cause::LearningRate);
}

#[test]
fn a_bad_start_is_told_from_a_learning_rate_that_is_too_large() {
    let nan = (f64::NAN, f64::NAN);
    let diagnosis = diagnose(FACTS, 0, other_rows, nan);
    assert_eq!(diagnosis.cause, Cause::Start);
    assert!(diagnosis.message.contains("targets without tokens"), "{}", diagnosis.message);
    let contrastive = RunFacts { method: Method::Contrastive, ..FACTS };
    assert!(diagnose(contrastive, 0, other_rows, nan).message.contains("temperature"));
    let reinforcement = RunFacts { method: Method::Reinforcement, ..FACTS };
    assert_eq!(diagnose(reinforcement, 0, other_rows, nan).cause, Cause::BadReward);
    let later = diagnose(RunFacts { lora: true, ..FACTS }, 5, other_rows, nan);
    assert_eq!(later.cause, Cause::LearningRate);
    assert!(later.message.contains("LoRA alpha") && later.message.contains("0.125"));
    let gradients = diagnose(FACTS, 5, other_rows, (2.0, f64::NAN));
    assert!(gradients.message.contains("only gradients were not, first that of layers.0.weight"));
    let spikes = diagnose(FACTS, 70, other_rows, (2.0, 60.0));
    assert!(spikes.message.contains("kept leaping"), "{}", spikes.message);
}
