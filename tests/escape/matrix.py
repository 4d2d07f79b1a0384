"""What the campaign measured, as text: each attack against each removed layer."""
import campaign


def cell(server, name):
    if server.without and name not in campaign.LAYERED:
        return "-"
    return "THROUGH" if campaign.outcome(server, name)["through"] else "held"


def text():
    lines = []
    for mode in campaign.MODES:
        servers = [each for each in [*campaign.whole(), *campaign.ablated()] if each.mode == mode]
        heads = [",".join(each.without) or "all layers" for each in servers]
        lines.append(f"{mode:40} " + " ".join(f"{head:10}" for head in heads))
        for name in campaign.ATTACKS:
            lines.append(f"{name:40} " + " ".join(f"{cell(each, name):10}" for each in servers))
        lines.append("")
    return "\n".join(lines)
