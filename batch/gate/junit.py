"""A check's result as JUnit XML, which build servers show: a test case per check."""

from __future__ import annotations

from xml.etree import ElementTree

from batch.gate.check import CheckLine, CheckResult, FailOn


def junit(result: CheckResult, fail_on: FailOn) -> bytes:
    """Return the document. What fails below ``fail_on`` passes with a remark; what was not judged is skipped."""
    failed = set(result.failed(fail_on))
    errors = sum(one.status == "error" for one in failed)
    suite = ElementTree.Element(
        "testsuite",
        name=f"driftline {result.model}",
        tests=str(len(result.lines)),
        failures=str(len(failed) - errors),
        errors=str(errors),
        skipped=str(sum(one.status == "insufficient" for one in result.lines)),
    )
    for one in result.lines:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_text(f"{result.model}.{one.model_version or 'inputs'}"),
            name=_text(_name(one)),
        )
        if one in failed:
            kind = "error" if one.status == "error" else "failure"
            ElementTree.SubElement(case, kind, message=_text(one.reason), type=one.severity).text = _text(_told(one))
        elif one.status == "insufficient":
            ElementTree.SubElement(case, "skipped", message=_text(one.reason))
        elif one.status != "pass":
            ElementTree.SubElement(case, "system-out").text = _text(f"{one.status}: {_told(one)}")
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _name(one: CheckLine) -> str:
    where = "" if one.slice == "all" else f" in {one.slice}"
    return f"{one.check} {one.column}".rstrip() + where


def _told(one: CheckLine) -> str:
    return f"{one.metric} = {one.value} (bound {one.threshold}) on {one.n} rows: {one.reason}"


def _text(text: str) -> str:
    """Return ``text`` without the characters that XML cannot hold."""
    return "".join(char if char in "\t\n" or char.isprintable() else "\ufffd" for char in text)
