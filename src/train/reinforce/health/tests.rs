//! The figures by hand-worked values.

use super::*;

fn sample<'a>(group: usize, prompt: &'a str, text: &'a str, reward: Option<f64>) -> Sample<'a> {
    let n_tokens = text.chars().count();
    Sample { group, prompt, text, n_tokens, is_stopped: true, reward }
}

#[test]
fn scripts_are_expected_where_the_prompt_uses_them() {
    let cases = [
        // Latin names of a Chinese conversation, and Chinese names of an English one.
        ("云帆CRM怎么用？它多少钱？", "云帆CRM多少钱？", (0, 8)),
        ("how is 线索打分 used? what is it?", "what is 线索打分?", (0, 10)),
        // Chinese is foreign to English: `\w` would take it for a word.
        ("what is it?", "它是什么?", (4, 4)),
        ("它多少钱？", "how much", (7, 7)),
        ("它多少钱？", "它 сколько стоит 1.5?", (12, 13)),
        ("how much is it?", "สวัสดี how much", (6, 13)),
        // Japanese is not Chinese.
        ("它多少钱？", "いくら", (3, 3)),
        ("how much?", "12.5% + 3 = ?", (0, 0)),
        ("what?\u{fffd}", "wh\u{fffd}t", (1, 4)),
    ];
    for (prompt, text, expected) in cases {
        assert_eq!(foreign_letters(prompt, text), expected, "{text}");
    }
}

#[test]
fn the_foreign_share_is_over_all_letters() {
    let samples = [sample(0, "what", "what", None), sample(0, "what", "что", None)];
    assert_eq!(frac_foreign_script(&samples), Some(3.0 / 7.0));
    assert_eq!(frac_foreign_script(&[sample(0, "what", "?", None)]), None);
}

#[test]
fn a_template_is_what_the_prompts_do_not_say() {
    let samples = [
        sample(0, "the price of a car", "a complete guide to the car", None),
        sample(1, "the price of tea", "A complete guide to tea", None),
        sample(2, "who is he", "who is the president of France", None),
        sample(3, "a complete guide to it", "a complete guide to it", None),
    ];
    // "a complete guide to" is in three of four, but the last prompt says it itself.
    assert_eq!(top_4gram_share(&samples), Some(0.5));
    let chinese =
        [sample(0, "它多少钱", "请问云帆多少钱", None), sample(1, "谁", "请问云帆是谁", None)];
    assert_eq!(top_4gram_share(&chinese), Some(1.0));
    assert_eq!(top_4gram_share(&[sample(0, "it", "it", None)]), Some(0.0));
    assert_eq!(top_4gram_share(&[]), None);
}

#[test]
fn repetition_counts_what_was_said_already() {
    assert_eq!(repetition("how much is the car"), 0.0);
    // 云帆云帆云帆: 云帆云帆, 帆云帆云, 云帆云帆.
    assert_eq!(repetition("云帆云帆云帆"), 1.0 / 3.0);
    assert_eq!(repetition("The car, the car, the car, the car"), 3.0 / 5.0);
    assert_eq!(repetition("too short"), 0.0);
}

#[test]
fn groups_are_flat_where_all_rewards_are_equal() {
    let rewards = [(0, 1.0), (0, 1.0), (1, 1.0), (1, 2.0), (2, 0.0), (2, -0.0), (3, 5.0)];
    let mut samples: Vec<Sample<'_>> =
        rewards.iter().map(|&(group, reward)| sample(group, "", "", Some(reward))).collect();
    // What could not be scored does not make a group vary, and one score is no group.
    samples.push(sample(0, "", "", None));
    samples.push(sample(3, "", "", None));
    assert_eq!(frac_groups_without_variance(&samples), Some(2.0 / 3.0));
    assert_eq!(frac_groups_without_variance(&samples[6..]), None);
}

#[test]
fn a_step_has_all_figures_that_texts_can_tell() {
    let mut samples = [
        sample(0, "what is it", "what is tea", Some(1.0)),
        sample(0, "what is it", "what is this", Some(2.0)),
        sample(0, "what is it", "it", None),
        sample(0, "what is it", "what", Some(0.0)),
    ];
    samples[3].is_stopped = false;
    let health = Health::of(&samples);
    let expected = Health {
        frac_groups_without_variance: Some(0.0),
        entropy: None,
        kl: None,
        frac_foreign_script: Some(0.0),
        top_4gram_share: Some(0.0),
        repetition: Some(0.0),
        frac_scorer_failures: Some(0.25),
        mean_tokens: Some((11.0 + 12.0 + 2.0 + 4.0) / 4.0),
        frac_stopped: Some(0.75),
        reward: Some(1.0),
    };
    assert_eq!(health, expected);
    assert_eq!(health.figures().len(), 8);
    assert_eq!(health.figures()["mean_tokens"], 7.25);
    assert_eq!(Health::of(&[]), Health::default());
    // An outage leaves no reward to average, and says so.
    let outage = Health::of(&[sample(0, "", "a", None), sample(0, "", "b", None)]);
    assert_eq!((outage.frac_scorer_failures, outage.reward), (Some(1.0), None));
}
