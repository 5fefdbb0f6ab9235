"""Price files: read exactly, or refused with one line a fault."""

import numpy as np
import pytest

from model.errors import ScenarioError
from model.prices import read_prices

HEADER = "timestamp,open,high,low,close,volume\n"
SOUND = HEADER + "2024-01-01T00:00:00,10,12,9,11,5\n2024-01-01T01:00:00,11,11,11,11,0\n2024-01-01T02:00:00,11,13,10,12,1\n"
MARKETS = ("BTC", "ETH", "ALT")


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def to(name, text):
        (tmp_path / name).write_text(text)
        return name

    return to


def faults(files, markets=MARKETS):
    with pytest.raises(ScenarioError) as caught:
        read_prices(files, markets)
    return caught.value.faults


def test_a_sound_file_is_read_as_it_stands(write):
    table = read_prices([write("a.csv", SOUND)], MARKETS)
    assert table.markets == ("BTC",)
    assert table.open.tolist() == [[10, 11, 11]]
    assert table.high.tolist() == [[12, 11, 13]]
    assert table.low.tolist() == [[9, 11, 10]]
    assert table.close.tolist() == [[11, 11, 12]]
    assert table.time.tolist() == np.array(["2024-01-01T00", "2024-01-01T01", "2024-01-01T02"], "datetime64[ns]").tolist()
    assert (table.hours, table.missing) == (1.0, 0)


def test_volume_is_optional_columns_may_stand_in_any_order_and_blank_lines_pass(write):
    text = "Close, LOW,high,open,timestamp,trades\n11,9,12,10,2024-01-01 00:00,7\n\n12,11,12,11,2024-01-01T00:00:30Z,7\n\n"
    table = read_prices([write("a.csv", text)], MARKETS)
    assert table.close.tolist() == [[11, 12]]
    assert table.hours == pytest.approx(30 / 3600)


def test_offsets_become_utc(write):
    text = SOUND.replace("T00:00:00", "T02:00:00+02:00").replace("T01:00:00,", "T01:00:00+00:00,").replace("T02:00:00,", "T02:00:00Z,")
    assert read_prices([write("a.csv", text)], MARKETS).hours == 1.0


def test_absent_periods_are_counted(write):
    # Hours 0, 1, 2, 5, 6: three and four are absent.
    text = SOUND + "2024-01-01T05:00:00,1,1,1,1,1\n2024-01-01T06:00:00,1,1,1,1,1\n"
    table = read_prices([write("a.csv", text)], MARKETS)
    assert (table.hours, table.missing, table.open.shape) == (1.0, 2, (1, 5))


def test_markets_come_in_scenario_order_however_they_are_given(write):
    write("b.csv", SOUND)
    write("e.csv", SOUND.replace(",10,12,9,11,", ",100,120,90,110,"))
    for files in (["ETH=e.csv", "BTC=b.csv"], {"ETH": "e.csv", "BTC": "b.csv"}, ["ETH=e.csv", "b.csv"], {None: "b.csv", "ETH": "e.csv"}):
        table = read_prices(files, MARKETS)
        assert table.markets == ("BTC", "ETH")
        assert table.open[:, 0].tolist() == [10, 100]


def test_one_file_can_hold_all_markets(write):
    lines = SOUND.splitlines()
    rows = [f"{line},{market}" for line in lines[1:] for market in ("ETH", "BTC")]
    table = read_prices([write("all.csv", "\n".join([lines[0] + ",market", *rows]))], MARKETS)
    assert table.markets == ("BTC", "ETH")
    assert table.close.tolist() == [[11, 11, 12]] * 2


def test_a_period_one_market_lacks_is_left_out_for_all(write):
    longer = SOUND + "2024-01-01T03:00:00,12,12,12,12,1\n"
    lacking = longer.replace("2024-01-01T01:00:00,11,11,11,11,0\n", "")
    more = longer + "2024-01-01T04:00:00,12,12,12,12,1\n"
    lacking += "2024-01-01T04:00:00,12,12,12,12,1\n"
    table = read_prices({"BTC": write("b.csv", more), "ETH": write("e.csv", lacking)}, MARKETS)
    assert table.missing == 1
    assert table.open.shape == (2, 4)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("2024-01-01T03:00:00,x,12,9,11,5", "a.csv:5: open: found x, expected a number"),
        ("2024-01-01T03:00:00,10,12,9,,5", "a.csv:5: close: found nothing, expected a number"),
        ("2024-01-01T03:00:00,10,inf,9,11,5", "a.csv:5: high: found inf, expected a number"),
        ("2024-01-01T03:00:00,10,12,nan,11,5", "a.csv:5: low: found nan, expected a number"),
        ("2024-01-01T03:00:00,10,12,0,11,5", "a.csv:5: low: found 0, expected more than 0"),
        ("2024-01-01T03:00:00,-1,12,9,11,5", "a.csv:5: open: found -1, expected more than 0"),
        ("2024-01-01T03:00:00,10,12,13,11,5", "a.csv:5: low: found 13 above high 12, expected at most high"),
        ("2024-01-01T03:00:00,8,12,9,11,5", "a.csv:5: open: found 8 outside 9 to 12, expected a price from low to high"),
        ("2024-01-01T03:00:00,10,12,9,12.5,5", "a.csv:5: close: found 12.5 outside 9 to 12, expected a price from low to high"),
        ("2024-01-01T03:00:00,10,12,9,11,-5", "a.csv:5: volume: found -5, expected 0 or more"),
        ("1704078000,10,12,9,11,5", "a.csv:5: timestamp: found 1704078000, expected ISO 8601, e.g. 2021-04-03T00:00:00"),
        ("2024-01-01T02:00:00,10,12,9,11,5", "a.csv:5: timestamp: found 2024-01-01T02:00:00 again, expected each timestamp once"),
        (
            "2024-01-01T00:30:00,10,12,9,11,5",
            "a.csv:5: timestamp: found 2024-01-01T00:30:00 after 2024-01-01T02:00:00, expected timestamps in increasing order",
        ),
        (
            "2024-01-01T03:30:00,10,12,9,11,5",
            "a.csv:5: timestamp: found 0 days 01:30:00 after the row before, expected a whole multiple of 0 days 01:00:00",
        ),
        ("2024-01-01T03:00:00,10,12,9,11,5,6", "a.csv:5: fields: found 7, expected 6"),
    ],
)
def test_one_fault_is_one_line(write, row, expected):
    assert faults([write("a.csv", SOUND + row + "\n")]) == [expected]


