"""Labels in every form that they come in, and the classes' names."""

import dataclasses
import warnings

import numpy as np
import pytest

from genjax_models import DataSpec, plots
from genjax_models.data import Dataset
from genjax_models.data.transforms import relabelled

X = np.zeros((6, 4, 4), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])
WORDS = np.array(["ant", "bee", "cow"])

FORMS = {
    **{str(kind): Y.astype(kind) for kind in (np.int8, np.uint64, np.float16, np.float64)},
    "list": Y.tolist(),
    "column": Y[:, None],
    "one-hot": np.eye(3)[Y],
    "one-hot of truth values": np.eye(3, dtype=bool)[Y],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_labels(form):
    data = Dataset.from_arrays(X, FORMS[form])
    assert data.spec.num_classes == 3 and data.spec.class_names == ()
    assert data.arrays["label"].dtype == np.int32
    np.testing.assert_array_equal(data.arrays["label"], Y)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_words_are_classes_in_sorted_order(kind):
    data = Dataset.from_arrays(X, WORDS[Y[::-1]].astype(kind))
    assert data.spec.class_names == tuple(WORDS)
    np.testing.assert_array_equal(data.arrays["label"], Y[::-1])


def test_words_in_an_order_of_their_own():
    data = Dataset.from_arrays(X, WORDS[Y], class_names=["cow", "bee", "ant", "none here"])
    assert data.spec.num_classes == 4
    np.testing.assert_array_equal(data.arrays["label"], 2 - Y)


def test_truth_values_are_two_classes():
    data = Dataset.from_arrays(X, Y > 0)
    assert data.spec.num_classes == 2
    np.testing.assert_array_equal(data.arrays["label"], Y > 0)


@pytest.mark.parametrize("there", [(1, 2, 3), (0, 2, 7), (5, 900, 10**9)])
def test_gaps_are_closed_up_and_said(there):
    with pytest.warns(
        UserWarning, match=f"labels are {there[0]}, {there[1]}, {there[2]}, with gap"
    ):
        data = Dataset.from_arrays(X, np.array(there)[Y])
    assert data.spec.num_classes == 3 and data.spec.class_names == tuple(map(str, there))
    np.testing.assert_array_equal(data.arrays["label"], Y)
    for number in there:
        assert data.spec.class_name(data.spec.label_of(str(number))) == str(number)


def test_numbers_stay_where_the_classes_are_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for told in ({"num_classes": 4}, {"class_names": "abcd"}):
            data = Dataset.from_arrays(X, Y + 1, **told)
            np.testing.assert_array_equal(data.arrays["label"], Y + 1)
            assert data.spec.num_classes == 4


def test_names_are_for_people_alone():
    spec = DataSpec((4, 4, 1), 256, 2, class_names=("cat", "dog"))
    other = dataclasses.replace(spec, class_names=())
    assert spec == other and hash(spec) == hash(other)
    assert [spec.class_name(i) for i in range(3)] == ["cat", "dog", "2"]
    assert other.class_name(1) == "1"
    assert (spec.label_of("dog"), spec.label_of("1"), other.label_of("1")) == (1, 1, 1)
    with pytest.raises(ValueError, match="no label 'cow': it has cat, dog"):
        spec.label_of("cow")
    with pytest.raises(ValueError, match="no label '2': it has 0 .. 1"):
        other.label_of("2")
    with pytest.raises(ValueError, match="it has none"):
        DataSpec((2,)).label_of("0")


def test_a_name_that_is_another_classs_number_is_the_name():
    assert DataSpec((2,), num_classes=2, class_names=("1", "0")).label_of("0") == 1


def test_names_stand_above_the_columns_of_their_samples():
    x, spec = np.zeros((4, 8, 8, 1)), DataSpec((8, 8, 1), 17, 2, class_names=("cat", "$d_o*g" * 9))
    figure = plots.samples(x, spec, columns=2)
    cat, dog = (text.get_text() for text in figure.texts)
    assert cat == "cat" and dog[0] == "$" and dog[-1] == "…" and len(dog) < 12
    figure.canvas.draw()
    assert not plots.samples(x, spec, columns=4).texts
    assert not plots.samples(x, dataclasses.replace(spec, class_names=()), columns=2).texts


def test_labels_are_counted_as_another_set_counts_the_same_classes():
    spec = DataSpec((4, 4, 1), 256, 4, class_names=("yak", "cow", "bee", "ant"))
    data = relabelled(Dataset.from_arrays(X, WORDS[Y]), spec)
    np.testing.assert_array_equal(data.arrays["label"], 3 - Y)
    assert data.spec.class_names == spec.class_names and data.spec.num_classes == 4
    with pytest.warns(UserWarning, match="with gaps"):
        few = Dataset.from_arrays(X, np.array([1, 3, 9])[Y])
    ten = relabelled(few, DataSpec((4, 4, 1), 256, 10))
    np.testing.assert_array_equal(ten.arrays["label"], np.array([1, 3, 9])[Y])
    with pytest.raises(ValueError, match="has no label '9': it has 0 .. 4"):
        relabelled(few, DataSpec((4, 4, 1), 256, 5))
    bare = Dataset.from_arrays(X)
    assert relabelled(bare, spec) is bare
