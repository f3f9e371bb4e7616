"""The table of prices: offline, exact to the micro-cent, silent about what it does not know."""

import subprocess
import sys

import pytest

from orchestrator.drivers import prices
from orchestrator.drivers.prices import PriceTable

MILLION = 1_000_000
CENT = 1_000_000


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return PriceTable()


def test_a_model_is_priced_with_and_without_its_provider(table: PriceTable) -> None:
    assert table.of("gpt-4o", MILLION, MILLION) == (250 + 1_000) * CENT
    assert table.of("openai/gpt-4o", MILLION, MILLION) == (250 + 1_000) * CENT
    assert table.of("OpenAI/GPT-4o", MILLION, 0) == 250 * CENT
    assert table.of("openrouter/openai/gpt-4o", 1_000, 0) is not None


def test_cached_input_costs_less_and_is_never_more_than_all(table: PriceTable) -> None:
    assert table.of("gpt-4o", 1_000, 0, 200) == 800 * 250 + 200 * 125
    assert table.of("gpt-4o", 100, 0, 200) == 100 * 125


@pytest.mark.parametrize(
    "model", ["", "/", "stub/gpt-4o", "ollama/llama3", "nobody-knows-this", "openai/", "ü/😀"]
)
def test_an_unknown_model_has_no_price(table: PriceTable, model: str) -> None:
    assert table.of(model, 10, 10) is None


def test_names_of_models_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MOST_NAMES", 3)
    table = PriceTable()
    table.of("m0", 1, 1)
    first = table._snapshot
    assert [table.of(f"m{no}", 1, 1) for no in range(9)] == [None] * 9
    assert table._snapshot is not first
    assert table.of("gpt-4o", MILLION, 0) == 250 * CENT


def test_nothing_is_fetched_and_nothing_imported_before_it_is_needed() -> None:
    script = (
        "import socket, sys, threading\n"
        "def refuse(*_): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from orchestrator.drivers.prices import PriceTable\n"
        "assert 'genai_prices' not in sys.modules\n"
        "assert PriceTable().of('gpt-4o', 1, 1) == 1250\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