def test_all_faults_of_all_files_are_told_in_the_order_of_lines(write):
    a = write("a.csv", HEADER + "2024-01-01T00:00:00,10,12,9,11,5\nfoo,10,12,9,y,5\n\n2024-01-01T01:00:00,10,12,x,11,5\n")
    b = write("b.csv", SOUND.replace(",13,", ",0,"))
    lines = faults({"BTC": a, "ETH": b})
    assert [line.split(": found")[0] for line in lines] == ["a.csv:3: timestamp", "a.csv:3: close", "a.csv:5: low", "b.csv:4: high"]


def test_a_hopeless_file_does_not_flood_the_screen(write):
    rows = "".join(f"2024-01-{day:02d}T00:00:00,x,1,1,1,1\n" for day in range(1, 31))
    lines = faults([write("a.csv", HEADER + rows)])
    # Thirty faults: twenty shown, ten counted.
    assert len(lines) == 21
    assert lines[-1] == "a.csv: 10 further faults"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.csv: columns: found an empty file, expected columns timestamp, open, high, low, close"),
        ("time,open,high,low,close\n1,1,1,1,1\n", "a.csv:1: columns: found time, open, high, low, close, expected also timestamp"),
        (HEADER, "a.csv: rows: found 0, expected at least 2"),
        (SOUND.split("2024-01-01T01")[0], "a.csv: rows: found 1, expected at least 2"),
        (HEADER + "2024-01-01,1,1,1,1,1,9\n", "a.csv:2: fields: found more than the header has, expected a value for each column"),
    ],
)
def test_a_file_that_is_no_price_file_is_refused(write, text, expected):
    assert faults([write("a.csv", text)]) == [expected]


def test_files_that_cannot_be_read_are_named(write, tmp_path):
    assert faults(["none.csv"]) == ["none.csv: file: found no such file or directory, expected a readable file"]
    assert faults([]) == ["prices: files: found none, expected at least one file"]
    (tmp_path / "bytes.csv").write_bytes(b"timestamp,open\n\xff\xfe\n")
    assert faults(["bytes.csv"]) == ["bytes.csv: text: found bytes that are not UTF-8, expected a UTF-8 text file"]


def test_markets_must_be_known_and_given_once(write):
    a = write("a.csv", SOUND)
    assert faults([f"XRP={a}"]) == ["a.csv: market: found XRP, expected one of BTC, ETH, ALT"]
    assert faults([a, f"BTC={a}"]) == ["a.csv: market: found BTC again, expected each market once (also in a.csv)"]
    lines = SOUND.splitlines()
    table = write("m.csv", "\n".join([lines[0] + ",market", lines[1] + ",BTC", lines[2] + ",BTC", lines[3] + ",XRP"]))
    assert faults([table]) == ["m.csv:4: market: found XRP, expected one of BTC, ETH, ALT"]
    named = "m.csv:1: columns: found market in a file given for BTC, expected a file of one market, or a path without a name"
    assert faults([f"BTC={table}"]) == [named]


def test_markets_must_cover_one_span_at_one_spacing(write):
    a = write("a.csv", SOUND)
    b = write("b.csv", SOUND + "2024-01-01T03:00:00,12,12,12,12,1\n")
    spans = [f"2024-01-01T00:00:00+00:00 to 2024-01-01T0{hour}:00:00+00:00" for hour in (2, 3)]
    assert faults({"BTC": a, "ETH": b}) == [f"b.csv: timestamp: found {spans[1]}, expected the span of a.csv, {spans[0]}"]
    c = write("c.csv", HEADER + "2024-01-01T00:00:00,1,1,1,1,1\n2024-01-01T02:00:00,1,1,1,1,1\n")
    assert faults({"BTC": a, "ETH": c}) == ["c.csv: timestamp: found rows 0 days 02:00:00 apart, expected 0 days 01:00:00 as in a.csv"]


def test_a_column_that_is_there_twice_is_refused(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("timestamp,open,open,high,low,close\n2024-01-01T00:00:00,1,2,3,1,2\n2024-01-01T01:00:00,1,2,3,1,2\n")
    with pytest.raises(ScenarioError) as caught:
        read_prices({"BTC": path}, ["BTC"])
    assert caught.value.faults == [f"{path}:1: columns: found open again, expected each column once"]
