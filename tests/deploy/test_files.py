"""What deploy/ and the image's files promise, as far as it can be told without a cluster or a daemon."""
import json
import pathlib
import re

import pytest
import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = list(yaml.safe_load_all((REPOSITORY / "deploy/kubernetes.yaml").read_text()))


def of_kind(kind):
    found = [each for each in KUBERNETES if each["kind"] == kind]
    assert len(found) == 1
    return found[0]


def pod():
    return of_kind("Deployment")["spec"]["template"]["spec"]


def metrics():
    page = (REPOSITORY / "doc/MONITORING.md").read_text()
    return set(re.findall(r"^\| `(safe_script_\w+)`", page, re.MULTILINE))


def test_the_pod_passes_the_restricted_standard():
    """The controls of the Pod Security Standards, baseline and restricted."""
    spec = pod()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all(set(volume) - {"name"} <= {"configMap", "emptyDir", "projected", "secret", "downwardAPI"} for volume in spec["volumes"])
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    assert "sysctls" not in spec["securityContext"]
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False and "ALL" in security["capabilities"]["drop"]
        assert not set(security["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}
        assert not security.get("privileged") and "procMount" not in security and security["readOnlyRootFilesystem"]
        assert all("hostPort" not in port for port in container["ports"])


def test_the_parts_belong_together():
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Deployment")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert of_kind("Service")["spec"]["selector"].items() <= labels.items()
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = of_kind(kind)["spec"]
        assert spec.get("selector", spec.get("podSelector"))["matchLabels"].items() <= labels.items()
    assert {each["metadata"].get("namespace", "safe-script") for each in KUBERNETES} == {"safe-script"}
    assert of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]


def test_nothing_goes_out_of_a_pod():
    spec = of_kind("NetworkPolicy")["spec"]
    assert "Egress" in spec["policyTypes"] and spec["egress"] == []
    assert of_kind("ServiceAccount")["automountServiceAccountToken"] is False and pod()["automountServiceAccountToken"] is False


def test_it_scales_by_a_metric_that_there_is():
    names = [each["pods"]["metric"]["name"] for each in of_kind("HorizontalPodAutoscaler")["spec"]["metrics"] if each["type"] == "Pods"]
    assert names and set(names) <= metrics()


def test_the_pod_has_time_to_end():
    arguments = pod()["containers"][0]["args"]
    grace = int(arguments[arguments.index("--grace-ms") + 1].rstrip("s"))
    assert grace < pod()["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("path", ("deploy/cloudrun.yaml", "docker-compose.yml"))
def test_the_other_files_are_whole(path):
    assert yaml.safe_load((REPOSITORY / path).read_text())


def test_the_seccomp_profile_opens_what_it_says_and_no_more():
    profile = json.loads((REPOSITORY / "dist/docker-seccomp.json").read_text())
    spaces, rest = profile["syscalls"][0]["names"], profile["syscalls"][1]["names"]
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert set(spaces) == set("""clone clone3 unshare mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount mount_setattr
        sethostname setdomainname""".split())
    never = """acct add_key bpf clock_settime delete_module finit_module init_module ioperm iopl io_uring_setup kcmp kexec_load keyctl mbind move_pages
        open_by_handle_at perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace quotactl reboot request_key setns settimeofday
        swapon swapoff syslog userfaultfd""".split()
    assert not set(never) & set(spaces + rest)
    assert len(rest) == len(set(rest))
