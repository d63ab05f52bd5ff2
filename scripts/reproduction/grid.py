"""The grid of the study: which settings are trained on which data, at which missing rates, folds and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

RATES_A = {"t1": 0.2, "t1ce": 0.5, "flair": 0.8}
RATES_B = {"t1": 0.8, "t1ce": 0.5, "flair": 0.2}
RATES_BRATS = {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}


@dataclass(frozen=True)
class Setting:
    """What is trained: overlays over train.json, and values of keys."""

    title: str
    overlays: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


NEGLECTED = {"objective#unimodal": "neglected"}
KEPT = {"objective#unimodal": "True"}
TAU2 = {"objective#temperature_squared": "True"}

SETTINGS = {
    "pdt": Setting("perfect data (PDT), Eq. 1", ("baseline", "pdt")),
    "baseline": Setting("baseline, Eq. 2", ("baseline",)),
    "moddrop": Setting("ModDrop, Eq. 2", ("baseline", "moddrop")),
    "pmr": Setting("PMR", ("pmr",)),
    "passion": Setting("PASSION, Eq. 14"),
    "released": Setting("PASSION, released code", ("released_code",)),
    "pixel": Setting("pixel-wise term alone", values={"objective#semantic": "False", "objective#beta": "False"}),
    "semantic": Setting("semantic-wise term alone", values={"objective#pixel": "False", "objective#delta": "False"}),
    "pixel_semantic": Setting(
        "both terms, delta and beta 1", values={"objective#delta": "False", "objective#beta": "False"}
    ),
    "pixel_semantic_delta": Setting("both terms with delta, beta 1", values={"objective#beta": "False"}),
    "fused": Setting("Eq. 1 alone", values={"lambda1": "0", "lambda2": "0"}),
    "tau2": Setting("Eq. 14, tau²", values=TAU2),
    "teacher_first": Setting("Eq. 14, KL(teacher ‖ student)", values={"objective#teacher_first": "True"}),
    "lambda2": Setting("Eq. 14, lambda2 5", values={"lambda2": "5.0"}),
    "gamma": Setting("Eq. 14, gamma .15", values={"gamma": "0.15"}),
    "averaged": Setting("Eq. 14, averaged teacher", ("averaged_teacher",)),
    "warmup": Setting("Eq. 14, 5 epochs of warm-up", values={"distillation_warmup": "5"}),
    "neglected": Setting("Eq. 14 + L_reg of the neglected", values=NEGLECTED),
    "averaged_neglected": Setting(
        "Eq. 14 + L_reg of the neglected, averaged teacher", ("averaged_teacher",), NEGLECTED
    ),
    "kept": Setting("Eq. 2 + Eq. 14", values=KEPT),
    "kept_tau2": Setting("Eq. 2 + Eq. 14, tau²", values=KEPT | TAU2),
    "moddrop_neglected": Setting("ModDrop, Eq. 14 + L_reg of the neglected", ("moddrop",), NEGLECTED),
}


@dataclass(frozen=True)
class Study:
    """Settings that are compared on the same folds.

    Attributes:
        title: in one line.
        bundle: that is trained.
        data: of which data set, ``lgg`` or ``brats``; a folder that ``passion prepare`` wrote.
        rates: share of the training cases that lose each sequence; none: they keep what they have.
        values: keys of every training, beside those of the setting.
        input: keys of training and evaluation both.
        scoring: keys of evaluation alone.
        settings: keys of :data:`SETTINGS`; the first is what the others are compared with.
        folds: into how many parts the cases are cut, each of them tested once.
        seeds: of training; the draw of what is missing belongs to the fold.
    """

    title: str
    bundle: str
    data: str
    rates: Mapping[str, float]
    values: Mapping[str, str]
    input: Mapping[str, str]
    settings: tuple[str, ...]
    folds: int = 5
    seeds: tuple[int, ...] = (0,)
    scoring: Mapping[str, str] = field(default_factory=lambda: {"windows": "fitted", "min_component_share": "0"})


LGG = {"epochs": "24", "learning_rate": "0.01", "cache": "True", "val_interval": "1000", "amp": "False"}
LGG_INPUT = {"spacing": "[4.8,4.8]", "roi_size": "[48,48]", "num_workers": "0"}
SMALL = {"network_def#img_size": "[48,48]", "network_width": "6", "mlp_dim": "256"}
BRATS = {"epochs": "40", "learning_rate": "0.005", "cache": "True", "val_interval": "1000", "amp": "True"}
BRATS_INPUT = {"spacing": "[3.0,3.0,3.0]", "roi_size": "[48,48,48]", "num_workers": "0"}
ABLATION = ("fused", "pixel", "semantic", "pixel_semantic", "pixel_semantic_delta")
SEARCH = ("kept", "kept_tau2", "tau2", "teacher_first", "lambda2", "gamma", "averaged", "averaged_neglected", "warmup")

STUDIES = {
    "lgg_a": Study(
        "TCGA-LGG, RFNet, rates A: T1 .2, T1ce .5, FLAIR .8", "tcga_lgg_rfnet", "lgg", RATES_A, LGG, LGG_INPUT,
        ("baseline", "passion", "neglected", *SEARCH, "moddrop", "moddrop_neglected", "pmr", "released", *ABLATION),
    ),
    "lgg_b": Study(
        "TCGA-LGG, RFNet, rates B: T1 .8, T1ce .5, FLAIR .2", "tcga_lgg_rfnet", "lgg", RATES_B, LGG, LGG_INPUT,
        ("baseline", "passion", "neglected", "averaged_neglected", "kept_tau2", "moddrop", "moddrop_neglected", "pmr",
         "released"),
    ),
    "lgg_complete": Study(
        "TCGA-LGG, RFNet, all that the patients have", "tcga_lgg_rfnet", "lgg", {}, LGG, LGG_INPUT,
        ("pdt", "moddrop", "moddrop_neglected"),
    ),
    "lgg_a_mmformer": Study(
        "TCGA-LGG, mmFormer, rates A", "tcga_lgg_mmformer", "lgg", RATES_A, LGG | SMALL | {"token_dim": "128"},
        LGG_INPUT,
        ("baseline", "passion", "neglected"),
    ),
    "lgg_a_m2ftrans": Study(
        "TCGA-LGG, M2FTrans, rates A", "tcga_lgg_m2ftrans", "lgg", RATES_A, LGG | SMALL | {"network_def#depth": "1"},
        LGG_INPUT,
        ("baseline", "passion", "neglected"),
    ),
    "brats": Study(
        "BraTS 2021, RFNet, 3D, T1 .2, T1ce .4, FLAIR .6, T2 .8", "brats2021_rfnet", "brats", RATES_BRATS, BRATS,
        BRATS_INPUT, ("baseline", "passion", "neglected"),
    ),
    "brats_complete": Study(
        "BraTS 2021, RFNet, 3D, perfect data", "brats2021_rfnet", "brats", {}, BRATS, BRATS_INPUT, ("pdt",)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One training with its evaluation."""

    study: str
    setting: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.study}/{self.setting}/fold{self.fold}_seed{self.seed}"


def jobs(studies: Mapping[str, Study] = STUDIES) -> Iterator[Job]:
    """Every job of the grid: seed by seed and setting by setting, so that what is compared is done early."""
    for name, study in studies.items():
        for seed in study.seeds:
            for setting in study.settings:
                for fold in range(study.folds):
                    yield Job(name, setting, fold, seed)
