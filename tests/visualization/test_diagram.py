"""Models as pictures: what is counted adds up, and the pictures in docs/ are those of the models."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from torch import nn

from foveal.visualization.diagram import draw_model, model_parts
from tools.draw_models import FOLDER, PAGE, SECTIONS, page

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = [(heading, name) for heading, (_, names) in SECTIONS.items() for name in names]
# one of each kind is drawn again by default
QUICK = {"shvit_s1", "retinanet/retinanet_r50_fpn_1x_coco", "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512"}
QUICK |= {"cfsr_x2"}


class Network(nn.Module):
    """A stem, a list of equal layers, a tower that is called twice, and a layer that never runs."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Conv2d(8, 4, 1)
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()) for _ in range(3))
        self.unused = nn.Linear(8, 8)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.tower(x), self.tower(x[..., ::2, ::2])


def test_parts_are_in_the_order_of_their_run():
    network = Network()
    parts = model_parts(network.train(), torch.zeros(1, 3, 32, 48))
    assert network.training
    assert [(part.name, part.shape, part.calls, part.params) for part in parts] == [
        ("stem", (8, 16, 24), 1, 8 * 27 + 8),
        ("layers.0 … 2", (8, 16, 24), 1, 3 * (8 * 72 + 8)),
        ("tower", (4, 16, 24), 2, 36),
    ]


def test_a_picture_shows_what_is_counted():
    parts = model_parts(Network(), torch.zeros(1, 3, 32, 48))
    root = ET.fromstring(draw_model("A & B", parts))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "A & B: 2.0 K parameters"
    assert "8 × 16 × 24" in texts and "4 × 16 × 24, 2 times" in texts and "layers.0 … 2" in texts
    bars = [float(e.get("width")) for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill-opacity")]
    assert len(bars) == 3 and max(bars) == bars[1]


@pytest.mark.parametrize(
    ("heading", "name"),
    [pytest.param(*pair, marks=[] if pair[1] in QUICK else pytest.mark.slow, id=pair[1]) for pair in NAMES],
)
def test_the_picture_in_the_documentation_is_current(heading, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert (FOLDER / f"{name.rpartition('/')[2]}.svg").read_text() == SECTIONS[heading][0](name)


def test_the_page_has_every_picture_and_there_is_no_other():
    assert PAGE.read_text() == page()
    assert {path.stem for path in FOLDER.iterdir()} == {name.rpartition("/")[2] for _, name in NAMES}


def test_every_family_of_backbones_has_one():
    from foveal.backbones.catalog import CATALOG

    drawn = {CATALOG[name].backbone["type"] for name in SECTIONS["Backbones"][1]}
    assert drawn == {variant.backbone["type"] for variant in CATALOG.values()}
