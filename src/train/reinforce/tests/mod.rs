mod learning;
mod parity;
mod policy;
mod ppo;

fn assert_near(found: f64, expected: f64, what: &str) {
    let limit = 1e-7 * expected.abs().max(1.0);
    assert!((found - expected).abs() <= limit, "{what}: {found}, not {expected}");
}
