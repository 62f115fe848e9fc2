//! Weighted logistic regression with an L2 penalty, by Newton's method.

/// An observation: features, what happened (`true` for 1), and its weight.
#[derive(Debug, Clone)]
pub struct LogisticRow {
    pub features: Vec<f64>,
    pub happened: bool,
    pub weight: f64,
}

/// The fitted line. The bias carries no penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    pub weights: Vec<f64>,
    pub bias: f64,
}

/// Steps at most; Newton's method needs about ten.
const MAX_STEPS: usize = 100;
/// The largest slope at the end, per unit of weight.
const TOLERANCE: f64 = 1e-10;

impl Logistic {
    /// Minimises ½·l2·|w|² + Σ sᵢ·log(1 + exp(−yᵢ·(w·xᵢ + b))), which has one minimum where both
    /// outcomes occur. With one outcome only, the weights are 0 and the bias says how often it was
    /// seen.
    pub fn fit(rows: &[LogisticRow], l2: f64) -> Self {
        let n_features = rows.first().map_or(0, |row| row.features.len());
        let weight = |happened: bool| -> f64 {
            rows.iter().filter(|row| row.happened == happened).map(|row| row.weight).sum()
        };
        let (with, without) = (weight(true), weight(false));
        if with <= 0.0 || without <= 0.0 {
            let bias = ((with + 0.5) / (without + 0.5)).ln();
            return Self { weights: vec![0.0; n_features], bias };
        }
        let mut line = vec![0.0; n_features + 1];
        line[n_features] = (with / without).ln();
        for _ in 0..MAX_STEPS {
            let (slope, curvature) = slope_and_curvature(rows, &line, l2);
            let steepest = slope.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            if steepest <= TOLERANCE * (with + without) {
                break;
            }
            let step = solve(curvature, slope);
            match shortened(rows, &line, &step, l2) {
                Some(next) => line = next,
                // No step goes down any more: rounding is all that is left.
                None => break,
            }
        }
        let bias = line.pop().unwrap_or(0.0);
        Self { weights: line, bias }
    }

    /// The chance that it happens, between 0 and 1.
    pub fn predict(&self, features: &[f64]) -> f64 {
        let sum: f64 = self.weights.iter().zip(features).map(|(weight, x)| weight * x).sum();
        sigmoid(sum + self.bias)
    }
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1 + exp(x)) that neither overflows nor loses small values.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn loss(rows: &[LogisticRow], line: &[f64], l2: f64) -> f64 {
    let penalty: f64 = line[..line.len() - 1].iter().map(|weight| weight * weight).sum();
    let losses = rows.iter().map(|row| {
        let logit = logit(row, line);
        row.weight * softplus(if row.happened { -logit } else { logit })
    });
    0.5 * l2 * penalty + losses.sum::<f64>()
}

/// The gradient, and the Hessian row by row. The bias is the last.
fn slope_and_curvature(rows: &[LogisticRow], line: &[f64], l2: f64) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = line.len();
    let mut slope: Vec<f64> = line.iter().map(|weight| l2 * weight).collect();
    let mut curvature = vec![vec![0.0; n]; n];
    slope[n - 1] = 0.0;
    for (idx, row) in curvature.iter_mut().enumerate() {
        // The bias has no penalty; a trace keeps the matrix solvable where every chance is 0 or 1.
        row[idx] = if idx + 1 < n { l2 } else { 1e-12 };
    }
    for row in rows {
        let chance = sigmoid(logit(row, line));
        let error = row.weight * (chance - f64::from(u8::from(row.happened)));
        let bend = row.weight * chance * (1.0 - chance);
        for (one, &x) in with_bias(row).enumerate() {
            slope[one] += error * x;
            for (other, &y) in with_bias(row).take(one + 1).enumerate() {
                curvature[one][other] += bend * x * y;
            }
        }
    }
    (slope, curvature)
}

/// The line a step further down, the step halved until the loss is lower.
fn shortened(rows: &[LogisticRow], line: &[f64], step: &[f64], l2: f64) -> Option<Vec<f64>> {
    let before = loss(rows, line, l2);
    let mut length = 1.0;
    while length > 1e-8 {
        let next: Vec<f64> = line.iter().zip(step).map(|(value, by)| value - length * by).collect();
        if loss(rows, &next, l2) < before {
            return Some(next);
        }
        length /= 2.0;
    }
    None
}

/// Solves A·x = b for a symmetric positive A, of which the lower triangle is given, by Cholesky's
/// decomposition.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for row in 0..n {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| matrix[row][k] * matrix[column][k]).sum();
            let rest = matrix[row][column] - known;
            matrix[row][column] = if row == column {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / matrix[column][column]
            };
        }
    }
    for row in 0..n {
        let known: f64 = (0..row).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| matrix[k][row] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

fn logit(row: &LogisticRow, line: &[f64]) -> f64 {
    with_bias(row).zip(line).map(|(x, weight)| x * weight).sum()
}

fn with_bias(row: &LogisticRow) -> impl Iterator<Item = &f64> {
    row.features.iter().chain([&1.0])
}
