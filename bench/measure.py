"""bench/run's measurements. Each section answers with figures; the table GOALS says which of them must reach what."""
import argparse
import contextlib
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import counts
import plot
import rivals
import scripts
import standing
import tools
from tools import CORES, Failed, figure, percentile, ratio, say

# figure → what it is, how it is compared, with what, in which unit
GOALS = {
    "latency_median": ("hello, one client: bare python3's median over ours", ">=", 20, "times"),
    "latency_p99": ("hello, one client: bare python3's p99 over ours", ">=", 8, "times"),
    "throughput_bare": ("hello, many clients: our runs over bare python3's starts", ">=", 8, "times"),
    "throughput_http": ("hello, many clients: our runs over those of Flask + gunicorn + jail", ">=", 13, "times"),
    "data_median": ("data, one client: bare python3's median over ours", ">=", 60, "times"),
    "data_throughput": ("data, many clients: its runs over hello's", ">=", 1 / 3, "times"),
    "sleeper_memory": ("1,000 runs asleep: memory for each", "<=", 1.5, "MiB"),
    "sleeper_latency": ("hello's median beside them, over that without", "<=", 1.3, "times"),
    "drift_memory": ("after all runs, over after 1,000: memory of our processes", "<=", 1.1, "times"),
    "drift_left": ("… and open files, cgroups and mounts that have come to stay", "<=", 0, ""),
    "drift_latency": ("… and hello's median", "<=", 1.2, "times"),
    "bombs_p99": ("hello's p99 beside four bombs, over that without", "<=", 3, "times"),
    "healthz": ("GET /healthz, 16 connections", ">=", 20000, "/s"),
}

SECTIONS = ["latency", "throughput", "data", "healthz", "bombs", "sleepers", "drift", "counts"]


class Plan:
    """How long, how often, and what is told of it."""

    def __init__(self, options):
        self.rounds, self.seconds, self.warm_up = options.rounds, options.seconds, min(0.5, options.seconds / 4)
        self.drift_runs, self.drift_seconds = options.drift_runs, options.drift_seconds


# ---- hello beside the rivals ----


def works(rival):
    """What is installed may still not work here: a jail within a container, say."""
    try:
        rival.measure(1, 0.5, 0)
    except Failed as failure:
        say(f"    {rival.name} is left out: {failure}")
        return False
    return True


@contextlib.contextmanager
def field(bench):
    """Us and everything that is installed, ready to be measured; the first is bare python3, the last is us."""
    with contextlib.ExitStack() as stack:
        found = [rivals.Start(bench, "python3 -I")]
        jails = [rivals.Start(bench, name, rivals.jail_command(bench, name)) for name in rivals.jail_names()]
        jails = [jail for jail in jails if works(jail)]
        found += jails
        if rivals.docker_works():
            found.append(stack.enter_context(rivals.docker(bench)))
        if jails:
            found.append(stack.enter_context(rivals.flask(bench, jails[0].name)))
        server = stack.enter_context(tools.safe_script(bench))
        for name, program in rivals.engines():
            other = stack.enter_context(tools.safe_script(bench, "--engine", name, f"--{name}", program))
            found.append(rivals.Service(bench, f"safe-script, engine = {name}", other.port))
        found.append(rivals.Service(bench, "safe-script", server.port))
        yield found


def rounds(bench, plan, clients_of):
    """name → the figures of each round. Within a round everybody has a turn."""
    told = {}
    with field(bench) as found:
        for number in range(plan.rounds):
            for each in found:
                say(f"    round {number + 1} of {plan.rounds}: {each.name}")
                told.setdefault(each.name, []).append(each.measure(clients_of(each), plan.seconds, plan.warm_up))
    return told


def table(told):
    return {
        name: {
            "median_ms": figure([percentile(each["times"], 0.5) for each in rounds_of]),
            "p99_ms": figure([percentile(each["times"], 0.99) for each in rounds_of]),
            "per_second": figure([each["per_second"] for each in rounds_of]),
            "answers": sum(each["answers"] for each in rounds_of),
        }
        for name, rounds_of in told.items()
    }


def of_rounds(told, name, share):
    return [percentile(each["times"], share) for each in told[name]]


def latency(bench, plan):
    told = rounds(bench, plan, lambda rival: 1)
    with tools.safe_script(bench) as server:
        patient = rivals.Service(bench, "safe-script, 20 ms between requests", server.port, pause=0.02)
        say(f"    {patient.name}")
        told[patient.name] = [patient.measure(1, plan.seconds, plan.warm_up) for _ in range(plan.rounds)]
    return table(told), {
        "latency_median": ratio(of_rounds(told, "python3 -I", 0.5), of_rounds(told, "safe-script", 0.5)),
        "latency_p99": ratio(of_rounds(told, "python3 -I", 0.99), of_rounds(told, "safe-script", 0.99)),
    }


def throughput(bench, plan):
    told = rounds(bench, plan, lambda rival: 8 * CORES if rival.over_http else 2 * CORES)
    rate = {name: [each["per_second"] for each in rounds_of] for name, rounds_of in told.items()}
    figures = {"throughput_bare": ratio(rate["safe-script"], rate["python3 -I"])}
    for name in rate:
        if name.startswith("Flask"):
            figures["throughput_http"] = ratio(rate["safe-script"], rate[name])
    return table(told), figures


# ---- numpy and pandas ----


