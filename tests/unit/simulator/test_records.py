from penstock_simulator.records import Record, Records


def add(records, **fields):
    record = Record(
        seq=records.next_seq(), **{"account": "a", "operation": "messages", "upstream_request_id": "u"} | fields
    )
    records.add(record)
    return record


def test_the_oldest_goes_and_is_counted():
    records = Records(3)
    for _ in range(5):
        add(records)
    assert [record.seq for record in records] == [3, 4, 5]
    assert (len(records), records.dropped) == (3, 2)


def test_select():
    records = Records(10)
    add(records, account="a", request_id="r1")
    add(records, account="b", request_id="r1")
    add(records, account="b", operation="models", format="openai_models")
    assert [r.seq for r in records.select(account="b")] == [2, 3]
    assert [r.seq for r in records.select(request_id="r1")] == [1, 2]
    assert [r.seq for r in records.select(operation="models")] == [3]
    assert [r.seq for r in records.select(format="openai_models")] == [3]
    assert [r.seq for r in records.select(after=2)] == [3]


def test_numbers_go_on_after_clearing():
    records = Records(1)
    add(records)
    add(records)
    records.clear()
    assert (len(records), records.dropped) == (0, 0)
    assert add(records).seq == 3
