"""The first Ctrl-C waits, the second does not, and afterwards everything is as before."""

import os
import signal
import threading

import pytest

from toy_models.training.interrupt import deferred_interrupt


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_interrupt_only_sets_the_flag():
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        press_ctrl_c()
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_is_not_held_back():
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt():
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone():
    seen = []

    def work():
        with deferred_interrupt() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]
