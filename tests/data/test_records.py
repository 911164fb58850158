"""Records of one's own as a data set: a list of dicts, and Hugging Face's datasets."""

import numpy as np
import pytest
from PIL import Image

from genjax_models.core.types import DataSpec
from genjax_models.data import Dataset
from genjax_models.training import feed

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
LABELS = [1, 0, 2, 1, 1, 0]


class Lazy:
    """Records that are made when they are asked for, and counted."""

    def __init__(self, records):
        self.records, self.asked = records, []

    def __len__(self):
        return len(self.records)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.records[i]


def records(image=Image.fromarray, label=lambda i: LABELS[i]):
    return [{"image": image(x), "label": label(i), "id": str(i)} for i, x in enumerate(PIXELS)]


@pytest.mark.parametrize("image", [Image.fromarray, np.asarray, np.ndarray.tolist])
def test_a_list_of_dicts(image):
    data = Dataset.from_source(records(image), name="mine", class_names="abc")
    assert data.spec == DataSpec((5, 4, 3), 256, 3, name="mine") and not data.in_memory
    assert data.spec.class_names == ("a", "b", "c") and len(data) == 6
    batch = data.rows([4, 0, 2])
    np.testing.assert_array_equal(batch["x"], PIXELS[[4, 0, 2]])
    np.testing.assert_array_equal(batch["label"], [1, 1, 2])
    assert batch["x"].dtype == np.uint8 and batch["label"].dtype == np.int32
    np.testing.assert_array_equal(data[2:].rows([1])["x"], PIXELS[[3]])


def test_it_streams():
    source = Lazy(records())
    data = Dataset.from_source(source, label=None)
    assert source.asked == [0] and data.spec.num_classes is None
    assert set(data.rows([5])) == {"x"} and source.asked == [0, 5]


def test_labels_may_be_words_or_absent():
    words = ["dog", "cat", "dog", "cow", "dog", "cat"]
    data = Dataset.from_source(records(label=lambda i: words[i]))
    assert data.spec.class_names == ("cat", "cow", "dog")
    np.testing.assert_array_equal(data.rows(range(6))["label"], [2, 0, 2, 1, 2, 0])
    bare = [{"picture": x} for x in PIXELS]
    assert Dataset.from_source(bare, "picture").spec.num_classes is None


def test_images_come_to_one_size_and_colour_as_those_of_a_folder():
    sizes = [(9, 20), (14, 7), (30, 30)]
    mixed = [
        {"image": Image.new(mode, size, 90)}
        for mode, size in zip(("L", "RGB", "P"), sizes, strict=True)
    ]
    for color, channels in ((None, 1), ("gray", 1), ("rgb", 3)):  # the first is gray
        data = Dataset.from_source(mixed, size=(6, 8), color=color)
        assert data.rows(range(3))["x"].shape == (3, 6, 8, channels)
    with pytest.warns(UserWarning, match="some images have colours.* give color='rgb'"):
        Dataset.from_source([{"image": PIXELS[0, :, :, 0]}, {"image": PIXELS[0]}]).rows([0, 1])
    data = Dataset.from_source(mixed, size=6, crop="random", flip=True)
    assert data.rows(range(3))["x"].shape == (3, 6, 6, 1)
    batches = [list(feed._read_ahead(data, 0, 2, 0, 6, workers)) for workers in (0, 1, 4)]
    for other in batches[1:]:
        np.testing.assert_array_equal([b["x"] for b in other], [b["x"] for b in batches[0]])
    clear = np.dstack([PIXELS[0], np.zeros((5, 4), np.uint8)])
    data = Dataset.from_source([{"image": clear}], background=7)
    assert (data.rows([0])["x"] == 7).all()


BAD = {
    "an iterator": ((iter(()),), {}, "which gives no records by number"),
    "no records": (([],), {}, "has no records"),
    "no mappings": (([1, 2],), {}, "a record is a int: give mappings"),
    "no such image": ((records(), "img"), {}, "image, label, id and no 'img': name one by image="),
    "no such label": ((records(), "image", "y"), {}, "and no 'y': name one by label="),
    "floats": ((records(lambda x: x / 255.0),), {}, "record 0 is not a readable image: .* float64"),
    "channels first": ((records(lambda x: x.transpose(2, 1, 0)),), {}, r"shape \(3, 4, 5\)"),
    "text": ((records(lambda x: "a.png"),), {}, "record 0 is not a readable image"),
    "negative labels": ((records(label=lambda i: -1),), {}, "number the classes from 0"),
    "no size": ((records(),), {"size": 0}, "size is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sources_are_refused_in_one_line(case):
    args, options, message = BAD[case]
    with pytest.raises((ValueError, TypeError), match=message) as error:
        Dataset.from_source(*args, **options)
    assert "\n" not in str(error.value)


def test_another_size_is_refused_where_it_is_met():
    data = Dataset.from_source([{"image": PIXELS[0]}, {"image": PIXELS[0, :3]}])
    with pytest.raises(ValueError, match="source: record 1 is 4x3, and record 0 is 4x5; give size"):
        data.rows([0, 1])


def test_hugging_face_s_datasets():
    hf = pytest.importorskip("datasets")
    names = ["cat", "dog", "cow", "emu"]  # of which one has no example
    features = hf.Features({"picture": hf.Image(), "kind": hf.ClassLabel(names=names)})
    columns = {"picture": [Image.fromarray(x) for x in PIXELS], "kind": LABELS}
    source = hf.Dataset.from_dict(columns, features=features)
    data = Dataset.from_source(source, "picture", "kind")
    assert data.spec == DataSpec((5, 4, 3), 256, 4, name="source")
    assert data.spec.class_names == tuple(names)
    batch = data.rows([5, 2])
    np.testing.assert_array_equal(batch["x"], PIXELS[[5, 2]])
    np.testing.assert_array_equal(batch["label"], [0, 2])
    found = list(feed._read_ahead(data, 0, 2, 0, 5, 4))
    expected = [feed.batch_at(data, 0, step, 2) for step in range(5)]
    np.testing.assert_array_equal([b["x"] for b in found], [b["x"] for b in expected])
