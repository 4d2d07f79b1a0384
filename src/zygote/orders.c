#include "orders.h"

#include "child.h"

#include <poll.h>
#include <unistd.h>

bool orders_next(int supervisor, struct wire_message *order)
{
    int result;
    while ((result = wire_receive(supervisor, LINK_ZYGOTE, true, order)) == WIRE_AGAIN) {
        struct pollfd socket = {.fd = supervisor, .events = POLLIN};
        poll(&socket, 1, -1);
    }
    if (result == WIRE_CLOSED)
        return false;
    bool sound = result == WIRE_OK && order->type == WIRE_SPAWN && order->spawn.has_cgroup <= 1 &&
                 order->spawn.joins <= WIRE_FDS &&
                 (uint32_t)order->fd_count == SPAWN_CGROUP + order->spawn.has_cgroup + order->spawn.joins;
    if (!sound)
        _exit(1);
    return true;
}
