import pytest

from genjax_models.data.dataset import parse_split, split_bounds

KNOWN = ("train", "test")


@pytest.mark.parametrize(
    ("written", "num", "start", "stop"),
    [
        ("train", 10, 0, 10),
        ("train[:4]", 10, 0, 4),
        ("train[4:]", 10, 4, 10),
        ("train[-3:]", 10, 7, 10),
        ("train[2:99]", 10, 2, 10),
        ("test[90%:]", 1000, 900, 1000),
        ("test[-10%:]", 1000, 900, 1000),
        ("test[:33%]", 10, 0, 3),
    ],
)
def test_slices_are_read_as_tfds_reads_them(written, num, start, stop):
    name, *ends = parse_split(written, KNOWN, "mine")
    assert name == written.split("[")[0]
    assert split_bounds(*ends, num) == slice(start, stop)


@pytest.mark.parametrize(
    "written", ["trian", "", "train[5]", "train[:5", "train[a:]", "train+test"]
)
def test_what_is_no_split_is_refused(written):
    with pytest.raises(ValueError, match="mine has no split .* it has train, test"):
        parse_split(written, KNOWN, "mine")
