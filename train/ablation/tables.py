"""The paper's tables and three more, as data: the text and the recipe of each row."""

from dataclasses import dataclass

from train.config.recipes import BASES, RECIPES, VARIANTS
from train.config.spec import Recipe


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    """Name of the row within its table, for `--rows`."""
    cells: tuple[str, ...]
    """Text of the table's columns."""
    paper_miou_percent: float | None = None
    """The paper's mIoU in percent; None in tables that are not the paper's."""
    base: str = ""
    """A key of `BASES`; empty if the row has no recipe."""
    variant: str = ""
    """A key of `VARIANTS`; empty if the row has no recipe."""
    note: str = ""
    """Why the row has no recipe, or how the recipe differs from the row's text."""

    def __post_init__(self) -> None:
        fits = self.variant in VARIANTS and self.base in BASES if self.base or self.variant else bool(self.note)
        if not fits:
            raise ValueError(
                f"row {self.name}: found base {self.base!r} and variant {self.variant!r}, allowed are keys of BASES "
                "and VARIANTS, or neither, with a note"
            )

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the row, with the paper's settings; None if it has none."""
        return RECIPES[f"{self.base}_{self.variant}"] if self.base else None


@dataclass(frozen=True)
class Table:
    """A table. Its rows differ in the method and, if they have several bases, in the network."""

    title: str
    columns: tuple[str, ...]
    """Headings of `Row.cells`; the metrics come after them."""
    rows: tuple[Row, ...]
    measured_on: str = ""
    """Data of the paper's results; empty in tables that are not the paper's."""

    def __post_init__(self) -> None:
        uneven = [row.name for row in self.rows if len(row.cells) != len(self.columns)]
        if uneven or len({row.name for row in self.rows}) < len(self.rows):
            raise ValueError(f"table {self.title!r}: rows need {len(self.columns)} cells and a name each: {uneven}")

    @property
    def compares_networks(self) -> bool:
        """Whether the segmentation network differs between rows."""
        return len({BASES[row.base].network.segmenter for row in self.rows if row.base}) > 1


_R50 = "cityscapes_pspnet_resnet50"
_R101 = "cityscapes_pspnet_resnet101"
_COARSE = "cityscapes_coarse_pspnet_resnet101"
_MNV2 = "cityscapes_pspnet_mobilenetv2"
_DEEPLAB = "cityscapes_deeplabv3plus_resnet101"
_DANET = "cityscapes_danet_resnet101"
_CAMVID = "camvid_resnet101"
_STREET = "street_quick"
_CITYSCAPES_VAL = "Cityscapes val"

_OTHERS = "another network: the paper's result only"
_NETWARP = "NetWarp's combination on this table's PSPNet; the published row has its authors' network"
_DFF = "DFF's propagation on this table's PSPNet; the published row has its authors' network"


def _published(name: str, cells: tuple[str, ...], miou: float) -> Row:
    return Row(name, cells, miou, note=_OTHERS)


