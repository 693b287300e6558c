"""The columns of a comparison: which networks, smoothed or not, in which order and with which names."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from app.callbacks import Callbacks
from app.columns import MOST_ADDED, MOST_COLUMNS, Column, Models
from app.settings import PageLimits
from dwnet.comparison import load_networks
from dwnet.core.errors import DWNetError
from dwnet.deploy.smoothing import SmoothedSegmenter
from tests.exported import CLASSES
from tests.foreign import class_file, colour_network

PAGE = "page"


@pytest.fixture
def known(models: Path) -> Models:
    return Models(load_networks(models, threads=1))


def test_the_networks_of_the_server_are_chosen_at_the_start(known: Models) -> None:
    assert [column.model for column in known.defaults()] == ["baseline", "static_warp", "dwnet", None]
    networks = known.compared(PAGE, known.defaults(), "dis")
    assert list(networks.segmenters) == ["baseline", "static_warp", "dwnet"]
    assert networks.baseline == "baseline"
    assert networks.flow_refinement is known.networks.flow_refinement


def test_the_first_column_is_the_reference_whatever_it_is(known: Models) -> None:
    networks = known.compared(PAGE, [Column(None), Column("dwnet"), Column("baseline")], "dis")
    assert list(networks.segmenters) == ["dwnet", "Baseline"]
    assert networks.baseline == "dwnet"


def test_names_are_free_and_two_of_one_network_are_two_columns(known: Models) -> None:
    columns = [Column("dwnet", name=" Mine  now "), Column("dwnet"), Column("dwnet"), Column("dwnet", keep=0.7)]
    networks = known.compared(PAGE, columns, "farneback")
    assert list(networks.segmenters) == ["Mine now", "dwnet", "dwnet 2", "dwnet_smoothed_0.7"]
    smoothed = networks.segmenters["dwnet_smoothed_0.7"]
    assert isinstance(smoothed, SmoothedSegmenter)
    assert smoothed.keep == 0.7
    assert not isinstance(networks.segmenters["dwnet"], SmoothedSegmenter)


def test_wrong_columns_are_named(known: Models) -> None:
    for columns, found in (
        ([Column(None)] * MOST_COLUMNS, "no column has a network"),
        ([Column("unet")], "unknown network unet; allowed: baseline, static_warp, dwnet"),
        ([Column("dwnet", name="x" * 41)], "the name of a column has 41 characters; allowed are 40"),
        ([Column("dwnet", keep=1.0)], "0 to below 1"),
    ):
        with pytest.raises(DWNetError, match=found):
            known.compared(PAGE, columns, "dis")


def test_a_visitor_adds_networks_of_ours(known: Models, models: Path, tmp_path: Path) -> None:
    """Other visitors do not see them, and they are freed when the page is closed."""
    file = shutil.copy(models / "dwnet.onnx", tmp_path / "baseline.onnx")
    assert known.add(PAGE, [Path(file)]) == "baseline 2"
    assert list(known.available(PAGE)) == ["baseline", "static_warp", "dwnet", "baseline 2"]
    assert list(known.available("other")) == ["baseline", "static_warp", "dwnet"]
    for _ in range(MOST_ADDED - 1):
        known.add(PAGE, [Path(file)])
    with pytest.raises(DWNetError, match="4 networks were added; allowed are 4"):
        known.add(PAGE, [Path(file)])
    known.leave(PAGE)
    assert list(known.available(PAGE)) == ["baseline", "static_warp", "dwnet"]


def test_a_visitor_adds_a_network_of_another_package(known: Models, tmp_path: Path) -> None:
    """It needs its classes file, as `dwnet adopt` does. Then it is compared with the networks of the server."""
    foreign = colour_network(tmp_path / "theirs.onnx")
    with pytest.raises(DWNetError, match=r"theirs\.onnx does not name its classes"):
        known.add(PAGE, [foreign])
    assert known.add(PAGE, [foreign, class_file(tmp_path / "classes.json", *CLASSES)]) == "theirs"
    networks = known.compared(PAGE, [Column("dwnet"), Column("theirs", name="Theirs")], "dis")
    assert list(networks.segmenters) == ["dwnet", "Theirs"]
    other = class_file(tmp_path / "other.json", "sky", "road", "tree")
    known.add(PAGE, [foreign, other])
    with pytest.raises(DWNetError, match="classes"):
        known.compared(PAGE, [Column("dwnet"), Column("theirs 2")], "dis")


def test_wrong_uploads_are_named(known: Models, models: Path, tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("Red\nGreen\nBlue\n")
    for files, found in (
        ([classes], "found classes.txt; allowed are one .onnx file"),
        ([models / "dwnet.onnx", models / "baseline.onnx"], "allowed are one .onnx file"),
        ([models / "flow_refinement.onnx"], "flow_refinement.onnx refines the flow"),
    ):
        with pytest.raises(DWNetError, match=found):
            known.add(PAGE, files)


def test_the_page_takes_networks_only_where_it_is_allowed(models: Path, callbacks: Callbacks, tmp_path: Path) -> None:
    request = SimpleNamespace(session_hash=PAGE)
    file = str(models / "dwnet.onnx")
    field, note, *columns = callbacks.add_model([file], request)
    assert field is None
    assert "dwnet 2 can be chosen in every column." in note
    assert [column["choices"][-1] for column in columns] == [("dwnet 2", "dwnet 2")] * MOST_COLUMNS
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network" * 100)
    _, note, *columns = callbacks.add_model([str(broken)], request)
    assert "dw-bad" in note
    assert "broken.onnx" in note
    assert str(tmp_path) not in note
    assert columns == [gr.skip()] * MOST_COLUMNS
    callbacks.limits = PageLimits(upload_models=False)
    assert "takes no networks from visitors" in callbacks.add_model([file], request)[1]
