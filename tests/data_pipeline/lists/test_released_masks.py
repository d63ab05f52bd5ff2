import pytest

from passion_components.data.lists.released_masks import presence_from_masks, read_released_masks

MODALITIES = ("flair", "t1ce", "t1", "t2")


@pytest.fixture
def write(tmp_path):
    def make(*rows, header="data_name,mask_id,mask,pos_mask_ids"):
        path = tmp_path / "split.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return make


def test_masks_are_read_as_text_without_their_prefix(write):
    path = write('HG_A1,6,"[True, False, True, False]","[2, 3, 6]"', 'LG_B2,0,"[False,False,False,True]","[0]"')
    assert read_released_masks(path) == {"A1": (True, False, True, False), "B2": (False, False, False, True)}


@pytest.mark.parametrize(
    "mask", ["[True, False]", "[False, False, False, False]", "__import__('os').getcwd()", "[True, 0, True, True]", ""]
)
def test_other_masks_are_refused_with_their_line(write, mask):
    with pytest.raises(
        ValueError, match=r"split.csv, line 2: mask .*; expected 4 values for flair, t1ce, t1, t2, like"
    ):
        read_released_masks(write(f'HG_A1,6,"{mask}",""'))


def test_other_files_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="expected the columns data_name and mask, got case, mask"):
        read_released_masks(write(header="case,mask"))
    with pytest.raises(FileNotFoundError, match=r"none.csv: no such file"):
        read_released_masks(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="line 3: A1 is listed twice, with different masks"):
        read_released_masks(write('HG_A1,,"[True, True, True, True]",', 'HG_A1,,"[True, True, True, False]",'))


def test_a_case_keeps_what_its_mask_keeps_and_it_has():
    masks = {"A": (True, False, True, False), "B": (True, True, True, True), "C": (False,) * 3 + (True,)}
    cases = [{"case": "B", "t1": "b", "t2": "b"}, {"case": "A", "flair": "a", "t1ce": "a", "t1": "a", "t2": "a"}]
    presence = presence_from_masks(masks, cases, ("t2", "t1", "flair", "t1ce"))
    assert presence.tolist() == [[True, True, False, False], [False, True, True, False]]
    with pytest.raises(ValueError, match="D would keep no sequence|1 training cases have no mask, first D"):
        presence_from_masks(masks, [{"case": "D", "t1": "d"}], MODALITIES)
    with pytest.raises(ValueError, match="C would keep no sequence"):
        presence_from_masks(masks, [{"case": "C", "t1": "c"}], MODALITIES)
    with pytest.raises(ValueError, match="released code are of flair, t1ce, t1, t2, this data set has lge"):
        presence_from_masks(masks, cases, ("lge",))
