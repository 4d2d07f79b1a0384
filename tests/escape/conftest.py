"""Finds out which attacks the selected tests want to see against which servers, and sends them before the first test waits."""
import campaign


def wanted(item):
    """(server, attack) pairs of one test."""
    values = item.callspec.params if hasattr(item, "callspec") else {}
    name, server = values.get("name"), values.get("server")
    if item.originalname == "test_it_is_no_blank":
        return [(campaign.bare(name), name)]
    if item.originalname == "test_each_wall_alone":
        return [(campaign.lone(name, values["wall"]), name)]
    if item.originalname == "test_the_matrix":
        servers = [each for each in [*campaign.whole(), *campaign.ablated()] if each.mode == values["mode"]]
        return [(each, name) for each in servers for name in (campaign.LAYERED if each.without else campaign.ATTACKS)]
    return [(server, name)] if server else []


def pytest_collection_finish(session):
    if session.config.option.collectonly:
        return
    for item in session.items:
        for server, name in wanted(item):
            campaign.CAMPAIGN.want(server, name)
    campaign.CAMPAIGN.begin()
