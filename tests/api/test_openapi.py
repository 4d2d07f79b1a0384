"""GET /openapi.json, and that the harness holds answers against it. Every answer that any test gets is checked there: see
openapi.py."""
import json
import re

import pytest

import harness
import openapi
from harness import HELLO


@pytest.fixture(scope="module")
def document(server):
    answer = server.request("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return answer.json


def walk(value):
    yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(each)


def test_it_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "safe-script"
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["info"]["version"])
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"] and operation["responses"] for operation in operations)


def test_every_reference_is_there_and_every_part_is_used(document):
    references = {each["$ref"] for each in walk(document) if isinstance(each, dict) and "$ref" in each}
    parts = {f"#/components/{kind}/{name}" for kind in document["components"] for name in document["components"][kind]
             if kind != "securitySchemes"}
    assert references == parts


def test_every_path_answers_and_every_route_is_there(server, document):
    listed = set(re.findall(r"^  [A-Z]+ +(/\S*)", server.request("GET", "/").body.decode(), re.M))
    assert listed == set(document["paths"])
    for path, item in document["paths"].items():
        if "get" in item and "{" not in path:
            assert server.request("GET", path).status == 200, path
        if "{" not in path:
            refused = server.request("DELETE", path)
            assert (refused.status == 405) == ("delete" not in item), path


def test_its_limits_are_this_servers(start_server):
    server = start_server("--limits.wall_ms", "1234")
    limits = server.request("GET", "/openapi.json").json["components"]["schemas"]["Limits"]["properties"]
    assert limits["wall_ms"]["maximum"] == 1234
    assert server.execute(HELLO, limits={"wall_ms": 1234}).status == 200
    assert server.execute(HELLO, limits={"wall_ms": 1235}).status == 400
    for name, schema in limits.items():
        assert server.execute(HELLO, limits={name: schema["minimum"] - 1}).status == 400, name


def test_its_request_is_what_is_taken(server, document):
    """Each field by itself is accepted, with a value that its schema accepts; another one is not."""
    schema = document["components"]["schemas"]["Request"]
    values = {"input": [1, None], "stdin": "x", "files": {"a": "b", "c": {"base64": "YQ=="}}, "return_files": ["*.csv"],
              "environment": "default", "limits": {"wall_ms": 5000}}
    assert set(values) | {"script"} == set(schema["properties"])
    whole = openapi.document(harness.BUILD)
    for name, value in values.items():
        body = {"script": HELLO, name: value}
        whole.validate("#/components/schemas/Request", json.dumps(body), name)
        assert server.post("/execute", json.dumps(body)).status == 200, name
    for wrong in ({}, {"script": 1}, {"script": HELLO, "unknown": 1}, {"script": HELLO, "files": {"a": 1}}):
        with pytest.raises(AssertionError):
            whole.validate("#/components/schemas/Request", json.dumps(wrong), "wrong")
        assert server.post("/execute", json.dumps(wrong)).status == 400, wrong


def test_the_printed_document_is_the_served_one(document):
    """With the default limits, which the shared server has; of environments it may have more, by what is installed."""
    names = document["components"]["schemas"]["Environment"].pop("enum")
    printed = json.loads(json.dumps(openapi.document(harness.BUILD).whole))
    assert printed["components"]["schemas"]["Environment"].pop("enum") == ["default"] and names[0] == "default"
    assert printed == document


class Headers(dict):
    pass


@pytest.mark.parametrize("name, data", (("stdout", "{}"), ("stdout", '{"text":""}'), ("started", '{"id":"x"}'), ("result", "[]"), ("other", "{}")))
def test_the_check_finds_wrong_events(name, data):
    with pytest.raises(AssertionError):
        openapi.document(harness.BUILD).check_event(name, data)


@pytest.mark.parametrize("method, path, status, content_type, body", [
    ("POST", "/execute", 200, "application/json", b'{"result":{},"stdout":"","more":1}'),
    ("POST", "/execute", 200, "application/json", b'{"result":[],"stdout":""}'),
    ("POST", "/execute", 200, "text/html", b'{"result":{},"stdout":""}'),
    ("POST", "/execute", 201, "application/json", b'{"result":{},"stdout":""}'),
    ("POST", "/execute", 400, "application/json", b'{"error":"two\\nlines"}'),
    ("POST", "/v1/runs", 400, "application/json", b'{"error":"x"}'),
    ("POST", "/v1/runs", 200, "application/json", b'{"id":"run_1"}'),
    ("GET", "/nope", 200, "application/json", b'{}'),
    ("GET", "/nope", 404, "text/html", b'<html>'),
    ("GET", "/healthz", 200, "application/json", b'nonsense'),
])
def test_the_check_finds_what_is_wrong(method, path, status, content_type, body):
    whole = openapi.document(harness.BUILD)
    with pytest.raises(AssertionError):
        whole.check(method, path, status, Headers({"Content-Type": content_type}), body)


def test_the_harness_checks(server, monkeypatch):
    """A document without /healthz: the harness must object to its answer."""
    whole = openapi.document(harness.BUILD)
    monkeypatch.setattr(whole, "paths", {})
    with pytest.raises(AssertionError):
        server.request("GET", "/healthz")
    monkeypatch.setattr(whole, "answers", lambda: [])
    with server.wire() as wire, pytest.raises(AssertionError):
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.answer()
