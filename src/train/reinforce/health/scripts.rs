//! Letters in scripts that have no business in a completion.
//!
//! What is expected is what the prompt itself uses, so the figure is right for Chinese with Latin
//! product names and for English alike: Cyrillic is foreign to both, Chinese to an English
//! conversation only. (A check by `\w`, as others have it, takes Chinese for English.)

use std::collections::BTreeSet;

use super::Sample;

/// The share over all completions together; none where they hold no letter.
pub fn frac_foreign_script(samples: &[Sample<'_>]) -> Option<f64> {
    let counts = samples.iter().map(|sample| foreign_letters(sample.prompt, sample.text));
    let (foreign, all) = counts.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    (all > 0).then(|| foreign as f64 / all as f64)
}

/// How many letters of `text` are in scripts that `prompt` does not use, and how many letters it
/// has. Digits, punctuation, symbols and white space are no letters; characters of no script
/// (replacement, control, private use) are letters of their own, foreign to every prompt.
pub fn foreign_letters(prompt: &str, text: &str) -> (usize, usize) {
    let expected: BTreeSet<u32> = prompt.chars().filter_map(script).collect();
    let scripts: Vec<u32> = text.chars().filter_map(script).collect();
    let is_foreign = |script: &&u32| **script == BROKEN || !expected.contains(script);
    (scripts.iter().filter(is_foreign).count(), scripts.len())
}

const BROKEN: u32 = 0;
const LATIN: u32 = 1;
const HAN: u32 = 2;
const KANA: u32 = 3;
const HANGUL: u32 = 4;
const CYRILLIC: u32 = 5;
const GREEK: u32 = 6;
const ARABIC: u32 = 7;
/// Scripts without a name here are told apart by their Unicode block of 128.
const OTHERS: u32 = 16;

/// The script of a letter; none for what is no letter.
fn script(character: char) -> Option<u32> {
    let broken = character.is_control() && !character.is_whitespace();
    if broken || matches!(character, '\u{fffd}' | '\u{e000}'..='\u{f8ff}') {
        return Some(BROKEN);
    }
    if !character.is_alphabetic() {
        return None;
    }
    Some(match character {
        'a'..='z'
        | 'A'..='Z'
        | '\u{aa}'..='\u{2af}'
        | '\u{1e00}'..='\u{1eff}'
        | '\u{ff21}'..='\u{ff5a}' => LATIN,
        '\u{3005}'..='\u{3007}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' => HAN,
        '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => KANA,
        '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}' => HANGUL,
        '\u{400}'..='\u{52f}' => CYRILLIC,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => GREEK,
        '\u{600}'..='\u{6ff}'
        | '\u{750}'..='\u{77f}'
        | '\u{fb50}'..='\u{fdff}'
        | '\u{fe70}'..='\u{feff}' => ARABIC,
        other => OTHERS + (u32::from(other) >> 7),
    })
}
