"""Rows of benchmarks/README.md on fits, decoders, files and what comes after localization."""

from collections.abc import Iterator

Rows = Iterator[tuple[str, str, str]]


def _s(timing: dict) -> float:
    return timing["median_s"]


def fit_accuracy(n) -> Rows:
    low, high = n["limits"]["pooled"]
    for name, psf in n["psfs"].items():
        for level in psf["levels"]:
            pooled = level["pooled"]
            yield (
                f"fits of single emitters, {name}, {level['photons']:g} photons on {level['background']:g}: RMSE over "
                f"the bound x / y / z, worst point ({level['depths_unimodal']} of {level['depths']} depths unimodal)",
                f"{low}-{high}, each {n['limits']['each'][0]}-{n['limits']['each'][1]}",
                f"{pooled['x']:.3f} / {pooled['y']:.3f} / {pooled['z']:.3f}, {level['worst_points'][1]:.3f}",
            )


def fit_speed(n) -> Rows:
    rate = n["fits_per_second"]
    for side in (21, 41, 61):
        named = {
            "Picasso spline": f"picasso_spline_astigmatism_{side}",
            "Picasso Gaussian MLE (2D)": f"picasso_gaussmle_plain_{side}",
        }
        peers = ", ".join(f"{label} {rate[key]:.0f}" for label, key in named.items() if key in rate)
        deep = [v for key, v in rate.items() if key.startswith("fd_deeploc") and key.endswith(f"_{side}")]
        peers += f", FD-DeepLoc's images {deep[0]:.1f}" if deep else ""
        yield (
            f"fits per second, astigmatic stamps of {side} px ({peers})",
            "reported",
            f"{rate[f'ours_astigmatism_{side}']:.0f}",
        )


def camera(n) -> Rows:
    worst = n["worst_error"]
    yield (
        "camera from blinking movies: gain, offset where the read noise is known, worst of several",
        f"<= {100 * n['asked']['gain_share']:g} %, {n['asked']['offset_adu']:g} counts",
        f"{100 * worst['movie_gain_share']:.2f} %, {worst['movie_offset_adu_read_noise_known']:.2f} counts",
    )


def fabrication(n) -> Rows:
    worst = max(abs(row["efficiency"] - row["closed_form"]) for row in n["levels"])
    yield (
        "light into the first order of an etched ramp, 2 to 256 levels, from the closed form",
        "reported",
        f"{worst:.0e}",
    )
    yield (
        f"Strehl ratio of a Tetrapod on an 8-bit SLM; etched in {n['plate']['levels']} levels",
        "reported",
        f"{n['slm']['strehl']:.4f}; {n['plate']['strehl']:.3f}",
    )


def single_emitters(n) -> Rows:
    for name, run in n.items():
        if not isinstance(run, dict):
            continue
        for level in run["levels"]:
            found = level["mixture"]
            x, y, z = found["rmse_over_crlb"]
            yield (
                f"{name}, list decoder, {run['steps']} steps on two cores: RMSE over the bound x / y / z at "
                f"{level['photons']:g} photons on {level['background']:g}",
                f"<= {run['target']}",
                f"{x:.2f} / {y:.2f} / {z:.2f}",
            )
            polished = " / ".join(f"{v:.2f}" for v in level["polish"]["rmse_over_crlb"])
            yield "the same after a fit of each row (--method polish)", "reported", polished
            sigma = " / ".join(f"{v:.2f}" for v in found["empirical_over_predicted_sigma"])
            yield "its errors over predicted sigma x / y / z", "0.85-1.15", sigma
            yield (
                f"its evenness within the pixel, Kolmogorov-Smirnov ({found['ks_by_chance']:.3f} by chance)",
                "<= 0.03",
                f"{max(found['ks_distance']):.3f}",
            )


