"""Broden's layout: reading it, and naming its faults."""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interpretdl.dissection import Broden, check_broden
from interpretdl.errors import ImageReadError, InputError

LABELS = """number,name,category,frequency,coverage,syns
1,cat,object(2),2,1.0,
2,street,scene(1),1,1.0,
300,sky,material(9);object(1),10,3.0,heaven
"""
INDEX = """image,split,ih,iw,sh,sw,object,material,scene
one.png,train,8,6,4,3,a.png;b.png,300,2
sub/two.png,val,8,6,4,3,,,
"""


def plane(rows: list[list[int]]) -> Image.Image:
    numbers = np.array(rows)
    coded = np.stack([numbers % 256, numbers // 256, 0 * numbers], axis=-1)
    return Image.fromarray(coded.astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, four labels, one of them above 255."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "index.csv").write_text(INDEX)
    (tmp_path / "label.csv").write_text(LABELS)
    (tmp_path / "category.csv").write_text(
        "name,first,last,count,frequency\nmaterial,0,0,1,9\nobject,0,0,2,3\nscene,0,0,1,1\n"
    )
    head = "code,number,name,frequency,coverage\n"
    (tmp_path / "c_object.csv").write_text(f"{head}1,1,cat,2,1.0\n2,300,sky,1,2.5\n")
    (tmp_path / "c_material.csv").write_text(f"{head}1,300,sky,9,.5\n")
    (tmp_path / "c_scene.csv").write_text(f"{head}1,2,street,1,1.0\n")
    images = tmp_path / "images"
    for name in ("one.png", "sub/two.png"):
        Image.fromarray(np.full((8, 6, 3), 70, np.uint8)).save(images / name)
    plane([[1, 1, 0], [0, 0, 0], [0, 0, 300], [0, 0, 0]]).save(images / "a.png")
    plane([[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]).save(images / "b.png")
    return tmp_path


def test_a_data_set_is_read(folder: Path) -> None:
    data = Broden(folder)
    assert check_broden(folder) == []
    assert len(data) == 2
    assert data.image(0).shape == (8, 6, 3)
    # the category where its coverage is largest, not where it is most frequent
    found = {label.number: (label.name, label.category) for label in data.labels}
    assert found == {1: ("cat", "object"), 2: ("street", "scene"), 300: ("sky", "object")}
    assert data.categories == ("object", "scene", "material")

    positions, masks = data.truth(0)
    assert [data.labels[i].number for i in positions] == [1, 2, 300]
    # in both PNGs, and counted once where they agree
    assert masks[0].tolist() == [[True, True, True], *[[False] * 3] * 3]
    assert masks[1].all()  # a label of the whole image
    assert masks[2].all()  # of the whole image as well as in a PNG
    assert data.truth(1)[0].size == 0


def test_spaces_and_a_byte_order_mark_are_no_fault(folder: Path) -> None:
    text = (
        (folder / "label.csv").read_text().replace("material(9);object(1)", "material(9); object")
    )
    (folder / "label.csv").write_text("\ufeff" + text)
    assert check_broden(folder) == []
    assert Broden(folder).labels[2].category == "object"


def test_split(folder: Path) -> None:
    assert [r.image for r in Broden(folder, "val").records] == ["sub/two.png"]
    with pytest.raises(InputError, match="it has train, val"):
        Broden(folder, "test")


def test_digest_tells_files_apart(folder: Path) -> None:
    before = Broden(folder).digest()
    assert before == Broden(folder).digest() != Broden(folder, "val").digest()
    with (folder / "images" / "a.png").open("ab") as file:
        file.write(b"more")
    assert Broden(folder).digest() != before


def test_the_digest_is_cheap_and_belongs_to_the_content(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file but the tables is looked at, and a copy of the data set has the same digest."""
    data = Broden(folder)
    copy = shutil.copytree(folder, folder.parent / "copy")
    looked = []

    def stat(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        looked.append(path)
        return real(path, *rest, **options)

    real = os.stat
    monkeypatch.setattr(os, "stat", stat)
    digest = data.digest()
    assert not [path for path in looked if "images" in str(path)]
    assert Broden(copy).digest() == digest
    assert Broden(folder, categories=["object", "scene"]).digest() != digest


def test_each_file_is_looked_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broden has 63,305 rows and 300,000 files, and this is done on every start."""
    looked: list[str] = []
    for name in ("stat", "lstat", "readlink"):
        real = getattr(os, name)

        def counted(path: Any, *rest: Any, real: Any = real, **options: Any) -> Any:
            looked.append(os.fspath(path))
            return real(path, *rest, **options)

        monkeypatch.setattr(os, name, counted)
    Broden(folder).digest()
    below = [path for path in looked if "images" + os.sep in path]
    assert sorted(Path(path).name for path in below) == ["a.png", "b.png", "one.png", "two.png"]


def test_categories_that_count(folder: Path) -> None:
    """sky is an object and a material; index.csv says of one.png that all of it is the material."""
    (folder / "c_material.csv").write_text("code,number,name,frequency,coverage\n1,300,sky,9,9.0\n")
    everything = Broden(folder)
    assert [label.category for label in everything.labels] == ["object", "scene", "material"]
    data = Broden(folder, categories=["scene", "object"])
    assert data.categories == ("object", "scene")
    found = {label.number: label.category for label in data.labels}
    assert found == {1: "object", 2: "scene", 300: "object"}
    positions, masks = data.truth(0)
    assert [data.labels[i].number for i in positions] == [1, 2, 300]
    assert masks[2].sum() == 1  # where a.png says so, and no longer everywhere
    # sky counts nowhere, where only objects and materials list it; the PNG still has it
    data = Broden(folder, categories="scene")
    assert [label.number for label in data.labels] == [2]
    assert data.records[0].files == ()
    assert [data.labels[i].number for i in data.truth(0)[0]] == [2]


def test_labels_that_do_not_count_may_be_in_the_pictures(folder: Path) -> None:
    plane([[1, 1, 0], [0, 0, 0], [0, 0, 2], [0, 0, 0]]).save(folder / "images" / "a.png")
    data = Broden(folder, categories="object")
    assert [data.labels[i].number for i in data.truth(0)[0]] == [1]
    plane([[1, 1, 0], [0, 0, 0], [0, 0, 3], [0, 0, 0]]).save(folder / "images" / "a.png")
    with pytest.raises(InputError, match="has the label 3, not in"):
        data.truth(0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("objects", "no category 'objects'; .*did you mean 'object'"),
        (["object", "color"], "no category 'color'; the data set has object, scene, material"),
        ([], "at least one of object, scene, material"),
        ([1], "no category 1"),
        (["object", None], "no category None"),
    ],
)
def test_wrong_categories(folder: Path, given: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        Broden(folder, categories=given)


def test_a_category_without_labels(folder: Path) -> None:
    edit("label.csv", "scene(1)", "object(1)")(folder)
    (folder / "c_object.csv").write_text(
        "code,number,name,frequency,coverage\n1,1,cat,2,1.0\n2,300,sky,1,2.5\n3,2,street,1,1\n"
    )
    with pytest.raises(InputError, match="has no label in scene"):
        Broden(folder, categories="scene")


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


TABLE_FAULTS = [
    (removed("index.csv"), "index.csv cannot be read"),
    (removed("label.csv"), "label.csv cannot be read"),
    (removed("category.csv"), "category.csv cannot be read"),
    (removed("c_scene.csv"), "c_scene.csv cannot be read"),
    (removed("images/one.png"), "line 2: no file images/one.png"),
    (removed("images/b.png"), "line 2: no file images/b.png"),
    (edit("index.csv", "sh,sw", "sh,xx"), "index.csv has no column sw"),
    (edit("index.csv", ",train", ""), "index.csv, line 2: not as many cells"),
    (edit("index.csv", "8,6", "8,six"), "line 2: 'six' is not a whole number"),
    (edit("index.csv", "8,6", "8,0"), "line 2: a size below 1"),
    (edit("index.csv", "4,3", "9999,9999"), "line 2: labels of 9999 x 9999 pixels"),
    (edit("index.csv", "300", "301"), "line 2: the label 301 is not in label.csv"),
    (edit("index.csv", "a.png", "../a.png"), "'../a.png' is not a path below images/"),
    (edit("index.csv", "one.png", "/etc/passwd"), "'/etc/passwd' is not a path below"),
    (edit("index.csv", "a.png", "..\\\\a.png"), "is not a path below images/"),
    (edit("index.csv", "a.png", "x/../a.png"), "is not a path below images/"),
    (edit("index.csv", "a.png", "\\\\host\\share"), "is not a path below images/"),
    (edit("index.csv", "a.png", "C:a.png"), "is not a path below images/"),
    (edit("index.csv", "a.png", "n" * 5000), "no file images/'nnn"),
    (edit("index.csv", "a.png", "1" * 5000), "line 2: '111"),
    (edit("index.csv", "8,6", "8," + "6" * 5000), "line 2: '666"),
    (edit("index.csv", "a.png", "sub"), "no file images/sub"),
    (edit("index.csv", "a.png", "a\0.png"), "index.csv"),
    (edit("c_scene.csv", "1.0", "nan"), "coverage 'nan' is not a number"),
    (edit("label.csv", "2,street", "9" * 5000 + ",street"), "is not a whole number"),
    (edit("category.csv", "scene", "split"), "'split' is not a valid name"),
    (edit("category.csv", "scene", "s" * 300), "is not a valid name"),
    (lambda folder: (folder / "label.csv").write_text(LABELS[:45]), "label.csv lists no label"),
    (edit("label.csv", "2,street", "x,street"), "label.csv, line 3: 'x' is not a whole number"),
    (edit("label.csv", "2,street", "1,street"), "line 3: the number 1 is listed twice"),
    (edit("label.csv", "2,street", "70000,street"), "number 70000 is not in"),
    (edit("label.csv", "scene(1)", "seen(1)"), "the category 'seen' is not in category.csv"),
    (edit("label.csv", "scene(1)", ""), "line 3: it has no category"),
    (edit("category.csv", "scene", "../x"), "'../x' is not a valid name"),
    (edit("category.csv", "scene", "object"), "object is listed twice"),
    (edit("c_scene.csv", "1,2,", "1,3,"), "c_scene.csv does not list 2"),
    (edit("c_scene.csv", "1.0", "much"), "coverage 'much' is not a number"),
]


@pytest.mark.parametrize(
    ("change", "named"), TABLE_FAULTS, ids=[named[:40] for _, named in TABLE_FAULTS]
)
def test_faults_of_tables_are_named(
    folder: Path, change: Callable[[Path], None], named: str
) -> None:
    change(folder)
    faults = check_broden(folder)
    assert any(named in fault for fault in faults)
    assert max(map(len, faults)) < 200
    with pytest.raises(InputError, match="not a data set in Broden's layout"):
        Broden(folder)


def test_every_fault_is_named_and_the_error_is_short(folder: Path) -> None:
    lines = INDEX.splitlines()
    bad = "\n".join([lines[0], *["lost.png,train,8,6,4,3,,,"] * 12])
    (folder / "index.csv").write_text(bad + "\n")
    assert len(check_broden(folder)) == 12
    with pytest.raises(InputError, match="and 7 more"):
        Broden(folder)


def test_faults_of_pictures_are_named(folder: Path) -> None:
    images = folder / "images"
    whole = (images / "a.png").read_bytes()
    wrong = {
        "4 x 4 pixels; index.csv, line 2, says 4 x 3": plane([[0] * 4] * 4),
        "mode L; labels need RGB": Image.new("L", (3, 4)),
        "has the label 299, not in label.csv": plane([[299, 0, 0], *[[0] * 3] * 3]),
    }
    for named, image in wrong.items():
        image.save(images / "a.png")
        faults = check_broden(folder)
        assert len(faults) == 1
        assert named in faults[0]
        assert "line 2" in faults[0]
    for content in (whole[:40], whole[:8], whole[:20], whole[:-30], b"GIF89a", b""):
        (images / "a.png").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as a PNG"):
            Broden(folder).truth(0)
    (images / "one.png").write_bytes(b"nothing")
    Image.new("RGB", (9, 8)).save(images / "sub" / "two.png")
    assert check_broden(folder, files=False) == []
    first, second, third = check_broden(folder)
    assert "not an image" in first
    assert "a.png" in second
    assert "8 x 9 pixels; index.csv, line 3, says 8 x 6" in third


def test_mutated_label_pictures_are_refused_or_read(folder: Path) -> None:
    """Bits of a PNG changed by chance: truth, or an InputError; nothing else, and no warning."""
    path = folder / "images" / "a.png"
    whole, data = path.read_bytes(), Broden(folder)
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(8, len(whole), rng.integers(1, 6)):
            content[place] = rng.integers(256)
        path.write_bytes(bytes(content))
        with contextlib.suppress(InputError):
            data.truth(0)


def test_a_large_picture_is_refused_before_it_is_decoded(folder: Path) -> None:
    """Its header claims 20000 x 20000; Pillow's warning of that would be no help."""
    path = folder / "images" / "a.png"
    whole = bytearray(path.read_bytes())
    whole[16:24] = (20_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(bytes(whole[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"20000 x 20000 pixels; index.csv, line 2"):
        Broden(folder).truth(0)


def test_masks_that_would_fill_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """65535 labels in one picture of 16 million pixels would be a terabyte."""
    monkeypatch.setattr("interpretdl.dissection.broden._MOST_MASK_BYTES", 35)
    with pytest.raises(InputError, match=r"one.png has 3 labels of 4 x 3 pixels"):
        Broden(folder).truth(0)


def test_links_do_not_lead_out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    Image.new("RGB", (6, 8)).save(secret)
    link = folder / "images" / "one.png"
    link.unlink()
    link.symlink_to(secret)
    with pytest.raises(InputError, match="leads out"):
        Broden(folder).image(0)


def test_missing_file_at_the_time_of_reading(folder: Path) -> None:
    data = Broden(folder)
    (folder / "images" / "one.png").unlink()
    with pytest.raises(ImageReadError, match="no such file"):
        data.image(0)