def data(bench, plan):
    bare = rivals.Start(bench, "python3 -I")
    bare.command = [tools.PYTHON, "-I", bench.file("data.py", scripts.DATA + scripts.BARE_TAIL)]
    expect = bench.file("data.out", scripts.DATA_BARE_ANSWER)
    told = {}

    def measured(name, figures):
        told.setdefault(name, []).append(figures)

    with tools.safe_script(bench) as server:
        ours = rivals.Service(bench, "data", server.port, scripts.DATA, scripts.DATA_ANSWER)
        hello = rivals.Service(bench, "hello", server.port)
        ours.once()  # its zygote is started for the first such script
        waiting = lambda: standing.metric(server, "safe_script_environment_pool", 'environment="data"') >= 1
        tools.wait_until(waiting, "the environment data", server.process)
        for number in range(plan.rounds):
            say(f"    round {number + 1} of {plan.rounds}")
            measured("python3 -I", bench.start(
                bare.command, prefix=rivals.clean(True), seconds=2 * plan.seconds, warm_up=plan.warm_up, expect=expect))  # fmt: skip
            measured("safe-script", ours.measure(1, plan.seconds, plan.warm_up))
            measured("safe-script, saturated", ours.measure(8 * CORES, plan.seconds, plan.warm_up))
            measured("hello, saturated", hello.measure(8 * CORES, plan.seconds, plan.warm_up))
    rate = {name: [each["per_second"] for each in rounds_of] for name, rounds_of in told.items()}
    return table(told), {
        "data_median": ratio(of_rounds(told, "python3 -I", 0.5), of_rounds(told, "safe-script", 0.5)),
        "data_throughput": ratio(rate["safe-script, saturated"], rate["hello, saturated"]),
    }


# ---- the rest ----


def healthz(bench, plan):
    with tools.safe_script(bench) as server:
        told = [
            bench.load(server.address, connections=16, path="/healthz", seconds=plan.seconds, warm_up=plan.warm_up)
            for _ in range(plan.rounds)
        ]
    return table({"GET /healthz": told}), {"healthz": figure([each["per_second"] for each in told])}


def verdict(key, value):
    _, how, goal, _ = GOALS[key]
    return value >= goal if how == ">=" else value <= goal


def print_figures(figures):
    width = max(len(words) for words, *_ in GOALS.values())
    for key, value in figures.items():
        words, how, goal, unit = GOALS[key]
        spread = f"{value['least']:.4g} … {value['most']:.4g} in {value['rounds']} rounds" if value["rounds"] > 1 else ""
        told = "ok    " if verdict(key, value["value"]) else "MISSED"
        print(f"{told}  {words:<{width}}  {value['value']:8.4g} {unit:5}  ({how} {goal:.4g})  {spread}")


def print_table(title, rows):
    print(f"\n{title:<34} {'median':>12} {'p99':>12} {'per second':>12} {'noise':>8}")
    for name, row in rows.items():
        median = row["median_ms"]
        noise = (median["most"] - median["least"]) / median["value"] if median["value"] else 0
        print(
            f"  {name:<32} {median['value']:>9.3f} ms {row['p99_ms']['value']:>9.3f} ms {row['per_second']['value']:>12.1f} "
            f"{100 * noise:>6.0f} %"
        )


def print_numbers(title, rows):
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:<60} {value:>14,.4g}" if isinstance(value, float) else f"  {name:<60} {value!s:>14}")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures safe-script beside what is installed.")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone, and others so named (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in which everybody has a turn (5)")
    parser.add_argument("--seconds", type=float, default=2, help="of load in each turn, after a warm-up of half a second (2)")
    parser.add_argument("--drift-runs", type=int, default=200000, help="runs after which nothing may have changed (200000) …")
    parser.add_argument("--drift-seconds", type=float, default=120, help="… or as many as there are in this time (120)")
    parser.add_argument("--build", help="the executables to measure (default: built in build/)")
    parser.add_argument("--output", help="where results.json and results.svg go (default: BUILD/bench)")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    build = pathlib.Path(options.build or tools.TOP / "build").resolve()
    output = pathlib.Path(options.output or build / "bench")
    plan, bench, started = Plan(options), tools.Bench(build), time.monotonic()
    measure = {
        "latency": latency, "throughput": throughput, "data": data, "healthz": healthz, "bombs": standing.bombs,
        "sleepers": standing.sleepers, "drift": standing.drift, "counts": counts.counts,
    }  # fmt: skip
    if os.getloadavg()[0] > CORES / 2:
        say(f"the machine is busy (load {os.getloadavg()[0]:.1f} on {CORES} cores): expect figures that mean nothing")
    results = {"machine": tools.machine(), "rounds": plan.rounds, "seconds": plan.seconds, "sections": {}, "figures": {}, "failed": {}}
    try:
        for name in SECTIONS:
            if options.only and name not in options.only:
                continue
            say(f"{name} …")
            try:
                rows, figures = measure[name](bench, plan)
            except Failed as failure:
                results["failed"][name] = str(failure)
                say(f"    {failure}")
                continue
            results["sections"][name] = rows
            results["figures"].update(figures)
    finally:
        bench.close()
    for key, value in results["figures"].items():
        value["goal"], value["held"] = GOALS[key][2], verdict(key, value["value"])
    results["took_seconds"] = time.monotonic() - started
    for name, rows in results["sections"].items():
        (print_table if any(isinstance(row, dict) for row in rows.values()) else print_numbers)(name, rows)
    print()
    print_figures(results["figures"])
    for name, failure in results["failed"].items():
        print(f"FAILED  {name}: {failure}")
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "results.svg").write_text(plot.svg(results))
    told = results["machine"]
    print(f"\n{told['cpu']}, {told['cores']} cores, Linux {told['kernel']}, {told['python']}; load {told['load']:.1f} at the start, "
          f"{os.getloadavg()[0]:.1f} at the end; {results['took_seconds']:.0f} s")  # fmt: skip
    print(f"{output}/results.json, {output}/results.svg")
    return bool(results["failed"]) or not all(value["held"] for value in results["figures"].values())


if __name__ == "__main__":
    sys.exit(main())
