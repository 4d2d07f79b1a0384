#include "orders.h"

#include "child.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

static bool refuse(int supervisor, const struct wire_message *order)
{
    struct wire_message answer = {.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = order->spawn.slot}};
    fault_set(&answer.spawn_failed.fault, "zygote", "receive", EMFILE, "an order");
    return wire_send(supervisor, &answer) == WIRE_OK;
}

bool orders_next(int supervisor, struct wire_message *order)
{
    int result;
    do {
        while ((result = wire_receive(supervisor, LINK_ZYGOTE, true, order)) == WIRE_AGAIN) {
            struct pollfd socket = {.fd = supervisor, .events = POLLIN};
            poll(&socket, 1, -1);
        }
    } while (result == WIRE_STARVED && order->type == WIRE_SPAWN && refuse(supervisor, order));
    if (result == WIRE_CLOSED)
        return false;
    bool sound = result == WIRE_OK && order->type == WIRE_SPAWN && order->spawn.has_cgroup <= 1 &&
                 order->spawn.joins <= WIRE_FDS &&
                 (uint32_t)order->fd_count == SPAWN_CGROUP + order->spawn.has_cgroup + order->spawn.joins;
    if (!sound)
        _exit(1);
    return true;
}
