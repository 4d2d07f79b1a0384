"""CONTRACT.md section 2: GET /v1/environments."""
import re


def test_what_is_listed_is_what_scripts_find(server):
    answer = server.request("GET", "/v1/environments")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json) == ["environments"]
    (environment,) = answer.json["environments"]
    assert list(environment) == ["name", "interpreter", "packages"]
    assert environment["name"] == server.run("def main():\n    return {}\n", environment=environment["name"])["environment"] == "default"
    packages = {each["name"]: each["version"] for each in environment["packages"]}
    assert list(packages) == sorted(packages, key=str.lower)
    seen = server.result(
        """
        import platform, re
        from importlib.metadata import distributions
        def main():
            packages = {re.sub("[-_.]+", "-", each.metadata["Name"]).lower(): each.version for each in distributions()}
            return {"interpreter": f"{platform.python_implementation()} {platform.python_version()}", "packages": packages}
        """
    )
    assert environment["interpreter"] == seen["interpreter"]
    normal = {re.sub("[-_.]+", "-", name).lower(): version for name, version in packages.items()}
    assert normal.keys() == seen["packages"].keys()
    assert normal == seen["packages"]


def test_a_path_names_all_its_methods(server):
    for method, path, allow in (("DELETE", "/v1/environments", "GET, HEAD"), ("GET", "/v1/runs", "POST"), ("PUT", "/execute", "POST")):
        answer = server.request(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allow), path
        assert path.encode() in answer.body
