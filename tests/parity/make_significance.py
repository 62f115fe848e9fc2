"""Golden values for `src/evaluate/significance` and `src/evaluate/choice`.

Prints what their tests hold as numbers. Needs numpy, scipy and scikit-learn.
"""

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

PAIRED = {
    "A": [0.31, -0.2, 0.05, 0.4, 0.0, 0.12, -0.07, 0.22, 0.3, 0.18],
    "B": [1.0, -0.5, 0.25, 0.0, 0.75, -0.25, 0.5, -0.1, 0.6, 0.05, -0.4, 0.9, 0.3, -0.15, 0.2],
    "C": [0.02, -0.04, 0.01, -0.03, 0.05, -0.01, 0.0, -0.02],
}
CLUSTERED = [0.2, 0.3, 0.1, -0.4, -0.2, 0.5, 0.6, 0.55, 0.0, -0.1, 0.35, 0.15]
CLUSTERS = [9, 9, 9, 1, 1, 2, 2, 2, 3, 3, 4, 5]
SIGNS = [(3, 9), (40, 60), (700, 801), (5, 5), (0, 6), (1200, 900)]
DRAWS = {"n_resamples": 2_000_000, "method": "percentile", "batch": 20_000}


def mean_of_difference(one, other, axis=-1):
    return np.mean(one - other, axis=axis)


def ratio(sums, counts, axis=-1):
    return np.sum(sums, axis=axis) / np.sum(counts, axis=axis)


def intervals():
    for name, values in PAIRED.items():
        values = np.array(values)
        interval = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(1), **DRAWS)
        permuted = stats.permutation_test(
            (values, np.zeros(len(values))),
            mean_of_difference,
            permutation_type="samples",
            n_resamples=np.inf,
        )
        n_win, n_loss = int((values > 0).sum()), int((values < 0).sum())
        signs = stats.binomtest(n_win, n_win + n_loss)
        print(name, interval.confidence_interval, permuted.pvalue, signs.pvalue)
    for n_win, n_loss in SIGNS:
        print(n_win, n_loss, stats.binomtest(n_win, n_win + n_loss).pvalue)
    names = sorted(set(CLUSTERS))
    of = {n: [v for v, c in zip(CLUSTERED, CLUSTERS) if c == n] for n in names}
    sums = np.array([sum(of[n]) for n in names])
    counts = np.array([len(of[n]) for n in names])
    rng = np.random.default_rng(2)
    interval = stats.bootstrap((sums, counts), ratio, paired=True, rng=rng, **DRAWS)
    print("clusters", np.mean(CLUSTERED), interval.confidence_interval)


def regression():
    n_rows, n_features = 40, 3
    features = np.array(
        [
            [((i * 7 + j * 13 + i * i * (j + 1)) % 17) / 17 - 0.5 for j in range(n_features)]
            for i in range(n_rows)
        ]
    )
    noise = np.array([((i * 5) % 11) / 11 - 0.5 for i in range(n_rows)])
    happened = (features[:, 0] - 0.6 * features[:, 1] + noise > 0).astype(int)
    weights = np.array([0.1 + ((i * 3) % 7) / 7 for i in range(n_rows)])
    for l2 in (0.1, 1.0, 10.0):
        model = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=100_000)
        model.fit(features, happened, sample_weight=weights)
        print(l2, model.coef_.tolist(), model.intercept_.tolist())


if __name__ == "__main__":
    intervals()
    regression()
