from metasemi_plugin.data.notes import Notes


def test_nothing_to_say():
    assert Notes().lines() == []


def test_a_line_each():
    lines = Notes({".tif": 3}, {"integer": [0, 4095], "float": [-1.5, 2.0]}, cut=2).lines()
    assert lines[0] == "left out of the data: 3 .tif"
    assert [("(integer)" in line, "4095" in line) for line in lines[1:3]] == [
        (True,) * 2,
        (False,) * 2,
    ]
    assert "-1.5" in lines[2]
    assert lines[3].startswith("2 color images have 16 bits a channel")