TABLES: dict[str, Table] = {
    "table1": Table(
        "Table 1: ablation study of DWNet (PSPNet, ResNet-50)",
        # The paper's text has no marks. They follow from its results and from section 4.2.1.
        ("Warp", "l_fc", "FG-Conv", "FRM", "l_pc"),
        (
            Row("baseline", ("", "", "", "", ""), 73.75, _R50, "baseline"),
            Row("warp", ("x", "x", "", "", ""), 74.30, _R50, "dwnet_feature_loss_warp"),
            Row("fg_conv", ("", "x", "x", "", ""), 74.87, _R50, "dwnet_feature_loss_no_frm"),
            Row("fg_conv_frm", ("", "x", "x", "x", ""), 75.34, _R50, "dwnet_feature_loss"),
            Row("fg_conv_pc", ("", "x", "x", "", "x"), 75.25, _R50, "dwnet_no_frm"),
            Row("warp_frm_pc", ("x", "x", "", "x", "x"), 74.76, _R50, "dwnet_no_fg_conv"),
            Row("dwnet", ("", "x", "x", "x", "x"), 75.62, _R50, "dwnet"),
        ),
        _CITYSCAPES_VAL,
    ),
    "table2": Table(
        "Table 2: the flow-guided convolution (PSPNet, ResNet-50)",
        ("Method",),
        (
            Row("baseline", ("Baseline",), 73.75, _R50, "baseline"),
            Row("warp", ("Baseline + warp",), 74.30, _R50, "dwnet_feature_loss_warp"),
            Row("s1", ("Baseline + FG-Conv (s = 1)",), 75.02, _R50, "dwnet_feature_loss_s1"),
            Row("s3", ("Baseline + FG-Conv (s = 3)",), 75.34, _R50, "dwnet_feature_loss"),
            Row("s5", ("Baseline + FG-Conv (s = 5)",), 75.16, _R50, "dwnet_feature_loss_s5"),
        ),
        _CITYSCAPES_VAL,
    ),
    "table3": Table(
        "Table 3: the prediction consistency loss (PSPNet, ResNet-50)",
        ("Method",),
        (
            Row("feature_loss", ("Baseline",), 75.34, _R50, "dwnet_feature_loss"),
            Row("no_mask", ("Baseline + l_pc + w/o mask",), 75.13, _R50, "dwnet_no_mask"),
            Row("delta1", ("Baseline + l_pc + w/mask (delta = 1)",), 75.46, _R50, "dwnet_delta1"),
            Row("delta2", ("Baseline + l_pc + w/mask (delta = 2)",), 75.62, _R50, "dwnet"),
            Row("delta5", ("Baseline + l_pc + w/mask (delta = 5)",), 75.44, _R50, "dwnet_delta5"),
        ),
        _CITYSCAPES_VAL,
    ),
    "table4": Table(
        "Table 4: feature fusion and propagation (PSPNet, ResNet-50)",
        ("Method",),
        (
            Row("baseline", ("Baseline",), 73.75, _R50, "baseline"),
            Row("sum", ("Baseline + sum",), 74.30, _R50, "static_warp"),
            Row("concatenate", ("Baseline + concatenate",), 74.25, _R50, "static_warp_concatenation"),
            Row("fc", ("Baseline + TCLoss (l_fc)",), 74.87, _R50, "dwnet_feature_loss_no_frm"),
            Row("fc_pc", ("Baseline + TCLoss (l_fc + l_pc)",), 75.25, _R50, "dwnet_no_frm"),
        ),
        _CITYSCAPES_VAL,
    ),
    # "SWarp denotes the original warping operation": read as Table 1's row of that name, with l_fc alone.
    "table5": Table(
        "Table 5: DWNet with different network structures",
        ("Method", "Backbone", "SWarp", "DWarp"),
        (
            Row("pspnet_mnv2", ("PSPNet", "MNV2", "", ""), 72.34, _MNV2, "baseline"),
            Row("pspnet_mnv2_swarp", ("PSPNet", "MNV2", "x", ""), 73.52, _MNV2, "dwnet_feature_loss_warp"),
            Row("pspnet_mnv2_dwarp", ("PSPNet", "MNV2", "", "x"), 74.46, _MNV2, "dwnet"),
            Row("pspnet", ("PSPNet", "ResNet101", "", ""), 78.90, _R101, "baseline"),
            Row("pspnet_swarp", ("PSPNet", "ResNet101", "x", ""), 79.32, _R101, "dwnet_feature_loss_warp"),
            Row("pspnet_dwarp", ("PSPNet", "ResNet101", "", "x"), 79.85, _R101, "dwnet"),
            Row("deeplabv3plus", ("DeeplabV3+", "ResNet101", "", ""), 80.15, _DEEPLAB, "baseline"),
            Row(
                "deeplabv3plus_swarp", ("DeeplabV3+", "ResNet101", "x", ""), 80.32, _DEEPLAB, "dwnet_feature_loss_warp"
            ),
            Row("deeplabv3plus_dwarp", ("DeeplabV3+", "ResNet101", "", "x"), 80.78, _DEEPLAB, "dwnet"),
            Row("danet", ("DANet", "ResNet101", "", ""), 79.94, _DANET, "baseline"),
            Row("danet_swarp", ("DANet", "ResNet101", "x", ""), 80.21, _DANET, "dwnet_feature_loss_warp"),
            Row("danet_dwarp", ("DANet", "ResNet101", "", "x"), 80.67, _DANET, "dwnet"),
        ),
        _CITYSCAPES_VAL,
    ),
    "table6": Table(
        "Table 6: the state of the art on Cityscapes",
        ("Method", "Source", "Fine and coarse sets"),
        (
            _published("clockwork", ("Clockwork", "ECCV2016", ""), 66.4),
            _published("pearl", ("PEARL", "ICCV2017", ""), 75.4),
            _published("llvss", ("LLVSS", "CVPR2018", ""), 76.8),
            _published("accel", ("Accel", "CVPR2019", ""), 75.5),
            _published("tdnet", ("TDNet", "CVPR2020", ""), 79.9),
            _published("esvs", ("ESVS", "ECCV2020", ""), 76.6),
            Row("pspnet", ("PSPNet", "CVPR2017", ""), 80.2, _R101, "baseline"),
            Row("netwarp", ("PSPNet + NetWarp", "ICCV2017", "x"), 80.5, _COARSE, "netwarp", _NETWARP),
            _published("grfp", ("PSPNet + GRFP", "CVPR2018", "x"), 80.6),
            _published("efc", ("PSPNet + EFC", "AAAI2020", "x"), 81.0),
            Row("pspnet_dwnet", ("PSPNet + ours", "", ""), 81.1, _R101, "dwnet"),
            Row("pspnet_dwnet_coarse", ("PSPNet + ours", "", "x"), 81.8, _COARSE, "dwnet"),
            Row("danet", ("DANet", "CVPR2019", ""), 81.5, _DANET, "baseline"),
            Row("danet_dwnet", ("DANet + ours", "", ""), 82.1, _DANET, "dwnet"),
        ),
        "Cityscapes test",
    ),
    "table7": Table(
        "Table 7: the state of the art on CamVid (PSPNet, ResNet-101)",
        ("Method", "Source"),
        (
            _published("stfcn", ("STFCN", "arXiv2016"), 65.9),
            Row("dff", ("DFF", "CVPR2017"), 66.0, _CAMVID, "keyframe", _DFF),
            Row("netwarp", ("NetWarp", "ICCV2017"), 70.3, _CAMVID, "netwarp", _NETWARP),
            _published("grfp", ("GRFP", "CVPR2018"), 66.1),
            _published("accel", ("Accel", "CVPR2019"), 69.3),
            _published("efc", ("EFC", "AAAI2020"), 67.4),
            _published("tdnet", ("TDNet", "CVPR2020"), 76.0),
            _published("esvs", ("ESVS", "ECCV2020"), 76.3),
            Row("pspnet", ("PSPNet", "CVPR2017"), 75.4, _CAMVID, "baseline"),
            Row("dwnet", ("PSPNet + ours", ""), 76.5, _CAMVID, "dwnet"),
        ),
        "CamVid test",
    ),
    "neighbours": Table(
        "Where the neighbours come from",
        ("Neighbours",),
        (
            Row("baseline", ("none: single frames",), None, _STREET, "baseline"),
            Row("camera_motion", ("stills: a synthetic camera motion",), None, _STREET, "dwnet_camera_motion"),
            Row("video", ("real frames",), None, _STREET, "dwnet_video"),
            Row("mixed", ("both, drawn for each sample",), None, _STREET, "dwnet_mixed"),
        ),
    ),
    "controls": Table(
        "What the gains are due to",
        ("Trained as", "photometric changes"),
        (
            Row("baseline", ("baseline", ""), None, _STREET, "baseline"),
            Row("baseline_photometric", ("baseline", "frame"), None, _STREET, "baseline_photometric"),
            Row("dwnet_plain", ("DWNet", ""), None, _STREET, "dwnet_plain"),
            Row("dwnet", ("DWNet", "frame, neighbour"), None, _STREET, "dwnet_photometric"),
            Row(
                "baseline_neighbour",
                ("baseline, also on the neighbour with carried labels", "frame, neighbour"),
                None,
                _STREET,
                "baseline_neighbour",
            ),
            Row("identity", ("DWNet with a flow of zeros", "frame, neighbour"), None, _STREET, "dwnet_identity"),
            Row("feature", ("DWNet, l_fc alone", "frame, neighbour"), None, _STREET, "dwnet_feature_alone"),
            Row("prediction", ("DWNet, l_pc alone", "frame, neighbour"), None, _STREET, "dwnet_prediction_alone"),
        ),
    ),
    "deviations": Table(
        "What the paper leaves open, and the deviations of this library's recipes",
        ("Setting",),
        (
            Row("baseline", ("single frames",), None, _STREET, "baseline"),
            Row("dwnet", ("DWNet, as the recipe has it",), None, _STREET, "dwnet"),
            Row("logits", ("Eq. 6 on logits, weight 0.1 (the paper's)",), None, _STREET, "dwnet_logits"),
            Row("softmax", ("Eq. 6 on probabilities, weight 1",), None, _STREET, "dwnet_softmax"),
            Row("regressed", ("FRM regresses the flow outright",), None, _STREET, "dwnet_regressed"),
            Row("detached", ("no gradient into F_t and P_t",), None, _STREET, "dwnet_detached"),
            Row("one_rate", ("one rate for backbone and head (the paper's)",), None, _STREET, "dwnet_one_rate"),
            Row("no_auxiliary", ("no auxiliary head",), None, _STREET, "dwnet_no_auxiliary"),
            Row("dropout", ("dropout 0.1 before the classifiers",), None, _STREET, "dwnet_dropout"),
            Row("decoder", ("PSPNet with a decoder at stride 4",), None, _STREET, "dwnet_decoder"),
            Row("no_decoder", ("PSPNet as published",), None, _STREET, "dwnet_no_decoder"),
            Row("unweighted", ("no class weights (the paper's)",), None, _STREET, "dwnet_unweighted"),
            Row("balanced", ("class weights (class_balance 0.5)",), None, _STREET, "dwnet_balanced"),
        ),
    ),
}
"""Every table by its name."""
