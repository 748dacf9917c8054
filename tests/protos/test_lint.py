"""Every rule of the contracts' checker finds what it is there to find, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from protos.descriptors import Finding
from protos.generate import TARGET
from protos.lint import BASELINE, lint, main

GOOD = """// A contract.
syntax = "proto3";
package shop.v1;

// Whether an order is paid.
enum OrderState {
  // Not set.
  ORDER_STATE_UNSPECIFIED = 0;
  // Paid.
  ORDER_STATE_PAID = 1;
}

// An order.
message Order {
  // Name.
  string name = 1;
  // State.
  OrderState state = 2;
  // Longest time to delivery.
  uint32 delivery_time_seconds = 3;
  // How it is paid.
  oneof payment {
    // By card.
    string card = 4;
    // By invoice.
    string invoice = 5;
  }
  // Pieces by article.
  map<string, uint32> pieces = 6;
  // Comments.
  repeated string comments = 7;
}

// Asks for an order.
message GetOrderRequest {
  // Name.
  string name = 1;
}

// The order.
message GetOrderResponse {
  // Order.
  Order order = 1;
}

// Sells.
service Shop {
  // Find an order.
  rpc GetOrder(GetOrderRequest) returns (GetOrderResponse);
}
"""

Linted = Callable[..., list[Finding]]


@pytest.fixture
def linted(tmp_path: Path) -> Linted:
    """Accept GOOD as baseline, change it, and return the findings."""

    def run(*changes: tuple[str, str], path: str = "shop/v1/shop.proto") -> list[Finding]:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(GOOD)
        assert main(["--root", str(tmp_path), "--update-baseline"]) == 0
        text = GOOD
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        target.write_text(text)
        return lint(tmp_path)

    return run


def line_of(text: str) -> int:
    return GOOD[: GOOD.index(text)].count("\n") + 1


def test_a_good_contract_has_no_findings(linted: Linted):
    assert linted() == []


STYLE = [
    ("message-name", "message GetOrderRequest {", "message Get_order_Request {"),
    ("enum-name", "enum OrderState {", "enum orderState {"),
    ("service-name", "service Shop {", "service shop {"),
    ("rpc-name", "rpc GetOrder(", "rpc getOrder("),
    ("field-name", "repeated string comments", "repeated string Comments"),
    ("field-name", "string card = 4", "string cardNumber = 4"),
    ("oneof-name", "oneof payment", "oneof Payment"),
    ("enum-value-name", "ORDER_STATE_PAID = 1", "PAID = 1"),
    ("enum-value-name", "ORDER_STATE_PAID = 1", "ORDER_STATE_Paid = 1"),
    ("enum-zero", "ORDER_STATE_UNSPECIFIED = 0", "ORDER_STATE_OPEN = 0"),
    ("comment", "// Asks for an order.\n", ""),
    ("comment", "  // Comments.\n", ""),
    ("comment", "  // How it is paid.\n", ""),
    ("comment", "// Whether an order is paid.\n", ""),
    ("comment", "  // Paid.\n", ""),
    ("comment", "// Sells.\n", ""),
    ("comment", "  // Find an order.\n", ""),
    ("comment-form", "// Asks for an order.", "// Asks for an order"),
    ("comment-form", "// Asks for an order.", "// asks for an order."),
    ("unit", "delivery_time_seconds", "delivery_time"),
    ("rpc-messages", "rpc GetOrder(GetOrderRequest)", "rpc GetOrder(Order)"),
    ("rpc-messages", "returns (GetOrderResponse)", "returns (Order)"),
    ("package", "package shop.v1;", "package store.v1;"),
]


@pytest.mark.parametrize(("rule", "old", "new"), STYLE, ids=[f"{rule}: {new.strip() or 'nothing'}" for rule, _, new in STYLE])
def test_a_rule_of_style_finds_its_offence(linted: Linted, rule: str, old: str, new: str):
    changes = [(old, new)]
    if "Get_order_Request" in new:
        changes.append(("GetOrder(GetOrderRequest)", "GetOrder(Get_order_Request)"))
    if "orderState" in new:
        changes.append(("OrderState state", "orderState state"))

    findings = linted(*changes)

    assert rule in {finding.rule for finding in findings}


def test_a_finding_names_file_line_rule_and_what(linted: Linted):
    findings = linted(("  // Comments.\n", ""))

    line = line_of("  // Comments.\n")
    assert [str(one) for one in findings] == [f"shop/v1/shop.proto:{line}: comment: Order.comments has no comment above it"]


def test_a_unit_may_stand_in_the_comment(linted: Linted):
    findings = linted(
        ("delivery_time_seconds", "delivery_time"), ("// Longest time to delivery.", "// Longest time to delivery, in days or seconds.")
    )

    assert "unit" not in {finding.rule for finding in findings}


def test_text_and_tables_need_no_unit(linted: Linted):
    assert (
        linted(("  string name = 1;\n  // State.", "  string name = 1;\n  // Free text.\n  string delivery_time = 9;\n  // State.")) == []
    )


def test_a_wire_standard_keeps_its_names_but_not_its_silence(linted: Linted):
    path = "penstock/oip/v2/health.proto"
    renamed = ("package shop.v1;", "package penstock.oip.v2;")

    findings = linted(renamed, ("ORDER_STATE_UNSPECIFIED = 0", "UNKNOWN = 0"), ("  // Comments.\n", ""), path=path)

    assert {finding.rule for finding in findings} - {"removed"} == {"comment"}


CHANGES = [
    ("renumbered", "repeated string comments = 7", "repeated string comments = 8"),
    ("renumbered", "ORDER_STATE_PAID = 1", "ORDER_STATE_PAID = 2"),
    ("retyped", "string invoice = 5", "bytes invoice = 5"),
    ("retyped", "Order order = 1", "GetOrderRequest order = 1"),
    ("retyped", "map<string, uint32> pieces", "map<string, uint64> pieces"),
    ("relabelled", "repeated string comments", "string comments"),
    ("relabelled", "  string name = 1;\n  // State.", "  optional string name = 1;\n  // State."),
    ("relabelled", "returns (GetOrderResponse)", "returns (stream GetOrderResponse)"),
    ("renamed", "repeated string comments = 7", "repeated string remarks = 7"),
    ("renamed", "ORDER_STATE_PAID = 1", "ORDER_STATE_SETTLED = 1"),
    ("removed", "  // Comments.\n  repeated string comments = 7;\n", ""),
    ("removed", "  // Paid.\n  ORDER_STATE_PAID = 1;\n", ""),
    ("removed", "  // Find an order.\n  rpc GetOrder(GetOrderRequest) returns (GetOrderResponse);\n", ""),
    ("removed", GOOD[GOOD.index("// Sells.") :], ""),
]


@pytest.mark.parametrize(("rule", "old", "new"), CHANGES, ids=[f"{rule}: {new.strip() or 'nothing'}" for rule, _, new in CHANGES])
def test_a_change_that_breaks_callers_is_found(linted: Linted, rule: str, old: str, new: str):
    assert [finding.rule for finding in linted((old, new))] == [rule]


def test_a_field_may_go_when_its_number_is_reserved(linted: Linted):
    assert linted(("  // Comments.\n  repeated string comments = 7;\n", "  reserved 7;\n")) == []


def test_a_removed_message_is_one_finding(linted: Linted):
    gone = GOOD[GOOD.index("// Asks for an order.") : GOOD.index("// The order.")]

    findings = linted((gone, ""), ("GetOrder(GetOrderRequest)", "GetOrder(Order)"))

    assert [finding.message for finding in findings if finding.rule == "removed"] == ["message shop.v1.GetOrderRequest is gone"]


def test_additions_break_nobody(linted: Linted):
    findings = linted(
        ("  // Paid.", "  // Lost.\n  ORDER_STATE_LOST = 2;\n  // Paid."),
        ("  // Comments.", "  // Colour.\n  string colour = 8;\n  // Comments."),
    )

    assert findings == []


def test_without_a_baseline_there_is_a_finding(linted: Linted, tmp_path: Path):
    linted()
    (tmp_path / BASELINE).unlink()

    assert [finding.rule for finding in lint(tmp_path)] == ["baseline"]


def test_accepting_a_change_makes_it_the_baseline(linted: Linted, tmp_path: Path):
    assert linted(("repeated string comments = 7", "repeated string comments = 8")) != []

    assert main(["--root", str(tmp_path), "--update-baseline"]) == 0
    assert lint(tmp_path) == []


def test_our_own_contracts_have_no_findings():
    assert [str(finding) for finding in lint()] == []


def test_the_command_prints_findings_and_fails(linted: Linted, tmp_path: Path):
    linted(("  // Comments.\n", ""))

    command = [sys.executable, "-m", "protos.lint", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=TARGET, capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 1
    assert "comment: Order.comments has no comment above it" in done.stdout


def test_a_file_that_does_not_compile_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "broken.proto").write_text("message {")

    assert main(["--root", str(tmp_path)]) == 1
    assert "broken.proto" in capfd.readouterr().err
