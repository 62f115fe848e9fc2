//! What a fault of one step does to the rows under way and to those that come after.

use std::path::Path;

use candle_core::Device;

use super::*;
use crate::model::ModelFolder;

fn scheduler() -> Scheduler {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures/qwen3-tiny");
    let model = ModelFolder::open(&fixture).unwrap().load_qwen(&Device::Cpu).unwrap();
    let prefix = Prefix::compute(&model, &[1, 2]).unwrap();
    let options = GeneratorOptions {
        max_rows: 4,
        max_waiting: 4,
        shared_prefix: vec![1, 2],
        stop_tokens: vec![],
    };
    Scheduler { model, options, prefix, rows: Vec::new() }
}

fn admit(scheduler: &mut Scheduler) -> UnboundedReceiver<Event> {
    let (events, receiver) = unbounded_channel();
    scheduler.admit(GenerateRequest::greedy(vec![1, 2, 3], 2), events);
    receiver
}

#[test]
fn a_panic_fails_the_rows_under_way_and_later_rows_are_served() {
    let mut scheduler = scheduler();
    let mut first = admit(&mut scheduler);
    scheduler.guarded(|_| panic!("a fault"));
    let Some(Event::Failed(error)) = first.blocking_recv() else { panic!("it must fail") };
    assert_eq!(error.kind, Kind::Internal);
    assert!(scheduler.rows.is_empty());

    let mut second = admit(&mut scheduler);
    while !scheduler.rows.is_empty() {
        scheduler.guarded(Scheduler::step);
    }
    let mut finished = None;
    while let Some(event) = second.blocking_recv() {
        if let Event::Finished(generated) = event {
            finished = Some(generated);
        }
    }
    assert_eq!(finished.unwrap().tokens.len(), 2);
}

#[test]
fn a_row_whose_caller_has_left_is_dismissed_before_the_next_step() {
    let mut scheduler = scheduler();
    drop(admit(&mut scheduler));
    let kept = admit(&mut scheduler);
    scheduler.dismiss_interrupted();
    assert_eq!(scheduler.rows.len(), 1);
    drop(kept);
}

#[test]
fn a_request_over_the_window_is_refused_with_the_numbers() {
    let generator = {
        let Scheduler { model, options, .. } = scheduler();
        Generator::start(model, options).unwrap()
    };
    let window = generator.window();
    let error = generator.stream(GenerateRequest::greedy(vec![1; window], 1)).unwrap_err();
    assert_eq!(error.code, "model_input");
    assert!(error.message.contains(&window.to_string()), "{}", error.message);
    assert!(generator.stream(GenerateRequest::greedy(vec![], 1)).is_err());
}