def million(n) -> Rows:
    seconds, peer = n["seconds"], n.get("picasso", {})
    for key, claim in {
        "match_sparse": "matching 1 M x 1 M localizations in 10,000 frames, sparse",
        "match_dense": "the same, dense",
    }.items():
        yield claim, "< 30 s", f"{_s(seconds[key]):.1f} s"
    for key, claim in {
        "render_histogram": "histogram of 1 M localizations",
        "render_gaussian": "Gaussian picture of 1 M localizations",
        "frc_wide_five_splits": "Fourier ring correlation of 1 M localizations, 8000 px, five splits",
    }.items():
        theirs = seconds.get(key.replace("render", "picasso"))
        beside = f" (Picasso {_s(theirs):.1f} s)" if theirs and key != "frc_wide_five_splits" else ""
        yield claim + beside, "< 20 s", f"{_s(seconds[key]):.1f} s"
    if "frc" in peer:
        frc = peer["frc"]
        yield (
            f"ring resolution against Picasso's ({frc['picasso_resolution_nm']:.2f} nm)",
            "within 2 %",
            f"{100 * (frc['ratio'] - 1):+.2f} %",
        )
        for kind in ("histogram", "gaussian"):
            yield (
                f"{kind} picture against Picasso's: sum; correlation of pixels; brightest pixel",
                "within 2 %",
                f"{100 * (peer[kind]['total_ratio'] - 1):+.2f} %; {peer[kind]['correlation']:.4f}; "
                f"{100 * (peer[kind]['largest_pixel_ratio'] - 1):+.1f} %",
            )


def drift(n) -> Rows:
    case = n["cases"]["million"]
    for method in ("rcc", "aim"):
        part = case[method]
        error = ", ".join(f"{v:.1f}" for v in part["error_nm"])
        theirs = part.get("picasso", {})
        beside = ", ".join(f"{v:.1f}" for v in theirs.get("error_nm", []))
        yield (
            f"drift by {method}, 1 M localizations in 10,000 frames "
            f"(Picasso {theirs.get('seconds', float('nan')):.1f} s)",
            "< 20 s",
            f"{part['seconds']:.1f} s",
        )
        yield f"its error x, y, z in nm, of {1000 * case['range_um']:.0f} (Picasso {beside})", "reported", error
        share = ", ".join(f"{100 * v:.1f}" for v in part.get("agreement_share_of_range", []))
        yield "its difference from Picasso's curve, % of the range", "<= 2 %", share


def tracks(n) -> Rows:
    for case in n["cases"]:
        d = case["d_um2_s"]
        yield (
            f"tracks of {case['particles']} particles ({case['per_um2_and_frame']:.2f} per um2 and frame): links, "
            f"purity, D (true {case['d_true_um2_s']})",
            "reported",
            f"{case['links_right_share']:.3f}, {case['track_purity']:.3f}, "
            f"{d['pooled']:.3f} ({d['low']:.3f}-{d['high']:.3f})",
        )


def fuzz(n) -> Rows:
    yield (
        f"readers on damaged files: {n['damaged_copies']} copies of {n['files']} files in {n['minutes']:g} minutes",
        "no crash, no hang",
        f"{len(n['failures'])} failures",
    )


def outside(n) -> Rows:
    theirs = n["picasso"]["spots_fitted_by_picasso"]
    yield (
        "spots that we draw and write, found by Picasso: mean error x, y",
        "0",
        ", ".join(
            f"{e:+.4f} +- {s:.4f} px" for e, s in zip(theirs["mean_error_px"], theirs["standard_error_px"], strict=True)
        ),
    )


def end_to_end(n) -> Rows:
    for key, part in n.items():
        if not key.endswith("_px") or "ours_volume_times_faster" not in part:
            continue
        yield (
            f"read, infer, extract, write, {part['frames']} frames of {key[:-3]} px: volumetric net over the original",
            ">= 2x",
            f"{part['ours_volume_times_faster']:.1f}x",
        )
        yield "the same, list pipeline over the original", ">= 10x", f"{part['ours_list_times_faster']:.0f}x"


def large(n) -> Rows:
    yield (
        f"movie of {n['movie_gb']:.0f} GB: peak memory; slowest of start, middle and end over the fastest, a decoder; "
        "by thirds, no decoder",
        "< 2 GB; flat",
        f"{n['peak_memory_gb']:.2f} GB; {n['slowest_over_fastest']:.2f}; {n['null_slowest_over_fastest_third']:.2f}",
    )


CLAIMS = {
    "mle_accuracy": fit_accuracy,
    "mle_speed": fit_speed,
    "camera": camera,
    "fabrication": fabrication,
    "single_emitters": single_emitters,
    "end_to_end": end_to_end,
    "large_movie": large,
    "million": million,
    "drift": drift,
    "tracks": tracks,
    "outside_readers": outside,
    "fuzz_readers": fuzz,
}
