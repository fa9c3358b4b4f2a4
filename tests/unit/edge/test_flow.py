"""Flow control: each side is told once, and who waits for room goes on when there is some."""

import asyncio

from penstock_edge.flow import Flow


class Transport:
    def __init__(self):
        self.told = []
        self.unread = 1000
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self):
        return self.unread

    def abort(self):
        self.aborted.set()

    def pause_reading(self):
        self.told.append("pause")

    def resume_reading(self):
        self.told.append("resume")


async def test_reading_is_held_up_once_and_let_go_once():
    transport = Transport()
    flow = Flow(transport, asyncio.get_running_loop())
    flow.resume_reading()
    for step in (flow.pause_reading, flow.pause_reading, flow.resume_reading, flow.resume_reading):
        step()
    assert transport.told == ["pause", "resume"]


async def test_all_who_wait_for_room_go_on_and_one_may_give_up():
    flow = Flow(Transport(), asyncio.get_running_loop())
    await flow.drain()
    for _ in range(2):
        flow.pause_writing()
        waiting = [asyncio.create_task(flow.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [True, False, False]
        flow.resume_writing()
        await asyncio.gather(*waiting[1:])
        await flow.drain()


async def test_who_reads_nothing_loses_the_connection():
    transport = Transport()
    Flow(transport, asyncio.get_running_loop(), stall_seconds=0.01).pause_writing()
    async with asyncio.timeout(60):
        await transport.aborted.wait()


async def test_who_has_read_enough_keeps_it():
    transport = Transport()
    flow = Flow(transport, asyncio.get_running_loop(), stall_seconds=0.01)
    flow.pause_writing()
    flow.resume_writing()
    flow.resume_writing()
    await asyncio.sleep(0.05)
    assert not transport.aborted.is_set()
