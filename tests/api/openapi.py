"""Holds every answer that a test gets against the server's own OpenAPI document.

The harness calls check() for each answer whose request is known, and check_any() for those to bytes that may be no
request at all. Both raise AssertionError.
"""
import functools
import json
import re
import subprocess

import jsonschema

ERRORS = {404, 405}  # of what no path or operation of the document describes


class Document:
    def __init__(self, text):
        self.whole = json.loads(text)
        jsonschema.Draft202012Validator.check_schema({"$defs": self.whole["components"]["schemas"]})
        self.paths = {self.pattern(path): item for path, item in self.whole["paths"].items()}

    @staticmethod
    def pattern(path):
        return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))

    @functools.cache
    def validator(self, reference):
        return jsonschema.Draft202012Validator({"$ref": reference, "components": self.whole["components"], "x-events": self.whole["x-events"]})

    def resolve(self, value):
        if "$ref" in value:
            assert value["$ref"].startswith("#/")
            name = value["$ref"][2:].split("/")
            return functools.reduce(lambda at, key: at[key], name, self.whole)
        return value

    def face(self, path):
        """The schema and content type of errors on a path."""
        problem = path.startswith("/v1/")
        return ("Problem", "application/problem+json") if problem else ("Error", "application/json")

    def operation(self, method, path):
        method = {"HEAD": "get"}.get(method, method.lower())
        for pattern, item in self.paths.items():
            if pattern.fullmatch(path):
                return item.get(method)
        return None

    def validate(self, reference, body, where):
        try:
            value = json.loads(body, parse_int=int if len(body) < 4300 else float)  # Python's limit on digits
        except ValueError as error:
            raise AssertionError(f"{where}: no JSON: {body[:200]!r}") from error
        error = jsonschema.exceptions.best_match(self.validator(reference).iter_errors(value))
        assert error is None, f"{where}: not {reference}: {error.message} at {error.json_path}"

    def check(self, method, target, status, headers, body):
        path = re.sub(r"^https?://[^/]*", "", target).split("?")[0] or "/"
        where = f"{method} {path} → {status}"
        content_type = headers.get("Content-Type")
        operation = self.operation(method, path)
        if (method, status) == ("OPTIONS", 204):  # a browser's question, in no document
            assert not body, where
            return
        if operation is None or status in ERRORS and str(status) not in operation["responses"]:
            schema, wanted = self.face(path)
            assert status in ERRORS or status >= 400, where
            assert content_type == wanted, f"{where}: {content_type}"
            reference = f"#/components/schemas/{schema}"
        else:
            assert str(status) in operation["responses"], f"{where} is not documented"
            answer = self.resolve(operation["responses"][str(status)])
            content = answer.get("content", {})
            if not content:
                assert not body, f"{where}: a body"
                return
            assert content_type in content, f"{where}: {content_type}"
            for name, header in answer.get("headers", {}).items():
                assert name in headers or not header.get("required"), f"{where}: {name} is missing"
            reference = content[content_type]["schema"].get("$ref")
        if method != "HEAD" and "json" in content_type:
            self.validate(reference, body, where)

    def check_event(self, name, data):
        """One event of a text/event-stream."""
        assert name in self.whole["x-events"], f"{name} is no event"
        self.validate(f"#/x-events/{name}/schema", data, f"event {name}")

    def answers(self):
        """(status, content type, schema) of all that is documented."""
        for item in self.whole["paths"].values():
            for operation in item.values():
                for status, answer in operation["responses"].items():
                    for content_type, content in self.resolve(answer).get("content", {}).items():
                        yield int(status), content_type, content["schema"].get("$ref")

    def check_any(self, status, headers, body):
        content_type = headers.get("Content-Type")
        if status == 204 and content_type is None and not body:
            return  # a browser's question, in no document
        if status in (400, 413) and content_type is None and headers.get("Connection", "").lower() == "close":
            return  # libmicrohttpd's own word on a later head of a connection that it cannot parse
        known = {each for each in self.answers() if each[:2] == (status, content_type)}
        if status in ERRORS:
            known = {(status, wanted, f"#/components/schemas/{schema}") for schema, wanted in map(self.face, ("/", "/v1/")) if wanted == content_type}
        assert known, f"{status} with {content_type} is nowhere documented"
        if not body or "json" not in content_type:
            return
        value = json.loads(body)
        assert any(self.validator(reference).is_valid(value) for _, _, reference in known), (status, content_type, body[:200])


@functools.cache
def document(build):
    """The document as the front of this build prints it."""
    return Document(subprocess.run([build / "safe-script-http", "--openapi"], capture_output=True, check=True).stdout)
